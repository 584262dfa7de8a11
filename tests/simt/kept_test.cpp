// Loads, stores and copies under a policy of the second-level cache: what they move is what the others move, and faults are theirs too.
#include <gtest/gtest.h>

#include <numeric>

#include "kernel_builder.h"

namespace tessera::simt_test {
namespace {

/// Thread t copies bytes [width t, width (t + 1)) of the first tensor to the second, `shift` bytes further on.
SimtResult copied(int width, std::int64_t shift, std::vector<std::uint8_t>& in, std::vector<std::uint8_t>& out, bool writable = true) {
  KernelBuilder k(32, 16, 2);
  V at = k.mul(k.tid(), width), from = k.global(0, k.add(at, shift)), to = k.global(1, at);
  V first = k.call(Primitive::CachePolicy, {k.i(0)}), last = k.call(Primitive::CachePolicy, {k.i(1)});
  if (width < 4) {
    V x = k.call(width == 1 ? Primitive::LoadKept8 : Primitive::LoadKept16, {from, first});
    k.call(width == 1 ? Primitive::StoreKept8 : Primitive::StoreKept16, {to, last, k.b.CreateOr(x, k.i(0x7f0000))});
  } else {
    k.call(Primitive::StoreKept, {to, last}, k.call(Primitive::LoadKept, {from, first}, {}, width / 4, k.b.getInt32Ty()), 0, k.b.getInt32Ty());
  }
  return run(k.finish(), {tensor("in", in, false), tensor("out", out, writable)});
}

TEST(SimtKept, EveryWidthMovesItsBytes) {
  for (const int width : {1, 2, 4, 8, 16}) {
    std::vector<std::uint8_t> in(static_cast<std::size_t>(32 * width)), out(in.size());
    std::iota(in.begin(), in.end(), std::uint8_t{3});
    const SimtResult r = copied(width, 0, in, out);
    EXPECT_TRUE(r.clean()) << width << "\n" << hazards(r);
    EXPECT_EQ(out, in) << width;
  }
}

TEST(SimtKept, FaultsAreReported) {
  for (const int width : {1, 2, 4, 16}) {
    std::vector<std::uint8_t> in(static_cast<std::size_t>(32 * width)), out(in.size());
    EXPECT_TRUE(has(copied(width, width, in, out), HazardKind::OutOfBounds)) << width;
    EXPECT_TRUE(has(copied(width, 0, in, out, false), HazardKind::ReadOnly)) << width;
    if (width > 1) {
      EXPECT_TRUE(has(copied(width, 1, in, out), HazardKind::Misaligned)) << width;
    }
  }
}

TEST(SimtKept, ShortCopiesFillWithZeros) {
  KernelBuilder k(32, 32 * 16, 2);
  V tid = k.tid(), to = k.add(k.base, k.mul(tid, 16)), policy = k.call(Primitive::CachePolicy, {k.i(1)});
  k.call(Primitive::CpAsync16Kept, {to, k.global(0, k.mul(tid, 16)), k.mod(k.mul(tid, 2), 17), policy});
  k.call(Primitive::CpAsyncCommit);
  k.call(Primitive::CpAsyncWait, {k.i(0)});
  for (int j = 0; j < 4; ++j) k.store(k.load(k.b.getInt32Ty(), k.shared(k.add(to, 4 * j))), k.global(1, k.add(k.mul(tid, 16), 4 * j)));
  std::vector<std::uint8_t> in(512, 9), out(512);
  const SimtResult r = run(k.finish(), {tensor("in", in, false), tensor("out", out)});
  EXPECT_TRUE(r.clean()) << hazards(r);
  for (std::size_t i = 0; i < 512; ++i) EXPECT_EQ(out[i], i % 16 < i / 16 * 2 % 17 ? 9 : 0) << i;
}

}  // namespace
}  // namespace tessera::simt_test
