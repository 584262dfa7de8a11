// Hand-made per-thread kernels for the simulator.
#pragma once

#include <llvm/IR/IRBuilder.h>

#include <cstdint>
#include <string>
#include <vector>

#include "codegen/gpu/compile.h"
#include "codegen/gpu/primitives.h"
#include "codegen/simt/simulate.h"

namespace tessera::simt_test {

using gpu::Primitive;
using V = llvm::Value*;
using Vs = std::vector<V>;

/// A kernel of `words` frame words and one grid axis, open at its entry block.
class KernelBuilder {
 public:
  /// `maps`: tensor maps that follow as parameters.
  KernelBuilder(int threads, std::int64_t shared_bytes, int words, std::vector<GpuTensorMap> maps = {});

  llvm::IRBuilder<> b;
  V base;  ///< shared address of byte 0

  V i(std::int64_t v) { return b.getInt32(static_cast<std::uint32_t>(v)); }
  V f(double v) { return llvm::ConstantFP::get(b.getFloatTy(), v); }
  V add(V x, V y) { return b.CreateAdd(x, y); }
  V add(V x, std::int64_t y) { return b.CreateAdd(x, i(y)); }
  V mul(V x, std::int64_t y) { return b.CreateMul(x, i(y)); }
  V mod(V x, std::int64_t y) { return b.CreateURem(x, i(y)); }
  V div(V x, std::int64_t y) { return b.CreateUDiv(x, i(y)); }

  V call(Primitive p, const Vs& fixed = {}) { return gpu::call(b, *ir_.module, p, fixed); }
  Vs call(Primitive p, const Vs& fixed, const Vs& registers, int outputs, llvm::Type* output) {
    return gpu::call(b, *ir_.module, p, fixed, registers, outputs, output);
  }
  V tid() { return call(Primitive::Tid); }
  V cta() { return call(Primitive::Ctaid); }
  void barrier() { call(Primitive::BarSyncAll); }

  /// Address of byte `offset` (i32) of the view whose base is frame word k.
  V global(int k, V offset);
  /// The k-th tensor map.
  V map(int k) { return function_->getArg(static_cast<unsigned>(function_->arg_size() - ir_.maps.size()) + static_cast<unsigned>(k)); }
  /// Pointer to a shared address.
  V shared(V address) { return b.CreateIntToPtr(address, b.getPtrTy(3)); }
  V load(llvm::Type* t, V p, int align = 0);
  void store(V v, V p, int align = 0);
  /// Runs `body` only where `condition` holds.
  template <class F>
  void when(V condition, F body) {
    llvm::Function* f = b.GetInsertBlock()->getParent();
    auto* inside = llvm::BasicBlock::Create(b.getContext(), "inside", f);
    auto* after = llvm::BasicBlock::Create(b.getContext(), "after", f);
    b.CreateCondBr(condition, inside, after);
    b.SetInsertPoint(inside);
    body();
    b.CreateBr(after);
    b.SetInsertPoint(after);
  }
  /// Attaches a source span to the last instruction.
  void mark(std::uint32_t begin, std::uint32_t end, std::uint32_t file);
  llvm::Module& module() { return *ir_.module; }
  /// Of two CTAs each.
  void make_clusters() { ir_.cluster = {2, 0}; }
  GpuIr finish();

 private:
  struct Made;
  KernelBuilder(GpuIr ir, int words);
  GpuIr ir_;
  llvm::Function* function_;
};

/// Tensors of a run, owned by the test.
template <class T>
SimtTensor tensor(const std::string& name, std::vector<T>& v, bool writable = true, bool initialised = true) {
  return {name, v.data(), v.size() * sizeof(T), writable, initialised};
}

/// Runs a compiled kernel whose frame is the tensors' addresses and `more`, and copies the results back.
SimtResult run(const SimtKernel& kernel, const std::vector<SimtTensor>& tensors, std::int64_t ctas = 1, const SimtOptions& options = {},
               const std::vector<std::uint64_t>& more = {});
/// The same for one run of code.
SimtResult run(GpuIr ir, const std::vector<SimtTensor>& tensors, std::int64_t ctas = 1, const SimtOptions& options = {},
               const std::vector<std::uint64_t>& more = {});

/// The hazards as text, one a line.
std::string hazards(const SimtResult& r);
bool has(const SimtResult& r, HazardKind kind);

std::uint16_t bf16(float x);

}  // namespace tessera::simt_test
