// Where kernels run.
#pragma once

#include <memory>
#include <string>

#include "tessera/export.h"
#include "tessera/location.h"

namespace tessera {

class Stream;

namespace cuda {
class Device;
}
namespace detail {
class CpuPool;
}

/// A device with what launches on it share: for the CPU, a pool of threads; for a GPU, its primary context and a stream. A cheap handle; copies name
/// the same device. Thread safety: all functions may be called, and launches made, from several threads at once.
class TESSERA_API Context {
 public:
  /// The host's processor with `threads` threads, the caller's included; 0 = as many as the process may run on. The result of a launch does
  /// not depend on the number. Throws Error (User) if `threads` is negative or above 1024, (Machine) if threads cannot be started.
  static Context cpu(int threads = 0);
  /// GPU number `device`, as CUDA counts them. It retains the device's primary context, which the CUDA runtime and PyTorch use too, so their
  /// pointers, streams and events are valid here. Launches are queued on the legacy default stream; see on(). Throws Error (Machine): no driver or
  /// one older than CUDA 11.8, no such device, one older than compute capability 7.5.
  static Context cuda(int device = 0);
  /// GPU 0 if there is one that works, else the CPU. What runs on either takes its target and its memory from the context: Options::context and
  /// DeviceBuffer. Throws as cpu().
  static Context best();

  /// The same device with launches and copies queued on this stream. Throws Error (User) if the stream belongs to another device.
  Context on(const Stream& stream) const;
  /// Waits until all that is queued on this context's stream has been done. The CPU never has anything queued. Throws Error (Machine) if queued work
  /// failed.
  void synchronize() const;

  bool is_cuda() const noexcept { return gpu_ != nullptr; }
  /// The GPU's number; -1 for the CPU.
  int device() const noexcept;
  /// Threads of the pool; 0 for a GPU.
  int threads() const noexcept;
  /// The target that fits it, as Options::target names it: "cpu", "cuda:0".
  std::string target() const;
  /// "cpu, 16 threads"; "cuda:0, NVIDIA H100 80GB HBM3, sm_90a"
  std::string description() const;
  /// Where memory for its kernels lies.
  Location location() const noexcept;

  /// For the library's own use. Precondition of pool(): !is_cuda(); of gpu(): is_cuda().
  detail::CpuPool& pool() const noexcept { return *pool_; }
  const std::shared_ptr<const cuda::Device>& gpu() const noexcept { return gpu_; }
  void* raw_stream() const noexcept { return stream_.get(); }
  explicit Context(std::shared_ptr<const cuda::Device> gpu, std::shared_ptr<void> stream = nullptr)
      : gpu_(std::move(gpu)), stream_(std::move(stream)) {}

 private:
  explicit Context(std::shared_ptr<detail::CpuPool> pool) : pool_(std::move(pool)) {}
  std::shared_ptr<detail::CpuPool> pool_;
  std::shared_ptr<const cuda::Device> gpu_;
  std::shared_ptr<void> stream_;  ///< CUstream; null: the legacy default stream
};

}  // namespace tessera
