// Pass `pad_states`: the selects that keep padding out of products and reductions, as few and as early as possible.
//
// The front end guards every op that mixes elements by `select(mask, x, identity)` with a mask made of `inside(range)` (TILE_IR.md, 1). The pass
// takes each of them as a demand on what x holds in the padding. Many are met already once some value upstream is pinned: with -inf scores, the
// weights exp(s - z) are zero. Demands still open are met, one at a time, by the change that meets most at the least cost: the condition of a
// select that stands there anyway takes the mask in, or a select is made at a guarded value for all its users. Loads are asked to give {zero} only
// where that is counted on. Masked assignments to variables lose their mask if nobody looks at the padding. A product needs zeros on one side and
// finite numbers on the other; 0 * x is 0 only for finite x.
//
// Correctness first: states follow from evaluating each op on every kind of number its operands may hold; a value is changed for all users only
// if none of them shows its padding; what cannot be proved keeps its select.
// Results are the same up to the sign of zero. Precondition: a sound kernel, folded (full ranges marked, common subexpressions merged).
#pragma once

#include "dsl/ir.h"

namespace tessera::ir {

void pad_states(Kernel& kernel);

}  // namespace tessera::ir
