#include "runtime/cuda_device.h"

#include <fmt/format.h>

#include <array>
#include <cstring>

#include "codegen/nvptx/tools.h"

namespace tessera::cuda {

std::optional<GpuTarget> target_for(int major, int minor) {
  const int capability = major * 10 + minor;
  std::optional<GpuTarget> best;
  for (const GpuTarget& t : all_gpu_targets()) {
    // Code for one architecture alone runs on no other; the rest is assembled for newer ones too.
    if (t.specific ? t.sm == capability : t.sm <= capability) best = t;
  }
  return best;
}

Device::Device(std::shared_ptr<const Driver> driver, int ordinal) : driver_(std::move(driver)), ordinal_(ordinal) {
  const Driver& d = *driver_;
  if (ordinal < 0 || ordinal >= d.devices()) {
    throw MachineError(fmt::format("there is no GPU {}: this machine has {}, numbered from 0 (see CUDA_VISIBLE_DEVICES)", ordinal, d.devices()));
  }
  d.check(d.device_get(&handle_, ordinal), "opening a GPU");
  const auto attribute = [&](DeviceAttribute a) {
    int value = 0;
    d.check(d.device_get_attribute(&value, a, handle_), "asking for a property of the GPU");
    return value;
  };
  std::array<char, 256> name{};
  d.check(d.device_get_name(name.data(), static_cast<int>(name.size()) - 1, handle_), "asking for the GPU's name");
  properties_.name = name.data();
  properties_.major = attribute(DeviceAttribute::ComputeCapabilityMajor);
  properties_.minor = attribute(DeviceAttribute::ComputeCapabilityMinor);
  properties_.multiprocessors = attribute(DeviceAttribute::MultiprocessorCount);
  properties_.l2_bytes = attribute(DeviceAttribute::L2CacheSize);
  properties_.threads_per_multiprocessor = attribute(DeviceAttribute::MaxThreadsPerMultiprocessor);
  properties_.shared_bytes_per_block = attribute(DeviceAttribute::MaxSharedMemoryPerBlockOptin);
  properties_.shared_bytes_per_multiprocessor = attribute(DeviceAttribute::MaxSharedMemoryPerMultiprocessor);
  properties_.reads_pageable_memory = attribute(DeviceAttribute::PageableMemoryAccess) != 0;
  d.check(d.device_total_mem(&properties_.memory_bytes, handle_), "asking for the GPU's memory");
  const std::optional<GpuTarget> target = target_for(properties_.major, properties_.minor);
  if (!target) {
    throw MachineError(fmt::format("{} has compute capability {}.{}; the oldest supported one is 7.5 (Turing)", properties_.name, properties_.major,
                                   properties_.minor));
  }
  target_ = *target;
  d.check(d.primary_retain(&context_, handle_), "opening the GPU's context");
}

Device::~Device() { driver_->primary_release(handle_); }

DevicePointer Device::allocate(std::size_t bytes) const {
  const Current current(*this);
  DevicePointer p = 0;
  const Result r = driver_->mem_alloc(&p, bytes);
  if (r != Result::Success) driver_->fail(r, fmt::format("allocating {} bytes on GPU {}", bytes, ordinal_), "");
  return p;
}

void Device::release(DevicePointer pointer) const noexcept {
  try {
    const Current current(*this);
    driver_->mem_free(pointer);
  } catch (...) {  // the context is gone, and the memory with it
  }
}

bool Device::capturing(CUstream_st* stream) const {
  const Current current(*this);
  CaptureStatus status = CaptureStatus::None;
  const Result r = driver_->stream_is_capturing(stream, &status);
  if (r == Result::StreamCaptureImplicit) return true;
  driver_->check(r, "asking whether a stream is being captured");
  return status != CaptureStatus::None;
}

void Device::synchronize(CUstream_st* stream) const {
  const Current current(*this);
  driver_->check(driver_->stream_synchronize(stream), "waiting for a stream");
}

bool Device::reaches(const void* pointer) const {
  if (properties_.reads_pageable_memory) return true;
  const Current current(*this);
  MemoryType type = MemoryType::Host;
  const Result r = driver_->pointer_get_attribute(&type, PointerAttribute::MemoryType, reinterpret_cast<DevicePointer>(pointer));
  if (r == Result::InvalidValue) return false;  // memory that CUDA did not allocate
  driver_->check(r, "asking about a tensor's memory");
  return true;
}

Current::Current(const Device& device) : device_(device) {
  CUctx_st* now = nullptr;
  device.api().check(device.api().ctx_get_current(&now), "asking for the current context");
  if (now == device.context()) return;
  device.api().check(device.api().ctx_push(device.context()), "entering the GPU's context");
  pushed_ = true;
}

bool Device::has_ptxas() const {
  std::call_once(looked_for_ptxas_, [&] {
    const int version = driver_->version();  // 13000: 13.0
    has_ptxas_ = nvptx::ptxas_release() == fmt::format("{}.{}", version / 1000, version % 1000 / 10);
  });
  return has_ptxas_;
}

Current::~Current() {
  CUctx_st* ours = nullptr;
  if (pushed_) device_.api().ctx_pop(&ours);
}

LoadedCode::LoadedCode(std::shared_ptr<const Device> device, const Code& code) : device_(std::move(device)) {
  const auto& [ptx, entry, shared_bytes, level, cubin] = code;
  const Driver& d = device_->api();
  const Current current(*device_);
  std::string errors;
  if (const Result r = assemble(code, errors); r != Result::Success)
    d.fail(r, fmt::format("loading `{}` on GPU {} ({})", entry, device_->ordinal(), device_->properties().name), errors);
  try {
    d.check(d.module_get_function(&function_, module_, entry.c_str()), "finding a kernel in its code");
    if (shared_bytes > 0) {
      const Result set = d.func_set_attribute(function_, FunctionAttribute::MaxDynamicSharedSizeBytes, static_cast<int>(shared_bytes));
      if (set != Result::Success) {
        d.fail(set,
               fmt::format("giving `{}` {} bytes of shared memory, of which a CTA of this GPU can have {}", entry, shared_bytes,
                           device_->properties().shared_bytes_per_block),
               "");
      }
    }
    d.check(d.func_get_attribute(&registers_, FunctionAttribute::NumRegs, function_), "asking for a kernel's registers");
    d.check(d.func_get_attribute(&local_bytes_, FunctionAttribute::LocalSizeBytes, function_), "asking for a kernel's local memory");
  } catch (...) {
    unload();
    throw;
  }
}

Result LoadedCode::assemble(const Code& code, std::string& errors) {
  // Of a newer toolkit than the driver, or damaged: it is no more than a shortcut.
  if (!code.cubin.empty() && load(code.cubin.data(), {}, {}) == Result::Success) return Result::Success;
  errors.assign(16 << 10, '\0');
  std::array options{JitOption::ErrorLogBuffer, JitOption::ErrorLogBufferSizeBytes, JitOption::OptimizationLevel};
  std::array<void*, options.size()> values{errors.data(), reinterpret_cast<void*>(errors.size()), reinterpret_cast<void*>(std::intptr_t{code.level})};
  const std::size_t count = options.size() - (code.level > 0 ? 0 : 1);
  const Result r = load(code.ptx.c_str(), std::span(options).first(count), std::span(values).first(count));
  errors.resize(std::strlen(errors.c_str()));
  return r;
}

/// Drivers assemble modules one after the other, whichever threads ask for them, but libraries side by side: 12 attention kernels in 9.2 and in 1.4 s
/// on 16 cores (driver 580). What is refused as a library, which may be meant for other GPUs of the process too, has its chance as a module.
Result LoadedCode::load(const char* image, std::span<JitOption> options, std::span<void*> values) {
  const Driver& d = device_->api();
  const auto count = static_cast<unsigned>(options.size());
  const bool libraries = d.library_load && d.library_unload && d.library_get_module;
  if (libraries && d.library_load(&library_, image, options.data(), values.data(), count, nullptr, nullptr, 0) == Result::Success) {
    if (d.library_get_module(&module_, library_) == Result::Success) return Result::Success;
    d.library_unload(library_);
  }
  library_ = nullptr;
  return d.module_load(&module_, image, count, options.data(), values.data());
}

void LoadedCode::unload() const {
  if (library_) {
    device_->api().library_unload(library_);
  } else {
    device_->api().module_unload(module_);
  }
}

LoadedCode::~LoadedCode() {
  try {
    const Current current(*device_);
    unload();
  } catch (...) {  // the context is gone, and the code with it
  }
}

int LoadedCode::occupancy(int threads, std::int64_t shared_bytes) const {
  const Current current(*device_);
  int blocks = 0;
  device_->api().check(device_->api().occupancy(&blocks, function_, threads, static_cast<std::size_t>(shared_bytes)),
                       "asking for a kernel's occupancy");
  return blocks;
}

}  // namespace tessera::cuda
