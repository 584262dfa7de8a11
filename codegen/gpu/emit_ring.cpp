// Loops whose tiles come through rings of shared memory, and those of which some products run a trip behind (plan.h, Skew).
#include <algorithm>
#include <set>
#include <utility>

#include "codegen/gpu/emit.h"
#include "codegen/gpu/ring_loop.h"
#include "dsl/diagnostic.h"

namespace tessera::gpu {

using ir::Op;

void ThreadEmitter::carry(const Turn& turn, Values& out) {
  out.push_back(turn.slot);
  if (turn.parity) out.push_back(turn.parity);
  if (turn.parity && turn.ahead) out.insert(out.end(), {turn.ahead, turn.part, turn.before, turn.before_exists});
}

ThreadEmitter::Turn ThreadEmitter::turn_of(const RingLoop& r, llvm::ArrayRef<LV*> carried) {
  if (!r.barriers) return {carried.back()};
  if (r.fed) return {carried.take_back(2)[0], carried.back()};
  const auto at = carried.take_back(6);
  return {at[0], at[1], at[2], at[3], at[4], at[5]};
}

ThreadEmitter::Turn ThreadEmitter::first_turn(const RingLoop& r) {
  Turn t{i32(0)};
  t.ahead = r.first().lo;
  t.part = i32(0);
  t.before = t.ahead;
  t.before_exists = e_.b.getFalse();
  if (!r.barriers) return t;
  t.parity = i32(0);
  skip_ended(r, t.ahead, t.part);
  return t;
}

/// From behind the last trip of a part to the first of the next one that has any.
void ThreadEmitter::skip_ended(const RingLoop& r, LV*& trip, LV*& part) {
  for (std::size_t p = 0; p + 1 < r.parts.size(); ++p) {
    LV* over = e_.b.CreateAnd(e_.b.CreateICmpEQ(part, i32(static_cast<std::int64_t>(p))), e_.b.CreateICmpSGE(trip, r.parts[p].hi));
    trip = e_.b.CreateSelect(over, r.parts[p + 1].lo, trip);
    part = e_.b.CreateSelect(over, i32(static_cast<std::int64_t>(p + 1)), part);
  }
}

/// False behind the last trip of all.
LV* ThreadEmitter::is_trip(const RingLoop& r, LV* trip, LV* part) {
  LV* end = r.first().hi;
  for (std::size_t p = 1; p < r.parts.size(); ++p) {
    end = e_.b.CreateSelect(e_.b.CreateICmpEQ(part, i32(static_cast<std::int64_t>(p))), r.parts[p].hi, end);
  }
  return e_.b.CreateICmpSLT(trip, end);
}

void ThreadEmitter::look_further(const RingLoop& r, Turn& turn) {
  LV* now = exists(r, turn, 0, &turn.before);
  turn.before_exists = now;
  turn.ahead = e_.add(turn.ahead, r.step);
  skip_ended(r, turn.ahead, turn.part);
}

LV* ThreadEmitter::exists(const RingLoop& r, const Turn& turn, int behind, LV** trip) {
  if (behind > 0) {
    *trip = turn.before;
    return turn.before_exists;
  }
  *trip = turn.ahead;
  return is_trip(r, turn.ahead, turn.part);
}

void ThreadEmitter::copy_tiles(const RingLoop& r, const RingPart& part, const Turn& turn, LV* slot) {
  for (int behind = 0; behind <= r.behind; ++behind) {
    LV* trip = nullptr;
    e_.if_then(exists(r, turn, behind, &trip), [&] {
      set(part.op.region().args[0].get(), {}, {{trip}});
      for (const Op* a : plan_.address_ops(part.op, behind)) emit_op(*a);
      for (const int s : part.stages) {
        if (plan_.stages()[static_cast<std::size_t>(s)].behind == behind) stage_load(s, slot);
      }
    });
  }
}

void ThreadEmitter::prefetch(const RingLoop& r, Turn& turn, LV* slot, LV* free) {
  // The body goes on with its own trip's coordinates; which part the other is of, `turn` knows.
  const KeepsValues keeps(*this);
  const SharedBody* const of_trip = std::exchange(shared_, nullptr);
  if (r.barriers) {
    e_.if_then(maps_encoded_, [&] { bulk_fetch(r, turn, slot, free); }, [&] { copy_fetch(r, turn, slot, free); });
  } else {
    copy_tiles(r, r.first(), turn, slot);
    call(e_.b, e_.module, Primitive::CpAsyncCommit, {});
  }
  look_further(r, turn);
  shared_ = of_trip;
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
  for (const RingPart& part : r.parts) {
    for (const int s : part.stages) slots_[s] = turn.slot;
  }
}

void ThreadEmitter::issue_behind(const RingLoop& r, const RingPart& part, llvm::ArrayRef<LV*> carried, const std::vector<const ir::Value*>& results) {
  // Operands and sums of the trip before, from what it left.
  std::size_t at = 0;
  std::map<const ir::Value*, Tile> own;
  const auto for_product = [&](const ir::Value* v, const Layout& l, Elements regs) {
    if (const auto known = tiles_.find(v); known != tiles_.end()) own.insert(*known);
    set(v, l, std::move(regs));
  };
  std::vector<std::pair<const Skew*, const ir::Value*>> order;
  for (std::size_t i = 0; i < r.results.size(); ++i) {
    const Layout& l = layout_of(r.results[i]);
    const Skew* s = part.skew_at(i);
    if (!s) {
      at += static_cast<std::size_t>(l.registers());
      continue;
    }
    Elements base;
    for (std::int64_t k = 0; k < l.registers(); ++k) base.push_back({carried[at++]});
    const std::optional<ScaledRows> scaled = plan_.scaled_summand(*s->dot, s->base);
    for_product(scaled ? scaled->tile : s->base, l, std::move(base));
    order.emplace_back(s, results[i]);
  }
  for (const auto& [s, result] : order) {
    const ir::Value* a = s->dot->operands[0];
    const Layout& l = layout_of(a);
    Elements regs;
    const int per = plan_.dot(*s->dot).per_register;
    for (std::int64_t k = 0; k < l.registers(); k += per) {
      LV* word = carried[at++];
      for (int i = 0; i < per; ++i) regs.push_back({unpack_word(e_, dtype(a), word, i)});
    }
    for_product(a, l, std::move(regs));
    const std::optional<ScaledRows> scaled = plan_.scaled_summand(*s->dot, s->base);
    if (!scaled) continue;
    const Layout narrow = operand_layout(scaled->factor, plan_.dot(*s->dot).result);
    Elements factor;
    for (std::int64_t k = 0; k < narrow.registers(); ++k) factor.push_back({carried[at++]});
    for_product(scaled->factor, narrow, std::move(factor));
  }
  for (const auto& [s, result] : order) emit_dot(*s->dot);
  // The trip goes on with its own values.
  for (const auto& [v, tile] : own) tiles_[v] = tile;
  for (const auto& [s, result] : order) {
    // What the trip before would have yielded is what this one starts from.
    const ir::Value* sum = s->sum->result();
    if (sum == result) continue;
    tiles_[result] = tiles_.at(sum);
    for (Pending& p : pending_) {
      if (p.value == sum) p.value = result;
    }
  }
}

bool ThreadEmitter::needs_late(const RingPart& part, const Op& op, const std::set<const Op*>& late) {
  const auto is_late = [&](const ir::Value* v) {
    if (v->def) return late.count(v->def) != 0;
    return v->block == &part.op.region() && v->index > 0 && part.skew_at(v->index - 1) != nullptr;
  };
  // The operand of the next trip's late product takes the registers of the one under way.
  for (const Skew& s : part.skews) {
    if (s.dot->operands[0]->def == &op) return true;
  }
  bool found = std::any_of(op.operands.begin(), op.operands.end(), is_late);
  for (const auto& region : op.regions) {
    ir::walk(*region, [&](const Op& inner) { found = found || std::any_of(inner.operands.begin(), inner.operands.end(), is_late); });
  }
  return found;
}

/// What a trip computes while products of the trip before are under way: the assembler would move the wait for these up to the first product's.
void ThreadEmitter::keep_above(const RingPart& part, const std::set<const Op*>& late) {
  // Where threads add products up, these are in the way for as long as that takes. The others' slots are better left early (RESULTS.md).
  if (std::none_of(part.skews.begin(), part.skews.end(), [&](const Skew& s) { return plan_.promoted(*s.dot); })) return;
  for (const auto& op : part.op.region().ops) {
    if (op->results.size() != 1 || op->kind == ir::OpKind::Dot || late.count(op.get()) != 0 || part.skew_of(op.get())) continue;
    const ir::Value* v = op->result();
    const std::vector<const Op*>& uses = plan_.uses().of(v);
    if (!std::any_of(uses.begin(), uses.end(), [&](const Op* u) { return late.count(u) != 0 || u->kind == ir::OpKind::Yield; })) continue;
    const auto tile = tiles_.find(v);
    if (tile == tiles_.end() || dtype(v) != DType::F32) continue;
    call(e_.b, e_.module, Primitive::KeepAbove, {plain(e_, get(v, layout_of(v)).back())});
  }
}

Values ThreadEmitter::ring_trip(const RingLoop& r, const RingPart& part, LV* iv, llvm::ArrayRef<LV*> carried, LV* before) {
  const ir::Block& body = part.op.region();
  const ir::Block* const above = std::exchange(block_, &body);
  Turn turn = turn_of(r, carried);
  const bool behind = before && !part.skews.empty();
  arrive(r, turn);
  if (!behind) await_transposed(r, turn);
  if (!r.barriers) {
    turn.ahead = e_.add(iv, e_.mul(r.step, e_.idx(r.slots - 1)));
    turn.part = i32(0);
    turn.before = e_.sub(turn.ahead, r.step);
    turn.before_exists = e_.b.CreateICmpSLT(turn.before, part.hi);
  }
  cut_tiles(part, iv, turn.slot, 0);
  if (before) {
    const auto cut = [&] { cut_tiles(part, e_.sub(iv, r.step), turn.slot, 1); };
    llvm::isa<llvm::Constant>(before) ? cut() : e_.if_then(e_.b.CreateTrunc(before, e_.b.getInt1Ty()), cut);
  }
  const auto fetch = [&] {
    if (r.fed) return;
    LV* target = e_.b.CreateAdd(turn.slot, i32(r.distance()));
    LV* same_round = e_.b.CreateICmpULT(target, i32(r.slots));
    target = e_.b.CreateSelect(same_round, target, e_.b.CreateSub(target, i32(r.slots)));
    // The slot was last filled in the round before, or in this one if the ring starts anew before it.
    LV* free = r.barriers ? e_.b.CreateXor(turn.parity, e_.b.CreateZExt(same_round, e_.i32())) : nullptr;
    prefetch(r, turn, target, free);
  };
  if (!part.first_product) fetch();
  set(body.args[0].get(), {}, {{iv}});
  std::size_t at = 0;
  std::vector<const ir::Value*> args;
  for (std::size_t i = 0; i < r.results.size(); ++i) {
    args.push_back(body.args[1 + i].get());
    const Layout& l = layout_of(r.results[i]);
    if (before && part.skew_at(i)) {
      at += static_cast<std::size_t>(l.registers());
    } else {
      bind_flat(args[i], l, carried, at);
    }
  }
  // What needs the product of the trip before comes last: the rest is worked off while that product is under way.
  std::set<const Op*> late;
  for (const auto& op : body.ops) {
    if (skipped_.count(op.get()) != 0 || part.skew_of(op.get())) continue;
    if (behind && needs_late(part, *op, late)) {
      late.insert(op.get());
      continue;
    }
    if (options_.spans) mark_source(op->span);
    if (op.get() == part.first_product) {
      // Who has the turn waits for no tile.
      if (behind && plan_.takes_turns(part.op)) await_transposed(r, turn);
      await_turn(part);
    }
    emit_op(*op);
    if (op.get() != part.first_product) continue;
    if (behind) {
      if (!plan_.takes_turns(part.op)) await_transposed(r, turn);
      LV* const done = std::exchange(done_, before);
      issue_behind(r, part, carried, args);
      done_ = done;
    }
    give_turn(part);
    fetch();
  }
  if (behind) {
    keep_above(part, late);
    settle_all();
  }
  // Once the last product has read its tiles, the slot may be filled again.
  const bool early = behind && r.barriers && std::none_of(late.begin(), late.end(), [](const Op* op) { return op->kind == ir::OpKind::Dot; });
  if (early) {
    release(r, turn.slot);
    free_in_last_trip(r, iv);
  }
  for (const auto& op : body.ops) {
    if (late.count(op.get()) == 0) continue;
    if (options_.spans) mark_source(op->span);
    emit_op(*op);
  }
  Values next;
  for (std::size_t i = 0; i < r.results.size(); ++i) {
    const Skew* s = part.skew_at(i);
    const std::optional<ScaledRows> scaled = s ? plan_.scaled_summand(*s->dot, s->base) : std::nullopt;
    flatten(scaled ? scaled->tile : s ? s->base : body.yielded()[i], layout_of(r.results[i]), next);
  }
  for (std::size_t i = 0; i < r.results.size(); ++i) {
    const Skew* s = part.skew_at(i);
    if (!s) continue;
    // In words, as they were made and as the product wants them: single elements would be taken apart and put together in every trip.
    const Elements regs = get(s->dot->operands[0], layout_of(s->dot->operands[0]));
    const auto per = static_cast<std::size_t>(plan_.dot(*s->dot).per_register);
    for (std::size_t k = 0; k < regs.size(); k += per) {
      std::vector<LV*> parts;
      for (std::size_t i = 0; i < per; ++i) parts.push_back(regs[k + i].v);
      next.push_back(pack_word(e_, parts));
    }
    if (const std::optional<ScaledRows> scaled = plan_.scaled_summand(*s->dot, s->base))
      flatten(scaled->factor, operand_layout(scaled->factor, plan_.dot(*s->dot).result), next);
  }
  settle_all();
  if (r.barriers && !early) {
    release(r, turn.slot);
    free_in_last_trip(r, iv);
  }
  go_on(r, turn);
  carry(turn, next);
  block_ = above;
  return next;
}

/// After a trip's products in step: the next instance's tiles may come while this one's last product and its results are worked off.
void ThreadEmitter::free_in_last_trip(const RingLoop& r, LV* iv) {
  if (r.tiles.empty()) return;
  LV* over = e_.b.CreateICmpSGE(e_.add(iv, r.step), r.end);
  for (const int stage : r.tiles) free_tile(stage, over);
}

LV* ThreadEmitter::last_trip(const RingLoop& r) {
  LV* trip = r.first().lo;
  for (const RingPart& part : r.parts) {
    LV* own = e_.add(part.lo, e_.mul(e_.b.CreateUDiv(e_.sub(e_.sub(part.hi, part.lo), e_.idx(1)), r.step), r.step));
    trip = e_.b.CreateSelect(e_.b.CreateICmpSLT(part.lo, part.hi), own, trip);
  }
  return trip;
}

void ThreadEmitter::await_turn(const RingPart& part) {
  if (!plan_.takes_turns(part.op)) return;
  LV* group = e_.b.CreateUDiv(warp_, i32(4));
  call(e_.b, e_.module, Primitive::BarSync, {e_.b.CreateAdd(group, i32(kTurnBarrier)), i32(2 * kGroupThreads)});
}

void ThreadEmitter::give_turn(const RingPart& part) {
  if (!plan_.takes_turns(part.op)) return;
  LV* next = e_.b.CreateAdd(e_.b.CreateUDiv(warp_, i32(4)), i32(1));
  next = e_.b.CreateSelect(e_.b.CreateICmpEQ(next, i32(plan_.warps() / 4)), i32(0), next);
  call(e_.b, e_.module, Primitive::BarArrive, {e_.b.CreateAdd(next, i32(kTurnBarrier)), i32(2 * kGroupThreads)});
}

void ThreadEmitter::go_on(const RingLoop& r, Turn& turn) {
  LV* up = e_.b.CreateAdd(turn.slot, i32(1));
  LV* wraps = e_.b.CreateICmpEQ(up, i32(r.slots));
  turn.slot = e_.b.CreateSelect(wraps, i32(0), up);
  if (r.barriers) turn.parity = e_.b.CreateXor(turn.parity, e_.b.CreateZExt(wraps, e_.i32()));
}

ThreadEmitter::RingLoop ThreadEmitter::ring_loop(const Op& op) {
  RingLoop r;
  r.barriers = plan_.bulk_barriers(op);
  r.fed = plan_.roles().has_value();
  r.step = scalar(op.operands[2]);
  r.slots = plan_.stages()[static_cast<std::size_t>(plan_.rings_of(op)[0])].slots;
  std::vector<const Op*> loops = {&op};
  loops.insert(loops.end(), plan_.continued_by(op).begin(), plan_.continued_by(op).end());
  for (const Op* loop : loops) {
    RingPart part{.op = *loop, .stages = plan_.rings_of(*loop), .skews = plan_.skews_of(*loop)};
    part.lo = scalar(loop->operands[0]);
    part.hi = scalar(loop->operands[1]);
    for (const auto& o : loop->region().ops) {
      if (!part.first_product && o->kind == ir::OpKind::Dot && plan_.dot(*o).warpgroup && !part.skew_of(o.get())) part.first_product = o.get();
    }
    for (const int s : part.stages) r.behind = std::max(r.behind, plan_.stages()[static_cast<std::size_t>(s)].behind);
    if (loop != &op) skipped_.insert(loop);
    r.parts.push_back(std::move(part));
  }
  for (const auto& v : loops.back()->results) r.results.push_back(v.get());
  r.shared = plan_.shared_body(op);
  if (r.fed) r.tiles = plan_.freed_in_last_trip(op);
  // Parts follow each other.
  r.end = r.first().hi;
  for (const RingPart& part : r.parts) r.end = e_.b.CreateSelect(e_.b.CreateICmpSLT(part.lo, part.hi), part.hi, r.end);
  return r;
}

/// All parts, one after the other.
Values ThreadEmitter::ring_trips(const RingLoop& r, const Values& init) {
  Values carried = init;
  for (const RingPart& part : r.parts) {
    if (r.fed && plan_.sums_up(part.op)) {
      carried = summing_trips(r, part, carried);
      continue;
    }
    carried = trips(part.op, part.lo, part.hi, r.step, carried, r.barriers.has_value(),
                    [&](LV* iv, llvm::ArrayRef<LV*> inside) { return ring_trip(r, part, iv, inside, nullptr); });
  }
  return carried;
}

/// The same with products that run behind, up to those of the last trip. The first trip, which is one of the first part that has trips, has none
/// behind it.
Values ThreadEmitter::trips_of_parts(const RingLoop& r, const Values& init) {
  const std::function<Values(std::size_t)> start = [&](std::size_t p) {
    const RingPart& part = r.parts[p];
    const auto here = [&] { return ring_trip(r, part, part.lo, init, nullptr); };
    if (p + 1 == r.parts.size()) return here();
    return e_.choose(e_.b.CreateICmpSLT(part.lo, part.hi), here, [&] { return start(p + 1); });
  };
  std::vector<LV*> begins;
  LV* none_yet = e_.b.getTrue();
  for (const RingPart& part : r.parts) {
    LV* first = e_.b.CreateAnd(none_yet, e_.b.CreateICmpSLT(part.lo, part.hi));
    begins.push_back(e_.b.CreateSelect(first, e_.add(part.lo, r.step), part.lo));
    none_yet = e_.b.CreateAnd(none_yet, e_.b.CreateNot(first));
  }
  Values carried = start(0);
  for (std::size_t p = 0; p < r.parts.size(); ++p) carried = trips_of_part(r, p, begins[p], carried);
  return carried;
}

/// From `lo` on, none of which is the first of all.
Values ThreadEmitter::trips_of_part(const RingLoop& r, std::size_t p, LV* lo, const Values& carried) {
  const RingPart& part = r.parts[p];
  return trips(part.op, lo, part.hi, r.step, carried, r.barriers.has_value(),
               [&](LV* iv, llvm::ArrayRef<LV*> inside) { return ring_trip(r, part, iv, inside, i32(1)); });
}

/// All trips, and the products of the last one. Precondition: there is a trip.
Values ThreadEmitter::ring_trips_behind(const RingLoop& r, const Values& init) {
  const Values carried = r.shared ? trips_by_shared_body(r, init) : trips_of_parts(r, init);
  const RingPart& last = r.parts.back();
  Turn turn = turn_of(r, carried);
  arrive(r, turn);
  cut_tiles(last, last_trip(r), turn.slot, 1);
  await_transposed(r, turn);
  await_turn(last);
  issue_behind(r, last, carried, r.results);
  give_turn(last);
  settle_all();
  if (r.fed) {
    release(r, turn.slot);
    go_on(r, turn);
  }
  Values out;
  std::size_t at = 0;
  for (std::size_t i = 0; i < r.results.size(); ++i) {
    const auto n = static_cast<std::size_t>(layout_of(r.results[i]).registers());
    if (last.skew_at(i)) {
      flatten(r.results[i], layout_of(r.results[i]), out);
    } else {
      out.insert(out.end(), carried.begin() + static_cast<std::ptrdiff_t>(at), carried.begin() + static_cast<std::ptrdiff_t>(at + n));
    }
    at += n;
  }
  if (r.fed) carry(turn, out);
  return out;
}

/// What the loop gives: its results and, if it is fed, where its rings stand. `start` gives the same before the first trip.
Values ThreadEmitter::all_trips(const RingLoop& r, const Values& none, const std::function<Values()>& start) {
  if (r.first().skews.empty()) return ring_trips(r, start());
  LV* any = e_.b.getFalse();
  for (const RingPart& part : r.parts) any = e_.b.CreateOr(any, e_.b.CreateICmpSLT(part.lo, part.hi));
  return e_.choose(
      any, [&] { return ring_trips_behind(r, start()); },
      [&] {
        for (const int stage : r.tiles) free_tile(stage);
        return none;
      });
}

void ThreadEmitter::emit_fed_for(const Op& op, const RingLoop& r) {
  Values carried;
  for (std::size_t i = 0; i < r.results.size(); ++i) flatten(op.operands[3 + i], layout_of(r.results[i]), carried);
  settle_all();
  // The loop touches shared memory by its products alone, and has no barriers.
  if (!state_.clean()) meet_barriers();
  auto& [slot, parity] = rings_stand_.at(&op);
  carry(Turn{slot, parity}, carried);
  const Values end = all_trips(r, carried, [&] { return carried; });
  slot = end[end.size() - 2];
  parity = end.back();
  for (const RingPart& part : r.parts) {
    for (const int s : part.stages) slots_.erase(s);
  }
  freed_.insert(r.tiles.begin(), r.tiles.end());
  std::size_t at = 0;
  for (const ir::Value* v : r.results) bind_flat(v, layout_of(v), end, at);
}

void ThreadEmitter::emit_ring_for(const Op& op) {
  const RingLoop r = ring_loop(op);
  if (r.fed) return emit_fed_for(op, r);
  Values init;
  for (std::size_t i = 0; i < r.results.size(); ++i) flatten(op.operands[3 + i], layout_of(r.results[i]), init);
  const std::size_t values = init.size();
  settle_all();
  const auto each_stage = [&](const std::function<void(std::int64_t lo, std::int64_t hi)>& f) {
    for (const int s : r.first().stages) {
      const Stage& st = plan_.stages()[static_cast<std::size_t>(s)];
      f(st.offset, st.offset + st.slot_bytes() * st.slots);
    }
  };
  if (r.barriers) {
    start_barriers(r);
  } else {
    each_stage([&](std::int64_t lo, std::int64_t hi) { write_shared(lo, hi); });
  }
  const SharedState before = state_;
  const auto start = [&] {
    Turn turn = first_turn(r);
    if (r.barriers) {
      for (int s = 0; s < r.distance(); ++s) prefetch(r, turn, i32(s), nullptr);
      meet_barriers();
    } else if (r.slots == 2) {
      prefetch(r, turn, i32(0), nullptr);
    } else {
      e_.loop(i32(0), i32(r.slots - 1), i32(1), true, [&](LV* s) {
        Turn own = turn;
        own.ahead = e_.add(r.first().lo, e_.mul(r.step, e_.b.CreateZExt(s, e_.i64())));
        own.before = e_.sub(own.ahead, r.step);
        own.before_exists = e_.b.CreateAnd(e_.b.CreateICmpSGE(own.before, r.first().lo), e_.b.CreateICmpSLT(own.before, r.first().hi));
        prefetch(r, own, s, nullptr);
      });
    }
    // A loop that bulk copies feed touches shared memory by its products alone: nothing behind its back edge needs a barrier.
    if (!r.barriers) {
      for (const RingPart& part : r.parts) forget(part.op);
    }
    Values carried = init;
    carry(turn, carried);
    return carried;
  };
  Values end = all_trips(r, init, start);
  end.resize(values);
  for (const RingPart& part : r.parts) {
    for (const int s : part.stages) slots_.erase(s);
  }
  each_stage([&](std::int64_t lo, std::int64_t hi) { state_.read(0, lo, hi); });
  if (r.barriers) end_barriers(r);
  state_.join(before);
  std::size_t at = 0;
  for (const ir::Value* v : r.results) bind_flat(v, layout_of(v), end, at);
}

}  // namespace tessera::gpu
