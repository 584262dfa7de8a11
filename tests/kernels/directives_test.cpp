// What a directive asks for is there in the code, PTX or LLVM IR, and what cannot be is refused at its place. That directives change no bit is the
// matter of schedules_test.cpp.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codegen/cpu/compile.h"
#include "codegen/nvptx/ptx.h"
#include "codegen/passes/pipeline.h"
#include "tests/kernels/scheduled.h"

namespace tessera::test {
namespace {

using ::testing::HasSubstr;

int count(const std::string& text, const std::string& what) {
  int n = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + what.size())) ++n;
  return n;
}

const ScheduleForm& form_of(const std::string& name) {
  static const std::vector<ScheduleForm> all = schedule_forms();
  for (const ScheduleForm& f : all) {
    if (f.name == name) return f;
  }
  throw std::runtime_error("no form " + name);
}

Call call_for(const std::string& form, std::int64_t rows = 64) {
  const ScheduleForm& f = form_of(form);
  Constants c = f.constants;
  if (!f.rows.empty()) c["BM"] = rows;
  return call_of(f, c);
}

std::string ptx(const Call& call, const std::string& directives, const GpuTarget& target) {
  return make_ptx(emit_scheduled(call, directives, target).ir, target).ptx;
}
std::string ptx(const std::string& form, const std::string& directives, std::int64_t rows = 64, const GpuTarget& target = kHopper) {
  return ptx(call_for(form, rows), directives, target);
}

std::vector<std::string> notes(const std::string& form, const std::string& directives, std::int64_t rows = 64) {
  return emit_scheduled(call_for(form, rows), directives).ir.plan.notes;
}

TEST(Directives, CacheOfOrdinaryLoadsAndStores) {
  for (const GpuTarget& t : {kHopper, kAmpere}) {
    const std::string none = ptx("NoProduct", "", 64, t), both = ptx("NoProduct", "cache x: evict_first, y: evict_last;", 64, t);
    EXPECT_EQ(count(none, "L2::"), 0);
    EXPECT_EQ(count(both, "createpolicy.fractional.L2::evict_first.b64"), 1);
    EXPECT_EQ(count(both, "createpolicy.fractional.L2::evict_last.b64"), 1);
    // Every load and every store of the two views, and no other.
    EXPECT_EQ(count(both, "ld.global.L2::cache_hint"), count(none, "ld.global"));
    EXPECT_EQ(count(both, "st.global.L2::cache_hint"), count(none, "st.global"));
    EXPECT_GT(count(both, "ld.global.L2::cache_hint.v4.b32"), 0);
    const std::string loads = ptx("NoProduct", "cache x: evict_first;", 64, t);
    EXPECT_EQ(count(loads, "st.global.L2::cache_hint"), 0);
    EXPECT_GT(count(loads, "ld.global.L2::cache_hint"), 0);
  }
  // Turing has no such instructions, and so the directive no effect.
  EXPECT_EQ(ptx("NoProduct", "cache x: evict_first;", 64, {75}), ptx("NoProduct", "", 64, {75}));
}

TEST(Directives, CacheOfCopiesIntoRings) {
  const std::string tensor = "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes", chunk = "cp.async.cg.shared.global";
  const std::string none = ptx("SoftCap", ""), kt = ptx("SoftCap", "cache kt: evict_last;"),
                    both = ptx("SoftCap", "cache kt: evict_last, vt: evict_first;");
  EXPECT_EQ(count(none, tensor + ".L2::cache_hint"), 0);
  const int all = count(none, tensor);
  ASSERT_GT(all, 1);
  EXPECT_EQ(count(kt, tensor), all);
  EXPECT_GT(count(kt, tensor + ".L2::cache_hint"), 0);
  EXPECT_LT(count(kt, tensor + ".L2::cache_hint"), count(both, tensor + ".L2::cache_hint"));
  EXPECT_EQ(count(kt, "createpolicy"), 1);
  EXPECT_EQ(count(both, "createpolicy"), 2);
  const std::string old = ptx("SoftCap", "cache kt: evict_last, vt: evict_last;", 64, kAmpere);
  EXPECT_EQ(count(old, "createpolicy"), 1);
  EXPECT_GT(count(old, chunk + ".L2::cache_hint"), 0);
  EXPECT_GT(count(old, chunk), count(old, chunk + ".L2::cache_hint")) << "those of q";
  EXPECT_EQ(count(old, "max.s32 to, "), count(old, chunk + ".L2::cache_hint")) << "a place that assemblers do not take apart";
  // The view that both are loads of.
  EXPECT_EQ(count(ptx("SoftCap", "cache k: evict_last;"), tensor + ".L2::cache_hint"), count(kt, tensor + ".L2::cache_hint"));
}

TEST(Directives, CacheOfTilesThatClustersShare) {
  const std::string copy = "multicast::cluster", none = ptx("ThreeProducts", "roles consumer: 2; cluster i: 2;", 128);
  ASSERT_GT(count(none, copy), 0);
  EXPECT_EQ(count(none, copy + ".L2::cache_hint"), 0);
  const std::string all = ptx("ThreeProducts", "roles consumer: 2; cluster i: 2; cache kt: evict_last, gt: evict_last, vt: evict_last;", 128);
  EXPECT_EQ(count(all, copy + ".L2::cache_hint"), count(none, copy));
}

TEST(Directives, CacheOfBulkStores) {
  const std::string store = ".global.shared::cta.bulk_group";
  const std::string none = ptx("SoftCap", "", 128), last = ptx("SoftCap", "cache o: evict_first;", 128);
  ASSERT_GT(count(none, store), 0);
  EXPECT_EQ(count(none, store + ".L2::cache_hint"), 0);
  EXPECT_EQ(count(last, store + ".L2::cache_hint"), count(none, store));
}

int products(const std::string& text) { return count(text, "wgmma.mma_async"); }

TEST(Directives, UnrolledLoopsHaveSoManyBodies) {
  // One body in the loop without the directive; three in a row and one for what is left with it.
  const int once = products(ptx("GemmEpilogue", "roles producer: 0;"));
  ASSERT_GT(once, 0);
  EXPECT_EQ(products(ptx("GemmEpilogue", "roles producer: 0; unroll k: 1;")), once);
  EXPECT_EQ(products(ptx("GemmEpilogue", "roles producer: 0; unroll k: 3;")), 4 * once);
  // Where the sums of one trip are under way in the next, too.
  const int fed = products(ptx("GemmEpilogue", "", 128));
  EXPECT_EQ(products(ptx("GemmEpilogue", "unroll k: 2;", 128)), 3 * fed);
  // Products that run behind: a first trip and a last product of their own remain.
  EXPECT_GT(products(ptx("SoftCap", "unroll kj: 2;", 128)), products(ptx("SoftCap", "", 128)));
  const std::string mma = "mma.sync.aligned";
  const int old = count(ptx("SoftCap", "", 64, kAmpere), mma);
  EXPECT_EQ(count(ptx("SoftCap", "unroll kj: 4;", 64, kAmpere), mma), 5 * old);
}

TEST(Directives, HomesOfFirstOperands) {
  // A operands of warpgroup products: four registers in braces, or a descriptor.
  const std::string smem = ptx("SoftCap", "home q: smem;", 128), none = ptx("SoftCap", "", 128), regs = ptx("SoftCap", "home q: regs;", 128);
  EXPECT_EQ(smem, none);
  EXPECT_NE(regs, none);
  const auto from_descriptors = [](const std::string& text) { return count(text, "}, da, db"); };
  EXPECT_GT(from_descriptors(none), 0);
  EXPECT_EQ(from_descriptors(regs), 0);
  EXPECT_THAT(notes("SoftCap", "home q: regs;"), testing::Not(testing::Contains(HasSubstr("tile q"))));
  EXPECT_THAT(notes("SoftCap", "home q: smem;"), testing::Contains(HasSubstr("tile q: shared memory")));
  // The weights, which would stay in registers, through shared memory.
  const std::string weights = ptx("SoftCap", "home p: smem;");
  EXPECT_LT(from_descriptors(none), products(none));
  EXPECT_EQ(from_descriptors(weights), products(weights));
  EXPECT_THAT(notes("SoftCap", "home p: smem;"), testing::Not(testing::Contains(HasSubstr("A from registers"))));
}

TEST(Directives, DividedAxes) {
  const auto product = [](const std::string& directives, std::int64_t rows) {
    Constants c = form_of("GemmEpilogue").constants;
    c["BM"] = rows;
    c["BN"] = 128;
    for (const std::string& n : emit_scheduled(call_of(form_of("GemmEpilogue"), c), directives).ir.plan.notes) {
      if (n.starts_with("product ")) return n;
    }
    return std::string();
  };
  EXPECT_THAT(product("roles consumer: 2; divide acc 0: group;", 128), HasSubstr("8 x 1 warps"));
  EXPECT_THAT(product("roles consumer: 2; divide acc 1: group;", 128), HasSubstr("4 x 2 warps"));
  EXPECT_THAT(product("roles consumer: 1; divide acc 1: group;", 128), HasSubstr("4 x 1 warps"));
}

// --- refusals: the message, the line and the column of the directive

/// The refusal of what stands in line 2 of a schedule, from its third column on.
std::string refused(const std::string& form, const std::string& directive, std::int64_t rows = 128, Constants more = {}) {
  const ScheduleForm& f = form_of(form);
  Constants c = f.constants;
  if (!f.rows.empty()) c["BM"] = rows;
  for (const auto& [n, v] : more) c[n] = v;
  try {
    emit_scheduled(call_of(f, c), "\n  " + directive + ";");
  } catch (const std::runtime_error& e) {
    return e.what();
  }
  return "";
}

/// Where that is: one line behind the first of the schedule.
std::string place(const std::string& form) {
  const std::string text = scheduled_text(call_for(form), "");
  return fmt::format("{}:{}:3: error[E0804]: ", form_of(form).file, std::count(text.begin(), text.end(), '\n') + 3);
}

struct Refusal {
  const char *form, *directive, *why;
  std::int64_t rows = 128;
};
TEST(Directives, WhatCannotBeIsRefusedAtItsPlace) {
  for (const Refusal& r : {
           Refusal{"SoftCap", "cache st.acc: evict_last", "`st.acc` is neither loaded from memory nor a view that is read or stored"},
           Refusal{"SoftCap", "cache kt: 3", "a line of the cache is `evict_first` or `evict_last`"},
           Refusal{"SoftCap", "unroll kj: 0", "a loop is unrolled by 1 to 16"},
           Refusal{"SoftCap", "unroll kj: 17", "a loop is unrolled by 1 to 16"},
           Refusal{"SoftCap", "unroll kt: 2", "`kt` is no variable of a loop whose trips are counted"},
           Refusal{"SoftCap", "unroll qi: 2", "`qi` is an axis of the grid, each of whose instances runs by itself"},
           Refusal{"SoftCap", "home kt: regs", "`kt` is the second operand of a product, which comes from shared memory"},
           Refusal{"SoftCap", "home st.acc: smem", "`st.acc` is no operand of a product: it lies in registers"},
           Refusal{"SoftCap", "home q: 1", "an operand's home is `regs` or `smem`"},
           Refusal{"SoftCap", "divide st.acc 1: group", "rows of a product are reduced, or multiplied again: each stays with one warpgroup"},
           Refusal{"SoftCap", "divide kt 0: group", "`kt` is no result of a product"},
           Refusal{"SoftCap", "divide st.acc 2: group", "the axes of a product's result are 0 and 1"},
           Refusal{"SoftCap", "divide st.acc: group", "an axis of a value is divided by `group`, as in `divide acc 0: group`"},
       }) {
    const std::string text = refused(r.form, r.directive, r.rows);
    EXPECT_THAT(text, HasSubstr(fmt::format("{}`{}` cannot run on sm_90a: its schedule says `{}`, but {}", place(r.form), form_of(r.form).kernel,
                                            r.directive, r.why)));
  }
  EXPECT_THAT(refused("GemmEpilogue", "roles consumer: 2; divide acc 1: group"), HasSubstr("its columns are too few, or not whole panels of 64"));
  EXPECT_THAT(refused("GemmEpilogue", "roles consumer: 2; divide acc 0: group", 192),
              HasSubstr("2 warpgroups cannot share its 192 rows evenly, by 64"));
  EXPECT_THAT(refused("GroupedAlibi", "roles consumer: 1; home q: regs", 192, {{"D", 128}, {"E", 32}}), HasSubstr("a thread would keep"));
}

TEST(Directives, NamesThatStandForNothingHaveNoEffect) {
  // The sink is absent here, and with it what is loaded from it.
  EXPECT_EQ(ptx("SoftCap", "cache sink: evict_last;"), ptx("SoftCap", ""));
}

// --- the CPU

std::string cpu_code(const std::string& form, const std::string& directives, Constants more = {}) {
  const ScheduleForm& f = form_of(form);
  Constants c = f.constants;
  if (!f.rows.empty()) c["BM"] = 64;
  for (const auto& [n, v] : more) c[n] = v;
  const Call call = call_of(f, c);
  const std::string path = source_root() + "/" + call.file;
  const LoadResult loaded = load_program(path, scheduled_text(call, directives, "cpu"), import_beside(path));
  if (!loaded.program) return render(loaded.diagnostics, *loaded.sources);
  Diagnostics problems;
  const auto kernel = instantiate(*loaded.program, call.kernel, call.constants, absent_views(*loaded.program, call), problems);
  std::string code;
  if (kernel && run_target_free_passes(*kernel, problems, {})) {
    CpuOptions options;
    options.schedule = schedule_for(*loaded.program, call.kernel, "cpu", call.constants);
    code = emit_llvm(*kernel, CpuTarget::x86("x86-64-v3"), options, problems);
  }
  return code.empty() ? render(problems, *loaded.sources) : code;
}

TEST(Directives, UnrolledLoopsOnTheCpu) {
  const auto bodies = [](const std::string& code) {
    return count(code, "@llvm.x86.fma") + count(code, "call nsz contract <16 x float> @llvm.fma.v16f32(");
  };
  const int once = bodies(cpu_code("ThreeProducts", ""));
  ASSERT_GT(once, 0);
  EXPECT_EQ(bodies(cpu_code("ThreeProducts", "unroll j: 1;")), once);
  EXPECT_EQ(bodies(cpu_code("ThreeProducts", "unroll j: 3;")), 4 * once);
}

TEST(Directives, WhatTheCpuDoesAnywayIsAccepted) {
  EXPECT_EQ(cpu_code("ThreeProducts", "vector 16; parallel i, h, b;"), cpu_code("ThreeProducts", ""));
}

TEST(Directives, WhatTheCpuCannotIsRefusedAtItsPlace) {
  for (const Refusal& r : {
           Refusal{"ThreeProducts", "unroll j: 17", "a loop is unrolled by 1 to 16"},
           Refusal{"ThreeProducts", "unroll kt: 2", "`kt` is no variable of a loop whose trips are counted"},
           Refusal{"ThreeProducts", "unroll h: 2", "`h` is an axis of the grid, each of whose instances runs by itself"},
           Refusal{"GemmEpilogue", "unroll k: 2", "the loop over `k` is one product of its whole range, blocked for the caches"},
           Refusal{"ThreeProducts", "vector 8",
                   "a vector has 16 lanes on every processor: the order of sums, and with it results, follows from them"},
           Refusal{"ThreeProducts", "parallel i, h", "threads divide the instances of all axes of the grid"},
           Refusal{"ThreeProducts", "parallel kt", "`kt` is no axis of the grid"},
           Refusal{"ThreeProducts", "block kt: 64", "the caches' blocks of a product are the compiler's: those of k decide the order of its sums"},
           Refusal{"ThreeProducts", "fibers", "kernels whose instances wait for others do not run here"},
       }) {
    const std::string text = cpu_code(r.form, fmt::format("\n  {};", r.directive));
    const std::string asked = std::string(r.directive).starts_with("vector") ? "vector 8" : r.directive;
    EXPECT_THAT(text, HasSubstr(fmt::format("{}`{}` cannot run on the CPU: its schedule says `{}`, but {}", place(r.form), form_of(r.form).kernel,
                                            asked, r.why)));
  }
}

}  // namespace
}  // namespace tessera::test
