#include "codegen/cpu/emit_nest.h"

#include "codegen/cpu/arith.h"
#include "codegen/cpu/prefetch.h"
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
  for (std::size_t a = 0; a < c.size(); ++a) {
    if (loop_of[a] == kStripAxis)
      c[a] = strip_ ? lane_ : row_;
    else if (loop_of[a] >= 0)
      c[a] = nest_.loops[static_cast<std::size_t>(loop_of[a])].role == Role::Lane ? lane_ : at_[static_cast<std::size_t>(loop_of[a])];
  }
  return c;
}

void NE::prepare() {
  for (const Sink* s : nest_.sinks) {
    if (!s->value || s->space.empty() || (s->kind == SinkKind::Operand && s->op->kind == ir::OpKind::DotScaled)) continue;
    if (s->kind == SinkKind::Tile)
      ev_.prepare_definition(s->value, coords(*s));
    else
      ev_.prepare(s->value, coords(*s));
  }
}

void NE::emit() {
  at_.assign(nest_.loops.size(), Lanes{});
  for (const Sink* s : nest_.sinks)
    if (s->kind == SinkKind::Reduce) reductions_.push_back(s);
  // Sinks may read what others of the nest make at the same point: that is not there before the point.
  std::set<const ir::Value*> unmade;
  for (const Sink* s : nest_.sinks)
    if (s->kind == SinkKind::Product || s->kind == SinkKind::Tile) unmade.insert(s->target);
  ev_.set_unmade(std::move(unmade));
  std::map<const ir::Op*, LV*> ahead;
  if (const auto fetches = k_.fetches_.find(&nest_); fetches != k_.fetches_.end())
    for (const ir::Op* load : fetches->second)
      if (LV* distance = next_step(ev_, *load)) ahead[load] = distance;
  ev_.set_ahead(std::move(ahead));
  // What depends on the strip alone is shared by all nests of the region, so it is made in the region's scope.
  if (strip_) prepare_strip(*strip_);
  ev_.push();
  prepare();
  outer(0);
  ev_.pop();
  ev_.set_unmade({});
  ev_.set_ahead({});
  for (const Result& r : results_) ev_.bind_at(r.v, r.at, r.x);
}

void NE::prepare_strip(const Chunk& c) {
  for (int v = 0; v < c.vectors; ++v) {
    set_lane(c, v);
    prepare();
  }
  no_lane();
}

void NE::outer(std::size_t loop) {
  const Sink& s = *nest_.sinks.front();
  const int across = s.across < 0 ? -1 : nest_.loop_of.at(&s)[static_cast<std::size_t>(s.across)];
  while (loop < nest_.loops.size() && (nest_.loops[loop].role != Role::Outer || is_product() || static_cast<int>(loop) == across)) ++loop;
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
  if (strip_) return chunk(*strip_, lane_folds);
  if (nest_.sinks.front()->across >= 0) return transposed_store();
  if (lane < 0) return chunk(Chunk{}, lane_folds);
  const std::int64_t n = nest_.loops[static_cast<std::size_t>(lane)].extent;
  const std::int64_t vectors = (n + kLanes - 1) / kLanes;
  const int tail = static_cast<int>(n - (vectors - 1) * kLanes);
  const int unroll =
      is_product() ? k_.plan_.product(*nest_.sinks.front()->op).block.vectors : static_cast<int>(std::min<std::int64_t>(kUnroll, vectors));
  for (std::size_t r = 0; r < reductions_.size(); ++r)
    if (folds_lanes(*reductions_[r])) lane_folds[r].assign(static_cast<std::size_t>(unroll), start(*reductions_[r], true));
  const std::int64_t whole = (tail < kLanes ? vectors - 1 : vectors) / unroll;
  const int rest = static_cast<int>(vectors - whole * unroll);
  const std::int64_t step = static_cast<std::int64_t>(unroll) * kLanes;
  if (whole > 1) {
    const Values out = e_.loop(e_.idx(0), e_.idx(whole * step), e_.idx(step), flatten(lane_folds), true, [&](LV* base, llvm::ArrayRef<LV*> carried) {
      restore(lane_folds, carried);
      chunk(k_.make_chunk(base, unroll, kLanes), lane_folds);
      return flatten(lane_folds);
    });
    restore(lane_folds, out);
  } else if (whole == 1) {
    chunk(k_.make_chunk(e_.idx(0), unroll, kLanes), lane_folds);
  }
  if (rest > 0) chunk(k_.make_chunk(e_.idx(whole * step), rest, tail), lane_folds);
  for (std::size_t r = 0; r < reductions_.size(); ++r) {
    const Sink& s = *reductions_[r];
    if (!folds_lanes(s)) continue;
    lane_ = lanes(e_.idx(0));
    finish(s, coords(s), horizontal(s, lane_folds[r]));
    no_lane();
  }
}

void NE::set_lane(const Chunk& c, int vector) {
  if (!c.base) return;
  lane_ = c.lane[static_cast<std::size_t>(vector)];
  ev_.set_active(vector == c.vectors - 1 && c.tail < kLanes ? e_.lanes_below(e_.idx(c.tail)) : nullptr);
}

void NE::no_lane() {
  lane_ = Lanes{};
  ev_.set_active(nullptr);
}

void NE::chunk(const Chunk& c, Folds& lane_folds) {
  Folds folds(reductions_.size());
  for (std::size_t r = 0; r < reductions_.size(); ++r)
    if (!folds_lanes(*reductions_[r])) folds[r].assign(static_cast<std::size_t>(c.vectors), start(*reductions_[r], c.base != nullptr));
  ev_.push();
  const int folded = loop_with(Role::Folded);
  if (!strip_ && c.base && (folded >= 0 || is_product())) prepare_strip(c);
  if (is_product()) {
    product(c, folds, lane_folds);
  } else if (folded >= 0) {
    const auto f = static_cast<std::size_t>(folded);
    const std::int64_t extent = nest_.loops[f].extent;
    const std::int64_t step = nest_.pair_loop == folded ? 2 : 1;
    auto round = [&](LV* iv) {
      at_[f] = lanes(iv);
      ev_.push();
      points(c, folds, lane_folds);
      ev_.pop();
      at_[f] = Lanes{};
    };
    if (extent >= step) {
      const Values out =
          e_.loop(e_.idx(0), e_.idx(extent / step * step), e_.idx(step), flatten(folds), true, [&](LV* iv, llvm::ArrayRef<LV*> carried) {
            restore(folds, carried);
            round(iv);
            return flatten(folds);
          });
      restore(folds, out);
    }
    if (extent % step != 0) round(e_.idx(extent - 1));
  } else {
    points(c, folds, lane_folds);
  }
  ev_.pop();
  for (std::size_t r = 0; r < reductions_.size(); ++r) {
    const Sink& s = *reductions_[r];
    if (folds_lanes(s)) continue;
    for (int v = 0; v < c.vectors; ++v) {
      set_lane(c, v);
      finish(s, coords(s), folds[r][static_cast<std::size_t>(v)]);
    }
  }
  no_lane();
}

NE::Point NE::evaluate(const Chunk& c) {
  Point point;
  for (int v = 0; v < c.vectors; ++v) {
    set_lane(c, v);
    auto& row = point.emplace_back();
    for (const Sink* s : nest_.sinks) {
      Taken t{coords(*s), {}};
      t.x = value_of(*s, t.at);
      if (s->kind == SinkKind::Tile) ev_.bind_at(s->target, t.at, t.x);
      row.push_back(std::move(t));
    }
  }
  no_lane();
  return point;
}

/// All values of a point have been taken before any effect: what a sink overwrites has been read by the others.
void NE::take(const Chunk& c, const Point& point, Folds& folds, Folds& lane_folds) {
  for (int v = 0; v < c.vectors; ++v) {
    set_lane(c, v);
    std::size_t r = 0;
    for (std::size_t i = 0; i < nest_.sinks.size(); ++i) {
      const Sink& s = *nest_.sinks[i];
      const Taken& t = point[static_cast<std::size_t>(v)][i];
      if (s.kind == SinkKind::Operand) continue;
      if (s.kind == SinkKind::Reduce) {
        auto& f = folds_lanes(s) ? lane_folds[r] : folds[r];
        fold_value(s, t.at, plain(e_, t.x), f[static_cast<std::size_t>(v)]);
        ++r;
      } else {
        store(s, t.at, t.x);
      }
    }
  }
  no_lane();
}

void NE::points(const Chunk& c, Folds& folds, Folds& lane_folds) {
  const Point first = evaluate(c);
  Point second;
  if (nest_.pair_loop >= 0) {
    // Operands in pairs take two k at a time; an odd last one is paired with zeros.
    const auto p = static_cast<std::size_t>(nest_.pair_loop);
    const Lanes here = at_[p];
    const auto* fixed = llvm::dyn_cast<llvm::ConstantInt>(here.v);
    if (!fixed || fixed->getSExtValue() + 1 < nest_.loops[p].extent) {
      at_[p] = second_.v ? second_ : idx_add(e_, here, lanes(e_.idx(1)));
      second = evaluate(c);
      at_[p] = here;
    }
  }
  take(c, first, folds, lane_folds);
  if (!second.empty()) take(c, second, folds, lane_folds);
  for (int v = 0; v < c.vectors; ++v) {
    set_lane(c, v);
    for (std::size_t i = 0; i < nest_.sinks.size(); ++i)
      if (nest_.sinks[i]->kind == SinkKind::Operand)
        store_operand(*nest_.sinks[i], first[static_cast<std::size_t>(v)][i], second.empty() ? nullptr : &second[static_cast<std::size_t>(v)][i]);
  }
  no_lane();
}

Lanes NE::value_of(const Sink& s, const Coords& c) {
  if (s.kind == SinkKind::Product) return ev_.eval(s.target, c);
  if (s.kind == SinkKind::Operand) return lanes(k_.operand_element(s, c));
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
  if (is_unit(s.target) || k_.plan_.in_registers(s.target)) {
    results_.push_back({s.target, at, lanes(x)});
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
        results_.push_back({s.target, c, x});
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
    return store_elements(e_, cell, a.base, a.offset, v, a.mask, static_cast<int>(cell.bytes()), k_.streams(op.operands[0]));
  // Every lane adds, though all may carry one value to one place.
  if (s.lane >= 0 && !v->getType()->isVectorTy()) v = e_.splat(v);
  if (s.lane >= 0 && a.offset.uniform()) {
    a.offset = lanes(as_vector(e_, a.offset));
    if (!a.mask) a.mask = llvm::Constant::getAllOnesValue(e_.vec(e_.b.getInt1Ty()));
  }
  LV* old = add_elements(e_, cell, a.base, a.offset, v, a.mask);
  if (s.kind != SinkKind::FetchAdd) return;
  if (is_unit(s.target))
    results_.push_back({s.target, c, lanes(old)});
  else
    ev_.store_buffer(ev_.buffer(s.target), c, lanes(old));
}

}  // namespace tessera::cpu
