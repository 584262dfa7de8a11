// Pass `one_trip`: a row that one tile holds is read once.
//
// Kernels of rows of any length walk over a row several times: a loop for each statistic, one for the result. Where the loops have the same bounds,
// the pass puts a copy of them in front for launches in which each makes exactly one trip; there they are straight code, in which fold finds that
// they read the same tiles. For machines whose instances hold tiles in registers: elsewhere a second read costs little, and the copy buys nothing.
// Precondition: a sound kernel after fold. Results are the same; what changed is folded again.
#pragma once

#include "dsl/ir.h"

namespace tessera::ir {

void one_trip(Kernel& kernel);

}  // namespace tessera::ir
