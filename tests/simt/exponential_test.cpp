// Exponentials that multiply-adds compute, where the unit for transcendental functions has more to do than the rest: their values at all edges.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "warpgroup_launch.h"

namespace tessera::test {
namespace {

using testing::Contains;
using testing::HasSubstr;

/// o = f(s) + tanh(s), s = q k^T, for each block of 64 keys on its own: that of the last one stands. `more`: lines that make %e2 of f(s), %e.
std::string text_of(const std::string& f, const std::string& more = "") {
  return "kernel k(" + std::string(R"(
  %q: view bf16[M, 64],
  %k: view bf16[N, 64],
  %o: out view bf16[M, 64]
)
symbols(M, N)
grid(%i < ceil(M, 64))
{
  %c0 = const {value = 0} : idx
  %c64 = const {value = 64} : idx
  %M = sym {name = "M"} : idx
  %N = sym {name = "N"} : idx
  %i0 = mul %i, %c64 : idx
  %mi = range %i0, %c0, %M {size = 64} : range<64>
  %all = range %c0, %c0, %c64 {size = 64, full} : range<64>
  %qt = load %q, %mi, %all : bf16[64, 64]
  %f0 = const {value = 0.0} : f32
  %start = broadcast %f0 : f32[64, 64]
  %y = for %c0, %N, %c64, %start : f32[64, 64] (%j: idx, %before: f32[64, 64]) {
    %kj = range %j, %c0, %N {size = 64} : range<64>
    %kt = load %k, %kj, %all : bf16[64, 64]
    %kp = permute %kt {perm = [1, 0]} : bf16[64, 64]
    %s = dot %qt, %kp : f32[64, 64]
    %e = )") +
         f + R"( %s : f32[64, 64]
    %h = tanh %s : f32[64, 64]
)" + more +
         R"(    %x = add )" + (more.empty() ? "%e" : "%e2") + R"(, %h : f32[64, 64]
    yield %x
  }
  %r = cast %y : bf16[64, 64]
  store %o, %r, %mi, %all
  yield
}
)";
}

/// q has one number a row, k a one in the same place: every column of a row is the function of that number.
std::map<std::string, Buffer> tensors_of(const std::vector<float>& numbers) {
  std::map<std::string, Buffer> tensors = {
      {"q", Buffer(DType::BF16, {64, 64}).fill(0)}, {"k", Buffer(DType::BF16, {64, 64}).fill(0)}, {"o", Buffer(DType::BF16, {64, 64}).fill(NAN)}};
  for (std::size_t i = 0; i < 64; ++i) {
    tensors.at("q").set(static_cast<std::int64_t>(i) * 64, numbers[i % numbers.size()]);
    tensors.at("k").set(static_cast<std::int64_t>(i) * 64, 1);
  }
  return tensors;
}

void expect_right(const std::string& f, const std::function<double(double)>& value) {
  const Compiled kernel = compiled(text_of(f));
  ASSERT_THAT(kernel.notes, Contains(HasSubstr("by multiply-adds"))) << "nothing to test";
  std::vector<float> numbers = {0.0F,  -0.0F,   1.0F,    -1.0F,   0.5F,    -0.5F,  127.0F,   127.5F,    128.0F, 300.0F,
                                3e38F, -125.5F, -126.0F, -127.0F, -150.0F, -3e38F, INFINITY, -INFINITY, NAN};
  for (float x = -20; numbers.size() < 64; x += 0.875F) numbers.push_back(x);
  std::map<std::string, Buffer> tensors = tensors_of(numbers);
  launch(kernel, tensors, {}, {});
  for (std::int64_t i = 0; i < 64; ++i) {
    const double x = tensors.at("q").get(i * 64), want = value(x) + std::tanh(x);
    for (std::int64_t c = 0; c < 64; ++c) {
      const double got = tensors.at("o").get(i * 64 + c);
      if (std::isnan(want) || want > 3.4e38) {
        EXPECT_TRUE(std::isnan(want) ? std::isnan(got) : got > 3.38e38) << x << ", column " << c << ": " << got;
      } else {
        // Half a unit of bf16 for the rounding, as much for the functions; near 0 the sum cancels.
        EXPECT_NEAR(got, want, 0x1p-7 * std::fabs(want) + 0x1p-10) << x << ", column " << c;
      }
    }
  }
}

TEST(ShortExponential, IsRightToTheRoundingOfHalvesEverywhere) {
  expect_right("exp2", [](double x) { return std::exp2(x); });
}

TEST(ShortExponential, AlsoInsideASigmoid) {
  expect_right("sigmoid", [](double x) { return 1 / (1 + std::exp(-x)); });
}

// What is masked is -inf, and must add nothing at all: not even 2^-126, which is as much as all the rest in a row that sees nothing.
TEST(ShortExponential, IsNothingFarBelow) {
  const Compiled kernel = compiled(text_of("exp2", R"(
    %big = const {value = 3e38} : f32
    %bigs = broadcast %big : f32[64, 64]
    %one = const {value = 1.0} : f32
    %ones = broadcast %one : f32[64, 64]
    %e1 = mul %e, %bigs : f32[64, 64]
    %e2 = min %e1, %ones : f32[64, 64]
)"));
  ASSERT_THAT(kernel.notes, Contains(HasSubstr("by multiply-adds"))) << "nothing to test";
  std::map<std::string, Buffer> tensors = tensors_of({-INFINITY, -3e38F, -150.0F, -127.0F, -125.5F});
  launch(kernel, tensors, {}, {});
  for (std::int64_t i = 0; i < 64; ++i) {
    for (std::int64_t c = 0; c < 64; ++c) EXPECT_EQ(tensors.at("o").get(i * 64 + c), i % 5 == 4 ? 0 : -1) << i << ", column " << c;
  }
}

}  // namespace
}  // namespace tessera::test
