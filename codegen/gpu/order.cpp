// The order of the grid's instances: those with more trips first, so that the last ones to run are short.
#include <algorithm>

#include "codegen/gpu/plan.h"
#include "codegen/gpu/trends.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;
using ir::Value;

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
    Trend work = Trend::None;
    for (const Op* loop : loops) {
      work = both(work, trends.trend(loop->operands[1]));
      // Where one loop goes on from another's end, the end alone counts.
      if (ends.count(loop->operands[0]) == 0) work = both(work, flip(trends.trend(loop->operands[0])));
    }
    descending_.push_back(work == Trend::Up && !wishes_.row_major);
  }
}

std::optional<std::size_t> Plan::uneven_axis() const {
  const auto at = std::find(descending_.begin(), descending_.end(), true);
  if (at == descending_.end() || descending_.size() < 2) return std::nullopt;
  return static_cast<std::size_t>(at - descending_.begin());
}

}  // namespace tessera::gpu
