// What a launch puts into a tensor map.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "codegen/gpu/compile.h"

namespace tessera {

/// Without memory of its own: launches allocate nothing.
struct TensorMapValues {
  std::uint64_t base = 0;
  int element_bytes = 2;
  std::size_t rank = 0;                    ///< 2 to 5 axes, innermost first
  std::array<std::uint64_t, 5> extents{};  ///< elements
  std::array<std::uint64_t, 4> strides{};  ///< bytes, of all axes but the innermost
  std::array<std::uint32_t, 5> box{};
};

/// Empty where bulk copies cannot read the tensor (CUDA Driver API, cuTensorMapEncodeTiled): an address or a stride that is no multiple of 16 bytes,
/// an innermost stride other than 1, an extent that is 0 or over 2^32.
std::optional<TensorMapValues> tensor_map_values(const GpuTensorMap& map, std::span<const std::uint64_t> frame);

}  // namespace tessera
