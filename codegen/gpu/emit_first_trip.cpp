// One code for the first trip of a loop in parts, whichever part that is of (plan.h, SharedBody).
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
  Values kept;
  for (const Element& x : get(op.operands[mask.kept], layout)) kept.push_back(plain(e_, x));
  const auto masked = [&] {
    // What is made on the way stays in its branch.
    const KeepsValues keeps(*this);
    const std::map<const ir::Value*, Handed> handed = handed_;
    emit_elementwise_op(op);
    Values out;
    flatten(op.result(), layout, out);
    handed_ = handed;
    return out;
  };
  Elements regs;
  for (LV* v : e_.choose(in_parts(mask.decided), [&] { return kept; }, masked)) regs.push_back({v});
  set(op.result(), layout, std::move(regs));
}

/// The first trip, which is one of the first part that has trips: by the general part's code.
Values ThreadEmitter::shared_first_trip(const RingLoop& r, const Values& init) {
  const Turn at = first_turn(r);
  shared_ = r.shared;
  part_ = at.part;
  Values out = ring_trip(r, r.parts[r.shared->general], at.ahead, init, true);
  shared_ = nullptr;
  part_ = nullptr;
  return out;
}

}  // namespace tessera::gpu
