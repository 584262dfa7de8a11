// The cache on a GPU, without a GPU: what the driver's assembler makes is kept, and what a driver refuses is made again.
#include <gmock/gmock.h>

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
    fake().assembled = fake().cubins_loaded = 0;
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

TEST_F(GpuCache, MachineCodeIsKeptAndLoaded) {
  launch(load(fresh(folder_.path())));
  EXPECT_EQ(fake().assembled, 1);
  ASSERT_TRUE(entry());
  EXPECT_TRUE(entry()->find("ptx "));
  EXPECT_TRUE(entry()->find("bin "));
  const Cache warm = fresh(folder_.path());
  launch(load(warm));
  EXPECT_EQ(fake().assembled, 1);
  EXPECT_EQ(fake().cubins_loaded, 2);
  EXPECT_EQ(warm.counts().compiled, 0u);
  EXPECT_EQ(warm.counts().from_disk, 1u);
}

TEST_F(GpuCache, WithoutACacheTheDriverTakesText) {
  launch(load(Cache::off()));
  EXPECT_EQ(fake().assembled, 0);
  EXPECT_EQ(fake().cubins_loaded, 0);
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

TEST_F(GpuCache, MachineCodeThatTheDriverRefusesIsMadeAgain) {
  load(fresh(folder_.path()));
  cache::Entry e = *entry();
  for (cache::Section& s : e.sections) {
    if (s.tag == "bin ") s.bytes = "cubin 1 10\nof another driver";
  }
  write(folder_ / cache::Store::file_name(e.kind, e.key), cache::encode(e));
  const Cache cache = fresh(folder_.path());
  launch(load(cache));
  EXPECT_EQ(cache.counts().compiled, 0u) << "the text is as good as ever";
  EXPECT_EQ(fake().assembled, 2);
  EXPECT_NE(*entry()->find("bin "), "cubin 1 10\nof another driver");
  launch(load(fresh(folder_.path())));
  EXPECT_EQ(fake().assembled, 2);
}

TEST_F(GpuCache, AnEntryThatTheDriverRefusesIsDroppedAndRemade) {
  load(fresh(folder_.path()));
  cache::Entry e = *entry();
  for (cache::Section& s : e.sections) s.bytes = s.tag == "ptx " || s.tag == "bin " ? "not code" : s.bytes;
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

TEST_F(GpuCache, CodeOfAnArchitectureAloneIsTextOnly) {
  const Cache cache = fresh(folder_.path());
  const Scale k = scale(cache, 8, {.target = "sm_90a"});
  EXPECT_FALSE(entry()->find("bin "));
  launch(k);
  const Cache warm = fresh(folder_.path());
  launch(scale(warm, 8, {.target = "sm_90a"}));
  EXPECT_EQ(warm.counts().compiled, 0u);
}

}  // namespace
}  // namespace tessera
