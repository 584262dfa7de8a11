#include "codegen/simt/memory.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "codegen/simt/cta.h"

namespace tessera {
namespace {

// Beyond a tensor lies more than the largest tile that a wrong row or a missing mask could reach.
constexpr std::size_t kGap = 256 << 10;

struct Free {
  void operator()(std::byte* p) const { ::operator delete(p, std::align_val_t{4096}); }
};

}  // namespace

struct SimtMemory::Impl {
  std::vector<Block> blocks;
  std::vector<std::unique_ptr<std::byte, Free>> storage;
  std::vector<std::uint64_t> addresses;
};

SimtMemory::SimtMemory(std::span<const SimtTensor> tensors) : impl_(std::make_unique<Impl>()) {
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return std::less<>()(tensors[a].host, tensors[b].host); });
  impl_->addresses.resize(tensors.size());
  std::vector<std::size_t> home(tensors.size());
  for (std::size_t i : order) {
    const SimtTensor& t = tensors[i];
    auto* host = static_cast<std::byte*>(t.host);
    Block* last = impl_->blocks.empty() ? nullptr : &impl_->blocks.back();
    if (last && host < last->host + last->bytes) {
      last->bytes = std::max(last->bytes, static_cast<std::size_t>(host - last->host) + t.bytes);
      last->name += "/" + t.name;
      last->writable |= t.writable;
      last->initialised |= t.initialised;
    } else {
      impl_->blocks.push_back({nullptr, t.bytes, t.name, host, t.writable, t.initialised});
    }
    home[i] = impl_->blocks.size() - 1;
  }
  for (Block& b : impl_->blocks) {
    const std::size_t phase = reinterpret_cast<std::uintptr_t>(b.host) % 256;
    impl_->storage.emplace_back(static_cast<std::byte*>(::operator new(kGap + phase + b.bytes + kGap, std::align_val_t{4096})));
    b.data = impl_->storage.back().get() + kGap + phase;
    if (b.bytes) std::memcpy(b.data, b.host, b.bytes);
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const Block& b = impl_->blocks[home[i]];
    impl_->addresses[i] = reinterpret_cast<std::uint64_t>(b.data + (static_cast<std::byte*>(tensors[i].host) - b.host));
  }
}

SimtMemory::~SimtMemory() = default;
SimtMemory::SimtMemory(SimtMemory&&) noexcept = default;
SimtMemory& SimtMemory::operator=(SimtMemory&&) noexcept = default;

std::uint64_t SimtMemory::address(std::size_t i) const { return impl_->addresses.at(i); }

void SimtMemory::copy_back() const {
  for (const Block& b : impl_->blocks) {
    if (b.writable && b.bytes) std::memcpy(b.host, b.data, b.bytes);
  }
}

const std::vector<SimtMemory::Block>& SimtMemory::blocks() const { return impl_->blocks; }

namespace simt {

GlobalShadow::GlobalShadow(const SimtMemory& memory, GpuReport* report, std::uint32_t* tickets, bool races, bool locked)
    : blocks_(memory.blocks()), records_(memory.blocks().size()), races_(races), locked_(locked) {
  blocks_.push_back({reinterpret_cast<std::byte*>(report), sizeof(GpuReport), "report", nullptr, true, true});
  blocks_.push_back({reinterpret_cast<std::byte*>(tickets), sizeof(*tickets), "tickets", nullptr, true, true});
}

int GlobalShadow::find(const void* p, std::size_t bytes) const {
  const auto* a = static_cast<const std::byte*>(p);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const SimtMemory::Block& b = blocks_[i];
    if (a >= b.data && bytes <= b.bytes && a <= b.data + (b.bytes - bytes)) return static_cast<int>(i);
  }
  return -1;
}

std::string GlobalShadow::nearest(const void* p) const {
  const auto a = reinterpret_cast<std::intptr_t>(p);
  std::string out = "touches memory that belongs to no tensor";
  std::intptr_t least = kGap;
  for (const SimtMemory::Block& b : blocks_) {
    const auto first = reinterpret_cast<std::intptr_t>(b.data), end = first + static_cast<std::intptr_t>(b.bytes);
    const std::intptr_t before = first - a, beyond = a - end;
    if (before > 0 && before < least) {
      least = before;
      out = "touches memory before the first element of `" + b.name + "`";
    }
    if (a >= first && beyond < least) {
      least = std::max<std::intptr_t>(beyond, 0);
      out = "touches memory beyond the last element of `" + b.name + "`";
    }
  }
  return out;
}

void GlobalShadow::access(int block, const void* p, std::size_t bytes, Touch touch, Thread& thread, std::uint32_t site) {
  const SimtMemory::Block& b = this->block(block);
  if (touch != Touch::Read && !b.writable) thread.cta->report(HazardKind::ReadOnly, site, "writes to `" + b.name + "`, which the launch only reads");
  // What nobody may write needs no record of its readers.
  if (!races_ || !b.writable || static_cast<std::size_t>(block) >= records_.size()) return;
  Record& r = records_[static_cast<std::size_t>(block)];
  std::unique_lock<std::mutex> lock(r.mutex, std::defer_lock);
  if (locked_) lock.lock();
  const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(p) - b.data);
  std::size_t unit = 4;
  while (offset % unit || bytes % unit) unit /= 2;
  if (r.cells.empty() || unit < r.unit) refine(r, b.bytes, std::min(unit, r.unit));
  for (std::size_t i = offset / r.unit; i < (offset + bytes) / r.unit; ++i) check(r.cells[i], touch, thread, site, b);
}

void GlobalShadow::refine(Record& r, std::size_t bytes, std::size_t unit) const {
  std::vector<Cell> cells((bytes + unit - 1) / unit);
  if (!r.cells.empty()) {
    for (std::size_t i = 0; i < cells.size(); ++i) cells[i] = r.cells[i * unit / r.unit];
  }
  r.cells = std::move(cells);
  r.unit = unit;
}

void GlobalShadow::check(Cell& c, Touch touch, Thread& t, std::uint32_t site, const SimtMemory::Block& b) {
  Cta& cta = *t.cta;
  const std::uint32_t me = cta.id + 1;
  const auto foreign = [&](std::uint32_t who) { return who && who != me; };
  const bool unseen_write = c.writer == me && !t.knows(c.write_agent, c.write_epoch);
  const bool unseen_read = c.reader == me && !t.knows(c.read_agent, c.read_epoch);
  switch (touch) {
    case Touch::Read:
      if (foreign(c.writer)) cta.report(HazardKind::Race, site, "reads an element of `" + b.name + "` that another CTA writes at", c.write_site);
      if (unseen_write) cta.report(HazardKind::Race, site, "reads, unordered, an element of `" + b.name + "` written at", c.write_site);
      if (foreign(c.atomic)) cta.report(HazardKind::Race, site, "reads an element of `" + b.name + "` that another CTA updates");
      if (!c.writer && !c.atomic && !b.initialised)
        cta.report(HazardKind::Uninitialised, site, "reads an element of `" + b.name + "` that nobody wrote");
      c.reader = foreign(c.reader) ? many : me;
      c.read_agent = static_cast<std::uint16_t>(t.agent());
      c.read_epoch = t.epoch;
      c.read_site = site;
      return;
    case Touch::Write:
      if (foreign(c.writer) || foreign(c.atomic)) {
        cta.report(HazardKind::DoubleWrite, site, "writes an element of `" + b.name + "` that another CTA writes too, at", c.write_site);
      }
      if (unseen_write) cta.report(HazardKind::Race, site, "overwrites, unordered, an element of `" + b.name + "` written at", c.write_site);
      if (foreign(c.reader)) cta.report(HazardKind::Race, site, "writes an element of `" + b.name + "` that another CTA reads at", c.read_site);
      if (unseen_read) cta.report(HazardKind::Race, site, "overwrites, unordered, an element of `" + b.name + "` read at", c.read_site);
      c.writer = me;
      c.write_agent = static_cast<std::uint16_t>(t.agent());
      c.write_epoch = t.epoch;
      c.write_site = site;
      return;
    case Touch::Atomic:
      if (foreign(c.writer)) {
        cta.report(HazardKind::DoubleWrite, site, "updates an element of `" + b.name + "` that another CTA writes plainly at", c.write_site);
      }
      if (unseen_write) cta.report(HazardKind::Race, site, "updates, unordered, an element of `" + b.name + "` written at", c.write_site);
      if (foreign(c.reader) || unseen_read) {
        cta.report(HazardKind::Race, site, "updates an element of `" + b.name + "` that is read plainly at", c.read_site);
      }
      c.atomic = foreign(c.atomic) ? many : me;
      return;
  }
}

}  // namespace simt
}  // namespace tessera
