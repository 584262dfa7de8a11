// tessera bench FILE: how fast a kernel is on random tensors of a given size.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "runtime/cli/commands.h"
#include "runtime/cli/invocation.h"

namespace tessera::cli {
namespace {

struct BenchOptions {
  InvocationOptions invocation;
  std::vector<std::string> sizes;
  double seconds = 1;
  bool cold = false;
};

void bench(BenchOptions options, Report& report) {
  options.invocation.sizes = sizes_from_text(options.sizes);
  options.invocation.random_inputs = true;
  Invocation call(options.invocation, report);
  const double seconds = call.median_seconds(options.seconds, options.cold);
  const Work work = call.work();
  report.fields["kernel"] = call.kernel().name();
  report.fields["target"] = options.invocation.kernel.target;
  report.fields["threads"] = call.context().threads();
  report.fields["device"] = call.context().description();
  llvm::json::Object constants, sizes;
  std::vector<std::string> shown;
  for (const auto& [n, value] : call.kernel().constants()) {
    constants[n] = value;
    shown.push_back(fmt::format("{}={}", n, value));
  }
  for (const auto& [n, value] : call.symbols()) {
    sizes[n] = value;
    shown.push_back(fmt::format("{}={}", n, value));
  }
  report.fields["constants"] = std::move(constants);
  report.fields["sizes"] = std::move(sizes);
  report.fields["median_s"] = seconds;
  report.fields["bytes"] = work.bytes;
  report.fields["bytes_per_s"] = static_cast<double>(work.bytes) / seconds;
  const std::string& target = options.invocation.kernel.target;
  const std::string where = call.context().is_cuda()
                                ? call.context().description()
                                : fmt::format("{}, {} thread{}", target, call.context().threads(), call.context().threads() == 1 ? "" : "s");
  report.line(fmt::format("{} on {}: {}", call.kernel().name(), where, fmt::join(shown, " ")));
  report.line(seconds < 1e-3 ? fmt::format("median {:.2f} us", seconds * 1e6) : fmt::format("median {:.3f} ms", seconds * 1e3));
  if (work.flops) {
    report.fields["flops"] = *work.flops;
    report.fields["flops_per_s"] = *work.flops / seconds;
    const double rate = *work.flops / seconds;
    report.line(fmt::format("{:.2f} {}FLOP/s of products ({:.4g} FLOP)", rate * (rate < 1e12 ? 1e-9 : 1e-12), rate < 1e12 ? "G" : "T", *work.flops));
  } else {
    report.fields["flops"] = nullptr;
    report.fields["flops_per_s"] = nullptr;
    report.line("FLOP/s unknown: a loop around a product depends on data");
  }
  report.line(
      fmt::format("{:.2f} GB/s of the views ({:.4g} bytes)", static_cast<double>(work.bytes) / seconds * 1e-9, static_cast<double>(work.bytes)));
}

}  // namespace

void add_bench(CLI::App& app, Action& action) {
  CLI::App* sub = app.add_subcommand("bench", "time a kernel on random tensors");
  auto o = std::make_shared<BenchOptions>();
  add_kernel_options(*sub, o->invocation.kernel, true);
  add_random_inputs(*sub, o->invocation, o->sizes);
  sub->add_option("--seconds", o->seconds, "how long to repeat")->check(CLI::Range(0.0, 600.0))->capture_default_str();
  sub->add_flag("--cold", o->cold, "on a GPU: empty its L2 cache before each launch");
  sub->callback([&action, o] { action = [o](Report& r) { bench(*o, r); }; });
}

}  // namespace tessera::cli
