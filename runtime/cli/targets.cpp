// tessera targets: what kernels can be compiled for here.
#include <fmt/format.h>

#include "codegen/cpu/target.h"
#include "runtime/cli/commands.h"
#include "runtime/compile.h"
#include "runtime/cpu_pool.h"

namespace tessera::cli {
namespace {

void targets(Report& report) {
  llvm::json::Array list;
  for (Target t : all_targets()) {
    report.line(fmt::format("{:<14}{}", name(t), describe(t)));
    list.push_back(llvm::json::Object{{"name", name(t)}, {"description", describe(t)}});
  }
  report.fields["targets"] = std::move(list);
  const CpuTarget host = CpuTarget::host();
  const int threads = detail::available_processors();
  report.line(fmt::format("\nthis processor: {}, {} thread{}\n  {}", host.cpu, threads, threads == 1 ? "" : "s", host.triple));
  report.fields["host"] = llvm::json::Object{{"triple", host.triple}, {"cpu", host.cpu}, {"features", host.features}, {"threads", threads}};
}

}  // namespace

void add_targets(CLI::App& app, Action& action) {
  app.add_subcommand("targets", "list the targets and this machine")->callback([&action] { action = targets; });
}

}  // namespace tessera::cli
