// One element of a tile in one thread's registers.
//
// Register forms are those of codegen/cpu/value.h, scalars only. idx stays *short* where it can: a 64-bit base that all threads share plus what the
// thread adds in 32 bits plus what the register adds, a constant. Coordinates and masks then cost one register for all elements of a thread, and
// one comparison with a constant an element; conjunctions of comparisons one for each side.
#pragma once

#include <vector>

#include "codegen/cpu/emitter.h"
#include "codegen/gpu/primitives.h"
#include "dsl/ir.h"

namespace tessera::gpu {

struct Element {
  llvm::Value* v = nullptr;       ///< the value; the base of a short idx
  llvm::Value* offset = nullptr;  ///< i32 of a short idx, else null
  std::int64_t fixed = 0;         ///< added to a short idx; of a bool with bounds what lies between them
  std::int64_t bound = 0;         ///< |offset|, |fixed| and |offset + fixed| <= bound, below kShortOffset
  llvm::Value* from = nullptr;    ///< i32 of a bool: true iff from <= fixed < to; null: no such bound
  llvm::Value* to = nullptr;
  bool is_short() const { return offset != nullptr; }
};
inline constexpr std::int64_t kShortOffset = std::int64_t{1} << 28;

using Elements = std::vector<Element>;

/// from <= at < to. Null: no such bound; one of them is given.
Element between(cpu::Emitter& e, llvm::Value* from, std::int64_t at, llvm::Value* to);

/// Bools that are compared with the same bounds, as bits of words. Gives the words.
std::vector<llvm::Value*> masks_in_words(cpu::Emitter& e, Elements& x);

/// Without an offset.
llvm::Value* plain(cpu::Emitter& e, const Element& x);

/// An elementwise op (cast and bitcast included) of one element each. `coarse`: the hardware's short tanh, a short polynomial for
/// exp2 and in sigmoid (Uses::coarse).
Element emit_elementwise(cpu::Emitter& e, const ir::Op& op, const Elements& x, bool strict, int sm, bool coarse = false);

/// A fold step and its neutral start, in accumulator form (codegen/cpu/arith.h).
llvm::Value* fold_step(cpu::Emitter& e, ir::ReduceKind kind, DType t, llvm::Value* acc, llvm::Value* x);

/// The value of another lane, of any register form.
llvm::Value* shuffle(cpu::Emitter& e, Primitive how, llvm::Value* x, llvm::Value* lane);

/// Register forms as 32-bit words with elements side by side, lowest first: `per` of them a word (1, 2 or 4; 32, 16 or 8 bits each).
llvm::Value* pack_word(cpu::Emitter& e, const std::vector<llvm::Value*>& elements);
/// Two f32 rounded to f16 or bf16, in one word.
llvm::Value* pack_rounded(cpu::Emitter& e, DType t, llvm::Value* low, llvm::Value* high);
/// Four f32 rounded to e4m3 or e5m2, saturating, in one word.
llvm::Value* pack_codes(cpu::Emitter& e, DType t, const std::vector<llvm::Value*>& x);
/// A word of f32 rounded to tf32, ties away from zero; NaN stays one.
llvm::Value* round_tf32(cpu::Emitter& e, llvm::Value* word);
/// Element `i` of a word as a register form of `t`.
llvm::Value* unpack_word(cpu::Emitter& e, DType t, llvm::Value* word, int i);

}  // namespace tessera::gpu
