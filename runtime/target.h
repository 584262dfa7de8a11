// Where kernels can run, by name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "codegen/gpu/target.h"

namespace tessera {

enum class Target : std::uint8_t { Cpu, Interp, InterpExact, Cuda, Simt };

/// What the name of a target says.
struct TargetName {
  Target target = Target::Cpu;
  std::optional<GpuTarget> gpu;  ///< the architecture, if the name gives one: "sm_90a", "simt:sm_90a"
  std::optional<int> device;     ///< the GPU to ask for its architecture: "cuda", "cuda:1"
};
/// "cpu", "interp", "interp:exact", "cuda", "cuda:N", "sm_NN", "simt:sm_NN"; empty if there is no such target.
std::optional<TargetName> read_target(const std::string& name);
/// The target alone.
std::optional<Target> target_from_name(const std::string& name);
/// What to write, for messages.
std::string target_names();

const char* name(Target t);
std::vector<Target> all_targets();
/// The family whose schedules apply: "cpu", "sm80", "sm90", "sm100" or "". `gpu` is the architecture, for targets that have one.
const char* schedule_family(Target t, const std::optional<GpuTarget>& gpu);
/// One sentence for `tessera targets`.
const char* describe(Target t);

}  // namespace tessera
