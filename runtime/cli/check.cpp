// tessera check FILE...: parse and check, all generic bodies included; no constants are needed.
#include <fmt/format.h>

#include "runtime/cli/commands.h"
#include "runtime/errors.h"
#include "tessera/module.h"

namespace tessera::cli {
namespace {

void check(const std::vector<std::string>& files, Report& report) {
  llvm::json::Array results;
  for (const std::string& file : files) {
    llvm::json::Object result{{"file", llvm::json::fixUTF8(file)}, {"ok", true}};
    try {
      llvm::json::Array kernels;
      std::size_t count = 0;
      for (const KernelOutline& k : load(file).kernels()) {
        llvm::json::Array constants, parameters;
        for (const KernelOutline::Constant& c : k.constants) {
          constants.push_back(llvm::json::Object{{"name", c.name}, {"kind", c.kind}, {"default", c.has_default}, {"tuned", c.tuned}});
        }
        for (const KernelOutline::Declared& p : k.parameters) parameters.push_back(llvm::json::Object{{"name", p.name}, {"type", p.type}});
        kernels.push_back(llvm::json::Object{{"name", k.name}, {"constants", std::move(constants)}, {"parameters", std::move(parameters)}});
        ++count;
      }
      report.line(fmt::format("{}: ok, {} kernel{}", file, count, count == 1 ? "" : "s"));
      result["kernels"] = std::move(kernels);
    } catch (const Error& e) {
      report.error(e);
      result["ok"] = false;
    }
    results.push_back(std::move(result));
  }
  report.fields["files"] = std::move(results);
}

}  // namespace

void add_check(CLI::App& app, Action& action) {
  CLI::App* sub = app.add_subcommand("check", "check .tile files and report all errors");
  auto files = std::make_shared<std::vector<std::string>>();
  sub->add_option("FILE", *files, "source files")->required();
  sub->callback([&action, files] { action = [files](Report& r) { check(*files, r); }; });
}

}  // namespace tessera::cli
