// The GPU side of the command: what can be seen without a GPU, and with a driver that only writes down what it is asked for.
#include <gmock/gmock.h>

#include <cmath>

#include "tests/cli/command.h"

namespace tessera::test {
namespace {

using ::testing::HasSubstr;

class Gpu : public Command {
 protected:
  void SetUp() override {
    Command::SetUp();
    write("scale.tile", scale_source);
    write_safetensors(path("in.safetensors"), {data("x", ElementType::F32, {3, 2}, std::vector<float>{1, 2, 3, 4, 5, 6})});
  }
  /// With the fake driver in libcuda's place.
  Result with_driver(const std::string& arguments) {
    ::setenv("LD_LIBRARY_PATH", TESSERA_FAKE_CUDA_FOLDER, 1);
    Result r = tessera(arguments);
    ::unsetenv("LD_LIBRARY_PATH");
    return r;
  }
};

TEST_F(Gpu, EmitsEveryStageForEveryArchitecture) {
  for (const char* target : {"sm_75", "sm_80", "sm_86", "sm_89", "sm_90a", "sm_100a", "sm_120a"}) {
    const Result ptx = tessera(fmt::format("compile scale.tile --const N=8 --target {} --emit ptx", target));
    EXPECT_EQ(ptx.exit, 0) << ptx.err;
    EXPECT_THAT(ptx.out, HasSubstr(fmt::format(".target {}", target)));
    EXPECT_THAT(ptx.out, HasSubstr(".entry"));
  }
  EXPECT_THAT(tessera("compile scale.tile --const N=8 --target sm_90a --emit llvm").out, HasSubstr("define ptx_kernel"));
  EXPECT_THAT(tessera("compile scale.tile --const N=8 --target sm_90a --emit ir").out, HasSubstr("kernel"));
  EXPECT_EQ(tessera("compile scale.tile --const N=8 --target sm_90a --emit asm --json").code(), "E0804");
}

TEST_F(Gpu, MachineCodeOrWhatItNeeds) {
  const Result r = tessera("compile scale.tile --const N=8 --target sm_90a --emit sass");
  if (r.exit == 0)
    EXPECT_THAT(r.out, HasSubstr("EXIT"));
  else
    EXPECT_THAT(r.err, HasSubstr("CUDA toolkit"));
}

TEST_F(Gpu, ExplainKernelSaysWhatTheKernelTakes) {
  const Result r = tessera("explain-kernel scale.tile --kernel scale --const N=8 --target sm_90a --json");
  EXPECT_EQ(r.exit, 0) << r.out << r.err;
  llvm::json::Object j = r.json();
  EXPECT_EQ(j.getString("target"), llvm::StringRef("sm_90a"));
  EXPECT_GT(j.getInteger("threads").value_or(0), 0);
  EXPECT_TRUE(j.getInteger("shared_bytes"));
  if (const auto registers = j.getInteger("registers")) {
    EXPECT_GT(*registers, 0);
    EXPECT_GT(j.getInteger("ctas_a_multiprocessor").value_or(0), 0);
    EXPECT_EQ(j.getInteger("spill_store_bytes"), 0);
  }
  EXPECT_THAT(tessera("explain-kernel scale.tile --const N=8 --target sm_80").out, HasSubstr("shared memory"));
  EXPECT_EQ(tessera("explain-kernel scale.tile --const N=8 --target interp --json").code(), "E0802");
}

TEST_F(Gpu, ExplainKernelSaysWhichWinnerChose) {
  const auto tuned = [&](const std::string& more) {
    const Result r = tessera("explain-kernel scale.tile --const N=8 --json " + more);
    EXPECT_EQ(r.exit, 0) << r.out << r.err;
    llvm::json::Object j = r.json();
    return j.getObject("constants")->getString("BM").value_or("").str() + " " + j.getString("tuned").value_or("").str() + " " +
           j.getString("tuned_line").value_or("").str();
  };
  EXPECT_EQ(tuned(""), "4 default ");
  write("scale.winners", "scale sm_90a N=8 bucket(R)=64 : BM=8\nscale@0123456789abcdef sm_90a : BM=8\nscale cpu : BM=8\n");
  EXPECT_EQ(tuned("--size R=64"), "8 exact scale sm_90a N=8 bucket(R)=64 : BM=8");
  EXPECT_EQ(tuned("--size R=1000"), "8 nearest bucket scale sm_90a N=8 bucket(R)=64 : BM=8");
  EXPECT_EQ(tuned("--target sm_80"), "4 default ");
  EXPECT_EQ(tuned("--target cpu"), "8 exact scale cpu : BM=8");
  const Result r = tessera("explain-kernel scale.tile --const N=8 --size R=64");
  EXPECT_THAT(r.out, HasSubstr("tuned           by the line `scale sm_90a N=8 bucket(R)=64 : BM=8`"));
  EXPECT_THAT(r.out, HasSubstr("stale           `scale@0123456789abcdef sm_90a : BM=8`"));
  // Whoever compiles hears of it, once.
  const Result bench = tessera("bench scale.tile --const N=8 --size R=5 --seconds 0 --target cpu");
  EXPECT_EQ(bench.err, "");
  write("scale.winners", "scale@0123456789abcdef cpu : BM=8\n");
  EXPECT_THAT(tessera("bench scale.tile --const N=8 --size R=5 --seconds 0").err,
              HasSubstr("warning: the winner `scale@0123456789abcdef cpu : BM=8` is not used"));
}

TEST_F(Gpu, WithoutADriverTheErrorNamesTheWayOut) {
  ::setenv("LD_LIBRARY_PATH", "/nonexistent", 1);
  const Result r = tessera("run scale.tile --const N=2 --target cuda --in in.safetensors --arg a=2");
  ::unsetenv("LD_LIBRARY_PATH");
  if (r.exit == 0) GTEST_SKIP() << "a driver is found without LD_LIBRARY_PATH";
  EXPECT_EQ(r.exit, 3);
  EXPECT_THAT(r.err, HasSubstr("target cpu"));
}

TEST_F(Gpu, TargetsListsDevices) {
  const Result r = with_driver("targets --json");
  llvm::json::Object j = r.json();
  const llvm::json::Array* gpus = j.getArray("gpus");
  ASSERT_TRUE(gpus && gpus->size() == 1) << r.out;
  EXPECT_EQ((*gpus)[0].getAsObject()->getString("architecture"), llvm::StringRef("sm_90a"));
  EXPECT_EQ((*gpus)[0].getAsObject()->getString("name"), llvm::StringRef("cuda:0"));
}

TEST_F(Gpu, AnOutputThatIsNotWrittenShows) {
  // Nothing runs on the fake driver, so what comes back is the poison that outputs begin with.
  const Result r = with_driver("run scale.tile --const N=2 --target cuda --in in.safetensors --arg a=2 --out out.safetensors");
  ASSERT_EQ(r.exit, 0) << r.err;
  for (const float y : tensor<float>("out.safetensors", "y")) EXPECT_TRUE(std::isnan(y)) << y;
}

TEST_F(Gpu, BenchMeasuresOnTheDevice) {
  for (const char* extra : {"", "--cold"}) {
    const Result r = with_driver(fmt::format("bench scale.tile --const N=2 --target cuda:0 --size R=5 --arg a=2 --seconds 0.01 {} --json", extra));
    ASSERT_EQ(r.exit, 0) << r.out << r.err;
    llvm::json::Object j = r.json();
    EXPECT_EQ(j.getString("device"), llvm::StringRef("cuda:0, Fake GPU, sm_90a"));
    EXPECT_TRUE(j.getNumber("median_s"));
  }
  EXPECT_EQ(with_driver("bench scale.tile --const N=2 --target cuda:3 --size R=5 --json").exit, 3);
}

}  // namespace
}  // namespace tessera::test
