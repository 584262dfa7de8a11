// The commands of `tessera`, one file each. Every function adds a subcommand to `app` whose work goes into `action`, to be run when the command line
// has been read; the work throws tessera::Error, MachineError or InternalError.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "runtime/cli/report.h"

namespace tessera::cli {

using Action = std::function<void(Report&)>;

void add_check(CLI::App& app, Action& action);
void add_fmt(CLI::App& app, Action& action);
void add_explain(CLI::App& app, Action& action);
void add_explain_kernel(CLI::App& app, Action& action);
void add_ops(CLI::App& app, Action& action);
void add_targets(CLI::App& app, Action& action);
void add_header(CLI::App& app, Action& action);
void add_opt(CLI::App& app, Action& action);
void add_compile(CLI::App& app, Action& action);
void add_run(CLI::App& app, Action& action);
void add_bench(CLI::App& app, Action& action);
void add_tune(CLI::App& app, Action& action);
void add_bundle(CLI::App& app, Action& action);
void add_cache(CLI::App& app, Action& action);

}  // namespace tessera::cli
