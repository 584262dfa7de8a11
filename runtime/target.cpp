#include "runtime/target.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>

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
    {Target::Cuda, "cuda", "", "machine code for an NVIDIA GPU: cuda:N is GPU N, sm_90a and others an architecture"},
    {Target::Simt, "simt:sm_NN", "", "a simulated GPU on this processor: reports races, bounds and deadlocks of an architecture's code"},
};

const TargetInfo& target_info(Target t) { return targets[static_cast<std::size_t>(t)]; }

const char* family_of(const GpuTarget& gpu) {
  switch (gpu.sm / 10) {
    case 9: return "sm90";
    case 10: return "sm100";
    default: return "sm80";
  }
}

}  // namespace

std::optional<TargetName> read_target(const std::string& text) {
  for (const TargetInfo& t : targets) {
    if (text == t.name && t.target != Target::Simt)
      return TargetName{t.target, std::nullopt, t.target == Target::Cuda ? std::optional(0) : std::nullopt};
  }
  if (text.starts_with("cuda:")) {
    int device = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + 5, end, device);
    if (error != std::errc() || stop != end || device < 0) return std::nullopt;
    return TargetName{Target::Cuda, std::nullopt, device};
  }
  if (text.starts_with("simt:")) {
    const auto gpu = gpu_target_from_name(text.substr(5));
    return gpu ? std::optional(TargetName{Target::Simt, gpu, std::nullopt}) : std::nullopt;
  }
  if (const auto gpu = gpu_target_from_name(text)) return TargetName{Target::Cuda, gpu, std::nullopt};
  return std::nullopt;
}

std::optional<Target> target_from_name(const std::string& text) {
  const std::optional<TargetName> t = read_target(text);
  return t ? std::optional(t->target) : std::nullopt;
}

std::string target_names() {
  std::vector<std::string> out;
  for (const TargetInfo& t : targets) out.emplace_back(t.name);
  out.emplace_back("cuda:N");
  for (const GpuTarget& t : all_gpu_targets()) out.push_back(t.name());
  return fmt::format("the targets are {}", fmt::join(out, ", "));
}

const char* name(Target t) { return target_info(t).name; }
const char* schedule_family(Target t, const std::optional<GpuTarget>& gpu) { return gpu ? family_of(*gpu) : target_info(t).family; }
const char* describe(Target t) { return target_info(t).description; }
std::vector<Target> all_targets() {
  std::vector<Target> out;
  for (const TargetInfo& t : targets) out.push_back(t.target);
  return out;
}

}  // namespace tessera
