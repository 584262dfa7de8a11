// A loop over rings of shared memory: what its trips share. Trip j finds its tiles in slot j mod slots.
#pragma once

#include <optional>
#include <vector>

#include "codegen/gpu/emit.h"

namespace tessera::gpu {

struct ThreadEmitter::RingLoop {
  const ir::Op& op;
  std::vector<int> stages;
  int slots = 2, behind = 0;  ///< behind: the most trips that a tile comes late
  LV *lo = nullptr, *hi = nullptr, *step = nullptr;
  const std::vector<Skew>& skews;
  std::optional<std::int64_t> barriers;  ///< filled by bulk copies: where the barriers lie in shared memory
  std::vector<const ir::Value*> results;
  const ir::Op* first_product = nullptr;  ///< of warpgroups, at the top of the body: behind it there is time for other things

  LV* later(LV* iv, std::int64_t trips, cpu::Emitter& e) const { return trips == 0 ? iv : e.add(iv, e.mul(step, e.idx(trips))); }
  const Skew* skew_of(const ir::Op* o) const {
    for (const Skew& s : skews) {
      if (s.dot == o || s.sum == o) return &s;
    }
    return nullptr;
  }
  const Skew* skew_at(std::size_t result) const {
    for (const Skew& s : skews) {
      if (s.carried == result) return &s;
    }
    return nullptr;
  }
};

}  // namespace tessera::gpu
