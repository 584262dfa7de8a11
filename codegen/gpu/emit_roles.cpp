// Kernels by roles (plan.h, Roles): a warpgroup that asks for tiles, others that compute, instance after instance.
//
// The last warpgroup's first warp walks the ops that tell where tiles lie, and asks for the tiles of loops as their slots become free. It draws the
// instances by tickets and hands their numbers on through shared memory. Where a launch's tensors have no maps, it has the other warps of its
// warpgroup copy element by element, behind the same barriers.
#include <algorithm>
#include <utility>

#include "codegen/gpu/emit.h"
#include "codegen/gpu/ring_loop.h"

namespace tessera::gpu {

using ir::Op;

void ThreadEmitter::make_barriers() {
  const Roles& roles = *plan_.roles();
  LV* first = e_.b.CreateICmpEQ(tid_, i32(0));
  // It has come: told once; it is free: by each warp that has used it.
  const auto users_of = [&](bool shared) { return plan_.warps() * (shared ? 2 : 1); };
  const auto pair = [&](std::int64_t at, int users) {
    call(e_.b, e_.module, Primitive::MbarInit, {shared_address(at), i32(1), first});
    call(e_.b, e_.module, Primitive::MbarInit, {shared_address(at + 8), i32(users), first});
  };
  for (const Op* loop : roles.chains) {
    const int slots = plan_.stages()[static_cast<std::size_t>(plan_.rings_of(*loop)[0])].slots;
    for (int s = 0; s < slots; ++s) pair(*plan_.bulk_barriers(*loop) + 16 * s, users_of(plan_.shares(*loop)));
    for (int s = 0; s < slots && !plan_.transposed_of(*loop).empty(); ++s)
      call(e_.b, e_.module, Primitive::MbarInit, {transposed_barrier(*loop, i32(s)), i32(kTransposingWarps), first});
  }
  for (const int t : roles.tiles) {
    const Stage& s = plan_.stages()[static_cast<std::size_t>(t)];
    for (int slot = 0; slot < s.slots; ++slot) pair(s.barriers + 16 * slot, users_of(plan_.shares(t)));
  }
  for (int t = 0; t < kTickets; ++t) pair(roles.tickets + kTicketBarriers * t, plan_.warps() + plan_.transposing_warps());
  if (plan_.cluster_axis()) make_handing(first);
  call(e_.b, e_.module, Primitive::FenceMbarInit, {});
  meet_all();
}

void ThreadEmitter::emit_roles() {
  make_barriers();
  const Roles& roles = *plan_.roles();
  e_.if_then(
      e_.b.CreateICmpUGE(warp_, i32(plan_.warps())),
      [&] {
        call(e_.b, e_.module, Primitive::RegistersDown, {i32(roles.asking)});
        e_.if_then(
            e_.b.CreateICmpEQ(warp_, i32(plan_.warps())), [&] { ask(); },
            [&] {
              if (plan_.transposing_warps() > 0) e_.if_then(maps_encoded_, [&] { transpose_slots(); });
              obey_commands();
            });
      },
      [&] {
        call(e_.b, e_.module, Primitive::RegistersUp, {i32(roles.computing)});
        compute();
      });
  // Till then the other CTA may reach the shared memory of this one.
  if (!plan_.cluster_axis()) return;
  call(e_.b, e_.module, Primitive::WarpSync, {});
  meet_all();
}

/// Slots, parities and tickets at the start of the first instance: all zero.
Values ThreadEmitter::first_standing() {
  const Roles& roles = *plan_.roles();
  return Values(2 + 2 * roles.chains.size() + roles.tiles.size(), i32(0));
}

void ThreadEmitter::stand(llvm::ArrayRef<LV*> standing) {
  std::size_t at = 2;
  for (const Op* loop : plan_.roles()->chains) {
    rings_stand_[loop] = {standing[at], standing[at + 1]};
    at += 2;
  }
  for (const int s : plan_.roles()->tiles) tiles_stand_[s] = standing[at++];
}

Values ThreadEmitter::standing_after(llvm::ArrayRef<LV*> before) {
  Values out;
  LV* up = e_.b.CreateAdd(before[0], i32(1));
  LV* wraps = e_.b.CreateICmpEQ(up, i32(kTickets));
  out.push_back(e_.b.CreateSelect(wraps, i32(0), up));
  out.push_back(e_.b.CreateXor(before[1], e_.b.CreateZExt(wraps, e_.i32())));
  for (const Op* loop : plan_.roles()->chains) {
    const auto& [slot, parity] = rings_stand_.at(loop);
    out.insert(out.end(), {slot, parity});
  }
  for (const int s : plan_.roles()->tiles)
    out.push_back(e_.b.CreateAnd(e_.b.CreateAdd(tiles_stand_.at(s), i32(1)), i32(2 * plan_.stages()[static_cast<std::size_t>(s)].slots - 1)));
  return out;
}

LV* ThreadEmitter::ticket_barrier(LV* place, bool read) {
  return e_.b.CreateAdd(shared_address(plan_.roles()->tickets + (read ? 8 : 0)), e_.b.CreateMul(place, i32(kTicketBarriers)));
}

LV* ThreadEmitter::ticket_place(LV* place) {
  const auto words = static_cast<std::int64_t>(1 + counts_.size());
  return e_.b.CreateAdd(shared_address(plan_.roles()->tickets + kTickets * kTicketBarriers), e_.b.CreateMul(place, i32(4 * words)));
}

LV* ThreadEmitter::instances() {
  LV* n = i32(1);
  for (LV* c : together_) n = e_.b.CreateMul(n, c);
  return n;
}

void ThreadEmitter::compute() {
  // The last warpgroup lets the first begin.
  for (const auto& op : kernel_.body.ops) {
    if (op->kind != ir::OpKind::For || !plan_.takes_turns(*op)) continue;
    e_.if_then(e_.b.CreateICmpUGE(warp_, i32(plan_.warps() - 4)),
               [&] { call(e_.b, e_.module, Primitive::BarArrive, {i32(kTurnBarrier), i32(2 * kGroupThreads)}); });
    break;
  }
  // Warpgroups meet between instances only where one leaves something in shared memory that others may still read: the one that is ahead else begins
  // the next instance while the other works off its results.
  each_instance([&] {
    state_ = SharedState();
    if (exists_) {
      compute_existing();
    } else {
      emit_block(kernel_.body);
    }
    if (!state_.clean()) meet_barriers();
  });
  end_stores();
}

void ThreadEmitter::each_instance(const std::function<void()>& work) {
  LV* all = instances();
  Values places;
  repeat(
      first_standing(),
      [&](llvm::ArrayRef<LV*> now) {
        call(e_.b, e_.module, Primitive::MbarWait, {ticket_barrier(now[0], false), now[1]});
        LV *at = ticket_place(now[0]), *instance = shared_load(e_.i32(), at, 4);
        // Divisions are the asking warp's matter.
        for (std::size_t a = 0; a < counts_.size(); ++a) places.push_back(shared_load(e_.i32(), e_.b.CreateAdd(at, i32(4 + 4 * a)), 4));
        call(e_.b, e_.module, Primitive::WarpSync, {});
        call(e_.b, e_.module, Primitive::MbarArrive, {ticket_barrier(now[0], true), e_.b.CreateICmpEQ(lane_, i32(0))});
        return e_.b.CreateICmpULT(instance, all);
      },
      [&](llvm::ArrayRef<LV*> now) {
        stand(now);
        bind_existing(places);
        work();
        return standing_after(now);
      });
}

/// Without maps tiles are copied to where their transposes stand: warps that would make them do other things.
void ThreadEmitter::arrive_for_transposing(LV* barrier) {
  LV* copied = e_.b.CreateAnd(e_.b.CreateNot(maps_encoded_), e_.b.CreateICmpULT(lane_, i32(kTransposingWarps)));
  call(e_.b, e_.module, Primitive::MbarArrive, {barrier, copied});
}

/// By the first warp of the asking warpgroup, all lanes alike.
void ThreadEmitter::ask() {
  const KeepsValues keeps(*this);
  LV* const one = e_.b.CreateICmpEQ(lane_, i32(0));
  LV *all = instances(), *ctas = clusters();
  const auto reset = [&] {
    LV* counter = e_.b.CreateIntToPtr(tickets_, e_.b.getPtrTy(1));
    e_.b.CreateAtomicRMW(llvm::AtomicRMWInst::Xchg, counter, i32(0), llvm::Align(4), llvm::AtomicOrdering::Monotonic);
  };
  // After the instance given; of the first lane.
  const auto draw = [&](LV* instance) -> LV* {
    switch (plan_.persistence()) {
      case Persistence::Off: return all;
      case Persistence::Static: return e_.b.CreateAdd(instance, ctas);
      case Persistence::Dynamic: break;
    }
    LV* counter = e_.b.CreateIntToPtr(tickets_, e_.b.getPtrTy(1));
    const auto ticket = [&] {
      LV* t = e_.b.CreateAtomicRMW(llvm::AtomicRMWInst::Add, counter, i32(1), llvm::Align(4), llvm::AtomicOrdering::Monotonic);
      // As many are drawn as there are instances: each CTA ends by one that stands for none.
      if (!passes_over()) e_.if_then(e_.b.CreateICmpEQ(t, e_.b.CreateSub(all, i32(1))), reset);
      return Values{e_.b.CreateAdd(ctas, t)};
    };
    LV* draws = plan_.cluster_axis() ? e_.b.CreateAnd(one, e_.b.CreateICmpEQ(rank(), i32(0))) : one;
    return e_.choose(e_.b.CreateAnd(draws, e_.b.CreateICmpNE(tickets_, e_.idx(0))), ticket, [&] { return Values{all}; })[0];
  };
  const Values first = first_standing();
  Values places;
  Window window = Window::none(i32(0));
  Values init = first;
  if (passes_over()) {
    const Values w = window.values();
    init.insert(init.end(), w.begin(), w.end());
  }
  init.push_back(cluster_number());
  const Values last = repeat(
      init,
      [&](llvm::ArrayRef<LV*> now) {
        LV* instance = now.back();
        call(e_.b, e_.module, Primitive::MbarWait, {ticket_barrier(now[0], true), e_.b.CreateXor(now[1], i32(1))});
        if (passes_over()) {
          window = Window::of(now.slice(first.size()));
          places = live_instance(instance, all, window);
          instance = e_.b.CreateSelect(places[0], instance, all);
          places.erase(places.begin());
        } else {
          places = places_of(instance);
        }
        e_.if_then(one, [&] {
          LV* at = ticket_place(now[0]);
          shared_store(instance, at, 4);
          for (std::size_t a = 0; a < places.size(); ++a) shared_store(places[a], e_.b.CreateAdd(at, i32(4 + 4 * a)), 4);
          call(e_.b, e_.module, Primitive::MbarArrive, {ticket_barrier(now[0], false), e_.b.getTrue()});
        });
        if (plan_.transposing_warps() > 0) arrive_for_transposing(ticket_barrier(now[0], true));
        return e_.b.CreateICmpULT(instance, all);
      },
      [&](llvm::ArrayRef<LV*> now) {
        LV* drawn = draw(now.back());
        const bool handing = plan_.cluster_axis() && plan_.persistence() == Persistence::Dynamic;
        if (handing) hand_on(drawn, now);
        Values out = ask_instance(places, now.take_front(first.size()));
        if (passes_over()) {
          const Values w = window.values();
          out.insert(out.end(), w.begin(), w.end());
        }
        if (handing) drawn = handed_on(drawn, now);
        out.push_back(call(e_.b, e_.module, Primitive::ShflIdx, {drawn, i32(0)}));
        return out;
      });
  if (passes_over() && plan_.persistence() == Persistence::Dynamic) {
    // As many are drawn as are live, which a CTA knows when it has drawn beyond them.
    LV *live = e_.b.CreateAdd(window.before, window.total), *ticket = e_.b.CreateSub(last.back(), ctas);
    LV* drawn = e_.b.CreateAnd(e_.b.CreateICmpNE(tickets_, e_.idx(0)), e_.b.CreateICmpUGE(last.back(), ctas));
    e_.if_then(e_.b.CreateAnd(e_.b.CreateAnd(one, drawn), e_.b.CreateICmpEQ(ticket, e_.b.CreateSub(live, i32(1)))), reset);
  }
  end_commands();
}

Values ThreadEmitter::ask_instance(llvm::ArrayRef<LV*> places, llvm::ArrayRef<LV*> standing) {
  const Roles& roles = *plan_.roles();
  stand(standing);
  state_ = SharedState();
  bind_existing(places);
  for (const Op* op : roles.slice) emit_op(*op);
  // Tiles are asked for behind the trips of the loop after them whose slots become free earlier.
  std::vector<int> waiting;
  const auto ask_waiting = [&] {
    for (const int s : waiting) ask_tile(s);
    waiting.clear();
  };
  for (const auto& op : kernel_.body.ops) {
    for (const int s : roles.tiles) {
      if (plan_.stages()[static_cast<std::size_t>(s)].source->def == op.get()) waiting.push_back(s);
    }
    if (std::find(roles.chains.begin(), roles.chains.end(), op.get()) != roles.chains.end()) ask_loop(*op, ask_waiting);
  }
  ask_waiting();
  return standing_after(standing);
}

void ThreadEmitter::ask_loop(const Op& op, const std::function<void()>& in_between) {
  RingLoop r = ring_loop(op);
  r.fed = false;  // by this thread
  Turn turn = first_turn(r);
  auto& [slot, parity] = rings_stand_.at(&op);
  turn.slot = slot;
  turn.parity = parity;
  Values init = {i32(0)};
  carry(turn, init);
  const auto goes_on = [&](llvm::ArrayRef<LV*> now) {
    LV *trip = nullptr, *any = exists(r, turn_of(r, now), 0, &trip);
    if (r.behind > 0) any = e_.b.CreateOr(any, exists(r, turn_of(r, now), 1, &trip));
    // Once: before the first trip that has to wait for a slot, or where trips end before that.
    LV* const ahead = i32(plan_.trips_before_tiles(op));
    LV *asked = now.front(), *few = e_.b.CreateAnd(e_.b.CreateNot(any), e_.b.CreateICmpSLT(asked, ahead));
    e_.if_then(e_.b.CreateOr(few, e_.b.CreateICmpEQ(asked, ahead)), in_between);
    return any;
  };
  const auto ask_trip = [&](llvm::ArrayRef<LV*> now) {
    Turn t = turn_of(r, now);
    LV* there = ring_barrier(r, t.slot, false);
    // Free: in the phase before, which a new barrier's has none of.
    call(e_.b, e_.module, Primitive::MbarWait, {ring_barrier(r, t.slot, true), e_.b.CreateXor(t.parity, i32(1))});
    ring_tiles(r, t, [&](LV* bytes, LV* any) { expect_bytes(there, bytes, any); }, [&](int stage) { fetch_tile(stage, t.slot, there); });
    has_come(there);
    if (!plan_.transposed_of(op).empty()) arrive_for_transposing(transposed_barrier(op, t.slot));
    look_further(r, t);
    go_on(r, t);
    Values out = {e_.b.CreateAdd(now.front(), i32(1))};
    carry(t, out);
    return out;
  };
  turn = turn_of(r, repeat(init, goes_on, ask_trip));
  slot = turn.slot;
  parity = turn.parity;
}

void ThreadEmitter::ask_tile(int stage) {
  const Stage& s = plan_.stages()[static_cast<std::size_t>(stage)];
  LV* there = tile_barrier(stage, false);
  call(e_.b, e_.module, Primitive::MbarWait, {tile_barrier(stage, true), e_.b.CreateXor(tile_parity(stage), i32(1))});
  expect_bytes(there, i32(s.slot_bytes()), e_.b.getTrue());
  fetch_tile(stage, tile_slot(stage), there);
  has_come(there);
}

/// Of bulk copies, before them.
void ThreadEmitter::expect_bytes(LV* barrier, LV* bytes, LV* any) {
  any = e_.b.CreateAnd(any, e_.b.CreateAnd(maps_encoded_, e_.b.CreateICmpEQ(lane_, i32(0))));
  call(e_.b, e_.module, Primitive::MbarExpect, {barrier, bytes, any});
}

void ThreadEmitter::fetch_tile(int stage, LV* slot, LV* barrier) {
  // A branch of one thread: by predicates each copy would be a loop over the lanes' differing addresses, for all that ptxas knows.
  const bool bulk = plan_.stages()[static_cast<std::size_t>(stage)].transposed_from < 0;
  e_.if_then(
      maps_encoded_,
      [&] {
        if (bulk) e_.if_then(e_.b.CreateICmpEQ(lane_, i32(0)), [&] { bulk_load(stage, slot, barrier); });
      },
      [&] { command_copy(stage, slot); });
}

/// Of element copies, after them.
void ThreadEmitter::has_come(LV* barrier) {
  LV* copied = e_.b.CreateAnd(e_.b.CreateNot(maps_encoded_), e_.b.CreateICmpEQ(lane_, i32(0)));
  call(e_.b, e_.module, Primitive::MbarArrive, {barrier, copied});
}

LV* ThreadEmitter::tile_slot(int stage) {
  const bool two = plan_.stages()[static_cast<std::size_t>(stage)].slots > 1;
  return two ? e_.b.CreateAnd(tiles_stand_.at(stage), i32(1)) : i32(0);
}

LV* ThreadEmitter::tile_parity(int stage) {
  const bool two = plan_.stages()[static_cast<std::size_t>(stage)].slots > 1;
  return two ? e_.b.CreateLShr(tiles_stand_.at(stage), i32(1)) : tiles_stand_.at(stage);
}

LV* ThreadEmitter::tile_barrier(int stage, bool free) {
  const Stage& s = plan_.stages()[static_cast<std::size_t>(stage)];
  return e_.b.CreateAdd(shared_address(s.barriers + (free ? 8 : 0)), e_.b.CreateMul(tile_slot(stage), i32(16)));
}

void ThreadEmitter::take_tile(int stage) {
  call(e_.b, e_.module, Primitive::MbarWait, {tile_barrier(stage, false), tile_parity(stage)});
  slots_[stage] = tile_slot(stage);
}

void ThreadEmitter::free_tiles(const Op& op) {
  if (!plan_.roles()) return;
  for (const int stage : plan_.roles()->tiles) {
    if (plan_.last_reader(stage) != &op) continue;
    if (!freed_.erase(stage)) {
      settle_all();
      free_tile(stage);
    }
    slots_.erase(stage);
  }
}

void ThreadEmitter::free_tile(int stage, LV* when) {
  call(e_.b, e_.module, Primitive::WarpSync, {});
  leave_slot(tile_barrier(stage, true), plan_.shares(stage), when);
}

}  // namespace tessera::gpu
