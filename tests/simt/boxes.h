// Boxes of tensors, as bulk copies read them.
#pragma once

#include <numeric>

#include "kernel_builder.h"

namespace tessera::simt_test {

inline constexpr SimtPolicy kPolicies[] = {SimtPolicy::Random, SimtPolicy::Lazy, SimtPolicy::Eager};
inline constexpr std::int64_t kRow = 128;

/// A dense tensor and a box of it, innermost axis first.
struct Boxes {
  DType dtype;
  std::vector<std::int64_t> extents;
  std::vector<std::int64_t> box;
  std::vector<std::vector<std::int64_t>> at;  ///< of boxes, each to a place of its own
  std::int64_t offset = 0;                    ///< of the first one in shared memory

  std::int64_t cell() const { return bits(dtype) / 8; }
  std::int64_t elements() const { return std::accumulate(extents.begin(), extents.end(), std::int64_t{1}, std::multiplies<>()); }
  std::int64_t box_bytes() const { return std::accumulate(box.begin(), box.end(), cell(), std::multiplies<>()); }
  std::int64_t shared_bytes() const { return offset + box_bytes() * static_cast<std::int64_t>(at.size()); }
  /// Calls f(i, element) for the elements of the box at `corner`: the i-th is `element` of the tensor, or, outside of it, -1.
  template <class F>
  void each_element(const std::vector<std::int64_t>& corner, F f) const {
    for (std::int64_t i = 0; i < box_bytes() / cell(); ++i) {
      std::int64_t rest = i, element = 0, stride = 1;
      bool inside = true;
      for (std::size_t a = 0; a < extents.size(); ++a) {
        const std::int64_t c = corner[a] + rest % box[a];
        rest /= box[a];
        inside = inside && c >= 0 && c < extents[a];
        element += c * stride;
        stride *= extents[a];
      }
      f(i, inside ? element : -1);
    }
  }
  /// `kept`: under a policy of the cache, as the last argument.
  Primitive load(bool kept = false) const {
    using enum Primitive;
    constexpr Primitive all[] = {TmaLoad2, TmaLoad3, TmaLoad4, TmaLoad5}, under[] = {TmaLoadKept2, TmaLoadKept3, TmaLoadKept4, TmaLoadKept5};
    return (kept ? under : all)[extents.size() - 2];
  }
  Primitive store(bool kept = false) const {
    using enum Primitive;
    constexpr Primitive all[] = {TmaStore2, TmaStore3, TmaStore4, TmaStore5};
    constexpr Primitive under[] = {TmaStoreKept2, TmaStoreKept3, TmaStoreKept4, TmaStoreKept5};
    return (kept ? under : all)[extents.size() - 2];
  }
  /// The map whose extents and strides follow `words` words of the frame; the tensor is word 0.
  GpuTensorMap map(std::size_t words) const {
    GpuTensorMap m{0, dtype, {}};
    for (std::size_t a = 0; a < extents.size(); ++a) m.axes.push_back({words + 2 * a, words + 2 * a + 1, box[a]});
    return m;
  }
  std::vector<std::uint64_t> frame() const {
    std::vector<std::uint64_t> out;
    std::int64_t stride = 1;
    for (const std::int64_t e : extents) {
      out.push_back(static_cast<std::uint64_t>(e));
      out.push_back(static_cast<std::uint64_t>(stride));
      stride *= e;
    }
    return out;
  }
};

}  // namespace tessera::simt_test
