// Packing: operands of products as micro.h reads them, converted to units, zero where the source has nothing.
//
// A source is a set of rows, each contiguous (or strided) in memory along the *fast* axis; the rows may lie anywhere (a stride, a page table, a
// gather), which a callback tells. Both axes have a valid count; outside of it memory is not touched and zeros are written.
#pragma once

#include "codegen/cpu/micro.h"

namespace tessera::cpu {

struct PackSource {
  DType dtype = DType::F32;
  /// Address of the fast-axis element 0 of a slow-axis index.
  std::function<llvm::Value*(llvm::Value* slow)> row;
  /// i1: whether the row exists; null: all slow indices below `slow_count` do.
  std::function<llvm::Value*(llvm::Value* slow)> row_exists;
  llvm::Value* fast_stride = nullptr;  ///< elements; null: 1
  llvm::Value* slow_count = nullptr;   ///< valid rows
  llvm::Value* fast_count = nullptr;   ///< valid elements of a row
  llvm::Value* ahead = nullptr;        ///< elements from what is read to what is to be fetched beside it; null: nothing
  bool full = false;                   ///< promises that everything packed is valid: no masks are emitted
};
/// Rows `stride` elements apart.
PackSource strided_source(Emitter& e, DType dtype, llvm::Value* base, llvm::Value* slow_stride, llvm::Value* slow_count, llvm::Value* fast_count);

/// `s` seen from (slow, fast) on.
PackSource shifted(Emitter& e, const PackSource& s, llvm::Value* slow, llvm::Value* fast);

/// B as a panel dst[k units][lanes] of units, `lanes` a multiple of kLanes (a constant), rows of the panel `lanes` units apart, 64-byte aligned.
/// `k_units` rows (an i64, at least 0) are written whole: invalid elements are zero. The transposing form needs room for k_units rounded up
/// to kLanes. Source slow = k, fast = lanes: rows are copied (and pairs interleaved).
void emit_pack_panel(Emitter& e, Product p, const PackSource& k_by_lanes, llvm::Value* k_units, int lanes, llvm::Value* dst);
/// Source slow = lanes, fast = k: 16 x 16 transposes.
void emit_pack_panel_transposed(Emitter& e, Product p, const PackSource& lanes_by_k, llvm::Value* k_units, int lanes, llvm::Value* dst);

/// A as rows dst[row][k units], rows `dst_row` units apart: a multiple of kLanes with room for k_units rounded up to one, 64-byte aligned; an
/// odd multiple avoids 4K aliasing.
/// Source slow = rows, fast = k. `rows` and `k_units` may be any i64 >= 0.
void emit_pack_rows(Emitter& e, Product p, const PackSource& rows_by_k, llvm::Value* rows, llvm::Value* k_units, llvm::Value* dst,
                    llvm::Value* dst_row);

// --- pieces

/// The type of an element in memory: float, double, half, or an integer of its width (bf16 and fp8 included). Not for 4-bit types.
llvm::Type* memory_type(Emitter& e, DType dtype);
/// A vector of elements as they lie in memory (memory_type), as `element`: float, double or i32. Exact where the target type holds the value;
/// integers extend by their own signedness and wrap.
llvm::Value* emit_widen(Emitter& e, DType dtype, llvm::Value* raw, llvm::Type* element);
/// The inverse for floats: f32 (f64) to `dtype` in memory form, rounded to nearest even; fp8 is not covered.
llvm::Value* emit_narrow(Emitter& e, DType dtype, llvm::Value* x);
/// Transposes 16 vectors of 16 32-bit elements in registers.
Values emit_transpose16(Emitter& e, Values rows);
/// The same through memory, as one shared noinline function: dst[c][r] = src[r][c] for 32-bit elements, rows `dst_row` and `src_row` apart.
void call_transpose16(Emitter& e, llvm::Value* dst, llvm::Value* dst_row, llvm::Value* src, llvm::Value* src_row);
/// Two vectors of f32, rounded to bf16 (nearest even) and paired: low half = `even`, high half = `odd`. What a product reads as BF16Pair units.
llvm::Value* emit_bf16_pair(Emitter& e, llvm::Value* even, llvm::Value* odd);
/// Two vectors of 16-bit integers (as <n x i16>) paired into <n x i32>.
llvm::Value* emit_pair16(Emitter& e, llvm::Value* even, llvm::Value* odd);
/// f32 -> bf16 and back, nearest even, as <n x i16> bits.
llvm::Value* emit_f32_to_bf16(Emitter& e, llvm::Value* x);
llvm::Value* emit_bf16_to_f32(Emitter& e, llvm::Value* bits);
/// e4m3 and e5m2 bits (<n x i8>) to f32, exactly.
llvm::Value* emit_fp8_to_f32(Emitter& e, DType dtype, llvm::Value* bits);

}  // namespace tessera::cpu
