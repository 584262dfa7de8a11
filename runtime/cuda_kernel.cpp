// Kernels as PTX: assembled by the driver once a device, then one launch call each.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <climits>
#include <mutex>

#include "codegen/nvptx/ptx.h"
#include "runtime/append_list.h"
#include "runtime/cuda_device.h"
#include "runtime/cuda_tickets.h"
#include "runtime/errors.h"
#include "runtime/executable.h"
#include "runtime/tensor_map_cache.h"

namespace tessera {
namespace {

using cuda::DevicePointer;

constexpr std::size_t max_maps = 24;
/// Bytes of parameters that every driver takes.
constexpr std::size_t max_words = 4096 / 8;

bool runs_on(const GpuTarget& code, const cuda::Device& device) {
  if (code.specific) return code == device.target();
  return code.sm <= device.properties().major * 10 + device.properties().minor;
}

class GpuExecutable : public Executable {
 public:
  GpuExecutable(GpuObject object, std::string name, std::shared_ptr<const SourceMap> sources)
      : object_(std::move(object)), name_(std::move(name)), sources_(std::move(sources)) {}

  void prepare(const Context& context) const override { loaded_on(need_gpu(context)); }

  std::optional<AssembledCode> assembled(const Context& context) const override {
    const Loaded* l = find(*need_gpu(context));
    if (!l) return std::nullopt;
    return AssembledCode{l->code->registers(), l->code->local_bytes()};
  }

  void run(const Context& context, const Launch& launch, const std::function<void(const std::string&)>&) const override {
    const Loaded& loaded = loaded_for(context);
    if (launch.instances == 0) return;
    auto* stream = static_cast<CUstream_st*>(context.raw_stream());
    const cuda::Current current(*context.gpu());
    if (object_.checks.empty()) {
      queue(loaded, launch, stream, nullptr);
    } else {
      run_checked(loaded, launch, stream);
    }
  }

  GraphNode add_node(const Context& context, Graph graph, std::span<const GraphNode> after, const Launch& launch) const override {
    const Loaded& loaded = loaded_for(context);
    refuse_checks("be a node of a graph");
    if (launch.instances == 0)
      fail(Code::E0804, fmt::format("kernel `{}` has no instances with these arguments, and a node must run some", name_),
           "add the node with arguments that give work, and update it");
    const cuda::Current current(*context.gpu());
    // Copies of a graph may run at the same time: no tickets, a CTA for each instance.
    const Parameters parameters(*this, loaded, launch, nullptr, 0);
    const cuda::KernelNode node = node_of(loaded, launch, parameters);
    InlineVector<CUgraphNode_st*, 32> earlier;
    for (const GraphNode& n : after) earlier.push_back(static_cast<CUgraphNode_st*>(n.handle));
    CUgraphNode_st* made = nullptr;
    const cuda::Driver& d = loaded.code->device().api();
    const cuda::Result r = d.graph_add_kernel_node(&made, static_cast<CUgraph_st*>(graph.handle), earlier.data(), earlier.size(), &node);
    if (r != cuda::Result::Success) d.fail(r, fmt::format("adding `{}` to a graph", name_), "");
    return {made};
  }

  void update_node(const Context& context, GraphExec exec, GraphNode at, const Launch& launch) const override {
    const Loaded& loaded = loaded_for(context);
    refuse_checks("be a node of a graph");
    const cuda::Current current(*context.gpu());
    const cuda::Driver& d = loaded.code->device().api();
    auto* graph = static_cast<CUgraphExec_st*>(exec.handle);
    auto* node = static_cast<CUgraphNode_st*>(at.handle);
    const auto check = [&](cuda::Result r) {
      if (r != cuda::Result::Success) d.fail(r, fmt::format("updating a graph's node with `{}`", name_), "");
    };
    if (launch.instances > 0) {
      const Parameters parameters(*this, loaded, launch, nullptr, 0);
      const cuda::KernelNode changed = node_of(loaded, launch, parameters);
      check(d.graph_exec_set_kernel_node(graph, node, &changed));
    }
    // A node without instances stays where it is and does nothing until it is given some again.
    check(d.graph_node_set_enabled(graph, node, launch.instances > 0 ? 1 : 0));
  }

 private:
  struct Loaded {
    Loaded(std::unique_ptr<cuda::LoadedCode> c, const std::vector<GpuTensorMap>& maps) : code(std::move(c)), maps(maps) {}
    std::unique_ptr<cuda::LoadedCode> code;
    TensorMapCache maps;
    std::unique_ptr<cuda::Tickets> tickets;  ///< of persistent kernels
    std::int64_t resident = 0;               ///< CTAs that the device holds at once
  };

  /// Pointers to the parameters of one launch, some of which lie here, as the driver takes them: it copies what they point to in the call.
  class Parameters {
   public:
    /// `tickets`: of persistent kernels, the counter's address or 0.
    Parameters(const GpuExecutable& self, const Loaded& loaded, const Launch& launch, const DevicePointer* report, DevicePointer tickets)
        : tickets_(tickets) {
      const std::size_t maps = loaded.maps.size();
      const std::size_t words = launch.frame.size() + launch.grid.size() + (report ? 1 : 0) + 2 + maps * (kTensorMapBytes / 8);
      if (words > max_words)
        fail(Code::E0804, fmt::format("kernel `{}` has {} words of parameters; a GPU takes at most {}", self.name_, words, max_words));
      if (maps > max_maps) fail(Code::E0804, fmt::format("kernel `{}` needs {} tensor maps; at most {} fit", self.name_, maps, max_maps));
      for (const std::uint64_t& w : launch.frame) add(w);
      for (const std::int64_t& w : launch.grid) add(w);
      if (report) add(*report);
      if (maps > 0) {
        const cuda::Driver& d = loaded.code->device().api();
        for (std::size_t m = 0; m < maps; ++m) {
          if (!loaded.maps.get(d, m, launch, maps_[m])) encoded_ &= ~std::uint64_t{kind_of(self.object_.maps[m])};
        }
        add(encoded_);
        for (std::size_t m = 0; m < maps; ++m) add(maps_[m]);
      }
      if (self.object_.persistent) add(tickets_);
    }
    Parameters(const Parameters&) = delete;
    Parameters& operator=(const Parameters&) = delete;
    /// The driver's type is not const, but it writes nothing.
    void** pointers() const { return const_cast<void**>(pointers_.data()); }

   private:
    template <class T>
    void add(const T& word) {
      pointers_[size_++] = const_cast<void*>(static_cast<const void*>(&word));
    }
    std::array<void*, max_words> pointers_;
    std::size_t size_ = 0;
    std::array<cuda::TensorMap, max_maps> maps_;
    std::uint64_t encoded_ = kReadMaps | kStoredMaps;
    DevicePointer tickets_;
  };

  /// The code on the context's device, loaded there if need be.
  const Loaded& loaded_for(const Context& context) const {
    const std::shared_ptr<const cuda::Device>& gpu = need_gpu(context);
    if (const Loaded* l = find(*gpu)) return *l;
    if (gpu->capturing(static_cast<CUstream_st*>(context.raw_stream())))
      fail(Code::E0708, fmt::format("kernel `{}` is not loaded on GPU {}, and a graph is being captured", name_, gpu->ordinal()),
           "call prepare() with the context before the capture");
    return loaded_on(gpu);
  }

  void refuse_checks(const char* what) const {
    if (object_.checks.empty()) return;
    fail(Code::E0804, fmt::format("kernel `{}` checks its assertions, so it cannot {}", name_, what), "make it without Options::debug");
  }

  const std::shared_ptr<const cuda::Device>& need_gpu(const Context& context) const {
    if (!context.is_cuda())
      fail(Code::E0804, fmt::format("kernel `{}` was made for {}, but is launched on the CPU", name_, object_.target.name()),
           "launch it on Context::cuda()");
    if (!runs_on(object_.target, *context.gpu()))
      fail(Code::E0804,
           fmt::format("kernel `{}` was made for {}, but GPU {} ({}) needs {}", name_, object_.target.name(), context.device(),
                       context.gpu()->properties().name, context.gpu()->target().name()),
           "make it with Options::context");
    return context.gpu();
  }

  const Loaded* find(const cuda::Device& gpu) const {
    return loaded_.find([&](const Loaded& l) { return l.code->device().context() == gpu.context(); });
  }

  const Loaded& loaded_on(const std::shared_ptr<const cuda::Device>& gpu) const {
    if (const Loaded* l = find(*gpu)) return *l;
    const std::lock_guard lock(mutex_);
    if (const Loaded* l = find(*gpu)) return *l;
    Loaded l(std::make_unique<cuda::LoadedCode>(
                 gpu, cuda::LoadedCode::Code{object_.ptx, object_.entry, object_.shared_bytes, object_.assembler_level, object_.cubin}),
             object_.maps);
    if (object_.persistent) {
      l.tickets = std::make_unique<cuda::Tickets>(gpu);
      l.resident = std::int64_t{l.code->occupancy(object_.threads, object_.shared_bytes)} * gpu->properties().multiprocessors;
      // Those of a cluster lie on neighbouring multiprocessors.
      l.resident = std::max<std::int64_t>(l.resident / object_.cluster.ctas * object_.cluster.ctas, object_.cluster.ctas);
    }
    return loaded_.add(std::move(l));
  }

  /// CTAs of a launch that has instances, where each has one.
  unsigned ctas(const Launch& launch) const {
    const std::int64_t n = object_.cluster.groups(launch.grid, launch.instances) * object_.cluster.ctas;
    if (std::max(n, launch.instances) > INT_MAX)
      fail(Code::E0804, fmt::format("kernel `{}` has {} instances in this launch; a GPU takes at most {}", name_, launch.instances, INT_MAX));
    return static_cast<unsigned>(n);
  }

  cuda::KernelNode node_of(const Loaded& loaded, const Launch& launch, const Parameters& parameters) const {
    const auto threads = static_cast<unsigned>(object_.threads), shared = static_cast<unsigned>(object_.shared_bytes);
    return {loaded.code->function(), ctas(launch), 1, 1, threads, 1, 1, shared, parameters.pointers(), nullptr};
  }

  void queue(const Loaded& loaded, const Launch& launch, CUstream_st* stream, const DevicePointer* report) const {
    std::int64_t resident = ctas(launch);
    DevicePointer tickets = 0;
    if (object_.persistent && resident > loaded.resident && !loaded.code->device().capturing(stream)) {
      tickets = loaded.tickets->of(stream);
      if (tickets) resident = loaded.resident;
    }
    const Parameters parameters(*this, loaded, launch, report, tickets);
    const auto threads = static_cast<unsigned>(object_.threads), shared = static_cast<unsigned>(object_.shared_bytes);
    const auto together = static_cast<unsigned>(object_.cluster.ctas);
    cuda::LaunchAttribute cluster{cuda::LaunchAttributeKind::ClusterDimension, {{together, 1, 1}}};
    const cuda::LaunchConfig config{static_cast<unsigned>(resident), 1, 1, threads, 1, 1, shared, stream, &cluster, together > 1 ? 1U : 0U};
    const cuda::Driver& d = loaded.code->device().api();
    const cuda::Result r = d.launch_kernel(&config, loaded.code->function(), parameters.pointers(), nullptr);
    if (r != cuda::Result::Success) [[unlikely]]
      d.fail(r, fmt::format("launching `{}`", name_), "");
  }

  /// Waits for the end, to say which check failed.
  void run_checked(const Loaded& loaded, const Launch& launch, CUstream_st* stream) const {
    const cuda::Device& gpu = loaded.code->device();
    const cuda::Driver& d = gpu.api();
    if (gpu.capturing(stream)) refuse_checks("be captured into a graph");
    const auto freed = [&gpu](const DevicePointer* p) { gpu.release(*p); };
    const DevicePointer memory = gpu.allocate(sizeof(GpuReport));
    const std::unique_ptr<const DevicePointer, decltype(freed)> owner(&memory, freed);
    d.check(d.memset8(memory, 0, sizeof(GpuReport), stream), "clearing a report");
    queue(loaded, launch, stream, &memory);
    GpuReport report;
    d.check(d.copy_to_host(&report, memory, sizeof report, stream), "reading a report");
    d.check(d.stream_synchronize(stream), "waiting for a kernel");
    if (report.failed_check == 0) return;
    const GpuCheck& check = object_.checks.at(static_cast<std::size_t>(report.failed_check - 1));
    Diagnostic diagnostic;
    diagnostic.code = Code::E0805;
    diagnostic.span = check.span;
    diagnostic.message = fmt::format("{}, in grid instance {}", check.message.empty() ? "an assertion failed" : check.message, report.instance);
    throw to_error(diagnostic, *sources_);
  }

  GpuObject object_;
  std::string name_;
  std::shared_ptr<const SourceMap> sources_;
  mutable std::mutex mutex_;  ///< of adding to loaded_
  mutable AppendList<Loaded> loaded_;
};

}  // namespace

std::unique_ptr<Executable> on_gpu(GpuObject object, std::string name, std::shared_ptr<const SourceMap> sources) {
  return std::make_unique<GpuExecutable>(std::move(object), std::move(name), std::move(sources));
}

}  // namespace tessera
