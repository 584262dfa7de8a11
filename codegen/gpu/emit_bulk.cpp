// Rings that bulk copies fill. One thread asks for the tiles of a trip once all warps have left its slot; each warp waits for its tiles by
// itself.
//
// A slot has two barriers: the tiles have come (one arrival and their bytes), and it is free (one arrival of each warp). A launch whose tensors have
// no maps (a misaligned address, say) copies element by element, by all threads, behind the same barriers.
#include <algorithm>

#include "codegen/gpu/emit.h"
#include "codegen/gpu/ring_loop.h"
#include "dsl/diagnostic.h"

namespace tessera::gpu {

using ir::Op;

/// The number of a map of what boxes of elements of type `t` are copied to or from.
std::size_t ThreadEmitter::map_for(const BulkCopy& copy, DType t, bool stored) {
  const FrameLayout frame = frame_layout(kernel_);
  const FrameSlot& slot = frame.params[copy.param];
  GpuTensorMap map{slot.base, t, {}, stored};
  for (std::size_t a = copy.axes.size(); a-- > 0;) {
    const BulkCopy::Axis& axis = copy.axes[a];
    map.axes.push_back({slot.extents + a, slot.strides + a, axis.cols ? kPanelBytes / cell_bytes(t) : copy.box(axis)});
  }
  const auto at = std::find(maps_.begin(), maps_.end(), map);
  const auto number = static_cast<std::size_t>(at - maps_.begin());
  if (at == maps_.end()) maps_.push_back(std::move(map));
  return number;
}

void ThreadEmitter::describe_maps() {
  for (std::size_t i = 0; i < plan_.stages().size(); ++i) {
    const Stage& s = plan_.stages()[i];
    if (s.bulk) map_of_[static_cast<int>(i)] = map_for(*s.bulk, s.dtype, false);
  }
  if (!plan_.roles()) return;
  // In the program's order: the same kernel gets the same code in every process.
  for (const auto& op : kernel_.body.ops) {
    const auto store = plan_.roles()->stores.find(op.get());
    if (store != plan_.roles()->stores.end()) map_of_store_[op.get()] = map_for(store->second, dtype(op->operands[1]), true);
  }
}

LV* ThreadEmitter::ring_barrier(const RingLoop& r, LV* slot, bool free) {
  return e_.b.CreateAdd(shared_address(*r.barriers + (free ? 8 : 0)), e_.b.CreateMul(slot, i32(16)));
}

void ThreadEmitter::start_barriers(const RingLoop& r) {
  settle_all();
  // The thread that makes the barriers is the one that asks for tiles; it must only not overwrite what others still use.
  bool used = false;
  for (const int s : r.first().stages) {
    const Stage& st = plan_.stages()[static_cast<std::size_t>(s)];
    used = used || state_.before_write(0, st.offset, st.offset + st.slot_bytes() * st.slots) != SharedState::Need::Nothing;
  }
  used = used || state_.before_write(0, *r.barriers, *r.barriers + 16 * r.slots) != SharedState::Need::Nothing;
  if (used) meet_barriers();
  LV* first = e_.b.CreateICmpEQ(tid_, i32(0));
  for (int s = 0; s < r.slots; ++s) {
    call(e_.b, e_.module, Primitive::MbarInit, {ring_barrier(r, i32(s), false), i32(1), first});
    call(e_.b, e_.module, Primitive::MbarInit, {ring_barrier(r, i32(s), true), i32(plan_.warps()), first});
  }
  call(e_.b, e_.module, Primitive::FenceMbarInit, {});
}

/// What ordinary accesses left in shared memory, and the barriers, are seen by all from here on. The first tiles are on their way already.
void ThreadEmitter::meet_barriers() {
  call(e_.b, e_.module, Primitive::CpAsyncWait, {i32(0)});
  state_.waited();
  call(e_.b, e_.module, Primitive::FenceProxyAsync, {});
  state_.fence();
  barrier();
}

void ThreadEmitter::end_barriers(const RingLoop& r) {
  bool again = false;
  for (const Op* up = r.first().op.parent->parent; up; up = up->parent->parent)
    again = again || up->kind == ir::OpKind::For || up->kind == ir::OpKind::While;
  if (!again) return;
  // The loop comes again and starts with new barriers.
  barrier();
  state_.write(0, *r.barriers, *r.barriers + 16 * r.slots);
  LV* first = e_.b.CreateICmpEQ(tid_, i32(0));
  for (int s = 0; s < r.slots; ++s) {
    for (const bool free : {false, true}) call(e_.b, e_.module, Primitive::MbarInval, {ring_barrier(r, i32(s), free), first});
  }
}

void ThreadEmitter::release(const RingLoop& r, LV* slot) {
  call(e_.b, e_.module, Primitive::WarpSync, {});
  leave_slot(ring_barrier(r, slot, true), plan_.shares(r.first().op));
}

LV* ThreadEmitter::coordinate(LV* x) {
  LV* most = e_.idx(0x7fffffff);
  return e_.b.CreateTrunc(e_.b.CreateSelect(e_.b.CreateICmpULT(x, most), x, most), e_.i32());
}

std::pair<LV*, LV*> ThreadEmitter::corner(llvm::ArrayRef<ir::Value*> indices) {
  LV *rows = nullptr, *cols = nullptr;
  for (const ir::Value* i : indices) {
    if (ir::is_range(i->type)) (rows ? cols : rows) = coordinate(ranges_.at(i).start);
  }
  return {rows, cols};
}

void ThreadEmitter::add_box(const BulkCopy& copy, LV* row, LV* col, Values& out) {
  LV* group = i32(copy.group);
  for (std::size_t a = copy.axes.size(); a-- > 0;) {
    const BulkCopy::Axis& axis = copy.axes[a];
    LV* number = axis.number ? coordinate(scalar(axis.number)) : i32(0);
    if (axis.inner_rows && copy.rows_a_box == 1 && copy.group > 1) number = e_.b.CreateAdd(number, e_.b.CreateURem(row, group));
    LV* outer = copy.group > 1 ? e_.b.CreateUDiv(row, group) : row;
    out.push_back(axis.rows ? e_.b.CreateAdd(outer, number) : axis.cols ? col : number);
  }
}

void ThreadEmitter::bulk_load(int stage, LV* slot, LV* barrier) {
  const Stage& s = plan_.stages()[static_cast<std::size_t>(stage)];
  LV* base = e_.b.CreateAdd(shared_address(s.offset), e_.b.CreateMul(slot, i32(s.slot_bytes())));
  const auto [rows, cols] = corner(llvm::ArrayRef(s.source->def->operands).drop_front());
  using enum Primitive;
  constexpr Primitive kLoads[] = {TmaLoad2, TmaLoad3, TmaLoad4, TmaLoad5};
  constexpr Primitive kShared[] = {TmaMulticast2, TmaMulticast3, TmaMulticast4, TmaMulticast5};
  constexpr Primitive kKept[] = {TmaLoadKept2, TmaLoadKept3, TmaLoadKept4, TmaLoadKept5};
  constexpr Primitive kSharedKept[] = {TmaMulticastKept2, TmaMulticastKept3, TmaMulticastKept4, TmaMulticastKept5};
  const auto eviction = plan_.eviction(*s.source->def);
  constexpr std::int64_t kBoth = 3;
  const bool shared = s.halves != Halves::None;
  const BulkCopy& copy = *s.bulk;
  const std::int64_t width = kPanelBytes / cell_bytes(s.dtype);
  const std::int64_t panels = s.halves == Halves::Panels ? s.panels() / 2 : s.panels();
  LV* first_panel = panels == s.panels() ? static_cast<LV*>(i32(0)) : e_.b.CreateMul(rank(), i32(panels));
  const auto boxes = [&, cols = cols](LV* to, LV* row) {
    for (std::int64_t i = 0; i < panels; ++i) {
      LV* p = e_.b.CreateAdd(first_panel, i32(i));
      Values args = {e_.b.CreateAdd(to, e_.b.CreateMul(p, i32(s.panel_bytes()))), barrier, map_arguments_[map_of_.at(stage)], e_.b.getTrue()};
      if (shared) args.push_back(i32(kBoth));
      add_box(copy, row, e_.b.CreateAdd(cols, e_.b.CreateMul(p, i32(width))), args);
      if (eviction) args.push_back(policy(*eviction));
      const Primitive* of_axes = eviction ? (shared ? kSharedKept : kKept) : (shared ? kShared : kLoads);
      call(e_.b, e_.module, of_axes[copy.axes.size() - 2], args);
    }
  };
  const std::int64_t asked = s.halves == Halves::Rows ? s.rows / 2 : s.rows;
  const bool all_rows = asked == s.rows;
  LV* first = all_rows ? static_cast<LV*>(i32(0)) : e_.b.CreateMul(rank(), i32(asked));
  const auto from = [&, rows = rows](LV* r) { boxes(e_.b.CreateAdd(base, e_.b.CreateMul(r, i32(kPanelBytes))), e_.b.CreateAdd(rows, r)); };
  if (copy.rows_a_box == asked) return all_rows ? boxes(base, rows) : from(first);
  e_.loop(first, e_.b.CreateAdd(first, i32(asked)), i32(1), true, from);
}

void ThreadEmitter::ring_tiles(const RingLoop& r, const Turn& turn, const std::function<void(LV* bytes, LV* any)>& expect,
                               const std::function<void(int stage)>& load) {
  // Where the tiles lie is the same function of the trip in all parts.
  const RingPart& part = r.first();
  LV *bytes = i32(0), *any = e_.b.getFalse();
  std::vector<LV*> here, trips;
  for (int behind = 0; behind <= r.behind; ++behind) {
    LV* trip = nullptr;
    here.push_back(exists(r, turn, behind, &trip));
    trips.push_back(trip);
    std::int64_t size = 0;
    for (const int s : part.stages) {
      const Stage& st = plan_.stages()[static_cast<std::size_t>(s)];
      if (st.behind == behind && st.transposed_from < 0) size += st.slot_bytes();
    }
    bytes = e_.b.CreateAdd(bytes, e_.b.CreateSelect(here.back(), i32(size), i32(0)));
    any = e_.b.CreateOr(any, here.back());
  }
  expect(bytes, any);
  for (int behind = 0; behind <= r.behind; ++behind) {
    const auto at = static_cast<std::size_t>(behind);
    e_.if_then(here[at], [&] {
      set(part.op.region().args[0].get(), {}, {{trips[at]}});
      for (const Op* a : plan_.address_ops(part.op, behind)) emit_op(*a);
      for (const int s : part.stages) {
        if (plan_.stages()[static_cast<std::size_t>(s)].behind == behind) load(s);
      }
    });
  }
}

void ThreadEmitter::bulk_fetch(const RingLoop& r, const Turn& turn, LV* slot, LV* free) {
  e_.if_then(e_.b.CreateICmpEQ(tid_, i32(0)), [&] {
    if (free) call(e_.b, e_.module, Primitive::MbarWait, {ring_barrier(r, slot, true), free});
    LV* barrier = ring_barrier(r, slot, false);
    ring_tiles(
        r, turn, [&](LV* bytes, LV* any) { call(e_.b, e_.module, Primitive::MbarExpect, {barrier, bytes, any}); },
        [&](int stage) { bulk_load(stage, slot, barrier); });
  });
}

void ThreadEmitter::copy_fetch(const RingLoop& r, const Turn& turn, LV* slot, LV* free) {
  if (free) call(e_.b, e_.module, Primitive::MbarWait, {ring_barrier(r, slot, true), free});
  // The part whose ranges say most often where they end serves for the trips of all.
  const auto unchecked = [&](const RingPart& part) {
    std::ptrdiff_t n = 0;
    for (const int s : part.stages) {
      const std::vector<ir::Value*>& operands = plan_.stages()[static_cast<std::size_t>(s)].source->def->operands;
      n += std::count_if(operands.begin(), operands.end(), [](const ir::Value* v) { return ir::is_range(v->type) && v->def->has(ir::Attr::Full); });
    }
    return n;
  };
  const auto part =
      std::min_element(r.parts.begin(), r.parts.end(), [&](const RingPart& x, const RingPart& y) { return unchecked(x) < unchecked(y); });
  element_copies_ = true;
  copy_tiles(r, *part, turn, slot);
  element_copies_ = false;
  LV *trip = nullptr, *any = exists(r, turn, 0, &trip);
  if (r.behind > 0) any = e_.b.CreateOr(any, exists(r, turn, 1, &trip));
  // Products under way do not read this slot: they may stay so.
  call(e_.b, e_.module, Primitive::FenceProxyAsync, {});
  call(e_.b, e_.module, Primitive::BarSyncAll, {});
  call(e_.b, e_.module, Primitive::MbarArrive, {ring_barrier(r, slot, false), e_.b.CreateAnd(any, e_.b.CreateICmpEQ(tid_, i32(0)))});
}

}  // namespace tessera::gpu
