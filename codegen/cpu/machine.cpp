#include "codegen/cpu/machine.h"

#include <llvm/MC/MCSubtargetInfo.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/TargetParser/Host.h>
#include <llvm/TargetParser/SubtargetFeature.h>

#include <algorithm>
#include <mutex>

#include "dsl/diagnostic.h"

namespace tessera {

CpuTarget CpuTarget::host() {
  CpuTarget t;
  t.triple = llvm::sys::getProcessTriple();
  t.cpu = llvm::sys::getHostCPUName().str();
  llvm::SubtargetFeatures features;
  for (const auto& f : llvm::sys::getHostCPUFeatures()) features.AddFeature(f.first(), f.second);
  // The order of LLVM's string map is not fixed, and this text is part of cache keys.
  std::vector<std::string> list = features.getFeatures();
  std::sort(list.begin(), list.end());
  for (const std::string& f : list) t.features += (t.features.empty() ? "" : ",") + f;
  return t;
}

CpuTarget CpuTarget::x86(const std::string& cpu) { return {"x86_64-unknown-linux-gnu", cpu, ""}; }

CpuTarget CpuTarget::aarch64() { return {"aarch64-unknown-linux-gnu", "generic", "+neon"}; }

namespace cpu {

std::unique_ptr<llvm::TargetMachine> create_machine(const CpuTarget& target, int level) {
  static std::once_flag once;  // registration is LLVM's process-wide state
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    llvm::InitializeNativeTargetAsmParser();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
  });
  const llvm::Triple triple(target.triple);
  std::string error;
  const llvm::Target* known = llvm::TargetRegistry::lookupTarget(triple, error);
  TESSERA_ASSERT(known, "LLVM has no target " + target.triple + ": " + error);
  std::unique_ptr<llvm::TargetMachine> machine(known->createTargetMachine(triple, target.cpu, target.features, llvm::TargetOptions(),
                                                                          llvm::Reloc::PIC_, llvm::CodeModel::Small,
                                                                          static_cast<llvm::CodeGenOptLevel>(level), true));
  TESSERA_ASSERT(machine, "LLVM cannot make code for " + target.triple);
  return machine;
}

VectorTarget vector_target(const llvm::TargetMachine& machine) {
  llvm::StringMap<bool> on;
  const llvm::MCSubtargetInfo& info = *machine.getMCSubtargetInfo();
  for (const llvm::SubtargetFeatureKV& f : info.getAllProcessorFeatures()) on[f.Key] = info.getFeatureBits().test(f.Value);
  return VectorTarget::from(on, machine.getTargetTriple().isX86());
}

}  // namespace cpu
}  // namespace tessera
