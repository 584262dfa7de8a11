// Mutants of generated code on the simulated GPU: a primitive dropped, repeated, or with an operand off by a step must show, as a hazard or in the
// result. What survives is printed: at these shapes it is equivalent, or the simulator is blind to it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <random>

#include "codegen/gpu/compile.h"
#include "tests/kernels/harness_simt.h"
#include "tests/simt/mutate.h"

namespace tessera::test {
namespace {

using simt_test::Mutant;

struct Count {
  int caught = 0, survived = 0, unexecuted = 0;
};

constexpr std::int64_t kSteps = 50'000'000;  // a mutant may never end
constexpr std::size_t kSample = 25;

bool same(const std::map<std::string, Buffer>& a, const std::map<std::string, Buffer>& b) {
  return std::all_of(a.begin(), a.end(), [&](const auto& t) { return t.second.bytes == b.at(t.first).bytes; });
}

Count mutate(const Call& call, const GpuTarget& target) {
  SimtCode code = emit_simt(call, target);
  std::vector<Mutant> all = simt_test::mutants(*code.ir.module);
  const SimtKernel clean(std::move(code.ir));
  std::map<std::string, Buffer> want = call.tensors;
  const SimtResult baseline = simulate(clean, *code.kernel, call, want, {});
  EXPECT_TRUE(baseline.clean()) << call.kernel;
  const std::vector<std::size_t> sites = simt_test::primitive_sites(clean);
  std::mt19937 random(1);
  std::shuffle(all.begin(), all.end(), random);
  all.resize(std::min(all.size(), kSample));
  Count count;
  std::uint64_t seed = 0;
  for (const Mutant& m : all) {
    if (baseline.executed[sites.at(m.use)] == 0) {
      ++count.unexecuted;
      continue;
    }
    SimtCode changed = emit_simt(call, target);
    simt_test::apply(*changed.ir.module, m);
    std::map<std::string, Buffer> got = call.tensors;
    const SimtResult r = simulate(SimtKernel(std::move(changed.ir)), *changed.kernel, call, got, {.seed = ++seed, .max_steps = kSteps});
    const bool caught = !r.clean() || !r.finished || !same(got, want);
    ++(caught ? count.caught : count.survived);
    if (!caught) std::cout << fmt::format("  {} on {} survives: {}\n", call.kernel, target.name(), m.text());
  }
  std::cout << fmt::format("{} on {}: {} caught, {} survived, {} unexecuted\n", call.kernel, target.name(), count.caught, count.survived,
                           count.unexecuted);
  return count;
}

Call gemm() {
  Call c{.file = "kernels/gemm/gemm.tile", .kernel = "gemm_nt"};
  c.constants = {{"T", DType::BF16}, {"O", DType::F32}, {"BM", 64}, {"BN", 64}, {"BK", 32}};
  c.tensors = {{"a", Buffer(DType::BF16, {70, 136}).fill_random(1)},
               {"b", Buffer(DType::BF16, {72, 136}).fill_random(2)},
               {"c", unwritten(DType::F32, {70, 72})}};
  return c;
}

Call attention() {
  Call c{.file = "kernels/attention/flash.tile", .kernel = "flash_causal"};
  c.constants = {{"T", DType::F16}, {"D", 32}, {"R", 1}, {"BM", 32}, {"BN", 32}};
  c.tensors = {{"q", Buffer(DType::F16, {1, 50, 1, 32}).fill_random(1)},
               {"k", Buffer(DType::F16, {1, 90, 1, 32}).fill_random(2)},
               {"v", Buffer(DType::F16, {1, 90, 1, 32}).fill_random(3)},
               {"o", unwritten(DType::F16, {1, 50, 1, 32})},
               {"lse", unwritten(DType::F32, {1, 50, 1})}};
  c.scalars["scale"] = 0.25;
  return c;
}

Call norm() {
  Call c{.file = "kernels/norm/rms_norm.tile", .kernel = "rms_norm"};
  c.constants = {{"T", DType::BF16}, {"GEMMA", false}, {"BM", 4}, {"BN", 256}};
  c.tensors = {
      {"x", Buffer(DType::BF16, {6, 300}).fill_random(1)}, {"w", Buffer(DType::BF16, {300}).fill_random(2)}, {"y", unwritten(DType::BF16, {6, 300})}};
  c.scalars["eps"] = 0x1p-20;
  return c;
}

TEST(SimtMutation, FaultsOfPrimitivesShow) {
  Count all;
  for (const Call& call : {gemm(), attention(), norm()}) {
    for (const GpuTarget& target : {GpuTarget{75}, GpuTarget{80}}) {
      const Count c = mutate(call, target);
      all.caught += c.caught;
      all.survived += c.survived;
      all.unexecuted += c.unexecuted;
    }
  }
  std::cout << fmt::format("all: {} caught, {} survived, {} unexecuted\n", all.caught, all.survived, all.unexecuted);
  EXPECT_GE(all.caught, 4 * all.survived);
}

}  // namespace
}  // namespace tessera::test
