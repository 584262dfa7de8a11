// Loops: plain ones, those whose tiles come through rings of shared memory, and those of which some products run a trip behind (plan.h, Skew).
#include <algorithm>

#include "codegen/gpu/emit.h"
#include "codegen/gpu/ring_loop.h"
#include "dsl/diagnostic.h"

namespace tessera::gpu {

using ir::Op;

void ThreadEmitter::emit_for(const Op& op) { plan_.rings_of(op).empty() ? emit_plain_for(op) : emit_ring_for(op); }

void ThreadEmitter::emit_plain_for(const Op& op) {
  const ir::Block& body = op.region();
  std::vector<const ir::Value*> results;
  Values carried;
  for (std::size_t i = 0; i < op.results.size(); ++i) {
    results.push_back(op.result(i));
    flatten(op.operands[3 + i], layout_of(op.result(i)), carried);
  }
  settle_all();
  SharedState before = state_;
  state_.forget();
  const Values end =
      e_.loop(scalar(op.operands[0]), scalar(op.operands[1]), scalar(op.operands[2]), carried, false, [&](LV* iv, llvm::ArrayRef<LV*> inside) {
        set(body.args[0].get(), {}, {{iv}});
        std::size_t at = 0;
        for (std::size_t i = 0; i < results.size(); ++i) bind_flat(body.args[1 + i].get(), layout_of(results[i]), inside, at);
        emit_block(body);
        Values next = yielded(body, results);
        settle_all();
        return next;
      });
  state_.join(before);
  std::size_t at = 0;
  for (const ir::Value* r : results) bind_flat(r, layout_of(r), end, at);
}

void ThreadEmitter::prefetch(const RingLoop& r, LV* iv, LV* slot, LV* free) {
  // The body goes on with its own trip's coordinates.
  const auto tiles = tiles_;
  const auto ranges = ranges_;
  const auto views = views_;
  if (r.barriers) {
    e_.if_then(maps_encoded_, [&] { bulk_fetch(r, iv, slot, free); }, [&] { copy_fetch(r, iv, slot, free); });
  } else {
    for (int behind = 0; behind <= r.behind; ++behind) {
      LV* trip = nullptr;
      e_.if_then(exists(r, iv, behind, &trip), [&] {
        set(r.op.region().args[0].get(), {}, {{trip}});
        for (const Op* a : plan_.address_ops(r.op, behind)) emit_op(*a);
        for (const int s : r.stages) {
          if (plan_.stages()[static_cast<std::size_t>(s)].behind == behind) stage_load(s, slot);
        }
      });
    }
    call(e_.b, e_.module, Primitive::CpAsyncCommit, {});
  }
  tiles_ = tiles;
  ranges_ = ranges;
  views_ = views;
}

LV* ThreadEmitter::exists(const RingLoop& r, LV* iv, int behind, LV** trip) {
  *trip = r.later(iv, -behind, e_);
  LV* in = e_.b.CreateICmpSLT(*trip, r.hi);
  return behind > 0 ? e_.b.CreateAnd(in, e_.b.CreateICmpSGE(*trip, r.lo)) : in;
}

void ThreadEmitter::arrive(const RingLoop& r, const Turn& turn) {
  settle_all();
  if (r.barriers) {
    call(e_.b, e_.module, Primitive::MbarWait, {ring_barrier(r, turn.slot, false), turn.parity});
  } else {
    call(e_.b, e_.module, Primitive::CpAsyncWait, {i32(r.slots - 2)});
    state_.waited();
    if (plan_.warpgroups()) {
      call(e_.b, e_.module, Primitive::FenceProxyAsync, {});
      state_.fence();
    }
    barrier();
  }
  for (const int s : r.stages) slots_[s] = turn.slot;
}

ThreadEmitter::Turn ThreadEmitter::turn_of(const RingLoop& r, llvm::ArrayRef<LV*> carried) {
  if (!r.barriers) return {carried.back(), nullptr};
  return {carried[carried.size() - 2], carried.back()};
}

void ThreadEmitter::issue_behind(const RingLoop& r, llvm::ArrayRef<LV*> carried, std::vector<const ir::Value*> results) {
  // Operands and sums of the trip before, from what it left.
  std::size_t at = 0;
  std::vector<std::pair<const Skew*, const ir::Value*>> order;
  for (std::size_t i = 0; i < r.results.size(); ++i) {
    const Layout& l = layout_of(r.results[i]);
    const Skew* s = r.skew_at(i);
    if (!s) {
      at += static_cast<std::size_t>(l.registers());
      continue;
    }
    Elements base;
    for (std::int64_t k = 0; k < l.registers(); ++k) base.push_back({carried[at++]});
    set(s->base, l, std::move(base));
    order.emplace_back(s, results[i]);
  }
  for (const auto& [s, result] : order) {
    const ir::Value* a = s->dot->operands[0];
    const Layout& l = layout_of(a);
    Elements words;
    for (std::int64_t k = 0; k < l.registers(); ++k) words.push_back({carried[at++]});
    set(a, l, std::move(words));
  }
  for (const auto& [s, result] : order) {
    emit_dot(*s->dot);
    // What the trip before would have yielded is what this one starts from.
    const ir::Value* sum = s->sum->result();
    if (sum == result) continue;
    tiles_[result] = tiles_.at(sum);
    for (Pending& p : pending_) {
      if (p.value == sum) p.value = result;
    }
  }
}

Values ThreadEmitter::ring_trip(const RingLoop& r, LV* iv, llvm::ArrayRef<LV*> carried, bool first) {
  const ir::Block& body = r.op.region();
  const Turn turn = turn_of(r, carried);
  arrive(r, turn);
  LV* at_start = e_.b.CreateICmpEQ(turn.slot, i32(0));
  LV* last = e_.b.CreateSelect(at_start, i32(r.slots - 1), e_.b.CreateSub(turn.slot, i32(1)));
  // The slot's fill before this one was of this round, or of the one before if the ring starts anew here.
  LV* free = r.barriers ? e_.b.CreateXor(turn.parity, e_.b.CreateZExt(at_start, e_.i32())) : nullptr;
  const auto fetch = [&] { prefetch(r, r.later(iv, r.slots - 1, e_), last, free); };
  if (!r.first_product) fetch();
  set(body.args[0].get(), {}, {{iv}});
  std::size_t at = 0;
  for (std::size_t i = 0; i < r.results.size(); ++i) {
    const Layout& l = layout_of(r.results[i]);
    if (!first && r.skew_at(i)) {
      at += static_cast<std::size_t>(l.registers());
    } else {
      bind_flat(body.args[1 + i].get(), l, carried, at);
    }
  }
  for (const auto& op : body.ops) {
    if (skipped_.count(op.get()) != 0 || r.skew_of(op.get())) continue;
    if (options_.spans) mark_source(op->span);
    emit_op(*op);
    if (op.get() != r.first_product) continue;
    if (!first) {
      std::vector<const ir::Value*> args;
      for (std::size_t i = 0; i < r.results.size(); ++i) args.push_back(body.args[1 + i].get());
      if (!r.skews.empty()) issue_behind(r, carried, args);
    }
    fetch();
  }
  Values next;
  for (std::size_t i = 0; i < r.results.size(); ++i) {
    const Skew* s = r.skew_at(i);
    flatten(s ? s->base : body.yielded()[i], layout_of(r.results[i]), next);
  }
  for (std::size_t i = 0; i < r.results.size(); ++i) {
    if (const Skew* s = r.skew_at(i)) flatten(s->dot->operands[0], layout_of(s->dot->operands[0]), next);
  }
  settle_all();
  if (r.barriers) release(r, turn.slot);
  LV* up = e_.b.CreateAdd(turn.slot, i32(1));
  LV* wraps = e_.b.CreateICmpEQ(up, i32(r.slots));
  next.push_back(e_.b.CreateSelect(wraps, i32(0), up));
  if (r.barriers) next.push_back(e_.b.CreateXor(turn.parity, e_.b.CreateZExt(wraps, e_.i32())));
  return next;
}

void ThreadEmitter::emit_ring_for(const Op& op) {
  RingLoop r{.op = op, .stages = plan_.rings_of(op), .skews = plan_.skews_of(op), .barriers = plan_.bulk_barriers(op)};
  r.lo = scalar(op.operands[0]);
  r.hi = scalar(op.operands[1]);
  r.step = scalar(op.operands[2]);
  r.slots = plan_.stages()[static_cast<std::size_t>(r.stages[0])].slots;
  Values init;
  for (std::size_t i = 0; i < op.results.size(); ++i) {
    r.results.push_back(op.result(i));
    flatten(op.operands[3 + i], layout_of(op.result(i)), init);
  }
  settle_all();
  for (const auto& o : op.region().ops) {
    if (!r.first_product && o->kind == ir::OpKind::Dot && plan_.dot(*o).warpgroup && !r.skew_of(o.get())) r.first_product = o.get();
  }
  for (const int s : r.stages) {
    const Stage& st = plan_.stages()[static_cast<std::size_t>(s)];
    r.behind = std::max(r.behind, st.behind);
    if (!r.barriers) write_shared(st.offset, st.offset + st.slot_bytes() * st.slots);
  }
  if (r.barriers) start_barriers(r);
  const SharedState before = state_;
  const auto start = [&] {
    if (r.slots == 2) return prefetch(r, r.lo, i32(0), nullptr);
    e_.loop(i32(0), i32(r.slots - 1), i32(1), true,
            [&](LV* s) { prefetch(r, e_.add(r.lo, e_.mul(r.step, e_.b.CreateZExt(s, e_.i64()))), s, nullptr); });
  };
  // A loop that bulk copies feed touches shared memory by its products alone: nothing behind its back edge needs a barrier.
  const auto enter = [&] {
    if (!r.barriers) state_.forget();
  };
  const auto done = [&] {
    for (const int s : r.stages) slots_.erase(s);
  };
  Values end;
  if (r.skews.empty()) {
    start();
    enter();
    Values carried = init;
    carried.insert(carried.end(), r.barriers ? 2 : 1, i32(0));
    end = e_.loop(r.lo, r.hi, r.step, carried, false, [&](LV* iv, llvm::ArrayRef<LV*> inside) { return ring_trip(r, iv, inside, true); });
    done();
  } else {
    // The first trip has no product behind it; after the last one there is one left.
    end = e_.choose(
        e_.b.CreateICmpSLT(r.lo, r.hi),
        [&] {
          start();
          Values none = init;
          none.insert(none.end(), r.barriers ? 2 : 1, i32(0));
          const Values one = ring_trip(r, r.lo, none, true);
          enter();
          const Values all = e_.loop(r.later(r.lo, 1, e_), r.hi, r.step, one, false,
                                     [&](LV* iv, llvm::ArrayRef<LV*> inside) { return ring_trip(r, iv, inside, false); });
          arrive(r, turn_of(r, all));
          issue_behind(r, all, r.results);
          settle_all();
          Values out;
          std::size_t at = 0;
          for (std::size_t i = 0; i < r.results.size(); ++i) {
            const auto n = static_cast<std::size_t>(layout_of(r.results[i]).registers());
            if (r.skew_at(i)) {
              flatten(r.results[i], layout_of(r.results[i]), out);
            } else {
              out.insert(out.end(), all.begin() + static_cast<std::ptrdiff_t>(at), all.begin() + static_cast<std::ptrdiff_t>(at + n));
            }
            at += n;
          }
          done();
          return out;
        },
        [&] { return init; });
  }
  for (const int s : r.stages) {
    const Stage& st = plan_.stages()[static_cast<std::size_t>(s)];
    state_.read(0, st.offset, st.offset + st.slot_bytes() * st.slots);
  }
  if (r.barriers) end_barriers(r);
  state_.join(before);
  std::size_t at = 0;
  for (const ir::Value* v : r.results) bind_flat(v, layout_of(v), end, at);
}

void ThreadEmitter::emit_while(const Op& op) {
  llvm::Function* f = e_.b.GetInsertBlock()->getParent();
  auto* head = llvm::BasicBlock::Create(e_.context, "while", f);
  auto* inside = llvm::BasicBlock::Create(e_.context, "do", f);
  auto* after = llvm::BasicBlock::Create(e_.context, "done", f);
  std::vector<const ir::Value*> results;
  Values init;
  for (std::size_t i = 0; i < op.results.size(); ++i) {
    results.push_back(op.result(i));
    flatten(op.operands[i], layout_of(op.result(i)), init);
  }
  settle_all();
  llvm::BasicBlock* from = e_.b.GetInsertBlock();
  SharedState before = state_;
  state_.forget();
  e_.b.CreateBr(head);
  e_.b.SetInsertPoint(head);
  std::vector<llvm::PHINode*> phis;
  Values now;
  for (LV* v : init) {
    phis.push_back(e_.b.CreatePHI(v->getType(), 2));
    phis.back()->addIncoming(v, from);
    now.push_back(phis.back());
  }
  const auto bind = [&](const ir::Block& block) {
    std::size_t at = 0;
    for (std::size_t i = 0; i < results.size(); ++i) bind_flat(block.args[i].get(), layout_of(results[i]), now, at);
  };
  bind(op.region(0));
  emit_block(op.region(0));
  e_.b.CreateCondBr(scalar(op.region(0).yielded()[0]), inside, after);
  e_.b.SetInsertPoint(inside);
  bind(op.region(1));
  emit_block(op.region(1));
  const Values next = yielded(op.region(1), results);
  for (std::size_t i = 0; i < phis.size(); ++i) phis[i]->addIncoming(next[i], e_.b.GetInsertBlock());
  e_.b.CreateBr(head);
  e_.b.SetInsertPoint(after);
  state_.join(before);
  std::size_t at = 0;
  for (const ir::Value* r : results) bind_flat(r, layout_of(r), now, at);
}

}  // namespace tessera::gpu
