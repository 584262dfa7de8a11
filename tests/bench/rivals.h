// Library rivals that are linked in where they are installed. Every function says in `available` whether it is there.
#pragma once

#include <functional>
#include <string>

namespace tessera::bench {

/// A rival's computation, ready to be timed; empty where the library is not installed, with the reason.
struct Rival {
  std::string name;
  std::function<void()> run;
  std::string why_not;
};

/// C[m, n] = A[m, k] B[k, n], row-major f32.
Rival openblas_gemm(int threads, const float* a, const float* b, float* c, int m, int n, int k);
Rival onednn_gemm(int threads, const float* a, const float* b, float* c, int m, int n, int k);
/// The same from bf16 with f32 results.
Rival onednn_gemm_bf16(int threads, const void* a, const void* b, float* c, int m, int n, int k);
/// Softmax of every row.
Rival onednn_softmax(int threads, const float* x, float* y, int rows, int columns);

}  // namespace tessera::bench
