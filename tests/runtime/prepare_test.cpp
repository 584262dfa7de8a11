// Several kernels at once: all made, in order, errors told.
#include "tessera/prepare.h"

#include <gmock/gmock.h>

#include <set>

#include "tessera/tessera.h"

namespace tessera {
namespace {

constexpr const char* source = R"(
kernel scale[N: int](x: view f32[M, N], y: out view f32[M, N], s: f32) over (i in M) { y[i, :] = x[i, :] * s; }
kernel shift[N: int](x: view f32[M, N], y: out view f32[M, N], s: f32) over (i in M) { y[i, :] = x[i, :] + s; }
)";

TEST(PrepareAll, MakesAllInTheirOrder) {
  const Module module = load_source("k.tile", source, Cache::off());
  std::vector<KernelRequest> requests;
  for (int n = 1; n <= 12; ++n) requests.push_back({module, n % 3 ? "scale" : "shift", {{"N", n}}});
  for (const int threads : {1, 4}) {
    std::set<std::size_t> told;
    const std::vector<AnyKernel> kernels =
        prepare_all(requests, {.threads = threads, .progress = [&](std::size_t done, std::size_t all, const std::string&) {
                                 EXPECT_EQ(all, 12u);
                                 told.insert(done);
                               }});
    ASSERT_EQ(kernels.size(), 12u);
    EXPECT_EQ(told.size(), 12u);
    for (std::int64_t n = 1; n <= 12; ++n) {
      std::vector<float> x(static_cast<std::size_t>(n), 2.0f), y(x.size());
      kernels[static_cast<std::size_t>(n - 1)].launch(Context::cpu(1),
                                                      {View<const float, 2>(x.data(), {1, n}), View<float, 2>(y.data(), {1, n}), 5.0f});
      EXPECT_EQ(y.back(), n % 3 ? 10.0f : 7.0f) << n;
    }
  }
  EXPECT_TRUE(prepare_all({}).empty());
}

TEST(PrepareAll, TellsTheFirstErrorAfterAllAreDone) {
  const Module module = load_source("k.tile", source, Cache::off());
  const std::vector<KernelRequest> requests{{module, "scale", {{"N", 4}}}, {module, "none"}, {module, "scale"}, {module, "shift", {{"N", 4}}}};
  std::size_t most = 0;
  try {
    prepare_all(requests, {.threads = 2, .progress = [&](std::size_t done, std::size_t, const std::string&) { most = std::max(most, done); }});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), "E0519");
  }
  EXPECT_EQ(most, 4u);
  EXPECT_THROW(prepare_all(requests, {.threads = -1}), Error);
}

}  // namespace
}  // namespace tessera
