// A signature that is not made of views and scalars.
// expect: signature is made of In
#include <vector>

#include "tessera/tessera.h"

void use([[maybe_unused]] const tessera::Context& ctx, [[maybe_unused]] const tessera::Module& mod, [[maybe_unused]] std::vector<float>& x,
         [[maybe_unused]] std::vector<float>& y) {
#ifdef MISUSE
  mod.kernel<float*>("f");
#else
  mod.kernel<tessera::InOut<float, 1> >("f")(ctx, tessera::View<float, 1>(x, {4}));
#endif
}
