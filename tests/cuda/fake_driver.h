// The fake driver as tests use it: a context on it, its state reset.
#pragma once

#include <dlfcn.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "runtime/cuda_device.h"
#include "tessera/tessera.h"
#include "tests/cuda/fake/fake_cuda.h"

namespace tessera::testing {

inline fake_cuda::State& fake(const char* path = TESSERA_FAKE_CUDA) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  const auto get = library ? reinterpret_cast<fake_cuda::GetState>(dlsym(library, fake_cuda::get_state_name)) : nullptr;
  if (!get) throw std::runtime_error(std::string("no fake driver at ") + path);
  return *get();
}

inline std::shared_ptr<const cuda::Driver> fake_driver() { return cuda::Driver::open(TESSERA_FAKE_CUDA); }

inline Context fake_context(int device = 0) { return Context(std::make_shared<const cuda::Device>(fake_driver(), device)); }

/// Every test starts with a machine in order.
class WithFakeDriver : public ::testing::Test {
 protected:
  void SetUp() override {
    fake_cuda::State& s = fake();
    const fake_cuda::State fresh{};
    s.devices = 2;
    s.version = fresh.version;
    s.major = fresh.major;
    s.minor = fresh.minor;
    s.newest_ptx = fresh.newest_ptx;
    s.most_shared_bytes = fresh.most_shared_bytes;
    s.memory_bytes = fresh.memory_bytes;
    s.init_result = s.sticky = s.launch_result = s.module_result = s.encode_result = 0;
    s.legacy_capture = false;
    s.failed_check = s.failed_instance = 0;
    s.modules_loaded = s.libraries_loaded = s.launches = s.synchronized = 0;
  }
};

/// PTX of an entry with so many 64-bit parameters and tensor maps, as far as the fake driver reads it.
inline std::string ptx_text(const std::string& entry, std::size_t words, const std::string& target = "sm_80", const std::string& version = "7.0",
                            std::size_t maps = 0) {
  std::string out = fmt::format(".version {}\n.target {}\n.address_size 64\n.visible .entry {}(\n", version, target, entry);
  for (std::size_t i = 0; i < words + maps; ++i) {
    out += i < words ? fmt::format("  .param .u64 {}_param_{}", entry, i) : fmt::format("  .param .align 64 .b8 {}_param_{}[128]", entry, i);
    out += i + 1 < words + maps ? ",\n" : "\n";
  }
  return out + ")\n{\n  ret;\n}\n";
}

/// The message of what `f` throws; empty if it throws nothing.
template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "";
}

}  // namespace tessera::testing
