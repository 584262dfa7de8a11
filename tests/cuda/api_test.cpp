// Our declarations of the CUDA driver against NVIDIA's, where a toolkit is installed.
#include <gtest/gtest.h>

#ifdef TESSERA_HAVE_CUDA_H
#include <cuda.h>

#include <tuple>
#include <type_traits>

#include "runtime/cuda_driver.h"

namespace tessera::cuda {
namespace {

/// Passed alike: both pointers, or numbers of the same kind and size.
template <class A, class B>
constexpr bool same_word() {
  if constexpr (std::is_pointer_v<A> || std::is_pointer_v<B>) {
    if constexpr (!std::is_pointer_v<A> || !std::is_pointer_v<B>) {
      return false;
    } else {
      using X = std::remove_cv_t<std::remove_pointer_t<A>>;
      using Y = std::remove_cv_t<std::remove_pointer_t<B>>;
      if constexpr (std::is_function_v<X> || std::is_void_v<X> || std::is_void_v<Y> || std::is_class_v<X>)
        return true;  // opaque, or a struct compared below
      else
        return same_word<X, Y>();
    }
  } else {
    return sizeof(A) == sizeof(B) && std::is_floating_point_v<A> == std::is_floating_point_v<B>;
  }
}

template <class A, class B>
struct SameCall : std::false_type {};
template <class R, class... A, class S, class... B>
struct SameCall<R (*)(A...), S (*)(B...)> {
  static constexpr bool value = [] {
    if constexpr (sizeof...(A) == sizeof...(B))
      return same_word<R, S>() && (same_word<A, B>() && ...);
    else
      return false;
  }();
};

TEST(CudaApi, EveryEntryPointIsCalledAsDeclared) {
#define TESSERA_CUDA(name, symbol, parameters) EXPECT_TRUE((SameCall<decltype(Driver::name), decltype(&::symbol)>::value)) << #symbol;
#include "runtime/cuda_api.def"
}

TEST(CudaApi, AWrongDeclarationIsSeen) {
  EXPECT_FALSE((SameCall<int (*)(int), int (*)(long)>::value));
  EXPECT_FALSE((SameCall<int (*)(int), int (*)(float)>::value));
  EXPECT_FALSE((SameCall<int (*)(int), int (*)(int, int)>::value));
  EXPECT_FALSE((SameCall<int (*)(int*), int (*)(int)>::value));
  EXPECT_FALSE((SameCall<int (*)(int*), int (*)(long*)>::value));
}

TEST(CudaApi, TheLaunchConfigurationHasItsLayout) {
  EXPECT_EQ(sizeof(LaunchConfig), sizeof(CUlaunchConfig));
  EXPECT_EQ(offsetof(LaunchConfig, grid_y), offsetof(CUlaunchConfig, gridDimY));
  EXPECT_EQ(offsetof(LaunchConfig, block_x), offsetof(CUlaunchConfig, blockDimX));
  EXPECT_EQ(offsetof(LaunchConfig, shared_bytes), offsetof(CUlaunchConfig, sharedMemBytes));
  EXPECT_EQ(offsetof(LaunchConfig, stream), offsetof(CUlaunchConfig, hStream));
  EXPECT_EQ(offsetof(LaunchConfig, attributes), offsetof(CUlaunchConfig, attrs));
  EXPECT_EQ(offsetof(LaunchConfig, attribute_count), offsetof(CUlaunchConfig, numAttrs));
  EXPECT_EQ(sizeof(LaunchAttribute), sizeof(CUlaunchAttribute));
  EXPECT_EQ(offsetof(LaunchAttribute, value), offsetof(CUlaunchAttribute, value));
  EXPECT_EQ(offsetof(CUlaunchAttributeValue, clusterDim.x), 0u);
}

TEST(CudaApi, AKernelNodeHasItsLayout) {
  EXPECT_EQ(sizeof(KernelNode), sizeof(CUDA_KERNEL_NODE_PARAMS_v1));
  EXPECT_EQ(offsetof(KernelNode, grid_x), offsetof(CUDA_KERNEL_NODE_PARAMS_v1, gridDimX));
  EXPECT_EQ(offsetof(KernelNode, block_x), offsetof(CUDA_KERNEL_NODE_PARAMS_v1, blockDimX));
  EXPECT_EQ(offsetof(KernelNode, shared_bytes), offsetof(CUDA_KERNEL_NODE_PARAMS_v1, sharedMemBytes));
  EXPECT_EQ(offsetof(KernelNode, parameters), offsetof(CUDA_KERNEL_NODE_PARAMS_v1, kernelParams));
  EXPECT_EQ(offsetof(KernelNode, extra), offsetof(CUDA_KERNEL_NODE_PARAMS_v1, extra));
}

TEST(CudaApi, ConstantsAreTheDrivers) {
#define SAME(ours, theirs) EXPECT_EQ(static_cast<int>(ours), static_cast<int>(theirs))
  SAME(Result::InvalidValue, CUDA_ERROR_INVALID_VALUE);
  SAME(LaunchAttributeKind::ClusterDimension, CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
  SAME(Result::OutOfMemory, CUDA_ERROR_OUT_OF_MEMORY);
  SAME(Result::NotInitialized, CUDA_ERROR_NOT_INITIALIZED);
  SAME(Result::Deinitialized, CUDA_ERROR_DEINITIALIZED);
  SAME(Result::StubLibrary, CUDA_ERROR_STUB_LIBRARY);
  SAME(Result::NoDevice, CUDA_ERROR_NO_DEVICE);
  SAME(Result::InvalidDevice, CUDA_ERROR_INVALID_DEVICE);
  SAME(Result::InvalidContext, CUDA_ERROR_INVALID_CONTEXT);
  SAME(Result::NoBinaryForGpu, CUDA_ERROR_NO_BINARY_FOR_GPU);
  SAME(Result::EccUncorrectable, CUDA_ERROR_ECC_UNCORRECTABLE);
  SAME(Result::InvalidPtx, CUDA_ERROR_INVALID_PTX);
  SAME(Result::JitCompilerNotFound, CUDA_ERROR_JIT_COMPILER_NOT_FOUND);
  SAME(Result::UnsupportedPtxVersion, CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
  SAME(Result::NotReady, CUDA_ERROR_NOT_READY);
  SAME(Result::IllegalAddress, CUDA_ERROR_ILLEGAL_ADDRESS);
  SAME(Result::LaunchOutOfResources, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
  SAME(Result::LaunchTimeout, CUDA_ERROR_LAUNCH_TIMEOUT);
  SAME(Result::ContextIsDestroyed, CUDA_ERROR_CONTEXT_IS_DESTROYED);
  SAME(Result::Assert, CUDA_ERROR_ASSERT);
  SAME(Result::HardwareStackError, CUDA_ERROR_HARDWARE_STACK_ERROR);
  SAME(Result::IllegalInstruction, CUDA_ERROR_ILLEGAL_INSTRUCTION);
  SAME(Result::MisalignedAddress, CUDA_ERROR_MISALIGNED_ADDRESS);
  SAME(Result::InvalidAddressSpace, CUDA_ERROR_INVALID_ADDRESS_SPACE);
  SAME(Result::InvalidPc, CUDA_ERROR_INVALID_PC);
  SAME(Result::LaunchFailed, CUDA_ERROR_LAUNCH_FAILED);
  SAME(Result::SystemDriverMismatch, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH);
  SAME(Result::StreamCaptureUnsupported, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  SAME(Result::StreamCaptureImplicit, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
  SAME(DeviceAttribute::MultiprocessorCount, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  SAME(DeviceAttribute::L2CacheSize, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
  SAME(DeviceAttribute::MaxThreadsPerMultiprocessor, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR);
  SAME(DeviceAttribute::ComputeCapabilityMajor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  SAME(DeviceAttribute::ComputeCapabilityMinor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  SAME(DeviceAttribute::MaxSharedMemoryPerMultiprocessor, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR);
  SAME(DeviceAttribute::PageableMemoryAccess, CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS);
  SAME(DeviceAttribute::MaxSharedMemoryPerBlockOptin, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  SAME(FunctionAttribute::LocalSizeBytes, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES);
  SAME(FunctionAttribute::NumRegs, CU_FUNC_ATTRIBUTE_NUM_REGS);
  SAME(FunctionAttribute::MaxDynamicSharedSizeBytes, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
  SAME(PointerAttribute::MemoryType, CU_POINTER_ATTRIBUTE_MEMORY_TYPE);
  SAME(JitOption::InfoLogBuffer, CU_JIT_INFO_LOG_BUFFER);
  SAME(JitOption::InfoLogBufferSizeBytes, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES);
  SAME(JitOption::ErrorLogBuffer, CU_JIT_ERROR_LOG_BUFFER);
  SAME(JitOption::ErrorLogBufferSizeBytes, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES);
  SAME(JitOption::OptimizationLevel, CU_JIT_OPTIMIZATION_LEVEL);
  SAME(CaptureStatus::Active, CU_STREAM_CAPTURE_STATUS_ACTIVE);
  SAME(CaptureStatus::Invalidated, CU_STREAM_CAPTURE_STATUS_INVALIDATED);
  SAME(MemoryType::Device, CU_MEMORYTYPE_DEVICE);
  SAME(MemoryType::Unified, CU_MEMORYTYPE_UNIFIED);
  SAME(stream_non_blocking, CU_STREAM_NON_BLOCKING);
  SAME(event_disable_timing, CU_EVENT_DISABLE_TIMING);
#undef SAME
}

}  // namespace
}  // namespace tessera::cuda
#else
TEST(CudaApi, EveryEntryPointIsCalledAsDeclared) { GTEST_SKIP() << "no cuda.h was found at configure time"; }
#endif
