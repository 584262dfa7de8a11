// Diagnostics: what the user did wrong, where, and one way out.
//
// Three kinds of failure are never mixed: a Diagnostic (the user's), a MachineError (driver or I/O) and an InternalError (ours).
#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "dsl/source.h"

namespace tessera {

/// Stable codes, declared once in diagnostics.def. Tests and scripts rely on them.
enum class Code : std::uint16_t {
#define TESSERA_DIAGNOSTIC(code, title, explanation) code,
#include "dsl/diagnostics.def"
};

struct CodeInfo {
  const char* name;         ///< "E0203"
  const char* title;        ///< one line, lower case
  const char* explanation;  ///< what it means and how to mend it; printed by `tessera explain`
};
const CodeInfo& info(Code code);
/// "E0203" -> the code; empty if there is none.
std::optional<Code> code_from_name(std::string_view name);
std::vector<Code> all_codes();

/// A secondary place: where a symbol was bound, where the other operand stands.
struct Label {
  Span span;
  std::string text;
};

struct Diagnostic {
  Code code{};
  Span span;                  ///< the caret
  std::string message;        ///< lower case, no full stop, identifiers in backticks
  std::vector<Label> labels;  ///< secondary places, in the order to print
  std::vector<Label> trail;   ///< inlined calls, innermost first
  std::string help;           ///< at most one
};

/// Collects the errors of one run. Not thread safe.
class Diagnostics {
 public:
  static constexpr std::size_t limit = 20;

  void add(Diagnostic d);
  bool any() const { return !list_.empty(); }
  std::size_t count() const { return list_.size() + suppressed_; }
  const std::vector<Diagnostic>& list() const { return list_; }
  /// Errors beyond `limit` are counted, not kept.
  std::size_t suppressed() const { return suppressed_; }

 private:
  std::vector<Diagnostic> list_;
  std::size_t suppressed_ = 0;
};

/// The text form: `file:line:column: error[E0203]: message`, source lines with carets, trail, help.
std::string render(const Diagnostic& d, const SourceMap& sources);
std::string render(const Diagnostics& ds, const SourceMap& sources);
/// The same facts as a JSON array, one object an error.
std::string render_json(const Diagnostics& ds, const SourceMap& sources);

/// The candidate nearest to `name` by edit distance, if near enough to be a typing slip; else empty.
std::string did_you_mean(std::string_view name, const std::vector<std::string>& candidates);

/// A fault of Tessera itself: an invariant that did not hold.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

[[noreturn]] void internal_error(const std::string& what, const char* file, int line);
#define TESSERA_ASSERT(cond, what)                                    \
  do {                                                                \
    if (!(cond)) ::tessera::internal_error(what, __FILE__, __LINE__); \
  } while (false)
#define TESSERA_UNREACHABLE(what) ::tessera::internal_error(what, __FILE__, __LINE__)

}  // namespace tessera
