// `tessera cache`, and the commands that use it.
#include <gmock/gmock.h>

#include "tests/cli/command.h"

namespace tessera {
namespace {

using namespace tessera::test;
using ::testing::HasSubstr;

class CacheCommand : public Command {
 protected:
  void SetUp() override {
    Command::SetUp();
    ::setenv("TESSERA_CACHE", path("cache").c_str(), 1);
    write("scale.tile", scale_source);
  }
  void TearDown() override {
    ::setenv("TESSERA_CACHE", "off", 1);
    Command::TearDown();
  }
};

TEST_F(CacheCommand, InfoVerifyAndClear) {
  EXPECT_EQ(tessera("cache --json").json().getInteger("kernels"), 0);
  const Result cold = tessera("bench scale.tile --const N=8 --size R=5 --seconds 0");
  EXPECT_EQ(cold.exit, 0) << cold.err;
  llvm::json::Object info = tessera("cache info --json").json();
  EXPECT_EQ(info.getInteger("kernels"), 1);
  EXPECT_EQ(info.getString("folder"), path("cache"));
  EXPECT_THAT(tessera("cache").out, HasSubstr("1 kernel in "));
  EXPECT_EQ(tessera("bench scale.tile --const N=8 --size R=5 --seconds 0").exit, 0);
  EXPECT_EQ(tessera("cache info --json").json().getInteger("kernels"), 1);
  for (const auto& f : std::filesystem::directory_iterator(path("cache"))) {
    if (f.path().extension() == ".kernel") std::filesystem::resize_file(f.path(), 100);
  }
  const Result verify = tessera("cache verify");
  EXPECT_EQ(verify.exit, 0);
  EXPECT_THAT(verify.out, HasSubstr(".kernel: damaged"));
  EXPECT_THAT(tessera("cache clear").out, HasSubstr("removed"));
  EXPECT_EQ(tessera("cache --json").json().getInteger("files"), 0);
  EXPECT_EQ(tessera("cache polish").exit, 2);
}

TEST_F(CacheCommand, OffAndUnusable) {
  ::setenv("TESSERA_CACHE", "off", 1);
  EXPECT_THAT(tessera("cache").out, HasSubstr("the cache is off"));
  ::setenv("TESSERA_CACHE", path("scale.tile").c_str(), 1);
  const Result r = tessera("bench scale.tile --const N=8 --size R=5 --seconds 0");
  EXPECT_EQ(r.exit, 0);
  EXPECT_THAT(r.err, HasSubstr("tessera: warning: the cache in `"));
  EXPECT_EQ(r.err.find("warning"), r.err.rfind("warning")) << "one warning";
  EXPECT_EQ(tessera("cache --folder other --json").json().getInteger("kernels"), 0);
}

}  // namespace
}  // namespace tessera
