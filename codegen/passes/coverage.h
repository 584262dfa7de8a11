// Pass `coverage`: every `out` view is stored whole and exactly once by the instances of a launch together, or the kernel is refused.
//
// A store is a map from grid indices, loop variables and positions in tiles to elements. On every axis on the way from the parameter to the tile
// the start must be a mixed-radix number of those variables whose digits are the tile's length, then the extents so far; its digits must reach
// the end of the axis; and every variable must be a digit exactly once. `t / C` and `t % C` are two digits of t. Several stores that differ on one
// axis by adjacent intervals count as one; the two arms of an `if` must store the same.
//
// Reports E0501 (never stored), E0502 (not whole), E0503 (more than once). Also records in kernel.in_place the pairs (written, read) of views of
// equal shape and type in which every element is read only before, or in the trip in which, the same instance writes it.
// Precondition: a folded kernel, before split_masks.
#pragma once

#include "dsl/diagnostic.h"
#include "dsl/ir.h"

namespace tessera::ir {

void coverage(Kernel& kernel, Diagnostics& diagnostics);

}  // namespace tessera::ir
