// Kernels of no library: the CPU computes what the interpreter does, at sizes that no tile divides, for one row and for one key.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/kernels/harness.h"

namespace tessera::test {
namespace {

void compare(const Call& c, const std::string& output, double absolute, double relative) {
  const Buffer want = run(c, On::Exact).at(output);
  const Buffer got = run(c, On::Cpu).at(output);
  expect_near(values(got), values(want), absolute, relative, c.kernel);
}

Buffer random(DType t, ir::Dims dims, int seed) { return Buffer(t, std::move(dims)).fill_random(static_cast<unsigned>(seed)); }

constexpr std::pair<std::int64_t, std::int64_t> kLengths[] = {{37, 70}, {70, 37}, {1, 100}, {64, 1}, {64, 128}};

TEST(Foreign, SigmoidWeights) {
  for (const DType t : {DType::F32, DType::BF16})
    for (const auto& [lq, lk] : kLengths) {
      Call c{.file = "tests/foreign/sigmoid_weights.tile", .kernel = "sigmoid_weights", .constants = {{"T", t}, {"D", 32}, {"BM", 32}, {"BN", 32}}};
      c.tensors = {{"q", random(t, {1, 2, lq, 32}, 1)},
                   {"k", random(t, {1, 2, lk, 32}, 2)},
                   {"v", random(t, {1, 2, lk, 32}, 3)},
                   {"o", unwritten(t, {1, 2, lq, 32})}};
      c.scalars = {{"scale", 0.2}, {"bias", -1.0}};
      compare(c, "o", t == DType::F32 ? 1e-4 : 0.1, t == DType::F32 ? 1e-4 : 0.03);
    }
}

TEST(Foreign, ThreeProducts) {
  for (const DType t : {DType::F32, DType::BF16})
    for (const auto& [lq, lk] : kLengths) {
      Call c{.file = "tests/foreign/three_products.tile", .kernel = "three_products", .constants = {{"T", t}, {"D", 32}, {"BM", 32}, {"BN", 32}}};
      c.tensors = {{"q", random(t, {1, 2, lq, 32}, 1)},
                   {"k", random(t, {1, 2, lk, 32}, 2)},
                   {"g", random(t, {1, 2, lk, 32}, 3)},
                   {"v", random(t, {1, 2, lk, 32}, 4)},
                   {"o", unwritten(t, {1, 2, lq, 32})}};
      c.scalars = {{"scale", 0.1}};
      compare(c, "o", t == DType::F32 ? 1e-4 : 0.15, t == DType::F32 ? 1e-4 : 0.03);
    }
}

TEST(Foreign, TwoSoftmaxes) {
  for (const DType t : {DType::F32, DType::BF16})
    for (const auto& [lq, lk] : kLengths) {
      Call c{.file = "tests/foreign/two_softmaxes.tile",
             .kernel = "two_softmaxes",
             .constants = {{"T", t}, {"D", 16}, {"E", 48}, {"BM", 32}, {"BN", 32}}};
      c.tensors = {{"q", random(t, {1, 2, 2, lq, 16}, 1)},
                   {"k", random(t, {1, 2, 2, lk, 16}, 2)},
                   {"v", random(t, {1, 2, lk, 48}, 3)},
                   {"lambda", random(DType::F32, {2}, 4)},
                   {"o", unwritten(t, {1, 2, lq, 48})}};
      c.scalars = {{"scale", 0.25}};
      compare(c, "o", t == DType::F32 ? 1e-4 : 0.05, t == DType::F32 ? 1e-4 : 0.03);
    }
}

TEST(Foreign, GemmEpilogue) {
  for (const DType t : {DType::F32, DType::BF16})
    for (const auto& [m, n, k] : {std::tuple<std::int64_t, std::int64_t, std::int64_t>{37, 70, 100}, {1, 33, 1}, {130, 5, 64}}) {
      Call c{.file = "tests/foreign/gemm_epilogue.tile", .kernel = "gemm_epilogue", .constants = {{"T", t}, {"BM", 32}, {"BN", 48}, {"BK", 16}}};
      c.tensors = {{"a", random(t, {m, k}, 1)},          {"b", random(t, {k, n}, 2)}, {"bias", random(DType::F32, {n}, 3)},
                   {"gain", random(DType::F32, {m}, 4)}, {"r", random(t, {m, n}, 5)}, {"c", unwritten(t, {m, n})}};
      compare(c, "c", t == DType::F32 ? 1e-4 : 0.2, t == DType::F32 ? 1e-4 : 0.03);
    }
}

TEST(Foreign, RowsWithoutProducts) {
  for (const char* kernel : {"no_product", "other_axis"})
    for (const auto& [m, n] : {std::pair<std::int64_t, std::int64_t>{37, 100}, {5, 2048}, {1, 1}, {200, 3}}) {
      Call c{.file = fmt::format("tests/foreign/{}.tile", kernel), .kernel = kernel, .constants = {{"T", DType::F32}}};
      c.tensors = {{"x", random(DType::F32, {m, n}, 1)}, {"y", unwritten(DType::F32, {m, n})}};
      if (c.kernel == "no_product") c.scalars = {{"gain", 2.0}};
      compare(c, "y", 1e-5, 1e-4);
    }
}

}  // namespace
}  // namespace tessera::test
