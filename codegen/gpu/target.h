// The GPUs that code is made for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

/// An NVIDIA architecture: "sm_80", "sm_90a". `specific` is the trailing `a`: code for this architecture alone.
struct GpuTarget {
  int sm = 80;
  bool specific = false;

  std::string name() const { return "sm_" + std::to_string(sm) + (specific ? "a" : ""); }
  /// The least PTX version (major * 10 + minor) that knows the architecture (PTX ISA, release history).
  int ptx() const;
  bool has_cp_async() const { return sm >= 80; }
  /// Most shared memory of one CTA in bytes, and of one SM (CUDA C++ Programming Guide, "Compute Capabilities").
  std::int64_t max_shared_cta() const;
  std::int64_t max_shared_sm() const { return max_shared_cta() + (sm >= 80 ? 1024 : 0); }
  friend bool operator==(const GpuTarget&, const GpuTarget&) = default;
};

/// Empty unless `name` is one of all_gpu_targets().
std::optional<GpuTarget> gpu_target_from_name(std::string_view name);
/// sm_75, sm_80, sm_86, sm_89, sm_90a, sm_100a, sm_120a.
std::vector<GpuTarget> all_gpu_targets();

}  // namespace tessera
