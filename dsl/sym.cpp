#include "dsl/sym.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>
#include <stdexcept>

#include "dsl/diagnostic.h"

namespace tessera {

namespace {

// Wrapping arithmetic, as `idx` has it; signed overflow would be undefined.
std::int64_t wrap_add(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}
std::int64_t wrap_mul(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b));
}

const char* call_name(SymOp op) {
  switch (op) {
    case SymOp::Symbol: return "";
    case SymOp::FloorDiv: return "div";
    case SymOp::Mod: return "mod";
    case SymOp::CeilDiv: return "ceil";
    case SymOp::Min: return "min";
    case SymOp::Max: return "max";
  }
  TESSERA_UNREACHABLE("SymOp");
}

// Beyond these a normal form is of no use, and forms made of it grow without bound.
constexpr std::size_t most_terms = 512, longest_atom = 1 << 13, highest_degree = 16;

void require_small(bool small) {
  if (!small) throw std::length_error("symbolic integer too large");
}

Sym opaque(SymOp op, const Sym& a, const Sym& b) {
  std::size_t length = 0;
  for (const Sym* s : {&a, &b})
    for (const auto& [m, c] : s->terms())
      for (const auto& atom : m) length += atom->text.size();
  require_small(length <= longest_atom);
  return Sym::atom({op, std::string(call_name(op)) + "(" + a.str() + ", " + b.str() + ")", {a, b}});
}

Sym scaled(const Sym& a, std::int64_t c) {
  std::map<Sym::Monomial, std::int64_t> terms;
  for (const auto& [m, k] : a.terms()) terms[m] = wrap_mul(k, c);
  return Sym::from_terms(std::move(terms));
}

std::int64_t constant_term(const Sym& a) {
  auto it = a.terms().find({});
  return it == a.terms().end() ? 0 : it->second;
}

/// The only atom of `a` if `a` is exactly that atom.
const SymAtom* only_atom(const Sym& a) {
  if (a.terms().size() != 1) return nullptr;
  const auto& [m, c] = *a.terms().begin();
  return m.size() == 1 && c == 1 ? &*m.front() : nullptr;
}

/// `m` without the factors of `by`; empty if they do not all occur.
std::optional<Sym::Monomial> divide(const Sym::Monomial& m, const Sym::Monomial& by) {
  if (!std::includes(m.begin(), m.end(), by.begin(), by.end())) return std::nullopt;
  Sym::Monomial rest;
  std::set_difference(m.begin(), m.end(), by.begin(), by.end(), std::back_inserter(rest));
  return rest;
}

struct Split {
  Sym quotient, rest;  ///< a = quotient * b + rest
};

/// Splits off the terms of `a` that are exact multiples of a symbolic `b`.
Split split_symbolic(const Sym& a, const Sym& b) {
  if (b.terms().size() == 1) {
    const auto& [bm, bc] = *b.terms().begin();
    std::map<Sym::Monomial, std::int64_t> q, r;
    for (const auto& [m, c] : a.terms()) {
      auto rest = divide(m, bm);
      if (rest && floor_mod(c, bc) == 0)
        q[*rest] = floor_div(c, bc);
      else
        r[m] = c;
    }
    return {Sym::from_terms(std::move(q)), Sym::from_terms(std::move(r))};
  }
  // A sum divides its own constant multiples, up to what is left of them.
  const auto& [lead, bc] = *b.terms().rbegin();
  auto it = a.terms().find(lead);
  if (it != a.terms().end() && floor_mod(it->second, bc) == 0) {
    std::int64_t c = floor_div(it->second, bc);
    Sym rest = a - scaled(b, c);
    if (rest == Sym()) return {c, rest};
  }
  return {0, a};
}

/// gcd of `b` and the coefficients of the non-constant terms of `a`, which are below b in magnitude.
std::int64_t common_factor(const Sym& a, std::int64_t b) {
  std::int64_t g = b;
  for (const auto& [m, c] : a.terms())
    if (!m.empty()) g = std::gcd(g, c);
  return g;
}

/// `a` without its constant term, divided by g, plus `constant`.
Sym rescaled(const Sym& a, std::int64_t g, std::int64_t constant) {
  std::map<Sym::Monomial, std::int64_t> terms;
  for (const auto& [m, c] : a.terms())
    if (!m.empty()) terms[m] = c / g;
  terms[{}] = constant;
  return Sym::from_terms(std::move(terms));
}

/// a = b * quotient + rest with coefficients of rest below b in magnitude and its constant in [0, b). Precondition: b > 0.
Split split_constant(const Sym& a, std::int64_t b) {
  std::map<Sym::Monomial, std::int64_t> q, r;
  for (const auto& [m, c] : a.terms()) {
    std::int64_t part = m.empty() ? floor_div(c, b) : c / b;
    q[m] = part;
    r[m] = c - part * b;
  }
  return {Sym::from_terms(std::move(q)), Sym::from_terms(std::move(r))};
}

/// Precondition: b > 1. The remaining atom is `ceil` where its constant would be b - 1, so that (S + 63) / 64 and ceil(S, 64) are one form.
Sym floor_div_constant(const Sym& a, std::int64_t b) {
  auto [q, r] = split_constant(a, b);
  std::int64_t g = common_factor(r, b);
  std::int64_t k = floor_div(constant_term(r), g);
  b /= g;
  r = rescaled(r, g, k);
  if (b == 1) return q + r;
  if (r.is_constant()) return q;  // 0 <= constant < b
  if (k == b - 1) {
    Sym inner = r - k;
    if (const SymAtom* atom = only_atom(inner); atom && atom->op == SymOp::CeilDiv) {
      auto d = atom->args[1].as_constant();
      std::int64_t product = 0;
      if (d && *d > 0 && !__builtin_mul_overflow(*d, b, &product)) return q + ceil_div(atom->args[0], product);
    }
    return q + opaque(SymOp::CeilDiv, inner, b);
  }
  if (const SymAtom* atom = only_atom(r)) {
    auto d = atom->op == SymOp::FloorDiv || atom->op == SymOp::Mod ? atom->args[1].as_constant() : std::nullopt;
    std::int64_t product = 0;
    if (d && *d > 0 && atom->op == SymOp::FloorDiv && !__builtin_mul_overflow(*d, b, &product)) return q + floor_div(atom->args[0], product);
    if (d && *d > 0 && *d <= b && atom->op == SymOp::Mod) return q;
  }
  return q + opaque(SymOp::FloorDiv, r, b);
}

/// Precondition: b > 1.
Sym mod_constant(const Sym& a, std::int64_t b) {
  Sym r = split_constant(a, b).rest;
  std::int64_t g = common_factor(r, b);
  std::int64_t k = constant_term(r);
  std::int64_t low = floor_mod(k, g);
  r = rescaled(r, g, floor_div(k, g));
  b /= g;
  if (b == 1) return low;
  if (auto c = r.as_constant()) return *c * g + low;
  if (const SymAtom* atom = only_atom(r); atom && atom->op == SymOp::Mod) {
    auto d = atom->args[1].as_constant();
    if (d && *d > 0 && *d <= b) return scaled(r, g) + low;
    if (d && *d > 0 && *d % b == 0) return scaled(mod(atom->args[0], b), g) + low;
  }
  return scaled(opaque(SymOp::Mod, r, b), g) + low;
}

bool negatable(const Sym& a) {
  return std::all_of(a.terms().begin(), a.terms().end(), [](const auto& t) { return t.second != std::numeric_limits<std::int64_t>::min(); });
}

void flatten(SymOp op, const Sym& a, std::vector<Sym>& out) {
  if (const SymAtom* atom = only_atom(a); atom && atom->op == op)
    for (const Sym& x : atom->args) flatten(op, x, out);
  else
    out.push_back(a);
}

/// min and max: arguments of nested calls are collected, those at a constant distance merged, the rest sorted.
Sym extremum(SymOp op, const Sym& a, const Sym& b) {
  std::vector<Sym> all, kept;
  flatten(op, a, all);
  flatten(op, b, all);
  for (const Sym& x : all) {
    bool merged = false;
    for (Sym& y : kept) {
      auto d = (x - y).as_constant();
      if (!d) continue;
      if (op == SymOp::Min ? *d < 0 : *d > 0) y = x;
      merged = true;
      break;
    }
    if (!merged) kept.push_back(x);
  }
  std::sort(kept.begin(), kept.end(), [](const Sym& x, const Sym& y) { return x.str() < y.str(); });
  Sym result = kept.back();
  for (std::size_t i = kept.size() - 1; i-- > 0;) result = opaque(op, kept[i], result);
  return result;
}

void collect_symbols(const Sym& a, std::set<std::string>& out) {
  for (const auto& [m, c] : a.terms())
    for (const auto& atom : m) {
      if (atom->op == SymOp::Symbol) out.insert(atom->text);
      for (const Sym& x : atom->args) collect_symbols(x, out);
    }
}

}  // namespace

std::int64_t floor_div(std::int64_t a, std::int64_t b) {
  if (b == 0) return 0;
  if (b == -1) return wrap_mul(a, -1);
  return a / b - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);
}
std::int64_t floor_mod(std::int64_t a, std::int64_t b) {
  if (b == 0 || b == -1) return 0;
  std::int64_t r = a % b;
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  if (b == 0) return 0;
  if (b == -1) return wrap_mul(a, -1);
  return a / b + ((a % b != 0 && (a < 0) == (b < 0)) ? 1 : 0);
}

SymAtomRef::SymAtomRef(SymAtom a) : atom_(std::make_shared<const SymAtom>(std::move(a))) {}

Sym::Sym(std::int64_t value) {
  if (value != 0) terms_[{}] = value;
}

Sym Sym::symbol(std::string name) { return atom({SymOp::Symbol, std::move(name), {}}); }

Sym Sym::atom(SymAtom a) {
  Sym s;
  s.terms_[{SymAtomRef(std::move(a))}] = 1;
  return s;
}

Sym Sym::from_terms(std::map<Monomial, std::int64_t> terms) {
  std::erase_if(terms, [](const auto& t) { return t.second == 0; });
  Sym s;
  s.terms_ = std::move(terms);
  return s;
}

bool Sym::is_constant() const { return terms_.empty() || (terms_.size() == 1 && terms_.begin()->first.empty()); }

std::int64_t Sym::constant() const {
  TESSERA_ASSERT(is_constant(), "not a constant: " + str());
  return constant_term(*this);
}

std::optional<std::int64_t> Sym::as_constant() const { return is_constant() ? std::optional(constant_term(*this)) : std::nullopt; }

std::optional<std::string> Sym::as_symbol() const {
  const SymAtom* a = only_atom(*this);
  return a && a->op == SymOp::Symbol ? std::optional(a->text) : std::nullopt;
}

bool Sym::is_plain_polynomial() const {
  for (const auto& [m, c] : terms_)
    for (const auto& a : m)
      if (a->op != SymOp::Symbol) return false;
  return true;
}

std::optional<std::int64_t> Sym::coefficient(const std::string& symbol) const {
  std::int64_t result = 0;
  for (const auto& [m, c] : terms_)
    for (const auto& a : m) {
      if (a->op == SymOp::Symbol) {
        if (a->text != symbol) continue;
        if (m.size() != 1) return std::nullopt;
        result = c;
      } else if (std::any_of(a->args.begin(), a->args.end(), [&](const Sym& x) { return x.mentions(symbol); })) {
        return std::nullopt;
      }
    }
  return result;
}

bool Sym::mentions(const std::string& symbol) const {
  for (const auto& [m, c] : terms_)
    for (const auto& a : m) {
      if (a->op == SymOp::Symbol && a->text == symbol) return true;
      for (const Sym& x : a->args)
        if (x.mentions(symbol)) return true;
    }
  return false;
}

std::vector<std::string> Sym::symbols() const {
  std::set<std::string> names;
  collect_symbols(*this, names);
  return {names.begin(), names.end()};
}

std::string Sym::str() const {
  if (terms_.empty()) return "0";
  std::string out;
  auto add = [&](const Monomial& m, std::int64_t c) {
    bool negative = c < 0;
    std::uint64_t magnitude = negative ? 0 - static_cast<std::uint64_t>(c) : static_cast<std::uint64_t>(c);
    if (out.empty())
      out += negative ? "-" : "";
    else
      out += negative ? " - " : " + ";
    bool factor = magnitude != 1 || m.empty();
    if (factor) out += std::to_string(magnitude);
    for (const auto& a : m) {
      if (factor) out += "*";
      out += a->text;
      factor = true;
    }
  };
  for (const auto& [m, c] : terms_)
    if (!m.empty()) add(m, c);
  if (std::int64_t k = constant_term(*this)) add({}, k);
  return out;
}

std::optional<std::int64_t> Sym::eval(const std::function<std::optional<std::int64_t>(const std::string&)>& value) const {
  std::int64_t sum = 0;
  for (const auto& [m, c] : terms_) {
    std::int64_t product = c;
    for (const auto& a : m) {
      std::int64_t factor = 0;
      if (a->op == SymOp::Symbol) {
        auto v = value(a->text);
        if (!v) return std::nullopt;
        factor = *v;
      } else {
        auto x = a->args[0].eval(value), y = a->args[1].eval(value);
        if (!x || !y) return std::nullopt;
        bool divides = a->op == SymOp::FloorDiv || a->op == SymOp::CeilDiv;
        if (divides && *y == -1 && *x == std::numeric_limits<std::int64_t>::min()) return std::nullopt;
        factor = apply(a->op, *x, *y).constant();
      }
      if (__builtin_mul_overflow(product, factor, &product)) return std::nullopt;
    }
    if (__builtin_add_overflow(sum, product, &sum)) return std::nullopt;
  }
  return sum;
}

Sym Sym::substitute(const std::function<std::optional<Sym>(const std::string&)>& with) const {
  Sym sum;
  for (const auto& [m, c] : terms_) {
    Sym product = c;
    for (const auto& a : m) {
      if (a->op == SymOp::Symbol) {
        auto s = with(a->text);
        product = product * (s ? *s : Sym::symbol(a->text));
      } else {
        product = product * apply(a->op, a->args[0].substitute(with), a->args[1].substitute(with));
      }
    }
    sum = sum + product;
  }
  return sum;
}

Sym operator+(const Sym& a, const Sym& b) {
  auto terms = a.terms();
  for (const auto& [m, c] : b.terms()) {
    auto& slot = terms[m];
    slot = wrap_add(slot, c);
  }
  return Sym::from_terms(std::move(terms));
}

Sym operator-(const Sym& a) { return scaled(a, -1); }
Sym operator-(const Sym& a, const Sym& b) { return a + -b; }

Sym operator*(const Sym& a, const Sym& b) {
  require_small(a.terms().size() * b.terms().size() <= most_terms);
  std::map<Sym::Monomial, std::int64_t> terms;
  for (const auto& [m, c] : a.terms())
    for (const auto& [n, d] : b.terms()) {
      Sym::Monomial product;
      require_small(m.size() + n.size() <= highest_degree);
      std::merge(m.begin(), m.end(), n.begin(), n.end(), std::back_inserter(product));
      auto& slot = terms[product];
      slot = wrap_add(slot, wrap_mul(c, d));
    }
  return Sym::from_terms(std::move(terms));
}

Sym floor_div(const Sym& a, const Sym& b) {
  if (auto d = b.as_constant()) {
    if (*d == 0) return 0;
    if (*d == 1) return a;
    if (auto c = a.as_constant()) return floor_div(*c, *d);
    if (*d > 1) return floor_div_constant(a, *d);
    if (negatable(a) && negatable(b)) return floor_div(-a, -b);
    return opaque(SymOp::FloorDiv, a, b);
  }
  auto [q, r] = split_symbolic(a, b);
  return r == Sym() ? q : q + opaque(SymOp::FloorDiv, r, b);
}

Sym ceil_div(const Sym& a, const Sym& b) {
  if (auto d = b.as_constant()) {
    if (auto c = a.as_constant()) return ceil_div(*c, *d);
    if (*d >= 0) return floor_div(a + (*d - 1), b);
    if (negatable(a) && negatable(b)) return ceil_div(-a, -b);
    return opaque(SymOp::CeilDiv, a, b);
  }
  auto [q, r] = split_symbolic(a, b);
  return r == Sym() ? q : q + opaque(SymOp::CeilDiv, r, b);
}

Sym mod(const Sym& a, const Sym& b) {
  if (auto d = b.as_constant()) {
    if (*d == 0 || *d == 1 || *d == -1) return 0;
    if (auto c = a.as_constant()) return floor_mod(*c, *d);
    if (*d > 1) return mod_constant(a, *d);
    if (negatable(a) && negatable(b)) return -mod(-a, -b);
    return opaque(SymOp::Mod, a, b);
  }
  Sym r = split_symbolic(a, b).rest;
  return r == Sym() ? r : opaque(SymOp::Mod, r, b);
}

Sym min(const Sym& a, const Sym& b) { return extremum(SymOp::Min, a, b); }
Sym max(const Sym& a, const Sym& b) { return extremum(SymOp::Max, a, b); }

Sym apply(SymOp op, const Sym& a, const Sym& b) {
  switch (op) {
    case SymOp::Symbol: break;
    case SymOp::FloorDiv: return floor_div(a, b);
    case SymOp::Mod: return mod(a, b);
    case SymOp::CeilDiv: return ceil_div(a, b);
    case SymOp::Min: return min(a, b);
    case SymOp::Max: return max(a, b);
  }
  TESSERA_UNREACHABLE("a symbol is not applied");
}

const char* text(Compare c) {
  switch (c) {
    case Compare::Eq: return "==";
    case Compare::Ne: return "!=";
    case Compare::Lt: return "<";
    case Compare::Le: return "<=";
    case Compare::Gt: return ">";
    case Compare::Ge: return ">=";
  }
  TESSERA_UNREACHABLE("Compare");
}

bool holds(Compare c, std::int64_t a, std::int64_t b) {
  switch (c) {
    case Compare::Eq: return a == b;
    case Compare::Ne: return a != b;
    case Compare::Lt: return a < b;
    case Compare::Le: return a <= b;
    case Compare::Gt: return a > b;
    case Compare::Ge: return a >= b;
  }
  TESSERA_UNREACHABLE("Compare");
}

}  // namespace tessera
