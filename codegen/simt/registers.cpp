// Registers that warps give to others of their CTA (PTX ISA 9.0, "setmaxnreg"). All lanes of a warp do the same: lane 0 stands for them.
#include <fmt/format.h>

#include "codegen/simt/hooks.h"

namespace tessera::simt::hooks {
namespace {

constexpr u32 kLeast = 24, kMost = 256, kUnit = 8;

bool sensible(Thread& t, u32 site, u32 count, bool up) {
  const u32 now = t.warp->registers;
  if (count % kUnit == 0 && count >= kLeast && count <= kMost && (up ? count >= now : count <= now)) return true;
  t.cta->report(HazardKind::BadOperand, site, fmt::format("asks for {} registers a thread where there are {}", count, now));
  return false;
}

}  // namespace

void RegistersDown(Thread* t, u32 site, u32 count) {
  Cta& cta = *t->cta;
  cta.step(*t, site);
  if (t->lane() != 0 || !sensible(*t, site, count, false)) return;
  cta.free_registers += t->warp->registers - count;
  t->warp->registers = count;
  for (Thread* w : cta.register_waiters) cta.wake(*w);
  cta.register_waiters.clear();
}

void RegistersUp(Thread* t, u32 site, u32 count) {
  Cta& cta = *t->cta;
  cta.step(*t, site);
  if (t->lane() != 0 || !sensible(*t, site, count, true)) return;
  const u32 more = count - t->warp->registers;
  while (cta.free_registers < more) {
    t->site = site;
    cta.register_waiters.push_back(t);
    cta.block(*t, State::Registers);
  }
  cta.free_registers -= more;
  t->warp->registers = count;
}

}  // namespace tessera::simt::hooks
