// What becomes of a kernel on the way to a GPU, for those who want to read it: text at each stage, and what an assembler says.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/compile.h"

namespace tessera {

enum class GpuText : std::uint8_t { Llvm, Ptx, Sass };
/// LLVM IR of one thread in terms of device primitives, PTX, or machine code as NVIDIA's disassembler prints it. Empty with diagnostics. Throws
/// MachineError if the tools for machine code are not found or refuse the code. Precondition: options.gpu is set.
std::string gpu_text(ir::Kernel& kernel, GpuText what, const CompileOptions& options, Diagnostics& diagnostics);

/// A kernel's plan and what ptxas made of it.
struct GpuExplanation {
  int threads = 0;
  std::int64_t shared_bytes = 0;
  int stages = 1;
  std::vector<std::string> notes;
  bool assembled = false;  ///< an assembler was found; else the rest is unknown
  int registers = 0;
  std::int64_t spill_store_bytes = 0, spill_load_bytes = 0, stack_bytes = 0;
  std::vector<std::string> warnings;
  int ctas = 0;            ///< that fit one multiprocessor
  std::string limited_by;  ///< "registers", "shared memory", "threads"
  double emit_ms = 0, passes_ms = 0, codegen_ms = 0;
};
/// Empty with diagnostics. Throws MachineError if the assembler refuses the code. Precondition: options.gpu is set.
GpuExplanation explain_gpu(ir::Kernel& kernel, const CompileOptions& options, Diagnostics& diagnostics);

}  // namespace tessera
