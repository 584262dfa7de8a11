#include "codegen/cpu/compile.h"

#include <fmt/format.h>

#include <chrono>

#include "codegen/cpu/emit.h"
#include "codegen/cpu/machine.h"
#include "codegen/cpu/object.h"
#include "codegen/cpu/wishes.h"

namespace tessera {

namespace {

using Clock = std::chrono::steady_clock;
double ms_since(Clock::time_point t) { return std::chrono::duration<double, std::milli>(Clock::now() - t).count(); }

/// Adds a diagnostic for everything the CPU cannot run.
void refuse_unsupported(const ir::Kernel& kernel, Diagnostics& diagnostics) {
  auto refuse = [&](Span span, const std::string& what) {
    Diagnostic d;
    d.code = Code::E0804;
    d.span = span;
    d.message = what + " is not supported on the CPU";
    diagnostics.add(std::move(d));
  };
  for (const ir::Param& p : kernel.params)
    if (p.peers > 0) refuse(p.span, fmt::format("the peer view `{}`", p.name));
  ir::walk(kernel.body, [&](const ir::Op& op) {
    if (op.kind == ir::OpKind::Signal || op.kind == ir::OpKind::Wait) refuse(op.span, fmt::format("`{}`", ir::info(op.kind).name));
  });
}

struct Built {
  std::unique_ptr<llvm::LLVMContext> context = std::make_unique<llvm::LLVMContext>();
  std::unique_ptr<llvm::Module> module;
  std::unique_ptr<llvm::TargetMachine> machine;
  CpuObject object;
  bool ok = false;
};

Built build(const ir::Kernel& kernel, const CpuTarget& target, const CpuOptions& options, Diagnostics& diagnostics) {
  Built r;
  const std::size_t before = diagnostics.count();
  refuse_unsupported(kernel, diagnostics);
  const cpu::Wishes wishes = cpu::wishes_of(kernel, options.schedule, diagnostics);
  if (diagnostics.count() != before) return r;
  auto t = Clock::now();
  r.machine = cpu::create_machine(target, options.codegen_level);
  r.module = std::make_unique<llvm::Module>(kernel.name, *r.context);
  r.module->setDataLayout(r.machine->createDataLayout());
  r.module->setTargetTriple(r.machine->getTargetTriple());
  const cpu::VectorTarget vectors = cpu::vector_target(*r.machine);
  cpu::Emitter e(*r.module, vectors);
  if (kernel.strict) e.b.clearFastMathFlags();
  cpu::Analysis analysis(kernel);
  const cpu::Plan plan(analysis, vectors);
  for (const auto& [loop, unroll] : wishes.unrolls) {
    if (!plan.gemm_loop(*loop)) continue;
    const std::string name = loop->region().args[0]->hint;
    cpu::refuse(kernel, unroll.span, fmt::format("unroll {}: {}", name, unroll.count),
                fmt::format("the loop over `{}` is one product of its whole range, blocked for the caches", name), diagnostics);
  }
  if (diagnostics.count() != before) return r;
  r.object.entry = "tessera_kernel";
  r.object.range_entry = "tessera_kernel_range";
  cpu::KernelEmitter emitter(analysis, plan, wishes, e, options);
  emitter.emit(r.object.entry, r.object.range_entry);
  cpu::set_vector_attributes(*r.module, target.cpu, r.machine->getTargetFeatureString());
  r.object.arena_bytes = static_cast<std::size_t>(emitter.arena_bytes());
  r.object.checks = emitter.take_checks();
  r.object.instructions = r.module->getInstructionCount();
  r.object.times.emit_ms = ms_since(t);
  if (r.object.instructions > options.max_instructions) {
    Diagnostic d;
    d.code = Code::E0601;
    d.span = kernel.span;
    d.message = fmt::format("kernel `{}` becomes {} machine operations, more than the limit of {}", kernel.name, r.object.instructions,
                            options.max_instructions);
    d.help = "use smaller tiles, or run-time loops instead of `for const`";
    diagnostics.add(std::move(d));
    return r;
  }
  t = Clock::now();
  cpu::verify_module(*r.module);
  r.object.times.verify_ms = ms_since(t);
  r.ok = true;
  return r;
}

void optimise(Built& r) {
  const auto t = Clock::now();
  cpu::run_passes(*r.module, *r.machine, cpu::kCpuPasses);
  r.object.times.passes_ms = ms_since(t);
}

}  // namespace

CpuObject compile_cpu(const ir::Kernel& kernel, const CpuTarget& target, const CpuOptions& options, Diagnostics& diagnostics) {
  Built r = build(kernel, target, options, diagnostics);
  if (!r.ok) return std::move(r.object);
  optimise(r);
  const auto t = Clock::now();
  r.object.object = cpu::emit_object_bytes(*r.module, *r.machine);
  r.object.times.codegen_ms = ms_since(t);
  return std::move(r.object);
}

std::string emit_llvm(const ir::Kernel& kernel, const CpuTarget& target, const CpuOptions& options, Diagnostics& diagnostics, bool optimised) {
  Built r = build(kernel, target, options, diagnostics);
  if (!r.ok) return "";
  if (optimised) optimise(r);
  return cpu::print_module(*r.module);
}

std::string emit_asm(const ir::Kernel& kernel, const CpuTarget& target, const CpuOptions& options, Diagnostics& diagnostics) {
  Built r = build(kernel, target, options, diagnostics);
  if (!r.ok) return "";
  optimise(r);
  return cpu::emit_assembly(*r.module, *r.machine);
}

}  // namespace tessera
