// Any bytes: the parser reports errors or yields a tree; a tree's canonical text means the same and is its own canonical text.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "frontend/format.h"
#include "frontend/parse.h"

namespace {

void require(bool holds, const char* promise, const std::string& text) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n%s\n", promise, text.c_str());
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tessera;
  std::string text(data, data + size);
  SourceMap sources;
  Diagnostics diagnostics;
  ast::File file = parse(sources, sources.add("fuzz.tile", text), diagnostics);
  std::string tree = dump(file);
  if (diagnostics.any()) {
    require(!render(diagnostics, sources).empty(), "an error has a text", text);
    return 0;
  }
  std::string canonical = format(sources, file);
  Diagnostics none;
  ast::File again = parse(sources, sources.add("canonical.tile", canonical), none);
  require(!none.any(), "canonical text parses", canonical);
  require(dump(again) == tree, "canonical text means the same", canonical);
  require(again.comments.size() == file.comments.size(), "comments are kept", canonical);
  require(format(sources, again) == canonical, "formatting is idempotent", canonical);
  return 0;
}
