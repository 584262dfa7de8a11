// What `where` clauses promise, kept as solved rewrites and as divisibilities.
#include <algorithm>
#include <numeric>

#include "dsl/sym.h"

namespace tessera {

namespace {

using Fact = std::pair<Sym, Sym>;  ///< first is a multiple of second

/// A Sym with floor_div(f, m) for a fact about f kept whole, where the public constructors might split it.
Sym quotient_atom(const Sym& f, const Sym& m) { return Sym::atom({SymOp::FloorDiv, "div(" + f.str() + ", " + m.str() + ")", {f, m}}); }

Sym one_term(const Sym::Monomial& m, std::int64_t c) { return Sym::from_terms({{m, c}}); }

/// The largest q with a = q * f + rest that is read off term by term: any multiple of a single term, a constant multiple of a sum.
Sym multiple_of(const Sym& a, const Sym& f) {
  if (f.terms().size() == 1) {
    // Exact splitting is what division by f does; the remainder's atom is what is not a multiple.
    const auto& [fm, fc] = *f.terms().begin();
    Sym q;
    for (const auto& [m, c] : a.terms()) {
      if (!std::includes(m.begin(), m.end(), fm.begin(), fm.end()) || floor_mod(c, fc) != 0) continue;
      Sym::Monomial rest;
      std::set_difference(m.begin(), m.end(), fm.begin(), fm.end(), std::back_inserter(rest));
      q = q + one_term(rest, floor_div(c, fc));
    }
    return q;
  }
  if (f.terms().empty()) return 0;
  const auto& [lead, fc] = *f.terms().rbegin();
  auto it = a.terms().find(lead);
  if (it == a.terms().end() || floor_mod(it->second, fc) != 0) return 0;
  return floor_div(it->second, fc);
}

bool divides(const Sym& m, const Sym& d) { return !(m == Sym(0)) && mod(d, m) == Sym(0); }

class Resolver {
 public:
  explicit Resolver(const std::vector<Fact>& facts) : facts_(facts) {}

  Sym run(const Sym& a) const {
    Sym sum;
    for (const auto& [m, c] : a.terms()) {
      Sym product = c;
      for (const auto& atom : m)
        product = product * (atom->op == SymOp::Symbol ? Sym::atom(*atom) : resolve(atom->op, run(atom->args[0]), run(atom->args[1])));
      sum = sum + product;
    }
    return restore(sum);
  }

 private:
  Sym resolve(SymOp op, Sym x, const Sym& m) const {
    if (op == SymOp::Min || op == SymOp::Max || m == Sym(0)) return apply(op, x, m);
    Sym whole;  // quotients of the parts of x that are multiples of m
    for (const auto& [f, d] : facts_) {
      if (!divides(m, d)) continue;
      Sym q = multiple_of(x, f);
      if (q == Sym(0)) continue;
      x = x - q * f;
      whole = whole + q * quotient_atom(f, m);
    }
    Sym rest = apply(op, x, m);
    return op == SymOp::Mod ? rest : whole + rest;
  }

  /// q * m * div(f, m) -> q * f
  Sym restore(Sym a) const {
    for (const auto& [f, d] : facts_) {
      const Sym before = a;
      for (const auto& [m, c] : before.terms())
        for (const auto& atom : m) {
          if (atom->op != SymOp::FloorDiv || !(atom->args[0] == f) || !divides(atom->args[1], d)) continue;
          Sym::Monomial others = m;
          others.erase(std::find(others.begin(), others.end(), atom));
          Sym q = floor_div(one_term(others, c), atom->args[1]);
          if (!(q * atom->args[1] == one_term(others, c))) continue;
          a = a - one_term(m, c) + q * f;
          break;
        }
    }
    return a;
  }

  const std::vector<Fact>& facts_;
};

}  // namespace

Sym SymFacts::rewrite(const Sym& a) const {
  return a.substitute([&](const std::string& name) -> std::optional<Sym> {
    for (const auto& [symbol, form] : rewrites_)
      if (symbol == name) return form;
    return std::nullopt;
  });
}

void SymFacts::add_equal(const Sym& a, const Sym& b) {
  Sym x = rewrite(a), y = rewrite(b), difference = x - y;
  std::optional<std::pair<std::string, Sym>> solved;
  auto try_symbol = [&](const Sym& side, const Sym& form) {
    auto name = side.as_symbol();
    if (!solved && name && !form.mentions(*name)) solved = {*name, form};
  };
  try_symbol(x, y);
  try_symbol(y, x);
  for (const auto& [m, c] : difference.terms()) {
    if (solved || m.size() != 1 || m[0]->op != SymOp::Symbol || (c != 1 && c != -1)) continue;
    Sym symbol = one_term(m, c), rest = difference - symbol;
    try_symbol(one_term(m, 1), c == 1 ? -rest : rest);
  }
  if (!solved) return;
  // The new form is free of rewritten symbols; the old ones become free of the new one. So one pass of rewriting is a fixpoint.
  for (auto& [symbol, form] : rewrites_)
    form = form.substitute([&](const std::string& name) { return name == solved->first ? std::optional(solved->second) : std::nullopt; });
  rewrites_.push_back(std::move(*solved));
}

void SymFacts::add_divisible(const Sym& a, const Sym& by) {
  for (auto& [f, d] : divisible_) {
    auto x = d.as_constant(), y = by.as_constant();
    if (!(f == a) || !x || !y || *x == 0 || *y == 0) continue;
    std::int64_t gcd = std::gcd(*x, *y), lcm = 0;
    if (!__builtin_mul_overflow(*x / gcd, *y, &lcm)) {
      d = lcm < 0 ? -Sym(lcm) : Sym(lcm);
      return;
    }
  }
  divisible_.emplace_back(a, by);
}

Sym SymFacts::normalise(const Sym& a) const {
  std::vector<Fact> facts;
  for (const auto& [f, d] : divisible_) {
    Fact fact{rewrite(f), rewrite(d)};
    if (!fact.first.is_constant()) facts.push_back(std::move(fact));
  }
  return Resolver(facts).run(rewrite(a));
}

bool SymFacts::proves_divisible(const Sym& a, const Sym& by) const {
  Sym x = normalise(a), m = normalise(by);
  if (m == Sym(0)) return x == Sym(0);
  return normalise(mod(x, m)) == Sym(0);
}

}  // namespace tessera
