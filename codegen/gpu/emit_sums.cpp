// Loops whose products only add to what the loop carries (Plan::sums_up): a warpgroup asks for the products of a trip while those of the trip before
// are under way, and leaves a slot a trip later.
#include <algorithm>
#include <utility>

#include "codegen/gpu/emit.h"
#include "codegen/gpu/ring_loop.h"

namespace tessera::gpu {

using ir::Op;

/// The slot of the trip before, if there was one.
void ThreadEmitter::release_before(const RingLoop& r, LV* slot, LV* any) {
  LV* before = e_.b.CreateSelect(e_.b.CreateICmpEQ(slot, i32(0)), i32(r.slots - 1), e_.b.CreateSub(slot, i32(1)));
  call(e_.b, e_.module, Primitive::WarpSync, {});
  leave_slot(ring_barrier(r, before, true), plan_.shares(r.first().op), any);
}

Values ThreadEmitter::summing_trip(const RingLoop& r, const RingPart& part, LV* iv, llvm::ArrayRef<LV*> carried) {
  const ir::Block& body = part.op.region();
  const ir::Block* const above = std::exchange(block_, &body);
  Turn turn = turn_of(r, carried);
  arrive(r, turn);
  set(body.args[0].get(), {}, {{iv}});
  std::size_t at = 0;
  for (std::size_t i = 0; i < r.results.size(); ++i) bind_flat(body.args[1 + i].get(), layout_of(r.results[i]), carried, at);
  const int before = groups_;
  for (const auto& op : body.ops) {
    if (skipped_.count(op.get()) != 0) continue;
    if (options_.spans) mark_source(op->span);
    emit_op(*op);
  }
  // Sums as they are, still to come: nothing but the next trip's products reads them.
  pending_.clear();
  Values next;
  for (std::size_t i = 0; i < r.results.size(); ++i) flatten(body.yielded()[i], layout_of(r.results[i]), next);
  call(e_.b, e_.module, Primitive::WgmmaWait, {i32(groups_ - before)}, {}, 0, e_.f32());
  release_before(r, turn.slot, e_.b.CreateICmpNE(iv, part.lo));
  go_on(r, turn);
  carry(turn, next);
  block_ = above;
  return next;
}

Values ThreadEmitter::summing_trips(const RingLoop& r, const RingPart& part, const Values& init) {
  Values end =
      trips(part.op, part.lo, part.hi, r.step, init, true, [&](LV* iv, llvm::ArrayRef<LV*> inside) { return summing_trip(r, part, iv, inside); });
  const auto is_sum = [&](const ir::Value* v) {
    const auto& ops = part.op.region().ops;
    return std::any_of(ops.begin(), ops.end(), [&](const auto& op) { return op->kind == ir::OpKind::Dot && plan_.sum_of(*op)->result() == v; });
  };
  std::vector<LV*> sums;
  const auto each_sum = [&](const std::function<void(LV*&)>& f) {
    std::size_t at = 0;
    for (std::size_t i = 0; i < r.results.size(); ++i) {
      const auto n = static_cast<std::size_t>(layout_of(r.results[i]).registers());
      for (std::size_t k = at; k < at + n && is_sum(part.op.region().yielded()[i]); ++k) f(end[k]);
      at += n;
    }
  };
  each_sum([&](LV*& x) { sums.push_back(x); });
  const std::vector<LV*> done = call(e_.b, e_.module, Primitive::WgmmaWait, {i32(0)}, sums, static_cast<int>(sums.size()), e_.f32());
  std::size_t next = 0;
  each_sum([&](LV*& x) { x = done[next++]; });
  release_before(r, turn_of(r, end).slot, e_.b.CreateICmpSLT(part.lo, part.hi));
  return end;
}

}  // namespace tessera::gpu
