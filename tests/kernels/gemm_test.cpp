// kernels/gemm: C = A B and C = A B^T of any sizes.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/harness.h"

namespace tessera::test {
namespace {

struct Product {
  std::int64_t m, n, k, bm = 32, bn = 32, bk = 16;
};
constexpr Product kProducts[] = {{1, 1, 1},
                                 {33, 50, 17},
                                 {64, 96, 100},
                                 {5, 100, 3},
                                 {10, 10, 0},
                                 {130, 70, 65},
                                 {1, 200, 64, 64, 64, 64},
                                 {70, 70, 70, 64, 128, 32},
                                 {7, 9, 300, 16, 48, 24}};

Call product(const Product& p, bool transposed, DType t, DType o, bool integers) {
  Call c{.file = "kernels/gemm/gemm.tile", .kernel = transposed ? "gemm_nt" : "gemm"};
  c.constants = {{"T", t}, {"O", o}, {"BM", p.bm}, {"BN", p.bn}, {"BK", p.bk}};
  Buffer a(t, {p.m, p.k});
  Buffer b(t, transposed ? ir::Dims{p.n, p.k} : ir::Dims{p.k, p.n});
  c.tensors = {{"a", integers ? a.fill_integers(1, 3) : a.fill_random(1)},
               {"b", integers ? b.fill_integers(2, 3) : b.fill_random(2)},
               {"c", unwritten(o, {p.m, p.n})}};
  return c;
}

/// The sum of a[i, k] b[k, j], and of the magnitudes.
std::pair<double, double> element(const Call& c, const Product& p, std::int64_t i, std::int64_t j) {
  double sum = 0;
  double magnitude = 0;
  for (std::int64_t k = 0; k < p.k; ++k) {
    const double x = c.tensors.at("a").get(i * p.k + k) * c.tensors.at("b").get(c.kernel == "gemm" ? k * p.n + j : j * p.k + k);
    sum += x;
    magnitude += std::fabs(x);
  }
  return {sum, magnitude};
}

TEST(Gemm, RandomNumbers) {
  for (const auto& [t, o] : {std::pair{DType::F32, DType::F32}, {DType::BF16, DType::BF16}, {DType::F16, DType::F32}}) {
    for (const bool transposed : {false, true}) {
      for (const Product& p : kProducts) {
        const Call c = product(p, transposed, t, o, false);
        for (const On on : {On::Interp, On::Exact, On::Cpu}) {
          const Buffer got = run(c, on).at("c");
          for (std::int64_t i = 0; i < p.m * p.n; ++i) {
            const auto [want, magnitude] = element(c, p, i / p.n, i % p.n);
            const double bound = static_cast<double>(p.k + 2) * roundoff(DType::F32) * magnitude + 1.01 * roundoff(o) * std::fabs(want);
            ASSERT_NEAR(got.get(i), want, bound) << fmt::format("{} {} {}x{}x{} on {}, element {}", c.kernel, name(t), p.m, p.n, p.k, name(on), i);
          }
        }
      }
    }
  }
}

TEST(Gemm, IntegersGiveEqualBitsForAnyTile) {
  for (const DType t : {DType::F32, DType::BF16, DType::F16}) {
    for (const bool transposed : {false, true}) {
      for (const Product& p : kProducts) {
        const Call c = product(p, transposed, t, DType::F32, true);
        Buffer want(DType::F32, {p.m, p.n});
        for (std::int64_t i = 0; i < want.size(); ++i) want.set(i, element(c, p, i / p.n, i % p.n).first);
        for (const On on : {On::Interp, On::Cpu}) {
          expect_same(run(c, on).at("c"), want, fmt::format("{} {} {}x{}x{} on {}", c.kernel, name(t), p.m, p.n, p.k, name(on)));
        }
      }
    }
  }
}

}  // namespace
}  // namespace tessera::test
