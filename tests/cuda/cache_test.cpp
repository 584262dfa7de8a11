// The cache on a GPU, without a GPU: PTX is kept, and what a driver refuses is made again.
#include <gmock/gmock.h>

#include "runtime/bundle.h"
#include "runtime/kernel_impl.h"
#include "tests/cache/support.h"
#include "tests/cuda/fake_driver.h"

namespace tessera {
namespace {

using namespace tessera::testing;
using namespace tessera::test;

class GpuCache : public WithFakeDriver {
 protected:
  void SetUp() override {
    WithFakeDriver::SetUp();
    gpu_ = fake_context();
  }
  Scale load(const Cache& cache) const { return scale(cache, 8, {.context = gpu_}); }
  void launch(const Scale& k) const {
    const DeviceBuffer x(*gpu_, 160), y(*gpu_, 160);
    const int before = fake().launches;
    k(*gpu_, x.view<float, 2>({5, 8}), y.view<float, 2>({5, 8}), 2.0f);
    EXPECT_EQ(fake().launches, before + 1);
  }
  std::optional<cache::Entry> entry() const {
    const std::set<std::string> names = folder_.files(".kernel");
    return names.size() == 1 ? cache::decode(read(folder_ / *names.begin())) : std::nullopt;
  }

  Folder folder_;
  std::optional<Context> gpu_;
};

TEST_F(GpuCache, PtxIsKeptAndLoaded) {
  launch(load(fresh(folder_.path())));
  ASSERT_TRUE(entry());
  EXPECT_TRUE(entry()->find("ptx "));
  const Cache warm = fresh(folder_.path());
  launch(load(warm));
  EXPECT_EQ(fake().modules_loaded, 2);
  EXPECT_EQ(warm.counts().compiled, 0u);
  EXPECT_EQ(warm.counts().from_disk, 1u);
}

TEST_F(GpuCache, MachineCodeIsKeptWhereThereIsThePtxasOfTheDriver) {
  const WithPtxas ptxas("13.0");
  gpu_ = fake_context();
  launch(load(fresh(folder_.path())));
  EXPECT_TRUE(fake().machine_code);
  ASSERT_TRUE(entry());
  EXPECT_TRUE(entry()->find("ptx "));
  ASSERT_TRUE(entry()->find("cubn"));
  EXPECT_EQ(*entry()->find("cubn"), "\177ELF" + *entry()->find("ptx "));
  const Cache warm = fresh(folder_.path());
  launch(load(warm));
  EXPECT_TRUE(fake().machine_code);
  EXPECT_EQ(warm.counts().from_disk, 1u);
}

TEST_F(GpuCache, AnotherReleasesPtxasMakesNoMachineCode) {
  const WithPtxas ptxas("12.9");
  gpu_ = fake_context();
  launch(load(fresh(folder_.path())));
  EXPECT_FALSE(fake().machine_code);
  ASSERT_TRUE(entry());
  EXPECT_FALSE(entry()->find("cubn"));
}

TEST_F(GpuCache, TwoDevicesShareTheCode) {
  const Cache cache = fresh(folder_.path());
  const Scale first = load(cache);
  gpu_ = fake_context(1);
  const Scale second = load(cache);
  launch(second);
  EXPECT_EQ(cache.counts().compiled, 1u);
  EXPECT_EQ(cache.counts().from_memory, 1u);
  EXPECT_EQ(fake().modules_loaded, 2);
}

TEST_F(GpuCache, AnotherDriverOrDeviceHasItsOwn) {
  load(fresh(folder_.path()));
  fake().version = 13010;
  gpu_ = fake_context();
  const Cache newer = fresh(folder_.path());
  launch(load(newer));
  EXPECT_EQ(newer.counts().compiled, 1u);
  EXPECT_EQ(folder_.files(".kernel").size(), 2u);
}

TEST_F(GpuCache, AnEntryThatTheDriverRefusesIsDroppedAndRemade) {
  load(fresh(folder_.path()));
  cache::Entry e = *entry();
  for (cache::Section& s : e.sections) s.bytes = s.tag == "ptx " ? "not code" : s.bytes;
  write(folder_ / cache::Store::file_name(e.kind, e.key), cache::encode(e));
  const Cache cache = fresh(folder_.path());
  launch(load(cache));
  EXPECT_EQ(cache.counts().broken, 1u);
  EXPECT_EQ(cache.counts().compiled, 1u);
  EXPECT_NE(*entry()->find("ptx "), "not code");
}

TEST_F(GpuCache, CodeThatNoDriverTakesIsAnErrorAsWithoutACache) {
  fake().newest_ptx = 60;
  const auto text = [&](const Cache& c) { return message_of([&] { load(c); }); };
  const std::string told = text(Cache::off());
  EXPECT_THAT(told, ::testing::HasSubstr("too old"));
  EXPECT_EQ(text(fresh(folder_.path())), told);
  EXPECT_EQ(text(fresh(folder_.path())), told);
}

TEST_F(GpuCache, CodeOfAnArchitectureAlone) {
  const Cache cache = fresh(folder_.path());
  launch(scale(cache, 8, {.target = "sm_90a"}));
  const Cache warm = fresh(folder_.path());
  launch(scale(warm, 8, {.target = "sm_90a"}));
  EXPECT_EQ(warm.counts().compiled, 0u);
}

TEST_F(GpuCache, ABundleIsLoadedAndLaunchedWithoutCompiling) {
  write(folder_ / "scale.tile", scale_source);
  write(folder_ / "a.bundle", cache::encode(make_bundle({{folder_ / "scale.tile", "scale", {{"N", 8}}, "", {}, {}}}, "sm_90a")));
  const Bundle bundle = load_bundle(folder_ / "a.bundle");
  const Scale k = bundle.kernel<In<float, 2>, Out<float, 2>, float>("scale", {}, {.context = gpu_});
  EXPECT_EQ(fake().modules_loaded, 1) << "loaded before the first launch";
  launch(k);
  EXPECT_EQ(fake().modules_loaded, 1);
  EXPECT_EQ(k.any().impl().link().store->counts.compiled, 0u);
  launch(bundle.kernel<In<float, 2>, Out<float, 2>, float>("scale"));
}

TEST_F(GpuCache, ADriverThatRefusesABundleIsHeard) {
  write(folder_ / "scale.tile", scale_source);
  write(folder_ / "a.bundle", cache::encode(make_bundle({{folder_ / "scale.tile", "scale", {{"N", 8}}, "", {}, {}}}, "sm_90a")));
  const Bundle bundle = load_bundle(folder_ / "a.bundle");
  fake().newest_ptx = 60;
  EXPECT_THAT(message_of([&] { bundle.kernel("scale", {}, {.context = gpu_}); }), ::testing::HasSubstr("too old"));
}

}  // namespace
}  // namespace tessera
