// Channels: slots in shared memory that one role fills and another empties, and what each role does with them in the order of its code. The verifier
// runs the roles against each other for small numbers of trips: what is put is taken and freed as often, no slot is overwritten, and nobody waits for
// ever. Everything is counted in whole tiles; that bytes and warps arrive as they should is the simulated GPU's to check.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "codegen/gpu/plan.h"

namespace tessera::gpu {

struct Channel {
  std::string name;  ///< of what it carries
  Span span;         ///< of the statement that loads it
  int slots = 1;
};

/// What a role does with a channel. Put waits for a free slot and fills it, Take waits for a full one, Free gives the oldest one taken back.
struct ChannelStep {
  enum class Kind : std::uint8_t { Put, Take, Free };
  Kind kind{};
  std::size_t channel = 0;
};

struct Role {
  std::string name;  ///< "the asking warpgroup"
  std::vector<ChannelStep> steps;
};

struct Channels {
  std::vector<Channel> channels;
  std::vector<Role> roles;
};

struct ChannelFault {
  Span span;  ///< of the statement that loads what the fault is about
  std::string what;
};

/// Runs the roles to their ends. Empty if all is well.
std::optional<ChannelFault> verify_channels(const Channels& channels);

/// Of a plan with roles: what a CTA does in `instances` of them, in which every loop has `trips` trips. No channels for a plan without.
Channels channels_of(const ir::Kernel& kernel, const Plan& plan, int trips, int instances);

/// Throws Unsupported if the channels of the plan do not hold for every number of trips up to more than twice the slots.
void verify_channels(const ir::Kernel& kernel, const Plan& plan);

}  // namespace tessera::gpu
