#include "runtime/compile.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "codegen/cpu/compile.h"
#include "codegen/passes/pipeline.h"
#include "dsl/interpret.h"
#include "dsl/text.h"
#include "dsl/verify.h"
#include "runtime/cpu_pool.h"
#include "runtime/errors.h"

// Between passes the IR is verified in debug runs and in builds that keep their assertions.
#ifdef NDEBUG
#define TESSERA_VERIFY_PASSES false
#else
#define TESSERA_VERIFY_PASSES true
#endif

namespace tessera {
namespace {

struct TargetInfo {
  Target target;
  const char* name;
  const char* family;
  const char* description;
};
constexpr TargetInfo targets[] = {
    {Target::Cpu, "cpu", "cpu", "machine code for this processor, on a pool of threads"},
    {Target::Interp, "interp", "", "the reference interpreter: every operation rounds to its type"},
    {Target::InterpExact, "interp:exact", "", "the reference interpreter in float64 without rounding: the numerical oracle"},
};

const TargetInfo& target_info(Target t) { return targets[static_cast<std::size_t>(t)]; }

class Interpreted : public Executable {
 public:
  Interpreted(const ir::Kernel& kernel, std::shared_ptr<const SourceMap> sources, bool exact)
      : kernel_(kernel), sources_(std::move(sources)), exact_(exact) {}

  void run(const Context&, const Launch& launch, const std::function<void(const std::string&)>& print) const override {
    if (launch.instances == 0) return;
    try {
      interpret(kernel_, launch.frame, {.exact = exact_, .print = print});
    } catch (const InterpretError& e) {
      Diagnostic d;
      d.code = Code::E0805;
      d.span = e.span;
      d.message = e.what();
      throw to_error(d, *sources_);
    }
  }

 private:
  const ir::Kernel& kernel_;
  std::shared_ptr<const SourceMap> sources_;
  bool exact_;
};

/// Machine code whose instances the pool's threads share.
class Compiled : public Executable {
 public:
  Compiled(std::shared_ptr<CpuLoader> loader, CpuKernel code, std::vector<CpuCheck> checks, std::shared_ptr<const SourceMap> sources)
      : loader_(std::move(loader)), code_(std::move(code)), checks_(std::move(checks)), sources_(std::move(sources)) {}

  void run(const Context& context, const Launch& launch, const std::function<void(const std::string&)>&) const override {
    struct State {
      const Compiled* self;
      const Launch* launch;
    } state{this, &launch};
    context.pool().run(
        launch.instances, std::max(code_.arena_bytes, sizeof(CpuReport)),
        [](void* p, std::int64_t first, std::int64_t count, void* arena) {
          const State& s = *static_cast<const State*>(p);
          s.self->run_range(*s.launch, first, count, arena);
        },
        &state);
  }

 private:
  void run_range(const Launch& launch, std::int64_t first, std::int64_t count, void* arena) const {
    std::memset(arena, 0, sizeof(CpuReport));
    code_.range_entry(launch.frame.data(), first, count, launch.grid.data(), arena);
    CpuReport report;
    std::memcpy(&report, arena, sizeof report);
    if (checks_.empty() || report.failed_check == 0) return;
    const CpuCheck& check = checks_.at(static_cast<std::size_t>(report.failed_check - 1));
    Diagnostic d;
    d.code = Code::E0805;
    d.span = check.span;
    d.message = fmt::format("{}, in grid instance {}", check.message.empty() ? "an assertion failed" : check.message, report.instance);
    throw to_error(d, *sources_);
  }

  std::shared_ptr<CpuLoader> loader_;
  CpuKernel code_;
  std::vector<CpuCheck> checks_;
  std::shared_ptr<const SourceMap> sources_;
};

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

CpuOptions cpu_options(const CompileOptions& options) {
  CpuOptions out;
  out.checks = options.debug;
  out.schedule = options.schedule;
  return out;
}

}  // namespace

std::optional<Target> target_from_name(const std::string& name) {
  for (const TargetInfo& t : targets) {
    if (name == t.name) return t.target;
  }
  return std::nullopt;
}
const char* name(Target t) { return target_info(t).name; }
const char* schedule_family(Target t) { return target_info(t).family; }
const char* describe(Target t) { return target_info(t).description; }
std::vector<Target> all_targets() {
  std::vector<Target> out;
  for (const TargetInfo& t : targets) out.push_back(t.target);
  return out;
}

// The compiler, text to machine code. `load_program` and `instantiate` (frontend) have made the kernel:
//   parse -> check -> lower
std::unique_ptr<Executable> compile(ir::Kernel& kernel, const std::shared_ptr<const SourceMap>& sources, LazyLoader& loader,
                                    const CompileOptions& options, Diagnostics& diagnostics) {
  Stages stages(kernel, options.hooks);
  stages.run("verify", [&] { ir::verify_or_die(kernel, "lower"); });
  if (options.target == Target::Interp) return std::make_unique<Interpreted>(kernel, sources, false);
  if (options.target == Target::InterpExact) return std::make_unique<Interpreted>(kernel, sources, true);

  // fold -> pad_states -> fold -> split_masks -> fold -> ..: the list stands in codegen/passes/pipeline.cpp
  if (!run_target_free_passes(kernel, diagnostics, pass_options(options))) return nullptr;
  CpuObject object;
  stages.run("cpu", [&] { object = compile_cpu(kernel, CpuTarget::host(), cpu_options(options), diagnostics); });
  if (diagnostics.any()) return nullptr;
  stages.took("  emit", object.times.emit_ms);
  stages.took("  verify", object.times.verify_ms);
  stages.took("  llvm passes", object.times.passes_ms);
  stages.took("  codegen", object.times.codegen_ms);
  CpuKernel code;
  const std::shared_ptr<CpuLoader> into = loader.get();
  stages.run("link", [&] { code = into->load(object); });
  return std::make_unique<Compiled>(into, std::move(code), std::move(object.checks), sources);
}

std::string cpu_text(ir::Kernel& kernel, CpuText what, const CompileOptions& options, Diagnostics& diagnostics) {
  ir::verify_or_die(kernel, "lower");
  if (!run_target_free_passes(kernel, diagnostics, pass_options(options))) return "";
  switch (what) {
    case CpuText::Llvm: return emit_llvm(kernel, CpuTarget::host(), cpu_options(options), diagnostics);
    case CpuText::Assembly: return emit_asm(kernel, CpuTarget::host(), cpu_options(options), diagnostics);
  }
  TESSERA_UNREACHABLE("bad kind of text");
}

std::shared_ptr<CpuLoader> LazyLoader::get() {
  std::call_once(once_, [this] { loader_ = std::make_shared<CpuLoader>(); });
  return loader_;
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
