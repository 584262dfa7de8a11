// Which kinds of numbers a value may hold: the facts behind pad states and skipped trips ("never -inf", "zero", "finite").
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "codegen/passes/scalar.h"
#include "dsl/ir.h"

namespace tessera::ir {

/// Kinds of numbers, as a set. Integers and bools are zero (positive) or other.
enum Class : unsigned { kNaN = 1, kNegInf = 2, kPosInf = 4, kPosZero = 8, kNegZero = 16, kOther = 32 };
constexpr unsigned kZero = kPosZero | kNegZero;
constexpr unsigned kFinite = kZero | kOther;
constexpr unsigned kAnything = kFinite | kNaN | kNegInf | kPosInf;

unsigned class_of(const Number& n);

/// What all elements of some part of a tile have in common: the kinds they may be, and their value if it is one.
struct Abstract {
  unsigned kinds = kAnything;
  std::optional<Number> value;

  bool within(unsigned k) const { return (kinds & ~k) == 0; }
  friend bool operator==(const Abstract& a, const Abstract& b) {
    return a.kinds == b.kinds && a.value.has_value() == b.value.has_value() && (!a.value || same(*a.value, *b.value));
  }
};
Abstract exactly(const Number& n);
Abstract anything(DType t);
/// Any finite number of the type.
Abstract finite(DType t);
Abstract join(const Abstract& a, const Abstract& b);

/// The result of an elementwise op. `tame`: finite operands do not overflow or underflow.
Abstract transfer(const Op& op, const std::vector<Abstract>& operands, bool tame = false);
/// What `x` still may be where `condition` has the value `truth`, if the condition compares `v` with a constant.
Abstract refine(const Value* condition, bool truth, const Value* v, const Abstract& x);
/// A reduction or scan of elements of which each is `x`.
Abstract fold_of(ReduceKind kind, const Abstract& x, DType t, bool tame = false);

/// The class of all elements of every tile of a kernel, through loops.
class ValueClasses {
 public:
  /// `also` are values that may in part be replaced by a constant: it counts as one of their elements. `tame`: numbers in memory are finite, and
  /// so is what is computed from finite numbers, but for a quotient by zero and the like.
  explicit ValueClasses(const Block& body, std::map<const Value*, Abstract> also = {}, bool tame = false);
  const Abstract& of(const Value* v) const;

 private:
  void run(const Block& block);
  void run(const Op& op);
  void set(const Value* v, Abstract a);
  void run_loop(const Op& op);

  Abstract unknown(DType t) const { return tame_ ? finite(t) : anything(t); }

  std::map<const Value*, Abstract> also_;
  bool tame_;
  std::map<const Value*, Abstract> known_;
};

}  // namespace tessera::ir
