// What a launch on a GPU asks of the driver, without a GPU.
#include <gmock/gmock.h>

#include <thread>

#include "codegen/nvptx/ptx.h"
#include "runtime/executable.h"
#include "runtime/launch.h"
#include "tests/cuda/count_allocations.h"
#include "tests/cuda/fake_driver.h"
#include "tests/runtime/signatures.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;
using namespace tessera::testing;
using test::code_of;
using test::dims;
using test::scalar_param;
using test::view_param;

/// A kernel (x: f32[M, 8], s: f32) of M instances, as PTX that the fake driver takes.
class Launching : public WithFakeDriver {
 protected:
  static constexpr std::size_t words = 1 + 2 + 2 + 1 + 1 + 1;  // x with extents and strides, s, M, the count of the grid axis

  void SetUp() override {
    WithFakeDriver::SetUp();
    kernel_ = test::signature("k", {view_param("x", DType::F32, ir::Mode::InOut, dims({"M", "8"})), scalar_param("s", DType::F32)}, {"M"},
                              {{"i", Sym::symbol("M")}});
    sources_ = std::make_shared<SourceMap>();
    plan_ = std::make_unique<LaunchPlan>(*kernel_, sources_);
    executable_ = executable("sm_80", {});
    context_ = fake_context();
  }

  std::unique_ptr<Executable> executable(const std::string& target, std::vector<GpuCheck> checks, std::int64_t shared_bytes = 1000, int level = 0,
                                         const std::string& cubin = "") const {
    const std::size_t n = words + (checks.empty() ? 0 : 1);
    GpuObject o{.ptx = ptx_text("k", n, target, "8.0") + (checks.empty() ? "" : "// checks\n"),
                .cubin = cubin,
                .entry = "k",
                .target = *gpu_target_from_name(target),
                .threads = 128,
                .shared_bytes = shared_bytes,
                .checks = std::move(checks),
                .assembler_level = level};
    return on_gpu(std::move(o), "k", sources_);
  }
  Tensor tensor(const DeviceBuffer& b, std::int64_t rows) const { return b.tensor(ElementType::F32, std::array<std::int64_t, 2>{rows, 8}); }
  void launch(const Executable& e, const Context& context, const Tensor& x) const {
    const Argument arguments[] = {x, 1.5f};
    const Launch l = plan_->bind(arguments, context);
    e.run(context, l, {});
  }
  static const fake_cuda::Launch& seen(int number) { return fake().launch.at(static_cast<std::size_t>(number)); }

  std::unique_ptr<ir::Kernel> kernel_;
  std::shared_ptr<SourceMap> sources_;
  std::unique_ptr<LaunchPlan> plan_;
  std::unique_ptr<Executable> executable_;
  std::optional<Context> context_;
};

TEST_F(Launching, CodeIsAssembledAtItsLevel) {
  const DeviceBuffer x(*context_, 5 * 8 * 4);
  launch(*executable_, *context_, tensor(x, 5));
  EXPECT_EQ(fake().assembler_level, 0);
  launch(*executable("sm_80", {}, 1000, 1), *context_, tensor(x, 5));
  EXPECT_EQ(fake().assembler_level, 1);
}

TEST_F(Launching, MachineCodeIsTakenWhereTheDriverTakesIt) {
  const DeviceBuffer x(*context_, 5 * 8 * 4);
  launch(*executable_, *context_, tensor(x, 5));
  EXPECT_FALSE(fake().machine_code);
  const auto machine_code = [](const std::string& target) { return "\177ELF" + ptx_text("k", words, target, "8.0"); };
  launch(*executable("sm_80", {}, 1000, 0, machine_code("sm_90")), *context_, tensor(x, 5));
  EXPECT_TRUE(fake().machine_code);
  // Of another GPU, and damaged: the text serves.
  for (const std::string& other : {machine_code("sm_80"), std::string("\177ELF")}) {
    fake().launches = 0;
    launch(*executable("sm_80", {}, 1000, 0, other), *context_, tensor(x, 5));
    EXPECT_FALSE(fake().machine_code);
    EXPECT_EQ(fake().launches, 1);
  }
}

TEST_F(Launching, TheParametersAreTheFrameAndTheGrid) {
  const DeviceBuffer x(*context_, 5 * 8 * 4);
  const Stream stream(*context_);
  launch(*executable_, stream, tensor(x, 5));
  ASSERT_EQ(fake().launches, 1);
  const fake_cuda::Launch& l = seen(0);
  EXPECT_EQ(l.grid_x, 5u);
  EXPECT_EQ(l.grid_y, 1u);
  EXPECT_EQ(l.grid_z, 1u);
  EXPECT_EQ(l.threads, 128u);
  EXPECT_EQ(l.shared_bytes, 1000u);
  EXPECT_EQ(l.stream, stream.handle());
  EXPECT_EQ(l.context, context_->gpu()->context());
  ASSERT_EQ(l.words, words);
  const std::uint64_t base = reinterpret_cast<std::uintptr_t>(x.data());
  EXPECT_EQ(std::vector(l.parameters.begin(), l.parameters.begin() + words), (std::vector<std::uint64_t>{base, 5, 8, 8, 1, 0x3fc00000, 5, 5}));
}

TEST_F(Launching, CodeIsLoadedOnceADevice) {
  const DeviceBuffer x(*context_, 256);
  for (int i = 0; i < 3; ++i) launch(*executable_, *context_, tensor(x, 5));
  EXPECT_EQ(fake().modules_loaded, 1);
  const Context again = fake_context(0);
  launch(*executable_, again, tensor(x, 5));
  EXPECT_EQ(fake().modules_loaded, 1) << "a second context of a device is the same primary context";
  const Context other = fake_context(1);
  const DeviceBuffer y(other, 256);
  launch(*executable_, other, tensor(y, 5));
  EXPECT_EQ(fake().modules_loaded, 2);
  EXPECT_EQ(seen(4).context, other.gpu()->context());
  executable_.reset();
  EXPECT_EQ(fake().modules_alive, 0);
}

TEST_F(Launching, NoInstancesNoLaunch) {
  const DeviceBuffer x(*context_, 0);
  launch(*executable_, *context_, tensor(x, 0));
  EXPECT_EQ(fake().launches, 0);
}

TEST_F(Launching, MoreInstancesThanAGridHas) {
  const DeviceBuffer x(*context_, 64);
  Tensor t = tensor(x, 1);
  const auto code_with = [&](std::int64_t rows) {
    t.extents[0] = rows;
    return code_of([&] { launch(*executable_, *context_, t); });
  };
  EXPECT_EQ(code_with(std::int64_t{1} << 31), "E0804");
  EXPECT_EQ(code_with((std::int64_t{1} << 31) - 1), "");
  EXPECT_EQ(seen(0).grid_x, 0x7fffffffu);
}

TEST_F(Launching, AWarmLaunchAllocatesNothing) {
  const DeviceBuffer x(*context_, 256);
  const Tensor t = tensor(x, 5);
  const Argument arguments[] = {t, 1.5f};
  executable_->prepare(*context_);
  launch(*executable_, *context_, t);
  const cuda::Current current(*context_->gpu());
  const long before = allocations();
  const Launch l = plan_->bind(arguments, *context_);
  executable_->run(*context_, l, {});
  EXPECT_EQ(allocations() - before, 0);
  EXPECT_EQ(fake().launches, 2);
}

TEST_F(Launching, AnUnpreparedKernelInACaptureNamesPrepare) {
  const DeviceBuffer x(*context_, 256);
  const Stream stream(*context_);
  static_cast<fake_cuda::Stream*>(stream.handle())->capturing = true;
  ASSERT_TRUE(stream.capturing());
  const std::string text = message_of([&] { launch(*executable_, stream, tensor(x, 5)); });
  EXPECT_THAT(text, HasSubstr("E0708"));
  EXPECT_THAT(text, HasSubstr("prepare()"));
  EXPECT_EQ(fake().modules_loaded, 0);
  executable_->prepare(*context_);
  launch(*executable_, stream, tensor(x, 5));
  EXPECT_EQ(fake().launches, 1);
}

TEST_F(Launching, ACaptureElsewhereForbidsLoadingToo) {
  const DeviceBuffer x(*context_, 256);
  fake().legacy_capture = true;
  EXPECT_EQ(code_of([&] { launch(*executable_, *context_, tensor(x, 5)); }), "E0708");
}

TEST_F(Launching, HostMemoryIsRefusedOnAGpu) {
  std::vector<float> host(40);
  Tensor t(host.data(), ElementType::F32, std::array<std::int64_t, 2>{5, 8});
  const std::string unstated = message_of([&] { launch(*executable_, *context_, t); });
  EXPECT_THAT(unstated, HasSubstr("E0710"));
  EXPECT_THAT(unstated, HasSubstr("`x` lies in the host's memory, but the kernel runs on GPU 0"));
  t.location = Location::host();
  EXPECT_EQ(message_of([&] { launch(*executable_, *context_, t); }), unstated);
  EXPECT_EQ(fake().launches, 0);
}

TEST_F(Launching, MemoryOfAnotherGpuIsRefused) {
  const DeviceBuffer x(fake_context(1), 256);
  EXPECT_THAT(message_of([&] { launch(*executable_, *context_, tensor(x, 5)); }), HasSubstr("`x` lies on GPU 1, but the kernel runs on GPU 0"));
}

TEST_F(Launching, DeviceMemoryIsRefusedOnTheCpu) {
  const DeviceBuffer x(*context_, 256);
  const Argument arguments[] = {tensor(x, 5), 1.5f};
  const std::string text = message_of([&] { plan_->bind(arguments, Context::cpu(1)); });
  EXPECT_THAT(text, HasSubstr("E0710"));
  EXPECT_THAT(text, HasSubstr("`x` lies on GPU 0, but the kernel runs on the CPU"));
}

TEST_F(Launching, AnUnstatedDevicePointerIsTaken) {
  const DeviceBuffer x(*context_, 256);
  Tensor t = tensor(x, 5);
  t.location = {};
  launch(*executable_, *context_, t);
  EXPECT_EQ(fake().launches, 1);
}

TEST_F(Launching, KernelAndContextMustFit) {
  const DeviceBuffer x(*context_, 256);
  EXPECT_EQ(code_of([&] { executable_->prepare(Context::cpu(1)); }), "E0804");
  EXPECT_EQ(code_of([&] { executable("sm_100a", {})->prepare(*context_); }), "E0804");
  EXPECT_EQ(code_of([&] { executable("sm_90a", {})->prepare(*context_); }), "");
  EXPECT_EQ(code_of([&] { interpreted(*kernel_, sources_, false)->prepare(*context_); }), "E0804");
  fake().major = 8;
  EXPECT_EQ(code_of([&] { executable("sm_90a", {})->prepare(fake_context()); }), "E0804");
}

TEST_F(Launching, AFailedLaunchSaysWhichKernel) {
  const DeviceBuffer x(*context_, 256);
  fake().launch_result = 701;
  const std::string text = message_of([&] { launch(*executable_, *context_, tensor(x, 5)); });
  EXPECT_THAT(text, HasSubstr("launching `k`"));
  EXPECT_THAT(text, HasSubstr("smaller tiles"));
}

TEST_F(Launching, AFailedCheckIsReported) {
  const auto checked = executable("sm_80", {{{}, "first"}, {{}, "second holds"}});
  const DeviceBuffer x(*context_, 256);
  launch(*checked, *context_, tensor(x, 5));
  const std::size_t bytes = fake().bytes_alive;
  fake().failed_check = 2;
  fake().failed_instance = 3;
  const std::string text = message_of([&] { launch(*checked, *context_, tensor(x, 5)); });
  EXPECT_THAT(text, HasSubstr("E0805"));
  EXPECT_THAT(text, HasSubstr("second holds, in grid instance 3"));
  EXPECT_EQ(fake().bytes_alive, bytes) << "the report's memory must be freed";
}

TEST_F(Launching, FromManyThreadsAtOnce) {
  const DeviceBuffer x(*context_, 256);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) launch(*executable_, *context_, tensor(x, 5));
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(fake().launches, 200);
  EXPECT_EQ(fake().modules_loaded, 1);
}

}  // namespace
}  // namespace tessera
