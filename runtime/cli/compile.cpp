// tessera compile FILE: what becomes of a kernel, at any stage.
#include <fmt/format.h>

#include "dsl/text.h"
#include "frontend/format.h"
#include "frontend/parse.h"
#include "runtime/cli/commands.h"
#include "runtime/cli/kernel_options.h"
#include "runtime/compile.h"
#include "runtime/errors.h"
#include "runtime/files.h"
#include "runtime/gpu_code.h"

namespace tessera::cli {
namespace {

struct CompileCommand {
  KernelOptions kernel;
  std::string emit = "ir";
  std::string out = "-";
  std::vector<std::string> without;
};

std::string syntax_tree(const std::string& file) {
  SourceMap sources;
  Diagnostics diagnostics;
  const FileId id = sources.add(file, read_file(file, 64 << 20));
  const ast::File parsed = parse(sources, id, diagnostics);
  if (diagnostics.any()) throw to_error(diagnostics, sources);
  return dump(parsed);
}

/// Throws Error (E0804) if the target has nothing to show there.
void check_stage(const CompileCommand& options, const CompileOptions& co) {
  const std::string& e = options.emit;
  const bool host = co.target == Target::Cpu;
  if (e == "ir" || (e == "llvm" && (host || co.gpu)) || (e == "asm" && host) || ((e == "ptx" || e == "sass") && co.gpu)) return;
  const std::string what = e == "llvm" ? "LLVM IR" : e == "asm" ? "assembly" : e == "ptx" ? "PTX" : "machine code to show";
  fail(Code::E0804, fmt::format("target `{}` has no {}", options.kernel.target, what),
       e == "ptx" || e == "sass" ? "name an architecture, such as --target sm_90a" : "use --target cpu");
}

void compile_file(const CompileCommand& options, Report& report) {
  report.fields["emit"] = options.emit;
  if (options.emit == "ast") {
    emit(report, options.out, syntax_tree(options.kernel.file));
    return;
  }
  const AnyKernel kernel = uncompiled(options.kernel, hooks_for(options.kernel, report));
  const std::unique_ptr<ir::Kernel> ir = kernel.impl().lower(kernel.impl().mask_of(options.without));
  const std::string lowered = ir::print(*ir);
  const auto emitted = [&] {
    if (options.emit == "ir") {
      // The kernel as lowered; what the passes make of it is --print-after's.
      if (options.kernel.print_after.empty() && !options.kernel.time_passes) return lowered;
    }
    Diagnostics diagnostics;
    const CompileOptions co = kernel.impl().compile_options();
    check_stage(options, co);
    std::string text = lowered;
    if (options.emit == "ir") {
      compile(*ir, kernel.impl().sources(), kernel.impl().loader(), co, diagnostics);
    } else if (co.gpu) {
      text = gpu_text(*ir, options.emit == "llvm" ? GpuText::Llvm : options.emit == "ptx" ? GpuText::Ptx : GpuText::Sass, co, diagnostics);
    } else {
      text = cpu_text(*ir, options.emit == "asm" ? CpuText::Assembly : CpuText::Llvm, co, diagnostics);
    }
    if (diagnostics.any()) throw to_error(diagnostics, *kernel.impl().sources());
    return text;
  };
  emit(report, options.out, guarded(emitted, [&] { return lowered; }));
  report.fields["kernel"] = kernel.name();
  report.fields["constants"] = constants_of(kernel);
}

}  // namespace

void add_compile(CLI::App& app, Action& action) {
  CLI::App* sub = app.add_subcommand("compile", "show a kernel as syntax tree, Tile IR, LLVM IR, assembly, PTX or machine code of a GPU");
  auto o = std::make_shared<CompileCommand>();
  add_kernel_options(*sub, o->kernel, false);
  sub->add_option("--emit", o->emit, "ast, ir, llvm, asm, ptx or sass")
      ->check(CLI::IsMember({"ast", "ir", "llvm", "asm", "ptx", "sass"}))
      ->capture_default_str();
  sub->add_option("--without", o->without, "leave out an optional view")->delimiter(',')->allow_extra_args(false);
  sub->add_option("-o", o->out, "file to write; `-` is stdout")->capture_default_str();
  sub->callback([&action, o] { action = [o](Report& r) { compile_file(*o, r); }; });
}

}  // namespace tessera::cli
