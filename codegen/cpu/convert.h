// Conversions between element types in register form (value.h), exact to the bit of dsl/dtype.h.
#pragma once

#include "codegen/cpu/value.h"

namespace tessera::cpu {

/// A float of any dtype as f32 (f64 for f64), exactly. Scalar or vector.
llvm::Value* widen_float(Emitter& e, DType from, llvm::Value* x);
/// f32 or f64 to a float dtype. `exact_subnormals`: keep subnormal bf16 results, which vcvtneps2bf16 flushes to zero.
llvm::Value* narrow_float(Emitter& e, DType to, llvm::Value* x, bool saturate, Rounding rounding, bool exact_subnormals);

/// The op `cast`. Lanes of idx are plain (no offsets).
llvm::Value* convert(Emitter& e, DType from, DType to, llvm::Value* x, bool saturate, Rounding rounding, bool exact_subnormals);
/// The op `bitcast`.
llvm::Value* reinterpret(Emitter& e, DType from, DType to, llvm::Value* x);

}  // namespace tessera::cpu
