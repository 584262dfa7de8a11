// What a launch costs the host: the calling thread's time from the typed call to its return, and beside it what the driver alone takes for the same.
// usage: bench_launch [ROOT [LIBRARY [BUNDLE]]]   ROOT: the folder that has examples/ and kernels/; LIBRARY: default libcuda.so.1, or a driver
// without a GPU (tests/cuda/fake), under which the figures are Tessera's own work and next to nothing else; BUNDLE: of flash_causal, for what loading
// it takes. Prints KEY, tab, microseconds; the words on stderr.
#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "runtime/cuda_device.h"
#include "tessera/tessera.h"
#include "tests/bench/measure.h"

namespace tessera::bench {
namespace {

constexpr int row = 100;  ///< calls in a row, fewer than a stream takes before a launch has to wait

/// Median over rounds of the microseconds that one of `row` calls takes; `drain` empties the queue between rounds.
double microseconds(const std::function<void()>& call, const std::function<void()>& drain) {
  std::vector<double> times;
  call();
  drain();
  for (int round = 0; round < 101; ++round) {
    const double start = now();
    for (int i = 0; i < row; ++i) call();
    times.push_back((now() - start) / row * 1e6);
    drain();
  }
  std::nth_element(times.begin(), times.begin() + 50, times.end());
  return times[50];
}

void tell(const std::string& key, const std::string& what, double us) {
  fmt::print("{}\t{:.3f}\n", key, us);
  fmt::print(stderr, "{:<28} {:8.3f} us  {}\n", key, us, what);
}

/// An empty kernel with so many parameters, as the driver launches it without us.
class Bare {
 public:
  Bare(const Context& gpu, std::size_t words, std::size_t maps) : gpu_(gpu), words_(words + 16 * maps) {
    std::string ptx = ".version 7.0\n.target sm_75\n.address_size 64\n.visible .entry k(\n";
    for (std::size_t i = 0; i < words + maps; ++i) {
      ptx += i < words ? fmt::format("  .param .u64 k_param_{}", i) : fmt::format("  .param .align 64 .b8 k_param_{}[128]", i);
      ptx += i + 1 < words + maps ? ",\n" : "\n";
      pointers_.push_back(&words_[i < words ? i : words + 16 * (i - words)]);
    }
    code_ = std::make_unique<cuda::LoadedCode>(gpu.gpu(), cuda::LoadedCode::Code{ptx + ")\n{\n  ret;\n}\n", "k"});
  }
  void launch() {
    const cuda::LaunchConfig config{1, 1, 1, 128, 1, 1, 0, static_cast<CUstream_st*>(gpu_.raw_stream()), nullptr, 0};
    gpu_.gpu()->api().check(gpu_.gpu()->api().launch_kernel(&config, code_->function(), pointers_.data(), nullptr), "launching");
  }
  /// The same with the parameters in one block.
  void launch_block() {
    const cuda::LaunchConfig config{1, 1, 1, 128, 1, 1, 0, static_cast<CUstream_st*>(gpu_.raw_stream()), nullptr, 0};
    std::size_t bytes = 8 * words_.size();
    void* extra[] = {reinterpret_cast<void*>(1), words_.data(), reinterpret_cast<void*>(2), &bytes, nullptr};
    gpu_.gpu()->api().check(gpu_.gpu()->api().launch_kernel(&config, code_->function(), nullptr, extra), "launching");
  }

 private:
  Context gpu_;
  std::vector<std::uint64_t> words_;
  std::vector<void*> pointers_;
  std::unique_ptr<cuda::LoadedCode> code_;
};

void driver_calls(const Context& gpu) {
  const cuda::Device& device = *gpu.gpu();
  const cuda::Driver& d = device.api();
  const auto nothing = [] {};
  tell("driver_get_context_us", "cuCtxGetCurrent",
       microseconds(
           [&] {
             CUctx_st* now = nullptr;
             d.ctx_get_current(&now);
           },
           nothing));
  tell("driver_enter_us", "entering the context and leaving it", microseconds([&] { const cuda::Current current(device); }, nothing));
  const cuda::Current current(device);
  const DeviceBuffer memory(gpu, 1 << 20);
  tell("driver_pointer_us", "asking where a pointer lies", microseconds([&] { device.reaches(memory.data()); }, nothing));
  if (d.tensor_map_encode) {
    const std::uint64_t extents[] = {64, 64, 8}, strides[] = {128, 8192};
    const std::uint32_t box[] = {64, 64, 1}, steps[] = {1, 1, 1};
    cuda::TensorMap map;
    tell("driver_tensor_map_us", "encoding a tensor map",
         microseconds(
             [&] {
               d.tensor_map_encode(&map, cuda::TensorMapType::U16, 3, memory.data(), extents, strides, box, steps, cuda::TensorMapInterleave::None,
                                   cuda::TensorMapSwizzle::Bytes128, cuda::TensorMapPromotion::L2Bytes256, cuda::TensorMapFill::Zeros);
             },
             nothing));
  }
}

void bare_launches(const Context& gpu, bool fake) {
  const cuda::Current current(*gpu.gpu());
  const auto drain = [&] { gpu.synchronize(); };
  const Context legacy(gpu.gpu());
  for (const auto& [words, maps] : {std::pair<std::size_t, std::size_t>{1, 0}, {16, 0}, {56, 0}, {56, 4}}) {
    Bare kernel(gpu, words, maps);
    const std::string name = fmt::format("{}{}", words, maps ? fmt::format("_{}", maps) : "");
    const std::string what = fmt::format("the driver's launch, {} words, {} tensor maps", words, maps);
    tell("bare_" + name + "_us", what, microseconds([&] { kernel.launch(); }, drain));
    if (!fake) tell("bare_block_" + name + "_us", what + ", as one block", microseconds([&] { kernel.launch_block(); }, drain));
  }
  Bare kernel(legacy, 16, 0);
  tell("bare_legacy_16_us", "the same on the legacy default stream", microseconds([&] { kernel.launch(); }, drain));
}

/// The first kernel of a process, from the text of its file to code that the GPU has loaded, with no cache.
void cold_start(const Context& gpu, const std::string& root) {
  const double start = now();
  const Module module = load(root + "/kernels/attention/flash.tile", Cache::off());
  const Options options{.context = gpu, .absent = {"lse", "sink"}};
  const AnyKernel kernel = module.kernel("flash_causal", {{"T", ElementType::BF16}, {"D", 128}, {"BM", 128}, {"BN", 128}}, options);
  kernel.prepare(gpu, {"lse", "sink"});  // is so already
  tell("cold_attention_us", "flash_causal, text to launchable, no cache", (now() - start) * 1e6);
}

/// The same kernel, compiled ahead of time.
void bundle_start(const Context& gpu, const std::string& path) {
  const double start = now();
  const AnyKernel kernel = load_bundle(path).kernel("flash_causal", {}, {.context = gpu, .absent = {"lse", "sink"}});
  tell("bundle_attention_us", "flash_causal, bundle to launchable", (now() - start) * 1e6);
}

void typed_launches(const Context& gpu, const std::string& root) {
  const Stream stream(gpu);
  const auto drain = [&] { stream.synchronize(); };
  const DeviceBuffer a(gpu, 1 << 20), b(gpu, 1 << 20), c(gpu, 1 << 20), o(gpu, 1 << 20);
  const Options options{.context = gpu};
  const auto copy = load(root + "/examples/ladder/01_copy.tile").kernel<In<float, 2>, Out<float, 2>>("copy", {{"T", ElementType::F32}}, options);
  const View<const float, 2> x = a.view<float, 2>({1, 1});
  const View<float, 2> y = b.view<float, 2>({1, 1});
  const View<float, 2> unstated_y(y.data(), {1, 1});
  const View<const float, 2> unstated_x(x.data(), {1, 1});
  const auto launch = [&] { copy(stream, x, y); };
  tell("launch_us", "a typed launch of 01_copy", microseconds(launch, drain));
  tell("launch_legacy_us", "the same on the legacy default stream", microseconds([&] { copy(gpu, x, y); }, [&] { gpu.synchronize(); }));
  tell("launch_unstated_us", "the same with pointers whose place is not stated", microseconds([&] { copy(stream, unstated_x, unstated_y); }, drain));
  {
    const cuda::Current current(*gpu.gpu());
    tell("launch_current_us", "the same in a thread whose context is the GPU's", microseconds(launch, drain));
  }
  using Attention = Kernel<In<bf16, 4>, In<bf16, 4>, In<bf16, 4>, Out<bf16, 4>, Absent, Absent, float>;
  const Attention attention = load(root + "/kernels/attention/flash.tile")
                                  .kernel<In<bf16, 4>, In<bf16, 4>, In<bf16, 4>, Out<bf16, 4>, Absent, Absent, float>(
                                      "flash_causal", {{"T", ElementType::BF16}, {"D", 128}, {"BM", 128}, {"BN", 64}}, options);
  const std::array<std::int64_t, 4> shape{1, 128, 1, 128};
  const auto attend = [&] {
    attention(stream, a.view<bf16, 4>(shape), b.view<bf16, 4>(shape), c.view<bf16, 4>(shape), o.view<bf16, 4>(shape), absent, absent, 0.1f);
  };
  tell("launch_attention_us", "a typed launch of flash_causal", microseconds(attend, drain));
}

}  // namespace
}  // namespace tessera::bench

int main(int argc, char** argv) {
  using namespace tessera;
  const std::string root = argc > 1 ? argv[1] : TESSERA_SOURCE_DIR, library = argc > 2 ? argv[2] : "libcuda.so.1";
  try {
    const Context gpu(std::make_shared<const cuda::Device>(cuda::Driver::open(library), 0));
    fmt::print(stderr, "{}\n", gpu.description());
    if (argc > 3) bench::bundle_start(gpu, argv[3]);
    bench::cold_start(gpu, root);
    bench::driver_calls(gpu);
    bench::bare_launches(Stream(gpu), library != "libcuda.so.1");
    bench::typed_launches(gpu, root);
  } catch (const std::exception& e) {
    fmt::print(stderr, "bench_launch: {}\n", e.what());
    return 1;
  }
  return 0;
}
