#include "tests/kernels/harness_simt.h"

#include <fmt/format.h>

#include <stdexcept>

#include "codegen/passes/pipeline.h"

namespace tessera::test {
namespace {

struct Compiled {
  std::unique_ptr<ir::Kernel> kernel;
  std::unique_ptr<SimtKernel> code;
};

const Compiled& compiled(const Call& call, const GpuTarget& target) {
  static std::map<std::string, Compiled> known;
  std::string key = target.name() + " " + call.file + " " + call.kernel;
  for (const auto& [n, c] : call.constants) key += " " + n + "=" + str(c);
  for (const auto& [n, b] : call.tensors) key += " " + n;
  auto at = known.find(key);
  if (at != known.end()) return at->second;
  SimtCode made = emit_simt(call, target);
  Compiled out{std::move(made.kernel), std::make_unique<SimtKernel>(std::move(made.ir))};
  return known.emplace(key, std::move(out)).first->second;
}

}  // namespace

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

void run_simt(const Call& call, std::map<std::string, Buffer>& tensors, const GpuTarget& target) {
  const Compiled& c = compiled(call, target);
  const SimtResult result = simulate(*c.code, *c.kernel, call, tensors, {});
  if (result.clean()) return;
  std::string text = fmt::format("{} on {}, seed {}, copies {}:", call.kernel, target.name(), result.seed, name(result.policy));
  for (const Hazard& h : result.hazards) text += fmt::format("\n  {}: {}", name(h.kind), h.text);
  throw std::runtime_error(text);
}

}  // namespace tessera::test
