// Rewrites the generated tables of dsl/LANGUAGE.md, or with --check fails where they are stale. usage: refresh_manual [--check] FILE
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "frontend/manual.h"

int main(int argc, char** argv) {
  const bool check = argc == 3 && std::strcmp(argv[1], "--check") == 0;
  if (argc != 2 && !check) return std::fputs("usage: refresh_manual [--check] FILE\n", stderr), 2;
  const char* path = argv[argc - 1];
  std::ifstream in(path, std::ios::binary);
  const std::string old{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (!in) return std::fprintf(stderr, "refresh_manual: cannot read %s\n", path), 1;
  const std::string fresh = tessera::refresh_manual(old);
  if (fresh == old) return 0;
  if (check) return std::fprintf(stderr, "%s: generated tables are stale; run ./dev format\n", path), 1;
  std::ofstream out(path, std::ios::binary);
  out << fresh;
  out.flush();
  if (!out) return std::fprintf(stderr, "refresh_manual: cannot write %s\n", path), 1;
  return 0;
}
