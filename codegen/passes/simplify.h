// Local rules of the pass `fold`: one op replaced by a constant, an operand or a cheaper op, with the same bits.
#pragma once

#include "codegen/passes/affine.h"
#include "dsl/builder.h"
#include "dsl/ir.h"

namespace tessera::ir {

/// What the only result of `op` may be replaced by, or null. New ops are appended to `b`, whose block ends right before `op`.
/// Sets `touched` if the op was changed in place (a range found full, a load that need not zero).
Value* simplify(Op& op, Builder& b, Affine& affine, bool& touched);

}  // namespace tessera::ir
