// Clusters of two CTAs: boxes that each asks for and both get, words that one stores in the other's shared memory; then one fault at a time.
#include <gtest/gtest.h>

#include "boxes.h"

namespace tessera::simt_test {
namespace {

/// A ring of boxes: each CTA's warp 0 asks for its half of one a trip, for both; what is done differently.
enum class Twist {
  None,
  Kept,            ///< copies under a policy of the cache: nothing else
  NoPeerFrees,     ///< a slot is free once the CTA's own warps have left it
  ForItselfAlone,  ///< a half goes to its own CTA only
  NoMeeting,       ///< the peer's barriers may not be made yet
  NoParting,       ///< a CTA may end while the other arrives at its barriers
  NoWait,
  ReleasedEarly,
  NotShown,  ///< barriers, to bulk copies
  NoRanks,
  NoSuchRank,
  NoSuchPeer,
  Overlapping,  ///< both ask for the first half
};

constexpr int kWarps = 2, kThreads = 32 * kWarps, kTrips = 5, kSlots = 2, kHalfRows = 4, kBoxRows = 2 * kHalfRows;
constexpr std::int64_t kHalf = kHalfRows * kRow, kBox = 2 * kHalf, kFull = kSlots * kBox, kFree = kFull + 8 * kSlots, kShared = kFree + 8 * kSlots;
const Boxes kTensor{DType::BF16, {64, kBoxRows * kTrips}, {64, kHalfRows}, {}};

GpuIr ring(Twist t) {
  KernelBuilder k(kThreads, kShared, 6, {kTensor.map(2)});
  k.make_clusters();
  const auto full = [&](int slot) { return k.add(k.base, kFull + 8 * slot); };
  const auto free = [&](int slot) { return k.add(k.base, kFree + 8 * slot); };
  V first = k.b.CreateICmpEQ(k.tid(), k.i(0)), lane = k.mod(k.tid(), 32), rank = k.mod(k.cta(), 2);
  for (int s = 0; s < kSlots; ++s) {
    k.call(Primitive::MbarInit, {full(s), k.i(1), first});
    k.call(Primitive::MbarInit, {free(s), k.i(t == Twist::NoPeerFrees ? kWarps : 2 * kWarps), first});
  }
  if (t != Twist::NotShown) k.call(Primitive::FenceMbarInit);
  k.call(t == Twist::NoMeeting ? Primitive::BarSyncAll : Primitive::ClusterSync);
  const auto ask = [&](int trip) {
    const int slot = trip % kSlots;
    k.when(k.b.CreateICmpULT(k.tid(), k.i(32)), [&] {
      if (trip >= kSlots) k.call(Primitive::MbarWait, {free(slot), k.i((trip / kSlots - 1) % 2)});
      k.call(Primitive::MbarExpect, {full(slot), k.i(kBox), first});
      V half = t == Twist::Overlapping ? k.i(0) : rank;
      const std::int64_t ranks = t == Twist::NoRanks ? 0 : t == Twist::NoSuchRank ? 7 : 3;
      Vs args = {k.add(k.add(k.base, k.mul(half, kHalf)), slot * kBox), full(slot), k.map(0), first};
      if (t != Twist::ForItselfAlone) args.push_back(k.i(ranks));
      args.insert(args.end(), {k.i(0), k.add(k.mul(half, kHalfRows), trip * kBoxRows)});
      if (t == Twist::Kept) args.push_back(k.call(Primitive::CachePolicy, {k.i(1)}));
      k.call(t == Twist::ForItselfAlone ? Primitive::TmaLoad2 : t == Twist::Kept ? Primitive::TmaMulticastKept2 : Primitive::TmaMulticast2, args);
    });
  };
  ask(0);
  for (int trip = 0; trip < kTrips; ++trip) {
    if (trip + 1 < kTrips) ask(trip + 1);
    const int slot = trip % kSlots;
    const bool last = trip == kTrips - 1;
    if (!last || t != Twist::NoWait) k.call(Primitive::MbarWait, {full(slot), k.i(trip / kSlots % 2)});
    const auto release = [&] {
      k.call(Primitive::WarpSync);
      if (t == Twist::NoPeerFrees) {
        k.call(Primitive::MbarArrive, {free(slot), k.b.CreateICmpEQ(lane, k.i(0))});
        return;
      }
      V to = last && t == Twist::NoSuchPeer ? k.i(2) : k.mod(lane, 2);
      k.call(Primitive::MbarArriveAt, {free(slot), to, k.b.CreateICmpULT(lane, k.i(2))});
    };
    if (t == Twist::ReleasedEarly) release();
    for (std::int64_t from = 0; from < kBox; from += 4 * kThreads) {
      V place = k.add(k.mul(k.tid(), 4), from);
      V out = k.add(k.add(place, trip * kBox), k.mul(k.cta(), kTrips * kBox));
      k.store(k.load(k.b.getInt32Ty(), k.shared(k.add(k.base, k.add(place, slot * kBox)))), k.global(1, out));
    }
    if (t != Twist::ReleasedEarly) release();
  }
  if (t != Twist::NoParting) k.call(Primitive::ClusterSync);
  return k.finish();
}

struct Ring {
  std::vector<std::uint16_t> source, out;
  SimtResult result;

  Ring(const SimtKernel& kernel, SimtPolicy policy, std::uint64_t seed, std::int64_t ctas = 2)
      : source(64 * kBoxRows * kTrips), out(source.size() * static_cast<std::size_t>(ctas)) {
    for (std::size_t i = 0; i < source.size(); ++i) source[i] = static_cast<std::uint16_t>(i);
    result = run(kernel, {tensor("source", source, false), tensor("out", out)}, ctas, {.seed = seed, .policy = policy}, kTensor.frame());
  }
  bool right() const {
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::size_t row = i / 64, place = row * 64 + ((i % 64 / 8) ^ (row % 8)) * 8 + i % 8;
      if (out[place] != source[i % source.size()]) return false;
    }
    return true;
  }
};

class SimtClusterCopies : public testing::TestWithParam<Twist> {};

TEST_P(SimtClusterCopies, BothGetWhatEachAsksForHalfOf) {
  const SimtKernel kernel(ring(GetParam()));
  for (const SimtPolicy policy : kPolicies) {
    for (std::uint64_t seed = 1; seed <= 6; ++seed) {
      const Ring r(kernel, policy, seed, seed % 2 ? 2 : 6);
      EXPECT_TRUE(r.result.clean()) << name(policy) << "\n" << hazards(r.result);
      EXPECT_TRUE(r.result.finished);
      EXPECT_TRUE(r.right()) << name(policy);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, SimtClusterCopies, testing::Values(Twist::None, Twist::Kept));

struct Fault {
  Twist twist;
  HazardKind kind;
  const char* text;
};
class SimtClusterFaults : public testing::TestWithParam<Fault> {};

TEST_P(SimtClusterFaults, AreReportedUnderEveryPolicy) {
  const SimtKernel kernel(ring(GetParam().twist));
  for (const SimtPolicy policy : kPolicies) {
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
      const SimtResult r = Ring(kernel, policy, seed).result;
      EXPECT_TRUE(has(r, GetParam().kind)) << name(policy) << ", seed " << seed << "\n" << hazards(r);
      EXPECT_NE(hazards(r).find(GetParam().text), std::string::npos) << hazards(r);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, SimtClusterFaults,
                         testing::Values(Fault{Twist::ForItselfAlone, HazardKind::Deadlock, "lacks 0 of 1 arrivals and 512 bytes"},
                                         Fault{Twist::NoParting, HazardKind::Race, "rank"},
                                         Fault{Twist::NoWait, HazardKind::Race, "reads, unordered, what is written at"},
                                         Fault{Twist::ReleasedEarly, HazardKind::Race, ""},
                                         Fault{Twist::NotShown, HazardKind::Race, "whose making no fence has shown to bulk copies"},
                                         Fault{Twist::NoRanks, HazardKind::BadOperand, "goes to no CTA"},
                                         Fault{Twist::NoSuchRank, HazardKind::BadOperand, "names rank 2 of a cluster of 2"},
                                         Fault{Twist::NoSuchPeer, HazardKind::BadOperand, "names rank 2 of a cluster of 2"},
                                         Fault{Twist::Overlapping, HazardKind::Race, "overwrites, unordered, what is written at"}));

// Whether the peer's warps are still at a slot, or have made their barriers, when a half for it sets out is the schedule's affair.
TEST(SimtClusters, WhatDependsOnTheScheduleIsFoundByMostSeeds) {
  for (const Twist t : {Twist::NoPeerFrees, Twist::NoMeeting}) {
    const SimtKernel kernel(ring(t));
    int found = 0;
    for (std::uint64_t seed = 1; seed <= 8; ++seed) found += !Ring(kernel, SimtPolicy::Random, seed).result.clean();
    EXPECT_GE(found, 7) << static_cast<int>(t);
  }
}

/// CTA 0 of a cluster stores words in CTA 1, one after the other in the same place; CTA 1 says when it has read one.
enum class Handing { None, NotTaken, NotExpected, NotAwaited, BeyondShared };

GpuIr handing(Handing h) {
  constexpr int kWords = 4;
  KernelBuilder k(32, 64, 1);
  k.make_clusters();
  V word = h == Handing::BeyondShared ? k.add(k.base, 64) : k.base, there = k.add(k.base, 8), taken = k.add(k.base, 16);
  V first = k.b.CreateICmpEQ(k.tid(), k.i(0)), rank = k.mod(k.cta(), 2);
  for (V barrier : {there, taken}) k.call(Primitive::MbarInit, {barrier, k.i(1), first});
  k.call(Primitive::FenceMbarInit);
  k.call(Primitive::ClusterSync);
  k.when(k.b.CreateICmpEQ(rank, k.i(0)), [&] {
    for (int i = 0; i < kWords; ++i) {
      if (i > 0 && h != Handing::NotTaken) k.call(Primitive::MbarWait, {taken, k.i((i - 1) % 2)});
      k.call(Primitive::StoreAsync, {word, k.i(100 + i), there, k.i(1), first});
    }
  });
  k.when(k.b.CreateICmpEQ(rank, k.i(1)), [&] {
    for (int i = 0; i < kWords; ++i) {
      if (h != Handing::NotExpected) k.call(Primitive::MbarExpect, {there, k.i(4), first});
      if (h != Handing::NotAwaited) k.call(Primitive::MbarWait, {there, k.i(i % 2)});
      k.when(first, [&] { k.store(k.load(k.b.getInt32Ty(), k.shared(k.base)), k.global(0, k.i(4 * i))); });
      k.call(Primitive::WarpSync);
      k.call(Primitive::MbarArriveAt, {taken, k.i(0), first});
    }
  });
  k.call(Primitive::ClusterSync);
  return k.finish();
}

SimtResult hand(const SimtKernel& kernel, SimtPolicy policy, std::uint64_t seed, std::vector<std::uint32_t>& out) {
  return run(kernel, {tensor("out", out)}, 2, {.seed = seed, .policy = policy});
}

TEST(SimtClusters, WordsAreHandedOn) {
  const SimtKernel kernel(handing(Handing::None));
  for (const SimtPolicy policy : kPolicies) {
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
      std::vector<std::uint32_t> out(4);
      const SimtResult r = hand(kernel, policy, seed, out);
      EXPECT_TRUE(r.clean()) << hazards(r);
      EXPECT_EQ(out, (std::vector<std::uint32_t>{100, 101, 102, 103}));
    }
  }
}

TEST(SimtClusters, WordsThatAreOverwrittenOrReadTooSoonAreReported) {
  for (const Handing h : {Handing::NotTaken, Handing::NotExpected, Handing::NotAwaited, Handing::BeyondShared}) {
    const SimtKernel kernel(handing(h));
    for (const SimtPolicy policy : kPolicies) {
      for (std::uint64_t seed = 1; seed <= 4; ++seed) {
        std::vector<std::uint32_t> out(4);
        EXPECT_FALSE(hand(kernel, policy, seed, out).clean()) << static_cast<int>(h) << name(policy);
      }
    }
  }
}

TEST(SimtClusters, TheirBarrierWaitsForThoseWhoHaveNotEnded) {
  KernelBuilder k(64, 64, 1);
  k.make_clusters();
  // Warp 1 of CTA 0 ends at once.
  V stays = k.b.CreateOr(k.b.CreateICmpULT(k.tid(), k.i(32)), k.b.CreateICmpEQ(k.mod(k.cta(), 2), k.i(1)));
  k.when(stays, [&] {
    k.call(Primitive::ClusterSync);
    k.store(k.i(1), k.global(0, k.mul(k.add(k.mul(k.cta(), 64), k.tid()), 4)));
  });
  const SimtKernel kernel(k.finish());
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    std::vector<std::uint32_t> out(128);
    const SimtResult r = run(kernel, {tensor("out", out)}, 2, {.seed = seed});
    EXPECT_TRUE(r.clean() && r.finished) << hazards(r);
    EXPECT_EQ(std::accumulate(out.begin(), out.end(), 0u), 96u);
  }
}

TEST(SimtClusters, WhoeverDoesNotComeToTheirBarrierHoldsTheOthersForEver) {
  KernelBuilder k(32, 64, 1);
  k.make_clusters();
  V barrier = k.base, first = k.b.CreateICmpEQ(k.tid(), k.i(0));
  k.call(Primitive::MbarInit, {barrier, k.i(1), first});
  k.call(Primitive::WarpSync);
  k.when(k.b.CreateICmpEQ(k.mod(k.cta(), 2), k.i(0)), [&] { k.call(Primitive::MbarWait, {barrier, k.i(0)}); });
  k.call(Primitive::ClusterSync);
  std::vector<std::uint32_t> out(1);
  const SimtResult r = run(k.finish(), {tensor("out", out)}, 2);
  EXPECT_FALSE(r.finished);
  EXPECT_NE(hazards(r).find("the cluster's barrier has 32 of 64 threads"), std::string::npos) << hazards(r);
}

}  // namespace
}  // namespace tessera::simt_test
