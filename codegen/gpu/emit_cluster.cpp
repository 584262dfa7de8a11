// Two CTAs that share tiles (cluster.cpp): who hands on instances, who has left a slot, and the CTA whose instance does not exist.
#include "codegen/gpu/emit.h"
#include "codegen/gpu/ring_loop.h"

namespace tessera::gpu {

using ir::Op;

/// Of CTAs where there are no clusters.
LV* ThreadEmitter::clusters() {
  LV* n = call(e_.b, e_.module, Primitive::Nctaid, {});
  return plan_.cluster_axis() ? e_.b.CreateLShr(n, i32(1)) : n;
}

LV* ThreadEmitter::cluster_number() {
  LV* n = call(e_.b, e_.module, Primitive::Ctaid, {});
  return plan_.cluster_axis() ? e_.b.CreateLShr(n, i32(1)) : n;
}

LV* ThreadEmitter::rank() { return e_.b.CreateAnd(call(e_.b, e_.module, Primitive::Ctaid, {}), i32(1)); }

/// All of the CTA's threads, and those of the CTA that it shares tiles with.
void ThreadEmitter::meet_all() { call(e_.b, e_.module, plan_.cluster_axis() ? Primitive::ClusterSync : Primitive::BarSyncAll, {}); }

/// By the warp, all of whose lanes have left a slot and have met; `when`: where it had one, null: certainly.
void ThreadEmitter::leave_slot(LV* free, bool shared, LV* when) {
  LV* one = e_.b.CreateICmpULT(lane_, i32(shared ? 2 : 1));
  if (when) one = e_.b.CreateAnd(when, one);
  if (shared) {
    // A lane for each CTA. Its number as it is: beside a computed one, sums come to be zeroed on a path of their own, and the assembler then has each
    // product waited for (C7515).
    call(e_.b, e_.module, Primitive::MbarArriveAt, {free, lane_, one});
  } else {
    call(e_.b, e_.module, Primitive::MbarArrive, {free, one});
  }
}

/// Places of the instance, of which the second CTA's may lie beyond the end of the axis: it then goes by those of the first.
void ThreadEmitter::bind_existing(llvm::ArrayRef<LV*> places) {
  exists_ = nullptr;
  if (!plan_.cluster_axis()) return bind_places(places);
  Values own(places.begin(), places.end());
  LV *&at = own[*plan_.cluster_axis()], *n = counts_[*plan_.cluster_axis()];
  exists_ = e_.b.CreateICmpULT(at, n);
  at = e_.b.CreateSelect(exists_, at, e_.b.CreateSub(n, i32(1)));
  bind_places(own);
}

// --- instances: the first CTA draws, the second learns of it in time

namespace {
constexpr std::int64_t kThere = 0, kTaken = 8 * kTickets, kWords = 16 * kTickets;
}

LV* ThreadEmitter::handed(std::int64_t what, LV* place, std::int64_t bytes) {
  return e_.b.CreateAdd(shared_address(plan_.roles()->handed + what), e_.b.CreateMul(place, i32(bytes)));
}

void ThreadEmitter::make_handing(LV* first) {
  for (int t = 0; t < kTickets; ++t) {
    for (const std::int64_t what : {kThere, kTaken}) call(e_.b, e_.module, Primitive::MbarInit, {handed(what, i32(t), 8), i32(1), first});
  }
}

/// By the asking warp of the first CTA: `now` is where its tickets stand.
void ThreadEmitter::hand_on(LV* instance, llvm::ArrayRef<LV*> now) {
  e_.if_then(e_.b.CreateICmpEQ(rank(), i32(0)), [&] {
    call(e_.b, e_.module, Primitive::MbarWait, {handed(kTaken, now[0], 8), e_.b.CreateXor(now[1], i32(1))});
    call(e_.b, e_.module, Primitive::StoreAsync,
         {handed(kWords, now[0], 4), instance, handed(kThere, now[0], 8), i32(1), e_.b.CreateICmpEQ(lane_, i32(0))});
  });
}

/// By the asking warp of either CTA: what the first one has drawn.
LV* ThreadEmitter::handed_on(LV* drawn, llvm::ArrayRef<LV*> now) {
  const auto take = [&] {
    LV* one = e_.b.CreateICmpEQ(lane_, i32(0));
    call(e_.b, e_.module, Primitive::MbarExpect, {handed(kThere, now[0], 8), i32(4), one});
    call(e_.b, e_.module, Primitive::MbarWait, {handed(kThere, now[0], 8), now[1]});
    LV* word = shared_load(e_.i32(), handed(kWords, now[0], 4), 4);
    call(e_.b, e_.module, Primitive::WarpSync, {});
    call(e_.b, e_.module, Primitive::MbarArriveAt, {handed(kTaken, now[0], 8), i32(0), one});
    return Values{word};
  };
  return e_.choose(e_.b.CreateICmpEQ(rank(), i32(0)), [&] { return Values{drawn}; }, take)[0];
}

// --- an instance that does not exist: its tiles come all the same, half of them for the other CTA, and are left at once

/// By a warp that computes.
void ThreadEmitter::leave_tiles() {
  const KeepsValues keeps(*this);
  const Roles& roles = *plan_.roles();
  for (const Op* op : roles.slice) emit_op(*op);
  for (const auto& op : kernel_.body.ops) {
    for (const int s : roles.tiles) {
      const Stage& stage = plan_.stages()[static_cast<std::size_t>(s)];
      if (stage.source->def != op.get()) continue;
      call(e_.b, e_.module, Primitive::MbarWait, {tile_barrier(s, false), tile_parity(s)});
      call(e_.b, e_.module, Primitive::WarpSync, {});
      leave_slot(tile_barrier(s, true), plan_.shares(s));
    }
    if (rings_stand_.count(op.get()) == 0) continue;
    const RingLoop r = ring_loop(*op);
    LV* trips = e_.idx(0);
    for (const RingPart& part : r.parts) {
      LV* width = e_.max(e_.idx(0), e_.sub(part.hi, part.lo));
      trips = e_.add(trips, e_.b.CreateUDiv(e_.add(width, e_.sub(r.step, e_.idx(1))), r.step));
    }
    if (r.behind > 0) trips = e_.add(trips, e_.min(trips, e_.idx(1)));
    auto& [slot, parity] = rings_stand_.at(op.get());
    const Values after = e_.loop(e_.idx(0), trips, e_.idx(1), {slot, parity}, false, [&](LV*, llvm::ArrayRef<LV*> now) {
      Turn turn{now[0], now[1]};
      call(e_.b, e_.module, Primitive::MbarWait, {ring_barrier(r, turn.slot, false), turn.parity});
      await_transposed(r, turn);
      release(r, turn.slot);
      go_on(r, turn);
      return Values{turn.slot, turn.parity};
    });
    slot = after[0];
    parity = after[1];
  }
}

/// The kernel's work, if this CTA's instance exists.
void ThreadEmitter::compute_existing() {
  const auto standing = [&] {
    Values out;
    for (const Op* loop : plan_.roles()->chains) out.insert(out.end(), {rings_stand_.at(loop).first, rings_stand_.at(loop).second});
    return out;
  };
  const auto stand_at = [&](const Values& v) {
    std::size_t at = 0;
    for (const Op* loop : plan_.roles()->chains) {
      rings_stand_[loop] = {v[at], v[at + 1]};
      at += 2;
    }
  };
  const Values before = standing();
  const auto work = [&] {
    emit_block(kernel_.body);
    return standing();
  };
  const auto none = [&] {
    stand_at(before);
    leave_tiles();
    return standing();
  };
  stand_at(e_.choose(exists_, work, none));
}

}  // namespace tessera::gpu
