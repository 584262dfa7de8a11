// Ordinary loads, stores and atomics.
#include <fmt/format.h>

#include <cstring>

#include "codegen/simt/hooks.h"

namespace tessera::simt::hooks {
namespace {

/// Where a faulty access goes instead: reads give NaN patterns and harm nobody.
void* scratch(u32 touch) {
  alignas(64) static thread_local std::byte bytes[256];
  if (touch == code(Touch::Read)) {
    for (std::byte& b : bytes) b = std::byte{0xff};
  }
  return bytes;
}

}  // namespace

void* shared_access(Thread* t, u32 site, u32 address, u32 bytes, u32 align, u32 touch) {
  Cta& cta = *t->cta;
  cta.step(*t, site);
  if (!cta.in_shared(address, bytes)) {
    cta.report(HazardKind::OutOfBounds, site,
               fmt::format("touches {} bytes at {} of the {} bytes of shared memory", bytes, static_cast<std::int64_t>(address) - cta.base,
                           cta.run.shared_bytes));
    return scratch(touch);
  }
  const u32 offset = address - cta.base;
  if (offset % align) {
    cta.report(HazardKind::Misaligned, site, fmt::format("touches {} bytes of shared memory at an address that is no multiple of {}", bytes, align));
    return scratch(touch);
  }
  if (cta.run.options.races) cta.shadow.access(offset, bytes, {static_cast<Touch>(touch), t->agent(), t->epoch, site, t});
  if (cta.run.options.traffic) cta.traffic.access(t->warp->id, t->lane(), site, offset, bytes, true);
  if (touch == code(Touch::Atomic)) cta.maybe_yield(*t);
  return cta.shared + offset;
}

void* global_access(Thread* t, u32 site, void* address, u32 bytes, u32 align, u32 touch) {
  Cta& cta = *t->cta;
  cta.step(*t, site);
  GlobalShadow& global = *cta.run.global;
  const int block = global.find(address, bytes);
  if (block < 0) {
    cta.report(HazardKind::OutOfBounds, site, global.nearest(address));
    return scratch(touch);
  }
  if (reinterpret_cast<std::uintptr_t>(address) % align) {
    cta.report(HazardKind::Misaligned, site,
               fmt::format("touches {} bytes of `{}` at an address that is no multiple of {}", bytes, global.block(block).name, align));
    return scratch(touch);
  }
  global.access(block, address, bytes, static_cast<Touch>(touch), *t, site);
  if (cta.run.options.traffic) cta.traffic.access(t->warp->id, t->lane(), site, reinterpret_cast<std::uintptr_t>(address), bytes, false);
  if (touch == code(Touch::Atomic)) cta.maybe_yield(*t);
  return address;
}

u32 shared_base(Thread* t) { return t->cta->base; }

namespace {

void* kept(Thread* t, u32 site, void* address, u32 bytes, Touch touch) { return global_access(t, site, address, bytes, bytes, code(touch)); }

}  // namespace

// What a cache keeps changes no result.
u64 CachePolicy(Thread*, u32, u32 order) { return order; }
u32 LoadKept8(Thread* t, u32 site, void* address, u64) { return *static_cast<const std::uint8_t*>(kept(t, site, address, 1, Touch::Read)); }
u32 LoadKept16(Thread* t, u32 site, void* address, u64) { return *static_cast<const std::uint16_t*>(kept(t, site, address, 2, Touch::Read)); }
void LoadKept(Thread* t, u32 site, void* address, u64, u32* registers, u32 counts) {
  const u32 bytes = 4 * (counts >> 16);
  std::memcpy(registers, kept(t, site, address, bytes, Touch::Read), bytes);
}
void StoreKept8(Thread* t, u32 site, void* address, u64, u32 value) { std::memcpy(kept(t, site, address, 1, Touch::Write), &value, 1); }
void StoreKept16(Thread* t, u32 site, void* address, u64, u32 value) { std::memcpy(kept(t, site, address, 2, Touch::Write), &value, 2); }
void StoreKept(Thread* t, u32 site, void* address, u64, u32* registers, u32 counts) {
  const u32 bytes = 4 * (counts & 0xffff);
  std::memcpy(kept(t, site, address, bytes, Touch::Write), registers, bytes);
}

u32 Tid(Thread* t, u32 site) {
  t->cta->step(*t, site);
  return t->id;
}
u32 Ctaid(Thread* t, u32 site) {
  t->cta->step(*t, site);
  return t->cta->id;
}
u32 Nctaid(Thread* t, u32 site) {
  t->cta->step(*t, site);
  return t->cta->run.ctas;
}

}  // namespace tessera::simt::hooks
