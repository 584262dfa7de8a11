// The compiled half of the harness.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tessera/tessera.h"
#include "tests/kernels/harness.h"

namespace tessera::test {

/// Where On::Cpu really runs: the target that the environment variable TESSERA_TEST_TARGET names ("cuda", "cuda:1"), else "cpu". So every test of the
/// CPU can be asked of a GPU too.
std::string compiled_target();
/// What code the launches there are of: the architecture that TESSERA_TEST_CODE names ("sm_80": older code runs on newer GPUs), else the target's
/// own.
std::string compiled_code();

/// Constants as the public API takes them.
Consts consts_of(const Constants& constants);

/// Optional views that the call lacks.
std::vector<std::string> absent_views(const Module& module, const Call& call);

/// Launches through the public API with that target; `tensors` are written in place. Compiled kernels are kept for the life of the process.
void run_cpu(const Call& call, std::map<std::string, Buffer>& tensors);

/// Launches a kernel on a CPU; `tensors` are written in place.
void launch_on_cpu(const AnyKernel& kernel, const Context& cpu, const std::map<std::string, double>& scalars, std::map<std::string, Buffer>& tensors);

/// Launches a kernel on a GPU with copies of the tensors there, and brings them back.
void launch_on_gpu(const AnyKernel& kernel, const Context& gpu, const std::map<std::string, double>& scalars, std::map<std::string, Buffer>& tensors);

}  // namespace tessera::test
