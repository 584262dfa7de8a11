// One mistake is told once: where one use of a name in a shipped or test program becomes a name that nothing has, every error is about the one or the
// other, or about the grammar.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "frontend/frontend.h"
#include "frontend/tokens.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

std::string slurp(const fs::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<fs::path> programs() {
  std::vector<fs::path> out;
  for (const char* folder : {"tests/programs", "tests/foreign", "kernels", "examples"}) {
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(TESSERA_SOURCE_DIR) / folder)) {
      if (entry.path().extension() == ".tile") out.push_back(entry.path());
    }
  }
  std::sort(out.begin(), out.end());
  return out;
}

/// Begin and end of the names in a text, but for those of dims and constants: another name makes a launch symbol of them, which every use may refuse
/// for a reason of its own.
std::vector<std::pair<std::size_t, std::size_t>> names(const std::string& text) {
  SourceMap sources;
  Diagnostics none;
  std::vector<std::pair<std::size_t, std::size_t>> out;
  const Tokens tokens = tokenize(sources, sources.add("text", text), none);
  for (const Token& t : tokens.list) {
    if (t.kind == TokenKind::Name && std::islower(static_cast<unsigned char>(t.text[0])) != 0) out.emplace_back(t.begin, t.end);
  }
  return out;
}

/// Of each file 16, or as many as TESSERA_MISTAKES says.
TEST(OneMistake, IsToldOnce) {
  const char* more = std::getenv("TESSERA_MISTAKES");
  const std::size_t of_each = more ? static_cast<std::size_t>(std::atoi(more)) : 16;
  const std::string unknown = "zzq";
  std::mt19937 random(1);
  int mistakes = 0, told = 0;
  for (const fs::path& file : programs()) {
    const std::string path = file.string(), text = slurp(file);
    auto all = names(text);
    std::shuffle(all.begin(), all.end(), random);
    all.resize(std::min(all.size(), of_each));
    for (const auto& [begin, end] : all) {
      const std::string word = text.substr(begin, end - begin), wrong = text.substr(0, begin) + unknown + text.substr(end);
      const LoadResult r = load_program(path, wrong, import_beside(path));
      const std::vector<Diagnostic>& list = r.diagnostics.list();
      ++mistakes;
      told += list.empty() ? 0 : 1;
      if (list.size() < 2) continue;
      for (const Diagnostic& d : list) {
        const bool about = d.code == Code::E0101 || d.message.find(unknown) != std::string::npos || d.message.find(word) != std::string::npos;
        EXPECT_TRUE(about) << fmt::format("`{}` at {} of {}:\n", word, begin, path) << render(r.diagnostics, *r.sources);
        if (!about) break;
      }
    }
  }
  std::cout << fmt::format("{} mistakes, {} told\n", mistakes, told);
  EXPECT_GT(mistakes, 500);
  EXPECT_GT(told, mistakes / 2) << "new names may do no harm where they are defined";
}

}  // namespace
}  // namespace tessera
