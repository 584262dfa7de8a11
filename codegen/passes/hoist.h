// Loop-invariant code: pure ops, and loads of views that nobody writes, whose operands come from outside a loop move in front of it.
//
// Loads are total (what lies outside reads as nothing), so moving one in front of a loop without trips is harmless.
// Precondition: a sound kernel.
#pragma once

#include "dsl/ir.h"

namespace tessera::ir {

/// Whether anything was moved.
bool hoist_invariants(Kernel& kernel);

}  // namespace tessera::ir
