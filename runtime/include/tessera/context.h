// Where kernels run.
#pragma once

#include <memory>
#include <string>

#include "tessera/export.h"

namespace tessera {

namespace detail {
class CpuPool;
}

/// A device with what launches on it share: for the CPU, a pool of threads. A cheap handle; copies name the same pool, which ends with the
/// last of them. Thread safety: all functions may be called, and launches made, from several threads at once.
class TESSERA_API Context {
 public:
  /// The host's processor with `threads` threads, the caller's included; 0 = as many as the process may run on. The result of a launch does
  /// not depend on the number. Throws Error (User) if `threads` is negative or above 1024, (Machine) if threads cannot be started.
  static Context cpu(int threads = 0);
  /// The fastest device there is. Throws as cpu().
  static Context best();

  int threads() const noexcept;
  /// "cpu, 16 threads"
  std::string description() const;

  /// For the library's own use.
  detail::CpuPool& pool() const noexcept { return *pool_; }

 private:
  explicit Context(std::shared_ptr<detail::CpuPool> pool) : pool_(std::move(pool)) {}
  std::shared_ptr<detail::CpuPool> pool_;
};

}  // namespace tessera
