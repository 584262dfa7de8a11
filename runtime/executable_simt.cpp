// Kernels on the simulated GPU: the code of an architecture, run on the host; what it would do wrong becomes an Error.
#include <fmt/format.h>

#include "codegen/simt/simulate.h"
#include "runtime/errors.h"
#include "runtime/executable.h"

namespace tessera {
namespace {

/// Bytes from the first to the last element of a view, as offsets from its base.
struct Extent {
  std::int64_t first = 0, end = 0;
};

Extent extent_of(const ir::Param& p, const FrameSlot& slot, std::span<const std::uint64_t> frame) {
  std::int64_t low = 0, high = 0;
  for (std::size_t a = 0; a < p.dims.size(); ++a) {
    const auto extent = static_cast<std::int64_t>(frame[slot.extents + a]), stride = static_cast<std::int64_t>(frame[slot.strides + a]);
    if (extent == 0) return {};
    (stride < 0 ? low : high) += (extent - 1) * stride;
  }
  const std::int64_t width = bits(p.dtype);
  return {low * width / 8, ((high + 1) * width + 7) / 8};
}

class Simulated : public Executable {
 public:
  Simulated(GpuIr ir, const ir::Kernel& kernel, std::string target, std::uint64_t seed, std::shared_ptr<const SourceMap> sources)
      : code_(std::move(ir)), kernel_(kernel), layout_(frame_layout(kernel)), target_(std::move(target)), seed_(seed), sources_(std::move(sources)) {}

  void prepare(const Context& context) const override { need_host(context); }

  void run(const Context& context, const Launch& launch, const std::function<void(const std::string&)>&) const override {
    need_host(context);
    if (launch.instances == 0) return;
    std::vector<std::uint64_t> frame(launch.frame.begin(), launch.frame.end());
    const SimtMemory memory = place(frame);
    SimtOptions options;
    options.seed = seed_;
    options.host_threads = context.threads();
    const SimtResult result = code_.run(frame, launch.grid, launch.instances, memory, options);
    memory.copy_back();
    if (!result.clean()) throw to_error(hazards(result), *sources_);
    if (result.report.failed_check == 0) return;
    const GpuCheck& check = code_.checks().at(static_cast<std::size_t>(result.report.failed_check - 1));
    Diagnostic d;
    d.code = Code::E0805;
    d.span = check.span;
    d.message = fmt::format("{}, in grid instance {}", check.message.empty() ? "an assertion failed" : check.message, result.report.instance);
    throw to_error(d, *sources_);
  }

 private:
  /// Copies the views to the simulated device and their addresses into the frame.
  SimtMemory place(std::vector<std::uint64_t>& frame) const {
    std::vector<SimtTensor> tensors;
    std::vector<std::pair<std::size_t, std::int64_t>> bases;  // frame word, offset of the first byte
    for (std::size_t i = 0; i < kernel_.params.size(); ++i) {
      const ir::Param& p = kernel_.params[i];
      if (!p.is_view || !p.present) continue;
      const FrameSlot& slot = layout_.params[i];
      const Extent e = extent_of(p, slot, frame);
      auto* base = reinterpret_cast<std::byte*>(frame[slot.base]);
      tensors.push_back(
          {p.name, e.end ? base + e.first : base, static_cast<std::size_t>(e.end - e.first), p.mode != ir::Mode::In, p.mode != ir::Mode::Out});
      bases.emplace_back(slot.base, e.first);
    }
    SimtMemory memory(tensors);
    for (std::size_t i = 0; i < bases.size(); ++i) frame[bases[i].first] = memory.address(i) - static_cast<std::uint64_t>(bases[i].second);
    return memory;
  }

  Diagnostics hazards(const SimtResult& result) const {
    Diagnostics out;
    for (const Hazard& h : result.hazards) {
      Diagnostic d;
      d.code = Code::E0806;
      d.span = h.span.known() ? h.span : kernel_.span;
      d.message = fmt::format("{} on simt:{}, seed {}, copies {}: {}", name(h.kind), target_, result.seed, name(result.policy), h.text);
      if (h.other.known()) d.labels.push_back({h.other, "the other access"});
      out.add(std::move(d));
    }
    return out;
  }

  SimtKernel code_;
  const ir::Kernel& kernel_;
  FrameLayout layout_;
  std::string target_;
  std::uint64_t seed_;
  std::shared_ptr<const SourceMap> sources_;
};

}  // namespace

std::unique_ptr<Executable> simulated(GpuIr ir, const ir::Kernel& kernel, std::string target, std::uint64_t seed,
                                      std::shared_ptr<const SourceMap> sources) {
  return std::make_unique<Simulated>(std::move(ir), kernel, std::move(target), seed, std::move(sources));
}

}  // namespace tessera
