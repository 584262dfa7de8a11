// The launch frame: what one launch hands to a compiled or interpreted kernel, and nothing else.
//
// A frame is a flat array of 64-bit words. The layout is fixed by the kernel's parameters:
//   for each present view parameter, in order:  base address, extent of each axis, stride of each axis in elements
//     (a peer view: W base addresses first)
//   for each scalar parameter, in order:        its bits in the low bytes of one word (floats as their own bit pattern, idx as int64)
//   for each launch symbol, in order:           its value
// Sub-byte views count their strides in elements; the base is byte-aligned and the low nibble is the even element.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dsl/ir.h"

namespace tessera {

/// Word offsets of one parameter in the frame.
struct FrameSlot {
  std::size_t base = 0;     ///< address word(s) of a view, or the scalar's word
  std::size_t extents = 0;  ///< first extent word
  std::size_t strides = 0;  ///< first stride word
};

struct FrameLayout {
  std::vector<FrameSlot> params;     ///< by parameter index; unused for absent views
  std::vector<std::size_t> symbols;  ///< by symbol index
  std::size_t words = 0;
};
FrameLayout frame_layout(const ir::Kernel& kernel);

/// Counts of the grid axes of a launch, from the symbols in a frame; their product is the number of instances.
std::vector<std::int64_t> grid_counts(const ir::Kernel& kernel, const FrameLayout& layout, const std::vector<std::uint64_t>& frame);

/// What a compiled CPU kernel looks like: runs one grid instance. `instance` is linear, first grid axis fastest. `arena` is scratch memory of
/// the size the compiled object reports, 64-byte aligned, private to the calling thread.
using CpuEntry = void (*)(const std::uint64_t* frame, std::int64_t instance, const std::int64_t* grid, void* arena);
/// Runs instances first .. first + count, in order. Preferred: consecutive instances share packed operands.
using CpuRangeEntry = void (*)(const std::uint64_t* frame, std::int64_t first, std::int64_t count, const std::int64_t* grid, void* arena);

}  // namespace tessera
