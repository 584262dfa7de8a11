// Built-ins that move elements without computing: shapes, padding, products of tiles, and methods of values.
#include <fmt/format.h>

#include "frontend/builtins.h"

namespace tessera {

using ir::OpKind;

Val Builtins::fill() {
  expect(2, 2);
  auto* t = arg(1, "a type").value.as<TypeVal>();
  auto* type = t ? std::get_if<TileTy>(&t->type.kind) : nullptr;
  if (!type) e.fail(Code::E0302, arg(1, "").span, "the second argument of `fill` is a type, e.g. `f32[M, N]`");
  const ArgVal& v = arg(0, "a value");
  if (storage_only(type->elem)) e.fail(Code::E0308, arg(1, "").span, fmt::format("{} is a storage type", describe(type->elem)));
  if (auto* c = v.value.as<IntConst>(); c && (!e.lowering() || c->value.is_constant())) {
    (void)e.coerce_elem(v.value, type->elem, v.span);
    return {e.int_constant(type->elem, type->dims, c->value)};
  }
  TileVal x = e.coerce_elem(e.decay(v.value, v.span), type->elem, v.span);
  if (!x.dims.empty()) e.fail(Code::E0302, v.span, fmt::format("`fill` repeats a scalar, not {}", describe(Val{x})));
  return {e.broadcast_to(x, type->dims, span)};
}

/// -1: iota(n); 0: rows, 1: cols, 2: index of a tile range.
Val Builtins::coords(int form) {
  expect(1, 1);
  const ArgVal& a = arg(0, "an argument");
  if (form < 0) {
    Sym n = e.const_int(a.value, a.span, "the length");
    e.positive_dims({n}, a.span);
    ir::Value* v = nullptr;
    if (e.builder_) {
      ir::Op* op = e.builder_->op(OpKind::Iota, {}, {}, {ir::TileType{DType::Idx, {n.constant()}}});
      v = op->result();
    }
    return {e.make(elem(DType::Idx), {n}, v)};
  }
  auto* r = a.value.as<RangeVal>();
  if (!r || !r->size)
    e.fail(Code::E0302, a.span, fmt::format("`{}` needs a tile range, not {}", name, describe(a.value)), "tile ranges come from `tiles(axis, N)`");
  ir::Value* v = e.emit(OpKind::Coords, {r->range});
  TileVal t = e.make(elem(DType::Idx), {*r->size}, v);
  if (!r->full) {
    Mask m;
    m.range_id = r->id;
    m.range = r->range;
    t.valid.push_back(m);
  }
  if (form == 2) return {t};
  return {e.reshape(t, form == 0 ? std::vector<Sym>{*r->size, Sym(1)} : std::vector<Sym>{Sym(1), *r->size}, span)};
}

Val Builtins::column(bool row) {
  expect(1, 1);
  TileVal t = operand(0, "the operand");
  if (t.dims.size() == 2) {
    bool unit = t.dims[row ? 1 : 0] == Sym(1);
    if (!unit) e.fail(Code::E0202, arg(0, "").span, fmt::format("`{}` needs a rank-1 tile, not {}", name, describe(Val{t})));
    Sym n = t.dims[row ? 0 : 1];
    return {e.reshape(t, row ? std::vector<Sym>{Sym(1), n} : std::vector<Sym>{n, Sym(1)}, span)};
  }
  if (t.dims.empty()) return {e.reshape(t, {Sym(1), Sym(1)}, span)};
  if (t.dims.size() != 1) e.fail(Code::E0202, arg(0, "").span, fmt::format("`{}` needs a rank-1 tile, not {}", name, describe(Val{t})));
  return {e.reshape(t, row ? std::vector<Sym>{Sym(1), t.dims[0]} : std::vector<Sym>{t.dims[0], Sym(1)}, span)};
}

namespace {

ir::Attrs slice_attrs(std::int64_t axis, std::int64_t offset, std::int64_t size) {
  return {{ir::Attr::Axis, axis}, {ir::Attr::Offset, offset}, {ir::Attr::Size, size}};
}

}  // namespace

Val Builtins::shape_split() {
  expect(1, 1);
  TileVal t = operand(0, "the operand");
  if (t.dims.empty() || e.known_different(t.dims.back(), Sym(2)))
    e.fail(Code::E0201, arg(0, "").span, fmt::format("`split` needs a last axis of 2, not {}", describe(Val{t})));
  std::vector<Sym> dims(t.dims.begin(), t.dims.end() - 1);
  std::vector<Val> out;
  for (std::int64_t i = 0; i < 2; ++i) {
    TileVal half = t;
    half.dims.back() = Sym(1);
    for (Mask& m : half.valid) {
      const bool along = m.range_id ? m.axis == static_cast<int>(dims.size()) : !(m.dims.back() == Sym(1));
      if (!along) continue;
      if (m.range_id) {
        if (e.builder_) m.tile = e.mask_value({m}, t.dims.size(), t.dims);
        m.range_id = 0;
        m.range = nullptr;
        m.dims.assign(t.dims.size(), Sym(1));
      }
      m.dims.back() = Sym(1);
      if (m.tile) m.tile = e.emit(OpKind::Slice, {m.tile}, slice_attrs(static_cast<std::int64_t>(dims.size()), i, 1));
    }
    half.v = e.emit(OpKind::Slice, {t.v}, slice_attrs(static_cast<std::int64_t>(dims.size()), i, 1));
    out.push_back({e.reshape(half, dims, span)});
  }
  return {TupleVal{out}};
}

Val Builtins::shape_join() {
  expect(2, 2);
  auto xs = together(0, 2, "an operand");
  std::vector<Sym> dims = e.broadcast_dims(xs[0], xs[1], span);
  std::vector<ir::Value*> parts;
  std::vector<Mask> valid;
  for (TileVal& x : xs) {
    x = e.broadcast_to(x, dims, span);
    std::vector<Sym> wide = dims;
    wide.push_back(Sym(1));
    x = e.reshape(x, wide, span);
    parts.push_back(x.v);
    valid = e.join(valid, x.valid);
  }
  dims.push_back(Sym(2));
  return {e.make(xs[0].elem, dims, e.emit(OpKind::Concat, parts, {{ir::Attr::Axis, static_cast<std::int64_t>(dims.size() - 1)}}), valid)};
}

Val Builtins::cut() {
  expect(2, 2, {"axis"});
  TileVal t = operand(0, "the operand");
  int a = axis(t, "axis", t.dims.size() == 1 ? 0 : -1);
  auto ax = static_cast<std::size_t>(a);
  Sym n = e.const_int(arg(1, "a length").value, arg(1, "").span, "the length");
  if (auto c = n.as_constant(), d = t.dims[ax].as_constant(); c && d && (*c < 0 || *c > *d))
    e.fail(Code::E0208, arg(1, "").span, fmt::format("cannot cut {} elements from an axis of {}", *c, *d));
  if (e.partial(t, a))
    e.fail(Code::E0209, arg(0, "").span, "`cut` would divide an axis that is only partly valid", "fill the padding first: `pad(x, 0)`");
  std::vector<Val> out;
  Sym rest = e.facts_.normalise(t.dims[ax] - n);
  for (int i = 0; i < 2; ++i) {
    TileVal part = t;
    Sym size = i == 0 ? n : rest;
    if (size == Sym(0)) {  // nothing on this side
      out.push_back({Nothing{}});
      continue;
    }
    part.dims[ax] = size;
    part.id = e.fresh_id();
    if (e.builder_) part.v = e.emit(OpKind::Slice, {t.v}, slice_attrs(a, i == 0 ? 0 : n.constant(), size.constant()));
    out.push_back({part});
  }
  return {TupleVal{out}};
}

Val Builtins::concat() {
  expect(1, 64, {"axis"});
  std::vector<TileVal> xs;
  std::vector<Span> spans;
  for (const ArgVal& a : args) {
    if (!a.name.empty() || a.value.as<Nothing>()) continue;
    xs.push_back(e.tile(a.value, a.span, "an operand"));
    spans.push_back(a.span);
  }
  if (xs.empty()) e.fail(Code::E0305, span, "`concat` needs a tile");
  if (xs[0].dims.empty()) e.fail(Code::E0202, spans[0], "a scalar has no axis to concatenate along");
  int a = axis(xs.at(0), "axis", xs[0].dims.size() == 1 ? 0 : -1);
  auto ax = static_cast<std::size_t>(a);
  std::vector<Sym> dims = xs[0].dims;
  Sym total;
  std::vector<ir::Value*> parts;
  std::vector<Mask> valid;
  for (const TileVal& x : xs) {
    if (!(x.elem == xs[0].elem))
      e.fail(Code::E0301, span, fmt::format("`concat` needs one element type, not {} and {}", describe(xs[0].elem), describe(x.elem)));
    if (x.dims.size() != dims.size()) e.fail(Code::E0202, span, "`concat` needs tiles of one rank");
    for (std::size_t i = 0; i < dims.size(); ++i)
      if (i != ax && e.known_different(x.dims[i], dims[i]))
        e.fail(Code::E0201, span, fmt::format("`concat` along axis {} of {} and {}", a, describe(Val{xs[0]}), describe(Val{x})));
    if (e.partial(x, a))
      e.fail(Code::E0209, spans[parts.size()], "`concat` along an axis that is only partly valid", "fill the padding first: `pad(x, 0)`");
    total = total + x.dims[ax];
    parts.push_back(x.v);
    valid = e.join(valid, x.valid);
  }
  dims[ax] = e.facts_.normalise(total);
  if (parts.size() == 1) return {xs[0]};
  return {e.make(xs[0].elem, dims, e.emit(OpKind::Concat, parts, {{ir::Attr::Axis, std::int64_t{a}}}), valid)};
}

Val Builtins::pad() {
  expect(2, 2);
  TileVal t = operand(0, "the operand");
  const ArgVal& v = arg(1, "a value");
  TileVal fill = e.coerce_elem(v.value, t.elem, v.span);
  if (!fill.dims.empty()) e.fail(Code::E0302, v.span, "padding is filled with a scalar");
  if (t.valid.empty()) return {t};
  ir::Value* out = nullptr;
  if (e.builder_) out = e.emit(OpKind::Select, {e.mask_value(t.valid, t.dims.size(), t.dims), t.v, fill.v});
  return {e.make(t.elem, t.dims, out)};
}

Val Builtins::last() {
  expect(1, 1, {"axis"});
  TileVal t = operand(0, "the operand");
  int a = axis(t, "axis", t.dims.size() == 1 ? 0 : -1);
  std::vector<Sym> dims = t.dims;
  std::vector<Mask> valid;
  ir::Value* at = nullptr;
  if (e.builder_) at = e.emit_sym(dims[static_cast<std::size_t>(a)] - Sym(1));
  for (const Mask& m : t.valid) {
    if (!m.range_id || m.axis != a) {
      valid.push_back(m);
      continue;
    }
    if (e.builder_) {  // hi - start - 1, within the tile
      const ir::Op* r = m.range->def;
      at = e.idx_binary(OpKind::Min, at, e.idx_binary(OpKind::Sub, e.idx_binary(OpKind::Sub, r->operands[2], r->operands[0]), e.emit_idx(1)));
    }
  }
  dims[static_cast<std::size_t>(a)] = Sym(1);
  return {e.make(t.elem, dims, e.emit(OpKind::Pick, {t.v, at}, {{ir::Attr::Axis, std::int64_t{a}}}), valid)};
}

Val Builtins::dot() {
  expect(2, 2, {"prec"});
  Val out = e.matmul(arg(0, "").value, arg(1, "").value, span);
  if (const ArgVal* p = named("prec")) {
    auto* word = p->value.as<StringVal>();
    ir::DotPrec prec = ir::DotPrec::Ieee;
    if (word && word->text == "tf32")
      prec = ir::DotPrec::Tf32;
    else if (word && word->text == "tf32x3")
      prec = ir::DotPrec::Tf32x3;
    else if (!word || word->text != "ieee")
      e.fail(Code::E0306, p->span, "the precisions of `dot` are `ieee`, `tf32` and `tf32x3`");
    if (auto* t = out.as<TileVal>(); t->v && prec != ir::DotPrec::Ieee) t->v->def->attrs[ir::Attr::Prec] = static_cast<std::int64_t>(prec);
  }
  return out;
}

Val Builtins::dot_scaled() {
  expect(4, 4);
  std::vector<TileVal> x;
  for (std::size_t i = 0; i < 4; ++i) {
    x.push_back(operand(i, "an operand"));
    if (x[i].dims.size() != 2) e.fail(Code::E0202, arg(i, "").span, fmt::format("`dot_scaled` needs rank-2 tiles, not {}", describe(Val{x[i]})));
  }
  if (e.known_different(x[0].dims[1], x[2].dims[0]))
    e.fail(Code::E0201, span, fmt::format("`dot_scaled` of {} and {}", describe(Val{x[0]}), describe(Val{x[2]})));
  if (e.partial(x[0], 1) || e.partial(x[2], 0))
    e.fail(Code::E0209, span, "`dot_scaled` along a partly valid axis", "make the axis a multiple of the tile with a `where` clause");
  std::vector<Mask> valid;
  for (const Mask& m : x[0].valid)
    if (m.range_id && m.axis == 0) valid.push_back(m);
  for (const Mask& m : x[2].valid)
    if (m.range_id && m.axis == 1) valid.push_back(m);
  return {e.make(elem(DType::F32), {x[0].dims[0], x[2].dims[1]}, e.emit(OpKind::DotScaled, {x[0].v, x[1].v, x[2].v, x[3].v}), valid)};
}

Val Builtins::solve_lower() {
  expect(2, 2);
  TileVal a = operand(0, "the matrix"), r = operand(1, "the right side");
  if (a.dims.size() != 2 || r.dims.size() != 2 || e.known_different(a.dims[0], a.dims[1]) || e.known_different(a.dims[1], r.dims[0]))
    e.fail(Code::E0201, span, fmt::format("`solve_lower` of {} and {}", describe(Val{a}), describe(Val{r})));
  if (!(a.elem == elem(DType::F32)) || !(r.elem == a.elem)) e.fail(Code::E0301, span, "`solve_lower` works on f32");
  TileVal ga = e.guard(e.guard(a, 0, 0), 0, 1), gr = e.guard(r, 0, 0);
  return {e.make(r.elem, r.dims, e.emit(OpKind::SolveLower, {ga.v, gr.v}), r.valid)};
}

/// The same elements under other dims. Unit axes come and go with their masks; a partial axis that is regrouped gets a bool tile.
TileVal Elaborator::reshape(const TileVal& t, std::vector<Sym> dims, Span span) {
  Sym before(1), after(1);
  for (const Sym& d : t.dims) before = before * d;
  for (const Sym& d : dims) after = after * d;
  if (known_different(before, after))
    fail(Code::E0206, span, fmt::format("{} has {} elements, {} has {}", describe(Val{t}), display(before), describe_dims(dims), display(after)));
  if (t.dims.size() == dims.size()) {
    bool same = true;
    for (std::size_t i = 0; i < dims.size(); ++i) same &= same_dim(t.dims[i], dims[i]);
    if (same) return t;
  }
  std::vector<std::size_t> from, to;  // axes of more than one element, in order
  for (std::size_t i = 0; i < t.dims.size(); ++i)
    if (!(t.dims[i] == Sym(1))) from.push_back(i);
  for (std::size_t i = 0; i < dims.size(); ++i)
    if (!(dims[i] == Sym(1))) to.push_back(i);
  // Axes before and behind those that are cut or joined stay what they are.
  std::size_t leading = 0, trailing = 0;
  while (leading < std::min(from.size(), to.size()) && same_dim(t.dims[from[leading]], dims[to[leading]])) ++leading;
  while (trailing < std::min(from.size(), to.size()) - leading &&
         same_dim(t.dims[from[from.size() - 1 - trailing]], dims[to[to.size() - 1 - trailing]]))
    ++trailing;
  const bool units_only = from.size() == to.size() && leading == from.size();
  TileVal out = make(t.elem, dims, builder_ ? builder_->reshape(t.v, dims_of(dims)) : nullptr);
  for (const Mask& m : t.valid) {
    Mask k = m;
    if (m.range_id) {
      bool placed = false;
      for (std::size_t i = 0; i < from.size(); ++i) {
        if (static_cast<int>(from[i]) != m.axis || (i >= leading && i + trailing < from.size())) continue;
        k.axis = static_cast<int>(i < leading ? to[i] : to[to.size() - (from.size() - i)]);
        placed = true;
      }
      if (units_only && !placed) {
        // A unit axis that is partial: keep it on some unit axis, if there is one.
        for (std::size_t i = 0; i < dims.size() && !placed; ++i)
          if (dims[i] == Sym(1)) k.axis = static_cast<int>(i), placed = true;
      }
      if (placed) {
        out.valid.push_back(k);
        continue;
      }
    }
    k.range_id = 0;
    k.range = nullptr;
    k.dims = dims;
    if (builder_) k.tile = builder_->reshape(builder_->broadcast(mask_value({m}, t.dims.size(), t.dims), dims_of(t.dims)), dims_of(dims));
    out.valid.push_back(k);
  }
  if (dims.empty() && t.dims.size() == 0) out.sym = t.sym;
  return out;
}

/// `v.axis(0)`, `v.merge(0, 1)`, `r.on(S)`, `x.reshape(..)`: what values of each kind offer.
Val Elaborator::method(Val base, const ast::Ident& name, std::vector<ArgVal> args, Span span) {
  const std::string& n = name.name;
  auto count = [&](std::size_t least, std::size_t most) {
    if (args.size() < least || args.size() > most)
      fail(args.size() < least ? Code::E0305 : Code::E0306, span, fmt::format("`.{}` takes {} arguments, not {}", n, least, args.size()));
  };
  auto number = [&](std::size_t i) { return const_int(args[i].value, args[i].span, "the argument"); };
  auto axis = [&](std::size_t i, std::size_t rank) {
    auto v = number(i).as_constant();
    if (!v || *v < 0 || *v >= static_cast<std::int64_t>(rank))
      fail(Code::E0207, args[i].span, fmt::format("{} has no such axis", describe(base)), fmt::format("its axes are 0 to {}", rank - 1));
    return static_cast<std::size_t>(*v);
  };
  at(span);
  if (auto* r = base.as<RangeVal>(); r && n == "on") {
    count(1, 1);
    RangeVal other = as_range(args[0].value, args[0].span);
    return {retie(*r, other.axis && !other.size && other.lo_sym && *other.lo_sym == Sym(0) ? *other.axis : range_extent(other), span)};
  }
  if (auto* v = base.as<ViewVal>(); v && !v->peers) {
    std::size_t rank = v->dims.size();
    ViewVal out = *v;
    if (n == "axis") {
      count(1, 1);
      return {whole_axis(*v, static_cast<int>(axis(0, rank)))};
    }
    if (n == "merge") {
      count(2, 2);
      std::size_t a = axis(0, rank), b = axis(1, rank);
      if (b <= a) fail(Code::E0207, span, "`.merge(a, b)` merges the axes a to b, a < b");
      Sym product(1);
      for (std::size_t i = a; i <= b; ++i) product = product * v->dims[i];
      out.dims.erase(out.dims.begin() + static_cast<std::ptrdiff_t>(a), out.dims.begin() + static_cast<std::ptrdiff_t>(b) + 1);
      out.dims.insert(out.dims.begin() + static_cast<std::ptrdiff_t>(a), facts_.normalise(product));
      out.v = emit(OpKind::ViewMerge, {v->v}, {{ir::Attr::Axis, static_cast<std::int64_t>(a)}, {ir::Attr::Last, static_cast<std::int64_t>(b)}});
      return {out};
    }
    if (n == "split") {
      count(2, 2);
      std::size_t a = axis(0, rank);
      Sym c = number(1);
      positive_dims({c}, args[1].span);
      Sym outer = facts_.normalise(floor_div(v->dims[a], c));
      out.dims[a] = outer;
      out.dims.insert(out.dims.begin() + static_cast<std::ptrdiff_t>(a) + 1, c);
      ir::Attrs attrs{{ir::Attr::Axis, static_cast<std::int64_t>(a)}};
      if (builder_) attrs[ir::Attr::Size] = c.constant();
      out.v = emit(OpKind::ViewSplit, {v->v}, attrs);
      return {out};
    }
    if (n == "permute") {
      count(rank, rank);
      ir::Dims perm;
      for (std::size_t i = 0; i < rank; ++i) {
        std::size_t a = axis(i, rank);
        for (std::int64_t seen : perm)
          if (seen == static_cast<std::int64_t>(a)) fail(Code::E0207, args[i].span, "a permutation names each axis once");
        perm.push_back(static_cast<std::int64_t>(a));
        out.dims[i] = v->dims[a];
      }
      out.v = emit(OpKind::ViewPermute, {v->v}, {{ir::Attr::Perm, perm}});
      return {out};
    }
    if (n != "reshape")
      fail(Code::E0304, name.span, fmt::format("a view has no method `{}`", n), "views have `.axis`, `.merge`, `.split` and `.permute`");
  }
  if (n != "reshape" && n != "permute") fail(Code::E0304, name.span, fmt::format("{} has no method `{}`", describe(base), n));
  TileVal t = tile(base, span, "the operand");
  if (n == "permute") {
    count(t.dims.size(), t.dims.size());
    ir::Dims perm;
    std::vector<Sym> dims;
    for (std::size_t i = 0; i < args.size(); ++i) {
      std::size_t a = axis(i, t.dims.size());
      for (std::int64_t seen : perm)
        if (seen == static_cast<std::int64_t>(a)) fail(Code::E0207, args[i].span, "a permutation names each axis once");
      perm.push_back(static_cast<std::int64_t>(a));
      dims.push_back(t.dims[a]);
    }
    std::vector<Mask> valid = t.valid;
    for (Mask& m : valid) {
      if (m.range_id) {
        for (std::size_t i = 0; i < perm.size(); ++i)
          if (perm[i] == m.axis) {
            m.axis = static_cast<int>(i);
            break;
          }
      } else {
        m.dims = dims;
        m.tile = builder_ ? builder_->permute(m.tile, perm) : nullptr;
      }
    }
    return {make(t.elem, dims, builder_ ? builder_->permute(t.v, perm) : nullptr, valid)};
  }
  std::vector<Sym> dims;
  for (std::size_t i = 0; i < args.size(); ++i) dims.push_back(number(i));
  positive_dims(dims, span);
  return {reshape(t, dims, span)};
}

}  // namespace tessera
