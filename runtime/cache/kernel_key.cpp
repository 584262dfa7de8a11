#include "runtime/cache/kernel_key.h"

#include <fmt/format.h>

#include "codegen/cpu/target.h"
#include "runtime/cache/head.h"
#include "runtime/cuda_device.h"

namespace tessera::cache {

Key KernelInputs::key() const {
  Fields fields;
#define TESSERA_KEY_INPUT(name, doc) fields.add(#name, name);
#include "runtime/cache/inputs.def"
  return fields.key();
}

KernelInputs machine_inputs(Target target, const std::optional<GpuTarget>& gpu, const std::optional<Context>& context) {
  KernelInputs out;
  out.compiler = build_id();
  out.llvm = llvm_version();
  out.target = target == Target::Cuda && gpu ? gpu->name() : name(target);
  if (target == Target::Cpu) {
    static const std::string host = CpuTarget::host().key();  // of the processor, so the same all the process's life
    out.machine = host;
  }
  if (context && context->is_cuda()) {
    const cuda::Properties& p = context->gpu()->properties();
    out.driver = fmt::format("{}, compute capability {}.{}", context->gpu()->api().version(), p.major, p.minor);
  }
  return out;
}

KernelInputs kernel_inputs(KernelInputs machine, const ir::Kernel& kernel, const Schedule& schedule, bool debug) {
  KernelInputs out = std::move(machine);
  out.ir = canonical_text(kernel, schedule);
  for (const auto& [name, value] : kernel.constants) out.constants += fmt::format("{}:{}={}:{};", name.size(), name, value.size(), value);
  out.schedule = schedule_text(schedule);
  out.options = debug ? "debug " + places_text(kernel) : "";
  return out;
}

}  // namespace tessera::cache
