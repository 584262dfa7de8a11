// Bounds of affine forms and proofs of e >= 0: variables and opaque atoms are replaced by their bounds, one at a time.
#include <algorithm>
#include <random>

#include "codegen/passes/affine.h"
#include "dsl/diagnostic.h"

namespace tessera::ir {

namespace {

constexpr int kFuel = 12;            ///< atoms replaced along one line of reasoning
constexpr int kMaxSteps = 200;       ///< replaced in one proof altogether
constexpr std::size_t kSamples = 8;  ///< launches tried before a proof

/// e = factor * atom + rest; empty if the atom also occurs inside another atom or to a power.
struct Linear {
  Sym factor, rest;
};
std::optional<Linear> linear_in(const Sym& e, const SymAtom& atom) {
  std::map<Sym::Monomial, std::int64_t> factor, rest;
  for (const auto& [m, c] : e.terms()) {
    Sym::Monomial others;
    int times = 0;
    for (const SymAtomRef& a : m) {
      if (*a == atom) {
        ++times;
        continue;
      }
      if (atom.op == SymOp::Symbol)
        for (const Sym& x : a->args)
          if (x.mentions(atom.text)) return std::nullopt;
      others.push_back(a);
    }
    if (times > 1) return std::nullopt;
    (times == 1 ? factor : rest)[others] = c;
  }
  return Linear{Sym::from_terms(std::move(factor)), Sym::from_terms(std::move(rest))};
}

}  // namespace

bool Affine::nonnegative(const Sym& e, const Dims& dims) {
  Sym low = e;
  if (mentions_position(e)) {
    auto l = lower(e, dims);
    if (!l) return false;
    low = *l;
  }
  low = facts_.normalise(low);
  if (auto c = low.as_constant()) return *c >= 0;
  const std::string key = low.str();
  if (auto it = proved_.find(key); it != proved_.end()) return it->second;
  steps_ = 0;
  return proved_[key] = !refuted(low) && prove(low, kFuel);
}

/// Launches that keep to the `where` clauses. Extents with many divisors first, so that divisibilities are met.
void Affine::draw_samples() {
  drawn_ = true;
  std::mt19937 random(1);
  for (int attempt = 0; attempt < 40 && samples_.size() < kSamples; ++attempt) {
    std::map<std::string, std::optional<std::int64_t>> sample;
    for (const std::string& s : kernel_.symbols) {
      const auto n = static_cast<std::int64_t>(random() % 100);
      sample[s] = attempt % 2 == 0 ? n * (attempt % 4 == 0 ? 5040 : 64) : n;
    }
    // Equalities are used as rewrites: the rewritten symbols follow from the others.
    auto value = [&](const std::string& s) { return sample.count(s) ? sample[s] : std::nullopt; };
    for (const std::string& s : kernel_.symbols)
      if (const Sym form = facts_.normalise(Sym::symbol(s)); form != Sym::symbol(s)) sample[s] = form.eval(value);
    const bool fits = std::all_of(kernel_.where.begin(), kernel_.where.end(), [&](const SymCondition& c) {
      auto l = c.lhs.eval(value);
      return l && std::any_of(c.rhs.begin(), c.rhs.end(), [&](const Sym& x) {
               auto r = x.eval(value);
               return r && holds(c.op, *l, *r);
             });
    });
    if (fits) samples_.push_back(std::move(sample));
  }
}

/// The symbol's value in a sample, drawn within its bounds when first asked for.
std::optional<std::int64_t> Affine::sampled(const std::string& symbol, std::size_t k) {
  if (auto it = samples_[k].find(symbol); it != samples_[k].end()) return it->second;
  std::optional<std::int64_t> v;
  const auto it = bounds_.find(symbol);
  const std::size_t spread = std::hash<std::string>()(symbol) + k * 7919;
  auto eval = [&](const Sym& e) { return e.eval([&](const std::string& s) { return sampled(s, k); }); };
  if (it == bounds_.end() || (!it->second.lo && !it->second.hi)) {
    v = static_cast<std::int64_t>(spread % 2001) - 1000;  // a loaded number
  } else if (it->second.lo && it->second.hi) {
    const Bounds b = it->second;
    auto lo = eval(*b.lo), hi = eval(*b.hi), step = b.step ? eval(*b.step) : std::optional<std::int64_t>(1);
    if (lo && hi && step && *step > 0 && *lo <= *hi) {
      const std::int64_t last = (*hi - *lo) / *step;
      const std::int64_t at = k % 3 == 0 ? last : k % 3 == 1 ? 0 : static_cast<std::int64_t>(spread % static_cast<std::size_t>(last + 1));
      v = *lo + at * *step;
    }
  }
  return samples_[k][symbol] = v;
}

/// Some launch in which e < 0: most claims that do not hold fail at once.
bool Affine::refuted(const Sym& e) {
  if (!drawn_) draw_samples();
  for (std::size_t k = 0; k < samples_.size(); ++k) {
    auto v = e.eval([&](const std::string& s) { return sampled(s, k); });
    if (v && *v < 0) return true;
  }
  return false;
}

Sym Affine::min(const Sym& a, const Sym& b) {
  if (nonnegative(a - b)) return b;
  if (nonnegative(b - a)) return a;
  return tessera::min(a, b);
}

Sym Affine::max(const Sym& a, const Sym& b) {
  if (nonnegative(a - b)) return a;
  if (nonnegative(b - a)) return b;
  return tessera::max(a, b);
}

bool Affine::prove(const Sym& e0, int fuel) {
  Sym e = facts_.normalise(e0);
  if (auto c = e.as_constant()) return *c >= 0;
  if (fuel <= 0 || ++steps_ > kMaxSteps) return false;
  // Atoms by order of elimination: opaque ones, then variables, the latest bound first.
  std::vector<std::pair<int, const SymAtom*>> atoms;
  for (const auto& [m, c] : e.terms())
    for (const SymAtomRef& a : m) {
      int rank = -1;
      if (a->op != SymOp::Symbol) {
        rank = 1 << 20;
      } else if (auto it = bounds_.find(a->text); it != bounds_.end()) {
        rank = it->second.depth;
      }
      if (rank >= 0 && std::none_of(atoms.begin(), atoms.end(), [&](const auto& x) { return *x.second == *a; })) atoms.emplace_back(rank, &*a);
    }
  std::stable_sort(atoms.begin(), atoms.end(), [](const auto& x, const auto& y) { return x.first > y.first; });
  for (const auto& [rank, atom] : atoms) {
    auto l = linear_in(e, *atom);
    if (l && prove_without(*atom, l->factor, l->rest, fuel - 1)) return true;
  }
  return false;
}

/// factor * atom + rest >= 0 for every value the atom may have.
bool Affine::prove_without(const SymAtom& atom, const Sym& factor, const Sym& rest, int fuel) {
  auto sign = [&]() {
    if (auto c = factor.as_constant()) return *c >= 0 ? 1 : -1;
    if (prove(factor, fuel - 2)) return 1;
    return prove(-factor, fuel - 2) ? -1 : 0;
  };
  switch (atom.op) {
    case SymOp::Symbol: {
      const Bounds b = bounds_.at(atom.text);
      int s = sign();
      if (s > 0 && b.lo) return prove(factor * *b.lo + rest, fuel);
      if (s < 0 && b.hi) return prove(factor * *b.hi + rest, fuel);
      return false;
    }
    case SymOp::Min:
    case SymOp::Max: {
      auto with = [&](int i) { return prove(factor * atom.args[static_cast<std::size_t>(i)] + rest, fuel); };
      // It is one of the two; a max counted positively (a min negatively) is at least either.
      if (sign() == (atom.op == SymOp::Max ? 1 : -1) && (with(0) || with(1))) return true;
      return with(0) && with(1);
    }
    case SymOp::FloorDiv:
    case SymOp::CeilDiv: {
      const Sym &a = atom.args[0], &b = atom.args[1];
      if (!prove(b - 1, fuel - 2)) return false;
      int s = sign();
      if (s == 0) return false;
      // q * b lies within a - b + 1 .. a (rounded up: a .. a + b - 1); the inequality is multiplied by b > 0.
      Sym product = atom.op == SymOp::FloorDiv ? (s > 0 ? a - b + 1 : a) : (s > 0 ? a : a + b - 1);
      if (prove(factor * product + rest * b, fuel)) return true;
      // A quotient of nonnegative numbers is none less; one of a divisor >= 1 is no larger than the dividend.
      if (s > 0) return prove(a, fuel - 2) && prove(rest, fuel);
      return prove(a, fuel - 2) && prove(factor * a + rest, fuel);
    }
    case SymOp::Mod: {
      const Sym& b = atom.args[1];
      if (!prove(b - 1, fuel - 2)) return false;
      int s = sign();
      if (s > 0) return prove(rest, fuel);
      return s < 0 && prove(factor * (b - 1) + rest, fuel);
    }
  }
  TESSERA_UNREACHABLE("SymOp");
}

std::optional<Sym> Affine::lower(const Sym& e, const Dims& dims, std::vector<Sym>* assumed) { return bound(e, dims, true, assumed); }
std::optional<Sym> Affine::upper(const Sym& e, const Dims& dims, std::vector<Sym>* assumed) { return bound(e, dims, false, assumed); }

std::optional<Sym> Affine::bound(const Sym& e, const Dims& dims, bool want_lower, std::vector<Sym>* assumed) {
  Sym sum;
  for (const auto& [m, c] : e.terms()) {
    Sym factor = c;
    const SymAtom* varying = nullptr;
    for (const SymAtomRef& a : m) {
      if (mentions_position(Sym::atom(*a))) {
        if (varying) return std::nullopt;
        varying = &*a;
      } else {
        factor = factor * Sym::atom(*a);
      }
    }
    if (!varying) {
      sum = sum + factor;
      continue;
    }
    bool up = nonnegative(factor);
    if (!up && !nonnegative(-factor)) return std::nullopt;
    auto b = atom_bound(*varying, dims, want_lower == up, assumed);
    if (!b) return std::nullopt;
    sum = sum + factor * *b;
  }
  return sum;
}

std::optional<Sym> Affine::atom_bound(const SymAtom& a, const Dims& dims, bool want_lower, std::vector<Sym>* assumed) {
  if (a.op == SymOp::Symbol) {
    auto axis = static_cast<std::size_t>(std::stoi(a.text.substr(1)));
    return want_lower ? Sym(0) : Sym(dims.at(axis) - 1);
  }
  if (a.op == SymOp::Min || a.op == SymOp::Max) {
    auto x = bound(a.args[0], dims, want_lower, assumed), y = bound(a.args[1], dims, want_lower, assumed);
    if (!x || !y) return std::nullopt;
    return apply(a.op, *x, *y);
  }
  const Sym& divisor = a.args[1];
  if (mentions_position(divisor)) return std::nullopt;
  if (!positive(divisor)) {
    if (!assumed) return std::nullopt;
    if (std::find(assumed->begin(), assumed->end(), divisor) == assumed->end()) assumed->push_back(divisor);
  }
  if (a.op != SymOp::Mod) {
    auto x = bound(a.args[0], dims, want_lower, assumed);
    return x ? std::optional(apply(a.op, *x, divisor)) : std::nullopt;
  }
  // Within one period a remainder grows with its dividend.
  auto lo = bound(a.args[0], dims, true, assumed), hi = bound(a.args[0], dims, false, assumed);
  if (lo && hi && floor_div(*lo, divisor) == floor_div(*hi, divisor)) return mod(want_lower ? *lo : *hi, divisor);
  return want_lower ? Sym(0) : divisor - 1;
}

}  // namespace tessera::ir
