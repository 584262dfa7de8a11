// Mutants of a kernel: one primitive use dropped, repeated, or with one integer operand off by a step.
#pragma once

#include <fmt/format.h>
#include <llvm/IR/IRBuilder.h>

#include <cstring>
#include <string>
#include <vector>

#include "codegen/gpu/primitives.h"
#include "codegen/simt/simulate.h"

namespace tessera::simt_test {

struct Mutant {
  enum class Kind { Drop, Repeat, Bump };
  Kind kind{};
  std::size_t use = 0;   ///< which primitive use of the module, in order
  unsigned operand = 0;  ///< of Bump
  gpu::Primitive primitive{};

  std::string text() const {
    const char* verbs[] = {"drop", "repeat", "bump"};
    std::string out = fmt::format("{} {} #{}", verbs[static_cast<int>(kind)], gpu::info(primitive).name, use);
    return kind == Kind::Bump ? out + fmt::format(" operand {}", operand) : out;
  }
};

inline std::vector<llvm::CallInst*> primitive_uses(llvm::Module& module) {
  std::vector<llvm::CallInst*> out;
  for (llvm::Function& f : module) {
    for (llvm::BasicBlock& b : f) {
      for (llvm::Instruction& i : b) {
        if (gpu::primitive_of(i)) out.push_back(llvm::cast<llvm::CallInst>(&i));
      }
    }
  }
  return out;
}

/// Whether running it twice in a row is the same as once: such repeats are no faults.
inline bool idempotent(gpu::Primitive p) {
  using gpu::Primitive;
  const bool writes_once = p == Primitive::CpAsync16 || p == Primitive::CpAsync8 || p == Primitive::CpAsync4 || p == Primitive::CpAsyncCommit ||
                           p == Primitive::BarArrive || p == Primitive::BarSync;
  return !writes_once;
}

inline std::vector<Mutant> mutants(llvm::Module& module) {
  std::vector<Mutant> out;
  const std::vector<llvm::CallInst*> uses = primitive_uses(module);
  for (std::size_t u = 0; u < uses.size(); ++u) {
    const gpu::Primitive p = *gpu::primitive_of(*uses[u]);
    out.push_back({Mutant::Kind::Drop, u, 0, p});
    if (!idempotent(p)) out.push_back({Mutant::Kind::Repeat, u, 0, p});
    const auto fixed = static_cast<unsigned>(std::strlen(gpu::info(p).fixed));
    for (unsigned k = 0; k < fixed; ++k) {
      const llvm::Type* t = uses[u]->getArgOperand(k)->getType();
      if (t->isIntegerTy(32) || t->isPointerTy()) out.push_back({Mutant::Kind::Bump, u, k, p});
    }
  }
  return out;
}

/// Addresses move by a row of 16 bytes, since a step of one is only ever misaligned.
inline bool is_address(gpu::Primitive p, unsigned operand) {
  const std::string_view name = gpu::info(p).name;
  return operand == 0 && (name.starts_with("ldmatrix") || name.starts_with("stmatrix") || name.starts_with("cp_async4") ||
                          name.starts_with("cp_async8") || name.starts_with("cp_async16"));
}

/// The mask of a butterfly is doubled: one more leaves a butterfly of the same lanes. Data changes in the exponent: its last bit is lost when
/// rounded.
inline llvm::Value* step(llvm::IRBuilder<>& b, gpu::Primitive p, unsigned operand, llvm::Value* v) {
  using gpu::Primitive;
  if (p == Primitive::ShflBfly && operand == 1) return v;
  if (operand == 0 && (p == Primitive::ShflBfly || p == Primitive::ShflIdx || p == Primitive::ShflUp)) return b.getInt32(1 << 24);
  return b.getInt32(is_address(p, operand) ? 16 : 1);
}

inline void apply(llvm::Module& module, const Mutant& m) {
  llvm::CallInst* c = primitive_uses(module).at(m.use);
  llvm::IRBuilder<> b(c);
  const auto fixed = static_cast<unsigned>(std::strlen(gpu::info(m.primitive).fixed));
  switch (m.kind) {
    case Mutant::Kind::Repeat: c->clone()->insertBefore(c->getIterator()); return;
    case Mutant::Kind::Bump: {
      llvm::Value* v = c->getArgOperand(m.operand);
      if (v->getType()->isPointerTy()) {
        v = b.CreateGEP(b.getInt8Ty(), v, b.getInt64(16));
      } else {
        v = b.CreateAdd(v, step(b, m.primitive, m.operand, v));
      }
      c->setArgOperand(m.operand, v);
      return;
    }
    case Mutant::Kind::Drop: break;
  }
  // What stands for the result: an operand of its type, the accumulator of a product, else zero.
  if (auto* list = llvm::dyn_cast<llvm::StructType>(c->getType())) {
    llvm::Value* all = llvm::Constant::getNullValue(list);
    for (unsigned k = 0; k < list->getNumElements() && fixed + k < c->arg_size(); ++k) {
      if (c->getArgOperand(fixed + k)->getType() == list->getElementType(k)) all = b.CreateInsertValue(all, c->getArgOperand(fixed + k), k);
    }
    c->replaceAllUsesWith(all);
  } else if (!c->getType()->isVoidTy()) {
    llvm::Value* other = llvm::Constant::getNullValue(c->getType());
    if (c->arg_size() && c->getArgOperand(0)->getType() == c->getType()) other = c->getArgOperand(0);
    c->replaceAllUsesWith(other);
  }
  c->eraseFromParent();
}

/// Sites of the primitive uses, in order: the simulator numbers accesses and primitives together.
inline std::vector<std::size_t> primitive_sites(const SimtKernel& kernel) {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < kernel.sites().size(); ++i) {
    const std::string& what = kernel.sites()[i].what;
    if (!what.starts_with("shared ") && !what.starts_with("global ")) out.push_back(i);
  }
  return out;
}

}  // namespace tessera::simt_test
