#include <algorithm>
#include <map>

#include "codegen/gpu/plan.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;

namespace {

/// What is worth computing once: dozens of instructions.
bool costly(OpKind k) {
  return k == OpKind::Sin || k == OpKind::Cos || k == OpKind::Ln || k == OpKind::Log2 || k == OpKind::Tanh || k == OpKind::Erf;
}

bool lazy_kind(OpKind k) {
  if (ir::has(k, ir::Elementwise)) return !costly(k);
  return k == OpKind::Const || k == OpKind::Iota || k == OpKind::Coords || k == OpKind::Inside || k == OpKind::Broadcast || k == OpKind::Reshape ||
         k == OpKind::Permute || k == OpKind::Slice;
}

// Lazy expressions are emitted from their users down, what is shared in them once for each use: these bound the stack and the code.
constexpr int kMostDepth = 128, kMostNodes = 1 << 12;

struct Reach {
  int depth = 0, nodes = 0;
};

/// Floats of 16 bits or of 8.
bool is_short(DType t) { return is_half(t) || t == DType::E4M3 || t == DType::E5M2; }

/// Whether `v` is made, element by element or as an extreme of elements, from a product of tiles of at most 16 bits.
bool from_short_product(const ir::Value* v, std::set<const ir::Value*>& seen) {
  const Op* op = v->def;
  if (!op || !seen.insert(v).second) return false;
  if (op->kind == OpKind::Dot) return is_short(dtype(op->operands[0])) && is_short(dtype(op->operands[1]));
  const bool extreme = op->kind == OpKind::Reduce && (op->int_attr(ir::Attr::Kind) == static_cast<std::int64_t>(ir::ReduceKind::Max) ||
                                                      op->int_attr(ir::Attr::Kind) == static_cast<std::int64_t>(ir::ReduceKind::Min));
  if (!ir::has(op->kind, ir::Elementwise) && op->kind != OpKind::Broadcast && op->kind != OpKind::Permute && !extreme) return false;
  return std::any_of(op->operands.begin(), op->operands.end(), [&](const ir::Value* o) { return from_short_product(o, seen); });
}

}  // namespace

/// Whether all that depends on `v` is rounded to at most 16 bits before it leaves the kernel or decides what runs.
bool Uses::ends_in_shorts(const ir::Value* v) const {
  std::set<const ir::Value*> seen;
  std::vector<const ir::Value*> work = {v};
  while (!work.empty()) {
    const ir::Value* x = work.back();
    work.pop_back();
    if (!seen.insert(x).second) continue;
    for (const Op* use : of(x)) {
      if (use->kind == OpKind::Cast && is_short(dtype(use->result()))) continue;
      if (use->kind == OpKind::For || use->kind == OpKind::Yield) {
        // Carried values; the loop that a yield belongs to.
        const Op* loop = use->kind == OpKind::For ? use : use->parent->parent;
        const std::size_t first = use->kind == OpKind::For ? 3 : 0;
        if (!loop || loop->kind != OpKind::For) return false;
        for (std::size_t i = 0; i < use->operands.size(); ++i) {
          if (use->operands[i] != x) continue;
          if (i < first) return false;
          work.insert(work.end(), {loop->result(i - first), loop->region().args[1 + i - first].get()});
        }
        continue;
      }
      const bool tiles = ir::has(use->kind, ir::Elementwise) || use->kind == OpKind::Broadcast || use->kind == OpKind::Permute ||
                         use->kind == OpKind::Reshape || use->kind == OpKind::Reduce || use->kind == OpKind::Dot;
      if (!tiles) return false;
      work.push_back(use->result());
    }
  }
  return true;
}

Uses::Uses(const ir::Kernel& kernel) : params_(kernel.body.args.size() - kernel.grid.size()) {
  ir::walk(kernel.body, [&](const Op& op) {
    if (op.kind == OpKind::Load || op.kind == OpKind::FetchAdd) read_.insert(parameter_index(kernel, op.operands[0]));
  });
  std::map<const ir::Value*, Reach> reach;
  ir::walk(kernel.body, [&](const Op& op) {
    const bool shaped = lazy_kind(op.kind) || (ir::has(op.kind, ir::Elementwise) && costly(op.kind));
    bool lazy = lazy_kind(op.kind) && is_real_tile(op.result());
    bool computed = shaped && is_real_tile(op.result());
    Reach r{1, 1};
    for (const ir::Value* v : op.operands) {
      uses_[v].push_back(&op);
      const bool known = ir::is_range(v->type) || is_scalar(v);
      lazy = lazy && (known || lazy_.count(v) != 0);
      computed = computed && (known || lazy_.count(v) != 0 || computed_.count(v) != 0);
      if (const auto below = reach.find(v); below != reach.end()) {
        r.depth = std::max(r.depth, below->second.depth + 1);
        r.nodes += below->second.nodes;
      }
    }
    if (!lazy && computed) computed_.insert(op.result());
    if (!lazy || r.depth > kMostDepth || r.nodes > kMostNodes) return;
    lazy_.insert(op.result());
    reach[op.result()] = r;
  });
  ir::walk(kernel.body, [&](const Op& op) {
    std::set<const ir::Value*> seen;
    const bool rough = op.kind == OpKind::Tanh || op.kind == OpKind::Exp2 || op.kind == OpKind::Sigmoid;
    if (rough && !kernel.strict && from_short_product(op.operands[0], seen) && ends_in_shorts(op.result())) coarse_.insert(&op);
  });
}

bool Uses::own(const Op& load) const {
  std::set<const ir::Value*> seen;
  std::vector<const ir::Value*> work(load.operands.begin(), load.operands.end());
  while (!work.empty()) {
    const ir::Value* v = work.back();
    work.pop_back();
    if (!seen.insert(v).second) continue;
    if (v->def) {
      work.insert(work.end(), v->def->operands.begin(), v->def->operands.end());
    } else if (v->block && v->block->parent) {
      const Op& around = *v->block->parent;
      work.insert(work.end(), around.operands.begin(), around.operands.end());
    } else if (!ir::is_view(v->type) && v->index >= params_) {
      return true;
    }
  }
  return false;
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
