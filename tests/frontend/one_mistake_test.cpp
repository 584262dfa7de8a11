// One mistake is told once: where one use of a name in a shipped or test program becomes a name that nothing has, every error is about the one or the
// other, or about the grammar where the word was a part of it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "frontend/frontend.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

std::string slurp(const fs::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

/// Begin and end of the names and lower-case words outside of comments and strings.
std::vector<std::pair<std::size_t, std::size_t>> words(const std::string& text) {
  std::vector<std::pair<std::size_t, std::size_t>> out;
  const auto part = [&](std::size_t i) { return i < text.size() && (std::isalnum(static_cast<unsigned char>(text[i])) || text[i] == '_'); };
  for (std::size_t i = 0; i < text.size();) {
    if (text.compare(i, 2, "//") == 0) {
      i = std::min(text.find('\n', i), text.size());
    } else if (text[i] == '"') {
      i = text.find('"', i + 1) + 1;
    } else if (part(i)) {
      const std::size_t begin = i;
      while (part(i)) ++i;
      if (std::islower(static_cast<unsigned char>(text[begin]))) out.emplace_back(begin, i);
    } else {
      ++i;
    }
  }
  return out;
}

TEST(OneMistake, IsToldOnce) {
  constexpr std::size_t kOfEach = 16;
  const std::string unknown = "zzq";
  std::mt19937 random(1);
  int mistakes = 0, told = 0;
  for (const char* folder : {"tests/programs", "tests/foreign", "kernels", "examples"}) {
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(TESSERA_SOURCE_DIR) / folder)) {
      if (entry.path().extension() != ".tile") continue;
      const std::string path = entry.path().string(), text = slurp(entry.path());
      auto all = words(text);
      std::shuffle(all.begin(), all.end(), random);
      all.resize(std::min(all.size(), kOfEach));
      for (const auto& [begin, end] : all) {
        const std::string word = text.substr(begin, end - begin), wrong = text.substr(0, begin) + unknown + text.substr(end);
        const LoadResult r = load_program(path, wrong, import_beside(path));
        const std::vector<Diagnostic>& list = r.diagnostics.list();
        ++mistakes;
        told += list.empty() ? 0 : 1;
        // `zzq x = ..` is no syntax error: an assignment to what cannot be assigned to, and x is unknown.
        if (!list.empty() && list[0].code == Code::E0405) continue;
        for (const Diagnostic& d : list) {
          const bool about = d.code == Code::E0101 || d.message.find(unknown) != std::string::npos || d.message.find(word) != std::string::npos;
          EXPECT_TRUE(about) << fmt::format("`{}` at {} of {}:\n", word, begin, path) << render(r.diagnostics, *r.sources);
          if (!about) break;
        }
      }
    }
  }
  EXPECT_GT(mistakes, 500);
  EXPECT_GT(told, mistakes / 2) << "new names may do no harm where they are defined";
}

}  // namespace
}  // namespace tessera
