// Quantisation and quantised products of tests/programs at tiny shapes. Quantisers are compared bit for bit.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/harness_cpu.h"

namespace tessera::test {
namespace {

constexpr DType kT = DType::BF16;

float f32(double x) { return static_cast<float>(x); }

Buffer random(DType t, ir::Dims dims, unsigned seed, double scale = 1) { return Buffer(t, std::move(dims)).fill_random(seed, scale); }

/// Powers of two from 2^-2 to 2^2.
Buffer powers(DType t, ir::Dims dims, unsigned seed) {
  Buffer b(t, std::move(dims));
  std::mt19937 random(seed);
  for (std::int64_t i = 0; i < b.size(); ++i) b.set(i, std::exp2(static_cast<int>(random() % 5) - 2));
  return b;
}

/// Compares a product with float64 sums: `f(m, n, k)` is one term.
void expect_product(const Buffer& c, std::int64_t m, std::int64_t n, std::int64_t k, double relative, const std::string& what,
                    const std::function<double(std::int64_t, std::int64_t, std::int64_t)>& f) {
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0;
      double size = 0;
      for (std::int64_t x = 0; x < k; ++x) {
        const double term = f(i, j, x);
        sum += term;
        size += std::fabs(term);
      }
      const double bound = (relative + static_cast<double>(k + 4) * roundoff(DType::F32)) * size + 1.01 * roundoff(c.dtype) * std::fabs(sum);
      ASSERT_NEAR(c.get(i * n + j), sum, bound) << what << " at " << i << ", " << j;
    }
  }
}

TEST(Programs, GemmFp8Blockwise) {
  const std::int64_t m = 70;
  const std::int64_t n = 140;
  const std::int64_t k = 256;
  Call c{.file = "tests/programs/gemm_fp8.tile", .kernel = "gemm_fp8", .constants = {{"O", kT}, {"BM", 64}, {"BN", 64}}};
  c.tensors = {{"a", random(DType::E4M3, {m, k}, 1)},
               {"sa", random(DType::F32, {m, 2}, 2)},
               {"b", random(DType::E4M3, {n, k}, 3)},
               {"sb", random(DType::F32, {2, 2}, 4)},
               {"c", unwritten(kT, {m, n})}};
  const auto& t = c.tensors;
  // Tensor cores add 8-bit products in about 14 bits (LANGUAGE.md, section 10).
  const double on_tensor_cores = compiled_target() == "cpu" ? 0 : 0.01;
  for (const On on : {On::Interp, On::Cpu}) {
    expect_product(run(c, on).at("c"), m, n, k, on == On::Cpu ? on_tensor_cores : 0, name(on), [&](auto i, auto j, auto x) {
      return t.at("a").get(i * k + x) * t.at("sa").get(i * 2 + x / 128) * t.at("b").get(j * k + x) * t.at("sb").get(j / 128 * 2 + x / 128);
    });
  }
}

TEST(Programs, GemmMxfp8) {
  const std::int64_t m = 20;
  const std::int64_t n = 33;
  const std::int64_t k = 96;
  Call c{.file = "tests/programs/quant.tile", .kernel = "gemm_mxfp8", .constants = {{"O", kT}, {"BM", 16}, {"BN", 16}, {"BK", 32}}};
  c.tensors = {{"a", random(DType::E4M3, {m, k}, 1)},
               {"sa", powers(DType::E8M0, {m, 3}, 2)},
               {"b", random(DType::E4M3, {n, k}, 3)},
               {"sb", powers(DType::E8M0, {n, 3}, 4)},
               {"c", unwritten(kT, {m, n})}};
  const auto& t = c.tensors;
  for (const On on : {On::Interp, On::Cpu}) {
    expect_product(run(c, on).at("c"), m, n, k, 0, name(on), [&](auto i, auto j, auto x) {
      return t.at("a").get(i * k + x) * t.at("sa").get(i * 3 + x / 32) * t.at("b").get(j * k + x) * t.at("sb").get(j * 3 + x / 32);
    });
  }
}

TEST(Programs, WeightsOfFourBits) {
  const std::int64_t m = 20;
  const std::int64_t n = 33;
  const std::int64_t k = 96;
  for (const DType q : {DType::I4, DType::U4, DType::E2M1}) {
    for (const bool zero : {false, true}) {
      Call c{
          .file = "tests/programs/quant.tile", .kernel = "w4a16", .constants = {{"T", kT}, {"Q", q}, {"G", 32}, {"BM", 16}, {"BN", 16}, {"BK", 32}}};
      Buffer w(q, {n, k});
      std::mt19937 bits(7);
      for (std::int64_t i = 0; i < w.size(); ++i) w.set_raw(i, bits() % 16);
      c.tensors = {{"x", random(kT, {m, k}, 1)}, {"w", w}, {"sw", random(kT, {n, 3}, 2)}, {"y", unwritten(kT, {m, n})}};
      if (zero) c.tensors.emplace("zero", Buffer(kT, {n, 3}).fill_integers(3, 4));
      const auto& t = c.tensors;
      for (const On on : {On::Interp, On::Cpu}) {
        // (w - zero) is exact in T, times the scale rounds once.
        expect_product(run(c, on).at("y"), m, n, k, 1.01 * roundoff(kT), fmt::format("{} zero {} on {}", tessera::name(q), zero, name(on)),
                       [&](auto i, auto j, auto x) {
                         return t.at("x").get(i * k + x) * (w.get(j * k + x) - (zero ? t.at("zero").get(j * 3 + x / 32) : 0)) *
                                t.at("sw").get(j * 3 + x / 32);
                       });
      }
    }
  }
}

/// Largest magnitude of `n` elements from `at`.
double largest(const Buffer& x, std::int64_t at, std::int64_t n) {
  double a = 0;
  for (std::int64_t i = at; i < at + n; ++i) a = std::max(a, std::fabs(x.get(i)));
  return a;
}

Buffer quantisable(ir::Dims dims) {
  Buffer x = random(kT, dims, 1, 2);
  for (std::int64_t i = 0; i < 32; ++i) x.set(i, 0);  // a block of zeros
  x.set(40, 300);                                     // an outlier
  return x;
}

// Blocks of 32: scale 2^ceil(lg(amax / 6)).
TEST(Programs, Mxfp4) {
  const std::int64_t m = 19;
  const std::int64_t k = 96;
  Call c{.file = "tests/programs/quant.tile", .kernel = "mxfp4_quant", .constants = {{"T", kT}, {"BM", 16}, {"BK", 32}}};
  const Buffer x = quantisable({m, k});
  Buffer y(DType::E2M1, {m, k});
  Buffer sf(DType::E8M0, {m, k / 32});
  for (std::int64_t block = 0; block < m * k / 32; ++block) {
    const float a = f32(largest(x, block * 32, 32)) / 6.0F;
    const double e = a > 0 ? std::exp2(std::ceil(std::log2(static_cast<double>(a)))) : 0;
    sf.set(block, e);
    for (std::int64_t i = block * 32; i < block * 32 + 32; ++i)
      y.set_raw(i, encode_float(DType::E2M1, round_to_float(DType::E2M1, e > 0 ? x.get(i) / e : 0, true)));
  }
  c.tensors = {{"x", x}, {"y", Buffer(DType::E2M1, {m, k})}, {"sf", Buffer(DType::E8M0, {m, k / 32})}};
  for (const On on : {On::Interp, On::Cpu}) {
    const auto out = run(c, on);
    expect_same(out.at("sf"), sf, fmt::format("sf on {}", name(on)));
    expect_same(out.at("y"), y, fmt::format("y on {}", name(on)));
  }
}

// Blocks of 16, scales e4m3(gs * amax / 6) in the 128x4 layout: off(m, k) = ((m/128) ceil(K/64) + k/4) 512 + (m%32) 16 + (m%128)/32 4 + k%4.
TEST(Programs, Nvfp4) {
  const std::int64_t m = 130;
  const std::int64_t k = 80;
  Call c{.file = "tests/programs/quant.tile", .kernel = "nvfp4_quant", .constants = {{"T", kT}, {"BM", 128}, {"BK", 64}}};
  const Buffer x = quantisable({m, k});
  const float gs = 448.0F * 6.0F / 300.0F;
  Buffer y(DType::E2M1, {m, k});
  Buffer sf(DType::E4M3, {2, 2, 32, 4, 4});
  sf.fill(0);  // rows and columns of padding have scale 0
  for (std::int64_t row = 0; row < m; ++row) {
    for (std::int64_t kb = 0; kb < k / 16; ++kb) {
      const float a = f32(largest(x, row * k + kb * 16, 16));
      const auto d = f32(round_to_float(DType::E4M3, gs * (a / 6.0F), true));
      sf.set((row / 128 * 2 + kb / 4) * 512 + row % 32 * 16 + row % 128 / 32 * 4 + kb % 4, d);
      for (std::int64_t i = row * k + kb * 16; i < row * k + kb * 16 + 16; ++i) {
        const float r = d > 0 ? f32(x.get(i)) * gs / d : 0;
        y.set_raw(i, encode_float(DType::E2M1, round_to_float(DType::E2M1, r, true)));
      }
    }
  }
  c.tensors = {
      {"x", x}, {"gs", Buffer(DType::F32, {1}).fill(gs)}, {"y", Buffer(DType::E2M1, {m, k})}, {"sf", unwritten(DType::E4M3, {2, 2, 32, 4, 4})}};
  for (const On on : {On::Interp, On::Cpu}) {
    const auto out = run(c, on);
    expect_same(out.at("sf"), sf, fmt::format("sf on {}", name(on)));
    expect_same(out.at("y"), y, fmt::format("y on {}", name(on)));
  }
}

}  // namespace
}  // namespace tessera::test
