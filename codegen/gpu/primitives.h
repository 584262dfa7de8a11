// Device primitives in LLVM IR: the generator's only way to what LLVM's own instructions do not say.
#pragma once

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "codegen/gpu/target.h"

namespace tessera::gpu {

enum class Primitive : std::uint8_t {
#define TESSERA_PRIMITIVE(id, ...) id,
#include "codegen/gpu/primitives.def"
};

enum class PrimitiveFlag : std::uint8_t { Pure, Convergent, Blocks, Effects };

struct PrimitiveInfo {
  const char* name;
  char result;        ///< v, i, l, b, f, R
  const char* fixed;  ///< types of the leading arguments
  bool registers;     ///< a register list follows
  PrimitiveFlag flag;
  int sm, ptx;  ///< the least that have it; a negative sm: code for this architecture alone
  const char* doc;

  bool on(const GpuTarget& target) const { return sm < 0 ? target.sm == -sm && target.specific : sm <= target.sm; }
};
const PrimitiveInfo& info(Primitive p);
std::vector<Primitive> all_primitives();

/// The primitive that a function named @dp.. stands for; empty for any other function.
std::optional<Primitive> primitive_of(const llvm::Function& f);
/// The same for a call; empty for indirect calls, intrinsics and inline asm.
std::optional<Primitive> primitive_of(const llvm::Instruction& i);

/// Calls a primitive whose result is not R.
llvm::Value* call(llvm::IRBuilderBase& b, llvm::Module& m, Primitive p, llvm::ArrayRef<llvm::Value*> fixed);
/// Calls a primitive with a register list; gives its `outputs` result registers, all of type `output`.
std::vector<llvm::Value*> call(llvm::IRBuilderBase& b, llvm::Module& m, Primitive p, llvm::ArrayRef<llvm::Value*> fixed,
                               llvm::ArrayRef<llvm::Value*> registers, int outputs, llvm::Type* output);

}  // namespace tessera::gpu
