#include "codegen/cpu/emit_nest.h"

#include "codegen/cpu/arith.h"
#include "dsl/diagnostic.h"

namespace tessera::cpu {

using LV = llvm::Value;
using NE = KernelEmitter::NestEmitter;

namespace {

/// Lane vectors handled together: enough to hide the latency of an addition chain.
constexpr int kUnroll = 4;

ir::ReduceKind reduce_kind(const Sink& s) { return static_cast<ir::ReduceKind>(s.op->int_attr(ir::Attr::Kind)); }
bool is_arg(const Sink& s) { return reduce_kind(s) == ir::ReduceKind::ArgMax || reduce_kind(s) == ir::ReduceKind::ArgMin; }

/// A coordinate as 32-bit lanes (or one number): tiles have at most 2^24 elements.
LV* narrow_index(Emitter& e, const Lanes& x, bool vector) {
  LV* base = e.b.CreateTrunc(x.v, x.v->getType()->getWithNewType(e.i32()));
  if (x.offset) return e.b.CreateAdd(e.splat(base), x.offset);
  return vector && !base->getType()->isVectorTy() ? e.splat(base) : base;
}

}  // namespace

int NE::loop_with(Role role) const {
  for (std::size_t i = 0; i < nest_.loops.size(); ++i)
    if (nest_.loops[i].role == role) return static_cast<int>(i);
  return -1;
}

Coords NE::coords(const Sink& s) const {
  Coords c(s.space.size(), lanes(e_.idx(0)));
  const std::vector<int>& loop_of = nest_.loop_of.at(&s);
  for (std::size_t a = 0; a < c.size(); ++a)
    if (loop_of[a] >= 0) c[a] = at_[static_cast<std::size_t>(loop_of[a])];
  return c;
}

void NE::prepare() {
  for (const Sink* s : nest_.sinks) {
    if (!s->value || s->kind == SinkKind::Operand || s->kind == SinkKind::Tile || s->space.empty()) continue;
    ev_.prepare(s->value, coords(*s));
  }
}

void NE::emit() {
  at_.assign(nest_.loops.size(), Lanes{});
  for (const Sink* s : nest_.sinks)
    if (s->kind == SinkKind::Reduce) reductions_.push_back(s);
  ev_.push();
  prepare();
  outer(0);
  ev_.pop();
  for (const auto& [v, x] : units_) ev_.bind_unit(v, x);
}

void NE::outer(std::size_t loop) {
  const bool product = nest_.sinks.front()->kind == SinkKind::Product;
  while (loop < nest_.loops.size() && (nest_.loops[loop].role != Role::Outer || product)) ++loop;
  if (loop == nest_.loops.size()) return lane_part();
  const std::int64_t extent = nest_.loops[loop].extent;
  auto body = [&](LV* iv) {
    at_[loop] = lanes(iv);
    ev_.push();
    prepare();
    outer(loop + 1);
    ev_.pop();
    at_[loop] = Lanes{};
  };
  if (nest_.pair_loop != static_cast<int>(loop)) return e_.loop(e_.idx(0), e_.idx(extent), e_.idx(1), true, body);
  if (extent > 1) e_.loop(e_.idx(0), e_.idx(extent / 2 * 2), e_.idx(2), true, body);
  if (extent % 2 != 0) body(e_.idx(extent - 1));
}

NE::Fold NE::start(const Sink& s, bool vector) const {
  const DType t = dtype(s.value);
  Fold f;
  if (is_arg(s)) {
    const bool max = reduce_kind(s) == ir::ReduceKind::ArgMax;
    f.value = fold_start(e_, max ? ir::ReduceKind::Max : ir::ReduceKind::Min, t);
    f.index = e_.b.getInt32(0);
    if (vector) f.index = e_.splat(f.index);
  } else {
    f.value = fold_start(e_, reduce_kind(s), t);
  }
  if (vector) f.value = e_.splat(f.value);
  return f;
}

Values NE::flatten(const Folds& folds) const {
  Values v;
  for (const auto& vectors : folds)
    for (const Fold& f : vectors) {
      v.push_back(f.value);
      if (f.index) v.push_back(f.index);
    }
  return v;
}

void NE::restore(Folds& folds, llvm::ArrayRef<LV*> values) const {
  std::size_t i = 0;
  for (auto& vectors : folds)
    for (Fold& f : vectors) {
      f.value = values[i++];
      if (f.index) f.index = values[i++];
    }
}

void NE::lane_part() {
  const int lane = loop_with(Role::Lane);
  Folds lane_folds(reductions_.size());
  if (lane < 0) {
    chunk(Chunk{}, lane_folds);
    return;
  }
  const auto product = nest_.sinks.front()->kind == SinkKind::Product;
  const std::int64_t n = nest_.loops[static_cast<std::size_t>(lane)].extent;
  const std::int64_t vectors = (n + kLanes - 1) / kLanes;
  const int tail = static_cast<int>(n - (vectors - 1) * kLanes);
  const int unroll = product ? k_.plan_.product(*nest_.sinks.front()->op).block.vectors : static_cast<int>(std::min<std::int64_t>(kUnroll, vectors));
  for (std::size_t r = 0; r < reductions_.size(); ++r)
    if (folds_lanes(*reductions_[r])) lane_folds[r].assign(static_cast<std::size_t>(unroll), start(*reductions_[r], true));
  const std::int64_t whole = (tail < kLanes ? vectors - 1 : vectors) / unroll;
  const int rest = static_cast<int>(vectors - whole * unroll);
  const std::int64_t step = static_cast<std::int64_t>(unroll) * kLanes;
  if (whole > 1) {
    const Values out = e_.loop(e_.idx(0), e_.idx(whole * step), e_.idx(step), flatten(lane_folds), true, [&](LV* base, llvm::ArrayRef<LV*> carried) {
      restore(lane_folds, carried);
      chunk(make_chunk(base, unroll, kLanes), lane_folds);
      return flatten(lane_folds);
    });
    restore(lane_folds, out);
  } else if (whole == 1) {
    chunk(make_chunk(e_.idx(0), unroll, kLanes), lane_folds);
  }
  if (rest > 0) chunk(make_chunk(e_.idx(whole * step), rest, tail), lane_folds);
  for (std::size_t r = 0; r < reductions_.size(); ++r) {
    const Sink& s = *reductions_[r];
    if (!folds_lanes(s)) continue;
    at_[static_cast<std::size_t>(lane)] = lanes(e_.idx(0));
    finish(s, coords(s), horizontal(s, lane_folds[r]));
    at_[static_cast<std::size_t>(lane)] = Lanes{};
  }
}

NE::Chunk NE::make_chunk(LV* base, int vectors, int tail) {
  Chunk c{base, vectors, tail, {}};
  for (int v = 0; v < vectors; ++v)
    c.lane.push_back(linear_lanes(e_, v == 0 ? base : e_.add(base, e_.idx(static_cast<std::int64_t>(v) * kLanes)), 1, kLanes));
  return c;
}

void NE::set_lane(const Chunk& c, int vector) {
  if (!c.base) return;
  at_[static_cast<std::size_t>(loop_with(Role::Lane))] = c.lane[static_cast<std::size_t>(vector)];
  ev_.set_active(vector == c.vectors - 1 && c.tail < kLanes ? e_.lanes_below(e_.idx(c.tail)) : nullptr);
}

void NE::chunk(const Chunk& c, Folds& lane_folds) {
  Folds folds(reductions_.size());
  for (std::size_t r = 0; r < reductions_.size(); ++r)
    if (!folds_lanes(*reductions_[r])) folds[r].assign(static_cast<std::size_t>(c.vectors), start(*reductions_[r], c.base != nullptr));
  ev_.push();
  const int lane = loop_with(Role::Lane);
  const int folded = loop_with(Role::Folded);
  if (folded >= 0 || nest_.sinks.front()->kind == SinkKind::Product) {
    for (int v = 0; v < c.vectors; ++v) {
      set_lane(c, v);
      prepare();
    }
    ev_.set_active(nullptr);
  }
  if (nest_.sinks.front()->kind == SinkKind::Product) {
    product(c, folds, lane_folds);
  } else if (folded >= 0) {
    const Values out = e_.loop(e_.idx(0), e_.idx(nest_.loops[static_cast<std::size_t>(folded)].extent), e_.idx(1), flatten(folds), true,
                               [&](LV* iv, llvm::ArrayRef<LV*> carried) {
                                 restore(folds, carried);
                                 at_[static_cast<std::size_t>(folded)] = lanes(iv);
                                 ev_.push();
                                 points(c, folds, lane_folds);
                                 ev_.pop();
                                 at_[static_cast<std::size_t>(folded)] = Lanes{};
                                 return flatten(folds);
                               });
    restore(folds, out);
  } else {
    points(c, folds, lane_folds);
  }
  ev_.pop();
  for (std::size_t r = 0; r < reductions_.size(); ++r) {
    const Sink& s = *reductions_[r];
    if (folds_lanes(s)) continue;
    if (folded >= 0) at_[static_cast<std::size_t>(folded)] = lanes(e_.idx(0));
    for (int v = 0; v < c.vectors; ++v) {
      set_lane(c, v);
      finish(s, coords(s), folds[r][static_cast<std::size_t>(v)]);
    }
    if (folded >= 0) at_[static_cast<std::size_t>(folded)] = Lanes{};
  }
  ev_.set_active(nullptr);
  if (lane >= 0) at_[static_cast<std::size_t>(lane)] = Lanes{};
}

void NE::points(const Chunk& c, Folds& folds, Folds& lane_folds) {
  // All values first, then all effects: what a sink overwrites has been read by the others.
  std::vector<std::vector<std::pair<Coords, Lanes>>> values;
  for (int v = 0; v < c.vectors; ++v) {
    set_lane(c, v);
    auto& row = values.emplace_back();
    for (const Sink* s : nest_.sinks) {
      Coords at = coords(*s);
      Lanes x;
      if (s->kind == SinkKind::Operand) {
        row.emplace_back(at, x);
        continue;
      }
      x = value_of(*s, at);
      if (s->kind == SinkKind::Tile) ev_.bind_at(s->target, at, x);
      row.emplace_back(std::move(at), x);
    }
  }
  for (int v = 0; v < c.vectors; ++v) {
    set_lane(c, v);
    std::size_t r = 0;
    for (std::size_t i = 0; i < nest_.sinks.size(); ++i) {
      const Sink& s = *nest_.sinks[i];
      const auto& [at, x] = values[static_cast<std::size_t>(v)][i];
      if (s.kind == SinkKind::Operand) {
        if (!nest_.pairs) {
          store_operand(s, at, nullptr);
          continue;
        }
        // The second half of a pair: the next k, or nothing at the end.
        const auto k = static_cast<std::size_t>(k_.plan_.product(*s.op).operand[s.operand].k_axis);
        Coords second = at;
        second[k] = idx_add(e_, at[k], lanes(e_.idx(1)));
        const auto* fixed = llvm::dyn_cast<llvm::ConstantInt>(at[k].v);
        const bool last = fixed && fixed->getSExtValue() + 1 >= s.space[k];
        store_operand(s, at, last ? nullptr : &second);
      } else if (s.kind == SinkKind::Reduce) {
        auto& f = folds_lanes(s) ? lane_folds[r] : folds[r];
        fold_value(s, at, plain(e_, x), f[static_cast<std::size_t>(v)]);
        ++r;
      } else {
        store(s, at, x);
      }
    }
  }
  ev_.set_active(nullptr);
}

Lanes NE::value_of(const Sink& s, const Coords& c) {
  if (s.kind == SinkKind::Product) return ev_.eval(s.target, c);
  return s.kind == SinkKind::Tile ? ev_.define(s.value, c) : ev_.eval(s.value, c);
}

void NE::fold_value(const Sink& s, const Coords& c, LV* x, Fold& f) {
  const DType t = dtype(s.value);
  x = to_accumulator(e_, t, x);
  const bool vector = f.value->getType()->isVectorTy();
  if (vector && !x->getType()->isVectorTy()) x = e_.splat(x);
  LV* mask = folds_lanes(s) ? ev_.active() : nullptr;
  if (!is_arg(s)) {
    LV* next = fold_values(e_, reduce_kind(s), t, f.value, x);
    f.value = mask ? e_.b.CreateSelect(mask, next, f.value) : next;
    return;
  }
  const bool max = reduce_kind(s) == ir::ReduceKind::ArgMax;
  LV* better;
  if (is_float(t)) {
    LV* wins = max ? e_.b.CreateFCmpUGT(x, f.value) : e_.b.CreateFCmpULT(x, f.value);
    better = e_.b.CreateAnd(wins, e_.b.CreateFCmpORD(x, x));
  } else if (is_signed(t)) {
    better = max ? e_.b.CreateICmpSGT(x, f.value) : e_.b.CreateICmpSLT(x, f.value);
  } else {
    better = max ? e_.b.CreateICmpUGT(x, f.value) : e_.b.CreateICmpULT(x, f.value);
  }
  if (mask) better = e_.b.CreateAnd(better, mask);
  f.value = e_.b.CreateSelect(better, x, f.value);
  f.index = e_.b.CreateSelect(better, narrow_index(e_, c[static_cast<std::size_t>(s.axis)], vector), f.index);
}

NE::Fold NE::horizontal(const Sink& s, std::vector<Fold> parts) {
  const DType t = dtype(s.value);
  auto merge = [&](const Fold& a, const Fold& b) {
    if (!a.index) return Fold{fold_values(e_, reduce_kind(s), t, a.value, b.value), nullptr};
    const bool max = reduce_kind(s) == ir::ReduceKind::ArgMax;
    // b replaces a if it is better, or equal (or both NaN) and found earlier.
    LV *better, *equal;
    if (is_float(t)) {
      better =
          e_.b.CreateAnd(max ? e_.b.CreateFCmpUGT(b.value, a.value) : e_.b.CreateFCmpULT(b.value, a.value), e_.b.CreateFCmpORD(b.value, b.value));
      LV* none = e_.b.CreateAnd(e_.b.CreateFCmpUNO(a.value, a.value), e_.b.CreateFCmpUNO(b.value, b.value));
      equal = e_.b.CreateOr(none, e_.b.CreateFCmpOEQ(a.value, b.value));
    } else {
      const auto p =
          is_signed(t) ? (max ? llvm::CmpInst::ICMP_SGT : llvm::CmpInst::ICMP_SLT) : (max ? llvm::CmpInst::ICMP_UGT : llvm::CmpInst::ICMP_ULT);
      better = e_.b.CreateICmp(p, b.value, a.value);
      equal = e_.b.CreateICmpEQ(a.value, b.value);
    }
    better = e_.b.CreateOr(better, e_.b.CreateAnd(equal, e_.b.CreateICmpULT(b.index, a.index)));
    return Fold{e_.b.CreateSelect(better, b.value, a.value), e_.b.CreateSelect(better, b.index, a.index)};
  };
  while (parts.size() > 1) {
    const std::size_t half = parts.size() / 2;
    for (std::size_t i = 0; i < half; ++i) parts[i] = merge(parts[i], parts[parts.size() - 1 - i]);
    parts.resize(parts.size() - half);
  }
  Fold f = parts[0];
  for (int n = kLanes / 2; n >= 1; n /= 2) {
    auto part = [&](LV* v, int from) -> LV* {
      if (!v) return nullptr;
      if (n == 1) return e_.b.CreateExtractElement(v, static_cast<std::uint64_t>(from));
      llvm::SmallVector<int, kLanes> mask;
      for (int i = 0; i < n; ++i) mask.push_back(from + i);
      return e_.b.CreateShuffleVector(v, mask);
    };
    f = merge(Fold{part(f.value, 0), part(f.index, 0)}, Fold{part(f.value, n), part(f.index, n)});
  }
  return f;
}

void NE::finish(const Sink& s, const Coords& c, const Fold& f) {
  Coords at = c;
  at[static_cast<std::size_t>(s.axis)] = lanes(e_.idx(0));
  LV* x = f.index ? e_.b.CreateZExt(f.index, f.index->getType()->getWithNewType(e_.i64())) : from_accumulator(e_, dtype(s.value), f.value);
  if (is_unit(s.target)) {
    units_.emplace_back(s.target, lanes(x));
    return;
  }
  ev_.store_buffer(ev_.buffer(s.target), at, lanes(x));
}

void NE::store(const Sink& s, const Coords& c, const Lanes& x) {
  switch (s.kind) {
    case SinkKind::Tile:
    case SinkKind::Initial: return ev_.store_buffer(ev_.buffer(s.target), c, x);
    case SinkKind::Product:
      if (is_unit(s.target))
        units_.emplace_back(s.target, x);
      else if (ev_.has_buffer(s.target))
        ev_.store_buffer(ev_.buffer(s.target), c, x);
      return;
    case SinkKind::Carried: return ev_.store_buffer(s.staged ? k_.staged_.at(s.target) : ev_.buffer(s.target), c, x);
    case SinkKind::Assert: return k_.emit_assert(*s.op, plain(e_, x));
    case SinkKind::Store:
    case SinkKind::FetchAdd: break;
    default: TESSERA_UNREACHABLE("not a sink of points");
  }
  const ir::Op& op = *s.op;
  Address a = k_.ev_->address_of(op, 2, c);
  if (op.int_attr(ir::Attr::Masked) != 0) {
    const ir::Value* when = op.operands.back();
    Coords at(dims(when).size(), lanes(e_.idx(0)));
    for (std::size_t i = 0; i < at.size(); ++i)
      if (dims(when)[i] != 1) at[i] = c[i];
    a.mask = both(e_, a.mask, plain(e_, ev_.eval(when, at)));
  }
  // Lanes at one place (an index that lanes do not enter) count too.
  if (ev_.active()) a.mask = both(e_, a.mask, ev_.active());
  const Cell cell = view_cell(dtype(s.value));
  LV* v = plain(e_, x);
  if (s.kind == SinkKind::Store && op.int_attr(ir::Attr::Add) == 0)
    return store_elements(e_, cell, a.base, a.offset, v, a.mask, static_cast<int>(cell.bytes()));
  // Every lane adds, though all may carry one value to one place.
  if (s.lane >= 0 && !v->getType()->isVectorTy()) v = e_.splat(v);
  if (s.lane >= 0 && a.offset.uniform()) {
    a.offset = lanes(as_vector(e_, a.offset));
    if (!a.mask) a.mask = llvm::Constant::getAllOnesValue(e_.vec(e_.b.getInt1Ty()));
  }
  LV* old = add_elements(e_, cell, a.base, a.offset, v, a.mask);
  if (s.kind != SinkKind::FetchAdd) return;
  if (is_unit(s.target))
    units_.emplace_back(s.target, lanes(old));
  else
    ev_.store_buffer(ev_.buffer(s.target), c, lanes(old));
}

}  // namespace tessera::cpu
