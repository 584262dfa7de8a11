// Counters that the CTAs of a persistent kernel draw their instances by.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "runtime/cuda_device.h"

namespace tessera::cuda {

/// One counter for each stream: the launches of a stream follow one another and leave it at zero, so all of them may use it, whatever the kernel.
/// Thread safe.
class Tickets {
 public:
  /// Allocates the counters. Throws MachineError.
  explicit Tickets(std::shared_ptr<const Device> device);
  ~Tickets();
  Tickets(const Tickets&) = delete;
  Tickets& operator=(const Tickets&) = delete;

  /// The counter of a stream of the current context; 0 if there is none left, or the driver does not tell streams apart for certain. Takes no lock
  /// and allocates nothing. Precondition: the stream is not being captured, since copies of one graph may run at the same time.
  DevicePointer of(CUstream_st* stream) const;

 private:
  static constexpr std::size_t count = 256;
  std::shared_ptr<const Device> device_;
  DevicePointer counters_ = 0;
  mutable std::array<std::atomic<std::uint64_t>, count> owners_{};  ///< 1 + the stream's number, 0: free
};

}  // namespace tessera::cuda
