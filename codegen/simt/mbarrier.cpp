// Barriers in shared memory, and the bulk copies that arrive at them (PTX ISA 9.0, "mbarrier", "cp.async.bulk.tensor").
//
// The bulk copies that a barrier counts are an agent of their own, those of a phase one epoch of it: their writes are recorded when they are issued
// and known to whoever has seen the end of that phase.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <tuple>

#include "codegen/simt/bulk_box.h"
#include "codegen/simt/hooks.h"

namespace tessera::simt {
namespace {

/// At the place that the thread's own CTA has at `address`, in the shared memory of `home`. Null if the operand is a fault.
Mbarrier* barrier_at(Thread& t, u32 site, u32 address, Cta& home) {
  Cta& cta = *t.cta;
  if (!cta.in_shared(address, 8) || (address - cta.base) % 8 != 0) {
    cta.report(HazardKind::BadOperand, site,
               fmt::format("names a barrier at {}, which is no place for one", static_cast<std::int64_t>(address) - cta.base));
    return nullptr;
  }
  const auto at = home.mbarriers.find(address - cta.base);
  if (at == home.mbarriers.end()) {
    cta.report(HazardKind::BadOperand, site, fmt::format("names a barrier at {} that nobody made", address - cta.base));
    return nullptr;
  }
  if (cta.run.options.races) home.shadow.access(address - cta.base, 8, {Touch::Atomic, t.agent(), t.epoch, site, &t});
  return &at->second;
}
Mbarrier* barrier_at(Thread& t, u32 site, u32 address) { return barrier_at(t, site, address, *t.cta); }

/// The CTA of this rank in the thread's cluster. Null if the operand is a fault.
Cta* peer_at(Thread& t, u32 site, u32 rank) {
  if (rank >= t.cta->cluster.ctas.size()) {
    t.cta->report(HazardKind::BadOperand, site, fmt::format("names rank {} of a cluster of {}", rank, t.cta->cluster.ctas.size()));
    return nullptr;
  }
  Cta& peer = *t.cta->cluster.ctas[rank];
  if (peer.ended()) {
    t.cta->report(HazardKind::Race, site, fmt::format("reaches shared memory of another CTA, rank {} of its cluster, which has ended", rank));
    return nullptr;
  }
  return &peer;
}

/// Who does something in the shared memory of `home`, for its end to be behind.
void note(Thread& t, Cta& home, u32 agent, u32 epoch, u32 site) {
  if (&home == t.cta) return;
  Cta::Arrival& last = home.from_peers[agent];
  if (last.epoch <= epoch) last = {epoch, site};
}

void gather(Thread& t, Mbarrier& m) {
  if (!t.cta->run.options.races) return;
  if (!m.gathered) m.gathered = Clock(t.cta->clocks);
  m.gathered.join(t.base);
  t.publish(m.gathered);
  if (t.proxy) {
    if (!m.proxy) m.proxy = Clock(t.cta->clocks);
    m.proxy.join(t.proxy);
  }
  Cta::release(t);
}

void arrive(Thread& t, u32 site, Mbarrier& m) {
  gather(t, m);
  if (m.pending == 0) {
    t.cta->report(HazardKind::BadOperand, site, fmt::format("arrives at a phase that has its {} arrivals", m.count));
    return;
  }
  --m.pending;
  t.cta->settle_phase(m);
}

/// The agent and the epoch of what is to arrive in the barrier's phase.
std::pair<u32, u32> bulk_agent(Cta& home, Mbarrier& m) {
  if (m.agent < 0) std::tie(m.agent, m.epochs_before) = home.next_bulk_agent();
  std::uint32_t& epochs = home.bulk_epochs[static_cast<std::size_t>(m.agent)];
  const u32 epoch = m.epochs_before + m.phase + 1;
  epochs = std::max(epochs, epoch);
  return {home.first_bulk_agent() + static_cast<u32>(m.agent), epoch};
}

/// Copies a box: rows of 128 bytes with their chunks permuted by address.
void perform(Cta& cta, const BulkBox& b) {
  if (!b.map) {
    std::memcpy(cta.shared + b.offset, &b.word, sizeof b.word);
    return;
  }
  each_element(b, [&](u32 offset, std::byte* there, u32 bytes) {
    if (there) {
      std::memcpy(cta.shared + offset, there, bytes);
    } else {
      std::memset(cta.shared + offset, 0, bytes);
    }
  });
}

void finish(Cta& cta, std::size_t i) {
  const BulkBox b = std::move(cta.boxes[i]);
  cta.boxes.erase(cta.boxes.begin() + static_cast<std::ptrdiff_t>(i));
  perform(cta, b);
  const auto at = cta.mbarriers.find(b.barrier);
  if (at == cta.mbarriers.end()) return;
  Mbarrier& m = at->second;
  if (cta.run.options.races) {
    if (!m.gathered) m.gathered = Clock(cta.clocks);
    m.gathered.raise(b.agent, b.epoch);
  }
  m.bytes -= b.bytes;
  cta.settle_phase(m);
}

/// It comes to `home`, where the barrier is, at once or later.
void set_out(Cta& home, Mbarrier& m, BulkBox b, Thread& t, u32 site, bool proxy) {
  std::tie(b.agent, b.epoch) = bulk_agent(home, m);
  if (home.run.options.races) home.shadow.access(b.offset, static_cast<u32>(b.bytes), {Touch::Write, b.agent, b.epoch, site, &t, proxy});
  note(t, home, b.agent, b.epoch, site);
  home.boxes.push_back(std::move(b));
  if (home.run.policy == SimtPolicy::Eager) finish(home, home.boxes.size() - 1);
}

/// `ranks`: a bit for each CTA of the cluster that it comes to, at the same place; 0: to the thread's own alone.
void bulk_load(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, std::initializer_list<u32> coordinates, u32 ranks = 0) {
  Cta& cta = *t->cta;
  cta.step(*t, site);
  if (!when) return;
  std::vector<std::pair<Cta*, Mbarrier*>> homes;
  for (u32 rank = 0; ranks >> rank != 0 || (ranks == 0 && rank == 0); ++rank) {
    if (ranks != 0 && (ranks >> rank & 1) == 0) continue;
    Cta* home = ranks == 0 ? &cta : peer_at(*t, site, rank);
    Mbarrier* m = home ? barrier_at(*t, site, barrier, *home) : nullptr;
    if (!m) return;
    if (!m->fenced) cta.report(HazardKind::Race, site, "counts at a barrier whose making no fence has shown to bulk copies");
    homes.emplace_back(home, m);
  }
  std::optional<BulkBox> made = box_of(*t, site, address, map, coordinates, Touch::Read);
  if (!made) return;
  made->barrier = barrier - cta.base;
  for (const auto& [home, m] : homes) set_out(*home, *m, *made, *t, site, true);
}

void multicast(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 ranks, std::initializer_list<u32> coordinates) {
  if (ranks == 0) t->cta->report(HazardKind::BadOperand, site, "goes to no CTA");
  bulk_load(t, site, address, barrier, map, when && ranks != 0, coordinates, ranks);
}

}  // namespace

void Cta::finish_some_box() { finish(*this, random() % boxes.size()); }

void Cta::settle_phase(Mbarrier& m) {
  if (m.pending != 0 || m.bytes != 0) return;
  ++m.phase;
  m.pending = m.count;
  m.ended = std::move(m.gathered);
  m.ended_proxy = std::move(m.proxy);
  m.gathered = m.proxy = m.last_in = m.last_out = m.last_proxy_in = m.last_proxy_out = Clock();
  for (Thread* w : m.waiters) wake(*w);
  m.waiters.clear();
}

namespace hooks {

void MbarInit(Thread* t, u32 site, u32 address, u32 arrivals, u32 when) {
  Cta& cta = *t->cta;
  cta.step(*t, site);
  if (!when) return;
  if (!cta.in_shared(address, 8) || (address - cta.base) % 8 != 0 || arrivals == 0) {
    cta.report(HazardKind::BadOperand, site,
               fmt::format("makes a barrier of {} arrivals at {}", arrivals, static_cast<std::int64_t>(address) - cta.base));
    return;
  }
  if (cta.mbarriers.count(address - cta.base)) cta.report(HazardKind::BadOperand, site, "makes a barrier where there is one");
  if (cta.run.options.races) cta.shadow.access(address - cta.base, 8, {Touch::Write, t->agent(), t->epoch, site, t});
  Mbarrier& m = cta.mbarriers[address - cta.base];
  m = Mbarrier();
  m.count = m.pending = arrivals;
  m.maker = t->id;
}

void MbarInval(Thread* t, u32 site, u32 address, u32 when) {
  t->cta->step(*t, site);
  if (!when) return;
  if (!barrier_at(*t, site, address)) return;
  if (t->cta->run.options.races) t->cta->shadow.access(address - t->cta->base, 8, {Touch::Write, t->agent(), t->epoch, site, t});
  t->cta->mbarriers.erase(address - t->cta->base);
}

void FenceMbarInit(Thread* t, u32 site) {
  t->cta->step(*t, site);
  for (auto& [offset, m] : t->cta->mbarriers) m.fenced = m.fenced || m.maker == t->id;
}

void MbarExpect(Thread* t, u32 site, u32 address, u32 bytes, u32 when) {
  t->cta->step(*t, site);
  if (!when) return;
  Mbarrier* m = barrier_at(*t, site, address);
  if (!m) return;
  m->bytes += bytes;
  arrive(*t, site, *m);
}

void MbarArrive(Thread* t, u32 site, u32 address, u32 when) {
  t->cta->step(*t, site);
  if (!when) return;
  if (Mbarrier* m = barrier_at(*t, site, address)) arrive(*t, site, *m);
}

void MbarArriveAt(Thread* t, u32 site, u32 address, u32 rank, u32 when) {
  t->cta->step(*t, site);
  if (!when) return;
  Cta* peer = peer_at(*t, site, rank);
  Mbarrier* m = peer ? barrier_at(*t, site, address, *peer) : nullptr;
  if (!m) return;
  note(*t, *peer, t->agent(), t->epoch, site);
  arrive(*t, site, *m);
}

void StoreAsync(Thread* t, u32 site, u32 address, u32 word, u32 barrier, u32 rank, u32 when) {
  Cta& cta = *t->cta;
  cta.step(*t, site);
  if (!when) return;
  Cta* peer = peer_at(*t, site, rank);
  Mbarrier* m = peer ? barrier_at(*t, site, barrier, *peer) : nullptr;
  if (!m) return;
  if (!cta.in_shared(address, 4) || (address - cta.base) % 4 != 0) {
    cta.report(
        HazardKind::OutOfBounds, site,
        fmt::format("writes 4 bytes at {} of the {} bytes of shared memory", static_cast<std::int64_t>(address) - cta.base, cta.run.shared_bytes));
    return;
  }
  BulkBox b;
  b.offset = address - cta.base;
  b.barrier = barrier - cta.base;
  b.word = word;
  b.bytes = 4;
  set_out(*peer, *m, std::move(b), *t, site, false);
}

void MbarWait(Thread* t, u32 site, u32 address, u32 parity) {
  Cta& cta = *t->cta;
  cta.step(*t, site);
  if (parity > 1) {
    cta.report(HazardKind::BadOperand, site, fmt::format("waits for a phase of parity {}", parity));
    return;
  }
  Mbarrier* m = barrier_at(*t, site, address);
  if (!m) return;
  while (m->phase % 2 == parity) {
    t->site = site;
    t->barrier = address - cta.base;
    m->waiters.push_back(t);
    cta.block(*t, State::Mbarrier);
  }
  if (!cta.run.options.races || !m->ended) return;
  if (m->ended_proxy && (!t->proxy.same(m->last_proxy_in) || !m->last_proxy_out)) {
    m->last_proxy_in = t->proxy;
    m->last_proxy_out = Clock(cta.clocks);
    if (t->proxy) m->last_proxy_out.join(t->proxy);
    m->last_proxy_out.join(m->ended_proxy);
  }
  if (m->ended_proxy) t->proxy = m->last_proxy_out;
  if (!t->base.same(m->last_in) || !m->last_out) {
    m->last_in = t->base;
    m->last_out = Clock(cta.clocks);
    m->last_out.join(t->base);
    m->last_out.join(m->ended);
  }
  t->base = m->last_out;
}

void TmaLoad2(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 c0, u32 c1) {
  bulk_load(t, site, address, barrier, map, when, {c0, c1});
}
void TmaLoad3(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 c0, u32 c1, u32 c2) {
  bulk_load(t, site, address, barrier, map, when, {c0, c1, c2});
}
void TmaLoad4(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 c0, u32 c1, u32 c2, u32 c3) {
  bulk_load(t, site, address, barrier, map, when, {c0, c1, c2, c3});
}
void TmaLoad5(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 c0, u32 c1, u32 c2, u32 c3, u32 c4) {
  bulk_load(t, site, address, barrier, map, when, {c0, c1, c2, c3, c4});
}
void TmaLoadKept2(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 c0, u32 c1, u64) {
  bulk_load(t, site, address, barrier, map, when, {c0, c1});
}
void TmaLoadKept3(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 c0, u32 c1, u32 c2, u64) {
  bulk_load(t, site, address, barrier, map, when, {c0, c1, c2});
}
void TmaLoadKept4(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 c0, u32 c1, u32 c2, u32 c3, u64) {
  bulk_load(t, site, address, barrier, map, when, {c0, c1, c2, c3});
}
void TmaLoadKept5(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 c0, u32 c1, u32 c2, u32 c3, u32 c4, u64) {
  bulk_load(t, site, address, barrier, map, when, {c0, c1, c2, c3, c4});
}
void TmaMulticast2(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 ranks, u32 c0, u32 c1) {
  multicast(t, site, address, barrier, map, when, ranks, {c0, c1});
}
void TmaMulticast3(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 ranks, u32 c0, u32 c1, u32 c2) {
  multicast(t, site, address, barrier, map, when, ranks, {c0, c1, c2});
}
void TmaMulticast4(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 ranks, u32 c0, u32 c1, u32 c2, u32 c3) {
  multicast(t, site, address, barrier, map, when, ranks, {c0, c1, c2, c3});
}
void TmaMulticast5(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 ranks, u32 c0, u32 c1, u32 c2, u32 c3, u32 c4) {
  multicast(t, site, address, barrier, map, when, ranks, {c0, c1, c2, c3, c4});
}
void TmaMulticastKept2(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 ranks, u32 c0, u32 c1, u64) {
  multicast(t, site, address, barrier, map, when, ranks, {c0, c1});
}
void TmaMulticastKept3(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 ranks, u32 c0, u32 c1, u32 c2, u64) {
  multicast(t, site, address, barrier, map, when, ranks, {c0, c1, c2});
}
void TmaMulticastKept4(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 ranks, u32 c0, u32 c1, u32 c2, u32 c3, u64) {
  multicast(t, site, address, barrier, map, when, ranks, {c0, c1, c2, c3});
}
void TmaMulticastKept5(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, u32 ranks, u32 c0, u32 c1, u32 c2, u32 c3, u32 c4, u64) {
  multicast(t, site, address, barrier, map, when, ranks, {c0, c1, c2, c3, c4});
}

}  // namespace hooks
}  // namespace tessera::simt
