// Attention of 8 heads: share of the machine's peak, and beside the Python rivals.
#include <fmt/format.h>
#include <stdio.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <type_traits>

#include "tests/bench/cells.h"
#include "tests/bench/measure.h"

namespace tessera::bench {

namespace {

constexpr std::int64_t kHeads = 8;

struct Shape {
  std::int64_t length = 1024;
  std::int64_t dim = 128;
  bool causal = false;
};

/// Useful operations: 2 products over the pairs that are seen.
double flops(const Shape& s) {
  const double n = static_cast<double>(s.length);
  return 4.0 * static_cast<double>(s.dim * kHeads) * (s.causal ? n * (n + 1) / 2 : n * n);
}

/// q, k, v and o of one shape, [head, position, dim] in memory, as the kernels' [batch, position, head, dim].
template <class T>
class Problem {
 public:
  explicit Problem(Shape s) : shape_(s) {
    const std::size_t count = static_cast<std::size_t>(kHeads * s.length * s.dim);
    for (int i = 0; i < 4; ++i) data_[static_cast<std::size_t>(i)] = allocate<T>(count);
    for (std::size_t t = 0; t < 3; ++t)
      for (std::size_t i = 0; i < count; ++i) data_[t][i] = T(2 * sample(i + t * 100'000'007));
  }

  View<T, 4> view(std::size_t tensor) const {
    return {data_[tensor].get(),
            {1, shape_.length, kHeads, shape_.dim},
            {kHeads * shape_.length * shape_.dim, shape_.dim, shape_.length * shape_.dim, 1}};
  }
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(shape_.dim)); }

  /// Some rows against double arithmetic.
  void check() const {
    const auto q = view(0), k = view(1), v = view(2), o = view(3);
    for (std::int64_t t = 0; t < 12; ++t) {
      const std::int64_t h = t * 5 % kHeads, i = t == 0 ? 0 : t == 1 ? shape_.length - 1 : t * 97 % shape_.length;
      const std::int64_t seen = shape_.causal ? i + 1 : shape_.length;
      std::vector<double> p(static_cast<std::size_t>(seen));
      double largest = -INFINITY, sum = 0;
      for (std::int64_t j = 0; j < seen; ++j) {
        double s = 0;
        for (std::int64_t d = 0; d < shape_.dim; ++d) s += static_cast<double>(q(0, i, h, d)) * static_cast<double>(k(0, j, h, d));
        p[static_cast<std::size_t>(j)] = s * static_cast<double>(scale());
        largest = std::max(largest, p[static_cast<std::size_t>(j)]);
      }
      for (double& x : p) sum += x = std::exp(x - largest);
      for (std::int64_t d = 0; d < shape_.dim; d += 7) {
        double want = 0;
        for (std::int64_t j = 0; j < seen; ++j) want += p[static_cast<std::size_t>(j)] * static_cast<double>(v(0, j, h, d));
        expect_near(static_cast<double>(o(0, i, h, d)), want / sum, std::is_same_v<T, float> ? 1e-5 : 3e-2, fmt::format("o[{}, {}, {}]", i, h, d));
      }
    }
  }

 private:
  Shape shape_;
  std::array<std::shared_ptr<T[]>, 4> data_;
};

/// The ladder's kernel, which takes every float type.
template <class T>
AnyKernel ladder_kernel(const Shape& s) {
  return load_kernel("examples/ladder/05_attention.tile", "attention",
                     {{"T", Element<T>::type}, {"D", s.dim}, {"CAUSAL", s.causal}, {"BM", 128}, {"BN", 128}});
}

template <class T>
std::function<void()> launcher(const AnyKernel& kernel, const Problem<T>& p, const Context& context) {
  return [=, q = p.view(0), k = p.view(1), v = p.view(2), o = p.view(3), scale = p.scale()] {
    kernel.launch(context, {{"q", q}, {"k", k}, {"v", v}, {"o", o}, {"scale", scale}});
  };
}

template <class T>
Cell share_of_peak(const Setting& s, const std::string& key, const Shape& shape) {
  const std::string title =
      fmt::format("attention 8 heads, {}^2, D={}, {}{}", shape.length, shape.dim, name(Element<T>::type), shape.causal ? ", causal" : "");
  return guarded(key, title, [&]() -> Cell {
    const double peak = (std::is_same_v<T, float> ? s.peak.f32 : s.peak.bf16) * s.threads;
    if (peak == 0) return skipped(key, title, "this processor multiplies no bf16 pairs");
    const Problem<T> p(shape);
    const auto times = time_in_turns({launcher(ladder_kernel<T>(shape), p, Context::cpu(s.threads))}, s.rounds);
    p.check();
    return measured(key, title, gflops(flops(shape), times[0].best), fmt::format("peak {}", gflops(peak, 1)), flops(shape) / times[0].best / peak);
  });
}

/// Milliseconds by rival name, as rivals.py prints them: a name, a tab, a number or `skip REASON`.
std::vector<std::pair<std::string, std::string>> run_python_rivals(const Setting& s, const Shape& shape) {
  const std::string command = fmt::format(
      "OMP_WAIT_POLICY=passive OMP_NUM_THREADS={} '{}' '{}/tests/bench/rivals.py' --heads {} --length {} --dim {} --threads {}{} 2>/dev/null",
      s.threads, s.python, TESSERA_SOURCE_DIR, kHeads, shape.length, shape.dim, s.threads, shape.causal ? " --causal" : "");
  std::vector<std::pair<std::string, std::string>> lines;
  FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) return lines;
  char buffer[512];
  while (std::fgets(buffer, sizeof buffer, pipe)) {
    const std::string line(buffer);
    const std::size_t tab = line.find('\t');
    if (tab != std::string::npos) lines.emplace_back(line.substr(0, tab), line.substr(tab + 1, line.find('\n') - tab - 1));
  }
  pclose(pipe);
  return lines;
}

Cell beside_python(const Setting& s, const std::string& key, const Shape& shape) {
  const std::string title = fmt::format("attention 8 heads, {}^2, D={}, f32{}", shape.length, shape.dim, shape.causal ? ", causal" : "");
  return guarded(key, title, [&]() -> Cell {
    if (s.python.empty()) return skipped(key, title, "no ONNX Runtime and PyTorch (./dev setup --rivals)");
    const Problem<float> p(shape);
    const auto run = launcher(ladder_kernel<float>(shape), p, Context::cpu(s.threads));
    double ours = INFINITY, theirs = INFINITY;
    std::string fastest;
    // Processes in turns: each has the machine to itself while it runs.
    for (int turn = 0; turn < 3; ++turn) {
      ours = std::min(ours, time_in_turns({run}, s.rounds)[0].best);
      for (const auto& [rival, text] : run_python_rivals(s, shape)) {
        if (text.rfind("skip", 0) == 0) continue;
        const double seconds = std::strtod(text.c_str(), nullptr) * 1e-3;
        if (seconds > 0 && seconds < theirs) theirs = seconds, fastest = rival;
      }
    }
    p.check();
    if (fastest.empty()) return skipped(key, title, "no Python rival ran");
    return measured(key, title, gflops(flops(shape), ours), fmt::format("{} {}", fastest, gflops(flops(shape), theirs)), theirs / ours);
  });
}

Cell ladder_beside_std(const Setting& s) {
  const std::string key = "ladder_attention_std", title = "the ladder's attention beside std.attention, bf16, D=128, causal";
  return guarded(key, title, [&] {
    const Shape shape{1024, 128, true};
    const Problem<bf16> p(shape);
    const Context context = Context::cpu(s.threads);
    const AnyKernel standard = load_source("bench_std.tile",
                                           "import std.attention as att;\n"
                                           "fn causal(x: att.None) -> att.Variant { return att.causal(); }\n"
                                           "kernel causal_fwd = att.fwd[X: att.None, variant: causal];\n")
                                   .kernel("causal_fwd", {{"T", ElementType::BF16}, {"D", 128}, {"R", 1}, {"BM", 128}, {"BN", 128}});
    const auto times = time_in_turns({launcher(ladder_kernel<bf16>(shape), p, context), launcher(standard, p, context)}, s.rounds);
    p.check();
    return measured(key, title, gflops(flops(shape), times[0].best), fmt::format("std {}", gflops(flops(shape), times[1].best)),
                    times[1].best / times[0].best);
  });
}

}  // namespace

std::vector<Cell> attention_cells(const Setting& s) {
  return {share_of_peak<float>(s, "attention_f32_d128", {1024, 128, false}),
          share_of_peak<bf16>(s, "attention_bf16_d128", {1024, 128, false}),
          share_of_peak<float>(s, "attention_f32_d128_causal", {1024, 128, true}),
          share_of_peak<bf16>(s, "attention_bf16_d128_causal", {1024, 128, true}),
          share_of_peak<float>(s, "attention_f32_d64", {1024, 64, false}),
          share_of_peak<bf16>(s, "attention_bf16_d64", {1024, 64, false}),
          share_of_peak<float>(s, "attention_f32_d64_4096", {4096, 64, false}),
          share_of_peak<bf16>(s, "attention_bf16_d64_4096", {4096, 64, false}),
          share_of_peak<float>(s, "attention_f32_d128_4096", {4096, 128, false}),
          share_of_peak<bf16>(s, "attention_bf16_d128_4096", {4096, 128, false}),
          ladder_beside_std(s)};
}

std::vector<Cell> attention_rival_cells(const Setting& s) {
  return {beside_python(s, "attention_rival_d128", {1024, 128, false}), beside_python(s, "attention_rival_d128_causal", {1024, 128, true})};
}

}  // namespace tessera::bench
