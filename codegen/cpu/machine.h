// LLVM's side of a CpuTarget: the TargetMachine, and which vector features it has.
#pragma once

#include <llvm/Target/TargetMachine.h>

#include <memory>

#include "codegen/cpu/emitter.h"
#include "codegen/cpu/target.h"

namespace tessera::cpu {

/// Small code model and position-independent: the defaults of a JIT builder (Large) cost an instruction a call. `level` is LLVM's code
/// generation level, 0 .. 3. Throws InternalError if LLVM does not know the target.
std::unique_ptr<llvm::TargetMachine> create_machine(const CpuTarget& target, int level);

VectorTarget vector_target(const llvm::TargetMachine& machine);

}  // namespace tessera::cpu
