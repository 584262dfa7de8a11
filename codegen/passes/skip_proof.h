// Whether a trip of a loop in which some conditions fail throughout leaves everything as it was, so that the trip need not be made.
//
// The body is evaluated on kinds of numbers with the conditions set. Carried values are unknown finite numbers that must come out as they went in.
// A running maximum that starts at -inf makes a second case: where it still is -inf, the values that depend on it are still at their start; that
// is proved as an invariant of every trip first, row by row, so ops that mix rows are not allowed between them.
//
// What is taken for granted: numbers read from memory and computed from them are finite (0 * x is 0), and signs of zeros do not matter. A masked
// block is not read at all once it is skipped, so an infinity or NaN there does not reach the result, where multiplying by 0 would let it.
#pragma once

#include <map>

#include "codegen/passes/value_class.h"
#include "dsl/ir.h"

namespace tessera::ir {

/// `loop` is a `for`; `conditions` are bool values of its body and what they are throughout the trip. `classes` are those of the kernel, tame.
bool trip_changes_nothing(const Op& loop, const std::map<const Value*, bool>& conditions, const ValueClasses& classes);

}  // namespace tessera::ir
