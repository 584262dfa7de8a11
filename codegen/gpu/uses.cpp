#include <algorithm>
#include <map>

#include "codegen/gpu/plan.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;

namespace {

bool lazy_kind(OpKind k) {
  if (ir::has(k, ir::Elementwise)) return true;
  return k == OpKind::Const || k == OpKind::Iota || k == OpKind::Coords || k == OpKind::Inside || k == OpKind::Broadcast || k == OpKind::Reshape ||
         k == OpKind::Permute || k == OpKind::Slice;
}

// Lazy expressions are emitted from their users down, what is shared in them once for each use: these bound the stack and the code.
constexpr int kMostDepth = 128, kMostNodes = 1 << 12;

struct Reach {
  int depth = 0, nodes = 0;
};

}  // namespace

Uses::Uses(const ir::Kernel& kernel) {
  std::map<const ir::Value*, Reach> reach;
  ir::walk(kernel.body, [&](const Op& op) {
    bool lazy = lazy_kind(op.kind) && is_real_tile(op.result());
    Reach r{1, 1};
    for (const ir::Value* v : op.operands) {
      uses_[v].push_back(&op);
      lazy = lazy && (ir::is_range(v->type) || is_scalar(v) || lazy_.count(v) != 0);
      if (const auto below = reach.find(v); below != reach.end()) {
        r.depth = std::max(r.depth, below->second.depth + 1);
        r.nodes += below->second.nodes;
      }
    }
    if (!lazy || r.depth > kMostDepth || r.nodes > kMostNodes) return;
    lazy_.insert(op.result());
    reach[op.result()] = r;
  });
}

const std::vector<const Op*>& Uses::of(const ir::Value* v) const {
  static const std::vector<const Op*> none;
  const auto at = uses_.find(v);
  return at == uses_.end() ? none : at->second;
}

bool Uses::inside(const ir::Block* b, const ir::Block* outer) {
  for (; b; b = b->parent ? b->parent->parent : nullptr) {
    if (b == outer) return true;
  }
  return false;
}

}  // namespace tessera::gpu
