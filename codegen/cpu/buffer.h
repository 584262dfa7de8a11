// Tiles in the arena: where they start, and in which order their elements lie.
//
// One axis, the lane axis, is innermost and cut into strips of a multiple of 16 elements, so that a lane vector along it is one aligned load:
// offset = ((strip * others) + index in the other axes, row-major) * strip size + position in the strip. With one strip this is row-major order
// with the lane axis last. A *local* tile holds one strip, or one slice of a fixed axis: the part that the region under way works on.
#pragma once

#include <algorithm>

#include "codegen/cpu/memory.h"
#include "dsl/type.h"

namespace tessera::cpu {

inline std::int64_t round_up(std::int64_t x, std::int64_t to) { return (x + to - 1) / to * to; }

struct Layout {
  int lane = -1;           ///< axis; -1: a tile of one element
  std::int64_t strip = 0;  ///< elements, a multiple of kLanes
  bool local = false;      ///< one strip only
  int fixed = -1;          ///< an axis of which one slice is held at a time

  friend bool operator==(const Layout&, const Layout&) = default;
};

/// Row-major with the lane axis last, in one strip.
inline Layout whole_layout(const ir::Dims& dims, int lane) {
  Layout l;
  l.lane = lane;
  l.strip = lane < 0 ? kLanes : round_up(dims[static_cast<std::size_t>(lane)], kLanes);
  return l;
}
/// The lane axis is the last one that is not 1: row-major order.
inline Layout row_major_layout(const ir::Dims& dims) {
  int lane = -1;
  for (std::size_t i = 0; i < dims.size(); ++i)
    if (dims[i] != 1 || lane < 0) lane = static_cast<int>(i);
  return whole_layout(dims, lane);
}

struct Buffer {
  std::int64_t offset = 0;  ///< bytes from the arena's start
  DType dtype = DType::F32;
  ir::Dims dims;
  Layout layout;

  std::int64_t others() const {
    std::int64_t n = 1;
    for (std::size_t i = 0; i < dims.size(); ++i)
      if (static_cast<int>(i) != layout.lane && static_cast<int>(i) != layout.fixed) n *= dims[i];
    return n;
  }
  std::int64_t elements() const {
    if (layout.lane < 0) return kLanes;
    const std::int64_t n = dims[static_cast<std::size_t>(layout.lane)];
    return others() * (layout.local ? layout.strip : round_up(n, layout.strip));
  }
  std::int64_t bytes() const { return elements() * arena_cell(dtype).bytes(); }
};

/// Hands out the arena's bytes: a stack, released block by block.
class Arena {
 public:
  static constexpr std::int64_t kReport = 64;  ///< CpuReport comes first

  std::int64_t take(std::int64_t bytes) {
    const std::int64_t at = top_;
    top_ = round_up(top_ + bytes, 64);
    most_ = std::max(most_, top_);
    return at;
  }
  std::int64_t mark() const { return top_; }
  void release(std::int64_t mark) { top_ = mark; }
  std::int64_t most() const { return most_; }

 private:
  std::int64_t top_ = kReport, most_ = kReport;
};

}  // namespace tessera::cpu
