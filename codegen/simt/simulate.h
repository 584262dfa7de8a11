// A simulated GPU: runs the per-thread LLVM IR of a kernel on the host, one fiber a CUDA thread, and reports what a real GPU would let pass in
// silence.
//
// Asynchronous copies complete at random legal moments. Accesses are recorded when they are issued and compared by vector clocks, so a missing
// wait, fence or barrier is reported whatever the timing was. What it cannot see: the NVPTX lowering, ptxas, registers, spills, speed, and the
// rounding inside tensor cores (products accumulate in float64 and round once).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "codegen/gpu/compile.h"

namespace tessera {

enum class HazardKind : std::uint8_t {
  OutOfBounds,    ///< an access outside every tensor of the launch, or outside the CTA's shared memory
  Misaligned,     ///< an address that is no multiple of what the instruction asks for
  Uninitialised,  ///< reads what nobody wrote
  Race,           ///< two accesses of one place, one of them a write, that nothing orders
  DoubleWrite,    ///< two CTAs write one place
  ReadOnly,       ///< a write to a tensor that the launch only reads
  Deadlock,       ///< threads wait for what never comes
  Divergence,     ///< the lanes of a warp do not meet at one instruction that needs them all
  BadOperand,     ///< an operand that the instruction does not take
  Endless,        ///< more steps than SimtOptions::max_steps
};
const char* name(HazardKind kind);

/// One fault at one place of the code; times it happened are counted.
struct Hazard {
  HazardKind kind{};
  std::string text;  ///< a sentence that names the instructions
  Span span;         ///< of the instruction, unknown if it carries none
  Span other;        ///< of the instruction it collides with
  std::int64_t count = 0;
};

/// When asynchronous copies complete: at random, as late as their waits allow, at once.
enum class SimtPolicy : std::uint8_t { BySeed, Random, Lazy, Eager };
const char* name(SimtPolicy policy);

struct SimtOptions {
  std::uint64_t seed = 1;
  SimtPolicy policy = SimtPolicy::BySeed;
  bool races = true;                       ///< vector clocks: Race, Uninitialised, DoubleWrite
  bool persistent = true;                  ///< false: persistent kernels are launched with a CTA for each instance
  bool maps = true;                        ///< false: as a launch whose tensors bulk copies cannot read
  bool traffic = false;                    ///< count bank conflicts and sectors
  int host_threads = 1;                    ///< CTAs, or clusters, are shared among so many
  std::int64_t max_steps = 2'000'000'000;  ///< accesses and primitives of one CTA
};

/// An instruction of the kernel that the simulator watches: a memory access or a primitive.
struct SimtSite {
  std::string what;   ///< "shared load", "ldmatrix_x4"
  std::string block;  ///< name of the basic block
  Span span;
};

/// What one site did in a run. Bank conflicts: cycles beyond those of a conflict-free access of the same words; sectors are 32 bytes wide.
struct SimtTraffic {
  std::int64_t shared_cycles = 0, conflict_cycles = 0;
  std::int64_t sectors = 0, ideal_sectors = 0;
};

struct SimtResult {
  std::uint64_t seed = 0;
  SimtPolicy policy = SimtPolicy::Random;
  bool finished = true;                ///< false: a CTA was given up after a hazard
  std::vector<Hazard> hazards;         ///< in the order of their first appearance
  std::vector<std::int64_t> executed;  ///< by site: executions of a thread
  std::vector<SimtTraffic> traffic;    ///< by site; empty unless SimtOptions::traffic
  std::int64_t barriers = 0;           ///< completed CTA and named barriers
  GpuReport report;                    ///< of a kernel with checks

  bool clean() const { return hazards.empty(); }
  std::vector<std::size_t> unexecuted() const;
};

/// One tensor of a launch.
struct SimtTensor {
  std::string name;
  void* host = nullptr;
  std::size_t bytes = 0;
  bool writable = true;
  bool initialised = true;  ///< false: reading an element before the kernel wrote it is Uninitialised
};

/// Copies of a launch's tensors in a memory of their own, far from each other, so that an address beyond one is beyond all. Tensors that overlap
/// on the host overlap here. Device addresses are congruent to the host's modulo 256.
class SimtMemory {
 public:
  explicit SimtMemory(std::span<const SimtTensor> tensors);
  ~SimtMemory();
  SimtMemory(SimtMemory&&) noexcept;
  SimtMemory& operator=(SimtMemory&&) noexcept;

  /// Device address of the i-th tensor.
  std::uint64_t address(std::size_t i) const;
  /// Writes what kernels wrote back to the host.
  void copy_back() const;

  struct Block;
  const std::vector<Block>& blocks() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A kernel compiled for the simulator. Immutable; `run` is thread safe for distinct memories.
class SimtKernel {
 public:
  /// Throws InternalError for a module that breaks the rules of codegen/gpu/compile.h.
  explicit SimtKernel(GpuIr ir);
  ~SimtKernel();
  SimtKernel(SimtKernel&&) noexcept;
  SimtKernel& operator=(SimtKernel&&) noexcept;

  /// Runs CTAs 0 .. instances - 1, or as many clusters as make these instances. `frame` holds device addresses of `memory`.
  SimtResult run(std::span<const std::uint64_t> frame, std::span<const std::int64_t> grid, std::int64_t instances, const SimtMemory& memory,
                 const SimtOptions& options = {}) const;

  const std::vector<SimtSite>& sites() const;
  const std::vector<GpuCheck>& checks() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera
