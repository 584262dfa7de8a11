// Products of warpgroups, each against a definition by indices.
#include <gtest/gtest.h>

#include "wgmma_products.h"

namespace tessera::simt_test {
namespace {

std::string name_of(const testing::TestParamInfo<Product>& p) {
  const Product& x = p.param;
  return std::string(gpu::info(x.form.primitive).name) + "_n" + std::to_string(x.n) + "_steps" + std::to_string(x.steps) +
         (x.a_registers ? "_registers" : "") + (x.a_outer ? "_a_outer" : "") + (x.b_outer ? "_b_outer" : "") + (x.accumulate ? "_sum" : "") +
         (x.groups > 1 ? "_groups" : "");
}
class SimtWgmma : public testing::TestWithParam<Product> {};

TEST_P(SimtWgmma, IsTheProductOfItsOperands) {
  const Product p = GetParam();
  const int threads = 128 * p.groups;
  std::vector<std::uint8_t> image = image_of(p);
  std::vector<float> sums = sums_of(p), out(sums.size());
  // Register i of a step: row g + 8 (i mod 2), four bytes from k byte 4 q + 16 (i / 2) on.
  std::vector<std::uint32_t> a(static_cast<std::size_t>(threads * p.steps * 4));
  for (std::int64_t x = 0; x < static_cast<std::int64_t>(a.size()); ++x) {
    const std::int64_t thread = x / (p.steps * 4), i = x % 4, first = (x / 4 % p.steps * 32 + thread % 4 * 4 + i / 2 * 16) / p.form.bytes;
    const std::int64_t row = thread / 32 % 4 * 16 + thread % 32 / 4 + i % 2 * 8;
    for (std::int64_t e = 0; e < 4 / p.form.bytes; ++e)
      a[static_cast<std::size_t>(x)] |= code(p.form.a, a_value(row, first + e)) << (8 * e * p.form.bytes);
  }
  KernelBuilder k(threads, p.image(), 4);
  fill(k, p.image(), threads);
  k.call(Primitive::FenceProxyAsync);
  k.barrier();
  const Vs c = p.accumulate ? get(k, 1, k.b.getFloatTy(), p.n / 2) : Vs{};
  put(k, 2, wait(k, 0, multiply(k, p, c, p.a_registers ? get(k, 3, k.b.getInt32Ty(), p.steps * 4) : Vs{})));
  const SimtKernel kernel(k.finish());
  for (const SimtPolicy policy : kPolicies) {
    std::fill(out.begin(), out.end(), 0.f);
    const SimtResult r =
        run(kernel, {tensor("image", image, false), tensor("sums", sums, false), tensor("out", out), tensor("a", a, false)}, 1, {.policy = policy});
    EXPECT_TRUE(r.clean()) << name(policy) << "\n" << hazards(r);
    expect_product(out, p, 1, p.accumulate);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, SimtWgmma,
                         testing::Values(Product{kF16, 24, 3}, Product{kBf16, 24, 3}, Product{kTf32, 24, 3}, Product{kE4m3E4m3, 24, 3},
                                         Product{kE4m3E5m2, 24, 3}, Product{kE5m2E4m3, 24, 3}, Product{kE5m2E5m2, 24, 3}),
                         name_of);
INSTANTIATE_TEST_SUITE_P(FromRegisters, SimtWgmma,
                         testing::Values(Product{kF16, 24, 3, true}, Product{kBf16, 24, 5, true, false, true, true}, Product{kTf32, 8, 3, true},
                                         Product{kE4m3E5m2, 24, 2, true}, Product{kE5m2E4m3, 16, 2, true}),
                         name_of);
// Four steps are a panel of 128 bytes.
INSTANTIATE_TEST_SUITE_P(BeyondAPanel, SimtWgmma,
                         testing::Values(Product{kBf16, 24, 4}, Product{kBf16, 24, 5}, Product{kF16, 8, 9, false, false, false, true},
                                         Product{kTf32, 16, 6}, Product{kE5m2E5m2, 16, 6}),
                         name_of);
INSTANTIATE_TEST_SUITE_P(KOutside, SimtWgmma,
                         testing::Values(Product{kF16, 24, 2, false, false, true}, Product{kBf16, 24, 2, false, true, false},
                                         Product{kBf16, 8, 6, false, true, true, true}, Product{kF16, 128, 5, false, true, true},
                                         Product{kBf16, 72, 3, true, false, true}),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Wide, SimtWgmma,
                         testing::Values(Product{kBf16, 8, 1}, Product{kBf16, 128, 4, false, false, false, true}, Product{kF16, 256, 2},
                                         Product{kBf16, 256, 1, true, false, true, true}, Product{kE4m3E4m3, 256, 1}),
                         name_of);
INSTANTIATE_TEST_SUITE_P(ManyWarpgroups, SimtWgmma, testing::Values(Product{kBf16, 32, 2, false, false, true, true, 2}), name_of);

TEST(SimtWgmmaTf32, ReadsTheUpperBitsAlone) {
  const Product p{kTf32, 8, 1};
  std::vector<std::uint8_t> image = image_of(p);
  for (std::size_t i = 0; i < image.size(); i += 4) image[i] = 0xff, image[i + 1] |= 0x1f;
  KernelBuilder k(128, p.image(), 2);
  fill(k, p.image(), 128);
  k.call(Primitive::FenceProxyAsync);
  k.barrier();
  put(k, 1, wait(k, 0, multiply(k, p, {})));
  std::vector<float> out(64 * 8);
  const SimtResult r = run(k.finish(), {tensor("image", image, false), tensor("out", out)});
  EXPECT_TRUE(r.clean()) << hazards(r);
  expect_product(out, p, 1, false);
}

/// 64 x 8 sums of one step of e4m3 on top of `sum`, where all products are 1/2.
double halves_on_top_of(double sum) {
  const Product p{kE4m3E4m3, 8, 1, false, false, false, true};
  std::vector<std::uint8_t> image(static_cast<std::size_t>(p.image()), static_cast<std::uint8_t>(code(DType::E4M3, 1)));
  std::fill_n(image.begin(), p.a_bytes(), static_cast<std::uint8_t>(code(DType::E4M3, 0.5)));
  KernelBuilder k(128, p.image(), 3);
  fill(k, p.image(), 128);
  k.call(Primitive::FenceProxyAsync);
  k.barrier();
  put(k, 2, wait(k, 0, multiply(k, p, get(k, 1, k.b.getFloatTy(), p.n / 2))));
  std::vector<float> sums(64 * 8, static_cast<float>(sum)), out(64 * 8);
  const SimtResult r = run(k.finish(), {tensor("image", image, false), tensor("sums", sums, false), tensor("out", out)});
  EXPECT_TRUE(r.clean()) << hazards(r);
  EXPECT_EQ(out.front(), out.back());
  return static_cast<double>(out[0]);
}

TEST(SimtWgmmaBytes, SumsKeepThirteenBitsBehindThePoint) {
  EXPECT_EQ(halves_on_top_of(4096), 4096 + 16);
  EXPECT_EQ(halves_on_top_of(8191), 8191 + 16);
  EXPECT_EQ(halves_on_top_of(8192), 8192);
  EXPECT_EQ(halves_on_top_of(-8192), -8192);
}

TEST(SimtWgmmaFault, KOutsideOfNarrowAndWideTypes) {
  for (const Form& form : {kTf32, kE4m3E4m3}) {
    const Product p{form, 8, 1, true, false, true};
    KernelBuilder k(128, p.image(), 2);
    fill(k, p.image(), 128);
    k.call(Primitive::FenceProxyAsync);
    k.barrier();
    put(k, 1, wait(k, 0, multiply(k, p, {}, Vs(4, k.i(0)))));
    std::vector<std::uint8_t> image(static_cast<std::size_t>(p.image()));
    std::vector<float> out(64 * 8);
    EXPECT_TRUE(has(run(k.finish(), {tensor("image", image, false), tensor("out", out)}), HazardKind::BadOperand));
  }
}

}  // namespace
}  // namespace tessera::simt_test
