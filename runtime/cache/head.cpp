#include "runtime/cache/head.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "dsl/text.h"

namespace tessera::cache {
namespace {

using ir::OpKind;

/// Ops that the judgement of an assertion on scalars is made of (LaunchPlan::plan_scalar_checks).
bool may_judge(OpKind k) {
  using enum OpKind;
  return k == Const || k == And || k == Lt || k == Le || k == Gt || k == Ge || k == Assert;
}

void keep_judged_assertions(ir::Kernel& kernel) {
  std::set<const ir::Value*> kept;
  for (const auto& arg : kernel.body.args) kept.insert(arg.get());
  std::erase_if(kernel.body.ops, [&](const std::unique_ptr<ir::Op>& op) {
    if (op->kind == OpKind::Yield) return false;
    const bool keep = may_judge(op->kind) && op->regions.empty() &&
                      std::all_of(op->operands.begin(), op->operands.end(), [&](const ir::Value* v) { return kept.contains(v); });
    if (keep) {
      for (const auto& r : op->results) kept.insert(r.get());
    }
    return !keep;
  });
  ir::remove_dead(kernel.body);
}

bool ends_with_path(const std::string& whole, const std::string& end) {
  return whole == end || (whole.size() > end.size() && whole.ends_with(end) && whole[whole.size() - end.size() - 1] == '.');
}

}  // namespace

Head head_of(const ir::Kernel& kernel) {
  const std::unique_ptr<ir::Kernel> head = kernel.clone();
  keep_judged_assertions(*head);
  Head out{ir::print(*head), {kernel.span}};
  for (const ir::Param& p : kernel.params) out.spans.push_back(p.span);
  return out;
}

std::unique_ptr<ir::Kernel> read_head(const Head& head) {
  SourceMap sources;
  Diagnostics diagnostics;
  std::unique_ptr<ir::Kernel> kernel = ir::parse_kernel(sources, sources.add("head", head.text), diagnostics);
  if (!kernel || head.spans.size() != kernel->params.size() + 1) return nullptr;
  kernel->span = head.spans[0];
  for (std::size_t i = 0; i < kernel->params.size(); ++i) kernel->params[i].span = head.spans[i + 1];
  return kernel;
}

std::string canonical_text(const ir::Kernel& kernel, const Schedule& schedule) {
  std::vector<std::string> named;
  for (const ScheduleDirective& d : schedule.directives) {
    for (const ScheduleArg& a : d.args) named.push_back(a.subject);
  }
  const auto spoken_of = [&](const std::string& hint) {
    return std::any_of(named.begin(), named.end(), [&](const std::string& n) { return ends_with_path(n, hint) || ends_with_path(hint, n); });
  };
  const std::unique_ptr<ir::Kernel> bare = kernel.clone();
  // Passes look whether a value has a name at all, so that much stays.
  const auto strip = [&](std::string& hint) {
    if (!hint.empty() && !spoken_of(hint)) hint = "_";
  };
  for (std::size_t i = 0; i < bare->grid.size(); ++i) {
    if (!spoken_of(bare->grid[i].name)) bare->grid[i].name = fmt::format("g{}", i);
  }
  ir::walk(bare->body, [&](ir::Op& op) {
    for (const auto& r : op.results) strip(r->hint);
    for (const auto& region : op.regions) {
      for (const auto& arg : region->args) strip(arg->hint);
    }
  });
  return ir::print(*bare);
}

std::string schedule_text(const Schedule& schedule) {
  std::string out;
  for (const ScheduleDirective& d : schedule.directives) {
    out += info(d.kind).name;
    for (const ScheduleArg& a : d.args) {
      out += fmt::format(" ({}:{}", a.subject.size(), a.subject);
      out += a.index ? fmt::format(" {}", *a.index) : " -";
      out += a.number ? fmt::format(" {}", *a.number) : " -";
      out += fmt::format(" {})", a.word);
    }
    out += ";";
  }
  return out;
}

std::string places_text(const ir::Kernel& kernel) {
  std::string out;
  ir::walk(kernel.body, [&](const ir::Op& op) { out += fmt::format("{}:{}-{} ", op.span.file, op.span.begin, op.span.end); });
  return out;
}

}  // namespace tessera::cache
