// Shared by the tests of the parser and the formatter.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "frontend/format.h"
#include "frontend/parse.h"

namespace tessera::testing {

struct Parsed {
  SourceMap sources;
  ast::File file;
  Diagnostics diagnostics;

  explicit Parsed(std::string text) { file = parse(sources, sources.add("test.tile", std::move(text)), diagnostics); }
  std::string errors() const { return render(diagnostics, sources); }
  std::string formatted() const { return format(sources, file); }
};

inline std::vector<std::filesystem::path> program_files() {
  std::vector<std::filesystem::path> out;
  for (const auto& entry : std::filesystem::directory_iterator(TESSERA_SOURCE_DIR "/tests/programs"))
    if (entry.path().extension() == ".tile") out.push_back(entry.path());
  std::sort(out.begin(), out.end());
  return out;
}

inline std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::string repeat(const std::string& s, int n) {
  std::string out;
  for (int i = 0; i < n; ++i) out += s;
  return out;
}

}  // namespace tessera::testing
