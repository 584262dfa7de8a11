// Products of warpgroups: what the simulator lets pass and what it reports, one twist at a time.
#include <gtest/gtest.h>

#include <cmath>

#include "wgmma_products.h"

namespace tessera::simt_test {
namespace {

/// What is done differently; up to `NotDone` nothing is wrong.
enum class Twist {
  None,
  Copied,    ///< the operands come by cp.async
  Chained,   ///< three products, each of which starts from the one before, under way
  TwoWaits,  ///< two products, waited for one by one
  Reused,    ///< the operands are overwritten once all have waited
  Late,      ///< a wait that does not name the result ends the product; a later one passes it on
  NotDone,   ///< a second product is not done; it would start from the first, under way
  NoFence,
  NoFenceCopied,
  EarlyFence,  ///< before the writes
  NoBarrier,
  NotWritten,
  Arithmetic,  ///< on a result, before its wait
  ArithmeticInSums,
  Overwritten,           ///< before the wait
  OverwrittenUnordered,  ///< after this warp's wait, before that of others
  WeakWait,              ///< lets the product be under way
  Descriptors,           ///< differ within a warp
  DoneHere,              ///< by some lanes of a warp
  Outside,               ///< of shared memory
  MovedSums,             ///< accumulators under way change their places
};

const Product kFaulty{kBf16, 16, 4};

GpuIr twisted(Twist t) {
  const Product& p = kFaulty;
  KernelBuilder k(128, p.image(), 2);
  const bool copied = t == Twist::Copied || t == Twist::NoFenceCopied;
  const auto overwrite = [&] {
    // The thread's own place, which all warps' products read: operand B.
    k.store(k.i(0), k.shared(k.add(k.base, k.add(k.mul(k.tid(), 4), p.a_bytes()))));
  };
  if (t == Twist::EarlyFence) k.call(Primitive::FenceProxyAsync);
  if (t != Twist::NotWritten) fill(k, p.image(), 128, copied);
  if (t != Twist::NoFence && t != Twist::NoFenceCopied && t != Twist::EarlyFence) k.call(Primitive::FenceProxyAsync);
  if (t != Twist::NoBarrier) k.barrier();
  V a = p.a().low(k, k.base), b = p.b().low(k, k.add(k.base, p.a_bytes()));
  if (t == Twist::Descriptors) b = k.add(b, k.mod(k.tid(), 2));
  if (t == Twist::Outside) b = p.b().low(k, k.add(k.base, p.image() - 1024));
  Vs d = multiply(k, p, {}, {}, a, b);
  switch (t) {
    case Twist::Chained:
      d = multiply(k, p, d);
      d = multiply(k, p, d);
      break;
    case Twist::TwoWaits: {
      const Vs second = multiply(k, p, {});
      d = wait(k, 1, d);
      d = multiply(k, p, d);
      const Vs other = wait(k, 1, second);
      d = wait(k, 0, d);
      for (std::size_t r = 0; r < d.size(); ++r) d[r] = k.b.CreateFAdd(d[r], other[r]);
      break;
    }
    case Twist::Late: wait(k, 0, multiply(k, p, {})); break;
    case Twist::NotDone: d = multiply(k, p, d, {}, a, b, k.i(2)); break;
    case Twist::DoneHere: d = multiply(k, p, d, {}, a, b, k.tid()); break;
    case Twist::Arithmetic: d[3] = k.b.CreateFAdd(d[3], k.f(1)); break;
    case Twist::ArithmeticInSums:
      d[3] = k.b.CreateFAdd(d[3], k.f(1));
      d = multiply(k, p, d);
      break;
    case Twist::MovedSums:
      std::swap(d[0], d[1]);
      d = multiply(k, p, d);
      break;
    case Twist::Overwritten: overwrite(); break;
    case Twist::None:
    case Twist::Copied:
    case Twist::Reused:
    case Twist::NoFence:
    case Twist::NoFenceCopied:
    case Twist::EarlyFence:
    case Twist::NoBarrier:
    case Twist::NotWritten:
    case Twist::OverwrittenUnordered:
    case Twist::WeakWait:
    case Twist::Descriptors:
    case Twist::Outside: break;
  }
  d = wait(k, t == Twist::WeakWait ? 1 : 0, d);
  if (t == Twist::Reused || t == Twist::WeakWait) k.barrier();
  if (t == Twist::Reused || t == Twist::WeakWait || t == Twist::OverwrittenUnordered) overwrite();
  put(k, 1, d);
  return k.finish();
}

struct Twisted {
  SimtResult result;
  std::vector<float> out;
};
Twisted run_twisted(const SimtKernel& kernel, SimtPolicy policy, std::uint64_t seed) {
  std::vector<std::uint8_t> image = image_of(kFaulty);
  Twisted t{{}, std::vector<float>(static_cast<std::size_t>(64 * kFaulty.n))};
  t.result = run(kernel, {tensor("image", image, false), tensor("out", t.out)}, 1, {.seed = seed, .policy = policy});
  return t;
}

struct Sound {
  Twist twist;
  double times;  ///< the product is in the result
};
class SimtWgmmaSound : public testing::TestWithParam<Sound> {};

TEST_P(SimtWgmmaSound, IsRightAndClean) {
  const SimtKernel kernel(twisted(GetParam().twist));
  for (const SimtPolicy policy : kPolicies) {
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      const Twisted t = run_twisted(kernel, policy, seed);
      EXPECT_TRUE(t.result.clean()) << name(policy) << "\n" << hazards(t.result);
      expect_product(t.out, kFaulty, GetParam().times, false);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, SimtWgmmaSound,
                         testing::Values(Sound{Twist::None, 1}, Sound{Twist::Copied, 1}, Sound{Twist::Chained, 3}, Sound{Twist::TwoWaits, 3},
                                         Sound{Twist::Reused, 1}, Sound{Twist::Late, 1}, Sound{Twist::NotDone, 1}));

struct Fault {
  Twist twist;
  HazardKind kind;
  const char* text;
};
class SimtWgmmaFaults : public testing::TestWithParam<Fault> {};

TEST_P(SimtWgmmaFaults, AreReportedUnderEveryPolicy) {
  const SimtKernel kernel(twisted(GetParam().twist));
  for (const SimtPolicy policy : kPolicies) {
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      const SimtResult r = run_twisted(kernel, policy, seed).result;
      EXPECT_TRUE(has(r, GetParam().kind)) << name(policy) << ", seed " << seed << "\n" << hazards(r);
      EXPECT_NE(hazards(r).find(GetParam().text), std::string::npos) << hazards(r);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, SimtWgmmaFaults,
                         testing::Values(Fault{Twist::NoFence, HazardKind::Race, "without a proxy fence between"},
                                         Fault{Twist::NoFenceCopied, HazardKind::Race, "without a proxy fence between"},
                                         Fault{Twist::EarlyFence, HazardKind::Race, "without a proxy fence between"},
                                         Fault{Twist::NoBarrier, HazardKind::Race, "reads, unordered"},
                                         Fault{Twist::NotWritten, HazardKind::Uninitialised, "nobody wrote"},
                                         Fault{Twist::Arithmetic, HazardKind::Race, "before its wait"},
                                         Fault{Twist::ArithmeticInSums, HazardKind::Race, "before its wait"},
                                         Fault{Twist::Overwritten, HazardKind::Race, "overwrites what may still be in use"},
                                         Fault{Twist::OverwrittenUnordered, HazardKind::Race, ""},
                                         Fault{Twist::WeakWait, HazardKind::Race, "overwrites what may still be in use"},
                                         Fault{Twist::Descriptors, HazardKind::BadOperand, "different descriptors"},
                                         Fault{Twist::DoneHere, HazardKind::BadOperand, "different descriptors"},
                                         Fault{Twist::Outside, HazardKind::OutOfBounds, "outside of the"},
                                         Fault{Twist::MovedSums, HazardKind::BadOperand, "another product under way"}));

TEST(SimtWgmmaFault, ResultsAreNoNumbersBeforeTheirWait) {
  const SimtKernel weak(twisted(Twist::WeakWait));
  for (const SimtPolicy policy : kPolicies) {
    for (const float x : run_twisted(weak, policy, 1).out) ASSERT_TRUE(std::isnan(x)) << name(policy);
  }
}

}  // namespace
}  // namespace tessera::simt_test
