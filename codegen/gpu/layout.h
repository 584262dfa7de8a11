// How a tile's elements lie in the registers of a CTA's threads, as closed forms.
//
// A coordinate is a sum of digits. Each digit is taken from the register number, the lane or the warp of a thread:
//   coordinate = sum over digits of stride * ((source / divisor) mod size)
// so tile sizes need not be powers of two. Lanes and warps that no digit of a tile reads hold copies. An axis of extent 1 has no digits.
//
// The fragments of mma.sync are such sums (PTX ISA, "Matrix Fragments for mma.m16n8k16"): with g = lane / 4 and t = lane mod 4, an accumulator holds
// rows g and g + 8 of every 16, columns 2t and 2t + 1 of every 8; a 16-bit A operand holds the same elements.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dsl/type.h"

namespace tessera::gpu {

inline constexpr int kWarpLanes = 32;

enum class Source : std::uint8_t { Register, Lane, Warp };

struct Digit {
  Source source = Source::Register;
  std::int64_t size = 1;
  std::int64_t stride = 1;   ///< what one step of the digit adds to the coordinate
  std::int64_t divisor = 1;  ///< lanes and warps: the digit is (source / divisor) mod size
  friend bool operator==(const Digit&, const Digit&) = default;
};

/// One axis: its digits, by rising stride, none of size 1.
struct AxisPart {
  std::vector<Digit> digits;

  std::int64_t extent() const;  ///< product of the digits' sizes, at least the axis' extent
  /// Coordinates that the register digits alone reach, ascending: what one thread holds beside its own base.
  std::vector<std::int64_t> offsets() const;
  std::int64_t count(Source s) const;  ///< product of the sizes of the digits from `s`
  friend bool operator==(const AxisPart&, const AxisPart&) = default;
};

/// A tile's axes. Register number = row-major index over the axes' offsets.
struct Layout {
  std::vector<AxisPart> axes;

  std::int64_t registers() const;
  /// Two threads differ in the elements they hold wherever both read different digits: no lane or warp digit is read by two axes.
  bool sound() const;
  /// The layout of a tile with the same other axes whose axis `a` has extent 1.
  Layout collapsed(std::size_t a) const;
  std::string str() const;
  friend bool operator==(const Layout&, const Layout&) = default;
};

/// Drops digits of size 1.
AxisPart part(std::vector<Digit> digits);

/// Rows of mma.sync accumulators and A operands: `warps` warps (warp / divisor mod warps) hold equal blocks of rows. Padded to 16 * warps.
AxisPart mma_rows(std::int64_t extent, std::int64_t warps, std::int64_t divisor = 1);
/// Rows of wgmma accumulators: `groups` warpgroups (warp / (4 divisor) mod groups) hold equal blocks of whole 64 rows, of which warp w of a group has
/// 16 w .. 16 w + 15. Padded to 64 * groups.
AxisPart warpgroup_rows(std::int64_t extent, std::int64_t groups);
/// Columns of accumulators, and k of 16-bit A operands; padded to 8 * warps (or `multiple` * warps, 8 or 16).
AxisPart mma_cols(std::int64_t extent, std::int64_t warps = 1, std::int64_t divisor = 1, std::int64_t multiple = 8);
/// `vector` neighbours a thread, then lanes, then warps, then more registers. Padded to their product.
AxisPart strided(std::int64_t extent, std::int64_t vector, std::int64_t lanes, std::int64_t lane_divisor, std::int64_t warps,
                 std::int64_t warp_divisor);

}  // namespace tessera::gpu
