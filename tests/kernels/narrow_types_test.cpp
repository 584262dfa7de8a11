// Tiles of narrow integers and floats widened to f32 and bf16, bit for bit as the interpreter widens them: rows that begin at whole words, whose runs
// move together, and rows that begin anywhere, also within a byte.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "tessera/tessera.h"
#include "tests/kernels/harness_cpu.h"

namespace tessera::test {
namespace {

constexpr const char* kText = R"(kernel widen[Q: dtype, O: float](x: view Q[M, N], first: i32, y: out view O[M, K])
over (i in tiles(M, 16), j in tiles(K, 64))
{
    let n = idx(first);
    y[i, j] = O(x[:, n .. n + K][i, j]);
}
)";

struct Case {
  DType from, to;
};

class NarrowTypes : public ::testing::TestWithParam<Case> {};

TEST_P(NarrowTypes, AreWidenedAsTheInterpreterDoes) {
  const auto [from, to] = GetParam();
  const Module module = load_source("widen.tile", kText);
  const Context cpu = Context::cpu(1);
  const Consts consts = consts_of({{"Q", from}, {"O", to}});
  const std::int64_t m = 37;
  for (const auto& [n, first, k] :
       {std::tuple<std::int64_t, std::int64_t, std::int64_t>{128, 0, 128}, {128, 32, 96}, {128, 3, 80}, {78, 1, 70}, {50, 8, 1}}) {
    SCOPED_TRACE(fmt::format("{} of {} columns from {}", k, n, first));
    std::map<std::string, Buffer> tensors = {{"x", Buffer(from, {m, n})}, {"y", Buffer(to, {m, k}).fill(NAN)}};
    std::mt19937 random(5);
    for (std::int64_t i = 0; i < m * n; ++i) tensors.at("x").set_raw(i, random() % (std::uint64_t{1} << bits(from)));
    const std::map<std::string, double> scalars = {{"first", static_cast<double>(first)}};
    std::map<std::string, Buffer> want;
    std::vector<std::string> targets = {"interp", "cpu", "simt:sm_75", "simt:sm_80", "simt:sm_90a"};
    const bool gpu = compiled_target().starts_with("cuda");
    if (gpu) targets.insert(targets.end(), {"cuda", "sm_80"});
    for (const std::string& target : targets) {
      SCOPED_TRACE(target);
      std::map<std::string, Buffer> got = tensors;
      if (gpu && (target == "cuda" || target == "sm_80")) {
        const Context device = Context::cuda(0);
        launch_on_gpu(module.kernel("widen", consts, {.target = target, .context = device}), device, scalars, got);
      } else {
        launch_on_cpu(module.kernel("widen", consts, {.target = target}), cpu, scalars, got);
      }
      if (want.empty()) want = got;
      expect_same(got.at("y"), want.at("y"), "y");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Of, NarrowTypes,
                         ::testing::Values(Case{DType::I4, DType::F32}, Case{DType::U4, DType::F32}, Case{DType::E2M1, DType::F32},
                                           Case{DType::I8, DType::F32}, Case{DType::U8, DType::F32}, Case{DType::I4, DType::BF16},
                                           Case{DType::I8, DType::BF16}, Case{DType::U8, DType::F16}, Case{DType::I16, DType::F32},
                                           Case{DType::I16, DType::BF16}, Case{DType::Bool, DType::F32}),
                         [](const auto& i) { return fmt::format("{}_{}", name(i.param.from), name(i.param.to)); });

}  // namespace
}  // namespace tessera::test
