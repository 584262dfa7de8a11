// Kernels by roles (plan.h, Roles): a warpgroup that asks for tiles, others that compute, instance after instance.
//
// The last warpgroup's first thread walks the ops that tell where tiles lie, and asks for the tiles of loops as their slots become free. It draws the
// instances by tickets and hands their numbers on through shared memory. Where a launch's tensors have no maps, all threads of its warpgroup copy
// element by element behind the same barriers.
#include <algorithm>
#include <utility>

#include "codegen/gpu/emit.h"
#include "codegen/gpu/ring_loop.h"

namespace tessera::gpu {

using ir::Op;

namespace {

constexpr std::int64_t kTicketBarriers = 16;  ///< bytes of a ticket's barriers: it is there, it has been read

}  // namespace

void ThreadEmitter::make_barriers() {
  const Roles& roles = *plan_.roles();
  LV* first = e_.b.CreateICmpEQ(tid_, i32(0));
  const auto pair = [&](std::int64_t at, std::int64_t filled) {
    call(e_.b, e_.module, Primitive::MbarInit, {shared_address(at), i32(filled), first});
    call(e_.b, e_.module, Primitive::MbarInit, {shared_address(at + 8), i32(plan_.warps()), first});
  };
  for (const Op* loop : roles.chains) {
    const int slots = plan_.stages()[static_cast<std::size_t>(plan_.rings_of(*loop)[0])].slots;
    for (int s = 0; s < slots; ++s) pair(*plan_.bulk_barriers(*loop) + 16 * s, 1);
  }
  for (const int s : roles.tiles) pair(plan_.stages()[static_cast<std::size_t>(s)].barriers, 1);
  for (int t = 0; t < kTickets; ++t) pair(roles.tickets + kTicketBarriers * t, 1);
  call(e_.b, e_.module, Primitive::FenceMbarInit, {});
  call(e_.b, e_.module, Primitive::BarSyncAll, {});
}

void ThreadEmitter::emit_roles() {
  make_barriers();
  const Roles& roles = *plan_.roles();
  e_.if_then(
      e_.b.CreateICmpUGE(warp_, i32(plan_.warps())),
      [&] {
        call(e_.b, e_.module, Primitive::RegistersDown, {i32(roles.asking)});
        ask();
      },
      [&] {
        call(e_.b, e_.module, Primitive::RegistersUp, {i32(roles.computing)});
        compute();
      });
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
  for (const int s : plan_.roles()->tiles) out.push_back(e_.b.CreateXor(tiles_stand_.at(s), i32(1)));
  return out;
}

LV* ThreadEmitter::ticket_barrier(LV* place, bool read) {
  return e_.b.CreateAdd(shared_address(plan_.roles()->tickets + (read ? 8 : 0)), e_.b.CreateMul(place, i32(kTicketBarriers)));
}

LV* ThreadEmitter::ticket_place(LV* place) {
  return e_.b.CreateAdd(shared_address(plan_.roles()->tickets + kTickets * kTicketBarriers), e_.b.CreateMul(place, i32(4)));
}

LV* ThreadEmitter::instances() {
  LV* n = i32(1);
  for (LV* c : counts_) n = e_.b.CreateMul(n, c);
  return n;
}

void ThreadEmitter::compute() {
  LV* all = instances();
  LV* instance = nullptr;
  repeat(
      first_standing(),
      [&](llvm::ArrayRef<LV*> now) {
        call(e_.b, e_.module, Primitive::MbarWait, {ticket_barrier(now[0], false), now[1]});
        instance = shared_load(e_.i32(), ticket_place(now[0]), 4);
        call(e_.b, e_.module, Primitive::WarpSync, {});
        call(e_.b, e_.module, Primitive::MbarArrive, {ticket_barrier(now[0], true), e_.b.CreateICmpEQ(lane_, i32(0))});
        return e_.b.CreateICmpULT(instance, all);
      },
      [&](llvm::ArrayRef<LV*> now) {
        stand(now);
        // What the instance before left in shared memory may still be read by others.
        state_.forget();
        bind_instance(instance);
        emit_block(kernel_.body);
        return standing_after(now);
      });
}

void ThreadEmitter::ask() {
  const auto tiles = tiles_;
  const auto ranges = ranges_;
  const auto views = views_;
  LV* const tid = tid_;
  LV* const own = e_.b.CreateSub(tid_, i32(plan_.threads()));
  LV* const first = e_.b.CreateICmpEQ(own, i32(0));
  LV *all = instances(), *ctas = call(e_.b, e_.module, Primitive::Nctaid, {});
  LV* counter = e_.b.CreateIntToPtr(tickets_, e_.b.getPtrTy(1));
  const auto draw = [&]() -> LV* {
    const auto ticket = [&] {
      LV* t = e_.b.CreateAtomicRMW(llvm::AtomicRMWInst::Add, counter, i32(1), llvm::Align(4), llvm::AtomicOrdering::Monotonic);
      // As many are drawn as there are instances: each CTA ends by one that stands for none.
      e_.if_then(e_.b.CreateICmpEQ(t, e_.b.CreateSub(all, i32(1))), [&] {
        e_.b.CreateAtomicRMW(llvm::AtomicRMWInst::Xchg, counter, i32(0), llvm::Align(4), llvm::AtomicOrdering::Monotonic);
      });
      return Values{e_.b.CreateAdd(ctas, t)};
    };
    return e_.choose(e_.b.CreateICmpNE(tickets_, e_.idx(0)), ticket, [&] { return Values{all}; })[0];
  };
  const auto hand_on = [&](LV* instance, llvm::ArrayRef<LV*> now) {
    call(e_.b, e_.module, Primitive::MbarWait, {ticket_barrier(now[0], true), e_.b.CreateXor(now[1], i32(1))});
    shared_store(instance, ticket_place(now[0]), 4);
    call(e_.b, e_.module, Primitive::MbarArrive, {ticket_barrier(now[0], false), e_.b.getTrue()});
  };
  const auto by_bulk_copies = [&] {
    Values init = first_standing();
    init.push_back(call(e_.b, e_.module, Primitive::Ctaid, {}));
    repeat(
        init,
        [&](llvm::ArrayRef<LV*> now) {
          hand_on(now.back(), now);
          return e_.b.CreateICmpULT(now.back(), all);
        },
        [&](llvm::ArrayRef<LV*> now) {
          LV* next = draw();
          Values out = ask_instance(now.back(), now.drop_back(), true);
          out.push_back(next);
          return out;
        });
  };
  const auto by_elements = [&] {
    tid_ = own;
    copying_threads_ = kGroupThreads;
    LV* instance = nullptr;
    Values init = first_standing();
    init.push_back(call(e_.b, e_.module, Primitive::Ctaid, {}));
    repeat(
        init,
        [&](llvm::ArrayRef<LV*> now) {
          e_.if_then(first, [&] { hand_on(now.back(), now); });
          call(e_.b, e_.module, Primitive::BarSync, {i32(kAskingBarrier), i32(kGroupThreads)});
          instance = shared_load(e_.i32(), ticket_place(now[0]), 4);
          return e_.b.CreateICmpULT(instance, all);
        },
        [&](llvm::ArrayRef<LV*> now) {
          LV* next = e_.choose(first, [&] { return Values{draw()}; }, [&] { return Values{all}; })[0];
          Values out = ask_instance(instance, now.drop_back(), false);
          out.push_back(next);
          return out;
        });
    tid_ = tid;
    copying_threads_ = 0;
  };
  e_.if_then(maps_encoded_, [&] { e_.if_then(first, by_bulk_copies); }, by_elements);
  tiles_ = tiles;
  ranges_ = ranges;
  views_ = views;
}

Values ThreadEmitter::ask_instance(LV* instance, llvm::ArrayRef<LV*> standing, bool bulk) {
  const Roles& roles = *plan_.roles();
  stand(standing);
  state_ = SharedState();
  bind_instance(instance);
  for (const Op* op : roles.slice) emit_op(*op);
  // Tiles are asked for behind as many trips of the loop after them as there are slots: these become free in the instance before, the tile's place
  // only when it is left.
  std::vector<int> waiting;
  const auto ask_waiting = [&] {
    for (const int s : waiting) ask_tile(s, bulk);
    waiting.clear();
  };
  for (const auto& op : kernel_.body.ops) {
    for (const int s : roles.tiles) {
      if (plan_.stages()[static_cast<std::size_t>(s)].source->def == op.get()) waiting.push_back(s);
    }
    if (std::find(roles.chains.begin(), roles.chains.end(), op.get()) != roles.chains.end()) ask_loop(*op, bulk, ask_waiting);
  }
  ask_waiting();
  return standing_after(standing);
}

void ThreadEmitter::ask_loop(const Op& op, bool bulk, const std::function<void()>& in_between) {
  const RingLoop r = ring_loop(op);
  LV* trips = e_.idx(0);
  for (const RingPart& part : r.parts) {
    LV* length = e_.max(e_.idx(0), e_.sub(part.hi, part.lo));
    trips = e_.add(trips, e_.b.CreateUDiv(e_.add(length, e_.sub(r.step, e_.idx(1))), r.step));
  }
  if (r.behind > 0) trips = e_.add(trips, e_.b.CreateZExt(e_.b.CreateICmpNE(trips, e_.idx(0)), e_.i64()));
  Turn turn = first_turn(r);
  auto& [slot, parity] = rings_stand_.at(&op);
  turn.slot = slot;
  turn.parity = parity;
  const auto fill = [&](LV* from, LV* to) {
    Values init;
    carry(turn, init);
    const Values end = e_.loop(from, to, e_.idx(1), init, false, [&](LV*, llvm::ArrayRef<LV*> now) {
      Turn t{now[0], now[1], now[2], now[3], now[4], now[5]};
      // Free: in the phase before, which a new barrier's has none of.
      call(e_.b, e_.module, Primitive::MbarWait, {ring_barrier(r, t.slot, true), e_.b.CreateXor(t.parity, i32(1))});
      if (bulk) {
        bulk_tiles(r, t, t.slot);
      } else {
        element_tiles(r, t, t.slot);
        copies_done(ring_barrier(r, t.slot, false));
      }
      look_further(r, t);
      go_on(r, t);
      Values out;
      carry(t, out);
      return out;
    });
    turn = {end[0], end[1], end[2], end[3], end[4], end[5]};
  };
  LV* first = e_.min(trips, e_.idx(r.slots));
  fill(e_.idx(0), first);
  in_between();
  fill(first, trips);
  slot = turn.slot;
  parity = turn.parity;
}

void ThreadEmitter::copies_done(LV* barrier) {
  call(e_.b, e_.module, Primitive::FenceProxyAsync, {});
  call(e_.b, e_.module, Primitive::BarSync, {i32(kAskingBarrier), i32(kGroupThreads)});
  call(e_.b, e_.module, Primitive::MbarArrive, {barrier, e_.b.CreateICmpEQ(tid_, i32(0))});
}

void ThreadEmitter::ask_tile(int stage, bool bulk) {
  const Stage& s = plan_.stages()[static_cast<std::size_t>(stage)];
  LV* there = shared_address(s.barriers);
  call(e_.b, e_.module, Primitive::MbarWait, {shared_address(s.barriers + 8), e_.b.CreateXor(tiles_stand_.at(stage), i32(1))});
  if (bulk) {
    call(e_.b, e_.module, Primitive::MbarExpect, {there, i32(s.slot_bytes()), e_.b.getTrue()});
    bulk_load(stage, i32(0), there);
  } else {
    element_copies_ = true;
    stage_load(stage, i32(0));
    element_copies_ = false;
    copies_done(there);
  }
}

void ThreadEmitter::take_tile(int stage) {
  const Stage& s = plan_.stages()[static_cast<std::size_t>(stage)];
  call(e_.b, e_.module, Primitive::MbarWait, {shared_address(s.barriers), tiles_stand_.at(stage)});
  slots_[stage] = i32(0);
}

void ThreadEmitter::free_tiles(const Op& op) {
  if (!plan_.roles()) return;
  for (const int stage : plan_.roles()->tiles) {
    if (plan_.last_reader(stage) != &op) continue;
    settle_all();
    call(e_.b, e_.module, Primitive::WarpSync, {});
    call(e_.b, e_.module, Primitive::MbarArrive,
         {shared_address(plan_.stages()[static_cast<std::size_t>(stage)].barriers + 8), e_.b.CreateICmpEQ(lane_, i32(0))});
    slots_.erase(stage);
  }
}

}  // namespace tessera::gpu
