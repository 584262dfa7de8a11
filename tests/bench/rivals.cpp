#include "tests/bench/rivals.h"

#ifdef BENCH_OPENBLAS
#include <cblas.h>
extern "C" void openblas_set_num_threads(int threads);
#endif
#ifdef BENCH_ONEDNN
#include <dnnl.hpp>
extern "C" void omp_set_num_threads(int threads);
#endif

namespace tessera::bench {

#ifdef BENCH_OPENBLAS
Rival openblas_gemm(int threads, const float* a, const float* b, float* c, int m, int n, int k) {
  openblas_set_num_threads(threads);
  return {"OpenBLAS", [=] { cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1.0f, a, k, b, n, 0.0f, c, n); }, ""};
}
#else
Rival openblas_gemm(int, const float*, const float*, float*, int, int, int) {
  return {"OpenBLAS", nullptr, "OpenBLAS was not found when the bench was built (./dev setup --rivals)"};
}
#endif

#ifdef BENCH_ONEDNN
namespace {

using dnnl::memory;

Rival onednn_matmul(int threads, memory::data_type type, const void* a, const void* b, float* c, int m, int n, int k) {
  omp_set_num_threads(threads);
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const memory::desc da({m, k}, type, memory::format_tag::ab), db({k, n}, type, memory::format_tag::ab),
      dc({m, n}, memory::data_type::f32, memory::format_tag::ab);
#if DNNL_VERSION_MAJOR >= 3
  const dnnl::matmul::primitive_desc description(engine, da, db, dc);
#else
  const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(da, db, dc), engine);
#endif
  const dnnl::matmul product(description);
  const memory ma(da, engine, const_cast<void*>(a)), mb(db, engine, const_cast<void*>(b)), mc(dc, engine, c);
  return {"oneDNN",
          [=]() mutable {
            product.execute(stream, {{DNNL_ARG_SRC, ma}, {DNNL_ARG_WEIGHTS, mb}, {DNNL_ARG_DST, mc}});
            stream.wait();
          },
          ""};
}

}  // namespace

Rival onednn_gemm(int threads, const float* a, const float* b, float* c, int m, int n, int k) {
  return onednn_matmul(threads, memory::data_type::f32, a, b, c, m, n, k);
}

Rival onednn_gemm_bf16(int threads, const void* a, const void* b, float* c, int m, int n, int k) {
  return onednn_matmul(threads, memory::data_type::bf16, a, b, c, m, n, k);
}

Rival onednn_softmax(int threads, const float* x, float* y, int rows, int columns) {
  omp_set_num_threads(threads);
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(engine);
  const memory::desc d({rows, columns}, memory::data_type::f32, memory::format_tag::ab);
#if DNNL_VERSION_MAJOR >= 3
  const dnnl::softmax_forward::primitive_desc description(engine, dnnl::prop_kind::forward_inference, dnnl::algorithm::softmax_accurate, d, d, 1);
#else
  const dnnl::softmax_forward::primitive_desc description(dnnl::softmax_forward::desc(dnnl::prop_kind::forward_inference, d, 1), engine);
#endif
  const dnnl::softmax_forward softmax(description);
  const memory mx(d, engine, const_cast<float*>(x)), my(d, engine, y);
  return {"oneDNN",
          [=]() mutable {
            softmax.execute(stream, {{DNNL_ARG_SRC, mx}, {DNNL_ARG_DST, my}});
            stream.wait();
          },
          ""};
}
#else
namespace {
constexpr const char* kNoOneDnn = "oneDNN was not found when the bench was built (./dev setup --rivals)";
}
Rival onednn_gemm(int, const float*, const float*, float*, int, int, int) { return {"oneDNN", nullptr, kNoOneDnn}; }
Rival onednn_gemm_bf16(int, const void*, const void*, float*, int, int, int) { return {"oneDNN", nullptr, kNoOneDnn}; }
Rival onednn_softmax(int, const float*, float*, int, int) { return {"oneDNN", nullptr, kNoOneDnn}; }
#endif

}  // namespace tessera::bench
