#include "codegen/passes/named.h"

#include <fmt/format.h>

#include <algorithm>

namespace tessera::ir {

std::vector<const Value*> named(const Kernel& kernel, std::string_view name) {
  std::vector<const Value*> out;
  const auto add = [&](const auto& values) {
    for (const auto& v : values) {
      if (v->hint == name) out.push_back(v.get());
    }
  };
  add(kernel.body.args);
  walk(kernel.body, [&](const Op& op) {
    add(op.results);
    for (const auto& region : op.regions) add(region->args);
  });
  return out;
}

std::vector<const Op*> loops_named(const Kernel& kernel, std::string_view name) {
  std::vector<const Op*> out;
  for (const Value* v : named(kernel, name)) {
    const Op* op = v->def ? nullptr : v->block->parent;
    if (op && op->kind == OpKind::For && v->index == 0) out.push_back(op);
  }
  return out;
}

bool has_axis(const Kernel& kernel, std::string_view name) {
  return std::any_of(kernel.grid.begin(), kernel.grid.end(), [&](const GridAxis& a) { return a.name == name; });
}

std::string why_no_loop(const Kernel& kernel, std::string_view name) {
  if (!loops_named(kernel, name).empty()) return "";
  if (has_axis(kernel, name)) return fmt::format("`{}` is an axis of the grid, each of whose instances runs by itself", name);
  return named(kernel, name).empty() ? "" : fmt::format("`{}` is no variable of a loop whose trips are counted", name);
}

}  // namespace tessera::ir
