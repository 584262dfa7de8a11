// Elementary functions as vector code. Each takes a float or double, scalar or vector of any number of lanes, and returns the same type.
//
// f32: at most 2 ulp from the true value over the whole range, subnormals included (`Accuracy::F32`); infinities, zeros and NaN as in IEEE 754
// and the op table. f64: calls of the C library, one a lane. Nothing here becomes a vector libm call.
// Sources: Cody and Waite, Software Manual for the Elementary Functions (1980), for the reductions; Payne and Hanek (1983) for large angles;
// the coefficients are minimax fits of our own.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "codegen/cpu/emitter.h"

namespace tessera::cpu {

/// What the result will be rounded to: shorter polynomials serve half types. F16: relative error below 1e-5; BF16: below 2e-4.
enum class Accuracy { F32, F16, BF16 };

llvm::Value* emit_exp2(Emitter& e, llvm::Value* x, Accuracy accuracy = Accuracy::F32);
llvm::Value* emit_exp(Emitter& e, llvm::Value* x, Accuracy accuracy = Accuracy::F32);
llvm::Value* emit_log2(Emitter& e, llvm::Value* x);
llvm::Value* emit_ln(Emitter& e, llvm::Value* x);
llvm::Value* emit_tanh(Emitter& e, llvm::Value* x, Accuracy accuracy = Accuracy::F32);
llvm::Value* emit_sigmoid(Emitter& e, llvm::Value* x, Accuracy accuracy = Accuracy::F32);
llvm::Value* emit_erf(Emitter& e, llvm::Value* x);
/// Angles of any size: beyond 2^28 a shared Payne-Hanek reduction runs, whose cost no small angle pays.
llvm::Value* emit_sin(Emitter& e, llvm::Value* x);
llvm::Value* emit_cos(Emitter& e, llvm::Value* x);
/// sin(x + turn * pi / 2), turn 0 or 1, of a scalar f32: short code for |x| < 2^17 where it stands, a call of the shared function beyond.
llvm::Value* emit_sine_inline(Emitter& e, llvm::Value* x, int turn);
llvm::Value* emit_sqrt(Emitter& e, llvm::Value* x);
llvm::Value* emit_rsqrt(Emitter& e, llvm::Value* x);
llvm::Value* emit_rcp(Emitter& e, llvm::Value* x);
llvm::Value* emit_floor(Emitter& e, llvm::Value* x);
llvm::Value* emit_ceil(Emitter& e, llvm::Value* x);
/// Nearest integer, ties to even.
llvm::Value* emit_round(Emitter& e, llvm::Value* x);

/// The C library functions that f64 code calls: the loader of the object resolves these names to these addresses.
std::vector<std::pair<std::string_view, void*>> libm_symbols();

}  // namespace tessera::cpu
