// Emits Tile IR for Hopper and launches it on the simulated GPU, with bulk copies and without them.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>

#include "codegen/gpu/compile.h"
#include "codegen/passes/pipeline.h"
#include "codegen/simt/simulate.h"
#include "dsl/text.h"
#include "tests/gpu/warpgroup_text.h"
#include "tests/ir/launch.h"

namespace tessera::test {

struct Compiled {
  std::unique_ptr<ir::Kernel> kernel;
  std::vector<std::string> notes;
  std::unique_ptr<SimtKernel> code;
};

inline Schedule ring_of(const std::string& tile, int slots) {
  Schedule s;
  s.directives.push_back({DirectiveKind::Ring, {{.subject = tile, .index = {}, .number = slots, .word = ""}}, {}});
  return s;
}

inline Compiled compiled(const std::string& text, const Schedule& schedule = {}) {
  SourceMap sources;
  Diagnostics problems;
  Compiled out;
  out.kernel = ir::parse_kernel(sources, sources.add("kernel.ir", text), problems);
  GpuIr ir;
  if (out.kernel && run_target_free_passes(*out.kernel, problems)) {
    GpuOptions options;
    options.schedule = schedule;
    ir = emit_gpu(*out.kernel, {90, true}, options, problems);
  }
  if (!ir.module) throw std::runtime_error(render(problems, sources) + text);
  out.notes = ir.plan.notes;
  out.code = std::make_unique<SimtKernel>(std::move(ir));
  return out;
}

struct Ran {
  SimtResult result;
  std::int64_t bulk = 0;  ///< bulk copies that threads came by
};

/// Launches on tensors that begin so many elements behind an address that any vector fits.
inline Ran launch(const Compiled& k, std::map<std::string, Buffer>& tensors, const std::map<std::string, double>& scalars, const SimtOptions& options,
                  std::size_t shift = 0) {
  Launch l(*k.kernel);
  for (auto& [n, b] : tensors) l.view(n, b);
  for (const auto& [n, v] : scalars) l.scalar(n, v);
  std::vector<std::uint64_t> frame = l.frame();
  const FrameLayout layout = frame_layout(*k.kernel);
  struct alignas(256) Line {
    std::byte bytes[256];
  };
  std::vector<std::vector<Line>> moved;
  std::vector<SimtTensor> list;
  for (const ir::Param& p : k.kernel->params) {
    if (!p.is_view) continue;
    Buffer& b = tensors.at(p.name);
    const auto cell = static_cast<std::size_t>(bits(b.dtype) / 8), bytes = static_cast<std::size_t>(b.size()) * cell;
    moved.emplace_back(bytes / 256 + 2);
    std::byte* host = moved.back()[0].bytes + shift * cell;
    std::memcpy(host, b.bytes.data(), bytes);
    list.push_back({p.name, host, bytes, p.mode != ir::Mode::In, p.mode != ir::Mode::Out});
  }
  const SimtMemory memory(list);
  for (std::size_t p = 0, i = 0; p < k.kernel->params.size(); ++p) {
    if (k.kernel->params[p].is_view) frame[layout.params[p].base] = memory.address(i++);
  }
  const std::vector<std::int64_t> grid = grid_counts(*k.kernel, layout, frame);
  std::int64_t instances = 1;
  for (const std::int64_t n : grid) instances *= n;
  Ran out{k.code->run(frame, grid, instances, memory, options), 0};
  memory.copy_back();
  for (const SimtTensor& t : list) {
    if (t.writable) std::memcpy(tensors.at(t.name).bytes.data(), t.host, t.bytes);
  }
  for (std::size_t s = 0; s < k.code->sites().size(); ++s) {
    if (k.code->sites()[s].what.starts_with("tma_load")) out.bulk += out.result.executed[s];
  }
  for (const Hazard& h : out.result.hazards) ADD_FAILURE() << name(h.kind) << " (" << name(out.result.policy) << "): " << h.text;
  EXPECT_TRUE(out.result.finished);
  return out;
}

/// Every policy, with tensor maps and without, and memory that no map can describe.
struct Way {
  SimtOptions options;
  std::size_t shift = 0;
  bool bulk() const { return options.maps && shift == 0; }
};
inline std::vector<Way> ways() {
  std::vector<Way> out;
  for (const bool maps : {true, false}) {
    for (const SimtPolicy policy : {SimtPolicy::Random, SimtPolicy::Lazy, SimtPolicy::Eager}) out.push_back({{.policy = policy, .maps = maps}, 0});
  }
  out.push_back({{.policy = SimtPolicy::Random}, 2});
  out.push_back({{.policy = SimtPolicy::Random, .persistent = false}, 0});
  return out;
}
inline std::string text_of(const Way& w) {
  return std::string(name(w.options.policy)) + (w.options.maps ? "" : ", without maps") + (w.shift ? ", shifted" : "") +
         (w.options.persistent ? "" : ", a CTA an instance");
}

/// The parameter that ends a loop by number.
inline const std::string kEnd = "%e: idx";

}  // namespace tessera::test
