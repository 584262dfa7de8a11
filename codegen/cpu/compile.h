// Tile IR -> CPU machine code.
//
// A compiled kernel is an object file with two entries: `entry` runs one grid instance (CpuEntry), `range_entry` a run of consecutive ones
// (CpuRangeEntry), which keeps what the instances share, such as packed operands. Results do not depend on how instances are divided among
// calls and threads. Everything here is reentrant: no state is shared between calls.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/cpu/target.h"
#include "dsl/diagnostic.h"
#include "dsl/frame.h"
#include "dsl/ir.h"
#include "dsl/schedule.h"

namespace tessera {

struct CpuOptions {
  int codegen_level = 2;                    ///< LLVM's, 0 .. 3; 0 gives code several times slower
  std::int64_t max_instructions = 200'000;  ///< LLVM instructions before code generation; more is E0601
  bool checks = false;                      ///< evaluate `assert`; see CpuReport
  Schedule schedule;
};

/// The first words of the arena, zeroed by the caller before a launch; later calls leave a report that stands.
struct CpuReport {
  std::int64_t failed_check = 0;  ///< 1 + index into CpuObject::checks of the first check found false, 0: none
  std::int64_t instance = 0;      ///< the grid instance in which it failed
  std::int64_t reserved[6] = {};
};

struct CpuCheck {
  Span span;
  std::string message;
};

struct CpuTimes {
  double emit_ms = 0, verify_ms = 0, passes_ms = 0, codegen_ms = 0;
};

struct CpuObject {
  std::string object;       ///< ELF bytes: what a cache stores
  std::string entry;        ///< symbol of the CpuEntry
  std::string range_entry;  ///< symbol of the CpuRangeEntry
  std::size_t arena_bytes = 0;
  std::vector<CpuCheck> checks;
  std::int64_t instructions = 0;
  CpuTimes times;
};

/// Compiles a verified kernel. Adds E0804 for what the CPU cannot run (signal, wait, peers), E0601 for code over the limit, and returns an
/// object without bytes then.
CpuObject compile_cpu(const ir::Kernel& kernel, const CpuTarget& target, const CpuOptions& options, Diagnostics& diagnostics);

/// The LLVM IR, after the passes if `optimised`; assembly text. Empty with diagnostics, as compile_cpu.
std::string emit_llvm(const ir::Kernel& kernel, const CpuTarget& target, const CpuOptions& options, Diagnostics& diagnostics, bool optimised = false);
std::string emit_asm(const ir::Kernel& kernel, const CpuTarget& target, const CpuOptions& options, Diagnostics& diagnostics);

/// A loaded kernel. Copies share the code, which lives until the last one goes. Calls are thread safe (with an arena a thread).
class CpuKernel {
 public:
  CpuEntry entry = nullptr;
  CpuRangeEntry range_entry = nullptr;
  std::size_t arena_bytes = 0;

 private:
  friend class CpuLoader;
  std::shared_ptr<void> code_;
};

/// Links objects into this process. Thread safe. One is enough for a process; it must not be destroyed before its kernels are out of use.
class CpuLoader {
 public:
  CpuLoader();
  ~CpuLoader();
  CpuLoader(const CpuLoader&) = delete;
  CpuLoader& operator=(const CpuLoader&) = delete;

  /// Throws InternalError if the object was made for another machine or names unknown symbols.
  CpuKernel load(const CpuObject& object);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace tessera
