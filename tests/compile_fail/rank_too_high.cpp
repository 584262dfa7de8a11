// More axes than a view may have.
// expect: constraint|template constraint failure
#include <vector>

#include "tessera/tessera.h"

void use([[maybe_unused]] const tessera::Context& ctx, [[maybe_unused]] const tessera::Module& mod, [[maybe_unused]] std::vector<float>& x,
         [[maybe_unused]] std::vector<float>& y) {
#ifdef MISUSE
  tessera::View<float, 9> v;
  static_cast<void>(v);
#else
  tessera::View<float, 8> v;
  static_cast<void>(v);
#endif
}
