// Which loops a schedule's `unroll` directives are about.
#include <fmt/format.h>

#include "codegen/gpu/plan.h"
#include "codegen/passes/named.h"

namespace tessera::gpu {

void Plan::read_unroll_wishes() {
  for (const auto& [name, w] : wishes_.unrolls) {
    for (const ir::Op* loop : ir::loops_named(kernel_, name)) unrolls_[loop] = static_cast<int>(w.number);
    if (const std::string why = ir::why_no_loop(kernel_, name); !why.empty()) refuse(w.span, fmt::format("unroll {}: {}", name, w.number), why);
  }
}

int Plan::unrolled(const ir::Op& loop) const {
  const auto at = unrolls_.find(&loop);
  return at == unrolls_.end() ? 1 : at->second;
}

}  // namespace tessera::gpu
