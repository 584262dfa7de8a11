// Whether strided boxes of memory share bytes. Exact where the search stays small, which it does for the nested strides of real tensors;
// else the answer is the cautious one.
#pragma once

#include <cstdint>
#include <span>

namespace tessera {

/// A box: `extents` elements along each axis, `strides` apart, both counted in elements of `bits` bits.
struct StridedBox {
  std::uintptr_t base = 0;
  int bits = 8;
  std::span<const std::int64_t> extents;
  std::span<const std::int64_t> strides;  ///< not negative
};

/// Some byte belongs to both. Precondition: the boxes end within the address space.
bool overlap(const StridedBox& a, const StridedBox& b);

/// Two different indices name the same element. Strides of axes with fewer than two elements do not count.
bool overlaps_itself(const StridedBox& a);

}  // namespace tessera
