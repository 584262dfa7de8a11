// LLVM's NVPTX target.
#pragma once

#include <llvm/Target/TargetMachine.h>

#include <memory>

#include "codegen/gpu/target.h"

namespace tessera::nvptx {

/// Code generation for the target with this PTX version, at level Aggressive, with 32-bit pointers into shared memory and multiply-add contraction.
/// Throws InternalError if this LLVM has no such target.
std::unique_ptr<llvm::TargetMachine> create_machine(const GpuTarget& target, int ptx);

}  // namespace tessera::nvptx
