// Bulk stores (PTX ISA 9.0, "cp.async.bulk.tensor", "cp.async.bulk.commit_group"): a thread's stores are an agent of their own, each group one epoch
// of it. Their reads of shared memory are recorded when they are issued, and known to whoever has waited for the group to be read.
#include <fmt/format.h>

#include <cstring>
#include <tuple>

#include "codegen/simt/bulk_box.h"
#include "codegen/simt/hooks.h"

namespace tessera::simt {
namespace {

void bulk_store(Thread* t, u32 site, u32 address, void* map, u32 when, std::initializer_list<u32> coordinates) {
  Cta& cta = *t->cta;
  cta.step(*t, site);
  if (!when) return;
  std::optional<BulkBox> b = box_of(*t, site, address, map, coordinates, Touch::Write);
  if (!b) return;
  if (t->store_agent < 0) std::tie(t->store_agent, t->stores_before) = cta.next_bulk_agent();
  b->agent = cta.first_bulk_agent() + static_cast<u32>(t->store_agent);
  b->epoch = t->stores_before + t->store_groups + 1;
  std::uint32_t& epochs = cta.bulk_epochs[static_cast<std::size_t>(t->store_agent)];
  epochs = std::max(epochs, b->epoch);
  if (cta.run.options.races) {
    // What lies outside of the tensor goes nowhere: it may never have been written.
    u32 last = ~u32{0};
    each_element(*b, [&](u32 offset, const std::byte* there, u32 bytes) {
      if (!there || offset / 16 == last) return;
      last = offset / 16;
      cta.shadow.access(offset, std::max(bytes, 16 - offset % 16), {Touch::Read, b->agent, b->epoch, site, t, true});
    });
  }
  t->stores.push_back(std::move(*b));
  t->stores_open = true;
  t->store_site = site;
  if (cta.run.policy == SimtPolicy::Eager) cta.finish_stores(*t, t->stores.back().epoch);
}

}  // namespace

std::optional<BulkBox> box_of(Thread& t, u32 site, u32 address, void* map, std::initializer_list<u32> coordinates, Touch touch) {
  Cta& cta = *t.cta;
  BulkBox b;
  b.map = static_cast<const TensorMapValues*>(map);
  b.bytes = b.map->element_bytes;
  for (std::size_t a = 0; a < b.map->rank; ++a) b.bytes *= b.map->box[a];
  for (const u32 c : coordinates) b.at.push_back(static_cast<std::int32_t>(c));
  if (b.at.size() != b.map->rank) {
    cta.report(HazardKind::BadOperand, site, fmt::format("has {} coordinates for a map of {} axes", b.at.size(), b.map->rank));
    return std::nullopt;
  }
  const auto bytes = static_cast<u32>(b.bytes);
  const char* does = touch == Touch::Read ? "writes" : "reads";  // to shared memory what it reads from the tensor, and back
  if (!cta.in_shared(address, bytes) || b.map->box[0] * static_cast<u32>(b.map->element_bytes) != 128) {
    cta.report(HazardKind::OutOfBounds, site,
               fmt::format("{} {} bytes at {} of the {} bytes of shared memory", does, bytes, static_cast<std::int64_t>(address) - cta.base,
                           cta.run.shared_bytes));
    return std::nullopt;
  }
  b.offset = address - cta.base;
  if (b.offset % 128 != 0) {
    cta.report(HazardKind::Misaligned, site, fmt::format("{} {} an address that is no multiple of 128", does, touch == Touch::Read ? "to" : "from"));
    return std::nullopt;
  }
  GlobalShadow& global = *cta.run.global;
  bool all = true;
  each_row(b, [&](std::int64_t, std::int64_t, std::int64_t count, std::byte* there) {
    const auto width = static_cast<std::size_t>(count * b.map->element_bytes);
    if (!width || !all) return;
    const int block = global.find(there, width);
    if (block < 0) {
      cta.report(HazardKind::OutOfBounds, site, global.nearest(global.find(there, 1) < 0 ? there : there + width - 1));
      all = false;
      return;
    }
    global.access(block, there, width, touch, t, site);
  });
  if (!all) return std::nullopt;
  return b;
}

std::pair<std::int32_t, std::uint32_t> Cta::next_bulk_agent() {
  const std::uint32_t agent = next_bulk;
  next_bulk = (next_bulk + 1) % kBulkAgents;
  return {static_cast<std::int32_t>(agent), bulk_epochs[agent]};
}

void Cta::finish_stores(Thread& t, std::uint32_t last) {
  std::erase_if(t.stores, [&](const BulkBox& b) {
    if (b.epoch > last) return false;
    each_element(b, [&](u32 offset, std::byte* there, u32 bytes) {
      if (there) std::memcpy(there, shared + offset, bytes);
    });
    return true;
  });
}

void Cta::end_stores(Thread& t) {
  if (t.store_groups_read < t.store_groups || t.stores_open)
    report(HazardKind::Race, t.store_site, "may read shared memory when its thread has ended: no wait for its group stands between");
  finish_stores(t, ~std::uint32_t{0});
}

namespace hooks {

void TmaStore2(Thread* t, u32 site, u32 address, void* map, u32 when, u32 c0, u32 c1) { bulk_store(t, site, address, map, when, {c0, c1}); }
void TmaStore3(Thread* t, u32 site, u32 address, void* map, u32 when, u32 c0, u32 c1, u32 c2) {
  bulk_store(t, site, address, map, when, {c0, c1, c2});
}
void TmaStore4(Thread* t, u32 site, u32 address, void* map, u32 when, u32 c0, u32 c1, u32 c2, u32 c3) {
  bulk_store(t, site, address, map, when, {c0, c1, c2, c3});
}
void TmaStore5(Thread* t, u32 site, u32 address, void* map, u32 when, u32 c0, u32 c1, u32 c2, u32 c3, u32 c4) {
  bulk_store(t, site, address, map, when, {c0, c1, c2, c3, c4});
}
void TmaStoreKept2(Thread* t, u32 site, u32 address, void* map, u32 when, u32 c0, u32 c1, u64) { bulk_store(t, site, address, map, when, {c0, c1}); }
void TmaStoreKept3(Thread* t, u32 site, u32 address, void* map, u32 when, u32 c0, u32 c1, u32 c2, u64) {
  bulk_store(t, site, address, map, when, {c0, c1, c2});
}
void TmaStoreKept4(Thread* t, u32 site, u32 address, void* map, u32 when, u32 c0, u32 c1, u32 c2, u32 c3, u64) {
  bulk_store(t, site, address, map, when, {c0, c1, c2, c3});
}
void TmaStoreKept5(Thread* t, u32 site, u32 address, void* map, u32 when, u32 c0, u32 c1, u32 c2, u32 c3, u32 c4, u64) {
  bulk_store(t, site, address, map, when, {c0, c1, c2, c3, c4});
}

void BulkCommit(Thread* t, u32 site) {
  t->cta->step(*t, site);
  ++t->store_groups;
  t->stores_open = false;
}

void BulkWaitRead(Thread* t, u32 site, u32 allowed) {
  Cta& cta = *t->cta;
  cta.step(*t, site);
  if (t->store_groups <= allowed) return;
  const u32 last = t->store_groups - allowed;
  if (last <= t->store_groups_read) return;
  t->store_groups_read = last;
  if (t->store_agent < 0) return;
  cta.finish_stores(*t, t->stores_before + last);
  if (!cta.run.options.races) return;
  Clock seen(cta.clocks);
  seen.join(t->base);
  seen.raise(cta.first_bulk_agent() + static_cast<u32>(t->store_agent), t->stores_before + last);
  t->base = std::move(seen);
}

}  // namespace hooks
}  // namespace tessera::simt
