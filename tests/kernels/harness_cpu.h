// The CPU half of the harness.
#pragma once

#include <map>
#include <string>

#include "tests/kernels/harness.h"

namespace tessera::test {

/// Launches through the public API with target cpu; `tensors` are written in place. Compiled kernels are kept for the life of the process.
void run_cpu(const Call& call, std::map<std::string, Buffer>& tensors);

}  // namespace tessera::test
