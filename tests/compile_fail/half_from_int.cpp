// Rounding a float to a half type is asked for, never implied.
// expect: could not convert|cannot convert|invalid conversion|conversion from
#include <vector>

#include "tessera/tessera.h"

void use([[maybe_unused]] const tessera::Context& ctx, [[maybe_unused]] const tessera::Module& mod, [[maybe_unused]] std::vector<float>& x,
         [[maybe_unused]] std::vector<float>& y) {
#ifdef MISUSE
  tessera::bf16 h = 1.0f;
  static_cast<void>(h);
#else
  tessera::bf16 h = tessera::bf16(1.0f);
  static_cast<void>(h);
#endif
}
