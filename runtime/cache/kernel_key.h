// The keys of a kernel's entries.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "dsl/ir.h"
#include "dsl/schedule.h"
#include "runtime/cache/key.h"
#include "runtime/target.h"
#include "tessera/context.h"

namespace tessera::cache {

/// The rows of inputs.def, as text.
struct KernelInputs {
#define TESSERA_KEY_INPUT(name, doc) std::string name;
#include "runtime/cache/inputs.def"

  Key key() const;
};

/// The inputs that do not come from the kernel: target, machine, compiler, llvm, driver. `context`: the device to load the code on, if there is one.
KernelInputs machine_inputs(Target target, const std::optional<GpuTarget>& gpu, const std::optional<Context>& context);
/// Completed by those that do.
KernelInputs kernel_inputs(KernelInputs machine, const ir::Kernel& kernel, const Schedule& schedule, bool debug);

}  // namespace tessera::cache
