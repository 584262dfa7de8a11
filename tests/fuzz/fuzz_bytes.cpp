// Any bytes, checked: libFuzzer starts from the repository's own files and recombines them.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/check_program.h"
#include "tests/fuzz/token_swap.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tessera;
  const std::string text(data, data + size);
  fuzz::Choices choices(size);
  const fuzz::Verdict v = fuzz::check_every_kernel(text, choices);
  if (v.broken.empty()) return 0;
  std::fprintf(stderr, "%s\nbroken promise: %s\n", text.c_str(), v.broken.c_str());
  std::abort();
}
