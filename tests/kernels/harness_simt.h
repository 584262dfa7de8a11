// The simulated-GPU half of the harness.
#pragma once

#include <map>
#include <string>

#include "codegen/gpu/target.h"
#include "tests/kernels/harness.h"

namespace tessera::test {

/// Launches on the simulated GPU; `tensors` are written in place. Throws std::runtime_error with the hazards if there are any. Compiled kernels are
/// kept for the life of the process.
void run_simt(const Call& call, std::map<std::string, Buffer>& tensors, const GpuTarget& target);

}  // namespace tessera::test
