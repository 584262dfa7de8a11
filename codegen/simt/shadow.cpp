#include "codegen/simt/shadow.h"

#include <fmt/format.h>

#include <algorithm>

#include "codegen/simt/cta.h"

namespace tessera::simt {

void SharedShadow::reset(std::size_t bytes) {
  const std::size_t n = (bytes + width - 1) / width;
  granules_.assign(n, Granule());
  whole_.resize(n);
  for (Cell& c : whole_) {
    c.epoch = 0;
    c.uses.clear();
  }
  parts_.clear();
}

void SharedShadow::access(std::uint32_t offset, std::uint32_t bytes, const Access& a) {
  const std::uint32_t end = offset + bytes;
  for (std::uint32_t g = offset / width; g * width < end; ++g) {
    const std::uint32_t low = std::max(offset, g * width) - g * width, high = std::min(end, g * width + width) - g * width;
    const std::uint32_t unit = (low | high) % 16 == 0 ? 16 : (low | high) % 4 == 0 ? 4 : 1;
    if (unit < granules_[g].unit) split(g, unit);
    const Granule& s = granules_[g];
    if (s.unit == 16) {
      touch(whole_[g], a);
    } else {
      for (std::uint32_t i = low / s.unit; i < high / s.unit; ++i) touch(parts_[s.first + i], a);
    }
  }
}

void SharedShadow::split(std::size_t granule, std::uint32_t unit) {
  Granule& g = granules_[granule];
  const std::uint32_t before = width / g.unit, after = width / unit;
  const auto first = static_cast<std::uint32_t>(parts_.size());
  parts_.resize(first + after);
  for (std::uint32_t i = 0; i < after; ++i) parts_[first + i] = before == 1 ? whole_[granule] : parts_[g.first + i * before / after];
  g = {first, static_cast<std::uint8_t>(unit)};
}

void SharedShadow::touch(Cell& c, const Access& a) {
  Cta& cta = *a.thread->cta;
  const bool write = a.touch == Touch::Write;
  if (c.epoch == 0) {
    if (!write) cta.report(HazardKind::Uninitialised, a.site, "reads shared memory that nobody wrote");
  } else if (!a.thread->knows(c.agent, c.epoch)) {
    cta.report(HazardKind::Race, a.site, write ? "overwrites, unordered, what is written at" : "reads, unordered, what is written at", c.site);
  }
  const bool ordinary = c.epoch != 0 && c.agent % agents_of_cta(cta.run) < 2 * cta.threads.size();  // written by a thread or its cp.async
  if (a.proxy && ordinary && a.thread->knows(c.agent, c.epoch) && a.thread->proxy[c.agent] < c.epoch) {
    cta.report(HazardKind::Race, a.site,
               fmt::format("{} by the asynchronous proxy, without a proxy fence between, what is written at", write ? "overwrites" : "reads"),
               c.site);
  }
  if (!write) {
    use(c, a);
    return;
  }
  for (const Use& u : c.uses) {
    if (!a.thread->knows(u.agent, u.epoch)) cta.report(HazardKind::Race, a.site, "overwrites what may still be in use at", u.site);
  }
  c.uses.clear();
  c.epoch = a.epoch;
  c.site = a.site;
  c.agent = static_cast<std::uint16_t>(a.agent);
}

void SharedShadow::use(Cell& c, const Access& a) {
  const bool atomic = a.touch == Touch::Atomic;
  if (!c.uses.empty()) {
    const Use& last = c.uses.back();
    if (last.agent == a.agent && last.epoch == a.epoch && last.atomic == atomic) return;
  }
  for (std::size_t i = 0; i < c.uses.size();) {
    Use& u = c.uses[i];
    const bool known = a.thread->knows(u.agent, u.epoch);
    if (u.atomic != atomic) {
      if (!known)
        a.thread->cta->report(HazardKind::Race, a.site, atomic ? "updates what is read plainly at" : "reads plainly what is updated at", u.site);
    } else if (known) {
      // Ordered before this one: whoever comes after this comes after that.
      u = c.uses.back();
      c.uses.pop_back();
      continue;
    }
    ++i;
  }
  c.uses.push_back({a.epoch, a.site, static_cast<std::uint16_t>(a.agent), atomic});
}

}  // namespace tessera::simt
