#include "codegen/cpu/prefetch.h"

#include "codegen/cpu/operand.h"

namespace tessera::cpu {

using ir::Op;
using ir::OpKind;
using LV = llvm::Value;

namespace {

/// The loop whose variable `v` is.
const Op* loop_of(const ir::Value* v) {
  if (v->def || v->index != 0 || !v->block->parent || v->block->parent->kind != OpKind::For) return nullptr;
  return v->block->parent;
}

/// How far `v` moves with the first grid axis: it is that index, or a constant multiple of it.
std::int64_t grid_step(const ir::Kernel& kernel, const ir::Value* v) {
  const std::size_t parameters = kernel.body.args.size() - kernel.grid.size();
  if (!v->def) return v->block == &kernel.body && static_cast<std::size_t>(v->index) == parameters && !kernel.grid.empty() ? 1 : 0;
  if (v->def->kind != OpKind::Mul) return 0;
  for (std::size_t i = 0; i < 2; ++i)
    if (const auto factor = ir::constant_int(v->def->operands[1 - i])) return *factor * grid_step(kernel, v->def->operands[i]);
  return 0;
}

}  // namespace

LV* next_step(Evaluator& ev, const Op& load) {
  Emitter& e = ev.emitter();
  const ViewPtr view = ev.view(load.operands[0]);
  const Op* loop = nullptr;
  LV *loop_stride = nullptr, *instance = nullptr;
  for (std::size_t i = 1; i < load.operands.size(); ++i) {
    const ir::Value* o = load.operands[i];
    const ir::Value* start = ir::is_range(o->type) ? o->def->operands[0] : o;
    if (!is_unit(start)) continue;
    const auto walk = walk_along(*view, view_axis(i));
    if (!walk) continue;
    if (const Op* l = loop_of(start)) {
      loop = l;
      loop_stride = walk->stride;
    } else if (const std::int64_t step = grid_step(ev.analysis().kernel(), start); step != 0) {
      instance = e.mul(walk->stride, e.idx(step));
    }
  }
  if (!loop) return nullptr;
  LV* step = ev.scalar(loop->operands[2]);
  LV* trip = e.mul(loop_stride, step);
  if (!instance) return trip;
  LV* iv = ev.scalar(loop->region().args[0].get());
  LV* last = e.b.CreateICmpSGE(e.add(iv, step), ev.scalar(loop->operands[1]));
  LV* back = e.mul(loop_stride, e.sub(iv, ev.scalar(loop->operands[0])));
  return e.b.CreateSelect(last, e.sub(instance, back), trip);
}

}  // namespace tessera::cpu
