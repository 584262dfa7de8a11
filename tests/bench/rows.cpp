// Row kernels: softmax and RMSNorm, out of cache beside a copy of as many bytes, and softmax in cache beside oneDNN.
#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "tests/bench/cells.h"
#include "tests/bench/measure.h"
#include "tests/bench/rivals.h"

namespace tessera::bench {

namespace {

constexpr std::int64_t kColumns = 4096;

struct Rows {
  std::int64_t rows;
  std::shared_ptr<float[]> x, y, copy, w;
  explicit Rows(std::int64_t n) : rows(n) {
    const std::size_t count = static_cast<std::size_t>(n * kColumns);
    x = allocate<float>(count), y = allocate<float>(count), copy = allocate<float>(count), w = allocate<float>(kColumns);
    for (std::size_t i = 0; i < count; ++i) x[i] = 6 * sample(i);
    for (std::size_t j = 0; j < kColumns; ++j) w[j] = 1 + sample(j);
  }
  View<float, 2> in() const { return {x.get(), {rows, kColumns}}; }
  View<float, 2> out() const { return {y.get(), {rows, kColumns}}; }
  double bytes() const { return 2.0 * sizeof(float) * static_cast<double>(rows * kColumns); }
};

void check_softmax(const Rows& r) {
  for (std::int64_t i : {std::int64_t{0}, r.rows - 1}) {
    double sum = 0;
    const float* x = r.x.get() + i * kColumns;
    for (std::int64_t j = 0; j < kColumns; ++j) sum += std::exp(static_cast<double>(x[j]));
    for (std::int64_t j = 0; j < kColumns; ++j) {
      const double want = std::exp(static_cast<double>(x[j])) / sum;
      expect_near(static_cast<double>(r.y[static_cast<std::size_t>(i * kColumns + j)]), want, 1e-5 * want, fmt::format("y[{}, {}]", i, j));
    }
  }
}

void check_rms(const Rows& r, double eps) {
  for (std::int64_t i : {std::int64_t{0}, r.rows - 1}) {
    double sum = 0;
    const float* x = r.x.get() + i * kColumns;
    for (std::int64_t j = 0; j < kColumns; ++j) sum += static_cast<double>(x[j]) * static_cast<double>(x[j]);
    const double scale = 1 / std::sqrt(sum / kColumns + eps);
    for (std::int64_t j = 0; j < kColumns; ++j) {
      const double want = static_cast<double>(x[j]) * scale * static_cast<double>(r.w[static_cast<std::size_t>(j)]);
      expect_near(static_cast<double>(r.y[static_cast<std::size_t>(i * kColumns + j)]), want, 1e-5 * std::fabs(want) + 1e-7,
                  fmt::format("y[{}, {}]", i, j));
    }
  }
}

/// A copy of all rows by the launch's number of threads: what moves as many bytes and does nothing else.
std::function<void()> copier(const Rows& r, const Context& context) {
  // The language's own copy kernel divides the work as ours does; memcpy is what one thread can do at best.
  if (context.threads() == 1) return [&r] { std::memcpy(r.copy.get(), r.x.get(), static_cast<std::size_t>(r.rows * kColumns) * sizeof(float)); };
  const AnyKernel kernel = load_kernel("examples/ladder/01_copy.tile", "copy", {{"T", ElementType::F32}, {"BM", 16}, {"BN", kColumns}});
  return [&r, kernel, context] { kernel.launch(context, {r.in(), View<float, 2>(r.copy.get(), {r.rows, kColumns})}); };
}

}  // namespace

std::vector<Cell> row_cells(const Setting& s) {
  std::vector<Cell> cells;
  const Context context = Context::cpu(s.threads);
  const float eps = 1e-6f;
  const Rows large(8192);  // 128 MB in, 128 MB out
  cells.push_back(guarded("softmax_copy", "softmax rows 8192 x 4096 f32, of the copy rate", [&] {
    const AnyKernel kernel = load_kernel("examples/ladder/03_softmax.tile", "softmax", {{"T", ElementType::F32}});
    const auto times = time_in_turns({[&] { kernel.launch(context, {large.in(), large.out()}); }, copier(large, context)}, s.rounds);
    check_softmax(large);
    return measured("softmax_copy", "softmax rows 8192 x 4096 f32, of the copy rate", gigabytes(large.bytes(), times[0].best),
                    fmt::format("copy {}", gigabytes(large.bytes(), times[1].best)), times[1].best / times[0].best);
  }));
  cells.push_back(guarded("rmsnorm_copy", "RMSNorm rows 8192 x 4096 f32, of the copy rate", [&] {
    const AnyKernel kernel = load_kernel("tests/bench/bench.tile", "rms_norm", {{"N", kColumns}});
    const View<float, 1> w(large.w.get(), {kColumns});
    const auto times = time_in_turns({[&] { kernel.launch(context, {large.in(), w, large.out(), eps}); }, copier(large, context)}, s.rounds);
    check_rms(large, static_cast<double>(eps));
    return measured("rmsnorm_copy", "RMSNorm rows 8192 x 4096 f32, of the copy rate", gigabytes(large.bytes(), times[0].best),
                    fmt::format("copy {}", gigabytes(large.bytes(), times[1].best)), times[1].best / times[0].best);
  }));
  const Rows small(16);  // stays in cache
  const std::string title = "softmax rows 16 x 4096 f32, in cache";
  cells.push_back(guarded("softmax_onednn", title, [&]() -> Cell {
    const Rival rival = onednn_softmax(s.threads, small.x.get(), small.copy.get(), static_cast<int>(small.rows), static_cast<int>(kColumns));
    if (!rival.run) return skipped("softmax_onednn", title, rival.why_not);
    const AnyKernel kernel = load_kernel("examples/ladder/03_softmax.tile", "softmax", {{"T", ElementType::F32}});
    const auto times = time_in_turns({[&] { kernel.launch(context, {small.in(), small.out()}); }, rival.run}, 20 * s.rounds);
    check_softmax(small);
    return measured("softmax_onednn", title, gigabytes(small.bytes(), times[0].best),
                    fmt::format("{} {}", rival.name, gigabytes(small.bytes(), times[1].best)), times[1].best / times[0].best);
  }));
  return cells;
}

}  // namespace tessera::bench
