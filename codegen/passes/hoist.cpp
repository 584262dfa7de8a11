#include "codegen/passes/hoist.h"

#include <algorithm>
#include <set>

#include "codegen/passes/rewrite.h"

namespace tessera::ir {

namespace {

bool movable(const Op& op) {
  if (op.kind == OpKind::Load) return view(op.operands[0]->type).mode == Mode::In;
  return has(op.kind, Trait::Pure);
}

void collect_defined(const Block& block, std::set<const Value*>& out) {
  for (const auto& a : block.args) out.insert(a.get());
  for (const auto& op : block.ops) {
    for (const auto& r : op->results) out.insert(r.get());
    for (const auto& region : op->regions) collect_defined(*region, out);
  }
}

bool uses_any(const Op& op, const std::set<const Value*>& values) {
  if (std::any_of(op.operands.begin(), op.operands.end(), [&](const Value* v) { return values.count(v) != 0; })) return true;
  for (const auto& r : op.regions)  // the combining function of a fold
    for (const auto& inner : r->ops)
      if (std::any_of(inner->operands.begin(), inner->operands.end(),
                      [&](const Value* v) { return values.count(v) != 0 && !(v->def ? inside_block(*v->def, *r) : v->block == r.get()); }))
        return true;
  return false;
}

bool gives_scalars(const Op& op) {
  return std::all_of(op.results.begin(), op.results.end(), [](const auto& r) { return is_scalar(r->type); });
}

/// Before the loop at `k`. Scalars go on, before loops right in front of that: what stands between two loops keeps them from being parts of one.
/// Returns how far the loop has moved.
std::size_t put_before(Block& block, std::size_t k, Block& moved) {
  std::size_t first = k;
  std::set<const Value*> made;  // by those loops, and by what stays behind them
  while (first > 0 && (block.ops[first - 1]->kind == OpKind::For || block.ops[first - 1]->kind == OpKind::While)) {
    --first;
    for (const auto& r : block.ops[first]->results) made.insert(r.get());
  }
  Block far, near;
  for (auto& op : moved.ops) {
    const bool goes_on = gives_scalars(*op) && !uses_any(*op, made);
    for (const auto& r : op->results) {
      if (!goes_on) made.insert(r.get());
    }
    (goes_on ? far : near).ops.push_back(std::move(op));
  }
  const std::size_t n = far.ops.size(), all = n + near.ops.size();
  splice(block, k, near);
  splice(block, first, far);
  return all;
}

bool hoist_from(Block& block) {
  bool changed = false;
  for (std::size_t k = 0; k < block.ops.size(); ++k) {
    Op& op = *block.ops[k];
    for (const auto& region : op.regions) changed |= hoist_from(*region);
    if (op.kind != OpKind::For && op.kind != OpKind::While) continue;
    for (const auto& region : op.regions) {
      std::set<const Value*> defined;
      collect_defined(*region, defined);
      Block moved;
      for (auto& inner : region->ops) {
        if (!movable(*inner) || uses_any(*inner, defined)) continue;
        for (const auto& r : inner->results) defined.erase(r.get());
        moved.ops.push_back(std::move(inner));
      }
      if (moved.ops.empty()) continue;
      std::erase(region->ops, nullptr);
      k += put_before(block, k, moved);
      changed = true;
    }
  }
  return changed;
}

}  // namespace

bool hoist_invariants(Kernel& kernel) { return hoist_from(kernel.body); }

}  // namespace tessera::ir
