// The kernels of tests/ir on ragged shapes, as written and after the target-free passes.
#include "codegen/passes/pipeline.h"
#include "tests/cpu/differential.h"

namespace tessera::test {
namespace {

class FileKernels : public testing::TestWithParam<bool> {
 protected:
  static std::unique_ptr<ir::Kernel> load(const std::string& name) {
    auto kernel = load_kernel(name);
    Diagnostics diagnostics;
    if (GetParam() && !run_target_free_passes(*kernel, diagnostics)) ADD_FAILURE() << "the passes refuse " << name;
    return kernel;
  }
};

std::string passes_name(const testing::TestParamInfo<bool>& info) { return info.param ? "after_passes" : "as_written"; }
INSTANTIATE_TEST_SUITE_P(Cpu, FileKernels, testing::Bool(), passes_name);

TEST_P(FileKernels, copy) {
  for (const auto& [m, n] : {std::pair{1, 1}, {32, 48}, {33, 50}, {70, 97}}) {
    Differential d(load("copy"));
    d.tensor("x", Buffer(DType::F32, {m, n}).fill_random(1));
    d.tensor("y", Buffer(DType::F32, {m, n}));
    d.check();
  }
}

TEST_P(FileKernels, row_sum) {
  for (const auto& [m, n] : {std::pair{1, 1}, {16, 64}, {37, 133}}) {
    Differential d(load("row_sum"));
    d.tensor("x", Buffer(DType::BF16, {m, n}).fill_integers(2, 7));
    d.tensor("y", Buffer(DType::F32, {m}));
    d.check();
  }
}

TEST_P(FileKernels, softmax) {
  for (const auto& [m, n] : {std::pair{1, 1}, {8, 64}, {13, 201}}) {
    Differential d(load("softmax"));
    d.tensor("x", Buffer(DType::F32, {m, n}).fill_random(3, 4));
    d.tensor("y", Buffer(DType::F32, {m, n}));
    d.check({1e-7, 4e-6});
  }
}

TEST_P(FileKernels, layer_norm) {
  for (const auto& [m, n] : {std::pair{1, 3}, {4, 64}, {9, 133}}) {
    Differential d(load("layer_norm"));
    d.tensor("x", Buffer(DType::BF16, {m, n}).fill_random(4));
    d.tensor("w", Buffer(DType::F32, {n}).fill_random(5));
    d.tensor("y", Buffer(DType::BF16, {m, n}));
    d.scalar("eps", 1e-5);
    d.check({1e-4, 8e-3});
  }
}

TEST_P(FileKernels, gemm_of_integers) {
  for (const auto& [m, n, k] : {std::tuple{1, 1, 1}, {32, 48, 64}, {45, 71, 39}}) {
    Differential d(load("gemm"));
    d.tensor("a", Buffer(DType::BF16, {m, k}).fill_integers(6, 3));
    d.tensor("b", Buffer(DType::BF16, {k, n}).fill_integers(7, 3));
    d.tensor("c", Buffer(DType::BF16, {m, n}));
    d.check();
  }
}

TEST_P(FileKernels, bucket) {
  const std::int64_t m = 21, e = 5, np = 64;
  Differential d(load("bucket"));
  Buffer& ids = d.tensor("ids", Buffer(DType::I32, {m}));
  for (std::int64_t i = 0; i < m; ++i) ids.set_int(i, i % 6 - 1);
  Buffer& start = d.tensor("start", Buffer(DType::I32, {e}));
  for (std::int64_t i = 0; i < e; ++i) start.set_int(i, i * 10);
  d.tensor("cursor", Buffer(DType::I32, {e}));
  d.tensor("src", Buffer(DType::I32, {np}));
  d.tensor("place", Buffer(DType::I32, {m}));
  d.check();
}

TEST_P(FileKernels, attention) {
  for (const auto& [lq, lk] : {std::pair{1, 1}, {32, 48}, {45, 100}, {100, 45}}) {
    Differential d(load("attention"));
    const std::int64_t heads = 4, kv = 2;
    d.tensor("q", Buffer(DType::BF16, {2, lq, heads, 64}).fill_random(8));
    d.tensor("k", Buffer(DType::BF16, {2, lk, kv, 64}).fill_random(9));
    d.tensor("v", Buffer(DType::BF16, {2, lk, kv, 64}).fill_random(10));
    d.tensor("o", Buffer(DType::BF16, {2, lq, heads, 64}));
    d.tensor("lse", Buffer(DType::F32, {2, heads, lq}));
    d.scalar("scale", 0.125);
    d.symbol("R", heads / kv);
    d.check({2e-2, 2e-2});
  }
}

TEST_P(FileKernels, paged_decode) {
  Differential d(load("paged_decode"));
  const std::int64_t b = 3, g = 2, p = 12, t = 5;
  d.tensor("q", Buffer(DType::BF16, {b, g, 8, 64}).fill_random(11));
  d.tensor("kpool", Buffer(DType::BF16, {p, 16, g, 64}).fill_random(12));
  d.tensor("vpool", Buffer(DType::BF16, {p, 16, g, 64}).fill_random(13));
  Buffer& table = d.tensor("table", Buffer(DType::I32, {b, t}));
  for (std::int64_t i = 0; i < b * t; ++i) table.set_int(i, (i * 7 + 3) % p);
  Buffer& len = d.tensor("len", Buffer(DType::I32, {b}));
  len.set_int(0, 1);
  len.set_int(1, 37);
  len.set_int(2, 80);
  d.tensor("o", Buffer(DType::BF16, {b, g, 8, 64}));
  d.scalar("scale", 0.125);
  d.check({2e-2, 2e-2});
}

}  // namespace
}  // namespace tessera::test
