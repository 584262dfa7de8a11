#include "codegen/nvptx/ptx.h"

#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/OptBisect.h>
#include <llvm/IR/Verifier.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Support/raw_ostream.h>

#include <algorithm>
#include <chrono>

#include "codegen/nvptx/lower_primitives.h"
#include "codegen/nvptx/machine.h"

namespace tessera {
namespace {

double ms_since(std::chrono::steady_clock::time_point t) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - t).count();
}

void verify(const llvm::Module& module) {
  std::string text;
  llvm::raw_string_ostream out(text);
  if (llvm::verifyModule(module, &out)) TESSERA_UNREACHABLE("malformed LLVM module: " + text);
}

/// Code generation for this target brings its own redundancy elimination and load vectorisation; before it, only what makes its input small. Moving
/// code out of loops is left to the driver's assembler, which knows the registers: done here, it costs an attention kernel a third more of them.
void run_passes(llvm::Module& module, llvm::TargetMachine& machine) {
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager graphs;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(&machine);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(graphs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, graphs, modules);
  llvm::ModulePassManager passes;
  llvm::cantFail(builder.parsePassPipeline(passes, "function(early-cse<memssa>,instcombine<no-verify-fixpoint>)"));
  passes.run(module, modules);
}

/// Leaves out the passes of code generation that rewrite addresses as differences of others. They compare addresses with one another, which takes
/// most of its time on long straight code, and the code has fewer registers and instructions without them.
class CodegenGate : public llvm::OptPassGate {
 public:
  bool isEnabled() const override { return true; }
  bool shouldRunPass(llvm::StringRef pass, llvm::StringRef) const override {
    return pass != "slsr" && pass != "nary-reassociate" && pass != "Loop Strength Reduction";
  }
};

/// The assembler does not see the size of dynamic shared memory, and saves registers for CTAs that could never be resident. Where shared memory
/// admits so few that each thread can have 128 registers or more, it is told how many.
void state_residency(llvm::Function& kernel, const GpuIr& ir, const GpuTarget& target) {
  if (kernel.hasFnAttribute("nvvm.minctasm")) return;
  const std::int64_t cta = ir.shared_bytes + (target.sm >= 80 ? 1024 : 0);  // the system's own share
  const std::int64_t ctas = std::max<std::int64_t>(1, target.max_shared_sm() / std::max<std::int64_t>(cta, 1));
  if (ctas * ir.threads * 128 <= 65536) kernel.addFnAttr("nvvm.minctasm", std::to_string(ctas));
}

std::string emit(llvm::Module& module, llvm::TargetMachine& machine) {
  CodegenGate gate;
  module.getContext().setOptPassGate(gate);
  llvm::SmallString<0> text;
  llvm::raw_svector_ostream out(text);
  llvm::legacy::PassManager passes;
  TESSERA_ASSERT(!machine.addPassesToEmitFile(passes, out, nullptr, llvm::CodeGenFileType::AssemblyFile), "the target writes no text");
  passes.run(module);
  module.getContext().setOptPassGate(llvm::getGlobalPassGate());
  return std::string(text.str());
}

}  // namespace

GpuObject make_ptx(GpuIr ir, const GpuTarget& target) {
  TESSERA_ASSERT(ir.module, "no module to make PTX of");
  GpuObject out{.entry = ir.entry, .target = target, .threads = ir.threads, .shared_bytes = ir.shared_bytes, .checks = std::move(ir.checks)};
  const auto start = std::chrono::steady_clock::now();
  llvm::Module& module = *ir.module;
  const int ptx = nvptx::lower_primitives(module, target);
  const std::unique_ptr<llvm::TargetMachine> machine = nvptx::create_machine(target, ptx);
  module.setTargetTriple(machine->getTargetTriple());
  module.setDataLayout(machine->createDataLayout());
  verify(module);
  TESSERA_ASSERT(module.getFunction(ir.entry) && !module.getFunction(ir.entry)->isDeclaration(), "no function " + ir.entry);
  state_residency(*module.getFunction(ir.entry), ir, target);
  run_passes(module, *machine);
  out.passes_ms = ms_since(start);
  const auto middle = std::chrono::steady_clock::now();
  out.ptx = emit(module, *machine);
  out.codegen_ms = ms_since(middle);
  return out;
}

}  // namespace tessera
