// tessera run FILE: one launch on tensors from a file, results into another.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "runtime/cli/commands.h"
#include "runtime/cli/invocation.h"

namespace tessera::cli {
namespace {

struct RunOptions {
  InvocationOptions invocation;
  std::string out;
  bool time = false;
};

void run(const RunOptions& options, Report& report) {
  Invocation call(options.invocation, report);
  if (options.time) {
    const double seconds = call.median_seconds(0.5);
    report.fields["median_s"] = seconds;
    report.line(fmt::format("median {:.3f} ms", seconds * 1e3));
  } else {
    call.launch();
    call.fetch();
  }
  std::vector<TensorData> results;
  llvm::json::Object outputs;
  for (const Parameter* p : call.written()) {
    const HostTensor& t = call.tensors().at(p->name);
    results.push_back(to_file(p->name, t));
    llvm::json::Array shape;
    for (std::int64_t e : t.extents()) shape.push_back(e);
    outputs[p->name] = llvm::json::Object{{"dtype", name(p->dtype)}, {"shape", std::move(shape)}};
    report.line(fmt::format("{}: {}[{}]", p->name, p->nominal.empty() ? name(p->dtype) : p->nominal, fmt::join(t.extents(), ", ")));
  }
  report.fields["kernel"] = call.kernel().name();
  report.fields["target"] = options.invocation.kernel.target;
  report.fields["constants"] = constants_of(call.kernel());
  report.fields["outputs"] = std::move(outputs);
  if (!options.out.empty()) write_safetensors(options.out, std::move(results));
}

}  // namespace

void add_run(CLI::App& app, Action& action) {
  CLI::App* sub = app.add_subcommand("run", "run a kernel on tensors from a safetensors file");
  auto o = std::make_shared<RunOptions>();
  add_kernel_options(*sub, o->invocation.kernel, true);
  sub->add_option("--in", o->invocation.in, "safetensors file with the inputs, by parameter name");
  sub->add_option("--arg", o->invocation.scalars, "NAME=VALUE: a scalar")->allow_extra_args(false);
  sub->add_option("--shape", o->invocation.shapes, "NAME=2,3,4: extents of an output that do not follow from the inputs")->allow_extra_args(false);
  sub->add_option("--without", o->invocation.without, "leave out an optional output")->delimiter(',')->allow_extra_args(false);
  sub->add_option("--out", o->out, "safetensors file to write, whole or not at all");
  sub->add_flag("--time", o->time, "launch repeatedly and print the median");
  sub->callback([&action, o] { action = [o](Report& r) { run(*o, r); }; });
}

}  // namespace tessera::cli
