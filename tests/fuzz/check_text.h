// What the parser and the formatter promise for any bytes: errors, or a tree whose canonical text means the same and is its own canonical text.
#pragma once

#include <string>

#include "frontend/format.h"
#include "frontend/parse.h"

namespace tessera::fuzz {

/// The broken promise; empty: none.
inline std::string check_text(const std::string& text) {
  SourceMap sources;
  Diagnostics diagnostics;
  const ast::File file = parse(sources, sources.add("fuzz.tile", text), diagnostics);
  const std::string tree = dump(file);
  if (diagnostics.any()) return render(diagnostics, sources).empty() ? "an error has a text" : "";
  const std::string canonical = format(sources, file);
  Diagnostics none;
  const ast::File again = parse(sources, sources.add("canonical.tile", canonical), none);
  if (none.any()) return "canonical text parses:\n" + canonical + render(none, sources);
  if (dump(again) != tree) return "canonical text means the same:\n" + canonical;
  if (again.comments.size() != file.comments.size()) return "comments are kept:\n" + canonical;
  if (format(sources, again) != canonical) return "formatting is idempotent:\n" + canonical;
  return "";
}

}  // namespace tessera::fuzz
