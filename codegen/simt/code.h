// Lowered code, compiled and linked into the process.
#pragma once

#include <llvm/IR/Module.h>
#include <llvm/Target/TargetMachine.h>

#include <memory>

#include "codegen/simt/cta.h"

namespace tessera::simt {

/// The host as code is made for it: no level of instructions whose conversions differ from the language's (AVX-512 BF16 flushes subnormals).
std::unique_ptr<llvm::TargetMachine> host_machine();

/// Keeps the code as long as it lives. Immutable; thread safe.
class Code {
 public:
  /// Consumes the module. Throws InternalError if LLVM refuses it.
  Code(llvm::Module& module, llvm::TargetMachine& machine);
  ~Code();
  Run::Entry entry() const { return entry_; }
  /// What a thread needs: the frame of the kernel, which holds nearly every value since nothing is optimised, and that of the hooks.
  std::size_t stack_bytes() const { return stack_bytes_; }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  Run::Entry entry_ = nullptr;
  std::size_t stack_bytes_ = 0;
};

}  // namespace tessera::simt
