#include "codegen/nvptx/ptx.h"

#include <llvm/IR/OptBisect.h>

#include <algorithm>
#include <chrono>

#include "codegen/cpu/object.h"
#include "codegen/nvptx/lower_primitives.h"
#include "codegen/nvptx/machine.h"
#include "codegen/nvptx/pressure.h"

namespace tessera {
namespace {

double ms_since(std::chrono::steady_clock::time_point t) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - t).count();
}

/// Code generation for this target brings its own redundancy elimination and load vectorisation; before it, only what makes its input small. Moving
/// code out of loops is left to the driver's assembler, which knows the registers: done here, long loops need up to a third more of them.
constexpr const char* kPasses = "function(early-cse<memssa>,instcombine<no-verify-fixpoint>)";

/// Leaves out the passes of code generation that rewrite addresses as differences of others. They compare addresses with one another, which takes
/// most of its time on long straight code, and the code has fewer registers and instructions without them. Next to nothing is left then for
/// global value numbering, a fifth of the rest, to find; code of warpgroups, whose registers are short, keeps it for a few addresses.
class CodegenGate : public llvm::OptPassGate {
 public:
  explicit CodegenGate(bool number_values) : number_values_(number_values) {}
  bool isEnabled() const override { return true; }
  bool shouldRunPass(llvm::StringRef pass, llvm::StringRef) const override {
    if (pass == "gvn") return number_values_;
    return pass != "slsr" && pass != "nary-reassociate" && pass != "Loop Strength Reduction";
  }

 private:
  bool number_values_;
};

bool multiplies_by_warpgroups(const llvm::Module& module) {
  return std::any_of(module.begin(), module.end(), [](const llvm::Function& f) { return f.getName().starts_with("dp.wgmma"); });
}

/// The assembler does not see the size of dynamic shared memory, and saves registers for CTAs that could never be resident. Where shared memory
/// admits so few that each thread can have 128 registers or more, it is told how many, unless more than these are alive at once: it would spill then.
void state_residency(llvm::Function& kernel, const GpuIr& ir, const GpuTarget& target) {
  if (kernel.hasFnAttribute("nvvm.minctasm")) return;
  const std::int64_t cta = ir.shared_bytes + (target.sm >= 80 ? 1024 : 0);  // the system's own share
  std::int64_t ctas = std::max<std::int64_t>(1, target.max_shared_sm() / std::max<std::int64_t>(cta, 1));
  if (ir.registers > 0)
    ctas = std::max<std::int64_t>(1, std::min(ctas, 65536 / (ir.threads * std::max<std::int64_t>(128, (ir.registers + 7) / 8 * 8))));
  // What warps give each other is reckoned from all registers of the multiprocessor.
  if (ir.persistent) ctas = 1;
  if (!ir.persistent && ctas * ir.threads * 128 > 65536) return;
  if (ctas > 1 && nvptx::live_words(kernel) > 65536 / (ctas * ir.threads)) return;
  kernel.addFnAttr("nvvm.minctasm", std::to_string(ctas));
}

/// Where nothing else decides, the assembler takes as many registers as hide a thread's own latencies best. Code that has room for it in 64 is told
/// to leave half of the multiprocessor's threads resident: waiting for memory is better hidden by other CTAs.
void share_registers(llvm::Function& kernel, const GpuIr& ir) {
  // Conversions stand where tiles are made; the assembler moves some of them to where they are used.
  constexpr int kRegisters = 64, kMoved = 8;
  if (kernel.hasFnAttribute("nvvm.minctasm") || nvptx::live_words(kernel) > kRegisters + kMoved) return;
  const int ctas = 65536 / (kRegisters * ir.threads);
  if (ctas > 1) kernel.addFnAttr("nvvm.minctasm", std::to_string(ctas));
}

std::string emit(llvm::Module& module, llvm::TargetMachine& machine, bool number_values) {
  CodegenGate gate(number_values);
  module.getContext().setOptPassGate(gate);
  std::string text = cpu::emit_assembly(module, machine);
  module.getContext().setOptPassGate(llvm::getGlobalPassGate());
  return text;
}

}  // namespace

GpuObject make_ptx(GpuIr ir, const GpuTarget& target) {
  TESSERA_ASSERT(ir.module, "no module to make PTX of");
  GpuObject out{.entry = ir.entry,
                .target = target,
                .threads = ir.threads,
                .shared_bytes = ir.shared_bytes,
                .checks = std::move(ir.checks),
                .maps = std::move(ir.maps),
                .persistent = ir.persistent,
                .cluster = ir.cluster,
                .assembler_level = ir.assembler_level};
  const auto start = std::chrono::steady_clock::now();
  llvm::Module& module = *ir.module;
  const bool warpgroups = multiplies_by_warpgroups(module);
  const int ptx = nvptx::lower_primitives(module, target);
  const std::unique_ptr<llvm::TargetMachine> machine = nvptx::create_machine(target, ptx);
  module.setTargetTriple(machine->getTargetTriple());
  module.setDataLayout(machine->createDataLayout());
  cpu::verify_module(module);
  TESSERA_ASSERT(module.getFunction(ir.entry) && !module.getFunction(ir.entry)->isDeclaration(), "no function " + ir.entry);
  cpu::run_passes(module, *machine, kPasses);
  state_residency(*module.getFunction(ir.entry), ir, target);
  share_registers(*module.getFunction(ir.entry), ir);
  out.passes_ms = ms_since(start);
  const auto middle = std::chrono::steady_clock::now();
  out.ptx = emit(module, *machine, warpgroups);
  out.codegen_ms = ms_since(middle);
  return out;
}

}  // namespace tessera
