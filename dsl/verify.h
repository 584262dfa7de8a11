// The invariants of Tile IR, checked between passes in debug builds, in CI and by `tessera opt`.
//
//   1. Every operand is visible: defined earlier in the same block or in an enclosing one.
//   2. Operand, result and region counts are those of the op table; result types are what the op's rule gives.
//   3. Every region ends in exactly one yield, and yields what its op expects; a kernel's body ends in a yield of nothing.
//   4. Body arguments are the present parameters, then one idx scalar a grid axis.
//   5. Tile dims are positive, tiles not larger than kMaxTileElements. Storage-only dtypes occur only in load, store, cast, bitcast, select,
//      constants, shape ops, products, and as carried or yielded values.
//   6. Views are written as their mode allows: in: never; out, scatter: stored, never loaded; add: added to or fetch_add; inout: all.
//   7. Symbols used by `sym`, dims, `where` and the grid are listed in the kernel.
//   8. parent, def, block and index links are consistent; no op is shared.
//   9. Attributes an op needs are present and in range (axis within rank, perm a permutation, size > 0).
// Not checked here: that a range's [lo, hi) lies within the axis it indexes (the interpreter checks it at run time), coverage of `out` views
// (codegen/passes/coverage).
#pragma once

#include <string>
#include <vector>

#include "dsl/ir.h"

namespace tessera::ir {

/// All violations, each naming the op as printed; empty if the kernel is sound.
std::vector<std::string> verify(const Kernel& kernel);

/// Throws InternalError listing the violations. `after` names the pass that ran.
void verify_or_die(const Kernel& kernel, const std::string& after);

}  // namespace tessera::ir
