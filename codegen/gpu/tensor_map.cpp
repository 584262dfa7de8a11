#include "codegen/gpu/tensor_map.h"

namespace tessera {

std::optional<TensorMapValues> tensor_map_values(const GpuTensorMap& map, std::span<const std::uint64_t> frame) {
  TensorMapValues out;
  out.base = frame[map.base];
  out.element_bytes = bits(map.dtype) / 8;
  if (out.base % 16 != 0) return std::nullopt;
  for (std::size_t a = 0; a < map.axes.size(); ++a) {
    const GpuTensorMap::Axis& axis = map.axes[a];
    const std::uint64_t extent = frame[axis.extent], stride = frame[axis.stride];
    if (extent == 0 || extent > std::uint64_t{1} << 32) return std::nullopt;
    out.extents.push_back(extent);
    out.box.push_back(static_cast<std::uint32_t>(axis.box));
    if (a == 0) {
      if (stride != 1) return std::nullopt;
      continue;
    }
    // An axis of one element is never stepped along; its stride may be anything.
    const std::uint64_t bytes = extent == 1 ? 16 : stride * static_cast<std::uint64_t>(out.element_bytes);
    if (bytes % 16 != 0 || bytes == 0 || bytes >= std::uint64_t{1} << 40) return std::nullopt;
    out.strides.push_back(bytes);
  }
  return out;
}

}  // namespace tessera
