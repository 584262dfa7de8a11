// The public interface on a GPU, without a GPU: from source text to the launch.
#include <gmock/gmock.h>

#include <chrono>

#include "tests/cuda/count_allocations.h"
#include "tests/cuda/fake_driver.h"
#include "tests/runtime/signatures.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;
using namespace tessera::testing;
using test::code_of;

constexpr const char* source = R"(
kernel scale[N: int](x: view f32[M, N], y: out view f32[M, N], bias: view f32[N] ?, s: f32)
where M <= 1000
over (i in M)
{
    var t = x[i, :] * s;
    if has(bias) { t = t + bias[:]; }
    y[i, :] = t;
}
)";
using Scale = Kernel<In<float, 2>, Out<float, 2>, std::optional<In<float, 1>>, float>;

class Public : public WithFakeDriver {
 protected:
  static Scale scale(const Options& options) {
    return load_source("scale.tile", source).kernel<In<float, 2>, Out<float, 2>, std::optional<In<float, 1>>, float>("scale", {{"N", 8}}, options);
  }
  static void capture(const Stream& s, bool on) { static_cast<fake_cuda::Stream*>(s.handle())->capturing = on; }
};

TEST_F(Public, AKernelForAContextIsLoadedAtOnceAndLaunched) {
  const Context gpu = fake_context();
  const Scale kernel = scale({.context = gpu});
  EXPECT_EQ(fake().modules_loaded, 1);
  const DeviceBuffer x(gpu, 160), y(gpu, 160), bias(gpu, 32);
  kernel(gpu, x.view<float, 2>({5, 8}), y.view<float, 2>({5, 8}), In<float, 1>(bias.view<float, 1>({8})), 2.0f);
  ASSERT_EQ(fake().launches, 1);
  EXPECT_EQ(fake().launch[0].parameters[0], reinterpret_cast<std::uintptr_t>(x.data()));
  EXPECT_GE(fake().launch[0].grid_x, 1u);
  EXPECT_LE(fake().launch[0].grid_x, 5u);
}

TEST_F(Public, AWarmLaunchAllocatesNothing) {
  const Context gpu = fake_context();
  const Scale kernel = scale({.context = gpu});
  const DeviceBuffer x(gpu, 160), y(gpu, 160), bias(gpu, 32);
  const auto launch = [&] { kernel(gpu, x.view<float, 2>({5, 8}), y.view<float, 2>({5, 8}), In<float, 1>(bias.view<float, 1>({8})), 2.0f); };
  launch();
  const long before = allocations();
  for (int i = 0; i < 10; ++i) launch();
  EXPECT_EQ(allocations() - before, 0);
  EXPECT_EQ(fake().launches, 11);
}

TEST_F(Public, InACaptureOnlyWhatIsPrepared) {
  const Context gpu = fake_context();
  const Scale kernel = scale({.context = gpu});
  const Stream stream(gpu);
  const DeviceBuffer x(gpu, 160), y(gpu, 160);
  const auto without_bias = [&] { kernel(stream, x.view<float, 2>({5, 8}), y.view<float, 2>({5, 8}), std::nullopt, 2.0f); };
  capture(stream, true);
  const std::string text = message_of(without_bias);
  EXPECT_THAT(text, HasSubstr("E0708"));
  EXPECT_THAT(text, HasSubstr("prepare()"));
  EXPECT_EQ(fake().modules_loaded, 1) << "nothing may be compiled or loaded in a capture";
  capture(stream, false);
  kernel.any().prepare({"bias"});
  EXPECT_EQ(fake().modules_loaded, 2) << "prepare() loads on the context that the kernel was made for";
  capture(stream, true);
  without_bias();
  EXPECT_EQ(fake().launches, 1);
}

TEST_F(Public, AnArchitectureIsLoadedWhenADeviceIsNamed) {
  const Scale kernel = scale({.target = "sm_80"});
  EXPECT_EQ(fake().modules_loaded, 0);
  const Context gpu = fake_context(1);
  kernel.any().prepare(gpu);
  EXPECT_EQ(fake().modules_loaded, 1);
  EXPECT_EQ(code_of([&] { kernel.any().prepare(Context::cpu(1)); }), "E0804");
  EXPECT_EQ(code_of([&] { scale({.target = "sm_120a"}).any().prepare(gpu); }), "E0804");
}

TEST_F(Public, LaunchRulesAreThoseOfTheCpu) {
  const Context gpu = fake_context();
  const Scale kernel = scale({.context = gpu});
  const DeviceBuffer x(gpu, 64000), y(gpu, 64000);
  const auto code = [&](View<const float, 2> a, View<float, 2> b) { return code_of([&] { kernel(gpu, a, b, std::nullopt, 1.0f); }); };
  EXPECT_EQ(code(x.view<float, 2>({5, 8}), y.view<float, 2>({6, 8})), "E0704");
  EXPECT_EQ(code(x.view<float, 2>({1001, 8}), y.view<float, 2>({1001, 8})), "E0705");
  EXPECT_EQ(code(x.view<float, 2>({5, 8}), x.view<float, 2>({5, 8})), "E0707");
  std::vector<float> host(40);
  EXPECT_EQ(code({host.data(), {5, 8}}, y.view<float, 2>({5, 8})), "E0710");
  EXPECT_EQ(fake().launches, 0);
}

TEST_F(Public, KernelsOfTheHostDoNotRunOnAGpu) {
  const Context gpu = fake_context();
  std::vector<float> x(40), y(40);
  for (const char* target : {"cpu", "interp"}) {
    const Scale kernel = scale({.target = target});
    EXPECT_EQ(code_of([&] { kernel.any().prepare(gpu); }), "E0804") << target;
  }
}

TEST_F(Public, TheDriverRefusingCodeIsTheMachinesTrouble) {
  fake().newest_ptx = 70;
  EXPECT_EQ(code_of([&] { scale({.context = fake_context()}); }), "machine");
}

}  // namespace
}  // namespace tessera
