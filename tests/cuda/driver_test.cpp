// What the driver's failures become: MachineErrors that say what to do.
#include <gmock/gmock.h>

#include "tests/cuda/fake_driver.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using namespace tessera::testing;

class DriverErrors : public WithFakeDriver {};

std::string opening() {
  return message_of([] { fake_driver(); });
}
std::string loading(const std::string& ptx, std::int64_t shared_bytes = 0, const char* driver = TESSERA_FAKE_CUDA) {
  return message_of([&] { cuda::LoadedCode(std::make_shared<const cuda::Device>(cuda::Driver::open(driver), 0), {ptx, "k", shared_bytes}); });
}

TEST_F(DriverErrors, AMissingLibraryNamesTheCpuAsWayOut) {
  const std::string text = message_of([] { cuda::Driver::open("libno_such_cuda.so.1"); });
  EXPECT_THAT(text, HasSubstr("there is no NVIDIA driver"));
  EXPECT_THAT(text, HasSubstr("target cpu"));
}

TEST_F(DriverErrors, ALibraryWithoutAnEntryPointIsTooOld) {
  // The C library is a library that lacks all of them.
  EXPECT_THAT(message_of([] { cuda::Driver::open("libc.so.6"); }), HasSubstr("too old: it lacks cuInit"));
}

TEST_F(DriverErrors, NoDevice) {
  fake().init_result = 100;
  EXPECT_THAT(opening(), HasSubstr("CUDA_VISIBLE_DEVICES"));
  fake().init_result = 0;
  fake().devices = 0;
  EXPECT_THAT(opening(), HasSubstr("CUDA_VISIBLE_DEVICES"));
}

TEST_F(DriverErrors, AStubAndAMismatch) {
  fake().init_result = 34;
  EXPECT_THAT(opening(), HasSubstr("LD_LIBRARY_PATH"));
  fake().init_result = 803;
  EXPECT_THAT(opening(), HasSubstr("restart"));
}

TEST_F(DriverErrors, ADeviceThatIsNotThere) {
  EXPECT_THAT(message_of([] { fake_context(7); }), HasSubstr("no GPU 7: this machine has 2"));
  EXPECT_THAT(message_of([] { fake_context(-1); }), HasSubstr("no GPU -1"));
}

TEST_F(DriverErrors, AnOldDevice) {
  fake().major = 6;
  fake().minor = 1;
  EXPECT_THAT(message_of([] { fake_context(); }), HasSubstr("compute capability 6.1; the oldest supported one is 7.5"));
  EXPECT_EQ(fake().retained, 0);
}

TEST_F(DriverErrors, PtxForAnotherArchitecture) {
  fake().major = 8;
  EXPECT_THAT(loading(ptx_text("k", 1, "sm_90a", "8.0")), HasSubstr("made for another architecture"));
  EXPECT_THAT(loading(ptx_text("k", 1, "sm_80")), IsEmpty());
}

TEST_F(DriverErrors, PtxNewerThanTheDriver) {
  fake().newest_ptx = 78;
  fake().version = 11080;
  const std::string text = loading(ptx_text("k", 1, "sm_80", "8.6"));
  EXPECT_THAT(text, HasSubstr("the driver (CUDA 11.8) is too old"));
}

TEST_F(DriverErrors, RefusedPtxComesWithTheAssemblersLog) { EXPECT_THAT(loading("nonsense"), HasSubstr("ptxas fatal: line 1 is no PTX")); }

/// Drivers assemble these side by side.
TEST_F(DriverErrors, CodeIsLoadedAsALibraryWhereTheDriverKnowsThem) {
  EXPECT_THAT(loading(ptx_text("k", 1)), IsEmpty());
  EXPECT_EQ(fake().libraries_loaded, 1);
  EXPECT_EQ(fake().modules_alive, 0);
  fake_cuda::State& old = fake(TESSERA_OLD_FAKE_CUDA);
  old.modules_loaded = old.libraries_loaded = 0;
  EXPECT_THAT(loading(ptx_text("k", 1), 0, TESSERA_OLD_FAKE_CUDA), IsEmpty());
  EXPECT_EQ(old.modules_loaded, 1);
  EXPECT_EQ(old.libraries_loaded, 0);
  EXPECT_EQ(old.modules_alive, 0);
  EXPECT_THAT(loading("nonsense", 0, TESSERA_OLD_FAKE_CUDA), HasSubstr("ptxas fatal: line 1 is no PTX"));
}

TEST_F(DriverErrors, WhatIsRefusedAsALibraryIsLoadedAsAModule) {
  fake().module_result = 209;
  EXPECT_THAT(loading(ptx_text("k", 1)), IsEmpty());
  EXPECT_EQ(fake().libraries_loaded, 1);
  EXPECT_EQ(fake().modules_loaded, 2);
  EXPECT_EQ(fake().modules_alive, 0) << "neither stays";
}

TEST_F(DriverErrors, MoreSharedMemoryThanThereIs) {
  const std::string text = loading(ptx_text("k", 1), 300000);
  EXPECT_THAT(text, HasSubstr("300000 bytes of shared memory"));
  EXPECT_THAT(text, HasSubstr("232448"));
  EXPECT_EQ(fake().modules_alive, 0) << "what failed to load must not stay";
}

TEST_F(DriverErrors, OutOfMemory) {
  const Context context = fake_context();
  fake().memory_bytes = 1000;
  const std::string text = message_of([&] { DeviceBuffer(context, 2000); });
  EXPECT_THAT(text, HasSubstr("allocating 2000 bytes on GPU 0: out of memory"));
  EXPECT_THAT(text, HasSubstr("free buffers"));
}

TEST_F(DriverErrors, AStickyErrorSaysThatTheProcessIsDone) {
  const Context context = fake_context();
  fake().sticky = 700;
  EXPECT_THAT(message_of([&] { context.synchronize(); }), HasSubstr("every later call of this process"));
}

TEST(Targets, OfComputeCapabilities) {
  EXPECT_EQ(cuda::target_for(7, 0), std::nullopt);
  EXPECT_EQ(cuda::target_for(7, 5)->name(), "sm_75");
  EXPECT_EQ(cuda::target_for(8, 0)->name(), "sm_80");
  EXPECT_EQ(cuda::target_for(8, 7)->name(), "sm_86");
  EXPECT_EQ(cuda::target_for(8, 9)->name(), "sm_89");
  EXPECT_EQ(cuda::target_for(9, 0)->name(), "sm_90a");
  EXPECT_EQ(cuda::target_for(10, 0)->name(), "sm_100a");
  EXPECT_EQ(cuda::target_for(10, 3)->name(), "sm_89") << "code for one architecture alone does not run on a newer one";
  EXPECT_EQ(cuda::target_for(12, 0)->name(), "sm_120a");
}

}  // namespace
}  // namespace tessera
