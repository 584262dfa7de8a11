// Boxes of tensors in swizzled shared memory, as bulk copies of either direction see them (PTX ISA 9.0, "Tensor Swizzling Modes").
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>

#include "codegen/simt/cta.h"

namespace tessera::simt {

/// Calls f(row, first, count, source) for the rows of a box: elements first .. first + count - 1 of 128 bytes are in the tensor, from `source` on.
template <class F>
void each_row(const BulkBox& b, F f) {
  const TensorMapValues& map = *b.map;
  std::int64_t outer = 1;
  for (std::size_t a = 1; a < map.rank; ++a) outer *= map.box[a];
  const std::int64_t first = std::clamp<std::int64_t>(-b.at[0], 0, map.box[0]);
  const std::int64_t end = std::clamp<std::int64_t>(static_cast<std::int64_t>(map.extents[0]) - b.at[0], 0, map.box[0]);
  for (std::int64_t row = 0; row < outer; ++row) {
    bool inside = first < end;
    std::uint64_t source = map.base + static_cast<std::uint64_t>((b.at[0] + first) * map.element_bytes);
    std::int64_t rest = row;
    for (std::size_t a = 1; a < map.rank; ++a) {
      const std::int64_t c = b.at[a] + rest % map.box[a];
      rest /= map.box[a];
      inside = inside && c >= 0 && static_cast<std::uint64_t>(c) < map.extents[a];
      source += static_cast<std::uint64_t>(c) * map.strides[a - 1];
    }
    f(row, inside ? first : 0, inside ? end - first : 0, reinterpret_cast<std::byte*>(source));
  }
}

/// Calls f(offset, there, bytes) for the elements of a box: `offset` in shared memory, whose rows of 128 bytes have their chunks permuted by address;
/// `there` in the tensor, null outside of it.
template <class F>
void each_element(const BulkBox& b, F f) {
  const auto bytes = static_cast<std::uint32_t>(b.map->element_bytes);
  each_row(b, [&](std::int64_t row, std::int64_t first, std::int64_t count, std::byte* there) {
    const std::uint32_t start = b.offset + static_cast<std::uint32_t>(row) * 128;
    for (std::uint32_t at = 0; at < 128; at += bytes) {
      const std::int64_t e = at / bytes - first;
      const std::uint32_t linear = start + at, offset = linear ^ ((linear >> 7 & 7) << 4);
      f(offset, e >= 0 && e < count ? there + e * bytes : nullptr, bytes);
    }
  });
}

/// A copy's operands as a box. Reports and records what it touches of the launch's tensors; empty if an operand is a fault.
std::optional<BulkBox> box_of(Thread& t, std::uint32_t site, std::uint32_t address, void* map, std::initializer_list<std::uint32_t> coordinates,
                              Touch touch);

}  // namespace tessera::simt
