// Elements of a type that the language does not have.
// expect: constraint|template constraint failure
#include <vector>

#include "tessera/tessera.h"

void use([[maybe_unused]] const tessera::Context& ctx, [[maybe_unused]] const tessera::Module& mod, [[maybe_unused]] std::vector<float>& x,
         [[maybe_unused]] std::vector<float>& y) {
#ifdef MISUSE
  tessera::View<std::vector<int>, 1> v;
  static_cast<void>(v);
#else
  tessera::View<std::int64_t, 1> v;
  static_cast<void>(v);
#endif
}
