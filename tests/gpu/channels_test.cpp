// The verifier of channels: what it accepts, and what it says of roles that do not fit together.
#include "codegen/gpu/channels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codegen/passes/pipeline.h"
#include "dsl/text.h"
#include "tests/gpu/warpgroup_text.h"

namespace tessera::test {
namespace {

using gpu::Channels;
using gpu::ChannelStep;
using gpu::verify_channels;
using testing::HasSubstr;
using Kind = ChannelStep::Kind;

constexpr Span kAt{0, 10, 12}, kBt{0, 20, 22};

/// Roles over two channels, `at` and `bt`: P puts, T takes, F frees the first, p, t and f the second.
Channels channels(const std::string& asks, const std::string& computes, int slots = 2) {
  const auto steps = [](const std::string& letters) {
    std::vector<ChannelStep> out;
    for (const char c : letters) {
      const std::size_t channel = std::islower(static_cast<unsigned char>(c)) ? 1 : 0;
      const char what = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      out.push_back({what == 'P' ? Kind::Put : what == 'T' ? Kind::Take : Kind::Free, channel});
    }
    return out;
  };
  return {{{"at", kAt, slots}, {"bt", kBt, 1}}, {{"the one", steps(asks)}, {"the other", steps(computes)}}};
}

TEST(Channels, WhatIsPutTakenAndFreedIsWell) {
  EXPECT_FALSE(verify_channels(channels("", "")));
  EXPECT_FALSE(verify_channels(channels("PPPP", "TFTFTFTF")));
  EXPECT_FALSE(verify_channels(channels("PpPp", "TtFfTtFf")));
  EXPECT_FALSE(verify_channels(channels("PPp", "tTTFFf")));
}

TEST(Channels, WhatIsNeverTakenLeavesThemOutOfStep) {
  const auto fault = verify_channels(channels("PP", "TF"));
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->what, "`at` is filled 2 times, but taken 1 times and freed 1 times: the next instance would find it out of step");
  EXPECT_EQ(fault->span.begin, kAt.begin);
}

TEST(Channels, WhatIsNeverFreedLeavesThemOutOfStep) {
  const auto fault = verify_channels(channels("p", "t"));
  ASSERT_TRUE(fault);
  EXPECT_THAT(fault->what, HasSubstr("`bt` is filled 1 times, but taken 1 times and freed 0 times"));
  EXPECT_EQ(fault->span.begin, kBt.begin);
}

TEST(Channels, WhatIsNeverPutIsWaitedForForEver) {
  const auto fault = verify_channels(channels("P", "TFTF"));
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->what, "the other waits for `at`: it would wait for ever");
}

TEST(Channels, TooFewSlotsForWhatIsTakenLater) {
  // Both of `at` are put before `bt`, which the other wants first.
  const auto fault = verify_channels(channels("PPp", "tTFTFf", 1));
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->what, "the one waits for a free slot of `at`, which has 1, and the other waits for `bt`: it would wait for ever");
  EXPECT_EQ(fault->span.begin, kAt.begin);
  EXPECT_FALSE(verify_channels(channels("PPp", "tTFTFf", 2)));
}

TEST(Channels, WhatWasNotTakenCannotBeFreed) {
  const auto fault = verify_channels(channels("P", "FT"));
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->what, "the other frees a slot of `at` that it has not taken: it would wait for ever");
}

std::unique_ptr<ir::Kernel> kernel_of(const std::string& text) {
  SourceMap sources;
  Diagnostics problems;
  auto kernel = ir::parse_kernel(sources, sources.add("kernel.ir", text), problems);
  if (!kernel || !run_target_free_passes(*kernel, problems)) throw std::runtime_error(render(problems, sources));
  return kernel;
}

TEST(Channels, OfAPlanHoldForAnyNumberOfTrips) {
  const auto kernel = kernel_of(attention_text({.bm = 128}));
  const gpu::Plan plan(*kernel, {90, true}, {});
  ASSERT_TRUE(plan.roles());
  const Channels c = gpu::channels_of(*kernel, plan, 5, 2);
  // Numbers of instances, the ring of keys and values, the queries.
  ASSERT_EQ(c.channels.size(), 3U);
  EXPECT_EQ(c.channels[1].name, "kt");
  EXPECT_EQ(c.channels[2].name, "qt");
  // Five trips and one for the values that come behind, twice.
  EXPECT_EQ(c.roles[0].steps.size(), 2U * (1 + 6 + 1));
  EXPECT_NO_THROW(gpu::verify_channels(*kernel, plan));
}

TEST(Channels, WhatNoProductBehindReadsIsFreeBeforeTheLastOne) {
  const auto kernel = kernel_of(attention_text({.bm = 128}));
  const Schedule once{{{DirectiveKind::Persistent, {{.subject = "off", .index = {}, .number = {}, .word = ""}}, {}}}};
  const gpu::Plan plan(*kernel, {90, true}, once), doubled(*kernel, {90, true}, {});
  Channels c = gpu::channels_of(*kernel, plan, 5, 1);
  const auto at = [&](std::size_t role, Kind kind, std::size_t channel, int nth) {
    const auto& steps = c.roles[role].steps;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      if (steps[i].kind == kind && steps[i].channel == channel && nth-- == 0) return i;
    }
    return steps.size();
  };
  // The queries, after the last trip's product in step; the sixth slot is taken for the values of the fifth trip.
  EXPECT_LT(at(1, Kind::Take, 1, 4), at(1, Kind::Free, 2, 0));
  EXPECT_LT(at(1, Kind::Free, 2, 0), at(1, Kind::Take, 1, 5));
  // They are asked for before the slot that becomes free after them.
  const int slots = c.channels[1].slots;
  EXPECT_LT(at(0, Kind::Put, 1, slots - 2), at(0, Kind::Put, 2, 0));
  EXPECT_LT(at(0, Kind::Put, 2, 0), at(0, Kind::Put, 1, slots - 1));
  // With a slot of their own they are asked for at once.
  c = gpu::channels_of(*kernel, doubled, 5, 1);
  EXPECT_EQ(c.channels[2].slots, 2);
  EXPECT_LT(at(0, Kind::Put, 2, 0), at(0, Kind::Put, 1, 0));
}

TEST(Channels, APlanThatForgetsAStepIsRefused) {
  const auto kernel = kernel_of(attention_text({.bm = 128}));
  const gpu::Plan plan(*kernel, {90, true}, {});
  Channels c = gpu::channels_of(*kernel, plan, 5, 3);
  const auto drop = [&](std::size_t role, Kind kind, std::size_t channel) {
    Channels less = c;
    auto& steps = less.roles[role].steps;
    steps.erase(std::find_if(steps.begin(), steps.end(), [&](const ChannelStep& s) { return s.kind == kind && s.channel == channel; }));
    return verify_channels(less);
  };
  for (std::size_t channel = 0; channel < c.channels.size(); ++channel) {
    for (const auto& [role, kind] : {std::pair{0, Kind::Put}, {1, Kind::Take}, {1, Kind::Free}}) {
      EXPECT_TRUE(drop(static_cast<std::size_t>(role), kind, channel)) << c.channels[channel].name << " " << static_cast<int>(kind);
    }
  }
}

}  // namespace
}  // namespace tessera::test
