#include "codegen/gpu/channels.h"

#include <fmt/format.h>

#include <algorithm>

namespace tessera::gpu {

using ir::Op;
using Kind = ChannelStep::Kind;

namespace {

struct Counts {
  int put = 0, taken = 0, freed = 0;
};

std::string quoted(const Channel& c) { return c.name.empty() ? "a tile" : fmt::format("`{}`", c.name); }

/// Whether the step can be taken now; it is, if so.
bool advance(const ChannelStep& step, const Channel& channel, Counts& n) {
  switch (step.kind) {
    case Kind::Put: return n.put - n.freed < channel.slots && ++n.put > 0;
    case Kind::Take: return n.taken < n.put && ++n.taken > 0;
    case Kind::Free: return n.freed < n.taken && ++n.freed > 0;
  }
  return false;
}

std::string waits_for(const Role& role, const ChannelStep& step, const Channel& channel) {
  switch (step.kind) {
    case Kind::Put: return fmt::format("{} waits for a free slot of {}, which has {}", role.name, quoted(channel), channel.slots);
    case Kind::Take: return fmt::format("{} waits for {}", role.name, quoted(channel));
    case Kind::Free: return fmt::format("{} frees a slot of {} that it has not taken", role.name, quoted(channel));
  }
  return "";
}

}  // namespace

std::optional<ChannelFault> verify_channels(const Channels& all) {
  std::vector<Counts> counts(all.channels.size());
  std::vector<std::size_t> at(all.roles.size());
  for (bool moved = true; moved;) {
    moved = false;
    for (std::size_t r = 0; r < all.roles.size(); ++r) {
      const std::vector<ChannelStep>& steps = all.roles[r].steps;
      while (at[r] < steps.size() && advance(steps[at[r]], all.channels[steps[at[r]].channel], counts[steps[at[r]].channel])) {
        ++at[r];
        moved = true;
      }
    }
  }
  std::optional<ChannelFault> stalled;
  for (std::size_t r = 0; r < all.roles.size(); ++r) {
    if (at[r] == all.roles[r].steps.size()) continue;
    const ChannelStep& step = all.roles[r].steps[at[r]];
    const Channel& channel = all.channels[step.channel];
    if (!stalled) {
      stalled = ChannelFault{channel.span, waits_for(all.roles[r], step, channel)};
    } else {
      stalled->what += ", and " + waits_for(all.roles[r], step, channel);
    }
  }
  if (stalled) {
    stalled->what += ": it would wait for ever";
    return stalled;
  }
  for (std::size_t c = 0; c < counts.size(); ++c) {
    const Counts& n = counts[c];
    if (n.put == n.taken && n.taken == n.freed) continue;
    return ChannelFault{all.channels[c].span,
                        fmt::format("{} is filled {} times, but taken {} times and freed {} times: the next instance would find it out of step",
                                    quoted(all.channels[c]), n.put, n.taken, n.freed)};
  }
  return std::nullopt;
}

namespace {

/// Of the loops of one chain, so many trips in all; those that run behind take a slot more.
int slots_used(const Plan& plan, const Op& head, int trips) {
  int behind = 0;
  for (const int s : plan.rings_of(head)) behind = std::max(behind, plan.stages()[static_cast<std::size_t>(s)].behind);
  return trips == 0 ? 0 : trips + behind;
}

}  // namespace

Channels channels_of(const ir::Kernel& kernel, const Plan& plan, int trips, int instances) {
  Channels out;
  if (!plan.roles()) return out;
  const Roles& roles = *plan.roles();
  const auto& stages = plan.stages();
  const auto add = [&](int stage, int slots) {
    const ir::Value* source = stages[static_cast<std::size_t>(stage)].source;
    out.channels.push_back({source->hint, source->def->span, slots});
    return out.channels.size() - 1;
  };
  out.channels.push_back({"the instance's number", kernel.span, kTickets});
  std::map<const Op*, std::size_t> rings;
  std::map<int, std::size_t> tiles;
  // The tiles of a loop travel together.
  for (const Op* head : roles.chains) {
    const int first = plan.rings_of(*head)[0];
    rings[head] = add(first, stages[static_cast<std::size_t>(first)].slots);
  }
  for (const int s : roles.tiles) tiles[s] = add(s, stages[static_cast<std::size_t>(s)].slots);

  Role asks{"the asking warpgroup", {}}, computes{"those that compute", {}};
  for (int i = 0; i < instances; ++i) {
    asks.steps.push_back({Kind::Put, 0});
    computes.steps.insert(computes.steps.end(), {{Kind::Take, 0}, {Kind::Free, 0}});
    std::vector<int> waiting;
    const auto ask_waiting = [&] {
      for (const int s : waiting) asks.steps.push_back({Kind::Put, tiles.at(s)});
      waiting.clear();
    };
    std::vector<int> freed;
    const auto free_early = [&](const Op& loop) {
      for (const int s : plan.freed_in_last_trip(loop)) {
        freed.push_back(s);
        computes.steps.push_back({Kind::Free, tiles.at(s)});
      }
    };
    for (const auto& op : kernel.body.ops) {
      for (const auto& [s, channel] : tiles) {
        if (stages[static_cast<std::size_t>(s)].source->def != op.get()) continue;
        waiting.push_back(s);
        computes.steps.push_back({Kind::Take, channel});
      }
      if (const auto ring = rings.find(op.get()); ring != rings.end()) {
        const int all = slots_used(plan, *op, trips), ahead = std::min(all, plan.trips_before_tiles(*op));
        asks.steps.insert(asks.steps.end(), static_cast<std::size_t>(ahead), {Kind::Put, ring->second});
        ask_waiting();
        asks.steps.insert(asks.steps.end(), static_cast<std::size_t>(all - ahead), {Kind::Put, ring->second});
        // Sums leave a slot a trip later.
        const int held = plan.sums_up(*op) ? 1 : 0;
        for (int t = 0; t < all; ++t) {
          computes.steps.push_back({Kind::Take, ring->second});
          if (t >= held) computes.steps.push_back({Kind::Free, ring->second});
          if (t + 1 == trips) free_early(*op);
        }
        if (trips == 0) free_early(*op);
        if (all > 0) computes.steps.insert(computes.steps.end(), static_cast<std::size_t>(held), {Kind::Free, ring->second});
      }
      for (const auto& [s, channel] : tiles) {
        if (plan.last_reader(s) == op.get() && std::find(freed.begin(), freed.end(), s) == freed.end())
          computes.steps.push_back({Kind::Free, channel});
      }
    }
    ask_waiting();
  }
  out.roles = {std::move(asks), std::move(computes)};
  return out;
}

void verify_channels(const ir::Kernel& kernel, const Plan& plan) {
  if (!plan.roles()) return;
  int slots = 1;
  for (const Stage& s : plan.stages()) slots = std::max(slots, s.slots);
  for (int trips = 0; trips <= 2 * slots + 1; ++trips) {
    if (const auto fault = verify_channels(channels_of(kernel, plan, trips, 3)))
      throw Unsupported{fault->span, fmt::format("its schedule stalls in loops of {} trips: {}", trips, fault->what)};
  }
}

}  // namespace tessera::gpu
