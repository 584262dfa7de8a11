// tessera explain-kernel FILE: what a GPU's compiler decided for a kernel, and what its assembler made of it.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "dsl/text.h"
#include "runtime/cli/commands.h"
#include "runtime/cli/kernel_options.h"
#include "runtime/errors.h"
#include "runtime/gpu_code.h"

namespace tessera::cli {
namespace {

struct ExplainOptions {
  KernelOptions kernel;
  std::vector<std::string> without;
};

void print(const GpuExplanation& e, Report& report) {
  report.line(fmt::format("threads         {} ({} warps)", e.threads, (e.threads + 31) / 32));
  report.line(fmt::format("shared memory   {} bytes", e.shared_bytes));
  report.line(fmt::format("stages          {}", e.stages));
  if (e.assembled) {
    report.line(fmt::format("registers       {} a thread", e.registers));
    report.line(fmt::format("spills          {} bytes stored, {} loaded; stack {}", e.spill_store_bytes, e.spill_load_bytes, e.stack_bytes));
    report.line(fmt::format("occupancy       {} CTA{} a multiprocessor, limited by {}", e.ctas, e.ctas == 1 ? "" : "s", e.limited_by));
  } else {
    report.line("registers       unknown: no ptxas on PATH, in CUDA_HOME or in /usr/local/cuda");
  }
  report.line(fmt::format("time            emission {:.1f} ms, LLVM passes {:.1f} ms, PTX {:.1f} ms", e.emit_ms, e.passes_ms, e.codegen_ms));
  for (const std::string& w : e.warnings) report.line("warning: " + w);
  for (const std::string& n : e.notes) report.line("- " + n);
}

void explain_kernel(const ExplainOptions& options, Report& report) {
  const AnyKernel kernel = uncompiled(options.kernel, hooks_for(options.kernel, report));
  const CompileOptions co = kernel.impl().compile_options();
  if (!co.gpu) fail(Code::E0802, fmt::format("target `{}` is no GPU", options.kernel.target), "name an architecture, such as --target sm_90a");
  const std::unique_ptr<ir::Kernel> ir = kernel.impl().lower(kernel.impl().mask_of(options.without));
  const std::string lowered = ir::print(*ir);
  const GpuExplanation e = guarded(
      [&] {
        Diagnostics diagnostics;
        GpuExplanation e = explain_gpu(*ir, co, diagnostics);
        if (diagnostics.any()) throw to_error(diagnostics, *kernel.impl().sources());
        return e;
      },
      [&] { return lowered; });
  std::vector<std::string> constants;
  for (const auto& [n, v] : kernel.constants()) constants.push_back(fmt::format("{}={}", n, v));
  report.line(fmt::format("{} for {}: {}", kernel.name(), co.gpu->name(), fmt::join(constants, " ")));
  print(e, report);
  report.fields["kernel"] = kernel.name();
  report.fields["target"] = co.gpu->name();
  report.fields["constants"] = constants_of(kernel);
  report.fields["threads"] = e.threads;
  report.fields["shared_bytes"] = e.shared_bytes;
  report.fields["stages"] = e.stages;
  report.fields["notes"] = llvm::json::Array(e.notes);
  report.fields["warnings"] = llvm::json::Array(e.warnings);
  if (e.assembled) {
    report.fields["registers"] = e.registers;
    report.fields["spill_store_bytes"] = e.spill_store_bytes;
    report.fields["spill_load_bytes"] = e.spill_load_bytes;
    report.fields["stack_bytes"] = e.stack_bytes;
    report.fields["ctas_a_multiprocessor"] = e.ctas;
    report.fields["limited_by"] = e.limited_by;
  }
}

}  // namespace

void add_explain_kernel(CLI::App& app, Action& action) {
  CLI::App* sub = app.add_subcommand("explain-kernel", "show a kernel's threads, memory, registers and occupancy on a GPU");
  auto o = std::make_shared<ExplainOptions>();
  o->kernel.target = "sm_90a";
  add_kernel_options(*sub, o->kernel, false);
  sub->add_option("--without", o->without, "leave out an optional view")->delimiter(',')->allow_extra_args(false);
  sub->callback([&action, o] { action = [o](Report& r) { explain_kernel(*o, r); }; });
}

}  // namespace tessera::cli
