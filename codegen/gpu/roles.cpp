// Which kernels run by roles: a warpgroup that asks for tiles beside those that compute. See plan.h.
//
// What the asking thread does must be known from scalars alone: the bounds of the loops it feeds, and where their tiles lie.
#include <fmt/format.h>

#include <algorithm>

#include "codegen/gpu/plan.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;
using ir::Value;

namespace {

constexpr std::int64_t kRegisterFile = 65536;
constexpr int kAsking = 32;  ///< registers that asking takes at least; the rest is for those that compute
constexpr std::int64_t kMostRegisters = 240;
constexpr std::int64_t kMostBuffers = 2;  ///< of pieces that a warpgroup stores at a time
/// What the estimate of a thread's registers counts for fetching tiles beside products, which here is others' work.
constexpr std::int64_t kForFetching = 24;

/// Of a thread, such that all threads of so many warpgroups have as many; allocated in eights.
std::int64_t even_share(std::int64_t groups) { return kRegisterFile / (groups * kGroupThreads) / 8 * 8; }

/// Of each thread of so many warpgroups beside one whose threads have `asking`.
std::int64_t left_beside(std::int64_t asking, std::int64_t groups) { return ((groups + 1) * even_share(groups + 1) - asking) / groups / 8 * 8; }

}  // namespace

/// Adds the ops of the kernel's block that `v` is computed by; false if it is no scalar, range or view known from parameters that are only read.
/// Ops within `loop` are looked through: they are the loop's own address ops.
bool Plan::add_to_slice(const Value* v, const ir::Block* loop, std::set<const Op*>& slice) const {
  if (!v->def) return v->block == &kernel_.body || (v->block == loop && v->index == 0);
  const Op& op = *v->def;
  const bool outside = op.parent == &kernel_.body;
  if ((!outside && op.parent != loop) || !op.regions.empty()) return false;
  if (slice.count(&op) != 0) return true;
  if (!ir::is_view(v->type) && !ir::is_range(v->type) && !is_scalar(v)) return false;
  const bool load = op.kind == OpKind::Load;
  if (load ? kernel_.params[parameter_index(kernel_, op.operands[0])].mode != ir::Mode::In : !ir::has(op.kind, ir::Pure)) return false;
  for (const Value* o : op.operands) {
    if (!add_to_slice(o, loop, slice)) return false;
  }
  if (outside) slice.insert(&op);
  return true;
}

bool Plan::fits_computing(std::int64_t registers) const {
  const std::int64_t groups = warps_ / 4;
  return registers - kForFetching <= std::min(kMostRegisters, left_beside(kAsking, groups));
}

void Plan::choose_roles() {
  const std::int64_t groups = warps_ / 4;
  if (bulk_barriers_.empty() || groups < 2 || groups > 3 || !wishes_.asks) return;
  std::int64_t asking = wishes_.asking ? wishes_.asking->number : kAsking;
  const std::int64_t all = (groups + 1) * even_share(groups + 1);
  std::int64_t computing = std::min(kMostRegisters, left_beside(asking, groups));
  if (wishes_.computing) {
    computing = wishes_.computing->number;
  } else if (!wishes_.asking) {
    // What those that compute, in eights, leave over: asking may transpose, too.
    asking = (all - groups * computing) / 8 * 8;
  }
  if (asking + groups * computing > all) {
    throw Unsupported{
        (wishes_.computing ? wishes_.computing : wishes_.asking)->span,
        fmt::format("its schedule gives {} warpgroups {} registers a thread and one {}, but all of them have {}", groups, computing, asking, all)};
  }
  if (registers_ - kForFetching > computing) return;
  Roles r;
  r.asking = static_cast<int>(asking);
  r.computing = static_cast<int>(computing);
  r.turns = wishes_.turns;
  std::set<const Op*> fed, slice;
  for (const auto& op : kernel_.body.ops) {
    if (bulk_barriers_.count(op.get()) == 0) continue;
    fed.insert(op.get());
    const bool goes_on = std::any_of(r.chains.begin(), r.chains.end(), [&](const Op* head) {
      const std::vector<const Op*>& rest = continued_by(*head);
      return std::find(rest.begin(), rest.end(), op.get()) != rest.end();
    });
    if (!goes_on) r.chains.push_back(op.get());
    for (std::size_t i = 0; i < 3; ++i) {
      if (!add_to_slice(op->operands[i], nullptr, slice)) return;
    }
    for (const int s : rings_of(*op)) {
      for (const Value* o : stages_[static_cast<std::size_t>(s)].source->def->operands) {
        if (!add_to_slice(o, &op->region(), slice)) return;
      }
    }
  }
  for (const Stage& s : stages_) {
    if (s.loop && fed.count(s.loop) == 0) return;
  }
  const std::vector<Stage> before = stages_;
  const std::map<const Op*, std::int64_t> barriers_before = bulk_barriers_;
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    Stage& s = stages_[i];
    if (s.loop || !s.from_load || s.block() != &kernel_.body || in_registers(s.source)) continue;
    const std::vector<Value*>& operands = s.source->def->operands;
    std::set<const Op*> more = slice;
    if (!std::all_of(operands.begin(), operands.end(), [&](const Value* o) { return add_to_slice(o, nullptr, more); })) continue;
    s.bulk = bulk_copy(s);
    if (s.bulk && s.bulk->cut) s.bulk.reset();
    if (!s.bulk) continue;
    slice = std::move(more);
    r.tiles.push_back(static_cast<int>(i));
  }
  r.stores = bulk_stores();
  for (const auto& [store, copy] : r.stores) {
    const ir::Dims& d = dims(store->operands[1]);
    const std::int64_t pieces = d[0] / (kPieceRows * groups) * ((d[1] * cell_bytes(dtype(store->operands[1])) + kPanelBytes - 1) / kPanelBytes);
    r.buffers = std::max(r.buffers, static_cast<int>(std::min<std::int64_t>(kMostBuffers, pieces)));
  }
  const std::vector<Stage> as_asked = stages_;
  std::int64_t bytes = place_with_roles(r);
  while (bytes > target_.max_shared_cta() && !r.stores.empty()) {
    if (asked_ring_ || !shrink_rings()) {
      stages_ = as_asked;
      r.stores.clear();
      r.buffers = 0;
    }
    bytes = place_with_roles(r);
  }
  if (bytes > target_.max_shared_cta()) {
    stages_ = before;
    bulk_barriers_ = barriers_before;
    return;
  }
  staged_bytes_ = bytes;
  double_tiles(r);
  for (const auto& op : kernel_.body.ops) {
    if (slice.count(op.get()) != 0) r.slice.push_back(op.get());
  }
  roles_ = std::move(r);
}

/// Where there is room, tiles that come once an instance have two slots: the next instance's come while this one's are still read.
void Plan::double_tiles(Roles& r) {
  if (r.tiles.empty() || wishes_.persistence == Persistence::Off) return;
  const auto slots = [&](int n) {
    for (const int i : r.tiles) stages_[static_cast<std::size_t>(i)].slots = n;
    return place_with_roles(r);
  };
  std::int64_t bytes = slots(2);
  if (bytes > target_.max_shared_cta()) bytes = slots(1);
  staged_bytes_ = bytes;
}

std::int64_t Plan::place_with_roles(Roles& r) {
  // Tiles of the next instance come while this one goes on: no two stages share memory.
  std::int64_t end = 0;
  const auto take = [&](std::int64_t bytes, std::int64_t alignment) {
    const std::int64_t at = (end + alignment - 1) / alignment * alignment;
    end = at + bytes;
    return at;
  };
  for (Stage& s : stages_) {
    if (!s.loop || std::find(r.chains.begin(), r.chains.end(), s.loop) != r.chains.end()) s.offset = take(s.slot_bytes() * s.slots, s.alignment());
  }
  if (r.buffers > 0) r.pieces = take(r.buffers * (warps_ / 4) * kPieceBytes, 8 * kPanelBytes);
  stage_end_ = take(0, 128);
  for (const Op* head : r.chains) {
    const std::vector<int> rings = rings_of(*head);
    const std::int64_t at = take(16 * stages_[static_cast<std::size_t>(rings[0])].slots, 16);
    bulk_barriers_[head] = at;
    const std::vector<int> transposed = transposed_of(*head);
    const std::int64_t transposed_at = transposed.empty() ? 0 : take(8 * stages_[static_cast<std::size_t>(rings[0])].slots, 16);
    for (const int s : transposed) stages_[static_cast<std::size_t>(s)].transposed_barriers = transposed_at;
    for (const Op* next : continued_by(*head)) {
      bulk_barriers_[next] = at;
      const std::vector<int> same = rings_of(*next);
      for (std::size_t k = 0; k < rings.size(); ++k)
        stages_[static_cast<std::size_t>(same[k])].offset = stages_[static_cast<std::size_t>(rings[k])].offset;
    }
  }
  for (const int i : r.tiles) {
    Stage& s = stages_[static_cast<std::size_t>(i)];
    s.barriers = take(16 * s.slots, 16);
  }
  r.tickets = take(kTickets * (kTicketBarriers + 4 * (1 + static_cast<std::int64_t>(kernel_.grid.size()))), 16);
  r.commands = take(kCommandBytes, 16);
  if (wishes_.cluster && wishes_.cluster->size.number > 1) r.handed = take(kHandedBytes, 16);
  return take(0, 128);
}

int Plan::transposing_warps() const {
  const bool any = roles_ && std::any_of(stages_.begin(), stages_.end(), [](const Stage& s) { return s.transposed_from >= 0; });
  return any ? kTransposingWarps : 0;
}

const Op* Plan::last_reader(int stage) const {
  const Op* last = nullptr;
  const auto reads = [&](const Op& op) {
    if (op.kind != OpKind::Dot) return false;
    const DotPlan& d = dots_.at(&op);
    return d.a.stage == stage || d.b.stage == stage;
  };
  for (const auto& op : kernel_.body.ops) {
    bool found = reads(*op);
    for (const auto& region : op->regions) {
      ir::walk(*region, [&](const Op& inner) { found = found || reads(inner); });
    }
    if (found) last = op.get();
  }
  return last;
}

int Plan::trips_before_tiles(const Op& head) const {
  // A second slot is free already.
  if (!roles_->tiles.empty() && stages_[static_cast<std::size_t>(roles_->tiles[0])].slots > 1) return 0;
  const int slots = stages_[static_cast<std::size_t>(rings_of(head)[0])].slots;
  return freed_in_last_trip(head).empty() ? slots : slots - 1;
}

std::vector<int> Plan::freed_in_last_trip(const Op& head) const {
  std::vector<int> freed;
  if (!roles_ || skews_of(head).empty()) return freed;
  const std::vector<const Op*>& rest = continued_by(head);
  const Op* last = rest.empty() ? &head : rest.back();
  for (const int stage : roles_->tiles) {
    const bool late = std::any_of(skews_.begin(), skews_.end(), [&](const auto& of_loop) {
      return std::any_of(of_loop.second.begin(), of_loop.second.end(), [&](const Skew& s) {
        const DotPlan& d = dots_.at(s.dot);
        return d.a.stage == stage || d.b.stage == stage;
      });
    });
    if (last_reader(stage) == last && !late) freed.push_back(stage);
  }
  return freed;
}

}  // namespace tessera::gpu
