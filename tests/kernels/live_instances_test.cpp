// Packed requests on the simulated Hopper: instances behind a request's last row are not handed on, the others run once, whatever the lengths.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/kernels/requests.h"
#include "tests/kernels/scheduled.h"

namespace tessera::test {
namespace {

constexpr int kRows = 128, kKeys = 64, kDepth = 64, kHeads = 3;  // of q, k and v one box a tile

using Lengths = std::vector<std::pair<int, int>>;

struct Packed {
  const char* name;
  std::vector<Lengths> batches;
  const char* kernel = "ragged";
  const char* directives = "";
};
void PrintTo(const Packed& p, std::ostream* out) { *out << p.name; }
class LiveInstances : public ::testing::TestWithParam<Packed> {};

Call call_of(const Requests& r, const std::string& kernel) {
  Call c{.file = "kernels/attention/ragged.tile", .kernel = kernel, .constants = {{"BM", std::int64_t{kRows}}, {"BN", std::int64_t{kKeys}}}};
  r.packed(c, kRows);
  r.ragged(c);
  return c;
}

int tiles(int n, int size) { return (n + size - 1) / size; }

/// Bulk copies of the instances that have rows: their queries once, keys and values for each trip.
std::int64_t copies(const Requests& r, bool causal) {
  std::int64_t n = 0;
  for (int b = 0; b < r.size(); ++b) {
    for (int t = 0; t < tiles(r.lq(b), kRows); ++t) {
      const int seen = causal ? std::clamp((t + 1) * kRows + r.lk(b) - r.lq(b), 0, r.lk(b)) : r.lk(b);
      n += r.heads() * (1 + 2 * tiles(seen, kKeys));
    }
  }
  return n;
}

TEST_P(LiveInstances, RunOnceAndAlone) {
  const Packed& p = GetParam();
  const bool causal = std::string(p.kernel) == "ragged_causal";
  SimtCode code = emit_scheduled(call_of(Requests({{1, 1}}, kHeads, 1, kDepth), p.kernel), p.directives);
  ASSERT_THAT(code.ir.plan.notes, ::testing::Contains("instances that do nothing: passed over, known from 11 ops of b, counted along t"));
  ASSERT_THAT(code.ir.plan.notes, ::testing::Contains(::testing::HasSubstr("roles:")));
  const SimtKernel kernel(std::move(code.ir));
  std::uint64_t seed = 0;
  for (const Lengths& lengths : p.batches) {
    const Requests r(lengths, kHeads, 1, kDepth);
    const Call call = call_of(r, p.kernel);
    for (const auto& [maps, persistent] : {std::pair{true, true}, {false, true}, {true, false}}) {
      SCOPED_TRACE(fmt::format("{} requests{}{}", lengths.size(), maps ? "" : ", no maps", persistent ? "" : ", a CTA an instance"));
      std::map<std::string, Buffer> tensors = call.tensors;
      const SimtResult result = simulate(kernel, *code.kernel, call, tensors, {.seed = ++seed, .persistent = persistent, .maps = maps});
      for (const Hazard& h : result.hazards) ADD_FAILURE() << name(h.kind) << ": " << h.text;
      std::int64_t bulk = 0;
      for (std::size_t s = 0; s < kernel.sites().size(); ++s) {
        if (kernel.sites()[s].what.starts_with("tma_load")) bulk += result.executed[s];
      }
      EXPECT_EQ(bulk, maps ? copies(r, causal) : 0);
      for (int b = 0; b < r.size(); ++b) {
        Attention a = r.problem(b);
        if (causal) a.keep = [lq = a.lq, lk = a.lk](int, int i, int j) { return j <= i + lk - lq; };
        expect_attention(r.queries_of(tensors.at("o"), b), r.queries_of(tensors.at("lse"), b), a, r.dtype(), false, fmt::format("request {}", b));
      }
    }
  }
}

/// More requests than a warp has lanes, most of them empty.
Lengths many() {
  Lengths out(75);
  for (std::size_t b = 0; b < out.size(); ++b) out[b] = {b % 9 == 4 ? 130 + static_cast<int>(b) : b % 4 == 1 ? 3 : 0, static_cast<int>(b * 37 % 150)};
  return out;
}

const std::vector<Lengths> kBatches = {{{700, 70}, {1, 200}, {0, 30}, {128, 64}, {129, 65}, {3, 0}},  // mostly behind the end
                                       {{5, 9}, {256, 128}},                                          // whole tiles
                                       {{300, 100}},                                                  // one request
                                       many()};
INSTANTIATE_TEST_SUITE_P(All, LiveInstances,
                         ::testing::Values(Packed{"Tickets", kBatches}, Packed{"EachNth", kBatches, "ragged", "persistent static;"},
                                           Packed{"OneEach", kBatches, "ragged", "persistent off;"},
                                           Packed{"RowMajor", kBatches, "ragged", "persistent row_major;"},
                                           Packed{"InGroups", kBatches, "ragged", "swizzle 2;"}, Packed{"Causal", kBatches, "ragged_causal"}),
                         [](const auto& info) { return info.param.name; });

/// Nobody has a row, though the grid has instances: `slots` is longer than any request asks for.
TEST(LiveInstances, ThereMayBeNone) {
  SimtCode code = emit_scheduled(call_of(Requests({{1, 1}}, kHeads, 1, kDepth), "ragged"), "");
  const SimtKernel kernel(std::move(code.ir));
  for (const std::size_t requests : {1, 40}) {
    const Requests r(Lengths(requests, {0, 0}), kHeads, 1, kDepth);
    Call call = call_of(r, "ragged");
    call.tensors.insert_or_assign("slots", Buffer(DType::I32, {3}));
    for (const bool persistent : {true, false}) {
      std::map<std::string, Buffer> tensors = call.tensors;
      const SimtResult result = simulate(kernel, *code.kernel, call, tensors, {.persistent = persistent});
      for (const Hazard& h : result.hazards) ADD_FAILURE() << name(h.kind) << ": " << h.text;
      for (std::size_t s = 0; s < kernel.sites().size(); ++s) {
        EXPECT_TRUE(result.executed[s] == 0 || !kernel.sites()[s].what.starts_with("tma_load"));
      }
    }
  }
}

}  // namespace
}  // namespace tessera::test
