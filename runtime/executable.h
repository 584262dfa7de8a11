// Kernels ready to run: interpreted, or machine code on the thread pool.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "dsl/ir.h"
#include "runtime/launch.h"
#include "tessera/context.h"

namespace tessera {

struct CpuObject;
class CpuLoader;

/// Links machine code into the process; made when first needed, since a check or an interpreter run never does. Thread safe.
class LazyLoader {
 public:
  std::shared_ptr<CpuLoader> get();

 private:
  std::once_flag once_;
  std::shared_ptr<CpuLoader> loader_;
};

/// A kernel ready to run. Immutable; thread safe.
class Executable {
 public:
  virtual ~Executable() = default;
  /// Runs all instances. `print` receives the kernel's own output. Throws Error (E0805), MachineError, std::bad_alloc.
  virtual void run(const Context& context, const Launch& launch, const std::function<void(const std::string&)>& print) const = 0;
};

/// The interpreter on `kernel`, which must outlive it.
std::unique_ptr<Executable> interpreted(const ir::Kernel& kernel, std::shared_ptr<const SourceMap> sources, bool exact);
/// The object, linked into the process.
std::unique_ptr<Executable> linked(CpuObject object, std::shared_ptr<CpuLoader> loader, std::shared_ptr<const SourceMap> sources);

}  // namespace tessera
