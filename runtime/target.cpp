#include "runtime/target.h"

namespace tessera {
namespace {

struct TargetInfo {
  Target target;
  const char* name;
  const char* family;
  const char* description;
};
constexpr TargetInfo targets[] = {
    {Target::Cpu, "cpu", "cpu", "machine code for this processor, on a pool of threads"},
    {Target::Interp, "interp", "", "the reference interpreter: every operation rounds to its type"},
    {Target::InterpExact, "interp:exact", "", "the reference interpreter in float64 without rounding: the numerical oracle"},
};

const TargetInfo& target_info(Target t) { return targets[static_cast<std::size_t>(t)]; }

}  // namespace

std::optional<Target> target_from_name(const std::string& name) {
  for (const TargetInfo& t : targets) {
    if (name == t.name) return t.target;
  }
  return std::nullopt;
}
const char* name(Target t) { return target_info(t).name; }
const char* schedule_family(Target t) { return target_info(t).family; }
const char* describe(Target t) { return target_info(t).description; }
std::vector<Target> all_targets() {
  std::vector<Target> out;
  for (const TargetInfo& t : targets) out.push_back(t.target);
  return out;
}

}  // namespace tessera
