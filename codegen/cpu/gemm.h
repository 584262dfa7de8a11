// A large product in memory: C[M,N] (+)= A[M,K] * B[K,N], blocked for the caches and packed, on top of micro.h and pack.h.
//
// Lowering uses it where a loop over k only accumulates a product of two loads: the whole loop becomes one call of emit_gemm over the loop's
// k range, whatever the author's k tile. Blocking: kc units of k, nc lanes, mc rows; B in [k][strip] panels, A copied with padded rows.
// Instances of a grid are independent, so each packs its own panels, which costs about 2 / min(tile extents) of the product. Instances that
// follow each other on one thread and share an operand (the same columns of B, the same rows of A) can keep it packed: `a_packed`, `b_packed`.
#pragma once

#include "codegen/cpu/pack.h"

namespace tessera::cpu {

struct GemmOperand {
  PackSource source;  ///< A: rows x k or k x rows; B: k x lanes or lanes x k; slow_count and fast_count are the valid extents
  bool k_is_fast = true;
  /// A only. i1: its rows may be read where they lie, `row_stride` units apart; null: never.
  llvm::Value* in_place = nullptr;
  llvm::Value* row_stride = nullptr;
};

struct Gemm {
  Product product = Product::F32;
  GemmOperand a, b;
  llvm::Value* k = nullptr;   ///< elements of k, at least 0; both sources are valid below it
  std::int64_t m = 0, n = 0;  ///< the tile: all of C[m][n] is written, rows and lanes beyond the valid ones as zero sums
  llvm::Value* c = nullptr;   ///< [m][strip-rounded n] accumulators, rows c_row elements apart, 64-byte aligned
  llvm::Value* c_row = nullptr;
  bool accumulate = false;  ///< C += instead of C =
  /// i1: the scratch still holds this operand whole, left there by the previous emit_gemm code that ran with the same scratch, source and k.
  /// Null: never. It is honoured while k fits `k_blocks` cache blocks (gemm_block_k each); longer sums pack again.
  llvm::Value* a_packed = nullptr;
  llvm::Value* b_packed = nullptr;
  std::int64_t k_blocks = 1;
};

/// Elements of k in one cache block.
std::int64_t gemm_block_k(Product p);
/// Bytes of scratch, 64-byte aligned, for a tile of these extents and any k.
std::int64_t gemm_scratch_bytes(Product p, std::int64_t m, std::int64_t n, std::int64_t k_blocks = 1);
void emit_gemm(Emitter& e, const Gemm& g, llvm::Value* scratch);

}  // namespace tessera::cpu
