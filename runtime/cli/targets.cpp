// tessera targets: what kernels can be compiled for here.
#include <fmt/format.h>

#include "codegen/cpu/target.h"
#include "runtime/cli/commands.h"
#include "runtime/compile.h"
#include "runtime/cpu_pool.h"
#include "runtime/cuda_device.h"

namespace tessera::cli {
namespace {

/// The GPUs of this machine, or why there are none.
void gpus(Report& report) {
  llvm::json::Array list;
  try {
    const std::shared_ptr<const cuda::Driver> driver = cuda::Driver::system();
    report.line(fmt::format("\nNVIDIA driver for CUDA {}", driver->version_text()));
    report.fields["driver"] = driver->version_text();
    for (int i = 0; i < driver->devices(); ++i) {
      try {
        const cuda::Device device(driver, i);
        const cuda::Properties& p = device.properties();
        report.line(fmt::format("  cuda:{}  {}, {}, {} multiprocessors, {:.0f} GiB, {:.0f} MiB L2", i, p.name, device.target().name(),
                                p.multiprocessors, static_cast<double>(p.memory_bytes) / (1 << 30), p.l2_bytes / 1048576.0));
        list.push_back(llvm::json::Object{{"name", fmt::format("cuda:{}", i)},
                                          {"device", p.name},
                                          {"architecture", device.target().name()},
                                          {"multiprocessors", p.multiprocessors},
                                          {"memory_bytes", static_cast<std::int64_t>(p.memory_bytes)},
                                          {"l2_bytes", p.l2_bytes},
                                          {"shared_bytes", p.shared_bytes_per_block}});
      } catch (const MachineError& e) {
        report.line(fmt::format("  cuda:{}  {}", i, e.what()));
      }
    }
  } catch (const MachineError& e) {
    report.line(fmt::format("\nno GPU: {}", e.what()));
  }
  report.fields["gpus"] = std::move(list);
}

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
  gpus(report);
}

}  // namespace

void add_targets(CLI::App& app, Action& action) {
  app.add_subcommand("targets", "list the targets and this machine")->callback([&action] { action = targets; });
}

}  // namespace tessera::cli
