// Loops in a row that are parts of one: where a loop was split at computed bounds, the parts share their rings, so that the pipeline does not run
// empty between them.
#include <algorithm>

#include "codegen/gpu/plan.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;
using ir::Value;

namespace {

/// Whether values of two loop bodies are the same function of the loop variable. Ranges count by where they start: their valid parts are checked
/// apart.
bool same(const Value* a, const Value* b, const ir::Block& in_a, const ir::Block& in_b) {
  if (a == b) return true;
  if (!a->def || !b->def) return a->block == &in_a && b->block == &in_b && a->index == 0 && b->index == 0;
  const Op &x = *a->def, &y = *b->def;
  if (x.kind != y.kind || a->type != b->type || x.operands.size() != y.operands.size() || !x.regions.empty()) return false;
  if (x.kind == OpKind::Range) return same(x.operands[0], y.operands[0], in_a, in_b);
  if (x.attrs != y.attrs || !ir::has(x.kind, ir::Pure)) return false;
  for (std::size_t i = 0; i < x.operands.size(); ++i) {
    if (!same(x.operands[i], y.operands[i], in_a, in_b)) return false;
  }
  return true;
}

std::size_t position(const Op& op) {
  const auto& ops = op.parent->ops;
  return static_cast<std::size_t>(std::find_if(ops.begin(), ops.end(), [&](const auto& o) { return o.get() == &op; }) - ops.begin());
}

}  // namespace

bool Plan::goes_on(const Op& loop, const Op& next) const {
  if (next.parent != loop.parent || next.operands[0] != loop.operands[1] || next.results.size() != loop.results.size()) return false;
  if (!same(loop.operands[2], next.operands[2], loop.region(), next.region())) return false;
  for (std::size_t i = 0; i < loop.results.size(); ++i) {
    if (next.operands[3 + i] != loop.result(i) || uses_.of(loop.result(i)).size() != 1) return false;
  }
  const std::vector<int> a = rings_of(loop), b = rings_of(next);
  const std::vector<Skew>&sa = skews_of(loop), &sb = skews_of(next);
  if (a.size() != b.size() || sa.size() != sb.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const Stage &x = stages_[static_cast<std::size_t>(a[i])], &y = stages_[static_cast<std::size_t>(b[i])];
    if (x.rows != y.rows || x.cols != y.cols || x.dtype != y.dtype || x.behind != y.behind || x.slots != y.slots) return false;
    if (x.transposed != y.transposed || x.in_register_order != y.in_register_order) return false;
    if (x.bulk->param != y.bulk->param || x.bulk->axes.size() != y.bulk->axes.size()) return false;
    const std::vector<Value*>&px = x.source->def->operands, &py = y.source->def->operands;
    for (std::size_t o = 0; o < px.size(); ++o) {
      if (!same(px[o], py[o], loop.region(), next.region())) return false;
    }
  }
  for (std::size_t i = 0; i < sa.size(); ++i) {
    const auto scaled = [&](const Skew& s) { return scaled_summand(*s.dot, s.base).has_value(); };
    if (scaled(sa[i]) != scaled(sb[i])) return false;
    if (sa[i].carried != sb[i].carried || layout(sa[i].dot->operands[0]) != layout(sb[i].dot->operands[0])) return false;
  }
  return true;
}

/// What `next` needs is there before `head` begins, but for what the loops in between give.
bool Plan::ready_before(const Op& head, const Op& next) const {
  const std::size_t begin = position(head);
  const auto later = [&](const Value* v) { return v->def && v->def->parent == head.parent && v->def != &next && position(*v->def) > begin; };
  if (later(next.operands[1])) return false;
  bool ready = true;
  ir::walk(next.region(), [&](const Op& op) {
    for (const Value* v : op.operands) ready = ready && !later(v);
  });
  return ready;
}

void Plan::chain_loops() {
  std::vector<const Op*> loops;
  ir::walk(kernel_.body, [&](const Op& op) {
    if (bulk_barriers_.count(&op)) loops.push_back(&op);
  });
  std::set<const Op*> taken;
  for (std::size_t i = 0; i < loops.size(); ++i) {
    if (taken.count(loops[i])) continue;
    const Op* last = loops[i];
    for (std::size_t j = i + 1; j < loops.size(); ++j) {
      if (taken.count(loops[j]) || !goes_on(*last, *loops[j]) || !ready_before(*loops[i], *loops[j])) continue;
      last = loops[j];
      taken.insert(last);
      chains_[loops[i]].push_back(last);
      bulk_barriers_[last] = bulk_barriers_.at(loops[i]);
      const std::vector<int> a = rings_of(*loops[i]), b = rings_of(*last);
      for (std::size_t k = 0; k < a.size(); ++k) stages_[static_cast<std::size_t>(b[k])].offset = stages_[static_cast<std::size_t>(a[k])].offset;
    }
  }
}

const std::vector<const Op*>& Plan::continued_by(const Op& loop) const {
  static const std::vector<const Op*> none;
  const auto at = chains_.find(&loop);
  return at == chains_.end() ? none : at->second;
}

}  // namespace tessera::gpu
