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

}  // namespace

Uses::Uses(const ir::Kernel& kernel) {
  ir::walk(kernel.body, [&](const Op& op) {
    bool lazy = lazy_kind(op.kind) && is_real_tile(op.result());
    for (const ir::Value* v : op.operands) {
      uses_[v].push_back(&op);
      lazy = lazy && (ir::is_range(v->type) || is_scalar(v) || lazy_.count(v) != 0);
    }
    if (lazy) lazy_.insert(op.result());
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
