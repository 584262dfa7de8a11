#include "runtime/gpu_code.h"

#include <fmt/format.h>
#include <llvm/Support/raw_ostream.h>

#include <algorithm>
#include <chrono>

#include "codegen/gpu/compile.h"
#include "codegen/nvptx/ptx.h"
#include "codegen/nvptx/tools.h"
#include "runtime/errors.h"

namespace tessera {
namespace {

double ms_since(std::chrono::steady_clock::time_point t) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - t).count();
}

GpuIr emit(ir::Kernel& kernel, const CompileOptions& options, Diagnostics& diagnostics) {
  if (!run_passes(kernel, options, diagnostics)) return {};
  const auto start = std::chrono::steady_clock::now();
  GpuOptions gpu;
  gpu.checks = options.debug;
  gpu.schedule = options.schedule;
  GpuIr ir = emit_gpu(kernel, *options.gpu, gpu, diagnostics);
  if (options.hooks.timed) options.hooks.timed("gpu", ms_since(start));
  return ir;
}

GpuObject ptx_of(GpuIr ir, const CompileOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  GpuObject object = make_ptx(std::move(ir), *options.gpu);
  if (options.hooks.timed) {
    options.hooks.timed("ptx", ms_since(start));
    options.hooks.timed("  llvm passes", object.passes_ms);
    options.hooks.timed("  codegen", object.codegen_ms);
  }
  return object;
}

std::string sass(const GpuObject& object) {
  const nvptx::TemporaryFile cubin("cubin");
  const PtxasReport report = nvptx::assemble(object, cubin.path);
  if (!report.found) throw MachineError("machine code needs ptxas of a CUDA toolkit: put it on PATH, or set CUDA_HOME");
  if (!report.ok) throw MachineError("ptxas refuses the code:\n" + report.log);
  std::string text;
  if (const std::string tool = nvptx::find_tool("nvdisasm"); !tool.empty()) {
    if (nvptx::run_tool({tool, "-c", cubin.path}, text) == 0) return text;
  } else if (const std::string dump = nvptx::find_tool("cuobjdump"); !dump.empty()) {
    if (nvptx::run_tool({dump, "-sass", cubin.path}, text) == 0) return text;
  } else {
    throw MachineError("machine code needs nvdisasm or cuobjdump of a CUDA toolkit: put one on PATH, or set CUDA_HOME");
  }
  throw MachineError("the disassembler fails:\n" + text);
}

/// What a multiprocessor holds (CUDA C++ Programming Guide, "Compute Capabilities").
struct Multiprocessor {
  int warps, ctas;
};
Multiprocessor multiprocessor(const GpuTarget& t) {
  switch (t.sm) {
    case 75: return {32, 16};
    case 86: return {48, 16};
    case 89:
    case 120: return {48, 24};
    default: return {64, 32};
  }
}

void fill_occupancy(GpuExplanation& e, const GpuTarget& target) {
  const Multiprocessor m = multiprocessor(target);
  const int warps = (e.threads + 31) / 32;
  // 64 Ki registers, given to a warp in units of 256; a CTA's shared memory comes with 1 KiB for the system from sm_80 on.
  const int warp_registers = (std::max(e.registers, 1) * 32 + 255) / 256 * 256;
  const int by_registers = 65536 / warp_registers / 4 * 4 / warps;
  const std::int64_t cta_shared = e.shared_bytes + (target.sm >= 80 ? 1024 : 0);
  const int by_shared = cta_shared > 0 ? static_cast<int>(target.max_shared_sm() / cta_shared) : m.ctas;
  const int by_threads = std::min(m.ctas, m.warps / warps);
  e.ctas = std::min({by_registers, by_shared, by_threads});
  e.limited_by = e.ctas == by_threads ? "threads" : e.ctas == by_shared ? "shared memory" : "registers";
}

}  // namespace

std::string gpu_text(ir::Kernel& kernel, GpuText what, const CompileOptions& options, Diagnostics& diagnostics) {
  GpuIr ir = emit(kernel, options, diagnostics);
  if (diagnostics.any()) return "";
  switch (what) {
    case GpuText::Llvm: {
      std::string text;
      llvm::raw_string_ostream out(text);
      ir.module->print(out, nullptr);
      return text;
    }
    case GpuText::Ptx: return ptx_of(std::move(ir), options).ptx;
    case GpuText::Sass: return sass(ptx_of(std::move(ir), options));
  }
  TESSERA_UNREACHABLE("bad kind of text");
}

GpuExplanation explain_gpu(ir::Kernel& kernel, const CompileOptions& options, Diagnostics& diagnostics) {
  GpuExplanation out;
  const auto start = std::chrono::steady_clock::now();
  GpuIr ir = emit(kernel, options, diagnostics);
  if (diagnostics.any()) return out;
  out.emit_ms = ms_since(start);
  out.threads = ir.threads;
  out.shared_bytes = ir.shared_bytes;
  out.stages = ir.plan.stages;
  out.notes = ir.plan.notes;
  const GpuObject object = make_ptx(std::move(ir), *options.gpu);
  out.passes_ms = object.passes_ms;
  out.codegen_ms = object.codegen_ms;
  const PtxasReport report = run_ptxas(object);
  if (!report.found) return out;
  if (!report.ok) throw MachineError("ptxas refuses the code:\n" + report.log);
  out.assembled = true;
  out.registers = report.registers;
  out.spill_store_bytes = report.spill_store_bytes;
  out.spill_load_bytes = report.spill_load_bytes;
  out.stack_bytes = report.stack_bytes;
  out.warnings = report.warnings;
  fill_occupancy(out, *options.gpu);
  return out;
}

}  // namespace tessera
