// Schedules change no bit (DESIGN, section 3): random ones of several kernels give what the kernel gives without any. On the simulated Hopper they
// run without hazards too; where the tests run on a GPU, fewer of them run there. What no kernel can be made by is refused, with the line that asks
// for it.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <llvm/Support/raw_ostream.h>

#include <cstdlib>
#include <iostream>
#include <set>

#include "tessera/tessera.h"
#include "tests/kernels/harness_cpu.h"
#include "tests/kernels/scheduled.h"

namespace tessera::test {
namespace {

using ::testing::HasSubstr;

unsigned from_environment(const char* name, unsigned otherwise) {
  const char* text = std::getenv(name);
  return text && *text ? static_cast<unsigned>(std::atoi(text)) : otherwise;
}

std::string text_of(const llvm::Module& module) {
  std::string out;
  llvm::raw_string_ostream os(out);
  module.print(os, nullptr);
  return out;
}

using Tensors = std::map<std::string, Buffer>;

void expect_same(const Tensors& got, const Tensors& want) {
  for (const auto& [n, w] : want) expect_same(got.at(n), w, n);
}

/// The tensors of a call under directives, without hazards.
Tensors simulated(const Call& call, const std::string& directives, unsigned seed, const GpuTarget& target) {
  SimtCode code = emit_scheduled(call, directives, target);
  const SimtKernel kernel(std::move(code.ir));
  Tensors out = call.tensors;
  const SimtResult r = simulate(kernel, *code.kernel, call, out, {.seed = seed});
  for (const Hazard& h : r.hazards) ADD_FAILURE() << name(h.kind) << ": " << h.text;
  EXPECT_TRUE(r.finished);
  return out;
}

class RandomSchedules : public ::testing::TestWithParam<ScheduleForm> {};

/// Draws `count` schedules, no two alike, and runs each; `run` gives the tensors of a call under directives. Tells how many different codes they are.
template <class Run>
void compare(const ScheduleForm& form, unsigned count, const Run& run, const GpuTarget& target = kHopper) {
  const unsigned seed = from_environment("TESSERA_SCHEDULES_SEED", 1);
  std::cout << form.name << ": TESSERA_SCHEDULES_SEED=" << seed << '\n';
  std::mt19937 random(seed);
  Constants plain = form.constants;
  if (!form.rows.empty()) plain["BM"] = form.rows[0];
  const Tensors want = run(call_of(form, plain), "", 0);
  std::set<std::string> drawn, codes;
  for (unsigned tries = 0; drawn.size() < count && tries < 20 * count; ++tries) {
    const DrawnSchedule s = target.sm >= 90 ? draw_schedule(form, random) : draw_older_schedule(form, random);
    std::string what = s.directives;
    if (!form.rows.empty()) what += "BM=" + str(s.constants.at("BM"));
    if (!drawn.insert(what).second) continue;
    SCOPED_TRACE(what);
    const Call call = call_of(form, s.constants);
    codes.insert(text_of(*emit_scheduled(call, s.directives, target).ir.module));
    expect_same(run(call, s.directives, static_cast<unsigned>(drawn.size())), want);
    if (::testing::Test::HasFailure()) return;
  }
  std::cout << fmt::format("{}: {} schedules, {} codes\n", form.name, drawn.size(), codes.size());
  if (form.rings.empty()) {
    EXPECT_GE(codes.size(), 5U) << "the order of instances alone differs";
  } else {
    EXPECT_GE(drawn.size(), count) << "too few are different";
    EXPECT_GE(3 * codes.size(), 2 * drawn.size()) << "too many of them are one code";
  }
}

/// Of each kernel with rings 39, of the one without as many as there are.
TEST_P(RandomSchedules, SimtChangeNoBit) {
  compare(GetParam(), from_environment("TESSERA_SCHEDULES", 39),
          [&](const Call& call, const std::string& directives, unsigned seed) { return simulated(call, directives, seed, kHopper); });
}

TEST_P(RandomSchedules, OnAGpuChangeNoBit) {
  if (!compiled_target().starts_with("cuda")) GTEST_SKIP() << "the tests run on " << compiled_target();
  const Context gpu = Context::cuda(0);
  compare(GetParam(), from_environment("TESSERA_GPU_SCHEDULES", 12),
          [&](const Call& call, const std::string& directives, unsigned) { return run_scheduled(call, directives, gpu); });
}

/// Code for an architecture before Hopper, which newer GPUs run too.
TEST_P(RandomSchedules, OnAGpuOlderCodeChangesNoBit) {
  if (!compiled_target().starts_with("cuda")) GTEST_SKIP() << "the tests run on " << compiled_target();
  const Context gpu = Context::cuda(0);
  compare(
      GetParam(), from_environment("TESSERA_GPU_SCHEDULES", 12),
      [&](const Call& call, const std::string& directives, unsigned) { return run_scheduled(call, directives, gpu, kAmpere); }, kAmpere);
}

TEST_P(RandomSchedules, SimtOlderCodeChangesNoBit) {
  compare(
      GetParam(), 8, [&](const Call& call, const std::string& directives, unsigned seed) { return simulated(call, directives, seed, kAmpere); },
      kAmpere);
}

TEST_P(RandomSchedules, OnTheCpuChangeNoBit) {
  const ScheduleForm& form = GetParam();
  if (compiled_target() != "cpu") GTEST_SKIP() << "the tests run on " << compiled_target();
  const Context cpu = Context::cpu(2);
  const unsigned seed = from_environment("TESSERA_SCHEDULES_SEED", 1);
  std::cout << form.name << ": TESSERA_SCHEDULES_SEED=" << seed << '\n';
  std::mt19937 random(seed);
  Constants constants = form.constants;
  if (!form.rows.empty()) constants["BM"] = 16;  // partial tiles, and sums in several trips
  const Call call = call_of(form, constants);
  const auto run = [&](const std::string& directives) {
    const Module module = load_source(source_root() + "/" + call.file, scheduled_text(call, directives, "cpu"));
    Options options;
    options.absent = absent_views(module, call);
    Tensors out = call.tensors;
    launch_on_cpu(module.kernel(call.kernel, consts_of(call.constants), options), cpu, call.scalars, out);
    return out;
  };
  const Tensors want = run("");
  std::set<std::string> drawn;
  for (unsigned tries = 0; tries < 8; ++tries) {
    const std::string directives = draw_cpu_schedule(form, random);
    if (!drawn.insert(directives).second) continue;
    SCOPED_TRACE(directives);
    expect_same(run(directives), want);
    if (::testing::Test::HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Of, RandomSchedules, ::testing::ValuesIn(schedule_forms()), [](const auto& i) { return i.param.name; });

std::string refused(const std::string& directives, std::int64_t rows = 128) {
  const ScheduleForm form = schedule_forms()[0];
  Constants c = form.constants;
  c["BM"] = rows;
  try {
    emit_scheduled(call_of(form, c), directives + ";");
  } catch (const std::runtime_error& e) {
    return e.what();
  }
  return "";
}

struct Refusal {
  const char *directive, *message;
  std::int64_t rows = 128;
};
TEST(RefusedSchedules, NameTheDirective) {
  for (const Refusal& r :
       {Refusal{"ring kt: 9",
                "error[E0804]: `flash_soft_cap` cannot run on sm_90a: its schedule says `ring kt: 9`, but the slots of a ring are 1 to 8"},
        Refusal{"ring kt: 0", "`ring kt: 0`, but the slots of a ring are 1 to 8"},
        Refusal{"skew st.acc: 2", "`skew st.acc: 2`, but a product runs behind by 0 to 1"},
        Refusal{"roles producer: 5", "`roles producer: 5`, but the warps that ask for tiles are 0 to 4"},
        Refusal{"roles consumer: 5", "`roles consumer: 5`, but the warpgroups that compute are 0 to 4"},
        Refusal{"roles consumer: 3", "lets 3 warpgroups compute, but products have 2 times 64 rows, which they cannot share evenly"},
        Refusal{"regs consumer: 100", "`regs consumer: 100`, but registers are given in eights"},
        Refusal{"regs producer: 16", "`regs producer: 16`, but a thread has 24 to 256"},
        Refusal{"regs producer: 40, consumer: 240", "gives 2 warpgroups 240 registers a thread and one 40, but all of them have 504"},
        Refusal{"swizzle 70000", "`swizzle 70000`, but groups have 0 to 65536"}}) {
    const std::string text = refused(r.directive, r.rows);
    EXPECT_THAT(text, HasSubstr(r.message)) << r.directive;
    // The line and its caret.
    EXPECT_THAT(text, HasSubstr(fmt::format("schedule flash_soft_cap on sm90 {{ {}; }}", r.directive))) << r.directive;
  }
}

TEST(RefusedSchedules, RingsThatFitNowhereNameTheDirective) {
  const ScheduleForm form = schedule_forms()[0];
  Constants c = form.constants;
  c["BM"] = 64;
  c["BN"] = 256;
  try {
    emit_scheduled(call_of(form, c), "ring kt: 8, vt: 8;");
    FAIL() << "512 KiB of shared memory";
  } catch (const std::runtime_error& e) {
    EXPECT_THAT(e.what(), HasSubstr("error[E0606]: `flash_soft_cap` needs"));
    EXPECT_THAT(e.what(), HasSubstr("{ ring kt: 8, vt: 8; }"));
    EXPECT_THAT(e.what(), HasSubstr("rings of so many slots"));
  }
}

TEST(RefusedSchedules, RegistersThatSumsLeaveNoRoomFor) {
  const ScheduleForm form = schedule_forms()[0];
  Constants c = form.constants;
  c["BM"] = 256;
  c["BN"] = 128;
  c["D"] = 128;
  try {
    emit_scheduled(call_of(form, c), "roles consumer: 1;");
    FAIL() << "256 x 128 and 256 x 128 sums in one warpgroup";
  } catch (const std::runtime_error& e) {
    EXPECT_THAT(e.what(), HasSubstr("lets 1 warpgroups compute, which leaves a thread"));
    EXPECT_THAT(e.what(), HasSubstr("{ roles consumer: 1; }"));
  }
}

}  // namespace
}  // namespace tessera::test
