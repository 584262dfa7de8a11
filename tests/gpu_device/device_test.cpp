// What only a real GPU can answer: results of generated code, streams, graphs. Every test skips where there is no device.
#include <gmock/gmock.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "tessera/tessera.h"
#include "tests/cuda/graphs.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;

constexpr const char* source = R"(
kernel scale[N: int](x: view f32[M, N], y: out view f32[M, N], s: f32)
over (i in M)
{
    y[i, :] = x[i, :] * s;
}

kernel guarded[N: int](x: view f32[M, N], y: out view f32[M, N])
over (i in M)
{
    assert(i < 3);
    y[i, :] = x[i, :];
}
)";

class OnDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    try {
      context_ = Context::cuda();
    } catch (const Error& e) {
      GTEST_SKIP() << e.message();
    }
  }
  Kernel<In<float, 2>, Out<float, 2>, float> scale(Options options = {}) const {
    if (!options.context) options.context = context_;
    return load_source("scale.tile", source).kernel<In<float, 2>, Out<float, 2>, float>("scale", {{"N", 64}}, options);
  }
  static std::vector<float> numbers(std::size_t n) {
    std::vector<float> out(n);
    std::iota(out.begin(), out.end(), 0.0f);
    return out;
  }
  DeviceBuffer upload(const std::vector<float>& host, const Context& on) const {
    DeviceBuffer b(*context_, host.size() * 4);
    b.copy_from(std::as_bytes(std::span(host)), on);
    return b;
  }
  static std::vector<float> download(const DeviceBuffer& b, const Context& on) {
    std::vector<float> out(b.bytes() / 4);
    b.copy_to(std::as_writable_bytes(std::span(out)), on);
    return out;
  }
  static void expect_scaled(const std::vector<float>& got, float s) {
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], static_cast<float>(i) * s) << i;
  }

  std::optional<Context> context_;
};

TEST_F(OnDevice, AKernelOnTheDefaultStream) {
  const auto kernel = scale();
  for (const std::int64_t rows : {1, 7, 1000, 70000}) {
    const DeviceBuffer x = upload(numbers(static_cast<std::size_t>(rows) * 64), *context_), y(*context_, x.bytes());
    y.fill(0xff, *context_);
    kernel(*context_, x.view<float, 2>({rows, 64}), y.view<float, 2>({rows, 64}), 3.0f);
    expect_scaled(download(y, *context_), 3.0f);
  }
}

TEST_F(OnDevice, NoRowsNoLaunch) {
  const DeviceBuffer x(*context_, 0), y(*context_, 0);
  scale()(*context_, x.view<float, 2>({0, 64}), y.view<float, 2>({0, 64}), 1.0f);
  context_->synchronize();
}

TEST_F(OnDevice, StreamsRunInOrderAndWaitForEachOther) {
  const auto kernel = scale();
  const Stream a(*context_), b(*context_);
  const DeviceBuffer x = upload(numbers(64000), a), y(*context_, x.bytes()), z(*context_, x.bytes());
  kernel(a, x.view<float, 2>({1000, 64}), y.view<float, 2>({1000, 64}), 2.0f);
  b.wait_for(a);
  kernel(b, y.view<float, 2>({1000, 64}), z.view<float, 2>({1000, 64}), 2.0f);
  expect_scaled(download(z, b), 4.0f);
}

TEST_F(OnDevice, EventsMeasureTime) {
  const auto kernel = scale();
  const DeviceBuffer x = upload(numbers(64000), *context_), y(*context_, x.bytes());
  Event start(*context_, Event::Timing::On), end(*context_, Event::Timing::On);
  start.record(*context_);
  for (int i = 0; i < 10; ++i) kernel(*context_, x.view<float, 2>({1000, 64}), y.view<float, 2>({1000, 64}), 2.0f);
  end.record(*context_);
  end.synchronize();
  const double ms = Event::elapsed_ms(start, end);
  EXPECT_GT(ms, 0.0);
  EXPECT_LT(ms, 1000.0);
}

/// The graph calls of the real driver. Graphs are made in the thread's current context, which Tessera leaves alone.
struct Graphs : testing::GraphCalls {
  Graphs() : GraphCalls("libcuda.so.1") {
    void* context = nullptr;
    if (retain && retain(&context, 0) == 0) make_current(context);
  }
};

TEST_F(OnDevice, ALaunchIsCapturedIntoAGraph) {
  const auto kernel = scale();
  const Stream stream(*context_);
  const DeviceBuffer x = upload(numbers(64000), stream), y(*context_, x.bytes());
  stream.synchronize();
  const Graphs graphs;
  if (!graphs.begin) GTEST_SKIP() << "the driver has no graphs";
  void *graph = nullptr, *ready = nullptr;
  ASSERT_EQ(graphs.begin(stream.handle(), 2), 0);  // relaxed: other threads may do what they like
  EXPECT_TRUE(stream.capturing());
  kernel(stream, x.view<float, 2>({1000, 64}), y.view<float, 2>({1000, 64}), 5.0f);
  ASSERT_EQ(graphs.end(stream.handle(), &graph), 0);
  ASSERT_EQ(graphs.instantiate(&ready, graph, 0), 0);
  y.fill(0, stream);
  ASSERT_EQ(graphs.launch(ready, stream.handle()), 0);
  expect_scaled(download(y, stream), 5.0f);
}

TEST_F(OnDevice, KernelsAreNodesOfAGraph) {
  const auto kernel = scale();
  const Stream stream(*context_);
  const DeviceBuffer x = upload(numbers(64000), stream), y(*context_, x.bytes()), z(*context_, x.bytes());
  stream.synchronize();
  const Graphs graphs;
  if (!graphs.create) GTEST_SKIP() << "the driver has no graphs";
  Graph graph;
  GraphExec exec;
  ASSERT_EQ(graphs.create(&graph.handle, 0), 0);
  const GraphNode first = kernel.node(*context_, graph, {}, x.view<float, 2>({1000, 64}), y.view<float, 2>({1000, 64}), 3.0f);
  const GraphNode second = kernel.node(*context_, graph, {first}, y.view<float, 2>({1000, 64}), z.view<float, 2>({1000, 64}), 2.0f);
  ASSERT_EQ(graphs.instantiate(&exec.handle, graph.handle, 0), 0);
  ASSERT_EQ(graphs.launch(exec.handle, stream.handle()), 0);
  expect_scaled(download(z, stream), 6.0f);
  kernel.update(*context_, exec, second, y.view<float, 2>({1000, 64}), z.view<float, 2>({1000, 64}), 5.0f);
  kernel.update(*context_, exec, first, x.view<float, 2>({1000, 64}), y.view<float, 2>({1000, 64}), 1.0f);
  ASSERT_EQ(graphs.launch(exec.handle, stream.handle()), 0);
  expect_scaled(download(z, stream), 5.0f);
  // Without instances the second does nothing; given some again, it runs.
  kernel.update(*context_, exec, second, y.view<float, 2>({0, 64}), z.view<float, 2>({0, 64}), 9.0f);
  kernel.update(*context_, exec, first, x.view<float, 2>({1000, 64}), y.view<float, 2>({1000, 64}), 2.0f);
  ASSERT_EQ(graphs.launch(exec.handle, stream.handle()), 0);
  expect_scaled(download(z, stream), 5.0f);
  expect_scaled(download(y, stream), 2.0f);
  kernel.update(*context_, exec, second, y.view<float, 2>({1000, 64}), z.view<float, 2>({1000, 64}), 4.0f);
  ASSERT_EQ(graphs.launch(exec.handle, stream.handle()), 0);
  expect_scaled(download(z, stream), 8.0f);
  graphs.exec_destroy(exec.handle);
  graphs.destroy(graph.handle);
}

TEST_F(OnDevice, AnUnpreparedKernelIsRefusedInACapture) {
  // An architecture alone names no device to load the code on.
  const std::string description = context_->description();
  const auto kernel =
      load_source("scale.tile", source)
          .kernel<In<float, 2>, Out<float, 2>, float>("scale", {{"N", 64}}, {.target = description.substr(description.rfind(' ') + 1)});
  const Stream stream(*context_);
  const DeviceBuffer x = upload(numbers(64000), stream), y(*context_, x.bytes());
  stream.synchronize();
  const auto launch = [&] { kernel(stream, x.view<float, 2>({1000, 64}), y.view<float, 2>({1000, 64}), 5.0f); };
  const Graphs graphs;
  if (!graphs.begin) GTEST_SKIP() << "the driver has no graphs";
  void* graph = nullptr;
  std::string code;
  ASSERT_EQ(graphs.begin(stream.handle(), 2), 0);
  try {
    launch();
  } catch (const Error& e) {
    code = e.code();
  }
  graphs.end(stream.handle(), &graph);
  EXPECT_EQ(code, "E0708");
  kernel.any().prepare(*context_);
  launch();
  expect_scaled(download(y, stream), 5.0f);
}

TEST_F(OnDevice, HostMemoryIsRefused) {
  const auto kernel = scale();
  std::vector<float> x(64), y(64);
  try {
    kernel(*context_, View<const float, 2>(x.data(), {1, 64}).at(Location::host()), View<float, 2>(y.data(), {1, 64}), 1.0f);
    FAIL() << "host memory was taken";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), "E0710");
  }
}

TEST_F(OnDevice, AFailedAssertionIsReported) {
  const auto kernel =
      load_source("scale.tile", source).kernel<In<float, 2>, Out<float, 2>>("guarded", {{"N", 64}}, {.context = context_, .debug = true});
  const DeviceBuffer x = upload(numbers(640), *context_), y(*context_, x.bytes());
  kernel(*context_, x.view<float, 2>({3, 64}), y.view<float, 2>({3, 64}));
  try {
    kernel(*context_, x.view<float, 2>({10, 64}), y.view<float, 2>({10, 64}));
    FAIL() << "the assertion did not fail";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), "E0805");
    EXPECT_THAT(e.message(), HasSubstr("in grid instance"));
  }
}

}  // namespace
}  // namespace tessera
