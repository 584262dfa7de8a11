// tessera opt --pass=NAME FILE.ir: passes on Tile IR text, one after the other, verified after each.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "dsl/text.h"
#include "dsl/verify.h"
#include "runtime/cli/commands.h"
#include "runtime/compile.h"
#include "runtime/errors.h"
#include "runtime/files.h"

namespace tessera::cli {
namespace {

struct OptOptions {
  std::string file, out = "-";
  std::vector<std::string> passes;
  bool list = false;
};

void opt(const OptOptions& options, Report& report) {
  const std::vector<std::string> known = pass_names();
  if (options.list) {
    llvm::json::Array names;
    for (const std::string& n : known) {
      report.line(n);
      names.push_back(n);
    }
    report.fields["passes"] = std::move(names);
    return;
  }
  for (const std::string& p : options.passes) {
    if (std::find(known.begin(), known.end(), p) != known.end()) continue;
    const std::string near = did_you_mean(p, known);
    fail(Code::E0802, fmt::format("there is no pass `{}`", p),
         near.empty() ? fmt::format("there are {}", fmt::join(known, ", ")) : fmt::format("did you mean `{}`?", near));
  }
  SourceMap sources;
  Diagnostics diagnostics;
  const std::string text = read_file(options.file, 64 << 20);
  const FileId file = sources.add(options.file, text);
  const std::unique_ptr<ir::Kernel> kernel = ir::parse_kernel(sources, file, diagnostics);
  if (diagnostics.any()) throw to_error(diagnostics, sources);
  // What a hand wrote may break the rules: that is the user's error, not ours.
  if (const std::vector<std::string> wrong = ir::verify(*kernel); !wrong.empty())
    fail(Code::E0803, fmt::format("`{}` is unsound: {}", options.file, fmt::join(wrong, "; ")));
  guarded(
      [&] {
        for (const std::string& p : options.passes) {
          run_pass(p, *kernel, diagnostics);
          if (diagnostics.any()) throw to_error(diagnostics, sources);
          ir::verify_or_die(*kernel, p);
        }
      },
      [&] { return text; });
  emit(report, options.out, ir::print(*kernel));
}

}  // namespace

void add_opt(CLI::App& app, Action& action) {
  CLI::App* sub = app.add_subcommand("opt", "run passes on Tile IR text");
  auto o = std::make_shared<OptOptions>();
  CLI::Option* file = sub->add_option("FILE", o->file, "Tile IR, as `tessera compile --emit ir` prints it");
  sub->add_option("--pass", o->passes, "name of a pass; repeat it or use commas")->delimiter(',')->allow_extra_args(false);
  CLI::Option* list = sub->add_flag("--list", o->list, "list the passes");
  sub->add_option("-o", o->out, "file to write; `-` is stdout")->capture_default_str();
  sub->callback([&action, o, file, list] {
    if (file->empty() && list->empty()) throw CLI::RequiredError("FILE");
    action = [o](Report& r) { opt(*o, r); };
  });
}

}  // namespace tessera::cli
