#include "frontend/manual.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace tessera {
namespace {

TEST(Manual, GeneratedPartsAreFresh) {
  std::ifstream in(std::string(TESSERA_SOURCE_DIR) + "/dsl/LANGUAGE.md");
  std::stringstream text;
  text << in.rdbuf();
  ASSERT_FALSE(text.str().empty());
  EXPECT_EQ(refresh_manual(text.str()), text.str()) << "run ./dev format";
}

TEST(Manual, ReplacesOnlyGeneratedParts) {
  std::string text = "a\n<!-- generated: directives -->\nold\n<!-- end -->\nb\n<!-- generated: nothing -->\nkept\n<!-- end -->\n";
  std::string out = refresh_manual(text);
  EXPECT_EQ(out.find("old"), std::string::npos);
  EXPECT_NE(out.find("kept"), std::string::npos);
  EXPECT_NE(out.find("ring"), std::string::npos);
  EXPECT_EQ(refresh_manual(out), out);
}

}  // namespace
}  // namespace tessera
