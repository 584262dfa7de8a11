// Which views may share memory with a written one: the part of `coverage` that looks at reads.
#pragma once

#include "dsl/ir.h"

namespace tessera::ir {

/// Sets kernel.in_place to all pairs (written, read) of `out` or `inout` and read-only parameters of equal type and dims for which every load of
/// the latter has the map of every store of the former and comes before it in the same trip, or in an earlier loop over the same elements.
/// Precondition: `out` views are stored once (coverage); for `inout` the stores' maps must be injective too, which is checked here.
void record_in_place(Kernel& kernel);

}  // namespace tessera::ir
