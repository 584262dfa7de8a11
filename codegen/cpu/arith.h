// Elementwise ops on values in register form (value.h), with the op table's semantics: no poison, no undefined behaviour.
#pragma once

#include <vector>

#include "codegen/cpu/value.h"
#include "dsl/ir.h"

namespace tessera::cpu {

/// Floor division and remainder; 0 where y is 0; the least integer by -1 wraps.
llvm::Value* floor_divide(Emitter& e, llvm::Value* x, llvm::Value* y, bool is_signed);
llvm::Value* floor_remainder(Emitter& e, llvm::Value* x, llvm::Value* y, bool is_signed);

/// NaN loses: the other operand unless both are NaN. f32 or f64, scalar or vector.
llvm::Value* nan_max(Emitter& e, llvm::Value* x, llvm::Value* y);
llvm::Value* nan_min(Emitter& e, llvm::Value* x, llvm::Value* y);

/// An op with the Elementwise trait, cast and bitcast included. `strict`: keep what hardware shortcuts flush (subnormal bf16 results).
Lanes emit_elementwise(Emitter& e, const ir::Op& op, const std::vector<Lanes>& x, bool strict);

/// One fold of two values of a dtype in *accumulator form*: f16 and bf16 as f32, all others in register form.
llvm::Value* fold_values(Emitter& e, ir::ReduceKind kind, DType t, llvm::Value* acc, llvm::Value* x);
/// What a fold starts from, in accumulator form: NaN for max and min of floats, so that a line of NaN gives NaN.
llvm::Constant* fold_start(Emitter& e, ir::ReduceKind kind, DType t);
/// The identity that an exclusive scan shows.
llvm::Constant* fold_identity(Emitter& e, ir::ReduceKind kind, DType t);
llvm::Value* to_accumulator(Emitter& e, DType t, llvm::Value* x);
llvm::Value* from_accumulator(Emitter& e, DType t, llvm::Value* x);
llvm::Type* accumulator_form(Emitter& e, DType t);

}  // namespace tessera::cpu
