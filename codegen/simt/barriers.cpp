// Barriers among the threads of a CTA. A barrier is a join of what its arrivals know; those that wait leave with it.
#include <fmt/format.h>

#include "codegen/simt/hooks.h"

namespace tessera::simt {

void gather(Thread& t, Barrier& b) {
  Cta& cta = *t.cta;
  if (!cta.run.options.races) return;
  if (!b.gathered) b.gathered = Clock(cta.clocks);
  if (!t.base.same(b.last)) {
    b.gathered.join(t.base);
    b.last = t.base;
  }
  t.publish(b.gathered);
  if (t.proxy && !t.proxy.same(b.last_proxy)) {
    if (!b.proxy) b.proxy = Clock(cta.clocks);
    b.proxy.join(t.proxy);
    b.last_proxy = t.proxy;
  }
  Cta::release(t);
}

namespace hooks {
namespace {

void arrive(Thread& t, u32 site, u32 id, u32 count, bool wait) {
  Cta& cta = *t.cta;
  cta.step(t, site);
  if (id >= cta.barriers.size() || count == 0 || count % 32 || count > cta.threads.size()) {
    cta.report(HazardKind::BadOperand, site, fmt::format("names barrier {} with {} threads", id, count));
    cta.give_up(t);
  }
  Barrier& b = cta.barriers[id];
  t.site = site;
  if (b.arrived && b.need != count) {
    cta.report(HazardKind::BadOperand, site, fmt::format("joins barrier {} with {} threads while it gathers {}", id, count, b.need));
    cta.give_up(t);
  }
  b.need = count;
  ++b.arrived;
  gather(t, b);
  if (wait) b.waiters.push_back(&t);
  if (b.arrived < b.need) {
    if (!wait) return;
    t.barrier = id;
    cta.block(t, State::Barrier);
    return;
  }
  ++cta.barriers_done;
  for (Thread* w : b.waiters) {
    w->base = b.gathered;
    if (b.proxy) w->proxy = b.proxy;
    if (w != &t) cta.wake(*w);
  }
  b.waiters.clear();
  b.arrived = 0;
  b.gathered = b.proxy = Clock();
  b.last = b.last_proxy = Clock();
}

}  // namespace

void BarSyncAll(Thread* t, u32 site) { arrive(*t, site, 0, static_cast<u32>(t->cta->threads.size()), true); }
void BarSync(Thread* t, u32 site, u32 id, u32 count) { arrive(*t, site, id, count, true); }
void BarArrive(Thread* t, u32 site, u32 id, u32 count) { arrive(*t, site, id, count, false); }
void KeepAbove(Thread*, u32, float) {}

}  // namespace hooks
}  // namespace tessera::simt
