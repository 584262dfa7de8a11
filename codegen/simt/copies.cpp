// cp.async: every thread has a copy engine that is an agent of its own. Its writes are recorded when they are issued, at the epoch of their group;
// a wait tells the thread of the groups it covers, barriers tell the others.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "codegen/simt/hooks.h"

namespace tessera::simt {
namespace {

void perform(Cta& cta, const Copy& c) {
  if (c.read) std::memcpy(cta.shared + c.offset, c.source, c.read);
  std::memset(cta.shared + c.offset + c.read, 0, c.bytes - c.read);
}

void issue(Thread& t, u32 site, u32 address, void* source, u32 bytes, u32 read) {
  Cta& cta = *t.cta;
  cta.step(t, site);
  if (read > bytes) {
    cta.report(HazardKind::BadOperand, site, fmt::format("reads {} bytes of {}", read, bytes));
    return;
  }
  if (!cta.in_shared(address, bytes)) {
    cta.report(HazardKind::OutOfBounds, site,
               fmt::format("writes {} bytes at {} of the {} bytes of shared memory", bytes, static_cast<std::int64_t>(address) - cta.base,
                           cta.run.shared_bytes));
    return;
  }
  const u32 offset = address - cta.base;
  if (offset % bytes || reinterpret_cast<std::uintptr_t>(source) % bytes) {
    cta.report(HazardKind::Misaligned, site, fmt::format("copies {} bytes between addresses that are no multiples of {}", bytes, bytes));
    return;
  }
  if (read) {
    GlobalShadow& global = *cta.run.global;
    const int block = global.find(source, read);
    if (block < 0) {
      cta.report(HazardKind::OutOfBounds, site, global.nearest(source));
      return;
    }
    global.access(block, source, read, Touch::Read, t, site);
    if (cta.run.options.traffic) cta.traffic.access(t.warp->id, t.lane(), site, reinterpret_cast<std::uintptr_t>(source), bytes, false);
  }
  if (cta.run.options.races) cta.shadow.access(offset, bytes, {Touch::Write, t.copy_agent(), t.groups + 1, site, &t});
  const Copy copy{offset, static_cast<const std::byte*>(source), bytes, read, t.groups + 1};
  if (cta.run.policy == SimtPolicy::Eager) {
    perform(cta, copy);
    return;
  }
  if (t.copies.empty()) cta.copying.push_back(&t);
  t.copies.push_back(copy);
}

}  // namespace

void Cta::finish_some_copy(Thread& t) {
  const std::size_t i = random() % t.copies.size();
  perform(*this, t.copies[i]);
  t.copies[i] = t.copies.back();
  t.copies.pop_back();
  if (t.copies.empty()) std::erase(copying, &t);
}

void Cta::finish_copies(Thread& t, std::uint32_t last) {
  if (t.copies.empty()) return;
  std::erase_if(t.copies, [&](const Copy& c) {
    if (c.group > last) return false;
    perform(*this, c);
    return true;
  });
  if (t.copies.empty()) std::erase(copying, &t);
}

namespace hooks {

void CpAsync16(Thread* t, u32 site, u32 address, void* source, u32 bytes) { issue(*t, site, address, source, 16, bytes); }
void CpAsync16Kept(Thread* t, u32 site, u32 address, void* source, u32 bytes, u64) { issue(*t, site, address, source, 16, bytes); }
void CpAsync8(Thread* t, u32 site, u32 address, void* source, u32 bytes) { issue(*t, site, address, source, 8, bytes); }
void CpAsync4(Thread* t, u32 site, u32 address, void* source, u32 bytes) { issue(*t, site, address, source, 4, bytes); }

void CpAsyncCommit(Thread* t, u32 site) {
  t->cta->step(*t, site);
  ++t->groups;
}

void CpAsyncWait(Thread* t, u32 site, u32 allowed) {
  t->cta->step(*t, site);
  if (t->groups <= allowed) return;
  const u32 last = t->groups - allowed;
  t->cta->finish_copies(*t, last);
  t->groups_known = std::max(t->groups_known, last);
}

}  // namespace hooks
}  // namespace tessera::simt
