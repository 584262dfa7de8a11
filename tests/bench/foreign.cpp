// Kernels that no library ships (tests/foreign): they must reach the class of what is measured elsewhere, whatever they compute.
#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <deque>

#include "tests/bench/cells.h"
#include "tests/bench/measure.h"

namespace tessera::bench {

namespace {

/// Tensors of one launch by name, all of one element type but for those given as f32.
class Problem {
 public:
  void tensor(const std::string& name, ElementType type, std::vector<std::int64_t> extents) {
    std::size_t count = 1;
    for (const std::int64_t n : extents) count *= static_cast<std::size_t>(n);
    auto memory = allocate_bytes((count * (type == ElementType::F32 ? 4 : 2) + 63) / 64 * 64);
    for (std::size_t i = 0; i < count; ++i) {
      if (type == ElementType::F32)
        static_cast<float*>(memory.get())[i] = sample(i + 1009 * memory_.size());
      else
        static_cast<bf16*>(memory.get())[i] = bf16(sample(i + 1009 * memory_.size()));
    }
    extents_.push_back(std::move(extents));
    memory_.push_back(memory);
    arguments_.emplace(name, Argument(Tensor(memory.get(), type, std::span<const std::int64_t>(extents_.back()))));
  }
  void scalar(const std::string& name, float x) { arguments_.emplace(name, Argument(x)); }
  const std::map<std::string, Argument>& arguments() const { return arguments_; }
  /// The result must be numbers: what they are is the tests' business.
  void check(ElementType type) const {
    for (std::size_t i = 0; i < 1000; ++i) {
      const double x = type == ElementType::F32 ? static_cast<double>(static_cast<const float*>(memory_.back().get())[i * 61])
                                                : static_cast<double>(static_cast<float>(static_cast<const bf16*>(memory_.back().get())[i * 61]));
      if (!std::isfinite(x)) throw WrongResult(fmt::format("element {} is {}", i * 61, x));
    }
  }

 private:
  std::deque<std::vector<std::int64_t>> extents_;
  std::vector<std::shared_ptr<void>> memory_;  ///< the output comes last
  std::map<std::string, Argument> arguments_;
};

Cell of_peak(const Setting& s, const std::string& file, ElementType type, const Consts& constants, double flops, const Problem& p) {
  const bool f32 = type == ElementType::F32;
  const std::string key = fmt::format("foreign_{}_{}", file, f32 ? "f32" : "bf16");
  const std::string title = fmt::format("foreign: {}, {}, of peak", file, f32 ? "f32" : "bf16");
  return guarded(key, title, [&]() -> Cell {
    const double peak = (f32 ? s.peak.f32 : s.peak.bf16) * s.threads;
    if (peak == 0) return skipped(key, title, "this processor multiplies no bf16 pairs");
    const AnyKernel kernel = load_kernel("tests/foreign/" + file + ".tile", file, constants);
    const Context context = Context::cpu(s.threads);
    const auto times = time_in_turns({[&] { kernel.launch(context, p.arguments()); }}, s.rounds);
    p.check(type);
    return measured(key, title, gflops(flops, times[0].best), fmt::format("peak {}", gflops(peak, 1)), flops / times[0].best / peak);
  });
}

Cell of_copy(const Setting& s, const std::string& file, const Problem& p, std::size_t bytes) {
  const std::string key = "foreign_" + file, title = fmt::format("foreign: {}, f32, of the copy rate", file);
  return guarded(key, title, [&]() -> Cell {
    const AnyKernel kernel = load_kernel("tests/foreign/" + file + ".tile", file, {{"T", ElementType::F32}});
    const Context context = Context::cpu(s.threads);
    const auto from = allocate_bytes(bytes), to = allocate_bytes(bytes);
    const auto times = time_in_turns({[&] { kernel.launch(context, p.arguments()); }, [&] { std::memcpy(to.get(), from.get(), bytes); }}, s.rounds);
    p.check(ElementType::F32);
    const double moved = 2.0 * static_cast<double>(bytes);
    return measured(key, title, gigabytes(moved, times[0].best), fmt::format("copy {}", gigabytes(moved, times[1].best)),
                    times[1].best / times[0].best);
  });
}

}  // namespace

std::vector<Cell> foreign_cells(const Setting& s) {
  std::vector<Cell> cells;
  constexpr std::int64_t n = 1024, heads = 8;
  const double pairs = static_cast<double>(heads * n * n);
  const double causal = static_cast<double>(heads * n) * (n + 1) / 2;
  for (const ElementType t : {ElementType::F32, ElementType::BF16}) {
    {
      Problem p;
      p.tensor("a", t, {n, n}), p.tensor("b", t, {n, n}), p.tensor("bias", ElementType::F32, {n}), p.tensor("gain", ElementType::F32, {n});
      p.tensor("r", t, {n, n}), p.tensor("c", t, {n, n});
      cells.push_back(of_peak(s, "gemm_epilogue", t, {{"T", t}}, 2.0 * n * n * n, p));
    }
    for (const std::string file : {"sigmoid_weights", "three_products"}) {
      Problem p;
      for (const char* name : {"q", "k", "v"}) p.tensor(name, t, {1, heads, n, 128});
      if (file == "three_products") p.tensor("g", t, {1, heads, n, 128});
      p.tensor("o", t, {1, heads, n, 128});
      p.scalar("scale", 0.09f);
      if (file == "sigmoid_weights") p.scalar("bias", -3.0f);
      const double flops = file == "sigmoid_weights" ? 4.0 * 128 * causal : 6.0 * 128 * pairs;
      cells.push_back(of_peak(s, file, t, {{"T", t}, {"D", 128}}, flops, p));
    }
    Problem p;
    p.tensor("q", t, {1, heads, 2, n, 64}), p.tensor("k", t, {1, heads, 2, n, 64}), p.tensor("v", t, {1, heads, n, 128});
    p.tensor("lambda", ElementType::F32, {heads}), p.tensor("o", t, {1, heads, n, 128});
    p.scalar("scale", 0.125f);
    cells.push_back(of_peak(s, "two_softmaxes", t, {{"T", t}, {"D", 64}, {"E", 128}}, 2.0 * (2 * 64 + 2 * 128) * pairs, p));
  }
  constexpr std::int64_t rows = 4096;
  Problem p;
  p.tensor("x", ElementType::F32, {rows, rows}), p.tensor("y", ElementType::F32, {rows, rows});
  cells.push_back(of_copy(s, "other_axis", p, rows * rows * sizeof(float)));
  p.scalar("gain", 2.0f);
  cells.push_back(of_copy(s, "no_product", p, rows * rows * sizeof(float)));
  return cells;
}

}  // namespace tessera::bench
