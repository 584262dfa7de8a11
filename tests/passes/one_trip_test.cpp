#include "codegen/passes/one_trip.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "codegen/passes/fold.h"
#include "tests/passes/support.h"

namespace tessera::test {
namespace {

using ir::Kernel;
using ir::Op;
using ir::OpKind;

std::string layer_norm_text() {
  std::ifstream in(TESSERA_SOURCE_DIR "/tests/ir/layer_norm.ir");
  return {std::istreambuf_iterator<char>(in), {}};
}

std::unique_ptr<Kernel> with_copy(const Kernel& before, const std::vector<Symbols>& shapes) {
  auto kernel = before.clone();
  ir::fold(*kernel);
  ir::one_trip(*kernel);
  expect_sound(*kernel);
  for (const Symbols& s : shapes) expect_same(run(before, s), run(*kernel, s));
  return kernel;
}

const Op* branch(const Kernel& k) {
  for (const auto& op : k.body.ops) {
    if (op->kind == OpKind::If) return op.get();
  }
  return nullptr;
}

TEST(OneTrip, ARowThatATileHoldsIsReadOnce) {
  const auto before = parse_ir(layer_norm_text());
  const auto after =
      with_copy(*before, {{{"M", 5}, {"N", 1}}, {{"M", 5}, {"N", 63}}, {{"M", 5}, {"N", 64}}, {{"M", 5}, {"N", 65}}, {{"M", 5}, {"N", 200}}});
  const Op* both = branch(*after);
  ASSERT_TRUE(both) << ir::print(*after);
  EXPECT_EQ(count(both->region(0), OpKind::For), 0);
  EXPECT_EQ(count(both->region(0), OpKind::Load), 4) << "x and w of rows as long as the tile, and of shorter ones\n" << ir::print(*after);
  EXPECT_EQ(count(both->region(1), OpKind::For), 3);
}

TEST(OneTrip, AloneALoopGainsNothing) {
  // The second of the loops over x ends elsewhere: nothing is read twice in the trips of loops alike.
  std::string text = layer_norm_text();
  for (const std::string from : {"%squares = for %c0, %N, %c64", "for %c0, %N, %c64"}) {
    const std::size_t at = text.rfind(from);
    ASSERT_NE(at, std::string::npos);
    const std::size_t start = text.find("%c0", at);
    text.replace(start, 3, from[0] == '%' ? "%c4" : "%i0");
  }
  const auto kernel = parse_ir(text);
  ir::fold(*kernel);
  const std::string before = ir::print(*kernel);
  ir::one_trip(*kernel);
  EXPECT_EQ(ir::print(*kernel), before);
}

}  // namespace
}  // namespace tessera::test
