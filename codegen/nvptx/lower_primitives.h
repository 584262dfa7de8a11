// Device primitives -> NVVM intrinsics, or inline PTX where LLVM has none.
#pragma once

#include <llvm/IR/Module.h>

#include "codegen/gpu/target.h"

namespace tessera::nvptx {

/// Replaces every call of a primitive in `module`, and its declarations. Returns the PTX version (major * 10 + minor) that the target and the
/// primitives need. Throws InternalError for a primitive that is newer than the target.
/// Precondition: primitives are called directly, with the argument types of the table.
int lower_primitives(llvm::Module& module, const GpuTarget& target);

}  // namespace tessera::nvptx
