// What evaluating a tile at 16 neighbouring positions gives: one value for all of them, or one a lane.
//
// Register forms: bool i1, f32 float, f64 double, f16 half, integers their width; bf16, e4m3, e5m2, e8m0 and the 4-bit types are the bits as
// i16 and i8. idx is i64, and stays *short* where it can: a 64-bit base that all lanes share plus small 32-bit offsets, so that coordinates and
// masks cost one register and never a 64-bit vector comparison.
#pragma once

#include <cstdint>

#include "codegen/cpu/emitter.h"
#include "dsl/dtype.h"

namespace tessera::cpu {

struct Lanes {
  llvm::Value* v = nullptr;       ///< a scalar if uniform() or is_short(), else a vector
  llvm::Value* offset = nullptr;  ///< idx only: <16 x i32> added to the base v
  std::int64_t bound = 0;         ///< |offset| <= bound, below kShort
  bool linear = false;            ///< offset is step * lane
  std::int64_t step = 0;
  std::int64_t multiple = 1;  ///< idx only: the base v is a multiple of this

  bool uniform() const { return !offset && !v->getType()->isVectorTy(); }
  bool is_short() const { return offset != nullptr; }
};

inline constexpr std::int64_t kShort = std::int64_t{1} << 29;

inline Lanes lanes(llvm::Value* v) { return {v, nullptr, 0, false, 0, 1}; }
/// base + step * lane, the base being a multiple of `multiple`.
Lanes linear_lanes(Emitter& e, llvm::Value* base, std::int64_t step = 1, std::int64_t multiple = 1);
/// The same value with an explicit vector of 16 elements.
llvm::Value* as_vector(Emitter& e, const Lanes& x);
/// A uniform or short value as a value without offsets: scalar or vector.
llvm::Value* plain(Emitter& e, const Lanes& x);

llvm::Type* register_type(Emitter& e, DType t);
/// A constant of a dtype in register form.
llvm::Constant* register_constant(Emitter& e, DType t, std::uint64_t raw);

/// Arithmetic on idx values that keeps short forms.
Lanes idx_add(Emitter& e, const Lanes& x, const Lanes& y);
Lanes idx_sub(Emitter& e, const Lanes& x, const Lanes& y);
Lanes idx_mul(Emitter& e, const Lanes& x, const Lanes& y);
/// Floor quotient and remainder, 0 for a zero divisor.
Lanes idx_div(Emitter& e, const Lanes& x, const Lanes& y);
Lanes idx_mod(Emitter& e, const Lanes& x, const Lanes& y);
/// i1 or <16 x i1>.
llvm::Value* idx_compare(Emitter& e, llvm::CmpInst::Predicate predicate, const Lanes& x, const Lanes& y);
/// x < count for a short x and a count whose magnitudes stay below kShort: cheaper than the comparison of any two numbers.
llvm::Value* idx_below(Emitter& e, const Lanes& x, llvm::Value* count);
/// lo <= x < hi for scalars lo and hi; either may be null.
llvm::Value* idx_within(Emitter& e, const Lanes& x, llvm::Value* lo, llvm::Value* hi);

/// `and` of two conditions of either form; null stands for true.
llvm::Value* both(Emitter& e, llvm::Value* x, llvm::Value* y);

}  // namespace tessera::cpu
