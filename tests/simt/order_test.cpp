// The order in which a GPU's CTAs take the instances of a grid: every instance once, and reports name instances, not CTAs.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "codegen/gpu/plan.h"
#include "codegen/simt/simulate.h"
#include "dsl/text.h"
#include "tests/ir/kernels.h"
#include "tests/ir/launch.h"

namespace tessera::test {
namespace {

/// Runs a kernel of `x`, which it reads, and `y`, which it writes.
SimtResult simulated(const ir::Kernel& kernel, const GpuOptions& options, Buffer& x, Buffer& y,
                     std::vector<std::pair<std::string, std::int64_t>> symbols) {
  Diagnostics problems;
  GpuIr code = emit_gpu(kernel, {80}, options, problems);
  if (!code.module) throw std::runtime_error(problems.list()[0].message);
  std::vector<SimtTensor> tensors;
  for (Buffer* b : {&x, &y}) tensors.push_back({"", b->bytes.data(), static_cast<std::size_t>(b->size()) * 4, b == &y, b != &y});
  const SimtMemory memory(tensors);
  Launch launch(kernel);
  launch.view("x", x).view("y", y);
  for (const auto& [n, v] : symbols) launch.symbol(n, v);
  std::vector<std::uint64_t> frame = launch.frame();
  const FrameLayout layout = frame_layout(kernel);
  const std::vector<std::int64_t> grid = grid_counts(kernel, layout, frame);
  for (std::size_t p = 0; p < 2; ++p) frame[layout.params[p].base] = memory.address(p);
  std::int64_t instances = 1;
  for (const std::int64_t n : grid) instances *= n;
  const SimtResult result = SimtKernel(std::move(code)).run(frame, grid, instances, memory);
  memory.copy_back();
  return result;
}

// Two instances of one place would be a double write, a missing one leaves NaN.
TEST(InstanceOrder, GroupsOfRowsVisitEveryInstanceOnce) {
  const auto kernel = load_kernel("copy");
  for (const std::int64_t rows : {0, 1, 2, 3, 8}) {
    for (const auto& [m, n] : {std::pair<std::int64_t, std::int64_t>{150, 100}, {33, 300}, {200, 20}}) {
      SCOPED_TRACE(fmt::format("groups of {} rows, {} x {}", rows, m, n));
      GpuOptions options;
      if (rows > 0) options.schedule.directives.push_back({DirectiveKind::Swizzle, {{.number = rows}}, {}});
      Buffer x = Buffer(DType::F32, {m, n}).fill_random(7), y = Buffer(DType::F32, {m, n}).fill(NAN);
      const SimtResult r = simulated(*kernel, options, x, y, {{"M", m}, {"N", n}});
      for (const Hazard& h : r.hazards) ADD_FAILURE() << name(h.kind) << ": " << h.text;
      EXPECT_EQ(x.bytes, y.bytes);
    }
  }
}

/// y[i] = sum of x[i, begin .. end], eight rows and columns at a time; the first instance's assertion fails.
std::string triangle(const std::string& begin, const std::string& end) {
  return fmt::format(R"(kernel k(
  %x: view f32[M, N],
  %y: out view f32[M]
)
symbols(M, N)
grid(%i < ceil(M, 8))
{{
  %c0 = const {{value = 0}} : idx
  %c1 = const {{value = 1}} : idx
  %c8 = const {{value = 8}} : idx
  %M = sym {{name = "M"}} : idx
  %N = sym {{name = "N"}} : idx
  %from = mul %i, %c8 : idx
  %next = add %i, %c1 : idx
  %to = mul %next, %c8 : idx
  %before = sub %from, %c8 : idx
  %left = max %before, %c0 : idx
  %later = ne %i, %c0 : bool
  assert %later {{message = "the first"}}
  %mi = range %from, %c0, %M {{size = 8}} : range<8>
  %f0 = const {{value = 0.0}} : f32
  %s0 = broadcast %f0 : f32[8]
  %sum = for {}, {}, %c8, %s0 : f32[8] (%j: idx, %p: f32[8]) {{
    %nj = range %j, %c0, %N {{size = 8}} : range<8>
    %t = load %x, %mi, %nj : f32[8, 8]
    %r = reduce %t {{axis = 1, kind = sum}} : f32[8, 1]
    %v = reshape %r : f32[8]
    %q = add %p, %v : f32[8]
    yield %q
  }}
  store %y, %sum, %mi
  yield
}}
)",
                     begin, end);
}

TEST(InstanceOrder, InstancesWithMoreTripsComeFirst) {
  const auto descends = [](const std::string& begin, const std::string& end) {
    const auto kernel = parsed(triangle(begin, end));
    return gpu::Plan(*kernel, {80}, {}).descending(0);
  };
  EXPECT_TRUE(descends("%c0", "%to"));
  EXPECT_FALSE(descends("%c0", "%N"));     // all alike
  EXPECT_FALSE(descends("%from", "%N"));   // the first have most already
  EXPECT_FALSE(descends("%from", "%to"));  // a window
  EXPECT_TRUE(descends("%left", "%to"));   // one that is cut short at the beginning
  EXPECT_FALSE(descends("%left", "%N"));
}

// Rows of a triangle for each of G: groups that do not divide G, one group, groups of one.
TEST(InstanceOrder, UnevenInstancesInGroupsComeOnce) {
  const auto kernel = parsed(R"(kernel k(
  %x: view f32[M, N],
  %y: out view f32[G, M]
)
symbols(M, N, G)
grid(%i < ceil(M, 8), %g < G)
{
  %c0 = const {value = 0} : idx
  %c1 = const {value = 1} : idx
  %c8 = const {value = 8} : idx
  %M = sym {name = "M"} : idx
  %N = sym {name = "N"} : idx
  %from = mul %i, %c8 : idx
  %next = add %i, %c1 : idx
  %to = mul %next, %c8 : idx
  %mi = range %from, %c0, %M {size = 8} : range<8>
  %f0 = const {value = 0.0} : f32
  %s0 = broadcast %f0 : f32[8]
  %sum = for %c0, %to, %c8, %s0 : f32[8] (%j: idx, %p: f32[8]) {
    %nj = range %j, %c0, %N {size = 8} : range<8>
    %t = load %x, %mi, %nj : f32[8, 8]
    %r = reduce %t {axis = 1, kind = sum} : f32[8, 1]
    %v = reshape %r : f32[8]
    %q = add %p, %v : f32[8]
    yield %q
  }
  store %y, %sum, %g, %mi
  yield
}
)");
  const gpu::Plan plan(*kernel, {80}, {});
  ASSERT_EQ(plan.uneven_axis(), std::size_t{0});
  for (const auto& [m, groups] : {std::pair<std::int64_t, std::int64_t>{16, 300}, {40, 7}, {8 * 90, 5}, {8 * gpu::kGroupInstances, 2}}) {
    SCOPED_TRACE(fmt::format("{} rows, {} of them", m, groups));
    Buffer x = Buffer(DType::F32, {m, m}).fill_random(5), y = Buffer(DType::F32, {groups, m}).fill(NAN);
    const SimtResult r = simulated(*kernel, {}, x, y, {{"M", m}, {"N", m}, {"G", groups}});
    for (const Hazard& h : r.hazards) ADD_FAILURE() << name(h.kind) << ": " << h.text;
    int wrong = 0;
    for (std::int64_t i = 0; i < m; ++i) {
      double want = 0;
      for (std::int64_t j = 0; j < (i / 8 + 1) * 8; ++j) want += x.get(i * m + j);
      for (std::int64_t g = 0; g < groups; ++g) wrong += std::fabs(y.get(g * m + i) - want) <= 1e-3 ? 0 : 1;
    }
    EXPECT_EQ(wrong, 0);
  }
}

TEST(InstanceOrder, ReportsNameTheInstance) {
  const auto kernel = parsed(triangle("%c0", "%to"));
  Buffer x = Buffer(DType::F32, {40, 40}).fill_random(3), y = Buffer(DType::F32, {40}).fill(NAN);
  const SimtResult r = simulated(*kernel, {.checks = true}, x, y, {{"M", 40}, {"N", 40}});
  EXPECT_EQ(r.report.failed_check, 1);
  EXPECT_EQ(r.report.instance, 0);  // which CTA 4 runs
  for (std::int64_t i = 0; i < 40; ++i) {
    double want = 0;
    for (std::int64_t j = 0; j < (i / 8 + 1) * 8; ++j) want += x.get(i * 40 + j);
    EXPECT_NEAR(y.get(i), want, 1e-4) << i;
  }
}

}  // namespace
}  // namespace tessera::test
