#include "runtime/compile.h"

#include <algorithm>
#include <chrono>

#include "codegen/cpu/compile.h"
#include "codegen/gpu/compile.h"
#include "codegen/nvptx/ptx.h"
#include "codegen/passes/pipeline.h"
#include "dsl/text.h"
#include "dsl/verify.h"

// Between passes the IR is verified in debug runs and in builds that keep their assertions.
#ifdef NDEBUG
#define TESSERA_VERIFY_PASSES false
#else
#define TESSERA_VERIFY_PASSES true
#endif

namespace tessera {
namespace {

double ms_since(std::chrono::steady_clock::time_point t) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - t).count();
}

/// Times and prints the steps that are not Tile IR passes.
class Stages {
 public:
  Stages(const ir::Kernel& kernel, const CompileHooks& hooks) : kernel_(kernel), hooks_(hooks) {}
  void run(const std::string& name, const std::function<void()>& step) {
    const auto start = std::chrono::steady_clock::now();
    step();
    took(name, ms_since(start));
    if (name == "verify" && wanted(hooks_, "lower")) hooks_.print("lower", ir::print(kernel_));
  }
  void took(const std::string& name, double ms) {
    if (hooks_.timed) hooks_.timed(name, ms);
  }
  static bool wanted(const CompileHooks& hooks, const std::string& pass) {
    return hooks.print &&
           std::any_of(hooks.print_after.begin(), hooks.print_after.end(), [&](const std::string& p) { return p == "all" || p == pass; });
  }

 private:
  const ir::Kernel& kernel_;
  const CompileHooks& hooks_;
};

PassOptions pass_options(const CompileOptions& options) {
  PassOptions out;
  out.gpu = options.gpu.has_value();
  out.verify = options.debug || TESSERA_VERIFY_PASSES;
  const CompileHooks& hooks = options.hooks;
  if (hooks.print && !hooks.print_after.empty()) {
    out.print_after = "all";
    out.print = [&hooks](const std::string& pass, const std::string& text) {
      if (Stages::wanted(hooks, pass)) hooks.print(pass, text);
    };
  }
  if (hooks.timed) {
    out.timing = [&hooks](const std::string& pass, double seconds) { hooks.timed(pass, seconds * 1e3); };
  }
  return out;
}

GpuOptions gpu_options(const CompileOptions& options) {
  GpuOptions out;
  out.checks = options.debug;
  out.spans = options.target == Target::Simt;
  out.schedule = options.schedule;
  return out;
}

CpuOptions cpu_options(const CompileOptions& options) {
  CpuOptions out;
  out.checks = options.debug;
  out.schedule = options.schedule;
  return out;
}

}  // namespace

// The compiler, text to machine code. `load_program` and `instantiate` (frontend) have made the kernel:
//   parse -> check -> lower
std::unique_ptr<Executable> compile(ir::Kernel& kernel, const std::shared_ptr<const SourceMap>& sources, LazyLoader& loader,
                                    const CompileOptions& options, Diagnostics& diagnostics, std::vector<cache::Section>* kept) {
  Stages stages(kernel, options.hooks);
  if (options.target == Target::Interp || options.target == Target::InterpExact) {
    stages.run("verify", [&] { ir::verify_or_die(kernel, "lower"); });
    return interpreted(kernel, sources, options.target == Target::InterpExact);
  }
  // verify -> fold -> pad_states -> fold -> split_masks -> fold -> ..: the list stands in codegen/passes/pipeline.cpp
  if (!run_passes(kernel, options, diagnostics)) return nullptr;
  if (options.target == Target::Cuda || options.target == Target::Simt) {
    GpuIr code;
    stages.run("gpu", [&] { code = emit_gpu(kernel, *options.gpu, gpu_options(options), diagnostics); });
    if (diagnostics.any()) return nullptr;
    if (options.target == Target::Simt) {
      std::unique_ptr<Executable> executable;
      stages.run("simulator", [&] { executable = simulated(std::move(code), kernel, options.gpu->name(), options.seed, sources); });
      return executable;
    }
    GpuObject object;
    stages.run("ptx", [&] { object = make_ptx(std::move(code), *options.gpu); });
    stages.took("  llvm passes", object.passes_ms);
    stages.took("  codegen", object.codegen_ms);
    if (kept && options.machine_code) stages.run("ptxas", [&] { object.cubin = machine_code(object); });
    if (kept) *kept = cache::sections_of(object);
    return on_gpu(std::move(object), kernel.name, sources);  // the driver's assembler has its turn when a device is known
  }
  CpuObject object;
  stages.run("cpu", [&] { object = compile_cpu(kernel, CpuTarget::host(), cpu_options(options), diagnostics); });
  if (diagnostics.any()) return nullptr;
  stages.took("  emit", object.times.emit_ms);
  stages.took("  verify", object.times.verify_ms);
  stages.took("  llvm passes", object.times.passes_ms);
  stages.took("  codegen", object.times.codegen_ms);
  if (kept) *kept = cache::sections_of(object);
  std::unique_ptr<Executable> executable;
  stages.run("link", [&] { executable = linked(std::move(object), loader.get(), sources); });
  return executable;
}

bool run_passes(ir::Kernel& kernel, const CompileOptions& options, Diagnostics& diagnostics) {
  Stages(kernel, options.hooks).run("verify", [&] { ir::verify_or_die(kernel, "lower"); });
  return run_target_free_passes(kernel, diagnostics, pass_options(options));
}

std::string cpu_text(ir::Kernel& kernel, CpuText what, const CompileOptions& options, Diagnostics& diagnostics) {
  if (!run_passes(kernel, options, diagnostics)) return "";
  std::string text;
  Stages(kernel, options.hooks).run("cpu", [&] {
    switch (what) {
      case CpuText::Llvm: text = emit_llvm(kernel, CpuTarget::host(), cpu_options(options), diagnostics); return;
      case CpuText::Assembly: text = emit_asm(kernel, CpuTarget::host(), cpu_options(options), diagnostics); return;
    }
    TESSERA_UNREACHABLE("bad kind of text");
  });
  return text;
}

std::vector<std::string> pass_names() {
  std::vector<std::string> out;
  for (const PassInfo& p : target_free_passes()) out.emplace_back(p.name);
  return out;
}

void run_pass(const std::string& name, ir::Kernel& kernel, Diagnostics& diagnostics) {
  const PassInfo* pass = find_pass(name);
  TESSERA_ASSERT(pass, "no such pass");
  pass->run(kernel, diagnostics);
}

}  // namespace tessera
