// A pipelined product of tiles: cp.async in two stages, ldmatrix, mma.sync; whole and with one fault each.
#include <gtest/gtest.h>

#include "kernel_builder.h"

namespace tessera::simt_test {
namespace {

enum class Fault {
  None,
  NoWait,
  WeakWait,
  NoBarrierAfterWait,
  NoBarrierBeforeRefill,
  NoCommit,
  BeyondTensor,
  WrongSlot,
  Misaligned,
  ShortZeroFill,
  Transposed
};

constexpr int kSteps = 3, kPitch = 80, kTile = 64 * kPitch, kK = 32 * kSteps;

// C[64 * ctas, 64] = A[64 * ctas, K] B[64, K]^T, bf16 and f32; 128 threads, warps in 2 x 2 of 32 x 32.
GpuIr gemm(Fault fault) {
  KernelBuilder k(128, 4 * kTile, 3);
  V tid = k.tid(), cta = k.cta(), lane = k.mod(tid, 32), warp = k.div(tid, 32), wm = k.mod(warp, 2), wn = k.div(warp, 2);
  const auto load = [&](int s) {
    for (int m = 0; m < 2; ++m) {
      for (int j = 0; j < 2; ++j) {
        V chunk = k.add(tid, 128 * j), row = k.div(chunk, 4), quarter = k.mod(chunk, 4);
        V to = k.add(k.add(k.add(k.base, (s % 2 * 2 + m) * kTile), k.mul(row, kPitch)), k.mul(quarter, 16));
        V source_row = m ? row : k.add(row, k.mul(cta, 64));
        V from = k.add(k.add(k.mul(source_row, kK * 2), k.mul(quarter, 16)), s * 64);
        if (fault == Fault::BeyondTensor && m == 0) from = k.add(from, 64);
        if (fault == Fault::Misaligned && m == 1) to = k.add(to, 8);
        k.call(Primitive::CpAsync16, {to, k.global(m, from), k.i(fault == Fault::ShortZeroFill ? 8 : 16)});
      }
    }
    if (fault != Fault::NoCommit || s != kSteps - 1) k.call(Primitive::CpAsyncCommit);
  };
  Vs acc[2][4];
  for (auto& r : acc) {
    for (Vs& x : r) x.assign(4, k.f(0));
  }
  load(0);
  for (int s = 0; s < kSteps; ++s) {
    if (s + 1 < kSteps) {
      load(s + 1);
    } else if (fault != Fault::NoCommit) {
      k.call(Primitive::CpAsyncCommit);
    }
    if (fault != Fault::NoWait)
      k.call(Primitive::CpAsyncWait, {k.i(fault == Fault::WeakWait ? 2 : s + 1 == kSteps && fault == Fault::NoCommit ? 0 : 1)});
    if (fault != Fault::NoBarrierAfterWait) k.barrier();
    const int slot = fault == Fault::WrongSlot ? (s + 1) % 2 : s % 2;
    V row = k.mod(lane, 16), half = k.mul(k.div(lane, 16), 16);
    for (int kk = 0; kk < 2; ++kk) {
      Vs a[2], w[2];
      for (int j = 0; j < 2; ++j) {
        const auto at = [&](int m, V part) {
          return k.add(k.add(k.add(k.base, (slot * 2 + m) * kTile + kk * 32), k.mul(k.add(k.add(k.mul(part, 32), 16 * j), row), kPitch)), half);
        };
        a[j] = k.call(Primitive::LdmatrixX4, {at(0, wm)}, {}, 4, k.b.getInt32Ty());
        w[j] = k.call(Primitive::LdmatrixX4, {at(1, wn)}, {}, 4, k.b.getInt32Ty());
      }
      for (int m = 0; m < 2; ++m) {
        for (int n = 0; n < 4; ++n) {
          Vs registers = acc[m][n];
          registers.insert(registers.end(), a[m].begin(), a[m].end());
          registers.push_back(w[n / 2][static_cast<std::size_t>(n % 2)]);
          registers.push_back(w[n / 2][static_cast<std::size_t>(n % 2) + 2]);
          acc[m][n] = k.call(Primitive::MmaBf16K16, {}, registers, 4, k.b.getFloatTy());
        }
      }
    }
    if (fault != Fault::NoBarrierBeforeRefill) k.barrier();
  }
  for (int m = 0; m < 2; ++m) {
    for (int n = 0; n < 4; ++n) {
      for (int e = 0; e < 4; ++e) {
        V row = k.add(k.add(k.mul(wm, 32), 16 * m + 8 * (e / 2)), k.div(lane, 4));
        V column = k.add(k.add(k.mul(wn, 32), 8 * n + e % 2), k.mul(k.mod(lane, 4), 2));
        if (fault == Fault::Transposed) std::swap(row, column);
        k.store(acc[m][n][static_cast<std::size_t>(e)], k.global(2, k.mul(k.add(k.mul(k.add(row, k.mul(cta, 64)), 64), column), 4)));
      }
    }
  }
  return k.finish();
}

struct Problem {
  std::vector<std::uint16_t> a, b;
  std::vector<float> c, expected;
  explicit Problem(int ctas) : a(64u * ctas * kK), b(64u * kK), c(4096u * ctas), expected(c.size()) {
    for (std::size_t i = 0; i < a.size(); ++i) a[i] = bf16(static_cast<float>(i * 7 % 13) - 6);
    for (std::size_t i = 0; i < b.size(); ++i) b[i] = bf16(static_cast<float>(i * 5 % 11) - 5);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      for (std::size_t x = 0; x < kK; ++x) {
        expected[i] += (static_cast<float>((i / 64 * kK + x) * 7 % 13) - 6) * (static_cast<float>((i % 64 * kK + x) * 5 % 11) - 5);
      }
    }
  }
  SimtResult run(Fault fault, const SimtOptions& options) {
    return simt_test::run(gemm(fault), {tensor("a", a, false), tensor("b", b, false), tensor("c", c)}, static_cast<std::int64_t>(c.size() / 4096),
                          options);
  }
};

TEST(SimtGemm, IsRightAndCleanUnderEveryPolicy) {
  for (const SimtPolicy policy : {SimtPolicy::Random, SimtPolicy::Lazy, SimtPolicy::Eager}) {
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      Problem p(2);
      const SimtResult r = p.run(Fault::None, {.seed = seed, .policy = policy});
      EXPECT_TRUE(r.clean()) << name(policy) << "\n" << hazards(r);
      EXPECT_TRUE(r.finished);
      EXPECT_EQ(p.c, p.expected) << name(policy);
      EXPECT_EQ(r.barriers, 2 * 2 * kSteps);
      EXPECT_TRUE(r.unexecuted().empty());
    }
  }
}

TEST(SimtGemm, HostThreadsShareTheCtas) {
  Problem p(4);
  const SimtResult r = p.run(Fault::None, {.host_threads = 3});
  EXPECT_TRUE(r.clean()) << hazards(r);
  EXPECT_EQ(p.c, p.expected);
}

struct Case {
  Fault fault;
  HazardKind kind;
};
class SimtGemmFault : public testing::TestWithParam<Case> {};

TEST_P(SimtGemmFault, IsReportedOnEverySeed) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    Problem p(1);
    const SimtResult r = p.run(GetParam().fault, {.seed = seed});
    EXPECT_TRUE(has(r, GetParam().kind)) << "seed " << seed << "\n" << hazards(r);
  }
}

INSTANTIATE_TEST_SUITE_P(All, SimtGemmFault,
                         testing::Values(Case{Fault::NoWait, HazardKind::Race}, Case{Fault::WeakWait, HazardKind::Race},
                                         Case{Fault::NoBarrierAfterWait, HazardKind::Race}, Case{Fault::NoBarrierBeforeRefill, HazardKind::Race},
                                         Case{Fault::NoCommit, HazardKind::Race}, Case{Fault::BeyondTensor, HazardKind::OutOfBounds},
                                         Case{Fault::WrongSlot, HazardKind::Race}, Case{Fault::Misaligned, HazardKind::Misaligned}));

TEST(SimtGemm, WrongAddressesInBoundsGiveWrongResults) {
  for (const Fault fault : {Fault::ShortZeroFill, Fault::Transposed}) {
    Problem p(1);
    EXPECT_TRUE(p.run(fault, {}).clean());
    EXPECT_NE(p.c, p.expected);
  }
}

}  // namespace
}  // namespace tessera::simt_test
