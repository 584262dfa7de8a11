// For which values of a loop variable an affine condition holds for a whole tile, and for which it fails for a whole tile.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "codegen/passes/affine.h"
#include "dsl/ir.h"

namespace tessera::ir {

/// Bounds on a loop variable x, all inclusive: x >= every lower and x <= every upper.
struct Interval {
  std::vector<Sym> lower, upper;
};

/// What is known about a condition (wanted true or false) as a function of the loop variable.
struct Region {
  Interval settled;                     ///< here every value in `values` is what it maps to, for the whole tile
  Interval possible;                    ///< outside of this the condition is the unwanted one for the whole tile
  std::map<const Value*, bool> values;  ///< parts of the condition; none: nothing is known
  std::vector<Sym> assumed;             ///< all of it only if these are positive
};

/// `condition`: conjunctions, disjunctions and negations of `inside` and comparisons of affine idx tiles, also through floor division and
/// remainder. Parts that are none of these are left alone by a conjunction. `iv` is the induction variable of `loop`; bounds are made of values
/// that can be operands of `loop`. Bounds that hold for all trips are left out.
Region mask_region(Affine& affine, const Op& loop, const Value* condition, bool wanted);
/// When all coordinates of a range are valid. `values` has the range.
Region range_region(Affine& affine, const Op& loop, const Value* range);

}  // namespace tessera::ir
