// A transpose through shared memory, a reduction by shuffles, a histogram: right as they are, reported with one fault.
#include <gtest/gtest.h>

#include <numeric>

#include "kernel_builder.h"

namespace tessera::simt_test {
namespace {

enum class TransposeFault { None, NoBarrier, Direct, SharedBounds, EarlyRead, Global };

// out[32, 32] = in[32, 32]^T of f32, 1024 threads; `pitch` in words.
GpuIr transpose(int pitch, TransposeFault fault) {
  KernelBuilder k(1024, 32 * pitch * 4, 2);
  V tid = k.tid(), x = k.mod(tid, 32), y = k.div(tid, 32);
  const auto at = [&](V row, V column) { return k.shared(k.add(k.base, k.mul(k.add(k.mul(row, pitch), column), 4))); };
  V v = k.load(k.b.getFloatTy(), k.global(0, k.mul(tid, 4)));
  if (fault == TransposeFault::Direct) {
    k.store(v, k.global(1, k.mul(k.add(k.mul(x, 32), y), 4)));
    return k.finish();
  }
  if (fault == TransposeFault::EarlyRead) v = k.b.CreateFAdd(v, k.load(k.b.getFloatTy(), at(y, x)));
  k.store(v, at(fault == TransposeFault::SharedBounds ? k.add(y, 1) : y, x));
  if (fault != TransposeFault::NoBarrier) k.barrier();
  k.store(k.load(k.b.getFloatTy(), at(x, y)), k.global(1, k.mul(fault == TransposeFault::Global ? k.add(tid, -1) : tid, 4)));
  return k.finish();
}

SimtResult run_transpose(int pitch, TransposeFault fault, const SimtOptions& options = {}) {
  std::vector<float> in(1024), out(1024), expected(1024);
  std::iota(in.begin(), in.end(), 0.f);
  for (std::size_t i = 0; i < 1024; ++i) expected[i] = in[i % 32 * 32 + i / 32];
  SimtResult r = run(transpose(pitch, fault), {tensor("in", in, false), tensor("out", out, true, false)}, 1, options);
  if (r.clean()) {
    EXPECT_EQ(out, expected);
  }
  return r;
}

std::int64_t conflicts(const SimtResult& r) {
  std::int64_t n = 0;
  for (const SimtTraffic& t : r.traffic) n += t.conflict_cycles;
  return n;
}

TEST(SimtTranspose, IsRightAndClean) {
  const SimtResult r = run_transpose(33, TransposeFault::None);
  EXPECT_TRUE(r.clean()) << hazards(r);
}

TEST(SimtTranspose, BankConflictsAreCountedExactly) {
  EXPECT_EQ(conflicts(run_transpose(33, TransposeFault::None, {.traffic = true})), 0);
  EXPECT_EQ(conflicts(run_transpose(32, TransposeFault::None, {.traffic = true})), 32 * 31);
}

TEST(SimtTranspose, SectorsAreCounted) {
  const auto sectors = [](const SimtResult& r) {
    std::int64_t all = 0, ideal = 0;
    for (const SimtTraffic& t : r.traffic) all += t.sectors, ideal += t.ideal_sectors;
    return std::pair(all, ideal);
  };
  const auto [good, good_ideal] = sectors(run_transpose(33, TransposeFault::None, {.traffic = true}));
  EXPECT_EQ(good_ideal, 256);
  EXPECT_LE(good, 256 + 64);  // host vectors need not start at a sector
  const auto [bad, bad_ideal] = sectors(run_transpose(33, TransposeFault::Direct, {.traffic = true}));
  EXPECT_EQ(bad_ideal, 256);
  EXPECT_GE(bad, 128 + 1024);
}

TEST(SimtTranspose, FaultsAreReported) {
  EXPECT_TRUE(has(run_transpose(33, TransposeFault::NoBarrier), HazardKind::Race));
  EXPECT_TRUE(has(run_transpose(33, TransposeFault::SharedBounds), HazardKind::OutOfBounds));
  EXPECT_TRUE(has(run_transpose(33, TransposeFault::SharedBounds), HazardKind::Uninitialised));
  EXPECT_TRUE(has(run_transpose(33, TransposeFault::EarlyRead), HazardKind::Uninitialised));
  const SimtResult r = run_transpose(33, TransposeFault::Global);
  ASSERT_TRUE(has(r, HazardKind::OutOfBounds));
  EXPECT_NE(hazards(r).find("before the first element of `out`"), std::string::npos) << hazards(r);
}

// out[cta] = sum of in[cta * 128 ..]; each warp by shuffles, warps through shared memory.
enum class ReduceFault { None, NoBarrier, Diverge, Exit };
GpuIr reduce(ReduceFault fault) {
  KernelBuilder k(128, 16, 2);
  V tid = k.tid(), lane = k.mod(tid, 32);
  V v = k.load(k.b.getInt32Ty(), k.global(0, k.mul(k.add(tid, k.mul(k.cta(), 128)), 4)));
  for (int d = 16; d; d /= 2) v = k.add(v, k.call(Primitive::ShflBfly, {v, k.i(d)}));
  if (fault == ReduceFault::Diverge) {
    k.when(k.b.CreateICmpULT(lane, k.i(16)), [&] { k.call(Primitive::WarpSync); });
  }
  if (fault == ReduceFault::Exit) {
    k.when(k.b.CreateICmpULT(tid, k.i(96)), [&] { k.barrier(); });
  }
  k.when(k.b.CreateICmpEQ(lane, k.i(0)), [&] { k.store(v, k.shared(k.add(k.base, k.mul(k.div(tid, 32), 4)))); });
  if (fault != ReduceFault::NoBarrier) k.barrier();
  k.when(k.b.CreateICmpEQ(tid, k.i(0)), [&] {
    V sum = k.i(0);
    for (int w = 0; w < 4; ++w) sum = k.add(sum, k.load(k.b.getInt32Ty(), k.shared(k.add(k.base, 4 * w))));
    k.store(sum, k.global(1, k.mul(k.cta(), 4)));
  });
  return k.finish();
}

SimtResult run_reduce(ReduceFault fault, std::uint64_t seed = 1) {
  std::vector<std::int32_t> in(512), out(4), expected(4);
  for (std::size_t i = 0; i < in.size(); ++i) expected[i / 128] += in[i] = static_cast<std::int32_t>(i * 37 % 101);
  SimtResult r = run(reduce(fault), {tensor("in", in, false), tensor("out", out)}, 4, {.seed = seed});
  if (r.clean()) {
    EXPECT_EQ(out, expected);
  }
  return r;
}

TEST(SimtReduce, IsRightAndClean) {
  for (std::uint64_t seed = 1; seed < 5; ++seed) {
    const SimtResult r = run_reduce(ReduceFault::None, seed);
    EXPECT_TRUE(r.clean()) << hazards(r);
  }
}

TEST(SimtReduce, FaultsAreReported) {
  EXPECT_TRUE(has(run_reduce(ReduceFault::NoBarrier), HazardKind::Race));
  const SimtResult diverged = run_reduce(ReduceFault::Diverge);
  EXPECT_TRUE(has(diverged, HazardKind::Divergence));
  EXPECT_FALSE(diverged.finished);
  const SimtResult stalled = run_reduce(ReduceFault::Exit);
  ASSERT_TRUE(has(stalled, HazardKind::Deadlock)) << hazards(stalled);
  EXPECT_NE(hazards(stalled).find("barrier 0 has 96 of 128 threads"), std::string::npos) << hazards(stalled);
}

// bins[in[i]] += 1 by 64 threads of each CTA.
GpuIr histogram(bool atomic) {
  KernelBuilder k(64, 0, 2);
  V value = k.load(k.b.getInt32Ty(), k.global(0, k.mul(k.add(k.tid(), k.mul(k.cta(), 64)), 4)));
  V bin = k.global(1, k.mul(value, 4));
  if (atomic) {
    k.b.CreateAtomicRMW(llvm::AtomicRMWInst::Add, bin, k.i(1), llvm::Align(4), llvm::AtomicOrdering::Monotonic);
  } else {
    k.store(k.add(k.load(k.b.getInt32Ty(), bin), 1), bin);
  }
  return k.finish();
}

TEST(SimtHistogram, AtomicsOfManyCtasAddUp) {
  std::vector<std::int32_t> in(256), bins(8), expected(8);
  for (std::size_t i = 0; i < in.size(); ++i) ++expected[static_cast<std::size_t>(in[i] = static_cast<std::int32_t>(i * i % 8))];
  const SimtResult r = run(histogram(true), {tensor("in", in, false), tensor("bins", bins)}, 4, {.host_threads = 2});
  EXPECT_TRUE(r.clean()) << hazards(r);
  EXPECT_EQ(bins, expected);
}

TEST(SimtHistogram, PlainUpdatesAreADoubleWriteAndARace) {
  std::vector<std::int32_t> in(256, 1), bins(8);
  const SimtResult r = run(histogram(false), {tensor("in", in, false), tensor("bins", bins)}, 4);
  EXPECT_TRUE(has(r, HazardKind::DoubleWrite)) << hazards(r);
  EXPECT_TRUE(has(r, HazardKind::Race)) << hazards(r);
}

TEST(SimtMemory, NeighboursInOneWordAreNoRace) {
  // Each thread writes its byte, each CTA its 64 bytes, at an odd offset.
  KernelBuilder k(64, 64, 1);
  V tid = k.tid(), byte = k.b.CreateTrunc(tid, k.b.getInt8Ty());
  k.store(byte, k.shared(k.add(k.base, tid)));
  k.barrier();
  k.store(k.load(k.b.getInt8Ty(), k.shared(k.add(k.base, k.b.CreateXor(tid, k.i(1))))), k.global(0, k.add(k.add(tid, k.mul(k.cta(), 63)), 1)));
  std::vector<std::uint8_t> out(200);
  SimtResult r = run(k.finish(), {tensor("out", out)}, 1);
  EXPECT_TRUE(r.clean()) << hazards(r);
  EXPECT_EQ(out[1], 1);
  EXPECT_EQ(out[64], 62);
}

TEST(SimtMemory, WritesToInputsAndUninitialisedReadsAreReported) {
  KernelBuilder k(32, 0, 2);
  V p = k.global(0, k.mul(k.tid(), 4));
  k.store(k.load(k.b.getInt32Ty(), k.global(1, k.mul(k.tid(), 4))), p);
  std::vector<std::int32_t> in(32), out(32);
  const SimtResult r = run(k.finish(), {tensor("in", in, false), tensor("out", out, true, false)});
  EXPECT_TRUE(has(r, HazardKind::ReadOnly));
  EXPECT_TRUE(has(r, HazardKind::Uninitialised));
}

TEST(SimtMemory, OverlappingTensorsStayOverlapping) {
  KernelBuilder k(32, 0, 2);
  V v = k.load(k.b.getInt32Ty(), k.global(0, k.mul(k.tid(), 4)));
  k.store(k.add(v, 1), k.global(1, k.mul(k.tid(), 4)));
  std::vector<std::int32_t> data(32);
  std::iota(data.begin(), data.end(), 0);
  std::vector<std::int32_t> expected(32);
  std::iota(expected.begin(), expected.end(), 1);
  const SimtResult r = run(k.finish(), {tensor("in", data, false), tensor("out", data)});
  EXPECT_TRUE(r.clean()) << hazards(r);
  EXPECT_EQ(data, expected);
}

TEST(SimtSites, HazardsCarrySpansAndAreReportedOnce) {
  KernelBuilder k(32, 0, 1);
  k.store(k.i(1), k.global(0, k.add(k.mul(k.tid(), 4), 128)));
  k.mark(10, 20, 3);
  std::vector<std::int32_t> out(32);
  const SimtResult r = run(k.finish(), {tensor("out", out)});
  ASSERT_EQ(r.hazards.size(), 1u) << hazards(r);
  EXPECT_EQ(r.hazards[0].kind, HazardKind::OutOfBounds);
  EXPECT_EQ(r.hazards[0].span, (Span{3, 10, 20}));
  EXPECT_EQ(r.hazards[0].count, 32);
  EXPECT_NE(r.hazards[0].text.find("`entry`"), std::string::npos);
}

TEST(SimtSites, UnexecutedCodeIsListed) {
  KernelBuilder k(32, 0, 1);
  k.when(k.b.CreateICmpUGT(k.tid(), k.i(100)), [&] { k.store(k.i(1), k.global(0, k.i(0))); });
  const SimtKernel kernel(k.finish());
  std::vector<std::int32_t> out(32);
  const std::vector<SimtTensor> tensors{tensor("out", out)};
  const SimtMemory memory(tensors);
  const SimtResult r = kernel.run(std::vector{memory.address(0)}, std::vector<std::int64_t>{1}, 1, memory);
  ASSERT_EQ(r.unexecuted().size(), 1u);
  EXPECT_EQ(kernel.sites()[r.unexecuted()[0]].what, "global store");
}

TEST(SimtSteps, EndlessKernelsEnd) {
  KernelBuilder k(32, 0, 1);
  auto* loop = llvm::BasicBlock::Create(k.b.getContext(), "loop", k.b.GetInsertBlock()->getParent());
  auto* out = llvm::BasicBlock::Create(k.b.getContext(), "out", k.b.GetInsertBlock()->getParent());
  k.b.CreateBr(loop);
  k.b.SetInsertPoint(loop);
  k.b.CreateCondBr(k.b.CreateICmpEQ(k.load(k.b.getInt32Ty(), k.global(0, k.i(0))), k.i(0)), loop, out);
  k.b.SetInsertPoint(out);
  std::vector<std::int32_t> flag(1);
  const SimtResult r = run(k.finish(), {tensor("flag", flag)}, 1, {.max_steps = 10000});
  EXPECT_TRUE(has(r, HazardKind::Endless));
  EXPECT_FALSE(r.finished);
}

}  // namespace
}  // namespace tessera::simt_test
