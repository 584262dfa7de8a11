// A launch that leaves out an argument.
// expect: no match for call|too few arguments
#include <vector>

#include "tessera/tessera.h"

void use([[maybe_unused]] const tessera::Context& ctx, [[maybe_unused]] const tessera::Module& mod, [[maybe_unused]] std::vector<float>& x,
         [[maybe_unused]] std::vector<float>& y) {
#ifdef MISUSE
  mod.kernel<tessera::InOut<float, 1>, float>("f")(ctx, tessera::View<float, 1>(x, {4}));
#else
  mod.kernel<tessera::InOut<float, 1>, float>("f")(ctx, tessera::View<float, 1>(x, {4}), 1.0f);
#endif
}
