// tessera::tune on arguments of the caller.
#include "tessera/tune.h"

#include <gmock/gmock.h>

#include <set>

#include "runtime/tune/estimate.h"
#include "tessera/tessera.h"
#include "tests/ir/kernels.h"

namespace tessera {
namespace {

constexpr const char* source = R"(
kernel acc[BM: int](x: view f32[R, 8], s: inout view f32[R, 8], y: out view f32[R, 8], a: f32)
over (i in tiles(R, BM))
{
    let t = s[i, :] + x[i, :] * a;
    s[i, :] = t;
    y[i, :] = t * 2.0;
}
tune acc { BM in {1, 2, 4, 8, 16}; key bucket(R); }
kernel plain(x: view f32[R], y: out view f32[R]) over (i in tiles(R, 8)) { y[i] = x[i]; }
)";

struct Data {
  static constexpr std::int64_t rows = 40, row = 24;  // rows of 8, a stride of 24 between those of s
  std::vector<float> x = std::vector<float>(rows * 8, 1.0f), s = std::vector<float>(rows * row, 3.0f), y = std::vector<float>(rows * 8, 0.0f);
  std::vector<Argument> arguments() {
    return {View<const float, 2>(x.data(), {rows, 8}), View<float, 2>(s.data(), {rows, 8}, {row, 1}), View<float, 2>(y.data(), {rows, 8}), 2.0f};
  }
};

TEST(TuneCall, ChoosesAndSetsBackWhatIsReadAndWritten) {
  const Module module = load_source("acc.tile", source, Cache::off());
  Data d;
  std::vector<std::string> told;
  TuneOptions how;
  how.seconds = 0.01;
  how.progress = [&](const TuneProgress& p) {
    EXPECT_LE(p.done, p.all);
    told.push_back(p.text);
  };
  const TuneResult r = tune(module, "acc", {}, Context::cpu(1), d.arguments(), how, {}, Cache::off());
  ASSERT_GE(r.winner, 0);
  ASSERT_EQ(r.candidates.size(), 5u);
  const TunedCandidate& best = r.candidates[static_cast<std::size_t>(r.winner)];
  EXPECT_TRUE(best.final);
  EXPECT_GT(best.median_s, 0);
  EXPECT_THAT(r.line, ::testing::HasSubstr("bucket(R)=64 : " + best.text));
  EXPECT_THAT(d.s, ::testing::Each(3.0f)) << "set back, and nothing between its rows was touched";
  EXPECT_THAT(d.y, ::testing::Each(10.0f)) << "of one launch";
  EXPECT_FALSE(told.empty());
  EXPECT_GT(r.spent_s, 0);
  EXPECT_GT(r.compile_s, 0);
  double last = 0;
  for (const TunedCandidate& c : r.candidates) {
    EXPECT_GE(c.estimate_s, last) << "in the order of the estimate";
    last = c.estimate_s;
  }
}

TEST(TuneCall, AnObjectionKeepsACandidateFromWinning) {
  const Module module = load_source("acc.tile", source, Cache::off());
  Data d;
  TuneOptions how;
  how.seconds = 0.01;
  how.exhaustive = true;
  how.check = [](const AnyKernel& k) { return k.constants().front().second == "4" ? std::string() : "not four"; };
  const TuneResult r = tune(module, "acc", {}, Context::cpu(1), d.arguments(), how, {}, Cache::off());
  ASSERT_GE(r.winner, 0);
  EXPECT_EQ(r.candidates[static_cast<std::size_t>(r.winner)].text, "BM=4");
  how.check = [](const AnyKernel&) { return "none of them"; };
  EXPECT_EQ(tune(module, "acc", {}, Context::cpu(1), d.arguments(), how, {}, Cache::off()).winner, -1);
}

TEST(TuneCall, StopsWhenAskedTo) {
  const Module module = load_source("acc.tile", source, Cache::off());
  Data d;
  TuneOptions how;
  how.stop = [] { return true; };
  const TuneResult r = tune(module, "acc", {}, Context::cpu(1), d.arguments(), how, {}, Cache::off());
  EXPECT_TRUE(r.stopped);
  EXPECT_EQ(r.winner, -1);
  EXPECT_EQ(r.line, "");
  EXPECT_THAT(d.s, ::testing::Each(3.0f));
}

TEST(TuneCall, WhatMakesNoSenseIsRefused) {
  const Module module = load_source("acc.tile", source, Cache::off());
  Data d;
  const auto code = [&](const char* kernel, const Consts& constants, std::size_t arguments, const Options& options) {
    try {
      const std::vector<Argument> all = d.arguments();
      tune(module, kernel, constants, Context::cpu(1), std::span(all).first(arguments), {}, options, Cache::off());
    } catch (const Error& e) {
      return e.code();
    }
    return std::string("none");
  };
  EXPECT_EQ(code("acc", {{"BM", 4}}, 4, {}), "E0802");
  EXPECT_EQ(code("plain", {}, 2, {}), "E0802");
  EXPECT_EQ(code("none", {}, 2, {}), "E0519");
  EXPECT_EQ(code("acc", {{"Q", 4}}, 4, {}), "E0511");
  EXPECT_EQ(code("acc", {}, 3, {}), "E0701");
  EXPECT_EQ(code("acc", {}, 4, {.target = "interp"}), "E0802");
  EXPECT_EQ(code("acc", {}, 4, {.target = "simt:sm_80"}), "E0802");
}

TEST(Estimate, CountsWhatTilesMove) {
  const auto gemm = test::load_kernel("gemm");
  const SymbolValues sizes{{"M", 320}, {"N", 480}, {"K", 160}};
  const Effort e = count_effort(*gemm, sizes);
  EXPECT_EQ(e.instances, 10 * 10);
  EXPECT_EQ(e.flops, 2.0 * 320 * 480 * 160);
  EXPECT_EQ(e.flops, *count_work(*gemm, sizes).flops);
  EXPECT_GT(e.traffic, e.bytes) << "tiles of A and B are read more than once";
  const tuning::Machine machine = tuning::machine_of(Context::cpu(1));
  const double one = tuning::estimate(e, machine, false);
  Effort twice = e;
  twice.flops *= 2;
  EXPECT_GT(tuning::estimate(twice, machine, false), one);
  twice.traffic *= 1000;
  EXPECT_GT(tuning::estimate(twice, machine, false), 10 * one);
}

}  // namespace
}  // namespace tessera
