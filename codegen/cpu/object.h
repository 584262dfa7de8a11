// An LLVM module to machine code: verify, a short pass pipeline, object bytes.
#pragma once

#include <llvm/IR/Module.h>
#include <llvm/Target/TargetMachine.h>

#include <string>

namespace tessera::cpu {

/// Throws InternalError with LLVM's words if the module is malformed. Release builds of LLVM check nothing by themselves.
void verify_module(const llvm::Module& module);

/// What generated CPU code gains from; O1 to O3 add 20-110 ms for 0-2 % (measured).
inline constexpr const char* kCpuPasses = "function(early-cse,loop-mssa(licm),early-cse)";

/// A pipeline in LLVM's own notation. Serves every target.
void run_passes(llvm::Module& module, llvm::TargetMachine& machine, const char* pipeline);

/// The module as an object file or as assembly text. The module is consumed: code generation rewrites it.
std::string emit_object_bytes(llvm::Module& module, llvm::TargetMachine& machine);
std::string emit_assembly(llvm::Module& module, llvm::TargetMachine& machine);

/// LLVM IR as text.
std::string print_module(const llvm::Module& module);

}  // namespace tessera::cpu
