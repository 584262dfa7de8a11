#include "codegen/nvptx/machine.h"

#include <fmt/format.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Support/CommandLine.h>
#include <llvm/Support/TargetSelect.h>

#include <mutex>

#include "dsl/diagnostic.h"

extern "C" {
void LLVMInitializeNVPTXTargetInfo();
void LLVMInitializeNVPTXTarget();
void LLVMInitializeNVPTXTargetMC();
void LLVMInitializeNVPTXAsmPrinter();
}

namespace tessera::nvptx {
namespace {

/// The width of shared pointers is an option of LLVM's process-wide command line and no argument of a target machine; our LLVM is our own copy.
void use_short_shared_pointers() {
  const auto& options = llvm::cl::getRegisteredOptions();
  const auto at = options.find("nvptx-short-ptr");
  TESSERA_ASSERT(at != options.end(), "LLVM has no option nvptx-short-ptr");
  static_cast<llvm::cl::opt<bool>*>(at->second)->setValue(true);
}

}  // namespace

std::unique_ptr<llvm::TargetMachine> create_machine(const GpuTarget& target, int ptx) {
  static std::once_flag once;  // registration is LLVM's process-wide state
  std::call_once(once, [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
    use_short_shared_pointers();
  });
  const llvm::Triple triple("nvptx64-nvidia-cuda");
  std::string error;
  const llvm::Target* known = llvm::TargetRegistry::lookupTarget(triple, error);
  TESSERA_ASSERT(known, "LLVM has no target nvptx64: " + error);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Fast;
  std::unique_ptr<llvm::TargetMachine> machine(known->createTargetMachine(triple, target.name(), fmt::format("+ptx{}", ptx), options,
                                                                          llvm::Reloc::PIC_, std::nullopt, llvm::CodeGenOptLevel::Aggressive));
  TESSERA_ASSERT(machine, "LLVM cannot make code for " + target.name());
  return machine;
}

}  // namespace tessera::nvptx
