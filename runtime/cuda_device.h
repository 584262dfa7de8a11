// One GPU: its primary context, which PyTorch and the CUDA runtime share, and code loaded into it.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/gpu/target.h"
#include "runtime/cuda_driver.h"

namespace tessera::cuda {

struct Properties {
  std::string name;
  int major = 0, minor = 0;  ///< compute capability
  int multiprocessors = 0;
  int l2_bytes = 0;
  int threads_per_multiprocessor = 0;
  int shared_bytes_per_block = 0;  ///< at most, opted in
  int shared_bytes_per_multiprocessor = 0;
  bool reads_pageable_memory = false;
  std::size_t memory_bytes = 0;
};

/// The target whose code this compute capability runs best; empty if it is older than all of them.
std::optional<GpuTarget> target_for(int major, int minor);

/// A retained primary context. Thread safe. All functions throw MachineError as Driver::fail says.
class Device {
 public:
  /// Throws also if there is no such device, or one older than every target.
  Device(std::shared_ptr<const Driver> driver, int ordinal);
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  ~Device();

  const Driver& api() const { return *driver_; }
  int ordinal() const { return ordinal_; }
  const Properties& properties() const { return properties_; }
  const GpuTarget& target() const { return target_; }
  CUctx_st* context() const { return context_; }
  /// There is a ptxas of the driver's own CUDA release: it makes of a text what the driver's assembler would. Looked for once.
  bool has_ptxas() const;

  DevicePointer allocate(std::size_t bytes) const;
  /// Never throws: a failure to free is an earlier failure told again.
  void release(DevicePointer pointer) const noexcept;
  /// Whether work put on the stream is being captured into a graph, or capture elsewhere forbids its use.
  bool capturing(CUstream_st* stream) const;
  void synchronize(CUstream_st* stream) const;
  /// Whether kernels can use the pointer: the driver knows it, or the device reads all of the host's memory.
  bool reaches(const void* pointer) const;

 private:
  std::shared_ptr<const Driver> driver_;
  int ordinal_ = 0;
  DeviceHandle handle_ = 0;
  CUctx_st* context_ = nullptr;
  mutable std::once_flag looked_for_ptxas_;
  mutable bool has_ptxas_ = false;
  Properties properties_;
  GpuTarget target_;
};

/// Makes the device's context current in this thread until it goes.
class Current {
 public:
  explicit Current(const Device& device);
  ~Current();
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;

 private:
  const Device& device_;
  bool pushed_ = false;
};

/// Code loaded on a device. Immutable; thread safe.
class LoadedCode {
 public:
  /// What there is of a kernel.
  struct Code {
    const std::string &ptx, &entry;
    std::int64_t shared_bytes = 0;
    int level = 0;                ///< of optimisation, 1 .. 4, as ptxas has them; 0: the driver's own
    std::string_view cubin = {};  ///< empty: none
  };
  /// Loads machine code; where there is none or the driver does not take it, assembles PTX. Throws MachineError with the assembler's log.
  LoadedCode(std::shared_ptr<const Device> device, const Code& code);
  ~LoadedCode();
  LoadedCode(const LoadedCode&) = delete;
  LoadedCode& operator=(const LoadedCode&) = delete;

  const Device& device() const { return *device_; }
  CUfunc_st* function() const { return function_; }
  int registers() const { return registers_; }
  int local_bytes() const { return local_bytes_; }  ///< of one thread: spills and stack
  /// CTAs that fit a multiprocessor at once.
  int occupancy(int threads, std::int64_t shared_bytes) const;

 private:
  Result assemble(const Code& code, std::string& errors);
  /// An image, PTX or machine code. Result::Success: it is loaded.
  Result load(const char* image, std::span<JitOption> options, std::span<void*> values);
  void unload() const;

  std::shared_ptr<const Device> device_;
  CUlib_st* library_ = nullptr;  ///< that the module is of; null with older drivers
  CUmod_st* module_ = nullptr;
  CUfunc_st* function_ = nullptr;
  int registers_ = 0, local_bytes_ = 0;
};

}  // namespace tessera::cuda
