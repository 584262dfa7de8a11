#include "tests/kernels/harness_simt.h"

#include <fmt/format.h>

#include <stdexcept>

#include "codegen/passes/pipeline.h"

namespace tessera::test {

SimtCode emit_simt(const Call& call, const GpuTarget& target) {
  SimtCode out;
  out.kernel = lower(call);
  Diagnostics problems;
  if (!run_target_free_passes(*out.kernel, problems, {})) throw std::runtime_error(call.kernel + ": refused by a pass");
  out.ir = emit_gpu(*out.kernel, target, {.spans = true}, problems);
  if (!out.ir.module) throw std::runtime_error(call.kernel + ": " + problems.list()[0].message);
  return out;
}

SimtResult simulate(const SimtKernel& code, const ir::Kernel& kernel, const Call& call, std::map<std::string, Buffer>& tensors,
                    const SimtOptions& options) {
  Launch launch(kernel);
  for (auto& [n, b] : tensors) launch.view(n, b);
  for (const auto& [n, v] : call.scalars) launch.scalar(n, v);
  for (const auto& [n, v] : solve_symbols(kernel, call)) launch.symbol(n, v);
  std::vector<std::uint64_t> frame = launch.frame();
  const FrameLayout layout = frame_layout(kernel);
  std::vector<SimtTensor> list;
  std::vector<std::size_t> words;
  for (std::size_t p = 0; p < kernel.params.size(); ++p) {
    const ir::Param& param = kernel.params[p];
    if (!param.is_view || !param.present) continue;
    Buffer& b = tensors.at(param.name);
    const std::size_t bytes = (static_cast<std::size_t>(b.size()) * static_cast<std::size_t>(bits(b.dtype)) + 7) / 8;
    list.push_back({param.name, b.bytes.data(), bytes, param.mode != ir::Mode::In, param.mode != ir::Mode::Out});
    words.push_back(layout.params[p].base);
  }
  const SimtMemory memory(list);
  for (std::size_t i = 0; i < words.size(); ++i) frame[words[i]] = memory.address(i);
  const std::vector<std::int64_t> grid = grid_counts(kernel, layout, frame);
  std::int64_t instances = 1;
  for (const std::int64_t n : grid) instances *= n;
  SimtResult result = code.run(frame, grid, instances, memory, options);
  memory.copy_back();
  return result;
}

}  // namespace tessera::test
