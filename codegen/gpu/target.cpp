#include "codegen/gpu/target.h"

namespace tessera {

int GpuTarget::ptx() const {
  switch (sm) {
    case 75: return 63;
    case 80: return 70;
    case 86: return 71;
    case 89: return 78;
    case 90: return specific ? 80 : 78;
    case 100: return 86;
    case 120: return 87;
  }
  return 87;
}

std::int64_t GpuTarget::max_shared_cta() const {
  switch (sm) {
    case 75: return 64 << 10;
    case 80: return 163 << 10;
    case 86:
    case 89:
    case 120: return 99 << 10;
  }
  return 227 << 10;
}

std::vector<GpuTarget> all_gpu_targets() { return {{75}, {80}, {86}, {89}, {90, true}, {100, true}, {120, true}}; }

std::optional<GpuTarget> gpu_target_from_name(std::string_view name) {
  for (const GpuTarget& t : all_gpu_targets()) {
    if (t.name() == name) return t;
  }
  return std::nullopt;
}

}  // namespace tessera
