// Scans, and folds by a region. The folded axis is walked in order; another axis, where there is one, lies in lanes.
#include "codegen/cpu/arith.h"
#include "codegen/cpu/emit.h"
#include "dsl/diagnostic.h"

namespace tessera::cpu {

using ir::Attr;
using ir::Op;
using ir::OpKind;
using LV = llvm::Value;

namespace {

bool lazy_region(const ir::Block& block) {
  for (const auto& op : block.ops)
    if (op->kind != OpKind::Yield && !Analysis::lazy_op(*op)) return false;
  return true;
}

}  // namespace

void KernelEmitter::emit_fold(const Sink& s) {
  const Op& op = *s.op;
  const bool scan = op.kind != OpKind::ReduceWith;
  const bool by_region = op.kind != OpKind::Scan;
  const auto axis = static_cast<std::size_t>(s.axis);
  const std::size_t n = by_region ? op.operands.size() / 2 : 1;
  const bool reverse = op.int_attr(Attr::Reverse) != 0;
  const bool exclusive = op.int_attr(Attr::Exclusive) != 0;
  const auto kind = static_cast<ir::ReduceKind>(op.int_attr(Attr::Kind));
  for (const auto& r : op.results)
    if (!is_unit(r.get())) ensure_buffer(r.get());
  // Lanes: the last axis if it is not the folded one; a region with control flow runs on scalars.
  int lane = -1;
  for (std::size_t a = 0; a < s.space.size(); ++a)
    if (s.space[a] != 1) lane = static_cast<int>(a);
  if (lane == s.axis || (by_region && !lazy_region(op.region()))) lane = -1;
  std::vector<std::pair<const ir::Value*, Lanes>> units;
  Coords at(s.space.size(), lanes(e_.idx(0)));

  auto element = [&](std::size_t i, LV* x, DType t, bool vector) {
    (void)i;
    x = by_region ? x : to_accumulator(e_, t, x);
    return vector && !x->getType()->isVectorTy() ? e_.splat(x) : x;
  };
  auto combine = [&](const Values& acc, const Values& x, bool vector) {
    if (!by_region) return Values{fold_values(e_, kind, dtype(op.operands[0]), acc[0], x[0])};
    ev_->push();
    for (std::size_t i = 0; i < n; ++i) {
      ev_->bind_unit(op.region().args[i].get(), lanes(acc[i]));
      ev_->bind_unit(op.region().args[n + i].get(), lanes(x[i]));
    }
    emit_block(op.region());
    Values r;
    for (const ir::Value* v : op.region().yielded()) {
      LV* y = plain(e_, ev_->eval_unit(v));
      r.push_back(vector && !y->getType()->isVectorTy() ? e_.splat(y) : y);
    }
    ev_->pop();
    return r;
  };
  auto keep = [&](const Values& acc) {
    for (std::size_t i = 0; i < n; ++i) {
      const ir::Value* target = op.result(i);
      LV* y = by_region ? acc[i] : from_accumulator(e_, dtype(target), acc[i]);
      if (is_unit(target))
        units.emplace_back(target, lanes(y));
      else
        ev_->store_buffer(ev_->buffer(target), at, lanes(y));
    }
  };
  // One line of the folded axis for each lane.
  auto line = [&](bool vector) {
    Values acc;
    for (std::size_t i = 0; i < n; ++i) {
      LV* first;
      if (by_region)
        first = plain(e_, ev_->eval_unit(op.operands[n + i]));
      else
        first = exclusive ? fold_identity(e_, kind, dtype(op.operands[0])) : fold_start(e_, kind, dtype(op.operands[0]));
      acc.push_back(vector && !first->getType()->isVectorTy() ? e_.splat(first) : first);
    }
    const std::int64_t extent = s.space[axis];
    acc = e_.loop(e_.idx(0), e_.idx(extent), e_.idx(1), acc, true, [&](LV* iv, llvm::ArrayRef<LV*> carried) {
      ev_->push();
      at[axis] = lanes(reverse ? e_.sub(e_.idx(extent - 1), iv) : iv);
      Values before(carried.begin(), carried.end());
      Values x;
      for (std::size_t i = 0; i < n; ++i) x.push_back(element(i, plain(e_, ev_->eval(op.operands[i], at)), dtype(op.operands[i]), vector));
      if (scan && exclusive) keep(before);
      Values after = combine(before, x, vector);
      if (scan && !exclusive) keep(after);
      ev_->pop();
      return after;
    });
    at[axis] = lanes(e_.idx(0));
    if (!scan) keep(acc);
  };
  std::function<void(std::size_t)> loops = [&](std::size_t a) {
    if (a == s.space.size()) {
      if (lane < 0) return line(false);
      const auto l = static_cast<std::size_t>(lane);
      const std::int64_t extent = s.space[l];
      const std::int64_t whole = extent / kLanes * kLanes;
      auto vectors = [&](LV* base, LV* mask) {
        at[l] = linear_lanes(e_, base, 1, kLanes);
        ev_->set_active(mask);
        ev_->push();
        line(true);
        ev_->pop();
        ev_->set_active(nullptr);
      };
      if (whole > 0) e_.loop(e_.idx(0), e_.idx(whole), e_.idx(kLanes), true, [&](LV* base) { vectors(base, nullptr); });
      if (whole < extent) vectors(e_.idx(whole), e_.lanes_below(e_.idx(extent - whole)));
      return;
    }
    if (static_cast<int>(a) == lane || a == axis || s.space[a] == 1) return loops(a + 1);
    e_.loop(e_.idx(0), e_.idx(s.space[a]), e_.idx(1), true, [&](LV* iv) {
      at[a] = lanes(iv);
      ev_->push();
      loops(a + 1);
      ev_->pop();
    });
  };
  ev_->push();
  loops(0);
  ev_->pop();
  for (const auto& [v, x] : units) ev_->bind_unit(v, x);
}

}  // namespace tessera::cpu
