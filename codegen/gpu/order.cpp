// The order of the grid's instances: those with more trips first, so that the last ones to run are short.
#include <algorithm>

#include "codegen/gpu/plan.h"
#include "codegen/gpu/trends.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;
using ir::Value;

namespace {

/// A rising scalar that stands still over the first values of the axis: a maximum with what does not depend on it, or made of such.
bool starts_flat(Trends& trends, const Value* v) {
  if (!v->def || trends.trend(v) != Trend::Up) return false;
  const std::vector<Value*>& from = v->def->operands;
  if (v->def->kind == OpKind::Max && std::any_of(from.begin(), from.end(), [&](const Value* o) { return trends.trend(o) == Trend::None; }))
    return true;
  return std::all_of(from.begin(), from.end(), [&](const Value* o) { return trends.trend(o) == Trend::None || starts_flat(trends, o); });
}

}  // namespace

void Plan::order_instances() {
  std::vector<const Op*> loops;
  std::set<const Value*> ends;
  ir::walk(kernel_.body, [&](const Op& op) {
    if (op.kind != OpKind::For) return;
    loops.push_back(&op);
    ends.insert(op.operands[1]);
  });
  const std::size_t first = kernel_.body.args.size() - kernel_.grid.size();
  for (std::size_t a = 0; a < kernel_.grid.size(); ++a) {
    Trends trends(kernel_.body.args[first + a].get());
    Trend end = Trend::None, start = Trend::None;
    bool flat = true;
    for (const Op* loop : loops) {
      end = both(end, trends.trend(loop->operands[1]));
      // Where one loop goes on from another's end, the end alone counts.
      if (ends.count(loop->operands[0]) != 0) continue;
      const Trend t = trends.trend(loop->operands[0]);
      start = both(start, t);
      flat = flat && (t == Trend::None || starts_flat(trends, loop->operands[0]));
    }
    // A window that moves is cut short at the beginning: the first instances have fewer trips than the others.
    const bool window = end == Trend::Up && start == Trend::Up && flat;
    descending_.push_back((both(end, flip(start)) == Trend::Up || window) && !wishes_.row_major);
  }
}

std::optional<std::size_t> Plan::uneven_axis() const {
  const auto at = std::find(descending_.begin(), descending_.end(), true);
  if (at == descending_.end() || descending_.size() < 2) return std::nullopt;
  return static_cast<std::size_t>(at - descending_.begin());
}

}  // namespace tessera::gpu
