// Elementwise ops on constants, by the reference interpreter's own functions: folding cannot disagree with the semantics.
#pragma once

#include <optional>
#include <vector>

#include "dsl/ir.h"

namespace tessera::ir {

/// A number of some dtype: floats in `f`, integers, idx and bool in `i`.
struct Number {
  DType dtype = DType::F32;
  double f = 0;
  std::int64_t i = 0;

  bool floats() const { return is_float(dtype); }
};
/// Bitwise for floats: +0 and -0 differ, a NaN equals a NaN.
bool same(const Number& a, const Number& b);

/// Value of a constant scalar or splat, seen through broadcast and reshape, rounded to its dtype.
std::optional<Number> constant(const Value* v);

/// Elementwise `op` applied to every combination of the operands' values, first operand slowest. Only kind, dtypes and attributes of `op` count.
/// Precondition: op is elementwise.
std::vector<Number> evaluate_all(const Op& op, const std::vector<std::vector<Number>>& operands);
Number evaluate(const Op& op, const std::vector<Number>& operands);

}  // namespace tessera::ir
