#include "tests/kernels/harness_simt.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <list>
#include <memory>
#include <stdexcept>

#include "codegen/passes/pipeline.h"

namespace tessera::test {

SimtCode emit_simt(const Call& call, const GpuTarget& target) {
  SimtCode out;
  out.kernel = lower(call);
  Diagnostics problems;
  if (!run_target_free_passes(*out.kernel, problems, {.gpu = true})) throw std::runtime_error(call.kernel + ": refused by a pass");
  out.ir = emit_gpu(*out.kernel, target, {.spans = true}, problems);
  if (!out.ir.module) throw std::runtime_error(call.kernel + ": " + problems.list()[0].message);
  return out;
}

namespace {

/// A tensor's bytes at another alignment.
class ShiftedCopy {
 public:
  ShiftedCopy(std::byte* original, std::size_t bytes, std::size_t shift) : original_(original), bytes_(bytes), memory_(bytes + 512) {
    void* at = memory_.data();
    std::size_t room = memory_.size();
    begin_ = static_cast<std::byte*>(std::align(256, bytes, at, room)) + shift % 256;
    std::memcpy(begin_, original, bytes);
  }
  std::byte* begin() const { return begin_; }
  void copy_back() const { std::memcpy(original_, begin_, bytes_); }

 private:
  std::byte* original_;
  std::size_t bytes_;
  std::vector<std::byte> memory_;
  std::byte* begin_ = nullptr;
};

}  // namespace

SimtResult simulate(const SimtKernel& code, const ir::Kernel& kernel, const Call& call, std::map<std::string, Buffer>& tensors,
                    const SimtOptions& options, std::size_t shift, const std::string& shifted) {
  Launch launch(kernel);
  for (auto& [n, b] : tensors) launch.view(n, b);
  for (const auto& [n, v] : call.scalars) launch.scalar(n, v);
  for (const auto& [n, v] : solve_symbols(kernel, call)) launch.symbol(n, v);
  std::vector<std::uint64_t> frame = launch.frame();
  const FrameLayout layout = frame_layout(kernel);
  std::vector<SimtTensor> list;
  std::vector<std::size_t> words;
  std::list<ShiftedCopy> copies;
  for (std::size_t p = 0; p < kernel.params.size(); ++p) {
    const ir::Param& param = kernel.params[p];
    if (!param.is_view || !param.present) continue;
    Buffer& b = tensors.at(param.name);
    const std::size_t bytes = (static_cast<std::size_t>(b.size()) * static_cast<std::size_t>(bits(b.dtype)) + 7) / 8;
    std::byte* host = reinterpret_cast<std::byte*>(b.bytes.data());
    if (shift && (shifted.empty() || shifted == param.name))
      host = copies.emplace_back(host, bytes, shift * static_cast<std::size_t>(bits(b.dtype)) / 8).begin();
    list.push_back({param.name, host, bytes, param.mode != ir::Mode::In, param.mode != ir::Mode::Out});
    words.push_back(layout.params[p].base);
  }
  const SimtMemory memory(list);
  for (std::size_t i = 0; i < words.size(); ++i) frame[words[i]] = memory.address(i);
  const std::vector<std::int64_t> grid = grid_counts(kernel, layout, frame);
  std::int64_t instances = 1;
  for (const std::int64_t n : grid) instances *= n;
  SimtResult result = code.run(frame, grid, instances, memory, options);
  memory.copy_back();
  for (const ShiftedCopy& c : copies) c.copy_back();
  return result;
}

void expect_close(const std::map<std::string, Buffer>& got, const std::map<std::string, Buffer>& want) {
  for (const auto& [n, w] : want) {
    double largest = 0;
    for (const double v : values(w)) largest = std::max(largest, std::isfinite(v) ? std::fabs(v) : 0);
    const Buffer& g = got.at(n);
    for (std::int64_t i = 0; i < w.size(); ++i) {
      const double a = g.get(i), b = w.get(i);
      const bool same = a == b || (std::isnan(a) && std::isnan(b)) || std::fabs(a - b) <= 0.02 * largest;
      ASSERT_TRUE(same) << n << " at " << i << ": simulated " << a << ", interpreted " << b;
    }
  }
}

}  // namespace tessera::test
