// The CUDA driver, loaded when first asked for; nothing of CUDA is needed to build. The declarations are our own (cuda_api.def).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "runtime/errors.h"

struct CUctx_st;
struct CUmod_st;
struct CUlib_st;
struct CUfunc_st;
struct CUstream_st;
struct CUevent_st;
struct CUgraph_st;
struct CUgraphExec_st;
struct CUgraphNode_st;

namespace tessera::cuda {

using DeviceHandle = int;
using DevicePointer = unsigned long long;

/// Those results that something is said about; any other value may come back.
enum class Result : int {
  Success = 0,
  InvalidValue = 1,
  OutOfMemory = 2,
  NotInitialized = 3,
  Deinitialized = 4,
  StubLibrary = 34,
  NoDevice = 100,
  InvalidDevice = 101,
  InvalidContext = 201,
  NoBinaryForGpu = 209,
  EccUncorrectable = 214,
  InvalidPtx = 218,
  JitCompilerNotFound = 221,
  UnsupportedPtxVersion = 222,
  NotReady = 600,
  IllegalAddress = 700,
  LaunchOutOfResources = 701,
  LaunchTimeout = 702,
  ContextIsDestroyed = 709,
  Assert = 710,
  HardwareStackError = 714,
  IllegalInstruction = 715,
  MisalignedAddress = 716,
  InvalidAddressSpace = 717,
  InvalidPc = 718,
  LaunchFailed = 719,
  SystemDriverMismatch = 803,
  StreamCaptureUnsupported = 900,
  StreamCaptureImplicit = 906,
};

enum class DeviceAttribute : int {
  MultiprocessorCount = 16,
  L2CacheSize = 38,
  MaxThreadsPerMultiprocessor = 39,
  ComputeCapabilityMajor = 75,
  ComputeCapabilityMinor = 76,
  MaxSharedMemoryPerMultiprocessor = 81,
  PageableMemoryAccess = 88,
  MaxSharedMemoryPerBlockOptin = 97,
};
enum class FunctionAttribute : int { LocalSizeBytes = 3, NumRegs = 4, MaxDynamicSharedSizeBytes = 8 };
enum class PointerAttribute : int { MemoryType = 2 };
enum class LibraryOption : int {};  ///< none is used
enum class JitOption : int { InfoLogBuffer = 3, InfoLogBufferSizeBytes = 4, ErrorLogBuffer = 5, ErrorLogBufferSizeBytes = 6, OptimizationLevel = 7 };
enum class CaptureStatus : int { None = 0, Active = 1, Invalidated = 2 };
enum class MemoryType : unsigned { Host = 1, Device = 2, Array = 3, Unified = 4 };
inline constexpr unsigned stream_non_blocking = 1;
inline constexpr unsigned event_disable_timing = 2;

/// CUtensorMap: what cuTensorMapEncodeTiled fills and a kernel takes by value.
struct alignas(64) TensorMap {
  std::uint64_t words[16];
};
/// Bulk copies move bits: unsigned integers stand for all types of their size.
enum class TensorMapType : int { U8 = 0, U16 = 1, U32 = 2 };
enum class TensorMapInterleave : int { None = 0 };
enum class TensorMapSwizzle : int { Bytes128 = 3 };
enum class TensorMapPromotion : int { L2Bytes256 = 3 };
enum class TensorMapFill : int { Zeros = 0 };

/// CUlaunchAttribute.
enum class LaunchAttributeKind : int { ClusterDimension = 4 };
struct LaunchAttribute {
  LaunchAttributeKind kind{};
  union alignas(8) {
    unsigned cluster[3];
    char bytes[64];
  } value{};
};
static_assert(sizeof(LaunchAttribute) == 72);

struct LaunchConfig {
  unsigned grid_x, grid_y, grid_z;
  unsigned block_x, block_y, block_z;
  unsigned shared_bytes;
  CUstream_st* stream;
  LaunchAttribute* attributes;
  unsigned attribute_count;
};

/// CUDA_KERNEL_NODE_PARAMS_v1: a launch as a node of a graph.
struct KernelNode {
  CUfunc_st* function;
  unsigned grid_x, grid_y, grid_z;
  unsigned block_x, block_y, block_z;
  unsigned shared_bytes;
  void** parameters;
  void** extra;
};

/// The loaded driver. Immutable; thread safe. The library stays loaded until the process ends: it has threads of its own.
class Driver {
 public:
  /// Loads the library and initialises it. Throws MachineError, saying what to do: no library, one too old for cuLaunchKernelEx (CUDA 11.8), one that
  /// does not start, no device.
  static std::shared_ptr<const Driver> open(const std::string& library);
  /// The machine's own, loaded once in the life of the process; a failure is not remembered.
  static std::shared_ptr<const Driver> system();

  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

#define TESSERA_CUDA(name, symbol, parameters) Result(*name) parameters = nullptr;
#include "runtime/cuda_api.def"

  /// major * 1000 + minor * 10, as 13000
  int version() const { return version_; }
  std::string version_text() const;
  int devices() const { return devices_; }

  /// Throws MachineError unless `r` is success. `doing` says what failed: "launching `fwd`".
  void check(Result r, const char* doing) const {
    if (r != Result::Success) [[unlikely]]
      fail(r, doing, "");
  }
  /// `detail` is appended on lines of its own, such as a log of the driver's assembler.
  [[noreturn]] void fail(Result r, const std::string& doing, const std::string& detail) const;

 private:
  Driver() = default;

  int version_ = 0;
  int devices_ = 0;
};

}  // namespace tessera::cuda
