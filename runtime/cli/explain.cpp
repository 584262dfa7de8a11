// tessera explain CODE: what a diagnostic means and how to mend it.
#include <fmt/format.h>

#include "dsl/diagnostic.h"
#include "runtime/cli/commands.h"
#include "runtime/errors.h"

namespace tessera::cli {
namespace {

void explain(const std::string& name, Report& report) {
  const std::optional<Code> code = code_from_name(name);
  if (!code) {
    std::vector<std::string> names;
    for (Code c : all_codes()) names.emplace_back(info(c).name);
    const std::string near = did_you_mean(name, names);
    fail(Code::E0802, fmt::format("there is no diagnostic `{}`", name),
         near.empty() ? "codes look like E0203" : fmt::format("did you mean `{}`?", near));
  }
  const CodeInfo& i = info(*code);
  report.fields["code"] = i.name;
  report.fields["title"] = i.title;
  report.fields["explanation"] = i.explanation;
  report.line(fmt::format("{}: {}\n\n{}", i.name, i.title, i.explanation));
}

}  // namespace

void add_explain(CLI::App& app, Action& action) {
  CLI::App* sub = app.add_subcommand("explain", "explain a diagnostic");
  auto code = std::make_shared<std::string>();
  sub->add_option("CODE", *code, "such as E0203")->required();
  sub->callback([&action, code] { action = [code](Report& r) { explain(*code, r); }; });
}

}  // namespace tessera::cli
