// Kernels whose output may be their input: the bits are those of two buffers, also where stores bypass the caches and rows end inside of a vector.
#include <gtest/gtest.h>

#include <vector>

#include "tessera/tessera.h"

namespace tessera {
namespace {

constexpr const char* kSoftmax = R"(
kernel softmax[BM: int = 4, BN: int = 256](x: view f32[M, N], y: out view f32[M, N])
over (i in tiles(M, BM))
{
    var m = fill(-inf, f32[BM, 1]);
    var l = fill(0.0, f32[BM, 1]);
    for j in tiles(N, BN) {
        let t = x[i, j];
        let mn = max(m, rowmax(t));
        l = l * exp(m - mn) + rowsum(exp(t - mn));
        m = mn;
    }
    for j in tiles(N, BN) {
        y[i, j] = exp(x[i, j] - m) / l;
    }
}

kernel columns[BM: int = 32, BN: int = 64](x: view f32[M, N], y: out view f32[M, N])
over (j in tiles(N, BN))
{
    for i in tiles(M, BM) {
        let t = x[i, j];
        y[i, j] = t * t - 2.0 * t;
    }
}
)";

TEST(InPlace, SameBitsAsInTwoBuffers) {
  const Module module = load_source("rows.tile", kSoftmax);
  for (const char* name : {"softmax", "columns"}) {
    const AnyKernel kernel = module.kernel(name, {});
    // The last output is larger than what goes through the caches.
    for (const auto& [m, n] : {std::pair<std::int64_t, std::int64_t>{7, 600}, {1, 1}, {33, 70}, {1100, 4099}}) {
      const std::array<std::int64_t, 2> extents{m, n};
      std::vector<float> x(static_cast<std::size_t>(m * n)), y(x.size(), -1.0f);
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 2654435761u % 1000) / 100 - 5;
      for (const int threads : {1, 2}) {
        std::vector<float> both = x;
        const Context context = Context::cpu(threads);
        kernel.launch(context, {View<float, 2>(x.data(), extents), View<float, 2>(y.data(), extents)});
        kernel.launch(context, {View<float, 2>(both.data(), extents), View<float, 2>(both.data(), extents)});
        EXPECT_TRUE(both == y) << name << " " << m << " x " << n << ", " << threads << " threads";
      }
    }
  }
}

}  // namespace
}  // namespace tessera
