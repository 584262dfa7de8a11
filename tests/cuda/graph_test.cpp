// Kernels as nodes of graphs, without a GPU: what the nodes would run.
#include <gmock/gmock.h>

#include "tests/cuda/fake_driver.h"
#include "tests/cuda/graphs.h"
#include "tests/runtime/signatures.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;
using namespace tessera::testing;
using test::code_of;

constexpr const char* source = R"(
kernel scale[N: int](x: view f32[M, N], y: out view f32[M, N], s: f32)
where M <= 1000
over (i in M)
{
    y[i, :] = x[i, :] * s;
}
)";
using Scale = Kernel<In<float, 2>, Out<float, 2>, float>;

class Graphs : public WithFakeDriver {
 protected:
  void SetUp() override {
    WithFakeDriver::SetUp();
    gpu_ = fake_context();
    x_.emplace(*gpu_, 160);
    y_.emplace(*gpu_, 160);
    ASSERT_EQ(calls_.create(&graph_.handle, 0), 0);
  }
  void TearDown() override {
    if (exec_.handle) calls_.exec_destroy(exec_.handle);
    calls_.destroy(graph_.handle);
  }
  static Scale scale(const Options& options) {
    return load_source("scale.tile", source).kernel<In<float, 2>, Out<float, 2>, float>("scale", {{"N", 8}}, options);
  }
  View<float, 2> x(std::int64_t rows = 5) const { return x_->view<float, 2>({rows, 8}); }
  View<float, 2> y(std::int64_t rows = 5) const { return y_->view<float, 2>({rows, 8}); }
  void instantiate() { ASSERT_EQ(calls_.instantiate(&exec_.handle, graph_.handle, 0), 0); }
  void run(const Stream& stream) const { ASSERT_EQ(calls_.launch(exec_.handle, stream.handle()), 0); }
  static const fake_cuda::Launch& seen(int number) { return fake().launch.at(static_cast<std::size_t>(number)); }
  static bool same(const fake_cuda::Launch& a, const fake_cuda::Launch& b) {
    return a.grid_x == b.grid_x && a.threads == b.threads && a.shared_bytes == b.shared_bytes && a.context == b.context && a.words == b.words &&
           a.parameters == b.parameters;
  }

  GraphCalls calls_{TESSERA_FAKE_CUDA};
  std::optional<Context> gpu_;
  std::optional<DeviceBuffer> x_, y_;
  Graph graph_;
  GraphExec exec_;
};

TEST_F(Graphs, ANodeRunsWhatALaunchWould) {
  const Scale kernel = scale({.context = gpu_});
  const Stream stream(*gpu_);
  const GraphNode node = kernel.node(*gpu_, graph_, {}, x(), y(), 2.0f);
  EXPECT_NE(node.handle, nullptr);
  EXPECT_EQ(fake().launches, 0);
  instantiate();
  run(stream);
  kernel(stream, x(), y(), 2.0f);
  ASSERT_EQ(fake().launches, 2);
  EXPECT_TRUE(same(seen(0), seen(1)));
  EXPECT_EQ(seen(0).context, gpu_->gpu()->context());
}

TEST_F(Graphs, AnUpdateChangesTheNextLaunch) {
  const Scale kernel = scale({.context = gpu_});
  const Stream stream(*gpu_);
  const GraphNode first = kernel.node(*gpu_, graph_, {}, x(), y(), 2.0f);
  const GraphNode second = kernel.node(*gpu_, graph_, {first}, x(3), y(3), 4.0f);
  instantiate();
  kernel.update(*gpu_, exec_, second, x(2), y(2), 7.0f);
  run(stream);
  ASSERT_EQ(fake().launches, 2);
  kernel(stream, x(), y(), 2.0f);
  kernel(stream, x(2), y(2), 7.0f);
  EXPECT_TRUE(same(seen(0), seen(2)));
  EXPECT_TRUE(same(seen(1), seen(3)));
  EXPECT_FALSE(same(seen(0), seen(1)));
}

TEST_F(Graphs, NoInstances) {
  const Scale kernel = scale({.context = gpu_});
  const Stream stream(*gpu_);
  EXPECT_EQ(code_of([&] { kernel.node(*gpu_, graph_, {}, x(0), y(0), 2.0f); }), "E0804");
  const GraphNode node = kernel.node(*gpu_, graph_, {}, x(), y(), 2.0f);
  instantiate();
  kernel.update(*gpu_, exec_, node, x(0), y(0), 2.0f);
  run(stream);
  EXPECT_EQ(fake().launches, 0);
  kernel.update(*gpu_, exec_, node, x(4), y(4), 2.0f);
  run(stream);
  EXPECT_EQ(fake().launches, 1);
}

TEST_F(Graphs, ArgumentsAreCheckedAsThoseOfALaunch) {
  const Scale kernel = scale({.context = gpu_});
  const GraphNode node = kernel.node(*gpu_, graph_, {}, x(), y(), 2.0f);
  instantiate();
  const auto both = [&](auto&&... args) {
    const std::string a = code_of([&] { kernel.node(*gpu_, graph_, {}, args...); });
    EXPECT_EQ(a, code_of([&] { kernel.update(*gpu_, exec_, node, args...); }));
    return a;
  };
  EXPECT_EQ(both(x(5), y(4), 2.0f), "E0704");
  EXPECT_EQ(both(View<float, 2>(x().data(), {1001, 8}).at(gpu_->location()), View<float, 2>(y().data(), {1001, 8}).at(gpu_->location()), 2.0f),
            "E0705");
  EXPECT_EQ(both(x(), x(), 2.0f), "E0707");
  EXPECT_EQ(both(View<const float, 2>(nullptr, {5, 8}), y(), 2.0f), "E0710");
}

TEST_F(Graphs, OnlyAGpuHasThem) {
  const Context cpu = Context::cpu(1);
  const Scale kernel = scale({.context = cpu});
  std::vector<float> a(40), b(40);
  const View<float, 2> x(a.data(), {5, 8}), y(b.data(), {5, 8});
  EXPECT_EQ(code_of([&] { kernel.node(cpu, graph_, {}, x, y, 2.0f); }), "E0804");
  EXPECT_EQ(code_of([&] { kernel.update(cpu, exec_, GraphNode{}, x, y, 2.0f); }), "E0804");
}

TEST_F(Graphs, ForeignNodesAreTheDriversToRefuse) {
  const Scale kernel = scale({.context = gpu_});
  const GraphNode node = kernel.node(*gpu_, graph_, {}, x(), y(), 2.0f);
  Graph other;
  ASSERT_EQ(calls_.create(&other.handle, 0), 0);
  EXPECT_THAT(message_of([&] { kernel.node(*gpu_, other, {node}, x(), y(), 2.0f); }), HasSubstr("adding `scale` to a graph"));
  const GraphNode foreign = kernel.node(*gpu_, other, {}, x(), y(), 2.0f);
  instantiate();
  EXPECT_THAT(message_of([&] { kernel.update(*gpu_, exec_, foreign, x(), y(), 2.0f); }), HasSubstr("updating a graph's node with `scale`"));
  calls_.destroy(other.handle);
}

TEST_F(Graphs, AnUnpreparedFormIsMadeOrRefused) {
  const Scale kernel = scale({.target = "sm_90a"});
  EXPECT_EQ(fake().modules_loaded, 0);
  kernel.node(*gpu_, graph_, {}, x(), y(), 2.0f);
  EXPECT_EQ(fake().modules_loaded, 1);
}

}  // namespace
}  // namespace tessera
