// tessera explain-kernel FILE: what a GPU's compiler decided for a kernel, and what its assembler made of it.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "dsl/text.h"
#include "runtime/cli/commands.h"
#include "runtime/cli/invocation.h"
#include "runtime/cli/kernel_options.h"
#include "runtime/errors.h"
#include "runtime/gpu_code.h"
#include "runtime/winners.h"

namespace tessera::cli {
namespace {

struct ExplainOptions {
  KernelOptions kernel;
  std::vector<std::string> without, sizes;
};

/// Where the tuned constants come from.
void explain_choice(const ExplainOptions& options, const std::string& kernel, const std::string& target, Report& report) {
  const Module module = load(options.kernel.file);
  const std::string name = options.kernel.winners.empty() ? "the winners beside the source" : options.kernel.winners;
  Diagnostics diagnostics;
  const Choice c = choose_tuned(module.impl().program(), kernel, target, detail::to_constants(consts_from_text(options.kernel.constants)),
                                parse_winners(winners_text(options.kernel), name), sizes_from_text(options.sizes), diagnostics);
  if (diagnostics.any()) throw to_error(diagnostics, *module.impl().sources());
  switch (c.how) {
    case Choice::How::Exact: report.line(fmt::format("tuned           by the line `{}`", c.line)); break;
    case Choice::How::NearestBucket: report.line(fmt::format("tuned           by the line of the nearest bucket, `{}`", c.line)); break;
    case Choice::How::Default: report.line("tuned           no: no line fits, so this is the first candidate"); break;
    case Choice::How::None: report.line("tuned           no: there is nothing to choose"); break;
  }
  for (const std::string& line : c.stale) report.line(fmt::format("stale           `{}`: the kernel has changed since", line));
  report.fields["tuned"] = tessera::name(c.how);
  report.fields["tuned_line"] = c.line;
  report.fields["stale_lines"] = llvm::json::Array(c.stale);
}

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

std::string constants_text(const AnyKernel& kernel) {
  std::vector<std::string> constants;
  for (const auto& [n, v] : kernel.constants()) constants.push_back(fmt::format("{}={}", n, v));
  return fmt::format("{}", fmt::join(constants, " "));
}

void explain_kernel(const ExplainOptions& options, Report& report) {
  const AnyKernel kernel = uncompiled(options.kernel, hooks_for(options.kernel, report), sizes_from_text(options.sizes));
  const CompileOptions co = kernel.impl().compile_options();
  if (!co.gpu && co.target == Target::Cpu) {
    report.line(fmt::format("{} for {}: {}", kernel.name(), winners_target("cpu"), constants_text(kernel)));
    explain_choice(options, kernel.name(), "cpu", report);
    report.fields["kernel"] = kernel.name();
    report.fields["target"] = "cpu";
    report.fields["constants"] = constants_of(kernel);
    return;
  }
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
  report.line(fmt::format("{} for {}: {}", kernel.name(), co.gpu->name(), constants_text(kernel)));
  explain_choice(options, kernel.name(), co.gpu->name(), report);
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
  CLI::App* sub =
      app.add_subcommand("explain-kernel", "show why a kernel has its constants and, on a GPU, its threads, memory, registers and occupancy");
  auto o = std::make_shared<ExplainOptions>();
  o->kernel.target = "sm_90a";
  add_kernel_options(*sub, o->kernel, false);
  sub->add_option("--without", o->without, "leave out an optional view")->delimiter(',')->allow_extra_args(false);
  sub->add_option("--size", o->sizes, "B=1,H=8: launch symbols that tuned constants are chosen by")->delimiter(',')->allow_extra_args(false);
  sub->callback([&action, o] { action = [o](Report& r) { explain_kernel(*o, r); }; });
}

}  // namespace tessera::cli
