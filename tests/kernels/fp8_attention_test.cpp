// Attention of e4m3 tensors against the float64 oracle on what their codes mean, and sums of many 8-bit products, which must not be biased.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/attention_oracle.h"
#include "tests/kernels/harness_simt.h"

namespace tessera::test {
namespace {

struct Shape {
  int lq, lk;
  int b = 1, g = 1, r = 1, d = 64;
  int bm = 32, bn = 32;
};

std::string str(const Shape& s) { return fmt::format("b {} lq {} lk {} g {} r {} d {} tiles {}x{}", s.b, s.lq, s.lk, s.g, s.r, s.d, s.bm, s.bn); }

Call fp8(const std::string& kernel, const Shape& s) {
  Call c{.file = "kernels/attention/fp8.tile", .kernel = kernel};
  c.constants = {{"O", DType::BF16}, {"D", s.d}, {"R", s.r}, {"BM", s.bm}, {"BN", s.bn}};
  c.tensors.emplace("q", Buffer(DType::E4M3, {s.b, s.lq, s.g * s.r, s.d}).fill_random(1));
  c.tensors.emplace("k", Buffer(DType::E4M3, {s.b, s.lk, s.g, s.d}).fill_random(2));
  c.tensors.emplace("v", Buffer(DType::E4M3, {s.b, s.lk, s.g, s.d}).fill_random(3));
  c.tensors.emplace("o", unwritten(DType::BF16, {s.b, s.lq, s.g * s.r, s.d}));
  c.tensors.emplace("lse", unwritten(DType::F32, {s.b, s.lq, s.g * s.r}));
  unsigned seed = 4;
  for (const char* of : {"q_scale", "k_scale", "v_scale"}) {
    Buffer x = Buffer(DType::F32, {s.b, s.g}).fill_random(seed++);
    for (std::int64_t i = 0; i < x.size(); ++i) x.set(i, 0.5 + std::fabs(x.get(i)));
    c.tensors.emplace(of, x);
  }
  c.scalars["scale"] = 1 / std::sqrt(static_cast<float>(s.d));
  return c;
}

/// What batch entry `b` means.
Attention problem(const Call& c, const Shape& s, int b, bool causal) {
  Attention a{.lq = s.lq, .lk = s.lk, .heads = s.g * s.r, .kv_heads = s.g, .d = s.d, .e = s.d, .scale = c.scalars.at("scale")};
  const auto meant = [&](const char* of, int length, int heads) {
    std::vector<double> out;
    const Buffer &codes = c.tensors.at(of), &factors = c.tensors.at(std::string(of) + "_scale");
    const std::int64_t n = static_cast<std::int64_t>(length) * heads * s.d;
    for (std::int64_t i = 0; i < n; ++i) out.push_back(codes.get(b * n + i) * factors.get(b * s.g + i / s.d % heads / (heads / s.g)));
    return out;
  };
  a.q = meant("q", s.lq, s.g * s.r);
  a.k = meant("k", s.lk, s.g);
  a.v = meant("v", s.lk, s.g);
  if (causal) a.keep = [lq = s.lq, lk = s.lk](int, int i, int j) { return j <= i + lk - lq; };
  return a;
}

/// Weights have four bits, so each is off by 2^-4 of itself at most, in both o and what it is divided by; the output is rounded once.
/// Scores of products by tensor cores have 14 bits.
void expect_fp8(const std::map<std::string, Buffer>& out, const Call& c, const Shape& s, bool causal, bool exact, const std::string& what,
                double lse_error = 2e-5) {
  for (int b = 0; b < s.b; ++b) {
    Attention a = problem(c, s, b, causal);
    const AttentionResult want = attend(a);
    for (double& v : a.v) v = std::fabs(v);
    const std::vector<double> size = attend(a).o;  // sum of p |v|
    const auto n = static_cast<std::int64_t>(want.o.size()), rows = static_cast<std::int64_t>(want.lse.size());
    for (std::int64_t i = 0; i < n; ++i) {
      const double w = want.o[static_cast<std::size_t>(i)];
      const double bound = (exact ? 1e-6 : 0.0626) * size[static_cast<std::size_t>(i)] + 0.004 * std::fabs(w) + 1e-6;
      ASSERT_NEAR(out.at("o").get(b * n + i), w, bound) << what << ", batch " << b << ", element " << i;
    }
    for (std::int64_t i = 0; i < rows; ++i) {
      const double got = out.at("lse").get(b * rows + i), w = want.lse[static_cast<std::size_t>(i)];
      if (std::isfinite(w)) {
        ASSERT_NEAR(got, w, lse_error + 2e-6 * std::fabs(w)) << what << ", batch " << b << ", lse of row " << i;
      } else {
        ASSERT_EQ(got, w) << what << ", row " << i << " sees no key";
      }
    }
  }
}

TEST(Fp8Attention, LengthsAndGroups) {
  for (const Shape& s : {Shape{1, 147}, Shape{113, 203, 2, 1, 2}, Shape{70, 33, 1, 2, 1}, Shape{33, 65, 1, 1, 4, 48}, Shape{5, 0},
                         Shape{40, 40, 1, 1, 1, 128}, Shape{200, 203, 1, 1, 1, 128, 128, 128}}) {
    for (const bool causal : {false, true}) {
      const Call c = fp8(causal ? "flash8_causal" : "flash8", s);
      for (const On on : {On::Interp, On::Exact, On::Cpu}) {
        // What the tests call the CPU may be a GPU.
        expect_fp8(run(c, on), c, s, causal, on == On::Exact, fmt::format("{}, {}", name(on), str(s)), on == On::Cpu ? 5e-4 : 2e-5);
      }
    }
  }
}

// Warpgroups, whose values the asking one transposes; products of warps; and memory that no tensor map describes.
TEST(Fp8Attention, OnSimulatedGpus) {
  const struct {
    GpuTarget target;
    Shape shape;
    const char* note;
  } cases[] = {{{90, true}, {200, 203, 1, 1, 1, 128, 128, 96}, "transposed"},
               {{90, true}, {130, 300, 1, 2, 2, 64, 192, 64}, "transposed"},
               {{90, true}, {70, 90, 1, 1, 1, 64, 64, 48}, "wgmma"},
               {{89, false}, {70, 90, 1, 2, 1, 64, 64, 64}, "mma_m16n8k32"}};
  for (const auto& x : cases) {
    for (const bool causal : {false, true}) {
      const Call c = fp8(causal ? "flash8_causal" : "flash8", x.shape);
      SimtCode code = emit_simt(c, x.target);
      EXPECT_THAT(code.ir.plan.notes, testing::Contains(testing::HasSubstr(x.note)));
      const SimtKernel kernel(std::move(code.ir));
      std::uint64_t seed = 0;
      for (const bool maps : {true, false}) {
        std::map<std::string, Buffer> out = c.tensors;
        const SimtResult r = simulate(kernel, *code.kernel, c, out, {.seed = ++seed, .maps = maps});
        for (const Hazard& h : r.hazards) ADD_FAILURE() << name(h.kind) << ": " << h.text;
        expect_fp8(out, c, x.shape, causal, false, fmt::format("sm_{}, {}{}", x.target.sm, str(x.shape), maps ? "" : ", no maps"), 5e-4);
      }
    }
  }
}

/// What a row of ones for o would give, on average, times what it should be.
double mean_ratio(const GpuTarget& target, const Shape& s) {
  Call c = fp8("flash8", s);
  Buffer& v = c.tensors.at("v");
  for (std::int64_t i = 0; i < v.size(); ++i) v.set(i, 1 + 0.1 * v.get(i));
  for (const char* of : {"q_scale", "k_scale", "v_scale"}) c.tensors.at(of).fill(1);
  SimtCode code = emit_simt(c, target);
  const SimtKernel kernel(std::move(code.ir));
  std::map<std::string, Buffer> out = c.tensors;
  EXPECT_TRUE(simulate(kernel, *code.kernel, c, out, {.races = false}).finished);
  double got = 0, want = 0;
  const std::vector<double> o = attend(problem(c, s, 0, false)).o;
  for (std::size_t i = 0; i < o.size(); ++i) {
    got += out.at("o").get(static_cast<std::int64_t>(i));
    want += o[i];
  }
  return got / want;
}

// Sums of 8-bit products by tensor cores are too small, the more the longer they are (simt/wgmma.cpp): not what a loop adds up.
TEST(Fp8Attention, LongSumsOfOneSignAreUnbiased) {
  EXPECT_NEAR(mean_ratio({90, true}, {128, 512, 1, 1, 1, 32, 128, 128}), 1, 0.003);
  EXPECT_NEAR(mean_ratio({90, true}, {128, 8192, 1, 1, 1, 32, 128, 128}), 1, 0.003);
}

}  // namespace
}  // namespace tessera::test
