// Well-formed programs, mostly well-typed: the front end reports errors or yields sound Tile IR.
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/check_program.h"
#include "tests/fuzz/program_generator.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tessera;
  fuzz::Choices choices(data, size);
  fuzz::ProgramGenerator generator(choices);
  std::string text = generator.program();
  Constants constants = generator.constants();
  fuzz::Verdict v = fuzz::check_program(text, "k", constants, generator.absent());
  if (v.broken.empty()) return 0;
  std::fprintf(stderr, "%s\nbroken promise: %s\n", text.c_str(), v.broken.c_str());
  std::abort();
}
