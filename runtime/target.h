// Where kernels can run, by name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tessera {

enum class Target : std::uint8_t { Cpu, Interp, InterpExact };
/// "cpu", "interp", "interp:exact"; empty if there is no such target.
std::optional<Target> target_from_name(const std::string& name);
const char* name(Target t);
std::vector<Target> all_targets();
/// The family whose schedules apply: "cpu" or "".
const char* schedule_family(Target t);
/// One sentence for `tessera targets`.
const char* describe(Target t);

}  // namespace tessera
