// Symbolic integers: extents, launch conditions, and the affine forms that proofs are made of.
//
// A Sym is a polynomial with integer coefficients over atoms, kept in normal form, so that equality of normal forms is a proof of equality.
// Atoms are named symbols (`Sq`, an SSA value, a generic constant) or opaque operations on Syms that the normal form cannot see through
// (floor division, remainder, ceiling division, min, max).
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tessera {

class Sym;

enum class SymOp : std::uint8_t { Symbol, FloorDiv, Mod, CeilDiv, Min, Max };

/// A leaf of a Sym. Ordered and compared by its printed text, which is unique for a normal form.
struct SymAtom {
  SymOp op = SymOp::Symbol;
  std::string text;       ///< the symbol's name, or the printed form
  std::vector<Sym> args;  ///< two, unless op == Symbol

  friend bool operator==(const SymAtom& a, const SymAtom& b) { return a.text == b.text; }
  friend std::strong_ordering operator<=>(const SymAtom& a, const SymAtom& b) { return a.text <=> b.text; }
};

/// Shared, immutable; compared by what it points to, not by address.
class SymAtomRef {
 public:
  explicit SymAtomRef(SymAtom a);
  const SymAtom& operator*() const { return *atom_; }
  const SymAtom* operator->() const { return atom_.get(); }
  friend bool operator==(const SymAtomRef& a, const SymAtomRef& b) { return a.atom_ == b.atom_ || *a == *b; }
  friend std::strong_ordering operator<=>(const SymAtomRef& a, const SymAtomRef& b) { return *a <=> *b; }

 private:
  std::shared_ptr<const SymAtom> atom_;
};

/// Coefficients wrap as `idx` arithmetic does. A symbolic divisor is taken to be nonzero when an exact quotient is simplified: (H*G)/G = H.
class Sym {
 public:
  using Monomial = std::vector<SymAtomRef>;  ///< sorted by text; empty = the constant term

  Sym() = default;          ///< 0
  Sym(std::int64_t value);  // NOLINT: a constant is a Sym wherever one is expected
  static Sym symbol(std::string name);

  bool is_constant() const;
  /// The value of a constant. Precondition: is_constant().
  std::int64_t constant() const;
  std::optional<std::int64_t> as_constant() const;
  /// The name if this is exactly one symbol with coefficient 1.
  std::optional<std::string> as_symbol() const;
  /// No opaque atoms: two different such forms are different for some values, so inequality of forms is a real mismatch.
  bool is_plain_polynomial() const;
  /// Coefficient of a symbol in an affine form; empty if the symbol occurs non-linearly or inside an opaque atom.
  std::optional<std::int64_t> coefficient(const std::string& symbol) const;
  bool mentions(const std::string& symbol) const;
  std::vector<std::string> symbols() const;  ///< all names, sorted, each once

  /// `H*G + 4`, parseable by parse_sym.
  std::string str() const;
  /// Value with symbols looked up by `value`; empty if a symbol is unknown or the result overflows int64. Division by zero gives 0.
  std::optional<std::int64_t> eval(const std::function<std::optional<std::int64_t>(const std::string&)>& value) const;
  /// Each symbol for which `with` gives a Sym is replaced.
  Sym substitute(const std::function<std::optional<Sym>(const std::string&)>& with) const;

  const std::map<Monomial, std::int64_t>& terms() const { return terms_; }
  static Sym from_terms(std::map<Monomial, std::int64_t> terms);
  static Sym atom(SymAtom a);

  friend bool operator==(const Sym& a, const Sym& b) { return a.terms_ == b.terms_; }

 private:
  std::map<Monomial, std::int64_t> terms_;
};

Sym operator+(const Sym& a, const Sym& b);
Sym operator-(const Sym& a, const Sym& b);
Sym operator*(const Sym& a, const Sym& b);
Sym operator-(const Sym& a);
/// Floor division and remainder as DESIGN defines them (by zero: 0). Exact quotients are simplified: (4*K)/4 = K.
Sym floor_div(const Sym& a, const Sym& b);
Sym mod(const Sym& a, const Sym& b);
Sym ceil_div(const Sym& a, const Sym& b);
Sym min(const Sym& a, const Sym& b);
Sym max(const Sym& a, const Sym& b);

std::int64_t floor_div(std::int64_t a, std::int64_t b);
std::int64_t floor_mod(std::int64_t a, std::int64_t b);
std::int64_t ceil_div(std::int64_t a, std::int64_t b);

/// Any of the above by its name in SymOp. Precondition: not SymOp::Symbol.
Sym apply(SymOp op, const Sym& a, const Sym& b);

/// Parses what str() prints, and infix + - * with parentheses; empty if malformed.
std::optional<Sym> parse_sym(std::string_view text);

/// What `where` clauses promise: equalities used as rewrites (H == G*R), divisibility (K % 128 == 0).
class SymFacts {
 public:
  void add_equal(const Sym& a, const Sym& b);
  void add_divisible(const Sym& a, const Sym& by);
  /// Rewritten by the equalities, with quotients and remainders that the divisibilities decide resolved.
  Sym normalise(const Sym& a) const;
  bool proves_equal(const Sym& a, const Sym& b) const { return normalise(a) == normalise(b); }
  bool proves_divisible(const Sym& a, const Sym& by) const;

 private:
  Sym rewrite(const Sym& a) const;

  std::vector<std::pair<std::string, Sym>> rewrites_;  ///< symbol -> form that mentions no rewritten symbol
  std::vector<std::pair<Sym, Sym>> divisible_;
};

enum class Compare : std::uint8_t { Eq, Ne, Lt, Le, Gt, Ge };
const char* text(Compare c);
bool holds(Compare c, std::int64_t a, std::int64_t b);

/// `a op b`, or `a in {b...}`, checked at launch.
struct SymCondition {
  Compare op = Compare::Eq;
  Sym lhs;
  std::vector<Sym> rhs;  ///< one, or several for `in` (op is Eq then)
};

}  // namespace tessera
