// Dead code: ops whose results reach no effect are removed, loop variables and `if` results that only feed themselves too.
//
// Unlike remove_dead (dsl/ir.h) it sees through loops: a carried value is live only if its final value is used or it feeds one that is.
// Precondition: a sound kernel.
#pragma once

#include "dsl/ir.h"

namespace tessera::ir {

/// Whether anything was removed.
bool remove_unused(Kernel& kernel);

}  // namespace tessera::ir
