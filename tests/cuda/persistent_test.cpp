// Persistent kernels: how many CTAs a launch starts, and which ticket counter it hands them.
#include <set>
#include <vector>

#include "codegen/nvptx/ptx.h"
#include "runtime/executable.h"
#include "runtime/launch.h"
#include "tests/cuda/fake_driver.h"
#include "tests/runtime/signatures.h"

namespace tessera {
namespace {

using namespace tessera::testing;
using test::dims;
using test::view_param;

constexpr int kThreads = 384;
constexpr unsigned kResident = 132 * (2048 / kThreads);  ///< what the fake device holds

/// A kernel (x: f32[M]) of M instances.
class Persistent : public WithFakeDriver {
 protected:
  static constexpr std::size_t words = 1 + 1 + 1 + 1 + 1;  // x with extent and stride, M, the count of the grid axis

  void SetUp() override {
    WithFakeDriver::SetUp();
    sources_ = std::make_shared<SourceMap>();
    kernel_ = test::signature("k", {view_param("x", DType::F32, ir::Mode::In, dims({"M"}))}, {"M"}, {{"i", Sym::symbol("M")}});
    plan_ = std::make_unique<LaunchPlan>(*kernel_, sources_);
    executable_ = of_clusters(1);
  }
  std::unique_ptr<Executable> of_clusters(int ctas) const {
    GpuObject o{.ptx = ptx_text("k", words + 1), .entry = "k", .target = *gpu_target_from_name("sm_80"), .threads = kThreads};
    o.persistent = true;
    o.cluster = {ctas, 0};
    return on_gpu(std::move(o), "k", sources_);
  }
  void launch(const Context& context, std::int64_t m) const { executable_->run(context, bound(context, m), {}); }
  Launch bound(const Context& context, std::int64_t m) const {
    Tensor x(buffer_.data(), ElementType::F32, std::array<std::int64_t, 1>{m});
    const Argument arguments[] = {x};
    return plan_->bind(arguments, context);
  }
  static const fake_cuda::Launch& seen() { return fake().launch.at(static_cast<std::size_t>(fake().launches - 1) % fake().launch.size()); }
  static std::uint64_t counter() { return seen().parameters[seen().words - 1]; }

  Context context_ = fake_context();
  DeviceBuffer buffer_{context_, 1 << 16};
  std::unique_ptr<ir::Kernel> kernel_;
  std::shared_ptr<SourceMap> sources_;
  std::unique_ptr<LaunchPlan> plan_;
  std::unique_ptr<Executable> executable_;
};

TEST_F(Persistent, AsManyCtasAsTheDeviceHolds) {
  launch(context_, 10 * kResident);
  EXPECT_EQ(seen().grid_x, kResident);
  EXPECT_EQ(seen().words, words + 1);
  EXPECT_NE(counter(), 0u);
}

TEST_F(Persistent, FewInstancesHaveACtaEach) {
  for (const unsigned m : {1U, kResident}) {
    launch(context_, m);
    EXPECT_EQ(seen().grid_x, m);
    EXPECT_EQ(counter(), 0u);
  }
}

TEST_F(Persistent, ClustersAreLaunchedWhole) {
  executable_ = of_clusters(2);
  for (const auto& [m, ctas] : {std::pair{1U, 2U}, {4U, 4U}, {5U, 6U}, {kResident - 1, kResident}, {kResident + 1, kResident}}) {
    launch(context_, m);
    EXPECT_EQ(seen().grid_x, ctas) << m;
    EXPECT_EQ(seen().cluster, 2u);
    EXPECT_EQ(counter() != 0, m > kResident) << m;
  }
  executable_ = of_clusters(1);
  launch(context_, 5);
  EXPECT_EQ(seen().cluster, 1u);
}

TEST_F(Persistent, AStreamHasOneCounterAndSharesItWithNone) {
  const Stream a(context_), b(context_);
  launch(a.context(), 1000);
  const std::uint64_t first = counter();
  launch(b.context(), 1000);
  EXPECT_NE(counter(), first);
  launch(a.context(), 2000);
  EXPECT_EQ(counter(), first);
}

TEST_F(Persistent, WhereNoCounterIsLeftEachInstanceHasACta) {
  std::vector<Stream> streams;
  std::set<std::uint64_t> counters;
  for (int i = 0; i < 300; ++i) {
    streams.emplace_back(context_);
    launch(streams.back().context(), 1000);
    if (counter() == 0) {
      EXPECT_EQ(seen().grid_x, 1000u);
    } else {
      EXPECT_TRUE(counters.insert(counter()).second);
    }
  }
  EXPECT_EQ(counters.size(), 256u);
}

TEST_F(Persistent, InACaptureEachInstanceHasACta) {
  Stream stream(context_);
  executable_->prepare(stream.context());
  static_cast<fake_cuda::Stream*>(stream.handle())->capturing = true;
  launch(stream.context(), 1000);
  EXPECT_EQ(seen().grid_x, 1000u);
  EXPECT_EQ(counter(), 0u);
}

}  // namespace
}  // namespace tessera
