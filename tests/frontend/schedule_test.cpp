// Schedules as back ends get them: numbers, what is like another's, and those of functions under the paths of their calls.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dsl/text.h"
#include "frontend/frontend.h"

namespace tessera {
namespace {

/// The directives of kernel k on sm90, as text.
std::vector<std::string> schedule_of(const std::string& text, const Constants& constants = {}) {
  const LoadResult loaded = load_program("k.tile", text, {});
  if (!loaded.program) {
    ADD_FAILURE() << render(loaded.diagnostics, *loaded.sources);
    return {};
  }
  std::vector<std::string> out;
  for (const ScheduleDirective& d : schedule_for(*loaded.program, "k", "sm90", constants).directives) {
    std::string line = info(d.kind).name;
    for (const ScheduleArg& a : d.args) line += " " + a.subject + (a.number ? ":" + std::to_string(*a.number) : "") + a.word;
    out.push_back(line);
  }
  return out;
}

const std::string kKernel =
    "kernel k[BM: int = 64](x: view f32[M, N], o: out view f32[M, N]) over (j in tiles(N, 16), i in tiles(M, 16)) { let xt = x[i, j]; o[i, j] = xt; "
    "}\n";

TEST(Schedules, NumbersAndWords) {
  EXPECT_THAT(
      schedule_of(
          kKernel +
              "schedule k on sm90 { swizzle 8; ring xt: BM / 16; persistent static, row_major; home xt: smem; }\nschedule k on sm80 { swizzle 2; }",
          {{"BM", 64}}),
      testing::ElementsAre("swizzle :8", "ring xt:4", "persistent static row_major", "home xtsmem"));
}

TEST(Schedules, LikeAnother) {
  const std::string other =
      "kernel other(x: view f32[M, N], o: out view f32[M, N]) over (j in tiles(N, 16), i in tiles(M, 16)) { let xt = x[i, j]; o[i, j] = xt; }\n";
  EXPECT_THAT(schedule_of(other + kKernel + "schedule other on sm90 { swizzle 8; }\nschedule k like other;\nschedule k on sm90 { ring xt: 2; }"),
              testing::ElementsAre("swizzle :8", "ring xt:2"));
}

TEST(Schedules, OfFunctionsHoldForWhatCallsThem) {
  const std::string text = R"(
fn read[M: dim](x: view f32[M]) -> f32 { let at = x[0]; return at; }
kernel k(x: view f32[M], o: out view f32[M]) over (i in M) { let a = read(x); let b = twice: read(x); o[i] = a + b; }
schedule read on sm90 { ring at: 3; }
schedule k on sm90 { ring at: 2; }
)";
  const std::vector<std::string> all = schedule_of(text);
  // Each call by its path; the kernel's own comes last and so stands above.
  EXPECT_THAT(all, testing::IsSupersetOf({"ring at:3", "ring twice.at:3"}));
  ASSERT_FALSE(all.empty());
  EXPECT_EQ(all.back(), "ring at:2");
}

TEST(Schedules, FunctionsNameTheirCallsWithoutLabels) {
  const std::string fns = R"(
fn read[M: dim](x: view f32[M]) -> f32 { let at = x[0]; return at; }
fn twice[M: dim](x: view f32[M]) -> f32 { let y = read(x); return y + y; }
)";
  EXPECT_THAT(schedule_of(fns + R"(
kernel k(x: view f32[M], o: out view f32[M]) over (i in M) { let a = twice(x); o[i] = a; }
schedule k on sm90 { ring twice.read.at: 3, read.at: 2, at: 1; }
)"),
              testing::ElementsAre("ring at:3 at:2 at:1"));
  // A label, or a variable, of that name stands for itself.
  EXPECT_THAT(schedule_of(fns + R"(
kernel k(x: view f32[M], o: out view f32[M]) over (i in M) { let a = read: read(x); let b = read(x); o[i] = a + b; }
schedule k on sm90 { ring read.at: 3; }
)"),
              testing::ElementsAre("ring read.at:3"));
}

TEST(Schedules, ParametersAndLoopsHaveNames) {
  const LoadResult loaded = load_program("k.tile", R"(
fn total(x: f32[16], n: i32) -> f32 {
  var s = fill(0.0, f32[16]);
  for t in 0 .. n { s += x; }
  return sum(s);
}
kernel k(x: view f32[M], o: out view f32[M], n: i32) over (i in tiles(M, 16)) {
  let a = first: total(x[i], n);
  o[i] = fill(a + total(x[i], n), f32[16]);
}
)",
                                         {});
  ASSERT_TRUE(loaded.program) << render(loaded.diagnostics, *loaded.sources);
  Diagnostics problems;
  const auto kernel = instantiate(*loaded.program, "k", {}, {}, problems);
  ASSERT_TRUE(kernel) << render(problems, *loaded.sources);
  const std::string text = ir::print(*kernel);
  for (const char* name : {".first.x", ".x", ".first.t", ".t"}) EXPECT_THAT(text, testing::HasSubstr(name)) << text;
}

}  // namespace
}  // namespace tessera
