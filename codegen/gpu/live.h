// Which instances do anything: a condition of an instance's place, known before the instance begins.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "dsl/ir.h"

namespace tessera::gpu {

/// low < high + more, of idx scalars; or, where `flag` is given, that the bool scalar is `wanted`.
struct LiveTest {
  const ir::Value *low = nullptr, *high = nullptr;
  std::int64_t more = 0;
  const ir::Value* flag = nullptr;
  bool wanted = true;

  bool operator==(const LiveTest&) const = default;
};

/// What memory sees of an instance it sees by its stores and atomics. Those whose rows are none, or that stand in a branch that is not taken, are
/// nothing: an instance is live if the tests of one of them hold.
struct Live {
  std::vector<std::vector<LiveTest>> effects;
  /// Ops of the kernel's block that the tests are computed from, in order: those alike along the counted axis, then the others.
  std::vector<const ir::Op*> alike, along;
  /// Grid axes that the tests depend on. Along `counted` the live ones are the first: once there is nothing to do, there is nothing further on.
  std::vector<std::size_t> keys;
  std::optional<std::size_t> counted;
  /// Loops of the kernel's block, whose lengths are an instance's work, and the ops that these are computed from.
  std::vector<const ir::Op*> loops, lengths;
};

}  // namespace tessera::gpu
