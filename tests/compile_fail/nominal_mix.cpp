// Logarithms to base 2 where base e is meant: nominal types do not mix.
// expect: could not convert|cannot convert|no match for call
#include <vector>

#include "tessera/tessera.h"

void use([[maybe_unused]] const tessera::Context& ctx, [[maybe_unused]] const tessera::Module& mod, [[maybe_unused]] std::vector<float>& x,
         [[maybe_unused]] std::vector<float>& y) {
#ifdef MISUSE
  using Lse = tessera::Nominal<float, "Lse">;
  using Lse2 = tessera::Nominal<float, "Lse2">;
  std::vector<Lse2> lse(4);
  mod.kernel<tessera::Out<Lse, 1>>("f")(ctx, tessera::View<Lse2, 1>(lse, {4}));
#else
  using Lse = tessera::Nominal<float, "Lse">;
  std::vector<Lse> lse(4);
  mod.kernel<tessera::Out<Lse, 1>>("f")(ctx, tessera::View<Lse, 1>(lse, {4}));
#endif
}
