// A loop over rings of shared memory, in one part or several (Plan::continued_by): what its trips share. Trip j finds its tiles in slot j mod slots.
#pragma once

#include <optional>
#include <vector>

#include "codegen/gpu/emit.h"

namespace tessera::gpu {

/// One part: a loop and what belongs to it.
struct ThreadEmitter::RingPart {
  const ir::Op& op;
  std::vector<int> stages;
  const std::vector<Skew>& skews;
  LV *lo = nullptr, *hi = nullptr;
  const ir::Op* first_product = nullptr;  ///< of warpgroups, at the top of the body: behind it there is time for other things

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

struct ThreadEmitter::RingLoop {
  std::vector<RingPart> parts;
  int slots = 2, behind = 0;  ///< behind: the most trips that a tile comes late, 0 or 1
  /// How many trips ahead tiles are fetched. Bulk copies leave one slot more alone where there are three: the thread that asks for tiles would
  /// otherwise wait for the slowest warp of the trip before, and all warps would march in step.
  int distance() const { return barriers && slots > 2 ? slots - 2 : slots - 1; }
  LV* step = nullptr;
  bool fed = false;                       ///< others fill it
  std::optional<std::int64_t> barriers;   ///< filled by bulk copies: where the barriers lie in shared memory
  std::vector<const ir::Value*> results;  ///< of the last part; those of the others have the same layouts

  std::vector<int> tiles;              ///< of the instance, free within the last trip
  LV* end = nullptr;                   ///< of the last part that has trips
  const SharedBody* shared = nullptr;  ///< one code for the first trip and for those with masks

  const RingPart& first() const { return parts.front(); }
};

/// Where in its rings a trip stands.
struct ThreadEmitter::Turn {
  LV* slot = nullptr;
  LV* parity = nullptr;  ///< bulk copies: of how often the ring went round
  /// Of who fills the ring. The trip whose tiles are to be fetched next, the number of the part it is of (i32), and the trip before it.
  LV *ahead = nullptr, *part = nullptr, *before = nullptr, *before_exists = nullptr;
};

}  // namespace tessera::gpu
