#include "codegen/simt/code.h"

#include <llvm/IR/DiagnosticHandler.h>
#include <llvm/IR/DiagnosticInfo.h>
#include <llvm/Support/MemoryBuffer.h>

#include "codegen/cpu/jit.h"
#include "codegen/cpu/machine.h"
#include "codegen/cpu/object.h"
#include "codegen/simt/hooks.h"
#include "codegen/simt/lower.h"

namespace tessera::simt {

namespace orc = llvm::orc;
using cpu::or_die;

namespace {

/// Hooks, messages and a signal's frame.
constexpr std::size_t kHookBytes = 48 << 10;

/// Compiles the module; `frame` becomes the bytes of its functions' stack frames, which is what the kernel and its helpers need at most.
std::string compile(llvm::Module& module, llvm::TargetMachine& machine, std::size_t& frame) {
  for (llvm::Function& f : module) {
    if (!f.isDeclaration()) f.addFnAttr("warn-stack-size", "0");
  }
  struct Heard {
    std::size_t frame = 0;
    bool error = false;
  } heard;
  module.getContext().setDiagnosticHandlerCallBack(
      [](const llvm::DiagnosticInfo* d, void* p) {
        auto& heard = *static_cast<Heard*>(p);
        if (const auto* s = llvm::dyn_cast<llvm::DiagnosticInfoStackSize>(d)) heard.frame += s->getStackSize();
        heard.error |= d->getSeverity() == llvm::DS_Error;
      },
      &heard);
  std::string object = cpu::emit_object_bytes(module, machine);
  module.getContext().setDiagnosticHandler(nullptr);
  TESSERA_ASSERT(!heard.error, "the host's code generator refuses the module");
  frame = heard.frame;
  return object;
}

}  // namespace

std::unique_ptr<llvm::TargetMachine> host_machine() {
  CpuTarget host = CpuTarget::host();
  const auto has = [&](const char* feature) { return host.features.find(feature) != std::string::npos; };
  if (has("+avx2") && has("+fma") && has("+f16c")) host = CpuTarget::x86("x86-64-v3");
  return cpu::create_machine(host, 0);
}

struct Code::Impl {
  std::unique_ptr<orc::LLJIT> jit;
};

Code::Code(llvm::Module& module, llvm::TargetMachine& machine) : impl_(std::make_unique<Impl>()) {
  cpu::verify_module(module);
  std::size_t frame = 0;
  const std::string object = compile(module, machine, frame);
  stack_bytes_ = (frame + kHookBytes + 4095) / 4096 * 4096;
  impl_->jit = cpu::create_jit(machine.getTargetTriple());
  orc::LLJIT& jit = *impl_->jit;
  const auto hooks = hook_symbols();
  cpu::define(jit, jit.getMainJITDylib(), {hooks.begin(), hooks.end()});
  or_die(jit.addObjectFile(llvm::MemoryBuffer::getMemBufferCopy(object, "simt")), "object");
  entry_ = or_die(jit.lookup(entry_name), "entry").toPtr<Run::Entry>();
}

Code::~Code() = default;

}  // namespace tessera::simt
