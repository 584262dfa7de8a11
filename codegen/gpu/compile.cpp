#include "codegen/gpu/compile.h"

#include <fmt/format.h>
#include <llvm/IR/Verifier.h>
#include <llvm/Support/raw_ostream.h>

#include "codegen/gpu/channels.h"
#include "codegen/gpu/emit.h"

namespace tessera {
namespace {

Schedule without_roles(Schedule schedule) {
  schedule.directives.push_back({DirectiveKind::Roles, {{.subject = "producer", .index = {}, .number = 0, .word = ""}}, {}});
  return schedule;
}

/// What the plan has that a refusal may be about.
struct Planned {
  std::optional<Span> ring;  ///< the directive that asks for the depth of a ring
  bool roles = false;
};

Planned emit(const ir::Kernel& kernel, const GpuTarget& target, const GpuOptions& options, const Schedule& schedule, GpuIr& out) {
  out.context = std::make_unique<llvm::LLVMContext>();
  out.module = std::make_unique<llvm::Module>(kernel.name, *out.context);
  const gpu::Plan plan(kernel, target, schedule);
  gpu::verify_channels(kernel, plan);
  gpu::ThreadEmitter(kernel, plan, target, options, *out.module).emit(out);
  out.assembler_level = plan.assembler_level();
  return {plan.asked_ring(), plan.roles().has_value()};
}

}  // namespace

GpuIr emit_gpu(const ir::Kernel& kernel, const GpuTarget& target, const GpuOptions& options, Diagnostics& diagnostics) {
  GpuIr out;
  Planned planned;
  try {
    planned = emit(kernel, target, options, options.schedule, out);
    // Where tiles of the next instance lie while this one ends, there may be no room left for what the end exchanges.
    if (planned.roles && out.shared_bytes > target.max_shared_cta()) {
      out.module.reset();  // before its context
      out = GpuIr();
      planned = emit(kernel, target, options, without_roles(options.schedule), out);
    }
  } catch (const gpu::Unsupported& u) {
    Diagnostic d;
    d.code = Code::E0804;
    d.span = u.span;
    d.message = fmt::format("`{}` cannot run on {}: {}", kernel.name, target.name(), u.what);
    diagnostics.add(std::move(d));
    out.module.reset();
    return out;
  }
  std::string problem;
  llvm::raw_string_ostream os(problem);
  TESSERA_ASSERT(!llvm::verifyModule(*out.module, &os), fmt::format("GPU code of {} does not verify: {}", kernel.name, problem));
  std::int64_t instructions = 0;
  for (const llvm::Function& f : *out.module) {
    for (const llvm::BasicBlock& b : f) instructions += static_cast<std::int64_t>(b.size());
  }
  const auto refuse = [&](Code code, Span span, const std::string& message, const std::string& help) {
    Diagnostic d;
    d.code = code;
    d.span = span;
    d.message = message;
    d.help = help;
    diagnostics.add(std::move(d));
    out.module.reset();
  };
  if (instructions > options.max_instructions) {
    refuse(Code::E0601, kernel.span,
           fmt::format("`{}` needs {} instructions on {}, but the limit is {}", kernel.name, instructions, target.name(), options.max_instructions),
           "smaller tiles make less code");
  } else if (out.shared_bytes > target.max_shared_cta()) {
    refuse(Code::E0606, planned.ring.value_or(kernel.span),
           fmt::format("`{}` needs {} bytes of shared memory, but {} has {}", kernel.name, out.shared_bytes, target.name(), target.max_shared_cta()),
           planned.ring ? "its schedule asks for rings of so many slots; fewer, or smaller tiles, take less" : "choose smaller tiles");
  }
  return out;
}

}  // namespace tessera
