// Any bytes, parsed and formatted.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/check_text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  const std::string broken = tessera::fuzz::check_text(text);
  if (broken.empty()) return 0;
  std::fprintf(stderr, "broken promise: %s\n%s\n", broken.c_str(), text.c_str());
  std::abort();
}
