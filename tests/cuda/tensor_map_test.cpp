// Tensor maps: which ones a launch asks the driver for, and when the kernel is told that there are none.
#include <gmock/gmock.h>

#include <cstring>
#include <thread>

#include "codegen/gpu/tensor_map.h"
#include "codegen/nvptx/ptx.h"
#include "runtime/executable.h"
#include "runtime/launch.h"
#include "runtime/tensor_map_cache.h"
#include "tests/cuda/count_allocations.h"
#include "tests/cuda/fake_driver.h"
#include "tests/runtime/signatures.h"

namespace tessera {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace tessera::testing;
using test::code_of;
using test::dims;
using test::view_param;

/// A kernel (x: T[M, 3, D]) of M instances that reads boxes of 64 x 1 x 16 elements of x, innermost axis first.
class TensorMaps : public WithFakeDriver {
 protected:
  static constexpr std::size_t words = 1 + 3 + 3 + 2 + 1;  // x with extents and strides, M and D, the count of the grid axis

  void SetUp() override {
    WithFakeDriver::SetUp();
    sources_ = std::make_shared<SourceMap>();
    make(DType::BF16, 64);
    context_ = fake_context();
  }
  void make(DType t, std::int64_t width, std::size_t maps = 1) {
    kernel_ = test::signature("k", {view_param("x", t, ir::Mode::In, dims({"M", "3", "D"}))}, {"M", "D"}, {{"i", Sym::symbol("M")}});
    plan_ = std::make_unique<LaunchPlan>(*kernel_, sources_);
    GpuObject o{.ptx = ptx_text("k", words + 1, "sm_90a", "8.0", maps), .entry = "k", .target = *gpu_target_from_name("sm_90a"), .threads = 128};
    o.maps.assign(maps, GpuTensorMap{0, t, {{3, 6, width}, {2, 5, 1}, {1, 4, 16}}});
    executable_ = on_gpu(std::move(o), "k", sources_);
  }
  void launch(const Context& context, const void* x, std::int64_t m, std::int64_t d, ElementType t = ElementType::BF16) const {
    Tensor tensor(const_cast<void*>(x), t, std::array<std::int64_t, 3>{m, 3, d});
    const Argument arguments[] = {tensor};
    const Launch l = plan_->bind(arguments, context);
    executable_->run(context, l, {});
  }
  /// Of kernels that read through their maps and store through none.
  static constexpr std::uint64_t kAll = kReadMaps | kStoredMaps, kNoneRead = kStoredMaps;
  static std::uint64_t flag(const fake_cuda::Launch& l) { return l.parameters[words]; }
  static fake_cuda::Map map(const fake_cuda::Launch& l, std::size_t i = 0) {
    fake_cuda::Map m;
    std::memcpy(&m, &l.parameters[words + 1 + 16 * i], sizeof m);
    return m;
  }
  static const fake_cuda::Launch& seen(const fake_cuda::State& s) { return s.launch.at(static_cast<std::size_t>(s.launches - 1)); }

  std::unique_ptr<ir::Kernel> kernel_;
  std::shared_ptr<SourceMap> sources_;
  std::unique_ptr<LaunchPlan> plan_;
  std::unique_ptr<Executable> executable_;
  std::optional<Context> context_;
};

TEST_F(TensorMaps, DescribeTheTensorOfTheLaunch) {
  const DeviceBuffer x(*context_, 40 * 3 * 72 * 2);
  launch(*context_, x.data(), 40, 72);
  const fake_cuda::Launch& l = seen(fake());
  ASSERT_EQ(l.words, words + 1 + 16);
  EXPECT_EQ(l.parameters[0], reinterpret_cast<std::uintptr_t>(x.data()));
  EXPECT_EQ(l.parameters[words - 1], 40u);
  EXPECT_EQ(flag(l), kAll);
  const fake_cuda::Map m = map(l);
  EXPECT_EQ(m.address, reinterpret_cast<std::uintptr_t>(x.data()));
  EXPECT_EQ(m.rank, 3u);
  EXPECT_THAT(std::vector<std::uint64_t>(m.extents, m.extents + 3), ElementsAre(72, 3, 40));
  EXPECT_THAT(std::vector<std::uint64_t>(m.strides, m.strides + 2), ElementsAre(72 * 2, 3 * 72 * 2));
  EXPECT_THAT(std::vector<std::uint32_t>(m.box, m.box + 3), ElementsAre(64, 1, 16));
  EXPECT_EQ(m.type, 1);  // 16-bit unsigned
  EXPECT_EQ(m.interleave, 0);
  EXPECT_EQ(m.swizzle, 3);    // 128 bytes
  EXPECT_EQ(m.promotion, 3);  // lines of 256 bytes
  EXPECT_EQ(m.fill, 0);       // zeros outside
}

TEST_F(TensorMaps, AreMadeAnewForEachLaunch) {
  const DeviceBuffer x(*context_, 1 << 16), y(*context_, 1 << 16);
  launch(*context_, x.data(), 40, 72);
  launch(*context_, y.data(), 7, 128);
  const fake_cuda::Map m = map(seen(fake()));
  EXPECT_EQ(m.address, reinterpret_cast<std::uintptr_t>(y.data()));
  EXPECT_THAT(std::vector<std::uint64_t>(m.extents, m.extents + 3), ElementsAre(128, 3, 7));
}

TEST_F(TensorMaps, MoveUnsignedIntegersOfTheElementsSize) {
  const DeviceBuffer x(*context_, 1 << 16);
  make(DType::F32, 32);
  launch(*context_, x.data(), 4, 72, ElementType::F32);
  EXPECT_EQ(map(seen(fake())).type, 2);
  EXPECT_EQ(map(seen(fake())).strides[0], 72u * 4);
  make(DType::E4M3, 128);
  launch(*context_, x.data(), 4, 80, ElementType::E4M3);
  EXPECT_EQ(map(seen(fake())).type, 0);
  EXPECT_EQ(map(seen(fake())).strides[0], 80u);
  EXPECT_EQ(flag(seen(fake())), kAll);
}

TEST_F(TensorMaps, ThereIsNoneOfAMisalignedTensor) {
  const DeviceBuffer x(*context_, 1 << 16);
  const auto* bytes = static_cast<const std::byte*>(x.data());
  for (const int shift : {2, 4, 8}) {
    launch(*context_, bytes + shift, 4, 72);
    EXPECT_EQ(flag(seen(fake())), kNoneRead) << shift;
    EXPECT_EQ(seen(fake()).words, words + 1 + 16);
  }
  launch(*context_, bytes + 16, 4, 72);
  EXPECT_EQ(flag(seen(fake())), kAll);
}

TEST_F(TensorMaps, ThereIsNoneOfRowsWhosePitchNoChunkDivides) {
  const DeviceBuffer x(*context_, 1 << 16);
  launch(*context_, x.data(), 4, 70);
  EXPECT_EQ(flag(seen(fake())), kNoneRead);
}

TEST_F(TensorMaps, TheDriverMayRefuse) {
  const DeviceBuffer x(*context_, 1 << 16);
  fake().encode_result = 1;
  launch(*context_, x.data(), 4, 72);
  EXPECT_EQ(flag(seen(fake())), kNoneRead);
}

TEST_F(TensorMaps, AnOldDriverHasNone) {
  fake(TESSERA_OLD_FAKE_CUDA).launches = 0;
  const Context old(std::make_shared<const cuda::Device>(cuda::Driver::open(TESSERA_OLD_FAKE_CUDA), 0));
  const DeviceBuffer x(old, 1 << 16);
  launch(old, x.data(), 4, 72);
  const fake_cuda::State& s = fake(TESSERA_OLD_FAKE_CUDA);
  ASSERT_EQ(s.launches, 1);
  EXPECT_EQ(seen(s).words, words + 1 + 16);
  EXPECT_EQ(flag(seen(s)), kNoneRead);
  EXPECT_EQ(fake().launches, 0);
}

TEST_F(TensorMaps, OneThatCannotBeMadeForbidsAll) {
  const DeviceBuffer x(*context_, 1 << 16);
  make(DType::BF16, 64, 3);
  launch(*context_, x.data(), 4, 72);
  EXPECT_EQ(flag(seen(fake())), kAll);
  EXPECT_EQ(map(seen(fake()), 2).address, reinterpret_cast<std::uintptr_t>(x.data()));
  GpuObject o{.ptx = ptx_text("k", words + 1, "sm_90a", "8.0", 2), .entry = "k", .target = *gpu_target_from_name("sm_90a"), .threads = 128};
  o.maps = {GpuTensorMap{0, DType::BF16, {{3, 6, 64}, {2, 5, 1}, {1, 4, 16}}}, GpuTensorMap{0, DType::BF16, {{3, 5, 64}, {2, 6, 16}}}};
  executable_ = on_gpu(std::move(o), "k", sources_);
  launch(*context_, x.data(), 4, 72);
  EXPECT_EQ(flag(seen(fake())), kNoneRead) << "the second one has an innermost stride of its own";
}

TEST_F(TensorMaps, OneThatIsStoredThroughForbidsItsOwnKind) {
  const DeviceBuffer x(*context_, 1 << 16);
  GpuObject o{.ptx = ptx_text("k", words + 1, "sm_90a", "8.0", 2), .entry = "k", .target = *gpu_target_from_name("sm_90a"), .threads = 128};
  o.maps = {GpuTensorMap{0, DType::BF16, {{3, 6, 64}, {2, 5, 1}, {1, 4, 16}}}, GpuTensorMap{0, DType::BF16, {{3, 5, 64}, {2, 6, 16}}, true}};
  executable_ = on_gpu(std::move(o), "k", sources_);
  launch(*context_, x.data(), 4, 72);
  EXPECT_EQ(flag(seen(fake())), kReadMaps);
}

TEST_F(TensorMaps, MoreThanAKernelTakes) {
  const DeviceBuffer x(*context_, 1 << 16);
  make(DType::BF16, 64, 25);
  const std::string text = message_of([&] { launch(*context_, x.data(), 4, 72); });
  EXPECT_THAT(text, HasSubstr("E0804"));
  EXPECT_THAT(text, HasSubstr("25 tensor maps"));
}

TEST_F(TensorMaps, AWarmLaunchAllocatesNothing) {
  const DeviceBuffer x(*context_, 1 << 16);
  Tensor tensor(x.data(), ElementType::BF16, std::array<std::int64_t, 3>{4, 3, 72});
  const Argument arguments[] = {tensor};
  launch(*context_, x.data(), 4, 72);
  const cuda::Current current(*context_->gpu());
  const long before = allocations();
  const Launch l = plan_->bind(arguments, *context_);
  executable_->run(*context_, l, {});
  EXPECT_EQ(allocations() - before, 0);
  EXPECT_EQ(flag(seen(fake())), kAll);
}

TEST_F(TensorMaps, TensorsSeenBeforeAreNotEncodedAgain) {
  const DeviceBuffer x(*context_, 1 << 16), y(*context_, 1 << 16);
  const auto encoded = [&](const DeviceBuffer& b, std::int64_t heads, std::int64_t cols) {
    const int before = fake().encoded;
    launch(*context_, b.data(), heads, cols);
    EXPECT_EQ(flag(seen(fake())), kAll);
    EXPECT_EQ(map(seen(fake())).address, reinterpret_cast<std::uintptr_t>(b.data()));
    return fake().encoded - before;
  };
  EXPECT_EQ(encoded(x, 4, 72), 1);
  EXPECT_EQ(encoded(x, 4, 72), 0);
  EXPECT_EQ(encoded(y, 4, 72), 1) << "another address";
  EXPECT_EQ(encoded(x, 4, 72), 0);
  EXPECT_EQ(encoded(x, 3, 72), 1) << "another extent";
  EXPECT_EQ(encoded(x, 4, 64), 1) << "another stride";
  EXPECT_EQ(encoded(y, 4, 72), 0);
}

TEST_F(TensorMaps, ThreadsThatShareTheTableGetTheirOwnMaps) {
  const DeviceBuffer x(*context_, 1 << 20);
  const GpuTensorMap m{0, DType::BF16, {{1, 2, 64}, {3, 4, 8}}};
  const std::vector<GpuTensorMap> maps{m};
  const TensorMapCache cache(maps);
  const cuda::Driver& driver = context_->gpu()->api();
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t i = 0; i < 20000; ++i) {
        Launch l;
        // More tensors than the table has places.
        const std::uint64_t base = 4096 * (1 + (i * 7 + t) % 200);
        for (const std::uint64_t w : {base, std::uint64_t{64}, std::uint64_t{1}, 8 + base % 3, std::uint64_t{64}}) l.frame.push_back(w);
        cuda::TensorMap out;
        fake_cuda::Map seen{};
        if (!cache.get(driver, 0, l, out)) ++wrong;
        std::memcpy(&seen, &out, sizeof seen);
        if (seen.address != base || seen.extents[1] != 8 + base % 3) ++wrong;
      }
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, 0);
}

TEST(TensorMapValuesOf, TheLimitsOfTheDriver) {
  const GpuTensorMap map{0, DType::BF16, {{1, 2, 64}, {3, 4, 8}}};
  const auto ok = [&](std::uint64_t base, std::uint64_t cols, std::uint64_t col_stride, std::uint64_t rows, std::uint64_t row_stride) {
    const std::uint64_t frame[] = {base, cols, col_stride, rows, row_stride};
    return tensor_map_values(map, frame);
  };
  EXPECT_TRUE(ok(4096, 64, 1, 8, 64));
  EXPECT_FALSE(ok(4104, 64, 1, 8, 64));
  EXPECT_FALSE(ok(4096, 64, 2, 8, 64));
  EXPECT_FALSE(ok(4096, 64, 1, 8, 60));
  EXPECT_FALSE(ok(4096, 0, 1, 8, 64));
  EXPECT_FALSE(ok(4096, 64, 1, 0, 64));
  EXPECT_FALSE(ok(4096, 64, 1, 8, 0)) << "rows that are all the same one";
  EXPECT_TRUE(ok(4096, 64, 1, 1, 60)) << "an axis of one element is never stepped along";
  EXPECT_TRUE(ok(4096, std::uint64_t{1} << 32, 1, 1, 64));
  EXPECT_FALSE(ok(4096, (std::uint64_t{1} << 32) + 1, 1, 1, 64));
  EXPECT_FALSE(ok(4096, 64, 1, 8, std::uint64_t{1} << 39));
  const std::optional<TensorMapValues> v = ok(4096, 100, 1, 8, 104);
  ASSERT_TRUE(v);
  EXPECT_EQ(v->rank, 2u);
  EXPECT_EQ(v->extents[0], 100u);
  EXPECT_EQ(v->extents[1], 8u);
  EXPECT_EQ(v->strides[0], 208u);
  EXPECT_EQ(v->box[0], 64u);
  EXPECT_EQ(v->box[1], 8u);
}

}  // namespace
}  // namespace tessera
