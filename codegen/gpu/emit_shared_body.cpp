// One code for trips of several parts of a loop (plan.h, SharedBody).
#include <utility>

#include "codegen/gpu/emit.h"
#include "codegen/gpu/ring_loop.h"

namespace tessera::gpu {

using ir::Op;

namespace {

LV* number(cpu::Emitter& e, std::size_t n) { return e.b.getInt32(static_cast<std::uint32_t>(n)); }

}  // namespace

LV* ThreadEmitter::in_parts(const std::vector<std::size_t>& parts) {
  LV* any = nullptr;
  for (const std::size_t p : parts) {
    LV* here = e_.b.CreateICmpEQ(part_, number(e_, p));
    any = any ? e_.b.CreateOr(any, here) : here;
  }
  return any;
}

LV* ThreadEmitter::full_here(const Op& range) {
  if (!shared_) return nullptr;
  const auto at = shared_->full.find(&range);
  return at == shared_->full.end() ? nullptr : in_parts(at->second);
}

const SharedBody::Mask* ThreadEmitter::shared_mask(const Op& op) const {
  if (!shared_) return nullptr;
  const auto at = shared_->masks.find(&op);
  return at == shared_->masks.end() ? nullptr : &at->second;
}

void ThreadEmitter::emit_mask(const Op& op, const SharedBody::Mask& mask) {
  const Layout layout = layout_of(op.result());
  // What is the same for many elements is worked out while the product that they come from is under way.
  Elements condition = get(op.operands[0], operand_layout(op.operands[0], layout));
  for (LV* word : masks_in_words(e_, condition)) call(e_.b, e_.module, Primitive::KeepAbove, {e_.b.CreateBitCast(word, e_.f32())});
  Values kept;
  for (const Element& x : get(op.operands[mask.kept], layout)) kept.push_back(plain(e_, x));
  const auto masked = [&] {
    // What is made on the way stays in its branch.
    const KeepsValues keeps(*this);
    const std::map<const ir::Value*, Handed> handed = handed_;
    emit_elementwise_op(op, &condition);
    Values out;
    flatten(op.result(), layout, out);
    handed_ = handed;
    return out;
  };
  Elements regs;
  for (LV* v : e_.choose(in_parts(mask.decided), [&] { return kept; }, masked)) regs.push_back({v});
  set(op.result(), layout, std::move(regs));
}

/// What the first trip gets in the place of what a trip before would have left: operands of products that are not done. Precondition: tensor cores
/// add the products up.
Values ThreadEmitter::nothing_behind(const RingLoop& r, const Values& init) {
  const RingPart& part = r.parts[r.shared->general];
  std::size_t results = 0;
  for (const ir::Value* v : r.results) results += static_cast<std::size_t>(layout_of(v).registers());
  Values out(init.begin(), init.begin() + static_cast<std::ptrdiff_t>(results));
  for (std::size_t i = 0; i < r.results.size(); ++i) {
    const Skew* s = part.skew_at(i);
    if (!s) continue;
    const std::int64_t words = layout_of(s->dot->operands[0]).registers() / plan_.dot(*s->dot).per_register;
    out.insert(out.end(), static_cast<std::size_t>(words), i32(0));
  }
  out.insert(out.end(), init.begin() + static_cast<std::ptrdiff_t>(results), init.end());
  return out;
}

/// Trips of the general part's code, one after the other, and between them all trips of a part that has a loop of its own.
Values ThreadEmitter::trips_by_shared_body(const RingLoop& r, const Values& init) {
  // Gives where trips go on, and what the next gets.
  const auto trip_and_own = [&](LV* trip, LV* part, llvm::ArrayRef<LV*> carried, LV* before) {
    shared_ = r.shared;
    part_ = part;
    Values next = ring_trip(r, r.parts[r.shared->general], trip, carried, before);
    shared_ = nullptr;
    part_ = nullptr;
    trip = e_.add(trip, r.step);
    skip_ended(r, trip, part);
    for (const std::size_t p : r.shared->own) {
      LV* here = e_.b.CreateICmpEQ(part, number(e_, p));
      next = trips_of_part(r, p, e_.b.CreateSelect(here, trip, r.parts[p].hi), next);
      trip = e_.b.CreateSelect(here, r.parts[p].hi, trip);
      skip_ended(r, trip, part);
    }
    Values out = {trip, part};
    out.insert(out.end(), next.begin(), next.end());
    return out;
  };
  const Turn at = first_turn(r);
  if (r.shared->own.size() == r.parts.size()) {
    Values end = trip_and_own(at.ahead, at.part, init, nullptr);
    end.erase(end.begin(), end.begin() + 2);
    return end;
  }
  Values start = {at.ahead, at.part, i32(0)};
  const Values nothing = nothing_behind(r, init);
  start.insert(start.end(), nothing.begin(), nothing.end());
  const SharedState head = state_;
  const auto goes_on = [&](llvm::ArrayRef<LV*> now) { return is_trip(r, now[0], now[1]); };
  const auto body = [&](llvm::ArrayRef<LV*> now) {
    Values out = trip_and_own(now[0], now[1], now.drop_front(3), now[2]);
    out.insert(out.begin() + 2, i32(1));
    return out;
  };
  Values end = repeat(start, goes_on, body);
  state_.join(head);
  end.erase(end.begin(), end.begin() + 3);
  return end;
}

}  // namespace tessera::gpu
