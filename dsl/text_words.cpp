#include "dsl/text_words.h"

#include <algorithm>
#include <vector>

#include "dsl/diagnostic.h"

namespace tessera::ir::words {

namespace {

std::vector<std::string> names(OpKind op, Attr a) {
  if (a == Attr::Kind && op != OpKind::Claim) {
    std::vector<std::string> all;
    for (auto k = ReduceKind::Sum; k <= ReduceKind::ArgMin; k = static_cast<ReduceKind>(static_cast<std::int64_t>(k) + 1)) all.emplace_back(name(k));
    return all;
  }
  if (a == Attr::Prec) return {"ieee", "tf32", "tf32x3"};
  if (a == Attr::Rounding) return {"nearest", "zero", "up", "down"};
  return {};
}

}  // namespace

bool in_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.'; }

bool is_word(std::string_view s) { return !s.empty() && !(s[0] >= '0' && s[0] <= '9') && s[0] != '.' && std::all_of(s.begin(), s.end(), in_word); }

bool is_flag(Attr a) {
  switch (a) {
    case Attr::Full:
    case Attr::Saturate:
    case Attr::Exclusive:
    case Attr::Reverse:
    case Attr::Descending:
    case Attr::Zero:
    case Attr::Add:
    case Attr::Masked: return true;
    case Attr::Value:
    case Attr::Name:
    case Attr::Size:
    case Attr::Rounding:
    case Attr::Perm:
    case Attr::Axis:
    case Attr::Offset:
    case Attr::Prec:
    case Attr::Kind:
    case Attr::K:
    case Attr::Last:
    case Attr::Message:
    case Attr::Scope: return false;
  }
  TESSERA_UNREACHABLE("Attr");
}

std::optional<std::string> of_value(OpKind op, Attr a, std::int64_t value) {
  std::vector<std::string> all = names(op, a);
  if (value < 0 || value >= static_cast<std::int64_t>(all.size())) return std::nullopt;
  return all[static_cast<std::size_t>(value)];
}

std::optional<std::int64_t> to_value(OpKind op, Attr a, std::string_view word) {
  std::vector<std::string> all = names(op, a);
  auto it = std::find(all.begin(), all.end(), word);
  return it == all.end() ? std::nullopt : std::optional(it - all.begin());
}

}  // namespace tessera::ir::words
