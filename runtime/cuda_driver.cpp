#include "runtime/cuda_driver.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <mutex>

namespace tessera::cuda {
namespace {

/// One way out for each result that has one; empty for the rest.
std::string advice(Result r, const std::string& version) {
  switch (r) {
    case Result::OutOfMemory: return "the device's memory is full: free buffers, or run with smaller tensors";
    case Result::NoDevice: return "no GPU is visible: look at nvidia-smi and CUDA_VISIBLE_DEVICES, or use the target cpu";
    case Result::StubLibrary: return "libcuda.so.1 is the stub of a toolkit, not a driver: put the driver's folder first in LD_LIBRARY_PATH";
    case Result::SystemDriverMismatch: return "the kernel module and libcuda have different versions: restart after a driver update";
    case Result::NoBinaryForGpu:
    case Result::InvalidDevice: return "the code was made for another architecture than this device's: compile with target cuda, or with the context";
    case Result::InvalidPtx: return "the driver's assembler refuses the code";
    case Result::UnsupportedPtxVersion:
      return fmt::format("the driver (CUDA {}) is too old for this architecture's code: install a newer one", version);
    case Result::JitCompilerNotFound: return "libnvidia-ptxjitcompiler.so.1, a part of the driver, is missing";
    case Result::LaunchOutOfResources: return "the kernel needs more registers or shared memory than the device has: choose smaller tiles";
    case Result::EccUncorrectable:
    case Result::IllegalAddress:
    case Result::LaunchTimeout:
    case Result::ContextIsDestroyed:
    case Result::Assert:
    case Result::HardwareStackError:
    case Result::IllegalInstruction:
    case Result::MisalignedAddress:
    case Result::InvalidAddressSpace:
    case Result::InvalidPc:
    case Result::LaunchFailed:
      return "work queued earlier on this device has failed, and every later call of this process on it will too: find the kernel at fault with "
             "Options::debug or compute-sanitizer, and start the process again";
    case Result::StreamCaptureUnsupported:
    case Result::StreamCaptureImplicit: return "a graph is being captured, in which this call is not allowed";
    case Result::Success:
    case Result::InvalidValue:
    case Result::NotInitialized:
    case Result::Deinitialized:
    case Result::InvalidContext:
    case Result::NotReady: return "";
  }
  return "";
}

template <class F>
void find(void* library, const char* symbol, F& function) {
  function = reinterpret_cast<F>(dlsym(library, symbol));
  if (!function) {
    throw MachineError(fmt::format("the NVIDIA driver is too old: it lacks {}; Tessera needs one of CUDA 11.8 (520) or newer", symbol));
  }
}

}  // namespace

std::shared_ptr<const Driver> Driver::open(const std::string& library) {
  std::shared_ptr<Driver> d(new Driver);
  void* const handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    const char* reason = dlerror();
    throw MachineError(fmt::format("there is no NVIDIA driver: {}; install it, or use the target cpu", reason ? reason : library));
  }
#define TESSERA_CUDA(name, symbol, parameters) find(handle, #symbol, d->name);
#define TESSERA_CUDA_OPTIONAL(name, symbol, parameters) d->name = reinterpret_cast<decltype(d->name)>(dlsym(handle, #symbol));
#include "runtime/cuda_api.def"
  d->check(d->init(0), "starting the NVIDIA driver");
  d->check(d->driver_get_version(&d->version_), "asking for the driver's version");
  d->check(d->device_get_count(&d->devices_), "counting the GPUs");
  if (d->devices_ == 0) d->fail(Result::NoDevice, "looking for a GPU", "");
  return d;
}

std::shared_ptr<const Driver> Driver::system() {
  // The process has one driver, whoever loads it; the handle is what is kept.
  static std::mutex mutex;
  static std::shared_ptr<const Driver> driver;
  const std::lock_guard lock(mutex);
  if (!driver) driver = open("libcuda.so.1");
  return driver;
}

std::string Driver::version_text() const { return fmt::format("{}.{}", version_ / 1000, version_ % 1000 / 10); }

void Driver::fail(Result r, const std::string& doing, const std::string& detail) const {
  const char *name = nullptr, *text = nullptr;
  get_error_name(r, &name);
  get_error_string(r, &text);
  std::string message =
      fmt::format("{}: {} ({})", doing, text ? text : "unknown error", name ? name : fmt::format("CUDA result {}", static_cast<int>(r)));
  if (const std::string help = advice(r, version_text()); !help.empty()) message += "; " + help;
  if (!detail.empty()) message += "\n" + detail;
  throw MachineError(message);
}

}  // namespace tessera::cuda
