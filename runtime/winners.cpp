#include "runtime/winners.h"

#include <fmt/format.h>

#include <bit>
#include <charconv>
#include <sstream>

#include "dsl/sym.h"
#include "runtime/errors.h"

namespace tessera {
namespace {

/// The value of a tune key, `T` or `bucket(Sq)`, if it is known: constants as text, sizes rounded up to a power of two by `bucket`.
std::optional<std::string> key_value(const std::string& key, const Constants& constants, const std::map<std::string, std::int64_t>& sizes) {
  if (const auto c = constants.find(key); c != constants.end()) return str(c->second);
  const bool bucket = key.starts_with("bucket(") && key.ends_with(")");
  const std::optional<Sym> sym = parse_sym(bucket ? std::string_view(key).substr(7, key.size() - 8) : std::string_view(key));
  if (!sym) return std::nullopt;
  const std::optional<std::int64_t> value = sym->eval([&](const std::string& n) -> std::optional<std::int64_t> {
    if (const auto s = sizes.find(n); s != sizes.end()) return s->second;
    if (const auto c = constants.find(n); c != constants.end()) {
      if (const auto* i = std::get_if<std::int64_t>(&c->second)) return *i;
    }
    return std::nullopt;
  });
  if (!value) return std::nullopt;
  return std::to_string(bucket && *value > 0 && *value < (std::int64_t{1} << 62)
                            ? static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(*value)))
                            : *value);
}

/// Ops on each element of the largest tiles: what a skeleton's instance computes beside its products.
std::size_t operations_an_element(const ir::Kernel& kernel) {
  std::map<std::int64_t, std::size_t> count;
  ir::walk(kernel.body, [&](const ir::Op& op) {
    if (ir::has(op.kind, ir::Elementwise)) ++count[ir::tile(op.result()->type).elements()];
  });
  return count.empty() ? 0 : count.rbegin()->second;
}
/// Of instances that do more than that, the skeleton's winners say nothing: large tiles of theirs do not fit the registers.
constexpr std::size_t kMostOperations = 40;

constexpr const char* header = "# kernel target keys : tuned constants\n";

std::string line_of(const Winner& w) {
  std::string out = w.kernel + " " + w.target;
  for (const auto& [k, v] : w.keys) out += fmt::format(" {}={}", k, v);
  out += " :";
  for (const auto& [k, v] : w.choices) out += fmt::format(" {}={}", k, v);
  return out + "\n";
}

}  // namespace

Constant parse_constant(const std::string& text) {
  if (text == "true") return true;
  if (text == "false") return false;
  std::int64_t i = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), i);
  if (error == std::errc() && end == text.data() + text.size()) return i;
  if (const std::optional<DType> t = dtype_from_name(text)) return *t;
  return text;
}

std::vector<Winner> parse_winners(const std::string& text, const std::string& name) {
  std::vector<Winner> out;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::istringstream words(line);
    Winner w;
    if (!(words >> w.kernel) || w.kernel[0] == '#') continue;
    const auto malformed = [&](const std::string& why) { fail(Code::E0802, fmt::format("{}:{}: {}", name, number, why)); };
    if (!(words >> w.target)) malformed("a winner needs a kernel and a target");
    std::map<std::string, std::string>* into = &w.keys;
    for (std::string word; words >> word;) {
      if (word == ":" && into == &w.keys) {
        into = &w.choices;
        continue;
      }
      const std::size_t equals = word.rfind('=');
      if (equals == std::string::npos || equals == 0 || equals + 1 == word.size()) malformed(fmt::format("`{}` is not NAME=VALUE", word));
      if (!into->emplace(word.substr(0, equals), word.substr(equals + 1)).second)
        malformed(fmt::format("`{}` is given twice", word.substr(0, equals)));
    }
    if (into == &w.keys || w.choices.empty()) malformed("a winner needs `:` and at least one choice");
    out.push_back(std::move(w));
  }
  return out;
}

std::string print_winners(const std::vector<Winner>& winners) {
  std::string out = header;
  for (const Winner& w : winners) out += line_of(w);
  return out;
}

std::map<std::string, std::string> winner_keys(const Program& program, const std::string& kernel, const Constants& constants,
                                               const std::map<std::string, std::int64_t>& sizes) {
  std::map<std::string, std::string> out;
  for (const std::string& key : tune_keys(program, kernel)) {
    if (std::optional<std::string> value = key_value(key, constants, sizes)) out.emplace(key, *std::move(value));
  }
  return out;
}

std::string with_winner(const std::string& text, const Winner& winner, const std::string& name) {
  parse_winners(text, name);
  std::string out = text.empty() ? header : "";
  bool placed = false;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::vector<Winner> here = parse_winners(line, name);
    const bool same = !here.empty() && here[0].kernel == winner.kernel && here[0].target == winner.target && here[0].keys == winner.keys;
    if (!same) {
      out += line + "\n";
    } else if (!placed) {
      out += line_of(winner);
      placed = true;
    }
  }
  return placed ? out : out + line_of(winner);
}

Constants choose_tuned(const Program& program, const std::string& kernel, const std::string& target, const Constants& constants,
                       const std::vector<Winner>& winners, const std::map<std::string, std::int64_t>& sizes, Diagnostics& diagnostics) {
  const std::vector<Constants> candidates = tune_candidates(program, kernel, constants, diagnostics);
  if (diagnostics.any() || candidates.empty()) return constants;
  const Constants* pick = &candidates.front();
  // Lines of the kernel come before those of its skeleton, and those before the ones that the skeleton's own module brings along.
  const Skeleton skeleton = skeleton_of(program, kernel);
  const std::string dotted = skeleton.module.empty() ? skeleton.name : skeleton.module + "." + skeleton.name;
  std::vector<std::pair<int, Winner>> lines;
  for (const Winner& w : winners) {
    if (w.target == target && (w.kernel == kernel || w.kernel == dotted)) lines.emplace_back(w.kernel == kernel ? 2 : 1, w);
  }
  if (const auto own = embedded_winners().find(skeleton.module); own != embedded_winners().end()) {
    for (const Winner& w : parse_winners(own->second, own->first)) {
      if (w.target == target && w.kernel == skeleton.name) lines.emplace_back(0, w);
    }
  }
  std::pair<int, int> best{-1, -1};
  for (const auto& [rank, w] : lines) {
    int matches = 0;
    for (const auto& [key, value] : w.keys) {
      const std::optional<std::string> known = key_value(key, constants, sizes);
      if (known && *known != value) matches = -1000000;
      if (known) ++matches;
    }
    if (matches < 0 || std::pair(rank, matches) <= best) continue;
    for (const Constants& c : candidates) {
      // A winner that the file's `tune` no longer offers is stale, not an error.
      bool same = true;
      for (const auto& [n, v] : c) {
        const auto choice = w.choices.find(n);
        same &= choice == w.choices.end() ? constants.contains(n) : str(v) == choice->second;
      }
      if (!same) continue;
      best = {rank, matches};
      pick = &c;
      break;
    }
  }
  const auto with = [&](const Constants& more) {
    Constants all = constants;
    all.insert(more.begin(), more.end());
    return all;
  };
  if (best.first == 0) {
    Diagnostics scratch;
    const std::unique_ptr<ir::Kernel> instance = instantiate_signature(program, kernel, with(*pick), scratch);
    if (!instance || operations_an_element(*instance) > kMostOperations) pick = &candidates.front();
  }
  return with(*pick);
}

}  // namespace tessera
