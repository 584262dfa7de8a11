// Pass `fold`: constants, identities, common subexpressions, dead code, decided branches, loops of no or one trip, loop-invariant code.
//
// Everything keeps the bits of every value: x + 0 is folded for integers, not for floats (-0 + 0 = 0); constants are computed by the
// interpreter's own functions. Ranges that provably lie within [lo, hi) become {full}. Runs to a fixpoint.
// Precondition: a sound kernel. Loads of written views are neither merged nor moved.
#pragma once

#include "dsl/ir.h"

namespace tessera::ir {

void fold(Kernel& kernel);

}  // namespace tessera::ir
