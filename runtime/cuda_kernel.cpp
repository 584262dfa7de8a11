// Kernels as PTX: assembled by the driver once a device, then one launch call each.
#include <fmt/format.h>

#include <array>
#include <climits>
#include <mutex>

#include "codegen/gpu/tensor_map.h"
#include "codegen/nvptx/ptx.h"
#include "runtime/append_list.h"
#include "runtime/cuda_device.h"
#include "runtime/errors.h"
#include "runtime/executable.h"

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
    const std::shared_ptr<const cuda::Device>& gpu = need_gpu(context);
    auto* stream = static_cast<CUstream_st*>(context.raw_stream());
    const Loaded* loaded = find(*gpu);
    if (!loaded) {
      if (gpu->capturing(stream))
        fail(Code::E0708, fmt::format("kernel `{}` is not loaded on GPU {}, and a graph is being captured", name_, gpu->ordinal()),
             "call prepare() with the context before the capture");
      loaded = &loaded_on(gpu);
    }
    if (launch.instances == 0) return;
    if (launch.instances > INT_MAX)
      fail(Code::E0804, fmt::format("kernel `{}` has {} instances in this launch; a GPU takes at most {}", name_, launch.instances, INT_MAX));
    const cuda::Current current(*gpu);
    if (object_.checks.empty()) {
      queue(*loaded, launch, stream, nullptr);
    } else {
      run_checked(*loaded, launch, stream);
    }
  }

 private:
  struct Loaded {
    explicit Loaded(std::unique_ptr<cuda::LoadedCode> c) : code(std::move(c)) {}
    std::unique_ptr<cuda::LoadedCode> code;
  };

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
    return loaded_.add(Loaded(std::make_unique<cuda::LoadedCode>(gpu, object_.ptx, object_.entry, object_.shared_bytes)));
  }

  void queue(const Loaded& loaded, const Launch& launch, CUstream_st* stream, const DevicePointer* report) const {
    const std::size_t words = launch.frame.size() + launch.grid.size() + (report ? 1 : 0) + 1 + object_.maps.size() * (kTensorMapBytes / 8);
    if (words > max_words) fail(Code::E0804, fmt::format("kernel `{}` has {} words of parameters; a GPU takes at most {}", name_, words, max_words));
    if (object_.maps.size() > max_maps)
      fail(Code::E0804, fmt::format("kernel `{}` needs {} tensor maps; at most {} fit", name_, object_.maps.size(), max_maps));
    // The driver copies the words in the call, so they may lie here.
    std::array<void*, max_words> parameters;
    std::size_t n = 0;
    const auto add = [&](const auto& word) { parameters[n++] = const_cast<void*>(static_cast<const void*>(&word)); };
    for (const std::uint64_t& w : launch.frame) add(w);
    for (const std::int64_t& w : launch.grid) add(w);
    if (report) add(*report);
    const cuda::Driver& d = loaded.code->device().api();
    std::array<cuda::TensorMap, max_maps> maps;
    std::uint64_t encoded = 1;
    if (!object_.maps.empty()) {
      for (std::size_t m = 0; m < object_.maps.size(); ++m) encoded = encoded && encode(d, object_.maps[m], launch, maps[m]) ? 1 : 0;
      add(encoded);
      for (std::size_t m = 0; m < object_.maps.size(); ++m) add(maps[m]);
    }
    const cuda::LaunchConfig config{static_cast<unsigned>(launch.instances),
                                    1,
                                    1,
                                    static_cast<unsigned>(object_.threads),
                                    1,
                                    1,
                                    static_cast<unsigned>(object_.shared_bytes),
                                    stream,
                                    nullptr,
                                    0};
    const cuda::Result r = d.launch_kernel(&config, loaded.code->function(), parameters.data(), nullptr);
    if (r != cuda::Result::Success) [[unlikely]]
      d.fail(r, fmt::format("launching `{}`", name_), "");
  }

  /// False if bulk copies cannot read this launch's tensor, or the driver knows no tensor maps.
  static bool encode(const cuda::Driver& d, const GpuTensorMap& map, const Launch& launch, cuda::TensorMap& to) {
    const std::optional<TensorMapValues> v = tensor_map_values(map, {launch.frame.begin(), launch.frame.end()});
    if (!v || !d.tensor_map_encode) return false;
    const std::array<std::uint32_t, 5> steps = {1, 1, 1, 1, 1};
    const auto type = v->element_bytes == 1 ? cuda::TensorMapType::U8 : v->element_bytes == 2 ? cuda::TensorMapType::U16 : cuda::TensorMapType::U32;
    return d.tensor_map_encode(&to, type, static_cast<std::uint32_t>(v->rank), reinterpret_cast<void*>(v->base), v->extents.data(), v->strides.data(),
                               v->box.data(), steps.data(), cuda::TensorMapInterleave::None, cuda::TensorMapSwizzle::Bytes128,
                               cuda::TensorMapPromotion::L2Bytes256, cuda::TensorMapFill::Zeros) == cuda::Result::Success;
  }

  /// Waits for the end, to say which check failed.
  void run_checked(const Loaded& loaded, const Launch& launch, CUstream_st* stream) const {
    const cuda::Device& gpu = loaded.code->device();
    const cuda::Driver& d = gpu.api();
    if (gpu.capturing(stream)) fail(Code::E0804, fmt::format("kernel `{}` checks its assertions, so it cannot be captured into a graph", name_));
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
