// The product emitter: C[r][lanes] += sum over k of A[r][k] * B[k][lanes]. Every contraction of the back end goes through it.
//
// A is read one element at a time and broadcast; B is read in lane vectors; the results stay in a block of registers for the whole of k.
// One k step is a *unit*: one f32, f64 or i32, or a pair of 16-bit elements (k and k + 1) in 32 bits. All strides and k counts below are in
// units, so A may be a [rows][k] matrix (a_k = 1), a [k][rows] one (a_row = 1), or anything strided; B is a panel whose rows are b_k apart:
// packed (pack.h), what an earlier product or softmax wrote, or memory as it is.
#pragma once

#include "codegen/cpu/emitter.h"
#include "dsl/dtype.h"

namespace tessera::cpu {

enum class Product : std::uint8_t {
  F32,       ///< f32 * f32 -> f32
  BF16Pair,  ///< pairs of bf16 -> f32 (vdpbf16ps)
  F64,       ///< f64 * f64 -> f64
  I16Pair,   ///< pairs of i16 -> i32, wrapping (vpmaddwd); i8 and u8 are widened in packing
  I32        ///< i32 * i32 -> i32, wrapping
};

/// The form in which elements of these two types are multiplied. Both operands must be packed or written as this form's units:
/// bf16, e4m3 and e5m2 become bf16 pairs where the target has vdpbf16ps, else f32; f16 becomes f32; 8- and 16-bit integers pairs.
Product product_for(DType a, DType b, const VectorTarget& target);
/// The type of one unit of B in a lane vector as memory holds it: float, i32 (a pair) or double.
llvm::Type* unit_type(Emitter& e, Product p);
int unit_bytes(Product p);                            ///< 4 or 8
int unit_k(Product p);                                ///< elements of k in a unit: 1 or 2
llvm::Type* accumulator_type(Emitter& e, Product p);  ///< element type: float, double or i32

/// Rows x lane vectors that fill the target's registers without spilling.
struct RegisterBlock {
  int rows = 4, vectors = 4;
};
RegisterBlock register_block(Product p, const VectorTarget& target);

/// Operands of a product, in units. `a` points to row 0, k 0; `b` to k 0, lane 0.
struct ProductOperands {
  llvm::Value* a = nullptr;
  llvm::Value* a_row = nullptr;
  llvm::Value* a_k = nullptr;
  llvm::Value* b = nullptr;
  llvm::Value* b_k = nullptr;
  llvm::Value* k = nullptr;        ///< units, at least 1
  int b_align = 64;                ///< of every lane vector of B: 64 for packed panels, the element size for memory as it is
  llvm::Value* b_ahead = nullptr;  ///< units of B from what is read to what is to be fetched beside it; null: nothing
};

/// One register block: rows * vectors sums, index [r * vectors + v]. Starts from `init` if given, else from zero.
Values emit_micro(Emitter& e, Product p, RegisterBlock block, const ProductOperands& o, Values init = {});

/// Gets a finished block from registers: rows row0 .. row0 + rows of `sums` [r * vectors + v]; returns the values carried over the row loop.
using Epilogue = std::function<Values(llvm::Value* row0, int rows, llvm::ArrayRef<llvm::Value*> sums, llvm::ArrayRef<llvm::Value*> carried)>;

/// `rows` rows of one strip of block.vectors lane vectors: a loop of register blocks, each given to `epilogue`. A number of rows that the block
/// does not divide gets a smaller last block. Emits inline: wrap it in Emitter::shared for code that many places use.
Values emit_product(Emitter& e, Product p, RegisterBlock block, const ProductOperands& o, std::int64_t rows, Values carried,
                    const Epilogue& epilogue);

/// What the shared product functions do with C.
enum class Accumulate : std::uint8_t {
  Overwrite,  ///< C = sums
  Add,        ///< C = C + sums
  SetOrAdd,   ///< C = sums where `scale` is null, else C + sums
  ScaleAdd    ///< C = C * scale[lane] + sums
};

/// The module's one internal noinline function for (product, block, accumulate, rows mod block.rows or kAnyRows, alignment of B):
/// void(ptr a, i64 a_row, i64 a_k, ptr b, i64 b_k, i64 k, ptr c, i64 c_row, i64 rows, ptr scale).
/// C is [rows][block.vectors * kLanes] accumulators with rows c_row elements apart, 64-byte aligned; `rows` is any number >= 0 with that
/// remainder (any at all for kAnyRows); `scale` is read for ScaleAdd only.
inline constexpr int kAnyRows = -1;
llvm::Function* product_function(Emitter& e, Product p, RegisterBlock block, Accumulate accumulate, int rows_remainder, int b_align);
/// Calls it for `rows` rows, constant or not.
void call_product(Emitter& e, Product p, RegisterBlock block, Accumulate accumulate, const ProductOperands& o, std::int64_t rows, llvm::Value* c,
                  llvm::Value* c_row, llvm::Value* scale = nullptr);
void call_product(Emitter& e, Product p, RegisterBlock block, Accumulate accumulate, const ProductOperands& o, llvm::Value* rows, llvm::Value* c,
                  llvm::Value* c_row, llvm::Value* scale = nullptr);

}  // namespace tessera::cpu
