// The driver's assembler at -O0 and at -O3 makes code of the same results of the same PTX, but for products and sums that it may fuse: an ordering
// that only one of them keeps shows. Needs a GPU. Prints what the assembler's log says of the code, warnings C7508, C7512 and C7514 among it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iostream>

#include "codegen/nvptx/ptx.h"
#include "codegen/passes/pipeline.h"
#include "runtime/cuda_device.h"
#include "tests/kernels/harness_cpu.h"
#include "tests/kernels/made_up.h"

namespace tessera::test {
namespace {

// CUjit_option of cuda.h.
constexpr auto kLogVerbose = static_cast<cuda::JitOption>(12);

class Assembled {
 public:
  Assembled(const cuda::Device& gpu, const GpuObject& object, std::size_t level) : gpu_(gpu), current_(gpu), log_(16 << 10, '\0') {
    const auto value = [](std::size_t n) { return reinterpret_cast<void*>(n); };
    std::array options{cuda::JitOption::OptimizationLevel, kLogVerbose, cuda::JitOption::InfoLogBuffer, cuda::JitOption::InfoLogBufferSizeBytes};
    std::array<void*, options.size()> values{value(level), value(1), log_.data(), value(log_.size())};
    const cuda::Driver& d = gpu_.api();
    d.check(d.module_load(&module_, object.ptx.c_str(), static_cast<unsigned>(options.size()), options.data(), values.data()), "loading a kernel");
    d.check(d.module_get_function(&function_, module_, object.entry.c_str()), "finding a kernel");
    d.check(d.func_set_attribute(function_, cuda::FunctionAttribute::MaxDynamicSharedSizeBytes, static_cast<int>(object.shared_bytes)),
            "giving a kernel shared memory");
  }
  ~Assembled() { gpu_.api().module_unload(module_); }
  Assembled(const Assembled&) = delete;
  Assembled& operator=(const Assembled&) = delete;

  std::string log() const { return log_.c_str(); }
  void launch(const GpuObject& object, std::int64_t instances, std::vector<std::uint64_t> words) const {
    // Without tensor maps: the code copies by itself then.
    std::vector<cuda::TensorMap> maps(object.maps.size());
    if (!maps.empty()) words.push_back(0);
    std::vector<void*> parameters;
    for (std::uint64_t& w : words) parameters.push_back(&w);
    for (cuda::TensorMap& m : maps) parameters.push_back(&m);
    const cuda::LaunchConfig config{static_cast<unsigned>(instances),
                                    1,
                                    1,
                                    static_cast<unsigned>(object.threads),
                                    1,
                                    1,
                                    static_cast<unsigned>(object.shared_bytes),
                                    nullptr,
                                    nullptr,
                                    0};
    const cuda::Driver& d = gpu_.api();
    d.check(d.launch_kernel(&config, function_, parameters.data(), nullptr), "launching a kernel");
    d.check(d.stream_synchronize(nullptr), "waiting for a kernel");
  }

 private:
  const cuda::Device& gpu_;
  cuda::Current current_;
  std::string log_;
  CUmod_st* module_ = nullptr;
  CUfunc_st* function_ = nullptr;
};

std::map<std::string, Buffer> run_at(std::size_t level, const Context& context, const Call& call) {
  const cuda::Device& gpu = *context.gpu();
  const std::unique_ptr<ir::Kernel> kernel = lower(call);
  Diagnostics problems;
  if (!run_target_free_passes(*kernel, problems, {.gpu = true})) throw std::runtime_error(call.kernel + ": refused by a pass");
  GpuIr code = emit_gpu(*kernel, gpu.target(), {}, problems);
  if (!code.module) throw std::runtime_error(call.kernel + ": " + problems.list()[0].message);
  const GpuObject object = make_ptx(std::move(code), gpu.target());
  const Assembled assembled(gpu, object, level);
  if (const std::string log = assembled.log(); !log.empty()) std::cout << fmt::format("{} at -O{}:\n{}\n", call.kernel, level, log);

  std::map<std::string, Buffer> tensors = call.tensors;
  std::map<std::string, DeviceBuffer> on_device;
  Launch launch(*kernel);
  for (auto& [n, b] : tensors) {
    launch.view(n, b);
    on_device.emplace(n, DeviceBuffer(context, b.bytes.size())).first->second.copy_from(std::as_bytes(std::span(b.bytes)), context);
  }
  for (const auto& [n, v] : call.scalars) launch.scalar(n, v);
  for (const auto& [n, v] : solve_symbols(*kernel, call)) launch.symbol(n, v);
  std::vector<std::uint64_t> words = launch.frame();
  const FrameLayout layout = frame_layout(*kernel);
  const std::vector<std::int64_t> grid = grid_counts(*kernel, layout, words);
  for (std::size_t p = 0; p < kernel->params.size(); ++p) {
    const ir::Param& param = kernel->params[p];
    if (param.is_view && param.present) words[layout.params[p].base] = reinterpret_cast<std::uint64_t>(on_device.at(param.name).data());
  }
  std::int64_t instances = 1;
  for (const std::int64_t n : grid) {
    instances *= n;
    words.push_back(static_cast<std::uint64_t>(n));
  }
  assembled.launch(object, instances, std::move(words));
  for (const auto& [n, memory] : on_device) memory.copy_to(std::as_writable_bytes(std::span(tensors.at(n).bytes)), context);
  return tensors;
}

void expect_agreement(const Buffer& a, const Buffer& b, const std::string& what) {
  double largest = 0;
  for (const double v : values(b)) largest = std::max(largest, std::isfinite(v) ? std::fabs(v) : 0);
  const double tolerance = largest * std::max(4 * roundoff(b.dtype), 1e-5);
  for (std::int64_t i = 0; i < b.size(); ++i) {
    const double x = a.get(i), y = b.get(i);
    ASSERT_TRUE(x == y || (std::isnan(x) && std::isnan(y)) || std::fabs(x - y) <= tolerance) << what << " at " << i << ": " << x << " and " << y;
  }
}

TEST(JitLevels, Agree) {
  const std::string target = compiled_target();
  if (!target.starts_with("cuda")) GTEST_SKIP() << "needs a GPU";
  const Context gpu = Context::cuda(target.starts_with("cuda:") ? std::atoi(target.c_str() + 5) : 0);
  const DType h = DType::BF16;
  const Size size{.b = 2, .h = 2, .sq = 200, .sk = 300, .m = 200, .n = 520, .k = 264};
  for (const Call& call : {made_up("kernels/gemm/gemm.tile", "gemm", {{"T", h}, {"BM", 128}, {"BN", 128}, {"BK", 64}}, size, false),
                           made_up("kernels/attention/flash.tile", "flash_causal", {{"T", h}, {"D", 128}, {"BM", 64}, {"BN", 64}}, size, false),
                           made_up("kernels/norm/rms_norm.tile", "rms_norm", {{"T", h}, {"BM", 4}, {"BN", 512}}, size, true),
                           made_up("kernels/norm/softmax.tile", "softmax", {{"T", DType::F32}, {"BM", 1}, {"BN", 512}}, size, true)}) {
    const std::map<std::string, Buffer> slow = run_at(0, gpu, call), fast = run_at(3, gpu, call);
    for (const auto& [n, b] : fast) expect_agreement(slow.at(n), b, call.kernel + " " + n);
  }
}

}  // namespace
}  // namespace tessera::test
