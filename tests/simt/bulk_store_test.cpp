// Bulk stores: boxes of every form as loads have read them, then one fault at a time.
#include <gtest/gtest.h>

#include <algorithm>

#include "boxes.h"

namespace tessera::simt_test {
namespace {

class SimtStores : public testing::TestWithParam<Boxes> {};

/// With `kept` under policies of the cache, which change nothing.
void load_and_store(const Boxes& x, bool kept) {
  const std::int64_t barrier = (x.shared_bytes() + 7) / 8 * 8;
  GpuTensorMap to = x.map(2);
  to.base = 1;
  to.stored = true;
  KernelBuilder k(32, barrier + 8, 2 + 2 * static_cast<int>(x.extents.size()), {x.map(2), to});
  V first = k.b.CreateICmpEQ(k.tid(), k.i(0)), at = k.add(k.base, barrier), policy = k.call(Primitive::CachePolicy, {k.i(0)});
  k.call(Primitive::MbarInit, {at, k.i(1), first});
  k.call(Primitive::FenceMbarInit);
  k.barrier();
  k.call(Primitive::MbarExpect, {at, k.i(x.box_bytes() * static_cast<std::int64_t>(x.at.size())), first});
  const auto boxes = [&](bool store) {
    for (std::size_t n = 0; n < x.at.size(); ++n) {
      Vs args = {k.add(k.base, x.offset + static_cast<std::int64_t>(n) * x.box_bytes())};
      if (!store) args.push_back(at);
      args.insert(args.end(), {k.map(store ? 1 : 0), first});
      for (const std::int64_t c : x.at[n]) args.push_back(k.i(c));
      if (kept) args.push_back(policy);
      k.call(store ? x.store(kept) : x.load(kept), args);
    }
  };
  boxes(false);
  k.call(Primitive::MbarWait, {at, k.i(0)});
  boxes(true);
  k.call(Primitive::BulkCommit);
  k.call(Primitive::BulkWaitRead, {k.i(0)});
  const SimtKernel kernel(k.finish());

  std::vector<std::uint8_t> source(static_cast<std::size_t>(x.elements() * x.cell()));
  for (std::size_t i = 0; i < source.size(); ++i) source[i] = static_cast<std::uint8_t>(1 + i * 37 % 251);
  std::vector<std::uint8_t> want(source.size(), 0xee);
  for (const std::vector<std::int64_t>& corner : x.at) {
    x.each_element(corner, [&](std::int64_t, std::int64_t element) {
      if (element < 0) return;
      const auto first = static_cast<std::size_t>(element * x.cell());
      std::copy_n(source.begin() + static_cast<std::ptrdiff_t>(first), x.cell(), want.begin() + static_cast<std::ptrdiff_t>(first));
    });
  }
  for (const SimtPolicy policy : kPolicies) {
    std::vector<std::uint8_t> out(source.size(), 0xee);
    const SimtResult r = run(kernel, {tensor("source", source, false), tensor("out", out)}, 1, {.policy = policy}, x.frame());
    ASSERT_TRUE(r.clean()) << hazards(r);
    EXPECT_EQ(out, want) << name(policy);
  }
}

TEST_P(SimtStores, WriteWithinTheTensorWhatLoadsHaveRead) { load_and_store(GetParam(), false); }
TEST_P(SimtStores, DoSoUnderAPolicyToo) { load_and_store(GetParam(), true); }

INSTANTIATE_TEST_SUITE_P(
    All, SimtStores,
    testing::Values(Boxes{DType::BF16, {64, 16}, {64, 16}, {{0, 0}}},
                    Boxes{DType::F16, {72, 20}, {64, 12}, {{0, 0}, {64, 0}, {8, 12}, {64, 19}, {-5, -3}, {-64, 0}, {72, 0}, {0, 20}, {0, -100}}},
                    Boxes{DType::F16, {72, 20}, {64, 12}, {{3, 1}, {40, 15}}, 384},
                    Boxes{DType::E4M3, {160, 9}, {128, 8}, {{0, 0}, {48, 3}, {-1, -1}}},
                    Boxes{DType::BF16, {64, 7, 10}, {64, 4, 2}, {{0, 0, 0}, {0, 5, 9}, {-8, -1, -1}}},
                    Boxes{DType::F32, {32, 5, 3, 4}, {32, 1, 1, 4}, {{0, 4, 2, 0}, {0, 4, 2, 2}, {0, 1, -1, 0}, {0, 5, 0, 0}}},
                    Boxes{DType::F16, {64, 2, 3, 2, 9}, {64, 1, 1, 1, 8}, {{0, 1, 2, 1, 0}, {0, 0, 1, 0, 4}, {0, 0, 3, 0, 0}}}));

/// Two warps write a piece a trip, and one thread stores it; what is done differently.
enum class Twist {
  None,
  TwoPlaces,     ///< pieces take turns at two places, the wait leaves one group under way
  NoFence,       ///< of the asynchronous proxy, behind the writes
  FencedByOne,   ///< by the thread that stores alone
  NotMet,        ///< no barrier between the writes and the store
  NoWait,        ///< before the place is written again
  TwoUnderWay,   ///< the wait leaves one group under way that reads this place
  WaitNotKnown,  ///< no barrier behind the wait
  NoEnd,         ///< no wait at the end
  NoGroup,       ///< the last store is in no group
  Axes,
  Misplaced,
  BeyondShared,
};

constexpr int kThreads = 64, kTrips = 4, kPieceRows = 8;
constexpr std::int64_t kPiece = kPieceRows * kRow;
const Boxes kTensor{DType::BF16, {64, kPieceRows * kTrips - 3}, {64, kPieceRows}, {}};

GpuIr pieces(Twist t) {
  const bool two = t == Twist::TwoPlaces;
  GpuTensorMap map = kTensor.map(1);
  map.stored = true;
  KernelBuilder k(kThreads, 2 * kPiece, 5, {map});
  V first = k.b.CreateICmpEQ(k.tid(), k.i(0));
  for (int trip = 0; trip < kTrips; ++trip) {
    V place = k.add(k.base, two ? trip % 2 * kPiece : 0);
    if (trip > 0 && t != Twist::NoWait) {
      const auto wait = [&] { k.when(first, [&] { k.call(Primitive::BulkWaitRead, {k.i(two || t == Twist::TwoUnderWay ? 1 : 0)}); }); };
      if (t == Twist::WaitNotKnown) k.barrier();
      wait();
      if (t != Twist::WaitNotKnown) k.barrier();
    }
    for (std::int64_t w = 0; w < kPiece / 4; w += kThreads) {
      V word = k.add(k.tid(), w);
      k.store(k.add(word, 1000 * trip), k.shared(k.add(place, k.mul(word, 4))));
    }
    if (t == Twist::FencedByOne) {
      k.when(first, [&] { k.call(Primitive::FenceProxyAsync); });
    } else if (t != Twist::NoFence) {
      k.call(Primitive::FenceProxyAsync);
    }
    if (t != Twist::NotMet) k.barrier();
    k.when(first, [&] {
      Vs args = {k.add(place, t == Twist::Misplaced      ? 64
                              : t == Twist::BeyondShared ? 2 * kPiece
                                                         : 0),
                 k.map(0), k.b.getTrue(), k.i(0), k.i(trip * kPieceRows)};
      if (t == Twist::Axes) args.push_back(k.i(0));
      k.call(t == Twist::Axes ? Primitive::TmaStore3 : Primitive::TmaStore2, args);
      if (t != Twist::NoGroup || trip + 1 < kTrips) k.call(Primitive::BulkCommit);
    });
  }
  if (t != Twist::NoEnd) k.when(first, [&] { k.call(Primitive::BulkWaitRead, {k.i(0)}); });
  return k.finish();
}

struct Pieces {
  std::vector<std::uint16_t> out;
  SimtResult result;

  Pieces(const SimtKernel& kernel, SimtPolicy policy, std::uint64_t seed) : out(static_cast<std::size_t>(kTensor.elements()), 0xeeee) {
    result = run(kernel, {tensor("out", out)}, 1, {.seed = seed, .policy = policy}, kTensor.frame());
  }
  bool right() const {
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::size_t trip = i / 64 / kPieceRows, row = i / 64 % kPieceRows, place = row * 64 + ((i % 64 / 8) ^ row) * 8 + i % 8;
      const std::size_t word = place / 2 + 1000 * trip;
      if (out[i] != (i % 2 ? word >> 16 : word & 0xffff)) return false;
    }
    return true;
  }
};

class SimtPieces : public testing::TestWithParam<Twist> {};

TEST_P(SimtPieces, AreRightAndClean) {
  const SimtKernel kernel(pieces(GetParam()));
  for (const SimtPolicy policy : kPolicies) {
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
      const Pieces p(kernel, policy, seed);
      EXPECT_TRUE(p.result.clean()) << name(policy) << "\n" << hazards(p.result);
      EXPECT_TRUE(p.right()) << name(policy);
    }
  }
}
INSTANTIATE_TEST_SUITE_P(All, SimtPieces, testing::Values(Twist::None, Twist::TwoPlaces));

struct Fault {
  Twist twist;
  HazardKind kind;
  const char* text;
};
class SimtPieceFaults : public testing::TestWithParam<Fault> {};

TEST_P(SimtPieceFaults, AreReported) {
  const SimtKernel kernel(pieces(GetParam().twist));
  for (const SimtPolicy policy : kPolicies) {
    const Pieces p(kernel, policy, 1);
    bool found = false;
    for (const Hazard& h : p.result.hazards) found = found || (h.kind == GetParam().kind && h.text.find(GetParam().text) != std::string::npos);
    EXPECT_TRUE(found) << name(policy) << "\n" << hazards(p.result);
  }
}
INSTANTIATE_TEST_SUITE_P(All, SimtPieceFaults,
                         testing::Values(Fault{Twist::NoFence, HazardKind::Race, "without a proxy fence between"},
                                         Fault{Twist::FencedByOne, HazardKind::Race, "without a proxy fence between"},
                                         Fault{Twist::NotMet, HazardKind::Race, "reads, unordered"},
                                         Fault{Twist::NoWait, HazardKind::Race, "overwrites what may still be in use"},
                                         Fault{Twist::TwoUnderWay, HazardKind::Race, "overwrites what may still be in use"},
                                         Fault{Twist::WaitNotKnown, HazardKind::Race, "overwrites what may still be in use"},
                                         Fault{Twist::NoEnd, HazardKind::Race, "when its thread has ended"},
                                         Fault{Twist::NoGroup, HazardKind::Race, "when its thread has ended"},
                                         Fault{Twist::Axes, HazardKind::BadOperand, "3 coordinates for a map of 2 axes"},
                                         Fault{Twist::Misplaced, HazardKind::Misaligned, "from an address that is no multiple of 128"},
                                         Fault{Twist::BeyondShared, HazardKind::OutOfBounds, "reads 1024 bytes"}));

}  // namespace
}  // namespace tessera::simt_test
