// Runs what the emitters emit: a module built by a callback, verified, compiled for a target and loaded.
#pragma once

#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/Verifier.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Support/SmallVectorMemoryBuffer.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Target/TargetMachine.h>
#include <llvm/TargetParser/Host.h>
#include <llvm/TargetParser/SubtargetFeature.h>

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "codegen/cpu/emitter.h"
#include "codegen/cpu/object.h"

namespace tessera::cpu::test {

/// What to compile for. `host` is the machine at hand; `v3` is AVX2 with FMA; both run here.
struct JitTarget {
  std::string name, cpu, features;
  VectorTarget vectors;
};

inline std::vector<JitTarget> runnable_targets() {
  const auto host = llvm::sys::getHostCPUFeatures();
  llvm::SubtargetFeatures text;
  for (const auto& f : host) text.AddFeature(f.first(), f.second);
  std::vector<JitTarget> targets{{"host", llvm::sys::getHostCPUName().str(), text.getString(), VectorTarget::from(host, true)}};
  if (targets[0].vectors.avx512) {
    llvm::StringMap<bool> v3;
    for (const char* f : {"avx2", "fma", "f16c"}) v3[f] = true;
    targets.push_back({"v3", "x86-64-v3", "", VectorTarget::from(v3, true)});
  }
  return targets;
}

class Jit {
 public:
  Jit() {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    jit_ = llvm::cantFail(llvm::orc::LLJITBuilder().create());
  }

  /// The address of `name` in the module that `build` makes.
  void* compile(const JitTarget& target, const std::string& name, const std::function<void(Emitter&)>& build) {
    llvm::LLVMContext context;
    llvm::Module module("m", context);
    std::string error;
    const llvm::Triple triple(llvm::sys::getProcessTriple());
    const llvm::Target* t = llvm::TargetRegistry::lookupTarget(triple, error);
    std::unique_ptr<llvm::TargetMachine> machine(t->createTargetMachine(triple, target.cpu, target.features, llvm::TargetOptions(), llvm::Reloc::PIC_,
                                                                        llvm::CodeModel::Small, llvm::CodeGenOptLevel::Default));
    module.setDataLayout(machine->createDataLayout());
    module.setTargetTriple(triple);
    Emitter e(module, target.vectors);
    build(e);
    set_vector_attributes(module, target.cpu, target.features);
    std::string problem;
    llvm::raw_string_ostream stream(problem);
    if (llvm::verifyModule(module, &stream)) throw std::logic_error(problem);
    run_passes(module, *machine, kCpuPasses);
    llvm::SmallVector<char, 0> object;
    {
      llvm::raw_svector_ostream os(object);
      llvm::legacy::PassManager passes;
      machine->addPassesToEmitFile(passes, os, nullptr, llvm::CodeGenFileType::ObjectFile);
      passes.run(module);
    }
    auto& library = llvm::cantFail(jit_->createJITDylib("d" + std::to_string(count_++)));
    library.addToLinkOrder(*jit_->getProcessSymbolsJITDylib());
    llvm::cantFail(jit_->addObjectFile(library, std::make_unique<llvm::SmallVectorMemoryBuffer>(std::move(object), false)));
    return llvm::cantFail(jit_->lookup(library, name)).toPtr<void*>();
  }

 private:
  std::unique_ptr<llvm::orc::LLJIT> jit_;
  int count_ = 0;
};

/// A new external function `name`; the insertion point is in its entry block.
inline llvm::Function* begin_function(Emitter& e, const std::string& name, llvm::ArrayRef<llvm::Type*> arguments) {
  auto* f = llvm::Function::Create(llvm::FunctionType::get(e.b.getVoidTy(), arguments, false), llvm::Function::ExternalLinkage, name, e.module);
  e.b.SetInsertPoint(llvm::BasicBlock::Create(e.context, "entry", f));
  return f;
}

}  // namespace tessera::cpu::test
