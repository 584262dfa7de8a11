// The simulated-GPU half of the harness.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "codegen/gpu/compile.h"
#include "codegen/simt/simulate.h"
#include "tests/kernels/harness.h"

namespace tessera::test {

/// The code of a kernel for a GPU, and the Tile IR that its launches are checked by.
struct SimtCode {
  std::unique_ptr<ir::Kernel> kernel;
  GpuIr ir;
};
/// Throws std::runtime_error with the diagnostics.
SimtCode emit_simt(const Call& call, const GpuTarget& target);

/// Launches code that emit_simt made of the same call; `tensors` are written in place. `shift`: they begin so many elements behind an address that
/// all vectors divide, or only the one named `shifted` does.
SimtResult simulate(const SimtKernel& code, const ir::Kernel& kernel, const Call& call, std::map<std::string, Buffer>& tensors,
                    const SimtOptions& options, std::size_t shift = 0, const std::string& shifted = "");

/// Each tensor within 2 % of the largest number of what the interpreter gave, non-finite ones alike.
void expect_close(const std::map<std::string, Buffer>& simulated, const std::map<std::string, Buffer>& interpreted);

}  // namespace tessera::test
