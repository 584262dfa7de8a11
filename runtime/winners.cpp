#include "runtime/winners.h"

#include <fmt/format.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <sstream>
#include <tuple>

#include "codegen/cpu/target.h"
#include "dsl/sym.h"
#include "frontend/fingerprint.h"
#include "runtime/cache/key.h"
#include "runtime/errors.h"
#include "runtime/target.h"

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

constexpr std::size_t hash_digits = 16;

constexpr const char* header = "# kernel target keys : tuned constants\n";

std::string line_of(const Winner& w) {
  std::string out = w.kernel + (w.hash.empty() ? "" : "@" + w.hash) + " " + w.target;
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
    const std::size_t at = std::min(w.kernel.find('@'), w.kernel.size());
    if (at < w.kernel.size()) w.hash = w.kernel.substr(at + 1);
    const bool hashed = at < w.kernel.size();
    w.kernel.resize(at);
    const auto malformed = [&](const std::string& why) { fail(Code::E0802, fmt::format("{}:{}: {}", name, number, why)); };
    if (w.kernel.empty() || (hashed && (w.hash.size() != hash_digits || w.hash.find_first_not_of("0123456789abcdef") != std::string::npos)))
      malformed(fmt::format("a kernel's hash is {} hexadecimal digits after `@`", hash_digits));
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
  for (std::string key : tune_keys(program, kernel)) {
    std::erase(key, ' ');  // which separates words in a winners file
    if (std::optional<std::string> value = key_value(key, constants, sizes)) out.emplace(std::move(key), *std::move(value));
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

std::string winners_target(const std::string& target) {
  if (target != "cpu") return target;
  static const std::string here = "cpu:" + CpuTarget::host().cpu;
  return here;
}

namespace {

/// `cpu` for every CPU.
std::string general_target(const std::string& target) { return target.starts_with("cpu:") ? "cpu" : target; }

}  // namespace

std::string winner_hash(const Program& program, const std::string& kernel, const std::string& target, bool skeleton) {
  const std::optional<TargetName> named = read_target(general_target(target));
  const std::string family = named ? schedule_family(named->target, named->gpu) : "";
  return cache::hash(skeleton ? skeleton_words(program, kernel, family) : kernel_words(program, kernel, family)).hex().substr(0, hash_digits);
}

const char* name(Choice::How how) {
  switch (how) {
    case Choice::How::Exact: return "exact";
    case Choice::How::NearestBucket: return "nearest bucket";
    case Choice::How::Default: return "default";
    case Choice::How::None: return "none";
  }
  TESSERA_UNREACHABLE("bad choice");
}

namespace {

/// A line that may serve a kernel.
struct Line {
  enum Source : int { OfStd, OfSkeleton, OfKernel };
  Source source = OfStd;
  Winner winner;
};

/// The lines that name the kernel or its skeleton, and the target.
std::vector<Line> lines_for(const Program& program, const std::string& kernel, const std::string& target, const std::vector<Winner>& winners) {
  const Skeleton skeleton = skeleton_of(program, kernel);
  const std::string dotted = skeleton.module.empty() ? skeleton.name : skeleton.module + "." + skeleton.name;
  const std::string specific = winners_target(target);
  const auto of_target = [&](const Winner& w) { return w.target == specific || w.target == general_target(specific); };
  std::vector<Line> out;
  for (const Winner& w : winners) {
    if (of_target(w) && (w.kernel == kernel || w.kernel == dotted)) out.push_back({w.kernel == kernel ? Line::OfKernel : Line::OfSkeleton, w});
  }
  if (const auto own = embedded_winners().find(skeleton.module); own != embedded_winners().end()) {
    for (const Winner& w : parse_winners(own->second, own->first)) {
      if (of_target(w) && w.kernel == skeleton.name) out.push_back({Line::OfStd, w});
    }
  }
  return out;
}

/// How well the keys fit: more is better. Empty: not at all.
struct Fit {
  int equal = 0;        ///< keys
  double distance = 0;  ///< of buckets, as powers of two
};
std::optional<Fit> fit(const Winner& w, const Constants& constants, const std::map<std::string, std::int64_t>& sizes) {
  Fit out;
  for (const auto& [key, value] : w.keys) {
    const std::optional<std::string> known = key_value(key, constants, sizes);
    if (!known) continue;
    if (*known == value) {
      ++out.equal;
      continue;
    }
    double here = 0, there = 0;
    const auto number = [](const std::string& text, double& to) {
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), to);
      return error == std::errc() && end == text.data() + text.size() && to > 0;
    };
    if (!key.starts_with("bucket(") || !number(*known, here) || !number(value, there)) return std::nullopt;
    out.distance += std::abs(std::log2(here / there));
  }
  return out;
}

/// The candidate that a winner names, if the file's `tune` still offers it.
const Constants* named_by(const Winner& w, const std::vector<Constants>& candidates, const Constants& given) {
  for (const Constants& c : candidates) {
    bool same = true;
    for (const auto& [n, v] : c) {
      const auto choice = w.choices.find(n);
      same &= choice == w.choices.end() ? given.contains(n) : str(v) == choice->second;
    }
    if (same) return &c;
  }
  return nullptr;
}

}  // namespace

Choice choose_tuned(const Program& program, const std::string& kernel, const std::string& target, const Constants& constants,
                    const std::vector<Winner>& winners, const std::map<std::string, std::int64_t>& sizes, Diagnostics& diagnostics) {
  Choice out{constants};
  const std::vector<Constants> candidates = tune_candidates(program, kernel, constants, diagnostics);
  if (diagnostics.any() || candidates.empty() || candidates.front().empty()) return out;
  const auto with = [&](const Constants& more) {
    Constants all = constants;
    all.insert(more.begin(), more.end());
    return all;
  };
  // Whose line it is, exact ones before near ones, those that name the CPU, how many keys are equal, how far the others are.
  using Rank = std::tuple<int, bool, bool, int, double>;
  std::optional<Rank> best;
  std::map<bool, std::string> hashes;
  for (const Line& l : lines_for(program, kernel, target, winners)) {
    const Winner& w = l.winner;
    const std::optional<Fit> f = fit(w, constants, sizes);
    if (!f) continue;
    if (!w.hash.empty()) {
      std::string& now = hashes[l.source != Line::OfKernel];
      if (now.empty()) now = winner_hash(program, kernel, target, l.source != Line::OfKernel);
      if (now != w.hash) {
        const std::string text = line_of(w);
        out.stale.push_back(text.substr(0, text.size() - 1));
        continue;
      }
    }
    const Rank rank{l.source, f->distance == 0, w.target != general_target(w.target), f->equal, -f->distance};
    if (best && rank <= *best) continue;
    const Constants* pick = named_by(w, candidates, constants);
    if (!pick) continue;
    if (l.source == Line::OfStd) {
      Diagnostics scratch;
      const std::unique_ptr<ir::Kernel> instance = instantiate_signature(program, kernel, with(*pick), scratch);
      if (!instance || operations_an_element(*instance) > kMostOperations) continue;
    }
    best = rank;
    out.constants = with(*pick);
    out.how = f->distance == 0 ? Choice::How::Exact : Choice::How::NearestBucket;
    out.line = line_of(w);
    out.line.pop_back();
  }
  if (!best) {
    out.constants = with(candidates.front());
    out.how = Choice::How::Default;
  }
  return out;
}

}  // namespace tessera
