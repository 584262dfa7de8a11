// One query a head over a long context: bound by reading keys and values.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "tests/bench/cells.h"
#include "tests/bench/measure.h"

namespace tessera::bench {

std::vector<Cell> decode_cells(const Setting& s) {
  const std::string key = "decode_read", title = "decode M=1, 16 heads x 8192, D=128, f32, of the read rate";
  return {guarded(key, title, [&] {
    constexpr std::int64_t heads = 16, length = 8192, dim = 128;
    const std::size_t count = static_cast<std::size_t>(heads * length * dim);
    const auto k = allocate<float>(count), v = allocate<float>(count), q = allocate<float>(heads * dim), o = allocate<float>(heads * dim);
    for (std::size_t i = 0; i < count; ++i) k[i] = sample(i), v[i] = sample(i + 123'456'789);
    for (std::size_t i = 0; i < static_cast<std::size_t>(heads * dim); ++i) q[i] = 2 * sample(i + 42);
    const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
    const AnyKernel kernel = load_kernel("tests/bench/bench.tile", "decode", {{"T", ElementType::F32}, {"D", dim}});
    // One thread: the read rate of several depends on which part of memory each gets.
    const Context context = Context::cpu(1);
    const View<float, 2> qv(q.get(), {heads, dim}), ov(o.get(), {heads, dim});
    const View<float, 3> kv(k.get(), {heads, length, dim}), vv(v.get(), {heads, length, dim});
    volatile float sink = 0;
    const auto times = time_in_turns({[&] { kernel.launch(context, {qv, kv, vv, ov, scale}); },
                                      [&] { sink = read_all(k.get(), count * sizeof(float)) + read_all(v.get(), count * sizeof(float)); }},
                                     s.rounds);
    for (std::int64_t h : {std::int64_t{0}, heads - 1}) {
      std::vector<double> p(length);
      double largest = -INFINITY, sum = 0;
      for (std::int64_t j = 0; j < length; ++j) {
        double x = 0;
        for (std::int64_t d = 0; d < dim; ++d) x += static_cast<double>(qv(h, d)) * static_cast<double>(kv(h, j, d));
        p[static_cast<std::size_t>(j)] = x * static_cast<double>(scale);
        largest = std::max(largest, p[static_cast<std::size_t>(j)]);
      }
      for (double& x : p) sum += x = std::exp(x - largest);
      for (std::int64_t d = 0; d < dim; d += 5) {
        double want = 0;
        for (std::int64_t j = 0; j < length; ++j) want += p[static_cast<std::size_t>(j)] * static_cast<double>(vv(h, j, d));
        expect_near(static_cast<double>(ov(h, d)), want / sum, 1e-5, fmt::format("o[{}, {}]", h, d));
      }
    }
    const double bytes = 2.0 * static_cast<double>(count * sizeof(float));
    return measured(key, title, gigabytes(bytes, times[0].best), fmt::format("read {}", gigabytes(bytes, times[1].best)),
                    times[1].best / times[0].best);
  })};
}

}  // namespace tessera::bench
