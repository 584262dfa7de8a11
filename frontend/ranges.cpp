// Ranges: intervals of axes, their tiles, and arithmetic on them.
#include <fmt/format.h>

#include "frontend/elaborate.h"

namespace tessera {

using ir::OpKind;

RangeVal Elaborator::make_range(const Val& lo, const Val& hi, Span span) {
  TileVal a = as_idx(lo, span), b = as_idx(hi, span);
  if (!a.dims.empty() || !b.dims.empty()) fail(Code::E0302, span, "the ends of a range are scalars");
  RangeVal r;
  r.lo = a.v;
  r.hi = b.v;
  r.lo_sym = a.sym;
  r.hi_sym = b.sym;
  r.id = fresh_id();
  r.bound = span;
  return r;
}

RangeVal Elaborator::whole_range(const Sym& axis) {
  RangeVal r;
  r.axis = axis;
  r.lo_sym = Sym(0);
  r.hi_sym = axis;
  r.lo = emit_idx(0);
  r.hi = emit_sym(axis);
  r.id = fresh_id();
  return r;
}

RangeVal Elaborator::whole_axis(const ViewVal& v, int axis) {
  RangeVal r = whole_range(v.dims[static_cast<std::size_t>(axis)]);
  r.bound = v.bound;
  return r;
}

/// The length of a range as a symbolic integer; a fresh symbol, the same for every use of this range, if it depends on run-time values.
Sym Elaborator::range_extent(const RangeVal& r) {
  if (r.size) return *r.size;
  if (r.lo_sym && r.hi_sym) {
    Sym e = facts_.normalise(*r.hi_sym - *r.lo_sym);
    bool local = false;
    for (const std::string& n : e.symbols()) local |= n.find('#') != std::string::npos;
    if (!local || (r.axis && e == *r.axis)) return e;
  }
  if (auto it = range_extents_.find(r.id); it != range_extents_.end()) return it->second;
  ir::Value* length = idx_binary(OpKind::Max, idx_binary(OpKind::Sub, r.hi, r.lo), emit_idx(0));
  Sym s = fresh_symbol("range", length);
  range_extents_.emplace(r.id, s);
  return s;
}

RangeVal Elaborator::as_range(const Val& v, Span span) {
  if (auto* r = v.as<RangeVal>()) return *r;
  if (auto* c = v.as<IntConst>()) return whole_range(c->value);
  if (auto* t = v.as<TileVal>(); t && t->dims.empty() && is_integer(t->elem)) {
    TileVal x = as_idx(v, span);
    if (!x.sym) x.sym = fresh_symbol("n", x.v);
    return whole_range(*x.sym);
  }
  if (v.poison()) throw Failed{};
  fail(Code::E0302, span, fmt::format("an axis or a range is needed, not {}", describe(v)));
}

RangeVal Elaborator::tile_range(const RangeVal& of, const Sym& size, ir::Value* start, std::optional<Sym> start_sym, ir::Value* block, bool aligned) {
  RangeVal r = of;
  r.size = size;
  r.start = start;
  r.start_sym = start_sym;
  r.block = block;
  r.id = fresh_id();
  r.full = aligned && of.lo_sym && of.hi_sym && facts_.proves_divisible(*of.hi_sym - *of.lo_sym, size);
  if (builder_) {
    r.range = builder_->range(start, of.lo, of.hi, dims_of({size})[0]);
    if (r.full) r.range->def->attrs[ir::Attr::Full] = std::int64_t{1};
  }
  return r;
}

/// The same coordinates as part of another axis: `i.on(M)`.
RangeVal Elaborator::retie(RangeVal r, const Sym& axis, Span span) {
  r.axis = axis;
  r.id = fresh_id();
  r.bound = span;
  r.full = false;
  r.hi_sym = r.hi_sym ? std::optional<Sym>(facts_.proves_equal(*r.hi_sym, axis) ? axis : tessera::min(*r.hi_sym, axis)) : std::nullopt;
  r.hi = idx_binary(OpKind::Min, r.hi, emit_sym(axis));
  if (r.size && builder_) r.range = builder_->range(r.start, r.lo, r.hi, dims_of({*r.size})[0]);
  return r;
}

/// `r + e`, `r - e` shift the coordinates, clipped again to the axis; `r * c`, `r / c` go to a finer or coarser axis.
Val Elaborator::range_shift(ast::BinaryOp op, const RangeVal& given, const Val& by, Span span) {
  using ast::BinaryOp;
  RangeVal r = given;
  r.id = fresh_id();
  if (op == BinaryOp::Add || op == BinaryOp::Sub) {
    TileVal d = as_idx(by, span);
    if (!d.dims.empty()) fail(Code::E0302, span, "a range is shifted by a scalar");
    OpKind k = op == BinaryOp::Add ? OpKind::Add : OpKind::Sub;
    auto shift = [&](const std::optional<Sym>& s) -> std::optional<Sym> {
      if (!s || !d.sym) return std::nullopt;
      return op == BinaryOp::Add ? *s + *d.sym : *s - *d.sym;
    };
    // Shifts add up before they are clipped: `r - 3 + 3` is `r`.
    RangeEnds& ends = r;
    if (r.unclipped && r.unclipped->first == ends) ends = r.unclipped->second;
    r.lo = idx_binary(k, r.lo, d.v);
    r.hi = idx_binary(k, r.hi, d.v);
    r.lo_sym = shift(r.lo_sym);
    r.hi_sym = shift(r.hi_sym);
    r.unclipped.reset();
    if (r.axis) {
      const RangeEnds before = ends;
      r.lo = idx_binary(OpKind::Max, r.lo, emit_idx(0));
      r.hi = idx_binary(OpKind::Min, r.hi, emit_sym(*r.axis));
      r.lo_sym = r.lo_sym ? std::optional<Sym>(tessera::max(*r.lo_sym, Sym(0))) : std::nullopt;
      r.hi_sym = r.hi_sym ? std::optional<Sym>(tessera::min(*r.hi_sym, *r.axis)) : std::nullopt;
      r.unclipped = {ends, before};
    }
    if (r.size) {
      r.start = idx_binary(k, r.start, d.v);
      r.start_sym = shift(r.start_sym);
      r.full = false;
      if (builder_) r.range = builder_->range(r.start, r.lo, r.hi, dims_of({*r.size})[0]);
    }
    return {r};
  }
  if (op != BinaryOp::Mul && op != BinaryOp::Div)
    fail(Code::E0302, span, "a range is shifted with `+` and `-`, and scaled by a constant with `*` and `/`");
  Sym c = const_int(by, span, "the factor of a range");
  bool divide = op == BinaryOp::Div;
  auto scale = [&](ir::Value* v, bool up) {
    if (!builder_) return static_cast<ir::Value*>(nullptr);
    ir::Value* k = emit_sym(c);
    if (!divide) return idx_binary(OpKind::Mul, v, k);
    if (up) v = idx_binary(OpKind::Add, v, emit_sym(c - Sym(1)));
    return idx_binary(OpKind::Div, v, k);
  };
  auto scale_sym = [&](const std::optional<Sym>& s, bool up) -> std::optional<Sym> {
    if (!s) return std::nullopt;
    return divide ? (up ? tessera::ceil_div(*s, c) : tessera::floor_div(*s, c)) : *s * c;
  };
  r.lo = scale(r.lo, false);
  r.hi = scale(r.hi, true);
  r.lo_sym = scale_sym(r.lo_sym, false);
  r.hi_sym = scale_sym(r.hi_sym, true);
  if (r.axis) r.axis = divide ? facts_.normalise(tessera::ceil_div(*r.axis, c)) : *r.axis * c;
  if (r.size) {
    if (divide && lowering() && !facts_.proves_divisible(*r.size, c))
      fail(Code::E0208, span, fmt::format("a tile of {} coordinates cannot be divided by {}", display(*r.size), display(c)),
           "choose a tile size that is a multiple");
    r.size = divide ? facts_.normalise(tessera::floor_div(*r.size, c)) : *r.size * c;
    r.start = scale(r.start, false);
    r.start_sym = scale_sym(r.start_sym, false);
    if (builder_) {
      r.range = builder_->range(r.start, r.lo, r.hi, dims_of({*r.size})[0]);
      if (r.full) r.range->def->attrs[ir::Attr::Full] = std::int64_t{1};
    }
  }
  return {r};
}

}  // namespace tessera
