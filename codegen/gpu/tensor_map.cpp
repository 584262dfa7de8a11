#include "codegen/gpu/tensor_map.h"

namespace tessera {

std::optional<TensorMapValues> tensor_map_values(const GpuTensorMap& map, std::span<const std::uint64_t> frame) {
  TensorMapValues out;
  out.base = frame[map.base];
  out.element_bytes = bits(map.dtype) / 8;
  out.rank = map.axes.size();
  if (out.base % 16 != 0) return std::nullopt;
  for (std::size_t a = 0; a < out.rank; ++a) {
    const GpuTensorMap::Axis& axis = map.axes[a];
    const std::uint64_t extent = frame[axis.extent], stride = frame[axis.stride];
    if (extent == 0 || extent > std::uint64_t{1} << 32) return std::nullopt;
    out.extents.at(a) = extent;
    out.box.at(a) = static_cast<std::uint32_t>(axis.box);
    if (a == 0) {
      if (stride != 1) return std::nullopt;
      continue;
    }
    // An axis of one element is never stepped along; its stride may be anything.
    const std::uint64_t bytes = extent == 1 ? 16 : stride * static_cast<std::uint64_t>(out.element_bytes);
    if (bytes % 16 != 0 || bytes == 0 || bytes >= std::uint64_t{1} << 40) return std::nullopt;
    out.strides.at(a - 1) = bytes;
  }
  return out;
}

}  // namespace tessera
