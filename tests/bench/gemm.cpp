// C = A B, 1024^3, beside OpenBLAS and oneDNN.
#include <fmt/format.h>

#include <type_traits>

#include "tests/bench/cells.h"
#include "tests/bench/measure.h"
#include "tests/bench/rivals.h"

namespace tessera::bench {

namespace {

constexpr int kSize = 1024;
constexpr double kFlops = 2.0 * kSize * kSize * kSize;

template <class T>
struct Problem {
  std::shared_ptr<T[]> a = allocate<T>(kSize * kSize), b = allocate<T>(kSize * kSize);
  std::shared_ptr<float[]> rival = allocate<float>(kSize * kSize);
  std::shared_ptr<T[]> ours = allocate<T>(kSize * kSize);
};

template <class T>
Problem<T> make_problem() {
  Problem<T> p;
  for (std::size_t i = 0; i < std::size_t{kSize} * kSize; ++i) {
    p.a[i] = T(sample(i));
    p.b[i] = T(sample(i + 7'000'003));
  }
  return p;
}

/// Compares some of C with double sums.
template <class T>
void check(const Problem<T>& p) {
  for (std::size_t q = 0; q < 64; ++q) {
    const std::size_t i = q * 67 % kSize, j = q * 131 % kSize;
    double sum = 0;
    for (std::size_t k = 0; k < kSize; ++k) sum += static_cast<double>(p.a[i * kSize + k]) * static_cast<double>(p.b[k * kSize + j]);
    expect_near(static_cast<double>(p.ours[i * kSize + j]), sum, std::is_same_v<T, float> ? 1e-3 : 0.3, fmt::format("c[{}, {}]", i, j));
  }
}

template <class T>
Cell cell(const Setting& s, const std::string& key, const std::string& title, const Problem<T>& p, const Rival& rival) {
  return guarded(key, title, [&]() -> Cell {
    if (!rival.run) return skipped(key, title, rival.why_not);
    const ElementType type = Element<T>::type;
    const AnyKernel kernel = load_kernel("examples/ladder/04_gemm.tile", "gemm", {{"T", type}, {"BM", 128}, {"BN", 128}, {"BK", 64}});
    const Context context = Context::cpu(s.threads);
    const std::array<std::int64_t, 2> extents{kSize, kSize};
    const std::array<Argument, 3> arguments{Tensor(static_cast<const void*>(p.a.get()), type, extents),
                                            Tensor(static_cast<const void*>(p.b.get()), type, extents), Tensor(p.ours.get(), type, extents)};
    const auto times = time_in_turns({[&] { kernel.launch(context, arguments); }, rival.run}, s.rounds);
    check(p);
    return measured(key, title, gflops(kFlops, times[0].best), fmt::format("{} {}", rival.name, gflops(kFlops, times[1].best)),
                    times[1].best / times[0].best);
  });
}

}  // namespace

std::vector<Cell> gemm_cells(const Setting& s) {
  const auto f = make_problem<float>();
  const auto h = make_problem<bf16>();
  return {cell(s, "gemm_f32_openblas", "GEMM 1024^3 f32", f, openblas_gemm(s.threads, f.a.get(), f.b.get(), f.rival.get(), kSize, kSize, kSize)),
          cell(s, "gemm_f32_onednn", "GEMM 1024^3 f32", f, onednn_gemm(s.threads, f.a.get(), f.b.get(), f.rival.get(), kSize, kSize, kSize)),
          cell(s, "gemm_bf16_onednn", "GEMM 1024^3 bf16", h, onednn_gemm_bf16(s.threads, h.a.get(), h.b.get(), h.rival.get(), kSize, kSize, kSize))};
}

}  // namespace tessera::bench
