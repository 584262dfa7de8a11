// Emission of vector code: an IRBuilder with the few idioms that every emitter of this back end needs.
//
// A lane vector has kLanes elements on every target: registers that are narrower hold it in parts, which LLVM's type legaliser arranges.
// Values are emitted in SSA form from the start. Loops and conditions move the insertion point; nothing else does.
#pragma once

#include <llvm/ADT/ArrayRef.h>
#include <llvm/ADT/StringMap.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace tessera::cpu {

inline constexpr int kLanes = 16;

using Values = std::vector<llvm::Value*>;

/// The vector features that change what is emitted.
struct VectorTarget {
  int register_lanes = 4;  ///< f32 elements of one register: 16, 8 or 4
  bool x86 = false;
  bool avx512 = false;  ///< F, BW, DQ and VL
  bool avx512_bf16 = false;
  bool avx2 = false;
  bool f16c = false;
  bool fma = false;  ///< without it products and polynomials round twice

  /// From LLVM's feature names ("avx512f" -> on). `x86` says whether they belong to x86-64; other targets count as having fma.
  static VectorTarget from(const llvm::StringMap<bool>& features, bool x86);
  /// The machine that runs this.
  static VectorTarget host();
};

class Emitter {
 public:
  /// Emits into `module` at wherever `b` is set. Sets the fast-math flags `contract nsz`.
  Emitter(llvm::Module& module, VectorTarget target);

  llvm::Module& module;
  llvm::LLVMContext& context;
  llvm::IRBuilder<> b;
  VectorTarget target;

  // --- types
  llvm::Type* f32() { return b.getFloatTy(); }
  llvm::Type* f64() { return b.getDoubleTy(); }
  llvm::Type* i32() { return b.getInt32Ty(); }
  llvm::Type* i64() { return b.getInt64Ty(); }
  llvm::Type* ptr() { return b.getPtrTy(); }
  llvm::FixedVectorType* vec(llvm::Type* element, int lanes = kLanes) { return llvm::FixedVectorType::get(element, static_cast<unsigned>(lanes)); }

  // --- constants. `like` gives the type: a scalar, or a vector whose every element gets the value.
  llvm::Value* idx(std::int64_t x) { return b.getInt64(static_cast<std::uint64_t>(x)); }
  llvm::Value* splat(llvm::Value* scalar, int lanes = kLanes) { return b.CreateVectorSplat(static_cast<unsigned>(lanes), scalar); }
  llvm::Constant* real(llvm::Type* like, double x);
  llvm::Constant* integer(llvm::Type* like, std::int64_t x);
  llvm::Constant* zero(llvm::Type* t) { return llvm::Constant::getNullValue(t); }
  /// 0, 1, .. lanes - 1 of an integer type.
  llvm::Constant* iota(llvm::Type* element, int lanes = kLanes);

  // --- address arithmetic: no signed overflow
  llvm::Value* add(llvm::Value* x, llvm::Value* y) { return b.CreateAdd(x, y, "", false, true); }
  llvm::Value* sub(llvm::Value* x, llvm::Value* y) { return b.CreateSub(x, y, "", false, true); }
  llvm::Value* mul(llvm::Value* x, llvm::Value* y) { return b.CreateMul(x, y, "", false, true); }
  llvm::Value* min(llvm::Value* x, llvm::Value* y);
  llvm::Value* max(llvm::Value* x, llvm::Value* y);
  llvm::Value* div_up(llvm::Value* x, std::int64_t d);  ///< of a number >= 0
  llvm::Value* at(llvm::Type* element, llvm::Value* base, llvm::Value* index) { return b.CreateInBoundsGEP(element, base, index); }

  // --- memory
  /// A piece of the running function's stack, 64-byte aligned: for what loops write by a running index.
  llvm::Value* stack(llvm::Type* element, int count);
  llvm::Value* load(llvm::Type* t, llvm::Value* p, int align) { return b.CreateAlignedLoad(t, p, llvm::Align(static_cast<std::uint64_t>(align))); }
  void store(llvm::Value* v, llvm::Value* p, int align) { b.CreateAlignedStore(v, p, llvm::Align(static_cast<std::uint64_t>(align))); }
  /// Asks for the cache lines of `bytes` bytes from `p` on, into the second level: few lines at a time may be on their way to the first, and
  /// the loads under way need those. Never faults.
  void prefetch(llvm::Value* p, std::int64_t bytes);
  /// Elements where `mask` is set, zero elsewhere; a null mask is a plain load. Memory of the other lanes is not touched.
  llvm::Value* masked_load(llvm::Type* t, llvm::Value* p, int align, llvm::Value* mask);
  void masked_store(llvm::Value* v, llvm::Value* p, int align, llvm::Value* mask);
  /// Elements 0 .. count of <lanes x T>, zero above: what masked_load does for a prefix, on targets without masks by a branch. `count` is an
  /// i64 of any value.
  llvm::Value* load_below(llvm::FixedVectorType* t, llvm::Value* p, int align, llvm::Value* count);
  void store_below(llvm::Value* v, llvm::Value* p, int align, llvm::Value* count);
  /// <lanes x i1>: lane < count, for an i64 count of any value, negative ones included.
  llvm::Value* lanes_below(llvm::Value* count, int lanes = kLanes);

  // --- arithmetic
  llvm::Value* fma(llvm::Value* x, llvm::Value* y, llvm::Value* z);
  /// The larger; the second operand if either is NaN (one instruction on x86).
  llvm::Value* fmax(llvm::Value* x, llvm::Value* y) { return b.CreateSelect(b.CreateFCmpOGT(x, y), x, y); }
  llvm::Value* fmin(llvm::Value* x, llvm::Value* y) { return b.CreateSelect(b.CreateFCmpOLT(x, y), x, y); }

  // --- control
  /// for (iv = lo; iv < hi; iv += step) with carried values: returns them after the loop. `nonempty` promises lo < hi.
  using LoopBody = std::function<Values(llvm::Value* iv, llvm::ArrayRef<llvm::Value*> carried)>;
  Values loop(llvm::Value* lo, llvm::Value* hi, llvm::Value* step, Values carried, bool nonempty, const LoopBody& body);
  void loop(llvm::Value* lo, llvm::Value* hi, llvm::Value* step, bool nonempty, const std::function<void(llvm::Value* iv)>& body);
  /// The same with `count` bodies in a row, and a loop of their own for the trips that are left; `between` stands before that.
  Values unrolled(int count, llvm::Value* lo, llvm::Value* hi, llvm::Value* step, Values carried, const LoopBody& body,
                  const std::function<void()>& between = nullptr);
  void if_then(llvm::Value* condition, const std::function<void()>& then, const std::function<void()>& otherwise = nullptr);

  /// The results of one of two branches.
  Values choose(llvm::Value* condition, const std::function<Values()>& then, const std::function<Values()>& otherwise);

  /// The internal noinline function `name` of this module; `define` emits its body when it is not there yet (the insertion point is in
  /// the entry block, and the body must return). Shared helpers cost one instruction selection however often they are used.
  llvm::Function* shared(const std::string& name, llvm::FunctionType* type, const std::function<void(llvm::Function*)>& define);

 private:
  bool has_masked_memory(llvm::Type* element) const;
};

/// The attributes that every function of a CPU module needs for its vectors to stay in full registers.
void set_vector_attributes(llvm::Module& module, llvm::StringRef cpu, llvm::StringRef features);

}  // namespace tessera::cpu
