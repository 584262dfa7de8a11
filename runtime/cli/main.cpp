// The `tessera` command. Exit codes: 0 ok, 1 the user's error, 2 usage, 3 the machine's, 70 internal.
#include <fmt/format.h>
#include <llvm/Config/llvm-config.h>

#include <algorithm>

#include "runtime/cli/commands.h"
#include "runtime/errors.h"

namespace tessera::cli {
namespace {

/// `--const A=1 B=2` is `--const A=1 --const B=2`; a word without `=` is the next argument.
std::vector<std::string> spread(int argc, char** argv) {
  std::vector<std::string> out;
  std::string option;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const bool takes_pairs = word == "--const" || word == "--arg" || word == "--shape" || word == "--size";
    if (takes_pairs || word.starts_with("-") || word.find('=') == std::string::npos) {
      option.clear();
    } else if (!option.empty() && out.back() != option) {
      out.push_back(option);
    }
    if (takes_pairs) option = word;
    out.push_back(word);
  }
  std::reverse(out.begin(), out.end());  // CLI11 takes vectors from the back
  return out;
}

int run(int argc, char** argv) {
  CLI::App app{"Tile kernels for attention and language models, compiled for this machine", "tessera"};
  Report report;
  Action action;
  std::string command;
  app.require_subcommand(1);
  app.set_version_flag("--version", fmt::format("tessera {} (LLVM {})", TESSERA_VERSION, LLVM_VERSION_STRING));
  add_check(app, action);
  add_fmt(app, action);
  add_explain(app, action);
  add_explain_kernel(app, action);
  add_ops(app, action);
  add_targets(app, action);
  add_header(app, action);
  add_opt(app, action);
  add_compile(app, action);
  add_run(app, action);
  add_bench(app, action);
  add_tune(app, action);
  add_bundle(app, action);
  add_cache(app, action);
  app.add_flag("--json", report.json, "one JSON object on stdout instead of text");
  for (CLI::App* sub : app.get_subcommands({})) sub->add_flag("--json", report.json, "one JSON object on stdout instead of text");

  std::vector<std::string> words = spread(argc, argv);
  // Known before the command line is understood, so that a usage error can be reported as asked.
  const bool json = std::find(words.begin(), words.end(), "--json") != words.end();
  try {
    app.parse(std::move(words));
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    report.json = json;
    report.error(Usage, "usage", e.what());
    report.remark("run `tessera --help` or `tessera COMMAND --help`");
    report.finish("");
    return report.exit;
  }
  command = app.get_subcommands().front()->get_name();
  try {
    guarded([&] { action(report); });
  } catch (const Error& e) {
    report.error(e);
  }
  report.finish(command);
  if (std::fflush(stdout) != 0 && report.exit == Ok) {
    fmt::print(stderr, "error: cannot write to standard output\n");
    report.exit = MachineTrouble;
  }
  return report.exit;
}

}  // namespace
}  // namespace tessera::cli

int main(int argc, char** argv) {
  try {
    return tessera::cli::run(argc, argv);
  } catch (const std::exception& e) {
    fmt::print(stderr, "internal error: {}; please report it\n", e.what());
    return tessera::cli::Internal;
  }
}
