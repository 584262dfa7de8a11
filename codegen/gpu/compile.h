// Tile IR -> the LLVM IR of one GPU thread, in terms of device primitives (primitives.def); codegen/nvptx makes PTX of it, codegen/simt runs it on
// the host.
//
// What one thread's function looks like:
//   * calling convention ptx_kernel, name GpuIr::entry, result void; attribute "nvvm.reqntid" = threads
//   * parameters: one i64 for each word of the launch frame (dsl/frame.h; view bases are device addresses), then one i64 for each grid axis: its
//     count, then, if `checks` is not empty, one i64: the device address of a GpuReport, then, if `maps` is not empty, one i64: the kinds of
//     maps (GpuEncodedMaps) of which all are encoded, and one 128-byte tensor map by value each, then, if `persistent`, one i64: the device address
//     of a ticket counter, or 0
//   * with `cluster`, CTAs ctaid and ctaid + 1, ctaid even, run together and work at neighbouring instances of an axis; below, such a pair of CTAs
//     stands where one CTA does, and the axis has half as many instances, rounded up (GpuCluster::groups)
//   * CTA ctaid runs a grid instance (first grid axis fastest; axes along which the work grows run from their end); the grid is one-dimensional.
//     With a ticket counter (u32, zero, used by one launch at a time, which leaves it zero) there may be fewer CTAs than instances: CTA ctaid begins
//     with instance ctaid and takes further ones by tickets
//   * shared memory is the external addrspace(3) global @smem of shared_bytes; addresses are i32
//   * no inline asm, no NVVM intrinsics, no other address space but 1 (global), 3 and constants
#pragma once

#include <llvm/IR/LLVMContext.h>
#include <llvm/IR/Module.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "codegen/gpu/target.h"
#include "dsl/diagnostic.h"
#include "dsl/ir.h"
#include "dsl/schedule.h"

namespace tessera {

struct GpuOptions {
  std::int64_t max_instructions = 200'000;  ///< LLVM instructions; more is E0601
  bool checks = false;                      ///< evaluate `assert`
  bool spans = false;                       ///< instructions carry their source as !tessera.span, for the simulator's messages
  Schedule schedule;
};

/// Zeroed by the caller before a launch; the first thread that finds a check false writes it.
struct GpuReport {
  std::int64_t failed_check = 0;  ///< 1 + index into GpuIr::checks, 0: none
  std::int64_t instance = 0;
};

struct GpuCheck {
  Span span;
  std::string message;
};

inline constexpr std::size_t kTensorMapBytes = 128;

/// A tensor map that a launch encodes: a view parameter as bulk copies read it, in boxes of 128 bytes' width at most, swizzled by 128 bytes.
struct GpuTensorMap {
  struct Axis {
    std::size_t extent = 0, stride = 0;  ///< words of the frame; strides in elements. The first axis has stride 1
    std::int64_t box = 1;                ///< elements of a box
    friend bool operator==(const Axis&, const Axis&) = default;
  };
  std::size_t base = 0;  ///< word of the frame
  DType dtype{};
  std::vector<Axis> axes;  ///< 2 to 5, innermost first
  bool stored = false;     ///< by bulk stores; else read by bulk copies
  friend bool operator==(const GpuTensorMap&, const GpuTensorMap&) = default;
};

/// What a launch tells of its maps, a sum of these: a kernel without all maps of one kind does without that kind.
enum GpuEncodedMaps : std::uint64_t { kReadMaps = 1, kStoredMaps = 2 };
inline GpuEncodedMaps kind_of(const GpuTensorMap& map) { return map.stored ? kStoredMaps : kReadMaps; }

/// CTAs that are launched together, because they share tiles: those of neighbouring instances along a grid axis.
struct GpuCluster {
  int ctas = 1;  ///< 1: each for itself, or 2
  std::size_t axis = 0;

  /// How many clusters the instances of a grid make; `instances` is the product of `grid`, and not zero.
  std::int64_t groups(std::span<const std::int64_t> grid, std::int64_t instances) const {
    return ctas == 1 ? instances : instances / grid[axis] * ((grid[axis] + ctas - 1) / ctas);
  }
  friend bool operator==(const GpuCluster&, const GpuCluster&) = default;
};

/// What `tessera explain-kernel` tells before an assembler has seen the code.
struct GpuPlanReport {
  int warps = 0;
  std::int64_t shared_bytes = 0;
  int stages = 1;                  ///< of the deepest ring
  std::vector<std::string> notes;  ///< one line each: homes of tiles, rings, product forms
};

struct GpuIr {
  std::unique_ptr<llvm::LLVMContext> context;
  std::unique_ptr<llvm::Module> module;
  std::string entry;
  int threads = 0;
  std::int64_t shared_bytes = 0;
  std::int64_t registers = 0;  ///< an estimate of what a thread needs, of kernels that need many; else 0
  std::vector<GpuCheck> checks;
  std::vector<GpuTensorMap> maps;
  bool persistent = false;  ///< a launch may have fewer CTAs than instances
  GpuCluster cluster;
  int assembler_level = 0;  ///< of optimisation (ptxas -O), which suits this code; 0: the assembler's own
  GpuPlanReport plan;
};

/// Emits a verified kernel. Adds E0804 for what the target cannot run, E0601 for code over the limit, E0606 for shared memory over the target's, and
/// returns a GpuIr without module then. Every module passes llvm::verifyModule. Reentrant.
GpuIr emit_gpu(const ir::Kernel& kernel, const GpuTarget& target, const GpuOptions& options, Diagnostics& diagnostics);

}  // namespace tessera
