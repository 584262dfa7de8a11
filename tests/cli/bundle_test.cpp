// `tessera bundle`: what it makes loads in another program and launches there.
#include <gmock/gmock.h>

#include "tessera/tessera.h"
#include "tests/cli/command.h"

namespace tessera::test {
namespace {

using ::testing::HasSubstr;

class BundleCommand : public Command {};

TEST_F(BundleCommand, AnotherProgramLaunchesWhatItMakes) {
  write("scale.tile", scale_source);
  write("twice.tile", "kernel twice(x: view f32[M], y: out view f32[M]) over (i in tiles(M, 8)) { y[i] = x[i] + x[i]; }\n");
  const Result r = tessera("bundle scale.tile twice.tile --const N=8,16 BM=8 -o a.bundle --json");
  ASSERT_EQ(r.exit, 0) << r.out << r.err;
  EXPECT_EQ(r.json().getArray("kernels")->size(), 3u);
  EXPECT_EQ(files(), (std::vector<std::string>{"a.bundle", "scale.tile", "twice.tile"}));
  std::filesystem::remove(path("scale.tile"));
  std::filesystem::permissions(path("a.bundle"), std::filesystem::perms::owner_read);
  const Bundle b = load_bundle(path("a.bundle"));
  const auto k = b.kernel<In<float, 2>, Out<float, 2>, float>("scale", {{"N", 16}});
  std::vector<float> x(32, 2.0f), y(32);
  k(Context::cpu(1), View<const float, 2>(x.data(), {2, 16}), View<float, 2>(y.data(), {2, 16}), 3.0f);
  EXPECT_EQ(y[31], 6.0f);
  b.kernel<In<float, 1>, Out<float, 1>>("twice")(Context::cpu(1), View<const float, 1>(x.data(), {32}), View<float, 1>(y.data(), {32}));
  EXPECT_EQ(y[0], 4.0f);
}

TEST_F(BundleCommand, TunedConstantsComeFromTheWinners) {
  write("scale.tile", scale_source);
  write("scale.winners", "scale cpu N=8 bucket(R)=64 : BM=8\nscale sm_90a : BM=8\n");
  const auto bm = [&](const std::string& more) {
    const Result r = tessera("bundle scale.tile --const N=8 -o a.bundle --json " + more);
    EXPECT_EQ(r.exit, 0) << r.out << r.err;
    llvm::json::Object j = r.json();
    return (*j.getArray("kernels"))[0].getAsObject()->getObject("constants")->getString("BM").value_or("").str();
  };
  EXPECT_EQ(bm("--size R=50"), "8");
  EXPECT_EQ(bm("--target sm_90a"), "8");
  write("scale.winners", "");
  EXPECT_EQ(bm(""), "4") << "the first candidate";
}

TEST_F(BundleCommand, WhatCannotBeMadeIsAnError) {
  write("scale.tile", scale_source);
  EXPECT_EQ(tessera("bundle scale.tile -o b --json").code(), "E0510");
  EXPECT_EQ(tessera("bundle scale.tile --const N=8 Q=1 -o b --json").code(), "E0511");
  EXPECT_EQ(tessera("bundle scale.tile --const N=8 --kernel none -o b --json").code(), "E0519");
  EXPECT_EQ(tessera("bundle scale.tile --const N=8 --without y -o b --json").code(), "E0708");
  EXPECT_EQ(tessera("bundle scale.tile --const N=8 --target interp -o b --json").code(), "E0802");
  EXPECT_EQ(tessera("bundle scale.tile --const N=8 --target cuda -o b --json").code(), "E0802");
  EXPECT_EQ(tessera("bundle none.tile -o b").exit, 3);
  EXPECT_EQ(tessera("bundle scale.tile --const N=8").exit, 2);
  EXPECT_EQ(tessera("bundle scale.tile --const N=8 -o no/such/folder/b").exit, 3);
  EXPECT_FALSE(exists("b"));
}

}  // namespace
}  // namespace tessera::test
