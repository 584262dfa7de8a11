// Elements in memory: loads and stores of 16 of them (or one) at uniform, consecutive or arbitrary offsets, in register form (value.h).
#pragma once

#include "codegen/cpu/value.h"

namespace tessera::cpu {

/// How a dtype lies in memory.
struct Cell {
  DType dtype = DType::F32;
  bool packed = false;  ///< 4-bit types: two a byte, as views hold them; else a byte each, as the arena does

  bool nibble() const { return packed && bits(dtype) == 4; }
  std::int64_t bytes() const { return bits(dtype) < 8 ? 1 : bits(dtype) / 8; }
};
inline Cell view_cell(DType t) { return {t, true}; }
inline Cell arena_cell(DType t) { return {t, false}; }

/// A constant that is known to be all true, or null.
bool is_true(llvm::Value* mask);

/// Elements base[offset]; zero where `mask` (i1, <16 x i1> or null) is false, and no memory is touched there. A uniform offset under a uniform
/// mask gives a scalar. `align` in bytes holds for consecutive offsets.
llvm::Value* load_elements(Emitter& e, Cell cell, llvm::Value* base, const Lanes& offset, llvm::Value* mask, int align);
/// Elements where `mask` holds. Of lanes at one address the last wins.
/// Where `stream` (an i1 or null) holds, whole aligned vectors bypass the caches.
void store_elements(Emitter& e, Cell cell, llvm::Value* base, const Lanes& offset, llvm::Value* value, llvm::Value* mask, int align,
                    llvm::Value* stream = nullptr);
/// *p += x in one element of memory, atomic (relaxed); returns the old value.
llvm::Value* add_element(Emitter& e, DType t, llvm::Value* p, llvm::Value* x);
/// base[offset] += value, lane after lane, each atomic (relaxed); the old elements, zero where the mask is false.
llvm::Value* add_elements(Emitter& e, Cell cell, llvm::Value* base, const Lanes& offset, llvm::Value* value, llvm::Value* mask);

}  // namespace tessera::cpu
