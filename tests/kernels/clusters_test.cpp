// CTAs that share tiles (`cluster axis: 2`) give what CTAs alone do, bit for bit, on the simulated Hopper: by tickets, in turn and one instance each,
// where the number of instances along the axis is odd, where tiles are ragged, and where tensors have no maps.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/kernels/harness_cpu.h"
#include "tests/kernels/made_up.h"
#include "tests/kernels/scheduled.h"

namespace tessera::test {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using Tensors = std::map<std::string, Buffer>;

struct Case {
  std::string name, file, kernel;
  Constants constants;
  Size size;
  std::string directives, cluster;
  std::vector<std::string> shared;  ///< tiles that both CTAs get
  std::vector<std::string> own;     ///< tiles that each asks for by itself
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

std::vector<Case> cases() {
  const DType b = DType::BF16, h = DType::F16;
  const std::string gemm = "kernels/gemm/gemm.tile", flash = "kernels/attention/flash.tile", foreign = "tests/foreign/";
  const Constants small = {{"T", b}, {"O", b}, {"BM", 128}, {"BN", 64}, {"BK", 64}};
  const std::string two = "roles producer: 1, consumer: 2; ring at: 3, bt: 3; ";
  return {
      // 3 x 3 tiles: pairs of one along either axis.
      {"GemmRows", gemm, "gemm", small, {.m = 300, .n = 136, .k = 200}, two, "cluster i: 2; ", {"bt"}},
      {"GemmColumns", gemm, "gemm", small, {.m = 300, .n = 136, .k = 200}, two + "swizzle 3; ", "cluster j: 2; ", {"at"}},
      // Halves of panels, of two products' rows each.
      {"GemmWide",
       gemm,
       "gemm",
       {{"T", b}, {"O", b}, {"BM", 128}, {"BN", 128}, {"BK", 64}},
       {.m = 384, .n = 256, .k = 192},
       two,
       "cluster i: 2; ",
       {"bt"}},
      {"GemmNtOne", gemm, "gemm_nt", small, {.m = 100, .n = 250, .k = 72}, two, "cluster i: 2; ", {"bt"}},
      {"GemmNtNoTrips", gemm, "gemm_nt", small, {.m = 300, .n = 130, .k = 0}, two, "cluster j: 2; ", {"at"}},
      {"Attention",
       flash,
       "flash",
       {{"T", h}, {"D", 64}, {"BM", 128}, {"BN", 32}},
       {.b = 1, .h = 2, .sq = 330, .sk = 150},
       "",
       "cluster qi: 2; ",
       {"kt", "vt"}},
      {"Epilogue",
       foreign + "gemm_epilogue.tile",
       "gemm_epilogue",
       {{"T", b}, {"BM", 128}, {"BN", 64}, {"BK", 64}},
       {.m = 300, .n = 200, .k = 136},
       two,
       "cluster i: 2; ",
       {"bt"}},
      {"TwoSoftmaxes",
       foreign + "two_softmaxes.tile",
       "two_softmaxes",
       {{"T", b}, {"D", 32}, {"E", 64}, {"BM", 128}, {"BN", 32}},
       {.b = 1, .h = 2, .sq = 260, .sk = 100},
       "",
       "cluster i: 2; ",
       {"k0", "k1", "vt"}},
      {"OneOfTwo",
       flash,
       "flash",
       {{"T", b}, {"D", 64}, {"BM", 128}, {"BN", 64}},
       {.b = 1, .h = 1, .sq = 400, .sk = 200},
       "ring kt: 2, vt: 2; ",
       "cluster qi: 2; multicast vt; ",
       {"vt"},
       {"kt"}},
  };
}

class Clusters : public ::testing::TestWithParam<Case> {};

Tensors run(const Call& call, const std::string& directives, const SimtOptions& options, std::vector<std::string>* notes = nullptr) {
  SimtCode code = emit_scheduled(call, directives);
  if (notes) *notes = code.ir.plan.notes;
  const SimtKernel kernel(std::move(code.ir));
  Tensors out = call.tensors;
  const SimtResult r = simulate(kernel, *code.kernel, call, out, options);
  for (const Hazard& h : r.hazards) ADD_FAILURE() << directives << ", " << name(r.policy) << ": " << name(h.kind) << ": " << h.text;
  EXPECT_TRUE(r.finished);
  return out;
}

TEST_P(Clusters, ChangeNoBit) {
  const Case& c = GetParam();
  const Call call = made_up(c.file, c.kernel, c.constants, c.size, false);
  const Tensors want = run(call, c.directives, {});
  const auto same = [&](const std::string& directives, const SimtOptions& options) {
    const Tensors got = run(call, directives, options);
    for (const auto& [n, w] : want) expect_same(got.at(n), w, n);
  };
  std::vector<std::string> notes;
  run(call, c.directives + c.cluster, {.races = false}, &notes);
  EXPECT_THAT(notes, Contains(HasSubstr("clusters: 2 CTAs")));
  for (const std::string& tile : c.shared)
    EXPECT_THAT(notes, Contains(AllOf(::testing::StartsWith("tile " + tile + ":"), HasSubstr("for both CTAs of a cluster"))));
  for (const std::string& tile : c.own)
    EXPECT_THAT(notes, Contains(AllOf(::testing::StartsWith("tile " + tile + ":"), ::testing::Not(HasSubstr("cluster")))));
  for (const SimtPolicy policy : {SimtPolicy::Random, SimtPolicy::Lazy, SimtPolicy::Eager})
    same(c.directives + c.cluster, {.seed = 1 + static_cast<std::uint64_t>(policy), .policy = policy});
  same(c.directives + c.cluster, {.seed = 5, .persistent = false});
  same(c.directives + c.cluster, {.seed = 6, .maps = false});
  same(c.directives + c.cluster + "persistent static; ", {.seed = 7});
  same(c.directives + c.cluster + "persistent off; ", {.seed = 8});
}

/// More instances than a GPU runs at a time.
TEST_P(Clusters, OnDeviceChangeNoBit) {
  if (!compiled_target().starts_with("cuda")) GTEST_SKIP() << "the tests run on " << compiled_target();
  const Context gpu = Context::cuda(0);
  Case c = GetParam();
  c.size.m *= 11;
  c.size.n *= 11;
  c.size.sq *= 13;
  c.size.h *= 4;
  const Call call = made_up(c.file, c.kernel, c.constants, c.size, false);
  const Tensors want = run_scheduled(call, c.directives, gpu);
  for (const std::string persistence : {"", "persistent static; ", "persistent off; "}) {
    const Tensors got = run_scheduled(call, c.directives + c.cluster + persistence, gpu);
    for (const auto& [n, w] : want) expect_same(got.at(n), w, n);
  }
}

INSTANTIATE_TEST_SUITE_P(Of, Clusters, ::testing::ValuesIn(cases()), [](const auto& i) { return i.param.name; });

std::string refused(const Case& c, const std::string& directives) {
  try {
    emit_scheduled(made_up(c.file, c.kernel, c.constants, c.size, false), directives);
  } catch (const std::runtime_error& e) {
    return e.what();
  }
  return "";
}

TEST(RefusedClusters, AreToldAtTheDirective) {
  const Case gemm = cases()[0], causal{"",
                                       "kernels/attention/flash.tile",
                                       "flash_causal",
                                       {{"T", DType::F16}, {"D", 64}, {"BM", 128}, {"BN", 32}},
                                       {.sq = 256, .sk = 256},
                                       "",
                                       "",
                                       {}},
             packed{"",
                    "kernels/attention/ragged.tile",
                    "ragged",
                    {{"T", DType::F16}, {"D", 64}, {"BM", 128}, {"BN", 64}},
                    {.b = 2, .h = 2, .sq = 256, .sk = 256},
                    "",
                    "",
                    {}};
  const std::string roles = "roles producer: 1, consumer: 2; ";
  EXPECT_THAT(refused(gemm, roles + "cluster i: 3;"),
              HasSubstr("error[E0804]: `gemm` cannot run on sm_90a: its schedule says `cluster i: 3`, but the CTAs of a cluster are 1 to 2"));
  EXPECT_THAT(refused(gemm, roles + "cluster at: 2;"), HasSubstr("`cluster at: 2`, but `at` is no axis of its grid"));
  EXPECT_THAT(refused(gemm, roles + "cluster i: 2, j: 2;"), HasSubstr("`cluster i: 2`, but clusters lie along one axis"));
  EXPECT_THAT(refused(gemm, "roles producer: 0; cluster i: 2;"), HasSubstr("no warpgroup of it asks for tiles that its CTAs could share"));
  // What a row of queries attends to depends on where it is.
  EXPECT_THAT(refused(causal, "cluster qi: 2;"), HasSubstr("it has no tile that is the same for neighbouring instances along `qi`"));
  for (const std::string& text : {refused(gemm, "roles producer: 0; cluster i: 2;"), refused(causal, "cluster qi: 2;")})
    EXPECT_THAT(text, HasSubstr("i: 2; }")) << "the line and its caret";
  EXPECT_EQ(refused(gemm, roles + "cluster i: 1;"), "");
  EXPECT_THAT(refused(packed, "cluster t: 2;"), HasSubstr("`cluster t: 2`, but instances of it that store nothing are passed over"));
  const std::string shared = refused(gemm, roles + "cluster i: 2; multicast bt, at;");
  EXPECT_THAT(shared,
              AllOf(HasSubstr("`multicast at`, but that is no tile that is the same for neighbouring instances along `i`"), HasSubstr("bt, at; }")));
  EXPECT_EQ(refused(gemm, roles + "cluster i: 2; multicast bt;"), "");
  EXPECT_EQ(refused(gemm, roles + "cluster i: 1; multicast at;"), "");
}

}  // namespace
}  // namespace tessera::test
