// Random kernels on integer data: the interpreter and the code compiled at two levels give equal bits.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/run_kernel.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tessera;
  fuzz::Choices choices(data, size);
  fuzz::KernelFuzzer fuzzer;
  const fuzz::KernelRun run = fuzzer.run(choices, {0, 2});
  if (run.problem.empty()) return 0;
  std::fprintf(stderr, "%s\n%s\n", run.text.c_str(), run.problem.c_str());
  std::abort();
}
