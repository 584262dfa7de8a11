// What the commands that compile a kernel share: which file and kernel, its constants, the target, and what to show on the way.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/cli/report.h"
#include "runtime/kernel_impl.h"
#include "tessera/module.h"

namespace tessera::cli {

struct KernelOptions {
  std::string file, kernel, target = "cpu", winners;
  std::vector<std::string> constants, print_after;
  bool time_passes = false, debug = false;
  std::uint64_t seed = 1;
  int threads = 0;
};

/// Adds FILE, --kernel, --const, --target, --winners, --print-after, --time-passes; with `runs` also --threads, --debug and --seed.
void add_kernel_options(CLI::App& sub, KernelOptions& options, bool runs);

/// Splits NAME=VALUE words. Throws Error (E0802) for a name given twice or an empty name. `option` stands in messages.
std::map<std::string, std::string> pairs(const std::vector<std::string>& words, const std::string& option);
/// `2,3,4`. Throws Error (E0802) naming `what`.
std::vector<std::int64_t> extents_from_text(const std::string& text, const std::string& what);

/// The constants of --const. Throws Error (E0802).
Consts consts_from_text(const std::vector<std::string>& words);

/// The file's kernel: the one named, or the only one. Throws Error (E0519) listing them otherwise.
std::string kernel_name(const Module& module, const KernelOptions& options);

/// The file, checked; the time goes to the hooks.
Module load_timed(const KernelOptions& options, const CompileHooks& hooks);

/// The file's kernel with its constants, not compiled yet: for commands that show and do not run. `sizes`: launch symbols known already, for choosing
/// among winners.
AnyKernel uncompiled(const KernelOptions& options, const CompileHooks& hooks, const std::map<std::string, std::int64_t>& sizes = {});
/// The constants a kernel was made with, for the report.
llvm::json::Object constants_of(const AnyKernel& kernel);

/// Hooks that print to stderr and collect times into the report.
CompileHooks hooks_for(const KernelOptions& options, Report& report);

/// A scalar argument from text. Throws Error: E0712 out of range, E0802 not a value of that type or NaN.
Scalar scalar_from_text(const Parameter& parameter, const std::string& text);

/// The context that the options' target runs on. Throws Error: Machine if a GPU is asked for that is not there.
Context context_for(const KernelOptions& options);

/// The winners text: of --winners, else of the file beside the source with the ending .winners, if there is one.
std::string winners_text(const KernelOptions& options);

}  // namespace tessera::cli
