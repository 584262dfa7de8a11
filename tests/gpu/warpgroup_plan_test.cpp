// What the plan decides about products of warpgroups, and what keeps it from deciding so: read from its notes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <llvm/IR/Constants.h>
#include <llvm/IR/InstIterator.h>
#include <llvm/IR/Instructions.h>
#include <llvm/IR/Module.h>

#include "codegen/gpu/compile.h"
#include "codegen/passes/pipeline.h"
#include "dsl/text.h"
#include "tests/gpu/warpgroup_text.h"

namespace tessera::test {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::HasSubstr;
using testing::Not;

constexpr GpuTarget kHopper{90, true}, kPlainHopper{90, false}, kAmpere{80, false};

struct Planned {
  std::vector<std::string> notes;
  int threads = 0;
  std::int64_t registers = 0;
  std::vector<GpuTensorMap> maps;
  bool persistent = false;
  int meetings = 0;  ///< barriers of all that compute, beside a warpgroup that asks
};

int meetings_in(const llvm::Module& module) {
  int n = 0;
  for (const llvm::Function& f : module) {
    for (const llvm::Instruction& i : llvm::instructions(f)) {
      const auto* call = llvm::dyn_cast<llvm::CallInst>(&i);
      if (!call || !call->getCalledFunction() || call->getCalledFunction()->getName() != "dp.bar_sync") continue;
      const auto* id = llvm::dyn_cast<llvm::ConstantInt>(call->getArgOperand(0));
      n += id && id->getSExtValue() == 1;
    }
  }
  return n;
}

Planned planned(const std::string& text, const GpuTarget& target, const Schedule& schedule = {}) {
  SourceMap sources;
  Diagnostics problems;
  const auto kernel = ir::parse_kernel(sources, sources.add("kernel.ir", text), problems);
  if (kernel && run_target_free_passes(*kernel, problems)) {
    GpuOptions options;
    options.schedule = schedule;
    GpuIr ir = emit_gpu(*kernel, target, options, problems);
    if (ir.module) return {ir.plan.notes, ir.threads, ir.registers, std::move(ir.maps), ir.persistent, meetings_in(*ir.module)};
  }
  ADD_FAILURE() << render(problems, sources) << text;
  return {};
}
std::vector<std::string> notes(const std::string& text, const GpuTarget& target, const Schedule& schedule = {}) {
  return planned(text, target, schedule).notes;
}

Schedule without_roles() {
  Schedule s;
  s.directives.push_back({DirectiveKind::Roles, {{.subject = "producer", .index = {}, .number = 0, .word = ""}}, {}});
  return s;
}

std::vector<std::int64_t> boxes(const GpuTensorMap& map) {
  std::vector<std::int64_t> out;
  for (const GpuTensorMap::Axis& a : map.axes) out.push_back(a.box);
  return out;
}

MATCHER_P2(Says, what, text, "") { return arg.starts_with(what) && arg.find(text) != std::string::npos; }

TEST(WarpgroupPlan, AGemmOnHopper) {
  const Planned p = planned(gemm_text({}), kHopper);
  EXPECT_THAT(p.notes, Contains(Says("product", "wgmma_f32_bf16, 4 x 1 warps, A from shared memory")));
  EXPECT_THAT(p.notes, Contains(Says("tile at", "128 x 64 bf16, swizzled, 3 slots, 49152 bytes, by bulk copies")));
  EXPECT_THAT(p.notes, Contains(Says("tile bt", "128 x 64 bf16, swizzled, 3 slots, 49152 bytes, by bulk copies")));
  EXPECT_THAT(p.notes, Not(Contains(HasSubstr("one trip behind"))));
  EXPECT_EQ(p.threads, 128);
  // Rows of a tensor by 128 bytes of its columns, the innermost axis first: words of extents and strides follow the base.
  ASSERT_EQ(p.maps.size(), 2u);
  EXPECT_EQ(p.maps[0], (GpuTensorMap{0, DType::BF16, {{2, 4, 64}, {1, 3, 128}}}));
  EXPECT_EQ(p.maps[1], (GpuTensorMap{5, DType::BF16, {{7, 9, 64}, {6, 8, 128}}}));
}

TEST(WarpgroupPlan, KOutsideIsNoHindrance) {
  const std::vector<std::string> n = notes(gemm_text({.bn = 192, .dtype = "f16", .transposed = false}), kHopper);
  EXPECT_THAT(n, Contains(Says("product", "wgmma_f32_f16")));
  EXPECT_THAT(n, Contains(AllOf(Says("tile bt", "64 x 192 f16, swizzled"), HasSubstr("by bulk copies"))));
}

TEST(WarpgroupPlan, OtherArchitecturesHaveNeither) {
  for (const GpuTarget& target : {kAmpere, kPlainHopper}) {
    for (const std::string& text : {gemm_text({}), attention_text({.bm = 128})}) {
      const Planned p = planned(text, target);
      EXPECT_THAT(p.notes, Contains(Says("product", "mma_m16n8k16_f32_bf16")));
      EXPECT_THAT(p.notes, Each(AllOf(Not(HasSubstr("wgmma")), Not(HasSubstr("swizzled")), Not(HasSubstr("one trip behind")))));
      EXPECT_TRUE(p.maps.empty());
      EXPECT_EQ(p.registers, 0);
    }
  }
}

TEST(WarpgroupPlan, AttentionRunsItsSecondProductATripBehind) {
  const Planned p = planned(attention_text({.bm = 128, .bn = 128}), kHopper);
  EXPECT_THAT(p.notes, Contains(Says("product qk", "wgmma_f32_bf16, 8 x 1 warps, A from shared memory")));
  EXPECT_THAT(p.notes, Contains(Says("product pv", "wgmma_f32_bf16, 8 x 1 warps, A from registers")));
  EXPECT_THAT(p.notes, Contains("product on: one trip behind"));
  EXPECT_THAT(p.notes, Contains(Says("tile kt", ", by bulk copies")));
  EXPECT_THAT(p.notes, Contains(Says("tile vt", ", by bulk copies")));
  EXPECT_THAT(p.notes, Contains(Says("tile qt", "swizzled, 2 slots, 32768 bytes, by bulk copies")));
  EXPECT_EQ(p.threads, 384);
}

TEST(WarpgroupPlan, PartsThatDifferInMasksAloneHaveOneFirstTrip) {
  // Products are masked before they are scaled, so that both parts compute the same.
  const auto masked_first = [](const AttentionForm& f) {
    std::string text = attention_text(f);
    const auto put = [&](const std::string& from, const std::string& to) {
      const std::size_t at = text.find(from);
      ASSERT_NE(at, std::string::npos) << from;
      text.replace(at, from.size(), to);
    };
    put("%s = mul %qk, %scale", "%s = select %inrow, %qk, %ninf");
    put("%sm = select %inrow, %s, %ninf", "%sm = mul %s, %scale");
    put("%sz = sub %s, %z", "%sz = sub %sm, %z");
    return text;
  };
  const auto one_code = Contains("a loop in 2 parts: the first trip and those with masks have one code");
  EXPECT_THAT(notes(masked_first({.bm = 128, .bn = 128}), kHopper), one_code);
  EXPECT_THAT(notes(masked_first({.bm = 128, .bn = 128}), kHopper, without_roles()), one_code);
  // Without a mask the maximum of scaled products is the scaled maximum: other code.
  EXPECT_THAT(notes(attention_text({.bm = 128, .bn = 128}), kHopper), Not(one_code));
  EXPECT_THAT(notes(gemm_text({.bm = 256}), kHopper), Not(one_code));
}

TEST(Roles, AWarpgroupAsksForTilesBesideTwoOrThree) {
  const Planned two = planned(attention_text({.bm = 128, .bn = 128}), kHopper), three = planned(attention_text({.bm = 192}), kHopper);
  EXPECT_THAT(two.notes, Contains(Says("roles", "one warpgroup asks for tiles with 40 registers, 2 compute with 232")));
  EXPECT_THAT(three.notes, Contains(Says("roles", "one warpgroup asks for tiles with 32 registers, 3 compute with 160")));
  EXPECT_TRUE(two.persistent && three.persistent);
  EXPECT_EQ(three.threads, 512);
}

TEST(Roles, AScheduleForbidsThem) {
  const Planned p = planned(attention_text({.bm = 128, .bn = 128}), kHopper, without_roles());
  EXPECT_THAT(p.notes, Each(Not(HasSubstr("roles"))));
  EXPECT_FALSE(p.persistent);
  EXPECT_EQ(p.threads, 256);
  // Read once, outside of the loop, by ordinary copies.
  EXPECT_THAT(p.notes, Contains(AllOf(Says("tile qt", "swizzled, 1 slot"), Not(HasSubstr("bulk")))));
  EXPECT_GT(p.registers, 100);
}

TEST(WarpgroupPlan, ProductsThatOnlyAddUpRunIntoTheNextTrip) {
  EXPECT_THAT(notes(gemm_text({.bm = 256}), kHopper), Contains("product o: into the next trip"));
  EXPECT_THAT(notes(gemm_text({.bm = 256}), kHopper, without_roles()), Each(Not(HasSubstr("into the next trip"))));
  // What is added to them, or read of them, in the loop must have them whole.
  EXPECT_THAT(notes(gemm_text({.bm = 256, .body = "%twice = add %sum, %sum : f32[256, 128]", .sum = "%twice"}), kHopper),
              Each(Not(HasSubstr("into the next trip"))));
  EXPECT_THAT(notes(attention_text({.bm = 128}), kHopper), Each(Not(HasSubstr("into the next trip"))));
}

Schedule schedule_of(DirectiveKind kind, const std::string& subject, std::optional<std::int64_t> number = {}) {
  Schedule s;
  s.directives.push_back({kind, {{.subject = subject, .index = {}, .number = number, .word = ""}}, {}});
  return s;
}

TEST(Roles, AScheduleDealsOutRegisters) {
  const auto with_regs = [](const std::string& role, std::int64_t n) {
    return notes(attention_text({.bm = 128}), kHopper, schedule_of(DirectiveKind::Regs, role, n));
  };
  EXPECT_THAT(with_regs("producer", 32), Contains(Says("roles", "asks for tiles with 32 registers, 2 compute with 232")));
  EXPECT_THAT(with_regs("consumer", 160), Contains(Says("roles", "asks for tiles with 32 registers, 2 compute with 160")));
}

TEST(Clusters, ShareTheTilesThatDoNotDependOnTheirAxis) {
  const auto shared = [](const std::string& text, const std::string& axis) {
    return planned(text, kHopper, schedule_of(DirectiveKind::Cluster, axis, 2));
  };
  const std::string gemm = gemm_text({.bn = 256, .transposed = false});
  const Planned i = shared(gemm, "i"), j = shared(gemm, "j");
  EXPECT_THAT(i.notes, Contains("clusters: 2 CTAs, of neighbouring instances along i"));
  EXPECT_THAT(i.notes, Contains(AllOf(Says("tile bt", "for both CTAs of a cluster"), HasSubstr("half the columns"))));
  EXPECT_THAT(i.notes, Contains(AllOf(Says("tile at", ", by bulk copies"), Not(HasSubstr("cluster")))));
  EXPECT_THAT(j.notes, Contains(AllOf(Says("tile at", "for both CTAs of a cluster"), HasSubstr("half the rows"))));
  // Boxes of half the rows; panels stay whole.
  EXPECT_EQ(boxes(j.maps[0]), (std::vector<std::int64_t>{64, 64}));
  EXPECT_EQ(boxes(i.maps[0]), (std::vector<std::int64_t>{64, 128}));
  // One has no clusters, and other architectures leave them aside with the roles.
  EXPECT_THAT(planned(gemm, kHopper, schedule_of(DirectiveKind::Cluster, "i", 1)).notes, Each(Not(HasSubstr("cluster"))));
  for (const GpuTarget& target : {kAmpere, kPlainHopper, GpuTarget{100, true}})
    EXPECT_THAT(planned(gemm, target, schedule_of(DirectiveKind::Cluster, "i", 2)).notes, Each(Not(HasSubstr("cluster"))));
  // Keys and values are those of the head, whatever the queries.
  const Planned keys = shared(attention_text({.bm = 128}), "i");
  EXPECT_THAT(keys.notes, Contains(Says("tile kt", "for both CTAs of a cluster")));
  EXPECT_THAT(keys.notes, Contains(Says("tile vt", "for both CTAs of a cluster")));
  EXPECT_THAT(keys.notes, Contains(AllOf(Says("tile qt", "by bulk copies"), Not(HasSubstr("cluster")))));
}

TEST(Roles, AScheduleSaysHowCtasComeByInstances) {
  const auto persistent = [](const std::string& word) {
    return planned(attention_text({.bm = 128}), kHopper, schedule_of(DirectiveKind::Persistent, word));
  };
  EXPECT_THAT(persistent("dynamic").notes, Contains(HasSubstr("a CTA takes instances by tickets")));
  const Planned fixed = persistent("static"), off = persistent("off");
  EXPECT_THAT(fixed.notes, Contains(HasSubstr("a CTA takes each n-th instance")));
  EXPECT_TRUE(fixed.persistent);
  EXPECT_THAT(off.notes, Contains(HasSubstr("a CTA takes one instance")));
  EXPECT_FALSE(off.persistent);
  EXPECT_EQ(off.threads, 384);
}

TEST(Roles, AScheduleSaysHowManyWarpgroupsCompute) {
  const auto threads = [](const std::string& text, std::int64_t n) {
    return planned(text, kHopper, schedule_of(DirectiveKind::Roles, "consumer", n)).threads;
  };
  EXPECT_EQ(threads(attention_text({.bm = 128}), 1), 128);
  EXPECT_EQ(threads(attention_text({.bm = 128}), 2), 384);
  EXPECT_EQ(threads(attention_text({.bm = 192}), 3), 512);
  // Columns of a gemm's tile may be shared as well.
  EXPECT_EQ(threads(gemm_text({.bm = 64, .bn = 128}), 2), 384);
  EXPECT_EQ(threads(gemm_text({.bm = 64, .bn = 128}), 0), 128);
}

TEST(Roles, TakeTurnsAtProductsThatRunBehind) {
  const std::string text = attention_text({.bm = 128, .bn = 128});
  EXPECT_THAT(notes(text, kHopper), Contains(Says("roles", "and take turns at products")));
  EXPECT_THAT(notes(text, kHopper, schedule_of(DirectiveKind::PingPong, "qk", 0)),
              Contains(AllOf(Says("roles", "2 compute"), Not(HasSubstr("turns")))));
  EXPECT_THAT(notes(gemm_text({.bm = 256}), kHopper), Contains(AllOf(Says("roles", "2 compute"), Not(HasSubstr("turns")))));
}

TEST(Roles, TakeNoTurnsAtProductsThatThreadsAddUp) {
  const std::vector<std::string> n = notes(std::regex_replace(attention_text({.bm = 128, .bn = 128, .d = 128}), std::regex("bf16"), "e4m3"), kHopper);
  EXPECT_THAT(n, Contains(HasSubstr("one trip behind")));
  EXPECT_THAT(n, Contains(AllOf(Says("roles", "2 compute"), Not(HasSubstr("turns")))));
  EXPECT_THAT(n, Contains("assembled at -O1"));
  EXPECT_THAT(notes(attention_text({.bm = 128, .bn = 128}), kHopper), Not(Contains(HasSubstr("assembled"))));
}

/// Results of 16 bits instead of f32.
std::string halved(std::string text, std::int64_t bm, std::int64_t d) {
  for (const auto& [from, to] : {std::pair<std::string, std::string>{"%o: out view f32", "%o: out view bf16"},
                                 {"view<f32, 3, out>", "view<bf16, 3, out>"},
                                 {"view<f32, 2, out>", "view<bf16, 2, out>"},
                                 {"  store %oh, %of", fmt::format("  %oc = cast %of : bf16[{}, {}]\n  store %oh, %oc", bm, d)}})
    text.replace(text.find(from), from.size(), to);
  return text;
}

Schedule store_of(const std::string& word) {
  Schedule s = schedule_of(DirectiveKind::Store, "o");
  s.directives[0].args[0].word = word;
  return s;
}

TEST(BulkStores, OfHalvesByWarpgroupsBesideOneThatAsks) {
  const std::string text = halved(attention_text({.bm = 128, .bn = 128, .d = 128}), 128, 128);
  const Planned p = planned(text, kHopper);
  EXPECT_THAT(p.notes, Contains("store of o: by bulk copies, pieces of 8192 bytes, 2 for each warpgroup"));
  // Room for the pieces is a slot of the rings.
  EXPECT_THAT(p.notes, Contains(Says("tile kt", "2 slots")));
  ASSERT_EQ(p.maps.size(), 4U);
  EXPECT_TRUE(p.maps[3].stored);
  EXPECT_EQ(boxes(p.maps[3]), (std::vector<std::int64_t>{64, 1, 64, 1}));
  for (std::size_t m = 0; m < 3; ++m) EXPECT_FALSE(p.maps[m].stored);
}

TEST(Roles, TilesOfTheNextInstanceHaveASlotOfTheirOwnWhereThereIsRoom) {
  const auto tile = [](std::int64_t d, const Schedule& schedule) { return notes(attention_text({.bm = 128, .bn = 64, .d = d}), kHopper, schedule); };
  EXPECT_THAT(tile(128, {}), Contains(Says("tile qt", "2 slots")));
  EXPECT_THAT(tile(256, {}), Contains(Says("tile qt", "1 slot,")));
  // One instance a CTA.
  const Schedule off = schedule_of(DirectiveKind::Persistent, "off");
  EXPECT_THAT(tile(128, off), Contains(Says("tile qt", "1 slot,")));
}

TEST(Roles, WarpgroupsMeetBetweenInstancesIfSharedMemoryIsLeftToOthers) {
  const std::string text = halved(attention_text({.bm = 128, .bn = 128, .d = 128}), 128, 128);
  EXPECT_EQ(planned(text, kHopper).meetings, 0);
  // Of columns all warps have rows: they find the largest together.
  std::string columns = gemm_text({.bm = 256});
  const std::string store = "store %c, %acc,";
  ASSERT_NE(columns.find(store), std::string::npos);
  columns.replace(columns.find(store), store.size(),
                  "%top = reduce %acc {axis = 0, kind = max} : f32[1, 128]\n  %less = sub %acc, %top : f32[256, 128]\n  store %c, %less,");
  const Planned together = planned(columns, kHopper);
  EXPECT_THAT(together.notes, Contains(HasSubstr("roles")));
  EXPECT_GT(together.meetings, 0);
}

TEST(BulkStores, WhatHindersThem) {
  const std::string text = halved(attention_text({.bm = 128, .bn = 128, .d = 128}), 128, 128);
  const auto stores = Contains(HasSubstr("store of o"));
  EXPECT_THAT(notes(text, kHopper, store_of("tma")), stores);
  EXPECT_THAT(notes(text, kHopper, store_of("direct")), Not(stores));
  EXPECT_THAT(notes(text, kHopper, store_of("direct")), Contains(Says("tile kt", "3 slots")));
  EXPECT_THAT(notes(text, kHopper, without_roles()), Not(stores));
  // A ring of a depth that a schedule asks for gives no room.
  EXPECT_THAT(notes(text, kHopper, schedule_of(DirectiveKind::Ring, "kt", 3)), AllOf(Not(stores), Contains(Says("tile kt", "3 slots"))));
  EXPECT_THAT(notes(text, kHopper, schedule_of(DirectiveKind::Ring, "kt", 2)), stores);
  // Sums of f32, and what may be read too.
  EXPECT_THAT(notes(attention_text({.bm = 128, .bn = 128, .d = 128}), kHopper), Not(stores));
  std::string read = text;
  read.replace(read.find("%o: out view"), 12, "%o: inout view");
  for (const std::string& from : {std::string("<bf16, 3, out>"), std::string("<bf16, 2, out>")}) {
    std::string to = from;
    to.replace(to.find("out"), 3, "inout");
    read.replace(read.find(from), from.size(), to);
  }
  EXPECT_THAT(notes(read, kHopper), AllOf(Not(stores), Contains(HasSubstr("roles"))));
}

TEST(Roles, WhatHindersThem) {
  const auto without = [](const std::string& text) {
    const Planned p = planned(text, kHopper);
    EXPECT_THAT(p.notes, Contains(HasSubstr("wgmma"))) << text;
    EXPECT_THAT(p.notes, Each(Not(HasSubstr("roles")))) << text;
    EXPECT_FALSE(p.persistent);
  };
  // One computing warpgroup, whose CTAs share a multiprocessor.
  without(attention_text({}));
  // A loop that is not at the top of the kernel.
  without(attention_text({.bm = 128, .repeats = 2}));
  // Accumulators that leave no registers.
  without(attention_text({.bm = 256, .bn = 128, .d = 128}));
  // Rings that threads copy.
  without(gemm_text({.bm = 128, .bn = 256, .a_view = "view {T}[M, K] strided"}));
  // A loop's end that only the computing threads know: it follows from a tile.
  without(gemm_text({.bn = 256,
                     .more_params = "%n: view i32[8]",
                     .head = "%c8 = const {value = 8} : idx\n  %n8 = range %c0, %c0, %c8 {size = 8, full} : range<8>\n  %nt = load %n, %n8 : i32[8]\n"
                             "  %nm = reduce %nt {axis = 0, kind = max} : i32[1]\n  %ns = reshape %nm : i32\n  %e = cast %ns : idx",
                     .trips_end = "%e"}));
}

TEST(Roles, GiveWayToWhatTheEndExchanges) {
  // A result that is seen in another shape takes 128 KiB of shared memory, which the rings leave only once they are done.
  const std::string plain = gemm_text({.bn = 256});
  EXPECT_THAT(notes(plain, kHopper), Contains(HasSubstr("roles")));
  const std::string reshaped = std::regex_replace(plain, std::regex("store %c, %acc, %mi, %nj"),
                                                  "%tall = reshape %acc : f32[256, 128]\n  %twice = add %tall, %tall : f32[256, 128]\n"
                                                  "  %wide = reshape %twice : f32[128, 256]\n  store %c, %wide, %mi, %nj");
  const std::vector<std::string> n = notes(reshaped, kHopper);
  EXPECT_THAT(n, Each(Not(HasSubstr("roles"))));
  EXPECT_THAT(n, Contains(HasSubstr("by bulk copies")));
}

TEST(Roles, RowsOfTwoMergedAxesAreBoxesOfBoth) {
  // 128 rows of 4: 32 positions of 4 neighbours. The map's axes are those of the parameter, the innermost first.
  const Planned whole = planned(gemm_text(merged_rows(4)), kHopper);
  ASSERT_THAT(whole.notes, Contains(Says("tile at", "by bulk copies")));
  ASSERT_FALSE(whole.maps.empty());
  EXPECT_EQ(boxes(whole.maps[0]), (std::vector<std::int64_t>{64, 4, 32}));
  // 128 rows of 3 end within a group: row by row.
  const Planned odd = planned(gemm_text(merged_rows(3)), kHopper);
  ASSERT_THAT(odd.notes, Contains(Says("tile at", "by bulk copies")));
  EXPECT_EQ(boxes(odd.maps[0]), (std::vector<std::int64_t>{64, 1, 1}));
}

TEST(WarpgroupPlan, WarpgroupsHaveRowsOfTheirOwn) {
  // Statistics of rows stay within a warp: blocks of 64 rows are dealt out to three groups at most.
  for (const auto& [bm, threads] : {std::pair<std::int64_t, int>{64, 128}, {128, 256}, {192, 384}, {256, 256}}) {
    EXPECT_EQ(planned(attention_text({.bm = bm}), kHopper, without_roles()).threads, threads) << bm;
  }
  EXPECT_THAT(notes(attention_text({.bm = 96}), kHopper), Each(Not(HasSubstr("wgmma"))));
}

TEST(WarpgroupPlan, ASchedulePutsASkewOff) {
  Schedule off;
  off.directives.push_back({DirectiveKind::Skew, {{.subject = "on", .index = {}, .number = 0, .word = ""}}, {}});
  const std::string text = attention_text({.bm = 128, .bn = 128});
  EXPECT_THAT(notes(text, kHopper, off), AllOf(Not(Contains(HasSubstr("one trip behind"))), Contains(Says("tile vt", ", by bulk copies"))));
  off.directives[0].args[0].subject = "other";
  EXPECT_THAT(notes(text, kHopper, off), Contains("product on: one trip behind"));
}

TEST(WarpgroupPlan, StrictKernelsHaveNoSkew) {
  // A product that starts from the other summand rounds less than a sum of two roundings: strict kernels have neither.
  const std::vector<std::string> n = notes(attention_text({.bm = 128, .bn = 128, .flags = "strict"}), kHopper);
  EXPECT_THAT(n, Contains(Says("product pv", "wgmma")));
  EXPECT_THAT(n, Not(Contains(HasSubstr("one trip behind"))));
}

struct Hindrance {
  const char* what;
  GemmForm form;
};
class NoBulkCopies : public testing::TestWithParam<Hindrance> {};

TEST_P(NoBulkCopies, CopiesByThreadsInstead) {
  const Planned p = planned(gemm_text(GetParam().form), kHopper);
  EXPECT_THAT(p.notes, Contains(Says("product", "wgmma_f32_bf16")));
  EXPECT_THAT(p.notes, Contains(AllOf(Says("tile at", "swizzled"), Not(HasSubstr(", 1 slot")))));
  EXPECT_THAT(p.notes, Each(Not(HasSubstr("bulk"))));
  EXPECT_TRUE(p.maps.empty());
}

GemmForm with(void (*change)(GemmForm&)) {
  GemmForm f;
  change(f);
  return f;
}
INSTANTIATE_TEST_SUITE_P(All, NoBulkCopies,
                         testing::Values(Hindrance{"strides that are the caller's affair", with([](GemmForm& f) { f.a_view += " strided"; })},
                                         Hindrance{"rows by a list", with([](GemmForm& f) {
                                                     f.more_params = "%ids: view i32[M]";
                                                     f.head = "%ta = view.take %a, %ids : view<bf16, 2, in>";
                                                     f.a_axes = "%ta, %mi, %kk";
                                                   })},
                                         Hindrance{"rows by pages", with([](GemmForm& f) {
                                                     f.a_view = "view bf16[P, 16, K]";
                                                     f.more_params = "%table: view i32[Q]";
                                                     f.more_symbols = ", P, Q";
                                                     f.head = "%ta = view.paged %a, %table, %M : view<bf16, 2, in>";
                                                     f.a_axes = "%ta, %mi, %kk";
                                                   })},
                                         Hindrance{"columns beside the tile's that are no zeros", with([](GemmForm& f) { f.bk = 40; })}),
                         [](const auto& info) {
                           std::string name = info.param.what;
                           for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           return name;
                         });

TEST(BulkCopies, ATileThatRegistersWantTooComesByThreads) {
  const std::vector<std::string> n = notes(gemm_text({.body = "%wide = cast %at : f32[128, 64]\n    %rows = reduce %wide {axis = 1, kind = sum} : "
                                                              "f32[128, 1]\n    %both = add %sum, %rows : f32[128, 128]",
                                                      .sum = "%both"}),
                                           kHopper);
  EXPECT_THAT(n, Contains(AllOf(Says("tile at", "3 slots"), Not(HasSubstr("bulk")))));
  EXPECT_THAT(n, Not(Contains(AllOf(Says("tile at", ""), HasSubstr("bulk")))));
}

TEST(BulkCopies, ColumnsThatEndBeforeTheirTensorAreCopiedByThreads) {
  // The loop over whole tiles comes first. Rows may end before: those who read them overwrite the rest.
  const std::vector<std::string> n =
      notes(gemm_text({.head = "%one = const {value = 1} : idx\n  %Ke = sub %K, %one : idx", .k_end = "%Ke", .trips_end = "%Ke"}), kHopper);
  std::vector<std::string> a;
  std::copy_if(n.begin(), n.end(), std::back_inserter(a), [](const std::string& x) { return x.starts_with("tile at"); });
  ASSERT_EQ(a.size(), 2u);
  EXPECT_THAT(a[0], HasSubstr("by bulk copies"));
  EXPECT_THAT(a[1], AllOf(HasSubstr("3 slots"), Not(HasSubstr("bulk"))));
}

TEST(BulkCopies, ColumnsMayEndWithTheTensor) {
  // 40 columns, padded to 48, of a tensor of 40: what lies beyond is zero.
  const std::vector<std::string> n = notes(attention_text({.d = 40}), kHopper);
  EXPECT_THAT(n, Contains(AllOf(Says("tile kt", "64 x 48 bf16"), HasSubstr("by bulk copies"))));
}

}  // namespace
}  // namespace tessera::test
