// tessera fmt [--check] FILE...: the canonical text, in place.
#include <fmt/format.h>

#include "frontend/format.h"
#include "frontend/parse.h"
#include "runtime/cli/commands.h"
#include "runtime/errors.h"
#include "runtime/files.h"

namespace tessera::cli {
namespace {

void format_files(const std::vector<std::string>& files, bool check_only, Report& report) {
  llvm::json::Array changed;
  for (const std::string& file : files) {
    try {
      guarded([&] {
        SourceMap sources;
        const std::string text = read_file(file, 64 << 20);
        Diagnostics diagnostics;
        const FileId id = sources.add(file, text);
        const ast::File parsed = parse(sources, id, diagnostics);
        if (diagnostics.any()) throw to_error(diagnostics, sources);
        const std::string canonical = format(sources, parsed);
        if (canonical == text) return;
        changed.push_back(llvm::json::fixUTF8(file));
        if (check_only) {
          report.line(fmt::format("{}: not formatted", file));
          report.exit = std::max<int>(report.exit, UserError);
        } else {
          write_file(file, canonical);
          report.line(fmt::format("{}: formatted", file));
        }
      });
    } catch (const Error& e) {
      report.error(e);
    }
  }
  report.fields["changed"] = std::move(changed);
}

}  // namespace

void add_fmt(CLI::App& app, Action& action) {
  CLI::App* sub = app.add_subcommand("fmt", "bring .tile files into canonical form");
  auto files = std::make_shared<std::vector<std::string>>();
  auto check_only = std::make_shared<bool>(false);
  sub->add_option("FILE", *files, "source files")->required();
  sub->add_flag("--check", *check_only, "change nothing; exit 1 if a file is not in canonical form");
  sub->callback([&action, files, check_only] { action = [=](Report& r) { format_files(*files, *check_only, r); }; });
}

}  // namespace tessera::cli
