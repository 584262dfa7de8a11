// Emission refuses what an architecture cannot run, and layouts keep their promises.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <llvm/IR/Instructions.h>
#include <llvm/IR/Module.h>

#include <map>
#include <set>

#include "codegen/gpu/compile.h"
#include "codegen/gpu/layout.h"
#include "dsl/text.h"
#include "tests/ir/kernels.h"

namespace tessera::test {
namespace {

using gpu::AxisPart;
using gpu::Layout;
using gpu::mma_cols;
using gpu::mma_rows;
using gpu::strided;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

TEST(Emit, SharedMemoryBeyondTheArchitectureIsRefused) {
  const auto kernel = parsed(R"(kernel k(
  %0.a: view f32[256, 256],
  %1.c: out view f32[256, 256]
)
{
  %2 = const {value = 0} : idx
  %3 = const {value = 256} : idx
  %4 = range %2, %2, %3 {size = 256, full} : range<256>
  %5 = load %0.a, %4, %4 : f32[256, 256]
  %6 = dot %5, %5 : f32[256, 256]
  store %1.c, %6, %4, %4
  yield
}
)");
  ASSERT_TRUE(kernel);
  Diagnostics problems;
  EXPECT_FALSE(emit_gpu(*kernel, {80}, {}, problems).module);
  ASSERT_EQ(problems.list().size(), 1u);
  EXPECT_EQ(problems.list()[0].code, Code::E0606);
  EXPECT_THAT(problems.list()[0].message, HasSubstr("but sm_80 has 166912"));
}

TEST(Emit, CodeOverTheLimitIsRefused) {
  const auto kernel = parsed(R"(kernel k(
  %0.a: view f32[256],
  %1.c: out view f32[256]
)
{
  %2 = const {value = 0} : idx
  %3 = const {value = 256} : idx
  %4 = range %2, %2, %3 {size = 256, full} : range<256>
  %5 = load %0.a, %4 : f32[256]
  store %1.c, %5, %4
  yield
}
)");
  ASSERT_TRUE(kernel);
  Diagnostics problems;
  GpuOptions options;
  EXPECT_TRUE(emit_gpu(*kernel, {80}, options, problems).module);
  options.max_instructions = 10;
  EXPECT_FALSE(emit_gpu(*kernel, {80}, options, problems).module);
  ASSERT_EQ(problems.list().size(), 1u);
  EXPECT_EQ(problems.list()[0].code, Code::E0601);
}

/// y = x w + z with x, y, z of 16 bits: runs of four keep both these and w coalesced, and one test stands before all that moves.
TEST(Emit, TilesThatMoveTogetherAreAskedForAtOnce) {
  const auto kernel = parsed(R"(kernel k(
  %0.x: view bf16[1024],
  %1.z: inout view bf16[1024],
  %2.w: view f32[1024],
  %3.y: out view bf16[1024]
)
{
  %4 = const {value = 0} : idx
  %5 = const {value = 1024} : idx
  %6 = range %4, %4, %5 {size = 1024, full} : range<1024>
  %7 = load %0.x, %6 : bf16[1024]
  %8 = cast %7 : f32[1024]
  %9 = load %1.z, %6 : bf16[1024]
  %10 = cast %9 : f32[1024]
  %11 = load %2.w, %6 : f32[1024]
  %12 = mul %8, %11 : f32[1024]
  %13 = add %12, %10 : f32[1024]
  %14 = cast %13 : bf16[1024]
  store %1.z, %14, %6
  store %3.y, %14, %6
  yield
}
)");
  ASSERT_TRUE(kernel);
  Diagnostics problems;
  const GpuIr ir = emit_gpu(*kernel, {80}, {}, problems);
  ASSERT_TRUE(ir.module);
  std::map<std::string, std::vector<unsigned>> bits;  // of loads and stores of global memory, by block
  for (const llvm::BasicBlock& b : *ir.module->getFunction("k")) {
    for (const llvm::Instruction& i : b) {
      if (const auto* load = llvm::dyn_cast<llvm::LoadInst>(&i)) bits[b.getName().str()].push_back(load->getType()->getPrimitiveSizeInBits());
      if (const auto* store = llvm::dyn_cast<llvm::StoreInst>(&i))
        bits[b.getName().str()].push_back(store->getValueOperand()->getType()->getPrimitiveSizeInBits());
    }
  }
  std::map<unsigned, int> aligned;
  for (const unsigned n : bits["aligned"]) ++aligned[n];
  const auto runs = static_cast<int>(1024 / ir.threads / 4);
  EXPECT_THAT(aligned, ElementsAre(Pair(64, 4 * runs), Pair(128, runs))) << "x and z come, z and y go in runs of 8 bytes, w comes in runs of 16";
}

/// Elements of 4 bits that lie side by side come by one load, and no conversion makes floats of them.
TEST(Emit, RunsOfFourBitsMoveTogether) {
  const auto kernel = parsed(R"(kernel k(
  %0.x: view i4[1024],
  %1.y: out view f32[1024]
)
{
  %2 = const {value = 0} : idx
  %3 = const {value = 1024} : idx
  %4 = range %2, %2, %3 {size = 1024, full} : range<1024>
  %5 = load %0.x, %4 : i4[1024]
  %6 = cast %5 : f32[1024]
  store %1.y, %6, %4
  yield
}
)");
  ASSERT_TRUE(kernel);
  Diagnostics problems;
  const GpuIr ir = emit_gpu(*kernel, {80}, {}, problems);
  ASSERT_TRUE(ir.module);
  unsigned together = 0;
  for (const llvm::BasicBlock& b : *ir.module->getFunction("k")) {
    for (const llvm::Instruction& i : b) {
      EXPECT_FALSE(llvm::isa<llvm::SIToFPInst>(i));
      if (const auto* load = llvm::dyn_cast<llvm::LoadInst>(&i); load && b.getName() == "aligned")
        together += static_cast<unsigned>(load->getType()->getPrimitiveSizeInBits());
    }
  }
  EXPECT_EQ(together, 4 * 1024 / ir.threads);
}

/// Lines of 128 bytes stay whole in shared memory where few rows use what comes; rows that are no whole lines, and those of larger products, are
/// padded.
TEST(Emit, OperandsOfProductsOfFewRowsKeepTheirLines) {
  const auto notes = [](int m, int k) {
    const auto kernel = parsed(fmt::format(R"(kernel k(
  %0.a: view bf16[{0}, {1}],
  %1.b: view bf16[{1}, 64],
  %2.c: out view f32[{0}, 64]
)
{{
  %3 = const {{value = 0}} : idx
  %4 = const {{value = {0}}} : idx
  %5 = const {{value = {1}}} : idx
  %6 = const {{value = 64}} : idx
  %7 = range %3, %3, %4 {{size = {0}, full}} : range<{0}>
  %8 = range %3, %3, %5 {{size = {1}, full}} : range<{1}>
  %9 = range %3, %3, %6 {{size = 64, full}} : range<64>
  %10 = load %0.a, %7, %8 : bf16[{0}, {1}]
  %11 = load %1.b, %8, %9 : bf16[{1}, 64]
  %12 = dot %10, %11 : f32[{0}, 64]
  store %2.c, %12, %7, %9
  yield
}}
)",
                                           m, k));
    Diagnostics problems;
    std::string out;
    for (const std::string& n : emit_gpu(*kernel, {80}, {}, problems).plan.notes) {
      if (n.find("shared memory, ") != std::string::npos) out += n.find("swizzled") != std::string::npos ? "swizzled " : "padded ";
    }
    return out;
  };
  EXPECT_EQ(notes(16, 64), "swizzled swizzled ");
  EXPECT_EQ(notes(16, 48), "padded swizzled ");
  EXPECT_EQ(notes(64, 64), "padded padded ");
}

TEST(Emit, OnlyKernelsWithAssertionsTakeAReport) {
  // The launch passes an address for it exactly where there are checks.
  for (const bool asserts : {false, true}) {
    const auto kernel = parsed(fmt::format(R"(kernel k(
  %0.a: view f32[256],
  %1.c: out view f32[256]
)
{{
  %2 = const {{value = 0}} : idx
  %3 = const {{value = 256}} : idx
  %4 = range %2, %2, %3 {{size = 256, full}} : range<256>
  %5 = load %0.a, %4 : f32[256]
  %6 = eq %5, %5 : bool[256]
{}  store %1.c, %5, %4
  yield
}}
)",
                                           asserts ? "  assert %6 {message = \"a number\"}\n" : ""));
    ASSERT_TRUE(kernel);
    Diagnostics problems;
    GpuOptions options;
    const GpuIr plain = emit_gpu(*kernel, {80}, options, problems);
    options.checks = true;
    const GpuIr checked = emit_gpu(*kernel, {80}, options, problems);
    ASSERT_TRUE(plain.module && checked.module);
    EXPECT_EQ(checked.checks.empty(), !asserts);
    EXPECT_EQ(checked.module->getFunction("k")->arg_size(), plain.module->getFunction("k")->arg_size() + (asserts ? 1 : 0));
  }
}

/// Every coordinate of an axis below its extent, by thread and register, at least once; none at or above it.
void expect_covers(const AxisPart& p, std::int64_t warps) {
  std::set<std::int64_t> seen;
  for (std::int64_t w = 0; w < warps; ++w) {
    for (std::int64_t lane = 0; lane < gpu::kWarpLanes; ++lane) {
      std::int64_t base = 0;
      for (const gpu::Digit& d : p.digits) {
        if (d.source == gpu::Source::Register) continue;
        base += d.stride * ((d.source == gpu::Source::Lane ? lane : w) / d.divisor % d.size);
      }
      for (const std::int64_t o : p.offsets()) seen.insert(base + o);
    }
  }
  EXPECT_EQ(static_cast<std::int64_t>(seen.size()), p.extent());
  EXPECT_EQ(*seen.begin(), 0);
  EXPECT_EQ(*seen.rbegin(), p.extent() - 1);
}

TEST(Layout, PartsCoverTheirAxisOnce) {
  for (const std::int64_t n : {1, 8, 16, 48, 80, 112, 176, 192, 256}) {
    for (const std::int64_t w : {1, 2, 3, 4, 5, 8}) {
      SCOPED_TRACE(testing::Message() << n << " over " << w);
      expect_covers(mma_rows(n, w), w);
      expect_covers(mma_cols(n, w), w);
      EXPECT_GE(mma_rows(n, w).extent(), n);
      EXPECT_GE(mma_cols(n, w).extent(), n);
    }
    expect_covers(strided(n, 4, 8, 1, 2, 1), 2);
    EXPECT_GE(strided(n, 4, 8, 1, 2, 1).extent(), n);
  }
}

TEST(Layout, RowsAndColumnsOfAFragmentAreSound) {
  EXPECT_TRUE((Layout{{mma_rows(64, 4), mma_cols(64)}}).sound());
  EXPECT_TRUE((Layout{{mma_rows(64, 2), mma_cols(64, 2, 2)}}).sound());
  EXPECT_FALSE((Layout{{mma_rows(64, 4), mma_rows(64, 4)}}).sound());
  EXPECT_FALSE((Layout{{mma_cols(64), mma_cols(64)}}).sound());
  EXPECT_EQ((Layout{{mma_rows(64, 4), mma_cols(64)}}).registers(), 32);
  EXPECT_EQ((Layout{{mma_rows(64, 4), mma_cols(64)}}).collapsed(1).registers(), 2);
}

}  // namespace
}  // namespace tessera::test
