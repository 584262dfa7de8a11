// A required view left out as if it were optional.
// expect: no match for call|could not convert|cannot convert
#include <vector>

#include "tessera/tessera.h"

void use([[maybe_unused]] const tessera::Context& ctx, [[maybe_unused]] const tessera::Module& mod, [[maybe_unused]] std::vector<float>& x,
         [[maybe_unused]] std::vector<float>& y) {
#ifdef MISUSE
  mod.kernel<tessera::In<float, 1>, tessera::Out<float, 1>>("f")(ctx, tessera::View<float, 1>(x, {4}), std::nullopt);
#else
  mod.kernel<tessera::In<float, 1>, std::optional<tessera::Out<float, 1>>>("f")(ctx, tessera::View<float, 1>(x, {4}), std::nullopt);
#endif
}
