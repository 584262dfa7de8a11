// Every kernel that users are given on the simulated GPU, at a short shape and at longer ones, one of which no vector divides, and in memory that
// no vector fits: no hazards, the interpreter's results, and a list of the accesses and primitives that none of them reached.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>

#include "tests/kernels/harness_simt.h"
#include "tests/kernels/made_up.h"

namespace tessera::test {
namespace {

constexpr Size kShort{};
constexpr Size kEven{.b = 1, .h = 2, .sq = 72, .sk = 584, .m = 72, .n = 1096, .k = 160};
// Rows and columns as long as the tiles of these kernels.
constexpr Size kWhole{.b = 1, .h = 1, .sq = 64, .sk = 64, .m = 64, .n = 512, .k = 64};
constexpr Size kWhole1k{.b = 1, .h = 1, .sq = 64, .sk = 64, .m = 4, .n = 1024, .k = 64};
constexpr Size kOdd{.b = 2, .h = 2, .sq = 67, .sk = 139, .m = 67, .n = 603, .k = 77};
struct Launched {
  const Size& size;
  std::size_t shift;
  bool first_alone = false;  ///< the first view alone is shifted
};
constexpr Launched kLaunches[] = {{kShort, 0},       {kEven, 0},  {kOdd, 0},     {kOdd, 1},           {kEven, 1},   {kWhole, 0},
                                  {kWhole, 1, true}, {kWhole, 1}, {kWhole1k, 0}, {kWhole1k, 1, true}, {kWhole1k, 1}};

struct Reached {
  std::size_t sites = 0, never = 0;
};

Reached reach(const Given& k, const GpuTarget& target, bool with_optional) {
  Call first = made_up(k.file, k.kernel, k.constants, kShort, with_optional);
  SimtCode code = emit_simt(first, target);
  const SimtKernel kernel(std::move(code.ir));
  std::vector<std::int64_t> executed(kernel.sites().size());
  for (const auto& [size, shift, first_alone] : kLaunches) {
    const Call call = made_up(k.file, k.kernel, k.constants, size, with_optional);
    std::map<std::string, Buffer> tensors = call.tensors;
    const SimtResult r = simulate(kernel, *code.kernel, call, tensors, {}, shift, first_alone ? code.kernel->params[0].name : "");
    for (const Hazard& h : r.hazards) ADD_FAILURE() << name(h.kind) << ": " << h.text;
    expect_close(tensors, run(call, On::Interp));
    for (std::size_t i = 0; i < executed.size(); ++i) executed[i] += r.executed[i];
  }
  Reached out{executed.size(), 0};
  for (std::size_t i = 0; i < executed.size(); ++i) {
    if (executed[i] > 0) continue;
    const SimtSite& s = kernel.sites()[i];
    ++out.never;
    std::cout << fmt::format("  never executed: {} in block {}, source bytes {} to {}\n", s.what, s.block, s.span.begin, s.span.end);
  }
  return out;
}

/// The kernels are dealt out to so many tests, which run side by side.
constexpr int kShares = 6;
class SimtSites : public ::testing::TestWithParam<int> {};

TEST_P(SimtSites, EveryKernelRunsCleanAndReachesItsCode) {
  const std::vector<Given> all = given_kernels({"kernels", "examples/ladder", "examples/variants", "tests/foreign"});
  ASSERT_GT(all.size(), 60u);
  Reached total;
  for (std::size_t i = static_cast<std::size_t>(GetParam()); i < all.size(); i += kShares) {
    for (const bool with_optional : {false, true}) {
      if (with_optional && !all[i].has_optional_inputs) continue;
      const std::string what = fmt::format("{} {}{}", all[i].file, all[i].kernel, with_optional ? " with optional inputs" : "");
      SCOPED_TRACE(what);
      const Reached r = reach(all[i], {80}, with_optional);
      std::cout << fmt::format("{}: {} of {} sites executed\n", what, r.sites - r.never, r.sites);
      total.sites += r.sites;
      total.never += r.never;
    }
  }
  std::cout << fmt::format("all: {} of {} sites executed\n", total.sites - total.never, total.sites);
  EXPECT_LE(total.never * 6, total.sites) << "more than a sixth of the code runs in none of the launches";
}

INSTANTIATE_TEST_SUITE_P(Share, SimtSites, ::testing::Range(0, kShares));

}  // namespace
}  // namespace tessera::test
