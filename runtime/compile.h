// The whole compiler on one page, behind one interface for everything that can run a kernel.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dsl/diagnostic.h"
#include "dsl/ir.h"
#include "dsl/schedule.h"
#include "runtime/launch.h"
#include "tessera/context.h"

namespace tessera {

enum class Target : std::uint8_t { Cpu, Interp, InterpExact };
/// "cpu", "interp", "interp:exact"; empty if there is no such target.
std::optional<Target> target_from_name(const std::string& name);
const char* name(Target t);
std::vector<Target> all_targets();
/// The family whose schedules apply: "cpu" or "".
const char* schedule_family(Target t);
/// One sentence for `tessera targets`.
const char* describe(Target t);

/// For those who want to look inside.
struct CompileHooks {
  std::vector<std::string> print_after;                                         ///< pass names, or "all"
  std::function<void(const std::string& pass, const std::string& text)> print;  ///< receives what print_after asks for
  std::function<void(const std::string& pass, double milliseconds)> timed;      ///< called after every pass if set
};

struct CompileOptions {
  Target target = Target::Cpu;
  bool debug = false;  ///< keep asserts and claims, and verify the IR after every pass
  CompileHooks hooks = {};
};

/// A kernel ready to run. Immutable; thread safe.
class Executable {
 public:
  virtual ~Executable() = default;
  /// Runs all instances. `print` receives the kernel's own output. Throws Error (E0805), MachineError, std::bad_alloc.
  virtual void run(const Context& context, const Launch& launch, const std::function<void(const std::string&)>& print) const = 0;
};

/// Tile IR as the front end made it -> something that runs. `kernel` may be changed and must outlive the result. Null with diagnostics if the kernel
/// cannot be kept to its promises or the target cannot run it.
std::unique_ptr<Executable> compile(ir::Kernel& kernel, const Schedule& schedule, const std::shared_ptr<const SourceMap>& sources,
                                    const CompileOptions& options, Diagnostics& diagnostics);

}  // namespace tessera
