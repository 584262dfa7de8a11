// A large product in memory: C[M,N] (+)= A[M,K] * B[K,N], blocked for the caches and packed, on top of micro.h and pack.h.
//
// Lowering uses it where a loop over k only accumulates a product of two loads: the whole loop becomes one call of emit_gemm over the loop's
// k range, whatever the author's k tile. Blocking: kc units of k, nc lanes, mc rows; B in [k][strip] panels, A copied with padded rows.
// Instances of a grid are independent, so each packs its own panels: the cost is about 2 / min(tile extents) of the product; `memo` removes B's
// part for instances that follow each other on one thread with the same columns.
#pragma once

#include "codegen/cpu/pack.h"

namespace tessera::cpu {

struct GemmOperand {
  PackSource source;  ///< A: rows x k or k x rows; B: k x lanes or lanes x k; slow_count and fast_count are the valid extents
  bool k_is_fast = true;
};

struct Gemm {
  Product product = Product::F32;
  GemmOperand a, b;
  llvm::Value* k = nullptr;   ///< elements of k, at least 0; both sources are valid below it
  std::int64_t m = 0, n = 0;  ///< the tile: all of C[m][n] is written, rows and lanes beyond the valid ones as zero sums
  llvm::Value* c = nullptr;   ///< [m][strip-rounded n] accumulators, rows c_row elements apart, 64-byte aligned
  llvm::Value* c_row = nullptr;
  bool accumulate = false;  ///< C += instead of C =
};

/// Bytes of scratch for a tile of these extents (64-byte aligned), the largest k included.
std::int64_t gemm_scratch_bytes(Product p, std::int64_t m, std::int64_t n, const VectorTarget& target);
void emit_gemm(Emitter& e, const Gemm& g, llvm::Value* scratch);

}  // namespace tessera::cpu
