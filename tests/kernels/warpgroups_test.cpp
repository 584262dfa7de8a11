// Shipped kernels with products of warpgroups, under their own schedules, on the simulated Hopper: no hazards and the interpreter's results, with
// bulk copies and without them, in memory that tensor maps describe and two elements behind it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/kernels/harness_simt.h"
#include "tests/kernels/made_up.h"
#include "tests/kernels/scheduled.h"

namespace tessera::test {
namespace {

constexpr Size kSizes[] = {{.b = 1, .h = 2, .sq = 72, .sk = 200, .m = 72, .n = 136, .k = 160},
                           {.b = 2, .h = 1, .sq = 67, .sk = 139, .m = 67, .n = 75, .k = 77},
                           // Of causal queries the first 110 see no key, in a tile with some that do.
                           {.b = 1, .h = 1, .sq = 150, .sk = 40, .m = 150, .n = 40, .k = 33}};

struct Shipped {
  const char *file, *kernel;
  Constants constants;
  bool bulk = true;       ///< its loops are fed by bulk copies
  const char* more = "";  ///< of the test's name
};
void PrintTo(const Shipped& s, std::ostream* out) { *out << s.kernel; }
class SimtWarpgroups : public ::testing::TestWithParam<Shipped> {};

TEST_P(SimtWarpgroups, RunCleanAndRight) {
  const Shipped& k = GetParam();
  SimtCode code = emit_scheduled(made_up(k.file, k.kernel, k.constants, kSizes[0], false), "");
  const std::vector<std::string> notes = code.ir.plan.notes;
  EXPECT_THAT(notes, ::testing::Contains(::testing::HasSubstr("wgmma")));
  EXPECT_EQ(::testing::Value(notes, ::testing::Contains(::testing::HasSubstr("by bulk copies"))), k.bulk);
  const SimtKernel kernel(std::move(code.ir));
  for (const Size& size : kSizes) {
    const Call call = made_up(k.file, k.kernel, k.constants, size, false);
    const std::map<std::string, Buffer> want = run(call, On::Interp);
    std::uint64_t seed = 0;
    for (const std::size_t shift : {0, 2}) {
      for (const bool maps : {true, false}) {
        if (shift && !maps) continue;
        SCOPED_TRACE(::testing::Message() << size.m << " rows or " << size.sq << " queries" << (shift ? ", shifted" : "")
                                          << (maps ? "" : ", no maps"));
        std::map<std::string, Buffer> tensors = call.tensors;
        const SimtResult r = simulate(kernel, *code.kernel, call, tensors, {.seed = ++seed, .maps = maps}, shift);
        for (const Hazard& h : r.hazards) ADD_FAILURE() << name(h.kind) << ": " << h.text;
        expect_close(tensors, want);
      }
    }
  }
}

/// The two kinds of maps go their own ways: queries, keys and values come by bulk copies, the result is stored by threads.
TEST(SimtWarpgroups, AResultThatNoMapDescribes) {
  const Call call = made_up("kernels/attention/flash.tile", "flash", {{"T", DType::BF16}, {"D", 64}, {"BM", 128}, {"BN", 64}}, kSizes[1], false);
  SimtCode code = emit_scheduled(call, "");
  EXPECT_THAT(code.ir.plan.notes, ::testing::Contains(::testing::StartsWith("store of o: by bulk copies")));
  const SimtKernel kernel(std::move(code.ir));
  const std::map<std::string, Buffer> want = run(call, On::Interp);
  const auto executed = [&](std::size_t shift) {
    std::map<std::string, Buffer> tensors = call.tensors;
    const SimtResult r = simulate(kernel, *code.kernel, call, tensors, {.seed = 1}, shift, "o");
    for (const Hazard& h : r.hazards) ADD_FAILURE() << name(h.kind) << ": " << h.text;
    expect_close(tensors, want);
    std::map<std::string, std::int64_t> of;
    for (std::size_t s = 0; s < r.executed.size(); ++s) of[kernel.sites()[s].what] += r.executed[s];
    return of;
  };
  const auto aligned = executed(0), shifted = executed(2);
  EXPECT_GT(aligned.at("tma_store_4d"), 0);
  EXPECT_EQ(shifted.at("tma_store_4d"), 0);
  EXPECT_EQ(shifted.at("tma_load_4d"), aligned.at("tma_load_4d"));
}

/// Where multiply-adds make some of the exponentials too.
TEST(SimtWarpgroups, RowsThatSeeNoKeyGiveZeros) {
  const Constants constants{{"T", DType::BF16}, {"D", 64}, {"BM", 128}, {"BN", 64}};
  Call call = made_up("kernels/attention/flash.tile", "flash_soft_cap", constants, kSizes[2], false);
  call.tensors.erase("lse");
  SimtCode code = emit_scheduled(call, "");
  EXPECT_THAT(code.ir.plan.notes, ::testing::Contains(::testing::HasSubstr("by multiply-adds")));
  const SimtKernel kernel(std::move(code.ir));
  std::map<std::string, Buffer> tensors = call.tensors;
  const SimtResult r = simulate(kernel, *code.kernel, call, tensors, {.seed = 1});
  for (const Hazard& h : r.hazards) ADD_FAILURE() << name(h.kind) << ": " << h.text;
  const Buffer& o = tensors.at("o");
  const std::int64_t row = o.size() / kSizes[2].sq;
  for (std::int64_t i = 0; i < (kSizes[2].sq - kSizes[2].sk) * row; ++i) ASSERT_EQ(o.get(i), 0) << i;
}

/// Two products read the tile of values: both run behind, or neither does where a thread has no room for what they hold.
TEST(SimtWarpgroups, ProductsThatShareATileRunBehindTogether) {
  const auto notes_of = [](std::int64_t e) {
    const Constants constants{{"T", DType::BF16}, {"D", 64}, {"E", e}, {"BM", 128}, {"BN", 64}};
    return emit_scheduled(made_up("tests/foreign/two_softmaxes.tile", "two_softmaxes", constants, kSizes[0], false), "").ir.plan.notes;
  };
  const auto behind = ::testing::Contains(::testing::HasSubstr("one trip behind"));
  const auto roles = ::testing::Contains(::testing::StartsWith("roles"));
  EXPECT_THAT(notes_of(64),
              ::testing::AllOf(roles, ::testing::Contains("product a0: one trip behind"), ::testing::Contains("product a1: one trip behind")));
  EXPECT_THAT(notes_of(128), ::testing::AllOf(roles, ::testing::Not(behind)));
}

Constants gemm(DType t, std::int64_t bm, std::int64_t bn, std::int64_t bk) { return {{"T", t}, {"BM", bm}, {"BN", bn}, {"BK", bk}}; }
Constants attention(DType t, std::int64_t d, std::int64_t bm, std::int64_t bn) { return {{"T", t}, {"D", d}, {"BM", bm}, {"BN", bn}}; }

Constants attention8(std::int64_t d, std::int64_t bm, std::int64_t bn) { return {{"O", DType::BF16}, {"D", d}, {"BM", bm}, {"BN", bn}}; }
Constants gemm8(DType t, std::int64_t bm, std::int64_t bn, std::int64_t bk) {
  return {{"T", t}, {"O", DType::F32}, {"BM", bm}, {"BN", bn}, {"BK", bk}};
}

const char* const kGemm = "kernels/gemm/gemm.tile";
const char* const kFlash = "kernels/attention/flash.tile";
INSTANTIATE_TEST_SUITE_P(All, SimtWarpgroups,
                         ::testing::Values(Shipped{kGemm, "gemm", gemm(DType::BF16, 64, 64, 64)},
                                           Shipped{kGemm, "gemm_nt", gemm(DType::F16, 128, 128, 32)},
                                           Shipped{kGemm, "gemm", gemm8(DType::E4M3, 128, 128, 64), false, "_e4m3"},
                                           Shipped{kGemm, "gemm_nt", gemm8(DType::E5M2, 128, 128, 128), true, "_e5m2"},
                                           Shipped{kFlash, "flash", attention(DType::BF16, 64, 64, 64)},
                                           Shipped{kFlash, "flash_causal", attention(DType::F16, 32, 128, 64)},
                                           Shipped{kFlash, "flash_window", attention(DType::BF16, 64, 64, 32)},
                                           Shipped{kFlash, "flash_alibi", attention(DType::BF16, 32, 64, 64)},
                                           Shipped{kFlash, "flash_soft_cap", attention(DType::BF16, 64, 128, 64)},
                                           Shipped{kFlash, "flash_document", attention(DType::F16, 32, 64, 64)},
                                           Shipped{"tests/foreign/column_peaks.tile", "column_peaks", gemm(DType::BF16, 128, 32, 64)},
                                           Shipped{"tests/programs/zoo.tile", "fwd_win", attention(DType::F16, 32, 64, 64)},
                                           Shipped{"examples/ladder/07_rings.tile", "gemm", gemm(DType::F16, 128, 64, 64)},
                                           Shipped{"examples/ladder/08_overlap.tile", "attention", attention(DType::BF16, 64, 64, 64)},
                                           Shipped{"examples/ladder/09_roles.tile", "attention", attention(DType::F16, 32, 128, 64)},
                                           Shipped{"examples/ladder/10_order.tile", "causal", attention(DType::BF16, 64, 128, 32)},
                                           Shipped{"kernels/attention/fp8.tile", "flash8", attention8(64, 128, 64)},
                                           Shipped{"kernels/attention/fp8.tile", "flash8_causal", attention8(32, 192, 32)},
                                           Shipped{"kernels/attention/paged.tile", "paged_prefill", attention(DType::BF16, 64, 64, 64), false},
                                           Shipped{"kernels/attention/ragged.tile", "ragged", attention(DType::BF16, 64, 64, 64)},
                                           Shipped{"kernels/attention/ragged.tile", "ragged_causal", attention(DType::F16, 32, 128, 64)}),
                         [](const auto& info) {
                           const std::string file = info.param.file;
                           const bool rung = file.starts_with("examples/ladder/");
                           return (rung ? "Rung" + file.substr(16, 2) + "_" : "") + info.param.kernel + info.param.more;
                         });

}  // namespace
}  // namespace tessera::test
