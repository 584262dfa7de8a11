#include "dsl/diagnostic.h"

#include <fmt/format.h>

#include <algorithm>

namespace tessera {

namespace {

constexpr CodeInfo kCodes[] = {
#define TESSERA_DIAGNOSTIC(code, title, explanation) {#code, title, explanation},
#include "dsl/diagnostics.def"
};

/// Lower-case ASCII letters, for names that differ in case only.
std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

/// Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment).
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (std::size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i)
    for (std::size_t j = 1; j <= b.size(); ++j) {
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  return d[a.size()][b.size()];
}

}  // namespace

const CodeInfo& info(Code code) { return kCodes[static_cast<std::size_t>(code)]; }

std::optional<Code> code_from_name(std::string_view name) {
  for (std::size_t i = 0; i < std::size(kCodes); ++i)
    if (name == kCodes[i].name) return static_cast<Code>(i);
  return std::nullopt;
}

std::vector<Code> all_codes() {
  std::vector<Code> all;
  for (std::size_t i = 0; i < std::size(kCodes); ++i) all.push_back(static_cast<Code>(i));
  return all;
}

void Diagnostics::add(Diagnostic d) {
  // A body that is checked for several instantiations finds the same fault each time.
  for (const Diagnostic& known : list_)
    if (known.code == d.code && known.span == d.span && known.message == d.message) return;
  if (list_.size() < limit)
    list_.push_back(std::move(d));
  else
    ++suppressed_;
}

std::string did_you_mean(std::string_view name, const std::vector<std::string>& candidates) {
  constexpr std::size_t longest = 64;  // names beyond this are no typing slips, and the distance is quadratic
  const std::string* best = nullptr;
  std::size_t best_distance = 0;
  for (const std::string& c : candidates) {
    if (c == name || c.empty() || name.empty() || c.size() > longest || name.size() > longest) continue;
    std::size_t distance = edit_distance(name, c);
    bool near = 3 * distance <= std::max(name.size(), c.size());
    if (lower(name) == lower(c)) {
      near = true;
      distance = 0;
    }
    if (near && (!best || distance < best_distance)) {
      best = &c;
      best_distance = distance;
    }
  }
  return best ? *best : "";
}

void internal_error(const std::string& what, const char* file, int line) {
  // Folder and file say enough; the rest of the path belongs to the machine it was built on.
  std::string_view path = file;
  std::size_t slash = path.rfind('/');
  if (slash != std::string_view::npos && slash > 0) slash = path.rfind('/', slash - 1);
  if (slash != std::string_view::npos) path.remove_prefix(slash + 1);
  throw InternalError(fmt::format("internal error at {}:{}: {}", path, line, what));
}

}  // namespace tessera
