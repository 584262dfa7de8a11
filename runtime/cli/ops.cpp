// tessera ops: the operations of Tile IR, from the op table.
#include <fmt/format.h>

#include "dsl/ir.h"
#include "runtime/cli/commands.h"

namespace tessera::cli {
namespace {

std::string arity(int least, int most) {
  if (most < 0) return fmt::format("{}..", least);
  return least == most ? fmt::format("{}", least) : fmt::format("{}..{}", least, most);
}

void ops(Report& report) {
  llvm::json::Array list;
  for (ir::OpKind k : ir::all_ops()) {
    const ir::OpInfo& i = ir::info(k);
    report.line(fmt::format("{:<14}{:<6}{}", i.name, arity(i.min_operands, i.max_operands), i.doc));
    list.push_back(llvm::json::Object{{"name", i.name},
                                      {"min_operands", i.min_operands},
                                      {"max_operands", i.max_operands},
                                      {"results", i.results},
                                      {"regions", i.regions},
                                      {"pure", ir::has(k, ir::Trait::Pure)},
                                      {"elementwise", ir::has(k, ir::Trait::Elementwise)},
                                      {"doc", i.doc}});
  }
  report.fields["ops"] = std::move(list);
}

}  // namespace

void add_ops(CLI::App& app, Action& action) {
  app.add_subcommand("ops", "list the operations of Tile IR")->callback([&action] { action = ops; });
}

}  // namespace tessera::cli
