// The whole compiler on one page, behind one interface for everything that can run a kernel.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dsl/diagnostic.h"
#include "dsl/ir.h"
#include "dsl/schedule.h"
#include "runtime/cache/image.h"
#include "runtime/executable.h"
#include "runtime/target.h"

namespace tessera {

/// For those who want to look inside.
struct CompileHooks {
  std::vector<std::string> print_after;                                         ///< pass names, or "all"
  std::function<void(const std::string& pass, const std::string& text)> print;  ///< receives what print_after asks for
  std::function<void(const std::string& pass, double milliseconds)> timed;      ///< called after every pass if set
};

struct CompileOptions {
  Target target = Target::Cpu;
  std::optional<GpuTarget> gpu = {};  ///< the architecture, for targets that have one
  bool debug = false;                 ///< keep asserts and claims, and verify the IR after every pass
  CompileHooks hooks = {};
  Schedule schedule = {};
  std::uint64_t seed = 1;     ///< of the simulated GPU
  bool machine_code = false;  ///< what is kept of a GPU's kernel is assembled by ptxas, and run
};

/// Tile IR as the front end made it -> something that runs. `kernel` is changed by the passes and must outlive the result. Null with diagnostics if
/// the kernel breaks a rule that only whole kernels show, or the target cannot run it. `kept`, if not null, receives what a cache keeps of machine
/// code.
std::unique_ptr<Executable> compile(ir::Kernel& kernel, const std::shared_ptr<const SourceMap>& sources, LazyLoader& loader,
                                    const CompileOptions& options, Diagnostics& diagnostics, std::vector<cache::Section>* kept = nullptr);

/// What each target but the interpreters begins with: verifies the kernel and runs the target-free passes, with hooks. False with diagnostics.
bool run_passes(ir::Kernel& kernel, const CompileOptions& options, Diagnostics& diagnostics);

/// What the cpu target makes of the kernel on the way, as text. Empty with diagnostics.
enum class CpuText : std::uint8_t { Llvm, Assembly };
std::string cpu_text(ir::Kernel& kernel, CpuText what, const CompileOptions& options, Diagnostics& diagnostics);

/// The passes that `tessera opt` offers.
std::vector<std::string> pass_names();
/// Precondition: the name is one of them.
void run_pass(const std::string& name, ir::Kernel& kernel, Diagnostics& diagnostics);

}  // namespace tessera
