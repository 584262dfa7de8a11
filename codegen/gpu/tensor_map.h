// What a launch puts into a tensor map.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "codegen/gpu/compile.h"

namespace tessera {

struct TensorMapValues {
  std::uint64_t base = 0;
  int element_bytes = 2;
  std::vector<std::uint64_t> extents;  ///< elements, innermost axis first
  std::vector<std::uint64_t> strides;  ///< bytes, of all axes but the innermost
  std::vector<std::uint32_t> box;
};

/// Empty where bulk copies cannot read the tensor (CUDA Driver API, cuTensorMapEncodeTiled): an address or a stride that is no multiple of 16 bytes, an
/// innermost stride other than 1, an extent that is 0 or over 2^32.
std::optional<TensorMapValues> tensor_map_values(const GpuTensorMap& map, std::span<const std::uint64_t> frame);

}  // namespace tessera
