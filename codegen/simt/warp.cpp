// What the lanes of a warp do together: shuffles, warp barriers, matrices between shared memory and registers.
#include <fmt/format.h>

#include <cstring>

#include "codegen/simt/hooks.h"

namespace tessera::simt {

using gpu::Primitive;

void collective(Thread& t, u32 site, Primitive p, void (*perform)(Cta& cta, Thread* lanes, u32 site)) {
  Cta& cta = *t.cta;
  cta.step(t, site);
  t.site = site;
  t.primitive = p;
  Warp& w = *t.warp;
  if (++w.arrived < 32) {
    cta.block(t, State::Collective);
    return;
  }
  w.arrived = 0;
  Thread* lanes = &cta.threads[w.id * 32];
  for (u32 l = 0; l < 32; ++l) {
    if (lanes[l].site == site) continue;
    cta.report(HazardKind::Divergence, lanes[0].site, fmt::format("is where some lanes of warp {} are, others meet at", w.id),
               lanes[0].site == site ? lanes[l].site : site);
    cta.give_up(t);
  }
  perform(cta, lanes, site);
  for (u32 l = 0; l < 32; ++l) {
    if (&lanes[l] != &t) cta.wake(lanes[l]);
  }
}

namespace {

void shuffle(Cta&, Thread* lanes, u32) {
  u32 values[32];
  for (u32 l = 0; l < 32; ++l) {
    const auto [value, operand] = lanes[l].operands;
    u32 from = l;
    if (lanes[l].primitive == Primitive::ShflBfly) from = (l ^ operand) & 31;
    if (lanes[l].primitive == Primitive::ShflIdx) from = operand & 31;
    if (lanes[l].primitive == Primitive::ShflUp) from = operand > l ? l : l - operand;
    values[l] = lanes[from].operands[0];
  }
  for (u32 l = 0; l < 32; ++l) lanes[l].result = values[l];
}

u32 shuffle(Thread& t, u32 site, Primitive p, u32 value, u32 operand) {
  t.operands = {value, operand};
  collective(t, site, p, shuffle);
  return t.result;
}

void synchronise(Cta& cta, Thread* lanes, u32) {
  if (!cta.run.options.races) return;
  Clock joint(cta.clocks), proxy;
  for (u32 l = 0; l < 32; ++l) {
    Thread& t = lanes[l];
    if (l == 0 || !t.base.same(lanes[l - 1].base)) joint.join(t.base);
    if (!t.proxy || t.proxy.same(proxy)) continue;
    if (!proxy) {
      proxy = t.proxy;
      continue;
    }
    Clock both(cta.clocks);
    both.join(proxy);
    both.join(t.proxy);
    proxy = std::move(both);
  }
  for (u32 l = 0; l < 32; ++l) {
    Thread& t = lanes[l];
    t.publish(joint);
    Cta::release(t);
  }
  for (u32 l = 0; l < 32; ++l) {
    lanes[l].base = joint;
    if (proxy) lanes[l].proxy = proxy;
  }
}

struct MatrixForm {
  u32 matrices;
  bool transposed, store;
};

MatrixForm form_of(Primitive p) {
  if (p == Primitive::LdmatrixX1) return {1, false, false};
  if (p == Primitive::LdmatrixX2) return {2, false, false};
  if (p == Primitive::LdmatrixX4) return {4, false, false};
  if (p == Primitive::LdmatrixX1Trans) return {1, true, false};
  if (p == Primitive::LdmatrixX2Trans) return {2, true, false};
  if (p == Primitive::LdmatrixX4Trans) return {4, true, false};
  if (p == Primitive::StmatrixX4) return {4, false, true};
  return {4, true, true};
}

/// Null if the row is a fault. The access counts as one of the lane that gives the address: a collective orders no memory.
std::byte* row(Cta& cta, Thread& t, u32 site, bool store) {
  const u32 address = t.operands[0];
  if (!cta.in_shared(address, 16)) {
    cta.report(
        HazardKind::OutOfBounds, site,
        fmt::format("touches a row at {} of the {} bytes of shared memory", static_cast<std::int64_t>(address) - cta.base, cta.run.shared_bytes));
    return nullptr;
  }
  const u32 offset = address - cta.base;
  if (offset % 16) {
    cta.report(HazardKind::Misaligned, site, "touches a row of shared memory at an address that is no multiple of 16");
    return nullptr;
  }
  if (cta.run.options.races) cta.shadow.access(offset, 16, {store ? Touch::Write : Touch::Read, t.agent(), t.epoch, site, &t});
  return cta.shared + offset;
}

void matrices(Cta& cta, Thread* lanes, u32 site) {
  const MatrixForm form = form_of(lanes[0].primitive);
  for (u32 m = 0; m < form.matrices; ++m) {
    std::byte* rows[8];
    std::uint64_t addresses[8];
    for (u32 r = 0; r < 8; ++r) {
      rows[r] = row(cta, lanes[m * 8 + r], site, form.store);
      addresses[r] = lanes[m * 8 + r].operands[0] - cta.base;
    }
    if (cta.run.options.traffic) cta.traffic.together(site, addresses, 16);
    for (u32 l = 0; l < 32; ++l) {
      auto* fragment = reinterpret_cast<std::byte*>(&lanes[l].registers[m]);
      for (u32 e = 0; e < 2; ++e) {
        const u32 major = l / 4, minor = l % 4 * 2 + e;
        std::byte* memory = rows[form.transposed ? minor : major];
        const u32 column = form.transposed ? major : minor;
        if (form.store) {
          if (memory) std::memcpy(memory + 2 * column, fragment + 2 * e, 2);
        } else if (memory) {
          std::memcpy(fragment + 2 * e, memory + 2 * column, 2);
        } else {
          std::memset(fragment + 2 * e, 0xff, 2);
        }
      }
    }
  }
}

void matrix(Thread* t, u32 site, Primitive p, u32 address, u32* registers) {
  t->operands = {address, 0};
  t->registers = registers;
  collective(*t, site, p, matrices);
}

}  // namespace

namespace hooks {

u32 ShflBfly(Thread* t, u32 site, u32 value, u32 mask) { return shuffle(*t, site, Primitive::ShflBfly, value, mask); }
u32 ShflIdx(Thread* t, u32 site, u32 value, u32 lane) { return shuffle(*t, site, Primitive::ShflIdx, value, lane); }
u32 ShflUp(Thread* t, u32 site, u32 value, u32 delta) { return shuffle(*t, site, Primitive::ShflUp, value, delta); }
void WarpSync(Thread* t, u32 site) { collective(*t, site, Primitive::WarpSync, synchronise); }

void LdmatrixX1(Thread* t, u32 site, u32 a, u32* r, u32) { matrix(t, site, Primitive::LdmatrixX1, a, r); }
void LdmatrixX2(Thread* t, u32 site, u32 a, u32* r, u32) { matrix(t, site, Primitive::LdmatrixX2, a, r); }
void LdmatrixX4(Thread* t, u32 site, u32 a, u32* r, u32) { matrix(t, site, Primitive::LdmatrixX4, a, r); }
void LdmatrixX1Trans(Thread* t, u32 site, u32 a, u32* r, u32) { matrix(t, site, Primitive::LdmatrixX1Trans, a, r); }
void LdmatrixX2Trans(Thread* t, u32 site, u32 a, u32* r, u32) { matrix(t, site, Primitive::LdmatrixX2Trans, a, r); }
void LdmatrixX4Trans(Thread* t, u32 site, u32 a, u32* r, u32) { matrix(t, site, Primitive::LdmatrixX4Trans, a, r); }
void StmatrixX4(Thread* t, u32 site, u32 a, u32* r, u32) { matrix(t, site, Primitive::StmatrixX4, a, r); }
void StmatrixX4Trans(Thread* t, u32 site, u32 a, u32* r, u32) { matrix(t, site, Primitive::StmatrixX4Trans, a, r); }

}  // namespace hooks
}  // namespace tessera::simt
