// The compiled half of the harness.
#pragma once

#include <map>
#include <string>

#include "tests/kernels/harness.h"

namespace tessera::test {

/// Where On::Cpu really runs: the target that the environment variable TESSERA_TEST_TARGET names ("cuda", "cuda:1"), else "cpu". So every test of the
/// CPU can be asked of a GPU too.
std::string compiled_target();

/// Launches through the public API with that target; `tensors` are written in place. Compiled kernels are kept for the life of the process.
void run_cpu(const Call& call, std::map<std::string, Buffer>& tensors);

}  // namespace tessera::test
