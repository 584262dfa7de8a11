// A host program with one kernel in a string: compile, launch, check. With the path of a shared libLLVM as argument, that library is loaded first,
// its symbols global, as in a host that carries its own LLVM.
#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <vector>

#include "tessera/tessera.h"

static const char* const source = R"(
kernel scale[N: int](x: view f32[R, N], y: out view f32[R, N], a: f32)
over (i in tiles(R, 16))
{
    y[i, :] = x[i, :] * a;
}
)";

int main(int argc, char** argv) {
  if (argc > 1) {
    if (std::strcmp(argv[1], "none") == 0) {
      std::puts("skipped: no shared libLLVM on this machine");
      return 77;
    }
    if (dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL) == nullptr) {
      std::printf("cannot load %s: %s\n", argv[1], dlerror());
      return 1;
    }
    std::printf("with %s loaded first\n", argv[1]);
  }
  try {
    constexpr std::int64_t rows = 37, columns = 40;
    std::vector<float> x(rows * columns), y(rows * columns, -1.f);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
    const tessera::Context context = tessera::Context::cpu();
    const tessera::Module module = tessera::load_source("scale.tile", source);
    const auto scale = module.kernel<tessera::In<float, 2>, tessera::Out<float, 2>, float>("scale", {{"N", columns}});
    scale(context, tessera::View<const float, 2>(x, {rows, columns}), tessera::View<float, 2>(y, {rows, columns}), 2.f);
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (y[i] != 2 * x[i]) {
        std::printf("element %zu is %g, not %g\n", i, y[i], 2 * x[i]);
        return 1;
      }
    }
    // An error must cross the library's border as the type the header declares.
    try {
      module.kernel("scal");
      std::puts("a kernel that does not exist was found");
      return 1;
    } catch (const tessera::Error& error) {
      std::printf("as expected: %s %s\n", error.code().c_str(), error.message().c_str());
    }
  } catch (const tessera::Error& error) {
    std::puts(error.what());
    return 1;
  }
  std::puts("right");
  return 0;
}
