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

/// Null if the operand is a fault.
Mbarrier* barrier_at(Thread& t, u32 site, u32 address) {
  Cta& cta = *t.cta;
  if (!cta.in_shared(address, 8) || (address - cta.base) % 8 != 0) {
    cta.report(HazardKind::BadOperand, site,
               fmt::format("names a barrier at {}, which is no place for one", static_cast<std::int64_t>(address) - cta.base));
    return nullptr;
  }
  const auto at = cta.mbarriers.find(address - cta.base);
  if (at == cta.mbarriers.end()) {
    cta.report(HazardKind::BadOperand, site, fmt::format("names a barrier at {} that nobody made", address - cta.base));
    return nullptr;
  }
  if (cta.run.options.races) cta.shadow.access(address - cta.base, 8, {Touch::Atomic, t.id, t.epoch, site, &t});
  return &at->second;
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

/// Copies a box: rows of 128 bytes with their chunks permuted by address.
void perform(Cta& cta, const BulkBox& b) {
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

void bulk_load(Thread* t, u32 site, u32 address, u32 barrier, void* map, u32 when, std::initializer_list<u32> coordinates) {
  Cta& cta = *t->cta;
  cta.step(*t, site);
  if (!when) return;
  Mbarrier* m = barrier_at(*t, site, barrier);
  if (!m) return;
  if (!m->fenced) cta.report(HazardKind::Race, site, "counts at a barrier whose making no fence has shown to bulk copies");
  std::optional<BulkBox> made = box_of(*t, site, address, map, coordinates, Touch::Read);
  if (!made) return;
  BulkBox& b = *made;
  b.barrier = barrier - cta.base;
  const auto bytes = static_cast<u32>(b.bytes);
  if (m->agent < 0) std::tie(m->agent, m->epochs_before) = cta.next_bulk_agent();
  std::uint32_t& epochs = cta.bulk_epochs[static_cast<std::size_t>(m->agent)];
  b.agent = cta.first_bulk_agent() + static_cast<std::uint32_t>(m->agent);
  b.epoch = m->epochs_before + m->phase + 1;
  epochs = std::max(epochs, b.epoch);
  if (cta.run.options.races) cta.shadow.access(b.offset, bytes, {Touch::Write, b.agent, b.epoch, site, t, true});
  cta.boxes.push_back(std::move(b));
  if (cta.run.policy == SimtPolicy::Eager) finish(cta, cta.boxes.size() - 1);
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
  if (cta.run.options.races) cta.shadow.access(address - cta.base, 8, {Touch::Write, t->id, t->epoch, site, t});
  Mbarrier& m = cta.mbarriers[address - cta.base];
  m = Mbarrier();
  m.count = m.pending = arrivals;
  m.maker = t->id;
}

void MbarInval(Thread* t, u32 site, u32 address, u32 when) {
  t->cta->step(*t, site);
  if (!when) return;
  if (!barrier_at(*t, site, address)) return;
  if (t->cta->run.options.races) t->cta->shadow.access(address - t->cta->base, 8, {Touch::Write, t->id, t->epoch, site, t});
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

}  // namespace hooks
}  // namespace tessera::simt
