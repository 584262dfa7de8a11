// Barriers in shared memory that count the bytes of bulk copies: phases, then one fault at a time.
#include <gtest/gtest.h>

#include "boxes.h"

namespace tessera::simt_test {
namespace {

/// A ring of boxes: warp 0 asks for one a trip, all warps read it; what is done differently.
enum class Twist {
  None,
  ExpectedLate,  ///< the bytes are announced behind the copies
  Reused,        ///< the barrier's place holds data, then another barrier
  NobodyMade,
  NotShown,    ///< to bulk copies
  MadeUnseen,  ///< no barrier of the threads behind its making
  MadeTwice,
  NoArrivals,
  OddPlace,
  TooManyArrivals,
  WaitsForTheFuture,
  ParityOfThePast,
  OddParity,
  TooFewBytes,
  TooManyBytes,
  NoWait,
  NotFree,         ///< the slot is asked for again without waiting for its readers
  ReleasedEarly,   ///< readers arrive before they have read
  OneForAll,       ///< a lane arrives for its warp without a warp barrier
  NoRelease,       ///< by one of the warps
  WrittenPlainly,  ///< the slot, before, without a proxy fence
  Axes,
  Misplaced,
  BeyondShared,
};

constexpr int kWarps = 4, kThreads = 32 * kWarps, kTrips = 5, kSlots = 2, kBoxRows = 8;
constexpr std::int64_t kBox = kBoxRows * kRow, kFull = kSlots * kBox, kFree = kFull + 8 * kSlots, kShared = kFree + 8 * kSlots;
const Boxes kTensor{DType::BF16, {64, kBoxRows * kTrips}, {64, kBoxRows}, {}};

GpuIr ring(Twist t) {
  KernelBuilder k(kThreads, kShared, 6, {kTensor.map(2)});
  const auto full = [&](int slot) { return k.add(k.base, kFull + 8 * slot); };
  const auto free = [&](int slot) { return k.add(k.base, kFree + 8 * slot); };
  V first = k.b.CreateICmpEQ(k.tid(), k.i(0)), lead = k.b.CreateICmpEQ(k.mod(k.tid(), 32), k.i(0));
  if (t == Twist::Reused) {
    k.call(Primitive::MbarInit, {full(0), k.i(3), first});
    k.call(Primitive::MbarInval, {full(0), first});
    k.when(first, [&] { k.store(k.i(7), k.shared(full(0))); });
  }
  if (t == Twist::WrittenPlainly) {
    k.store(k.tid(), k.shared(k.add(k.base, k.mul(k.tid(), 4))));
  }
  for (int s = 0; s < kSlots && t != Twist::NobodyMade; ++s) {
    k.call(Primitive::MbarInit, {t == Twist::OddPlace ? k.add(full(s), 4) : full(s), k.i(t == Twist::NoArrivals ? 0 : 1), first});
    k.call(Primitive::MbarInit, {free(s), k.i(kWarps), first});
  }
  if (t == Twist::MadeTwice) k.call(Primitive::MbarInit, {full(0), k.i(1), first});
  if (t != Twist::NotShown) k.call(Primitive::FenceMbarInit);
  if (t != Twist::MadeUnseen) k.barrier();
  const auto ask = [&](int trip) {
    const int slot = trip % kSlots;
    // Only warp 0 waits for the slot.
    k.when(k.b.CreateICmpULT(k.tid(), k.i(32)), [&] {
      if (trip >= kSlots && t != Twist::NotFree) k.call(Primitive::MbarWait, {free(slot), k.i((trip / kSlots - 1) % 2)});
      std::int64_t bytes = kBox;
      if (trip == kTrips - 1 && t == Twist::TooFewBytes) bytes -= 128;
      if (trip == kTrips - 1 && t == Twist::TooManyBytes) bytes += 128;
      const auto expect = [&] { k.call(Primitive::MbarExpect, {full(slot), k.i(bytes), first}); };
      if (t != Twist::ExpectedLate) expect();
      if (t == Twist::TooManyArrivals) k.call(Primitive::MbarArrive, {full(slot), first});
      Vs args = {k.add(k.base, slot * kBox + (t == Twist::Misplaced      ? 64
                                              : t == Twist::BeyondShared ? kBox * 2
                                                                         : 0)),
                 full(slot),
                 k.map(0),
                 first,
                 k.i(0),
                 k.i(trip * kBoxRows)};
      if (t == Twist::Axes) args.push_back(k.i(0));
      k.call(t == Twist::Axes ? Primitive::TmaLoad3 : Primitive::TmaLoad2, args);
      if (t == Twist::ExpectedLate) expect();
    });
  };
  ask(0);
  for (int trip = 0; trip < kTrips; ++trip) {
    if (trip + 1 < kTrips) ask(trip + 1);
    const int slot = trip % kSlots;
    const bool last = trip == kTrips - 1;
    int parity = trip / kSlots % 2;
    if (last && (t == Twist::WaitsForTheFuture || t == Twist::ParityOfThePast)) parity ^= 1;
    if (last && t == Twist::WaitsForTheFuture) k.call(Primitive::MbarWait, {full(slot), k.i(parity ^ 1)});
    if (last && t == Twist::OddParity) parity = 2;
    if (!last || t != Twist::NoWait) k.call(Primitive::MbarWait, {full(slot), k.i(parity)});
    const auto release = [&](bool together) {
      if (together) k.call(Primitive::WarpSync);
      V who = t == Twist::NoRelease ? k.b.CreateAnd(lead, k.b.CreateICmpULT(k.tid(), k.i(96))) : lead;
      k.call(Primitive::MbarArrive, {free(slot), who});
    };
    if (t == Twist::ReleasedEarly) release(true);
    for (std::int64_t from = 0; from < kBox; from += 4 * kThreads) {
      V place = k.add(k.mul(k.tid(), 4), from);
      k.store(k.load(k.b.getInt32Ty(), k.shared(k.add(k.base, k.add(place, slot * kBox)))), k.global(1, k.add(place, trip * kBox)));
    }
    if (t != Twist::ReleasedEarly) release(t != Twist::OneForAll);
  }
  return k.finish();
}

struct Ring {
  std::vector<std::uint16_t> source, out;
  SimtResult result;

  Ring(const SimtKernel& kernel, SimtPolicy policy, std::uint64_t seed, std::int64_t ctas = 1) : source(64 * kBoxRows * kTrips), out(source.size()) {
    for (std::size_t i = 0; i < source.size(); ++i) source[i] = static_cast<std::uint16_t>(i);
    result = run(kernel, {tensor("source", source, false), tensor("out", out)}, ctas, {.seed = seed, .policy = policy}, kTensor.frame());
  }
  /// Boxes begin at patterns of eight rows.
  bool right() const {
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::size_t row = i / 64, place = row * 64 + ((i % 64 / 8) ^ (row % 8)) * 8 + i % 8;
      if (out[place] != source[i]) return false;
    }
    return true;
  }
};

class SimtRing : public testing::TestWithParam<Twist> {};

TEST_P(SimtRing, IsRightAndClean) {
  const SimtKernel kernel(ring(GetParam()));
  for (const SimtPolicy policy : kPolicies) {
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
      const Ring r(kernel, policy, seed);
      EXPECT_TRUE(r.result.clean()) << name(policy) << "\n" << hazards(r.result);
      EXPECT_TRUE(r.result.finished);
      EXPECT_TRUE(r.right()) << name(policy);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Sound, SimtRing, testing::Values(Twist::None, Twist::ExpectedLate, Twist::Reused));

struct Fault {
  Twist twist;
  HazardKind kind;
  const char* text;
};
class SimtRingFaults : public testing::TestWithParam<Fault> {};

TEST_P(SimtRingFaults, AreReportedUnderEveryPolicy) {
  const SimtKernel kernel(ring(GetParam().twist));
  for (const SimtPolicy policy : kPolicies) {
    for (std::uint64_t seed = 1; seed <= 4; ++seed) {
      const SimtResult r = Ring(kernel, policy, seed).result;
      EXPECT_TRUE(has(r, GetParam().kind)) << name(policy) << ", seed " << seed << "\n" << hazards(r);
      EXPECT_NE(hazards(r).find(GetParam().text), std::string::npos) << hazards(r);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, SimtRingFaults,
    testing::Values(Fault{Twist::NobodyMade, HazardKind::BadOperand, "that nobody made"},
                    Fault{Twist::NotShown, HazardKind::Race, "whose making no fence has shown to bulk copies"},
                    Fault{Twist::MadeTwice, HazardKind::BadOperand, "makes a barrier where there is one"},
                    Fault{Twist::NoArrivals, HazardKind::BadOperand, "makes a barrier of 0 arrivals"},
                    Fault{Twist::OddPlace, HazardKind::BadOperand, "makes a barrier of 1 arrivals at 2052"},
                    Fault{Twist::TooManyArrivals, HazardKind::BadOperand, "arrives at a phase that has its 1 arrivals"},
                    // trip 4 is the third phase of slot 0
                    Fault{Twist::WaitsForTheFuture, HazardKind::Deadlock, "phase 3 of the barrier at 2048 lacks 1 of 1 arrivals and 0 bytes"},
                    Fault{Twist::OddParity, HazardKind::BadOperand, "waits for a phase of parity 2"},
                    Fault{Twist::TooFewBytes, HazardKind::Deadlock, "phase 2 of the barrier at 2048 lacks 0 of 1 arrivals and -128 bytes"},
                    Fault{Twist::TooManyBytes, HazardKind::Deadlock, "phase 2 of the barrier at 2048 lacks 0 of 1 arrivals and 128 bytes"},
                    Fault{Twist::NoWait, HazardKind::Race, "reads, unordered, what is written at"}, Fault{Twist::ReleasedEarly, HazardKind::Race, ""},
                    Fault{Twist::NoRelease, HazardKind::Deadlock, "lacks 1 of 4 arrivals and 0 bytes"},
                    Fault{Twist::WrittenPlainly, HazardKind::Race, "by the asynchronous proxy, without a proxy fence between"},
                    Fault{Twist::Axes, HazardKind::BadOperand, "has 3 coordinates for a map of 2 axes"},
                    Fault{Twist::Misplaced, HazardKind::Misaligned, "no multiple of 128"},
                    Fault{Twist::BeyondShared, HazardKind::OutOfBounds, "writes 1024 bytes at 2048 of the 2080 bytes of shared memory"}));

TEST(SimtRings, CtasHaveBarriersOfTheirOwn) {
  // Each CTA writes the same places, so races of global memory are all there is.
  const Ring r(SimtKernel(ring(Twist::None)), SimtPolicy::Random, 1, 3);
  for (const Hazard& h : r.result.hazards) EXPECT_EQ(h.kind, HazardKind::DoubleWrite) << h.text;
  EXPECT_TRUE(r.result.finished);
  EXPECT_TRUE(r.right());
}

TEST(SimtRings, TensorsAreReadWithinTheirBoundsAndNotBeforeTheyAreWritten) {
  const SimtKernel kernel(ring(Twist::None));
  std::vector<std::uint16_t> source(64 * kBoxRows * kTrips - 8), out(source.size() + 8);
  const SimtResult shorter = run(kernel, {tensor("source", source, false), tensor("out", out)}, 1, {}, kTensor.frame());
  EXPECT_TRUE(has(shorter, HazardKind::OutOfBounds));
  EXPECT_NE(hazards(shorter).find("beyond the last element of `source`"), std::string::npos) << hazards(shorter);
  source.resize(out.size());
  const SimtResult fresh = run(kernel, {tensor("source", source, true, false), tensor("out", out)}, 1, {}, kTensor.frame());
  EXPECT_TRUE(has(fresh, HazardKind::Uninitialised)) << hazards(fresh);
}

// Whoever comes early reads or overwrites what others still use; whoever comes late waits for ever.
TEST(SimtRings, ThePhaseBeforeAndAMissingWaitAreARaceOrADeadlock) {
  for (const Twist t : {Twist::ParityOfThePast, Twist::NotFree}) {
    const SimtKernel kernel(ring(t));
    int races = 0, deadlocks = 0;
    for (const SimtPolicy policy : kPolicies) {
      for (std::uint64_t seed = 1; seed <= 6; ++seed) {
        const SimtResult r = Ring(kernel, policy, seed).result;
        races += has(r, HazardKind::Race);
        deadlocks += has(r, HazardKind::Deadlock);
        EXPECT_TRUE(has(r, HazardKind::Race) || has(r, HazardKind::Deadlock)) << static_cast<int>(t) << ", seed " << seed;
      }
    }
    EXPECT_GT(races, 0) << static_cast<int>(t);
    EXPECT_GT(deadlocks, 0) << static_cast<int>(t);
  }
}

// A lane that arrives for its warp speaks for itself alone; a barrier that is seen by chance is not made. Whether another lane or warp gets there
// first is the schedule's affair, so some seeds must tell.
TEST(SimtRings, WhatDependsOnTheScheduleIsFoundBySomeSeed) {
  for (const Twist t : {Twist::OneForAll, Twist::MadeUnseen}) {
    const SimtKernel kernel(ring(t));
    int found = 0;
    for (std::uint64_t seed = 1; seed <= 8; ++seed) found += !Ring(kernel, SimtPolicy::Random, seed).result.clean();
    EXPECT_GE(found, 4) << static_cast<int>(t);
  }
}

}  // namespace
}  // namespace tessera::simt_test
