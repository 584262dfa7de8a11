// Contexts, streams, events, buffers and tensors of other libraries, on the fake driver and on the CPU.
#include <gmock/gmock.h>

#include <cstring>
#include <numeric>

#include "tests/cuda/fake_driver.h"
#include "tests/runtime/signatures.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;
using namespace tessera::testing;
using test::code_of;

class Memory : public WithFakeDriver {};

std::vector<float> numbers(std::size_t n) {
  std::vector<float> out(n);
  std::iota(out.begin(), out.end(), 1.0f);
  return out;
}

TEST_F(Memory, GoesThereAndBackOnEitherDevice) {
  for (const Context& context : {Context::cpu(1), fake_context()}) {
    const std::vector<float> in = numbers(64);
    std::vector<float> out(64);
    const DeviceBuffer b(context, 256);
    b.copy_from(std::as_bytes(std::span(in)), context);
    b.copy_to(std::as_writable_bytes(std::span(out)), context);
    EXPECT_EQ(out, in) << context.description();
    b.fill(0, context);
    b.copy_to(std::as_writable_bytes(std::span(out)), context);
    EXPECT_EQ(out, std::vector<float>(64, 0.0f)) << context.description();
    EXPECT_EQ(b.location(), context.location());
  }
}

TEST_F(Memory, IsFreedWithTheBuffer) {
  const Context context = fake_context();
  {
    DeviceBuffer a(context, 1000);
    const DeviceBuffer b = std::move(a);
    EXPECT_EQ(fake().bytes_alive, 1000u);
  }
  EXPECT_EQ(fake().bytes_alive, 0u);
}

TEST_F(Memory, OutlivesItsContext) {
  std::optional<DeviceBuffer> b;
  b.emplace(fake_context(), 16);
  EXPECT_EQ(fake().retained, 1) << "the buffer keeps the device open";
  b.reset();
  EXPECT_EQ(fake().retained, 0);
}

TEST_F(Memory, CopiesThatDoNotFitAreRefused) {
  const Context context = fake_context();
  const DeviceBuffer b(context, 16);
  std::vector<std::byte> more(17);
  EXPECT_EQ(code_of([&] { b.copy_from(more, context); }), "E0704");
  EXPECT_EQ(code_of([&] { b.copy_to(more, context); }), "E0704");
  EXPECT_EQ(code_of([&] { b.fill(0, Context::cpu(1)); }), "E0802");
  EXPECT_EQ(code_of([&] { b.fill(0, fake_context(1)); }), "E0802");
}

TEST_F(Memory, ViewsKnowWhereTheyLie) {
  const DeviceBuffer b(fake_context(1), 64);
  const View<float, 2> v = b.view<float, 2>({4, 4});
  EXPECT_EQ(v.location(), Location::cuda(1));
  EXPECT_EQ((View<const float, 2>(v).location()), Location::cuda(1));
  EXPECT_EQ(Tensor(v).location, Location::cuda(1));
  EXPECT_EQ(code_of([&] { b.view<float, 2>({4, 5}); }), "E0704");
  EXPECT_EQ(code_of([&] { b.tensor(ElementType::U4, std::array<std::int64_t, 1>{128}); }), "");
  EXPECT_EQ(code_of([&] { b.tensor(ElementType::U4, std::array<std::int64_t, 1>{130}); }), "E0704");
}

TEST_F(Memory, StreamsAreOwnedOrBorrowed) {
  const Context context = fake_context();
  {
    const Stream own(context);
    EXPECT_EQ(fake().streams_alive, 1);
    const Stream copy = own;
    const Stream wrapped = Stream::wrap(context, own.handle());
    EXPECT_EQ(wrapped.handle(), own.handle());
    EXPECT_EQ(context.on(wrapped).raw_stream(), own.handle());
    EXPECT_FALSE(own.capturing());
  }
  EXPECT_EQ(fake().streams_alive, 0);
  EXPECT_EQ(Stream::wrap(context, nullptr).handle(), nullptr);
  EXPECT_EQ(code_of([&] { fake_context(1).on(Stream(context)); }), "E0802");
  EXPECT_EQ(code_of([&] { Context::cpu(1).on(Stream(context)); }), "E0802");
}

TEST_F(Memory, EventsMeasureAndOrder) {
  for (const Context& context : {Context::cpu(1), fake_context()}) {
    Event a(context, Event::Timing::On), b(context, Event::Timing::On);
    const Stream s(context), t(context);
    a.record(s);
    t.wait_for(s);
    b.record(t);
    b.synchronize();
    EXPECT_TRUE(b.done());
    EXPECT_GE(Event::elapsed_ms(a, b), 0.0);
  }
  EXPECT_EQ(fake().events_alive, 0);
  const Context gpu = fake_context();
  const Event never(gpu, Event::Timing::On);
  EXPECT_EQ(code_of([&] { Event::elapsed_ms(never, never); }), "machine");
  Event on_host(Context::cpu(1));
  EXPECT_EQ(code_of([&] { on_host.record(gpu); }), "E0802");
}

TEST_F(Memory, ContextsSayWhatTheyAre) {
  const Context gpu = fake_context(1);
  EXPECT_TRUE(gpu.is_cuda());
  EXPECT_EQ(gpu.device(), 1);
  EXPECT_EQ(gpu.threads(), 0);
  EXPECT_EQ(gpu.target(), "cuda:1");
  EXPECT_EQ(gpu.description(), "cuda:1, Fake GPU, sm_90a");
  const Context cpu = Context::cpu(2);
  EXPECT_FALSE(cpu.is_cuda());
  EXPECT_EQ(cpu.device(), -1);
  EXPECT_EQ(cpu.target(), "cpu");
}

TEST_F(Memory, SynchronizeWaitsForTheStream) {
  const Context gpu = fake_context();
  gpu.synchronize();
  Stream(gpu).synchronize();
  EXPECT_EQ(fake().synchronized, 2);
  Context::cpu(1).synchronize();
  EXPECT_EQ(fake().synchronized, 2);
}

TEST_F(Memory, DlpackKeepsTheDevice) {
  const DeviceBuffer b(fake_context(1), 64);
  std::int64_t shape[] = {4, 4};
  dlpack::DLTensor t{b.data(), {dlpack::kDLCUDA, 1}, 2, {dlpack::kDLFloat, 32, 1}, shape, nullptr, 0};
  EXPECT_EQ(from_dlpack(t).location, Location::cuda(1));
  t.device = {dlpack::kDLCPU, 0};
  EXPECT_EQ(from_dlpack(t).location, Location::host());
  for (auto both : {dlpack::kDLCUDAHost, dlpack::kDLCUDAManaged}) {
    t.device = {both, 0};
    EXPECT_EQ(from_dlpack(t).location, Location{});
  }
  dlpack::DLManagedTensorVersioned* out = to_dlpack(b.tensor(ElementType::F32, shape), nullptr);
  EXPECT_EQ(out->dl_tensor.device.device_type, dlpack::kDLCUDA);
  EXPECT_EQ(out->dl_tensor.device.device_id, 1);
  out->deleter(out);
}

TEST_F(Memory, OptionsNameOneTarget) {
  const Context gpu = fake_context();
  const auto code = [&](Options o) { return code_of([&] { detail::resolve_target(o); }); };
  EXPECT_EQ(detail::resolve_target({.context = gpu}).name, "sm_90a");
  EXPECT_EQ(detail::resolve_target({.target = "cuda", .context = gpu}).name, "sm_90a");
  EXPECT_EQ(detail::resolve_target({.target = "sm_80", .context = gpu}).name, "sm_80");
  EXPECT_EQ(detail::resolve_target({}).name, "cpu");
  EXPECT_EQ(detail::resolve_target({.context = Context::cpu(1)}).name, "cpu");
  EXPECT_FALSE(detail::resolve_target({.target = "sm_80"}).context);
  EXPECT_EQ(code({.target = "cuda:1", .context = gpu}), "E0802");
  EXPECT_EQ(code({.target = "cpu", .context = gpu}), "E0802");
  EXPECT_EQ(code({.target = "cuda", .context = Context::cpu(1)}), "E0802");
  for (const char* wrong : {"cuda:", "cuda:x", "cuda:-1", "cuda:1 ", "sm_70", "sm_90", "gpu"}) EXPECT_EQ(code({.target = wrong}), "E0802") << wrong;
}

}  // namespace
}  // namespace tessera
