// Accumulation loops: for iv { acc += a[.., iv ..] @ b[iv .., ..] } and nothing else. The author's k tile then is only a hint: the loop is one
// product over its whole range of k, blocked for the caches (CPU targets have no use for the small tile).
#include <algorithm>

#include "codegen/cpu/operand.h"
#include "codegen/cpu/plan_block.h"

namespace tessera::cpu {

using ir::Attr;
using ir::Op;
using ir::OpKind;
using ir::Value;

namespace {

bool only_lazy_but(const Analysis& analysis, const ir::Block& body, const Op* dot) {
  return std::all_of(body.ops.begin(), body.ops.end(), [&](const auto& op) {
    return op.get() == dot || op->kind == OpKind::Yield || op->kind == OpKind::Range || ir::has(op->kind, ir::OnView) ||
           (Analysis::lazy_op(*op) && !analysis.stored(op->result()));
  });
}

/// The range runs along the loop: its start is the loop's variable and its size the loop's step, so that trips meet without gaps.
bool along_loop(const Value* range, const Op& loop) {
  const Op& r = *range->def;
  const auto step = ir::constant_int(loop.operands[2]);
  return r.operands[0] == loop.region().args[0].get() && step && *step == ir::range(range->type).size;
}

bool outside(const Value* v, const Op& loop) {
  if (Analysis::home_block(v) != &loop.region()) return true;
  // Ranges and views may stand inside as long as nothing of them changes from trip to trip.
  if (!v->def || v == loop.region().args[0].get()) return false;
  if (!Analysis::lazy_op(*v->def) && !ir::has(v->def->kind, ir::OnView) && v->def->kind != OpKind::Range) return false;
  return std::all_of(v->def->operands.begin(), v->def->operands.end(), [&](const Value* o) { return outside(o, loop); });
}

}  // namespace

bool BlockPlanner::plan_gemm_loop(const Op& op) {
  if (op.kind != OpKind::For || op.results.size() != 1 || is_unit(op.result())) return false;
  const ir::Block& body = op.region();
  const Value* acc = body.args[1].get();
  const Value* next = body.yielded()[0];
  if (!next->def || next->def->kind != OpKind::Add || analysis_.stored(next)) return false;
  const Op& sum = *next->def;
  const Value* product = sum.operands[0] == acc ? sum.operands[1] : sum.operands[0];
  if ((sum.operands[0] == acc) == (sum.operands[1] == acc)) return false;
  if (!product->def || product->def->kind != OpKind::Dot || product->def->parent != &body) return false;
  const Op& dot = *product->def;
  if (analysis_.uses(product).size() != 1 || analysis_.uses(acc).size() != 1 || analysis_.uses(next).size() != 1) return false;
  if (dtype(product) != dtype(acc) || !only_lazy_but(analysis_, body, &dot)) return false;
  const Product p = product_for(dtype(dot.operands[0]), dtype(dot.operands[1]), plan_.target_);
  for (std::size_t i = 0; i < 2; ++i) {
    const Value* v = dot.operands[i];
    const auto t = loaded_tile(analysis_, v);
    if (!t || t->changing || bits(dtype(v)) < 8) return false;
    const std::size_t k_axis = i == 0 ? 1 : 0;
    const Value* along = t->load->operands[t->index[k_axis]];
    const Value* across = t->load->operands[t->index[1 - k_axis]];
    if (!along_loop(along, op) || !outside(across, op) || !outside(t->load->operands[0], op)) return false;
    for (std::size_t o = 1; o < t->load->operands.size(); ++o)
      if (!ir::is_range(t->load->operands[o]->type) && !outside(t->load->operands[o], op)) return false;
    for (const Value* r : {along, across}) {
      const bool full = r->def->int_attr(Attr::Full) != 0;
      if (!full && !analysis_.starts_inside(*r->def)) return false;
    }
    // Bounds of k must not change from trip to trip either.
    if (!outside(along->def->operands[1], op) || !outside(along->def->operands[2], op)) return false;
    if (!contiguous_axis(v)) return false;
  }
  const RegisterBlock block = register_block(p, plan_.target_);
  Layout l = whole_layout(dims(acc), 1);
  l.strip = round_up(dims(acc)[1], static_cast<std::int64_t>(block.vectors) * kLanes);
  plan_.layouts_[acc] = l;
  const Value* first = op.operands[3];
  plan_.gemm_loops_[&op] = {&dot, is_float(dtype(first)) ? ir::constant_float(first) == 0.0 : ir::constant_int(first) == 0};
  return true;
}

}  // namespace tessera::cpu
