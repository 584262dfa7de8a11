// Which loops a schedule's `unroll` directives are about.
#include <fmt/format.h>

#include "codegen/gpu/plan.h"
#include "codegen/passes/named.h"

namespace tessera::gpu {

void Plan::read_unroll_wishes() {
  for (const auto& [name, w] : wishes_.unrolls) {
    const std::vector<const ir::Op*> loops = ir::loops_named(kernel_, name);
    for (const ir::Op* loop : loops) unrolls_[loop] = static_cast<int>(w.number);
    const bool axis = ir::has_axis(kernel_, name);
    if (!loops.empty() || (!axis && ir::named(kernel_, name).empty())) continue;
    refuse(w.span, fmt::format("unroll {}: {}", name, w.number),
           fmt::format("`{}` is {}", name,
                       axis ? "an axis of the grid, each of whose instances runs by itself" : "no variable of a loop whose trips are counted"));
  }
}

int Plan::unrolled(const ir::Op& loop) const {
  const auto at = unrolls_.find(&loop);
  return at == unrolls_.end() ? 1 : at->second;
}

}  // namespace tessera::gpu
