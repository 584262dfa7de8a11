// Instances that do nothing are not handed on (live.h): the asking warp numbers the live ones alone, and tickets are these numbers.
//
// Its lanes look at 32 keys at a time, places on the axes that the condition depends on. Each counts the live instances of its key: along the counted
// axis by bisection, times all places on axes that the condition does not depend on. Sums over the lanes number them. Tickets of a CTA only grow, so
// a window of keys that has been left is not looked at again. All CTAs find the same numbers, since they read the same memory.
//
// Within a window the keys with the longest loops come first, so that the last instances to run are short.
#include <algorithm>
#include <utility>

#include "codegen/gpu/emit.h"

namespace tessera::gpu {

using ir::Op;

namespace {

constexpr int kLaneBits = 5;
constexpr std::int64_t kMostWork = (std::int64_t{1} << (32 - kLaneBits)) - 1;

}  // namespace

void ThreadEmitter::bind_place(std::size_t axis, LV* place) {
  const std::size_t first = kernel_.body.args.size() - kernel_.grid.size();
  set(kernel_.body.args[first + axis].get(), {}, {{e_.b.CreateZExt(place, e_.i64())}});
}

LV* ThreadEmitter::product_of(llvm::ArrayRef<std::size_t> axes) {
  LV* n = i32(1);
  for (const std::size_t a : axes) n = e_.b.CreateMul(n, counts_[a]);
  return n;
}

/// Axes that the condition does not depend on.
std::vector<std::size_t> ThreadEmitter::free_axes() const {
  const Live& l = *plan_.live();
  std::vector<std::size_t> out;
  for (std::size_t a = 0; a < counts_.size(); ++a) {
    if (l.counted != a && std::find(l.keys.begin(), l.keys.end(), a) == l.keys.end()) out.push_back(a);
  }
  return out;
}

/// Precondition: the ops of the slice are emitted.
LV* ThreadEmitter::has_effect() {
  LV* any = e_.b.getFalse();
  for (const std::vector<LiveTest>& tests : plan_.live()->effects) {
    LV* all = e_.b.getTrue();
    for (const LiveTest& t : tests) {
      LV* holds = nullptr;
      if (t.flag) {
        holds = t.wanted ? scalar(t.flag) : e_.b.CreateNot(scalar(t.flag));
      } else {
        holds = e_.b.CreateICmpSLT(scalar(t.low), e_.add(scalar(t.high), e_.idx(t.more)));
      }
      all = e_.b.CreateAnd(all, holds);
    }
    any = e_.b.CreateOr(any, all);
  }
  return any;
}

LV* ThreadEmitter::is_live() {
  const KeepsValues keeps(*this);
  for (const Op* op : plan_.live()->alike) emit_op(*op);
  for (const Op* op : plan_.live()->along) emit_op(*op);
  return has_effect();
}

/// The live instances of the lane's key along the counted axis, the other places being bound.
LV* ThreadEmitter::counted(LV* there) {
  const Live& l = *plan_.live();
  for (const Op* op : l.alike) emit_op(*op);
  if (!l.counted) return e_.b.CreateZExt(e_.b.CreateAnd(there, has_effect()), e_.i32());
  const auto goes_on = [&](llvm::ArrayRef<LV*> now) { return e_.b.CreateICmpULT(now[0], now[1]); };
  const auto halve = [&](llvm::ArrayRef<LV*> now) {
    LV* middle = e_.b.CreateLShr(e_.b.CreateAdd(now[0], now[1]), i32(1));
    bind_place(*l.counted, middle);
    for (const Op* op : l.along) emit_op(*op);
    LV* live = has_effect();
    return Values{e_.b.CreateSelect(live, e_.b.CreateAdd(middle, i32(1)), now[0]), e_.b.CreateSelect(live, now[1], middle)};
  };
  return repeat({i32(0), e_.b.CreateSelect(there, counts_[*l.counted], i32(0))}, goes_on, halve)[0];
}

/// Hands each lane a key of the window, those of the longest loops first. Precondition: the lane's places are bound.
void ThreadEmitter::longest_first(LV*& key, LV*& count) {
  const Live& l = *plan_.live();
  if (l.loops.empty()) return;
  if (l.counted) bind_place(*l.counted, e_.b.CreateSub(e_.b.CreateBinaryIntrinsic(llvm::Intrinsic::umax, count, i32(1)), i32(1)));
  for (const Op* op : l.lengths) emit_op(*op);
  LV* work = e_.idx(0);
  for (const Op* loop : l.loops) work = e_.add(work, e_.max(e_.idx(0), e_.sub(scalar(loop->operands[1]), scalar(loop->operands[0]))));
  work = e_.b.CreateTrunc(e_.min(work, e_.idx(kMostWork)), e_.i32());
  // Sorted by bitonic merging, the largest first, with the lane it came from in the low bits.
  LV* x = e_.b.CreateOr(e_.b.CreateShl(work, i32(kLaneBits)), e_.b.CreateSub(i32(kWarpLanes - 1), lane_));
  const auto bit_is_0 = [&](int bit) { return e_.b.CreateICmpEQ(e_.b.CreateAnd(lane_, i32(bit)), i32(0)); };
  for (int run = 2; run <= kWarpLanes; run *= 2) {
    for (int apart = run / 2; apart > 0; apart /= 2) {
      LV* other = call(e_.b, e_.module, Primitive::ShflBfly, {x, i32(apart)});
      LV* larger = e_.b.CreateICmpEQ(bit_is_0(apart), bit_is_0(run));
      x = e_.b.CreateSelect(larger, e_.b.CreateBinaryIntrinsic(llvm::Intrinsic::umax, x, other),
                            e_.b.CreateBinaryIntrinsic(llvm::Intrinsic::umin, x, other));
    }
  }
  LV* from = e_.b.CreateSub(i32(kWarpLanes - 1), e_.b.CreateAnd(x, i32(kWarpLanes - 1)));
  key = call(e_.b, e_.module, Primitive::ShflIdx, {key, from});
  count = call(e_.b, e_.module, Primitive::ShflIdx, {count, from});
}

ThreadEmitter::Window ThreadEmitter::next_window(const Window& w) {
  const KeepsValues keeps(*this);
  const Live& l = *plan_.live();
  LV *keys = product_of(l.keys), *number = e_.b.CreateAdd(w.next, lane_), *there = e_.b.CreateICmpULT(number, keys);
  LV* key = e_.b.CreateSelect(there, number, i32(0));
  for (std::size_t a = 0; a < counts_.size(); ++a) bind_place(a, i32(0));
  Values sizes;
  for (const std::size_t a : l.keys) sizes.push_back(counts_[a]);
  const Values places = places_in(key, l.keys, sizes);
  for (std::size_t i = 0; i < places.size(); ++i) bind_place(l.keys[i], places[i]);
  LV* count = counted(there);
  longest_first(key, count);
  LV* up_to = e_.b.CreateMul(count, product_of(free_axes()));
  for (int delta = 1; delta < kWarpLanes; delta *= 2) {
    LV* lower = call(e_.b, e_.module, Primitive::ShflUp, {up_to, i32(delta)});
    up_to = e_.b.CreateAdd(up_to, e_.b.CreateSelect(e_.b.CreateICmpUGE(lane_, i32(delta)), lower, i32(0)));
  }
  LV* total = call(e_.b, e_.module, Primitive::ShflIdx, {up_to, i32(kWarpLanes - 1)});
  return {e_.b.CreateAdd(w.before, w.total), total, e_.b.CreateAdd(w.next, i32(kWarpLanes)), key, count, up_to};
}

Values ThreadEmitter::find_live(LV* number, Window& w) {
  const Live& l = *plan_.live();
  LV* keys = product_of(l.keys);
  const auto goes_on = [&](llvm::ArrayRef<LV*> now) {
    const Window at = Window::of(now);
    return e_.b.CreateAnd(e_.b.CreateICmpUGE(number, e_.b.CreateAdd(at.before, at.total)), e_.b.CreateICmpULT(at.next, keys));
  };
  w = Window::of(repeat(w.values(), goes_on, [&](llvm::ArrayRef<LV*> now) { return next_window(Window::of(now)).values(); }));
  LV *within = e_.b.CreateSub(number, w.before), *found = e_.b.CreateICmpULT(within, w.total);
  // The first lane that reaches beyond.
  LV* lane = i32(0);
  for (int step = kWarpLanes / 2; step > 0; step /= 2) {
    LV* up_to = call(e_.b, e_.module, Primitive::ShflIdx, {w.up_to, e_.b.CreateAdd(lane, i32(step - 1))});
    lane = e_.b.CreateAdd(lane, e_.b.CreateSelect(e_.b.CreateICmpULE(up_to, within), i32(step), i32(0)));
  }
  LV *key = call(e_.b, e_.module, Primitive::ShflIdx, {w.key, lane}), *count = call(e_.b, e_.module, Primitive::ShflIdx, {w.count, lane});
  LV* up_to = call(e_.b, e_.module, Primitive::ShflIdx, {w.up_to, lane});
  const std::vector<std::size_t> free = free_axes();
  LV* first = e_.b.CreateSub(up_to, e_.b.CreateMul(count, product_of(free)));
  // Where there is none, it is the first of some: what is divided by is not 0.
  LV* rest = e_.b.CreateSelect(found, e_.b.CreateSub(within, first), i32(0));
  count = e_.b.CreateSelect(found, count, i32(1));
  std::vector<std::size_t> inner = free;
  if (l.counted) inner.insert(std::upper_bound(inner.begin(), inner.end(), *l.counted), *l.counted);
  Values sizes, outer_sizes;
  for (const std::size_t a : inner) sizes.push_back(l.counted == a ? count : counts_[a]);
  for (const std::size_t a : l.keys) outer_sizes.push_back(counts_[a]);
  const Values inner_places = places_in(rest, inner, sizes), outer_places = places_in(key, l.keys, outer_sizes);
  Values out(1 + counts_.size());
  out[0] = found;
  for (std::size_t i = 0; i < inner.size(); ++i) out[1 + inner[i]] = inner_places[i];
  for (std::size_t i = 0; i < l.keys.size(); ++i) out[1 + l.keys[i]] = outer_places[i];
  return out;
}

Values ThreadEmitter::live_instance(LV* ticket, LV* all, Window& w) {
  const Values before = w.values();
  const auto with = [](Values out, const Values& window) {
    out.insert(out.end(), window.begin(), window.end());
    return out;
  };
  const auto numbered = [&] {
    Values out = find_live(ticket, w);
    return with(out, w.values());
  };
  const auto own = [&] { return with(own_instance(ticket, all), before); };
  Values out = plan_.persistent() ? e_.choose(e_.b.CreateICmpNE(tickets_, e_.idx(0)), numbered, own) : own();
  const auto window = static_cast<std::ptrdiff_t>(1 + counts_.size());
  w = Window::of(llvm::ArrayRef<LV*>(out).slice(static_cast<std::size_t>(window)));
  out.erase(out.begin() + window, out.end());
  return out;
}

/// The instance of a CTA that has no other: no order to find.
Values ThreadEmitter::own_instance(LV* instance, LV* all) {
  const KeepsValues keeps(*this);
  LV* there = e_.b.CreateICmpULT(instance, all);
  Values out = places_of(e_.b.CreateSelect(there, instance, i32(0)));
  for (std::size_t a = 0; a < counts_.size(); ++a) bind_place(a, out[a]);
  out.insert(out.begin(), e_.b.CreateAnd(there, is_live()));
  return out;
}

}  // namespace tessera::gpu
