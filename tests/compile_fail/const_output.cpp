// Read-only memory as an output.
// expect: could not convert|cannot convert|no match for call
#include <vector>

#include "tessera/tessera.h"

void use([[maybe_unused]] const tessera::Context& ctx, [[maybe_unused]] const tessera::Module& mod, [[maybe_unused]] std::vector<float>& x,
         [[maybe_unused]] std::vector<float>& y) {
#ifdef MISUSE
  mod.kernel<tessera::In<float, 1>, tessera::Out<float, 1>>("f")(ctx, tessera::View<const float, 1>(x, {4}), tessera::View<const float, 1>(y, {4}));
#else
  mod.kernel<tessera::In<float, 1>, tessera::Out<float, 1>>("f")(ctx, tessera::View<const float, 1>(x, {4}), tessera::View<float, 1>(y, {4}));
#endif
}
