// Kernels ready to run: interpreted, or machine code on the thread pool.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "dsl/ir.h"
#include "runtime/launch.h"
#include "tessera/context.h"
#include "tessera/graph.h"

namespace tessera {

struct CpuObject;
class CpuLoader;
struct GpuIr;
struct GpuObject;

/// Links machine code into the process; made when first needed, since a check or an interpreter run never does. Thread safe.
class LazyLoader {
 public:
  std::shared_ptr<CpuLoader> get();

 private:
  std::once_flag once_;
  std::shared_ptr<CpuLoader> loader_;
};

/// What a GPU's assembler made of a kernel.
struct AssembledCode {
  int registers = 0;    ///< of one thread
  int local_bytes = 0;  ///< of one thread: spilled registers and arrays that are indexed
};

/// A kernel ready to run. Immutable; thread safe.
class Executable {
 public:
  virtual ~Executable() = default;
  /// Runs all instances, or queues them on a GPU's stream. `print` receives the kernel's own output. Throws Error (E0804: the context is of another
  /// kind; E0805), MachineError, std::bad_alloc.
  virtual void run(const Context& context, const Launch& launch, const std::function<void(const std::string&)>& print) const = 0;
  /// Does what the first run on the context's device would have to do before. Throws as run().
  virtual void prepare(const Context& context) const = 0;
  /// One launch as a node of a CUDA graph, and such a node with other arguments. Throws as run(); E0804 where there are no graphs, if the code checks
  /// assertions, or if a new node has no instances.
  virtual GraphNode add_node(const Context& context, Graph graph, std::span<const GraphNode> after, const Launch& launch) const;
  virtual void update_node(const Context& context, GraphExec exec, GraphNode node, const Launch& launch) const;
  /// The code on the context's device; empty on the host, and where it is not prepared.
  virtual std::optional<AssembledCode> assembled(const Context&) const { return std::nullopt; }
};

/// The interpreter on `kernel`, which must outlive it.
std::unique_ptr<Executable> interpreted(const ir::Kernel& kernel, std::shared_ptr<const SourceMap> sources, bool exact);
/// The object, linked into the process.
std::unique_ptr<Executable> linked(CpuObject object, std::shared_ptr<CpuLoader> loader, std::shared_ptr<const SourceMap> sources);
/// PTX, assembled and loaded by the driver on every device that it is prepared for or runs on.
std::unique_ptr<Executable> on_gpu(GpuObject object, std::string name, std::shared_ptr<const SourceMap> sources);
/// The code of one GPU thread, simulated. `kernel` is what the passes made and must outlive it; `target` is the architecture's name, `seed` what the
/// simulator's choices follow from. run() throws Error E0806 for every fault that the simulator finds.
std::unique_ptr<Executable> simulated(GpuIr ir, const ir::Kernel& kernel, std::string target, std::uint64_t seed,
                                      std::shared_ptr<const SourceMap> sources);

/// Throws Error E0804 unless the context is the host's.
void need_host(const Context& context);

}  // namespace tessera
