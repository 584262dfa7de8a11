// What holds for every text: it is refused with readable errors, or it is a program whose kernels become sound Tile IR, or are refused likewise.
#pragma once

#include <fmt/format.h>

#include <cctype>
#include <string>

#include "dsl/text.h"
#include "dsl/verify.h"
#include "frontend/frontend.h"
#include "tests/fuzz/check_text.h"

namespace tessera::fuzz {

struct Verdict {
  std::string broken;  ///< the promise that was broken; empty: none
  bool loaded = false, lowered = false;
};

inline std::string unreadable(const Diagnostics& diagnostics, const SourceMap& sources) {
  for (const Diagnostic& d : diagnostics.list()) {
    if (d.message.empty() || d.message.back() == '.' || std::isupper(static_cast<unsigned char>(d.message[0]))) return "message: " + d.message;
    // `?12` and `n#3` are names that the compiler made.
    for (const std::string* text : {&d.message, &d.help})
      for (std::size_t i = 0; i + 1 < text->size(); ++i)
        if (((*text)[i] == '?' || (*text)[i] == '#') && std::isdigit(static_cast<unsigned char>((*text)[i + 1])))
          return "a made-up name in: " + *text;
    if (!d.span.known() || d.span.end < d.span.begin || d.span.end > sources.file(d.span.file).text.size()) return "no place for: " + d.message;
    if (render(d, sources).empty()) return "nothing rendered";
  }
  return "";
}

/// Throws InternalError where the front end does.
inline Verdict check_program(const std::string& text, const std::string& kernel, const Constants& constants, const std::vector<std::string>& absent) {
  Verdict out;
  out.broken = check_text(text);
  if (!out.broken.empty()) return out;
  LoadResult r = load_program("fuzz.tile", text, {});
  out.broken = unreadable(r.diagnostics, *r.sources);
  if (!r.program && !r.diagnostics.any()) out.broken = "refused without an error";
  if (!r.program || !out.broken.empty()) return out;
  out.loaded = true;
  Diagnostics diagnostics;
  std::unique_ptr<ir::Kernel> k = instantiate(*r.program, kernel, constants, absent, diagnostics);
  out.broken = unreadable(diagnostics, *r.sources);
  if (!k && !diagnostics.any()) out.broken = "not lowered, without an error";
  if (k && diagnostics.any()) out.broken = "lowered in spite of errors";
  if (!k || !out.broken.empty()) return out;
  out.lowered = true;
  for (const std::string& e : ir::verify(*k)) out.broken += "unsound IR: " + e + "\n";
  if (!out.broken.empty()) return out;
  std::string printed = ir::print(*k);
  SourceMap again;
  Diagnostics none;
  auto parsed = ir::parse_kernel(again, again.add("printed.ir", printed), none);
  if (!parsed)
    out.broken = "printed IR is not read back:\n" + render(none, again);
  else if (ir::print(*parsed) != printed)
    out.broken = "printed IR reads back as another";
  return out;
}

}  // namespace tessera::fuzz
