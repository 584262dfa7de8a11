// What vecmath.cpp and trig.cpp share.
#pragma once

#include <initializer_list>

#include "codegen/cpu/emitter.h"

namespace tessera::cpu::detail {

bool is_f64(const llvm::Value* x);
/// The integer type of the same shape.
llvm::Type* int_like(Emitter& e, const llvm::Value* x);
/// sum of c[i] * x^i.
llvm::Value* horner(Emitter& e, llvm::Value* x, std::initializer_list<double> lowest_first);
/// `name` of the C library, called for every lane of doubles.
llvm::Value* libm_lanes(Emitter& e, const char* name, llvm::Value* x);
llvm::Value* copysign(Emitter& e, llvm::Value* magnitude, llvm::Value* sign);
llvm::Value* fabs(Emitter& e, llvm::Value* x);

}  // namespace tessera::cpu::detail
