// Elementwise built-ins, reductions and scans.
#include <fmt/format.h>

#include <limits>

#include "frontend/builtins.h"

namespace tessera {

using ir::OpKind;
using ir::ReduceKind;

Val Builtins::math(OpKind k, bool ints_too) {
  expect(1, 1);
  bool bits_only = k == OpKind::Popcount || k == OpKind::Clz;
  if (!ints_too) {
    TileVal t = float_operand(0, "the operand");
    return {e.make(t.elem, t.dims, e.emit(k, {t.v}), t.valid)};
  }
  TileVal t = operand(0, "the operand");
  if (is_bool(t.elem) || storage_only(t.elem) || (bits_only && !is_integer(t.elem)))
    e.fail(Code::E0308, arg(0, "").span, fmt::format("`{}` is not defined for {}", name, describe(t.elem)));
  return {e.make(t.elem, t.dims, e.emit(k, {t.v}), t.valid)};
}

Val Builtins::fma() {
  expect(3, 3);
  auto xs = together(0, 3, "an operand");
  if (!is_float(xs[0].elem) || storage_only(xs[0].elem)) e.fail(Code::E0308, span, fmt::format("`fma` is not defined for {}", describe(xs[0].elem)));
  return e.elementwise(OpKind::Fma, xs[0].elem, xs, span);
}

Val Builtins::clamp() {
  expect(3, 3);
  auto xs = together(0, 3, "an operand");
  Val low = e.elementwise(OpKind::Max, xs[0].elem, {xs[0], xs[1]}, span);
  return e.elementwise(OpKind::Min, xs[0].elem, {*low.as<TileVal>(), xs[2]}, span);
}

Val Builtins::select() {
  expect(3, 3);
  const ArgVal& c = arg(0, "a condition");
  if (auto* known = c.value.as<BoolConst>(); known && known->value) {
    auto xs = together(1, 2, "an operand");
    TileVal shape = xs[*known->value ? 0 : 1];
    return {e.broadcast_to(shape, e.broadcast_dims(xs[0], xs[1], span), span)};
  }
  TileVal m = e.tile(c.value, c.span, "the condition");
  if (!is_bool(m.elem)) e.fail(Code::E0301, c.span, fmt::format("the condition of `select` is bool, not {}", describe(m.elem)));
  auto xs = together(1, 2, "an operand");
  return e.elementwise(OpKind::Select, xs[0].elem, {m, xs[0], xs[1]}, span);
}

Val Builtins::bitcast() {
  expect(2, 2);
  auto* t = arg(0, "a type").value.as<TypeVal>();
  auto* to = t ? std::get_if<TileTy>(&t->type.kind) : nullptr;
  if (!to || !to->dims.empty()) e.fail(Code::E0302, arg(0, "").span, "the first argument of `bitcast` is an element type");
  TileVal x = operand(1, "the operand");
  if (!x.elem.opaque() && !to->elem.opaque() && bits(x.elem.dtype) != bits(to->elem.dtype))
    e.fail(Code::E0308, span, fmt::format("{} and {} differ in width", describe(x.elem), describe(to->elem)));
  ir::Value* v = e.builder_ ? e.builder_->bitcast(x.v, to->elem.dtype) : nullptr;
  return {e.make(to->elem, x.dims, v, x.valid)};
}

TileVal Builtins::reduce(TileVal t, ReduceKind k, double identity, int axis) {
  TileVal g = e.guard(t, identity, axis);
  std::vector<Sym> dims = g.dims;
  dims[static_cast<std::size_t>(axis)] = Sym(1);
  Elem out = g.elem;
  if (k == ReduceKind::ArgMax || k == ReduceKind::ArgMin) out = elem(DType::Idx);
  ir::Value* v = e.builder_ ? e.builder_->reduce(k, g.v, axis) : nullptr;
  return e.make(out, dims, v, g.valid);
}

Val Builtins::reduce_total(ReduceKind k, double identity) {
  expect(1, 1, {"axis"});
  TileVal t = operand(0, "the operand");
  bool logical = k == ReduceKind::Any || k == ReduceKind::All;
  if (logical != is_bool(t.elem) || storage_only(t.elem))
    e.fail(Code::E0308, arg(0, "").span, fmt::format("`{}` is not defined for {}", name, describe(t.elem)),
           is_bool(t.elem) ? "count with `sum(i32(x))`, or use `any(x)` and `all(x)`"
           : logical       ? "compare first: `any(x > 0)`"
                           : "convert it first, e.g. `f32(x)`");
  if (named("axis")) return {reduce(t, k, identity, axis(t))};
  if ((k == ReduceKind::ArgMax || k == ReduceKind::ArgMin) && t.dims.size() != 1)
    e.fail(Code::E0202, span, fmt::format("`{}` of {} needs `axis:`", name, describe(Val{t})));
  for (std::size_t i = t.dims.size(); i-- > 0;)
    if (!(t.dims[i] == Sym(1)) || e.partial(t, static_cast<int>(i)) || k == ReduceKind::ArgMax || k == ReduceKind::ArgMin)
      t = reduce(t, k, identity, static_cast<int>(i));
  return {e.reshape(t, {}, span)};
}

Val Builtins::min_max(OpKind k, ReduceKind r, double identity) {
  if (positional() == 1) return reduce_total(r, identity);
  expect(2, 2);
  auto *x = arg(0, "").value.as<IntConst>(), *y = arg(1, "").value.as<IntConst>();
  if (x && y) return {IntConst{k == OpKind::Min ? tessera::min(x->value, y->value) : tessera::max(x->value, y->value)}};
  auto xs = together(0, 2, "an operand");
  if (is_bool(xs[0].elem) || storage_only(xs[0].elem))
    e.fail(Code::E0308, span, fmt::format("`{}` is not defined for {}", name, describe(xs[0].elem)));
  Val out = e.elementwise(k, xs[0].elem, xs, span);
  if (auto* t = out.as<TileVal>(); t->dims.empty() && is_idx(t->elem) && xs[0].sym && xs[1].sym)
    t->sym = k == OpKind::Min ? tessera::min(*xs[0].sym, *xs[1].sym) : tessera::max(*xs[0].sym, *xs[1].sym);
  return out;
}

Val Builtins::row_reduce(ReduceKind k, double identity) {
  expect(1, 1);
  TileVal t = operand(0, "the operand");
  if (t.dims.size() != 2) e.fail(Code::E0202, arg(0, "").span, fmt::format("`{}` needs a rank-2 tile, not {}", name, describe(Val{t})));
  if (is_bool(t.elem) || storage_only(t.elem))
    e.fail(Code::E0308, arg(0, "").span, fmt::format("`{}` is not defined for {}", name, describe(t.elem)));
  return {reduce(t, k, identity, 1)};
}

namespace {

bool flag(const Builtins::ArgVal* a) {
  auto* b = a ? a->value.as<BoolConst>() : nullptr;
  return b && b->value.value_or(false);
}

}  // namespace

Val Builtins::scan(ReduceKind k, double identity) {
  expect(1, 1, {"axis", "exclusive", "reverse"});
  TileVal t = operand(0, "the operand");
  if (is_bool(t.elem) || storage_only(t.elem))
    e.fail(Code::E0308, arg(0, "").span, fmt::format("`{}` is not defined for {}", name, describe(t.elem)),
           is_bool(t.elem) ? "count with `scan_sum(i32(x), ..)`" : "");
  if (t.dims.empty()) e.fail(Code::E0202, arg(0, "").span, "a scalar has no axis to scan");
  int a = axis(t, "axis", t.dims.size() == 1 ? 0 : -1);
  TileVal g = e.guard(t, identity, a);
  ir::Attrs attrs{{ir::Attr::Axis, std::int64_t{a}}, {ir::Attr::Kind, static_cast<std::int64_t>(k)}};
  if (flag(named("exclusive"))) attrs[ir::Attr::Exclusive] = std::int64_t{1};
  if (flag(named("reverse"))) attrs[ir::Attr::Reverse] = std::int64_t{1};
  return {e.make(t.elem, t.dims, e.emit(OpKind::Scan, {g.v}, attrs), t.valid)};
}

namespace {

void leaves(const Val& v, std::vector<TileVal*>& out) {
  if (auto* t = v.as<TileVal>()) out.push_back(const_cast<TileVal*>(t));
  if (auto* s = v.as<StructVal>())
    for (const Val& f : s->fields) leaves(f, out);
}

}  // namespace

/// `reduce(f, identity, x, axis: i)` and `scan(..)`: x is a tile or a struct of tiles, f combines two scalars of that shape of struct.
Val Builtins::generic_fold(bool scan) {
  expect(3, 3, {"axis"});
  auto* f = arg(0, "a function").value.as<FnVal>();
  if (!f)
    e.fail(Code::E0302, arg(0, "").span,
           fmt::format("the first argument of `{}` combines two values, it is not {}", name, describe(arg(0, "").value)));
  Val x = e.decay(arg(2, "the operand").value, span);
  std::vector<TileVal*> tiles;
  if (!x.as<StructVal>()) x = {e.tile(x, arg(2, "").span, "the operand")};
  leaves(x, tiles);
  if (tiles.empty()) e.fail(Code::E0302, arg(2, "").span, fmt::format("`{}` folds tiles, not {}", name, describe(x)));
  std::vector<Sym> dims;
  TileVal shape;
  std::vector<Mask> valid;
  for (TileVal* t : tiles) shape.dims = dims = e.broadcast_dims(shape, *t, span), valid = e.join(valid, t->valid);
  TileVal whole = e.make(tiles[0]->elem, dims, nullptr);
  int a = axis(whole);
  // The identity, a struct of constants, takes the element types of x.
  Val id = arg(1, "the identity").value;
  std::vector<TileVal> ids;
  std::vector<Val> id_fields;
  if (auto* s = id.as<StructVal>())
    id_fields = s->fields;
  else
    id_fields = {id};
  if (id_fields.size() != tiles.size()) e.fail(Code::E0302, arg(1, "").span, "the identity has as many parts as the operand");
  for (std::size_t i = 0; i < tiles.size(); ++i) {
    ids.push_back(e.reshape(e.coerce_elem(id_fields[i], tiles[i]->elem, arg(1, "").span), {}, arg(1, "").span));
  }
  // The combining function runs on single elements: the same struct with dims of 1, so that its constructors still apply.
  auto scalars = [&](ir::Block* block) {
    Val v = x;
    std::vector<TileVal*> parts;
    leaves(v, parts);
    for (TileVal* t : parts) {
      std::vector<Sym> ones(t->dims.size(), Sym(1));
      ir::Value* element = block ? block->add_arg(ir::scalar(t->elem.dtype)) : nullptr;
      *t = e.make(t->elem, ones, element && !ones.empty() ? e.builder_->reshape(element, ir::Dims(ones.size(), 1)) : element);
    }
    if (auto* s = v.as<StructVal>()) s->type.generics.reset();
    return v;
  };
  std::vector<ir::Value*> operands;
  operands.resize(tiles.size());
  if (e.builder_)
    for (std::size_t i = 0; i < tiles.size(); ++i) {
      TileVal wide = e.broadcast_to(*tiles[i], dims, span);
      ir::Value* mask = valid.empty() ? nullptr : e.mask_value(valid, dims.size(), dims, a);
      operands[i] = mask ? e.emit(OpKind::Select, {mask, wide.v, ids[i].v}) : wide.v;
    }
  for (const TileVal& t : ids) operands.push_back(t.v);
  ir::Op* op = nullptr;
  ir::Block* outer = nullptr;
  if (e.builder_) {
    op = e.open_op(scan ? OpKind::ScanWith : OpKind::ReduceWith, operands, 1);
    op->attrs[ir::Attr::Axis] = std::int64_t{a};
    outer = &e.builder_->block();
    e.builder_->set_block(op->region());
  }
  Val left = scalars(op ? &op->region() : nullptr), right = scalars(op ? &op->region() : nullptr);
  std::vector<Builtins::ArgVal> two(2);
  two[0].value = left, two[0].span = span;
  two[1].value = right, two[1].span = span;
  Val combined = e.call_value(*f, two, span);
  std::vector<TileVal*> parts;
  Val c = combined.as<StructVal>() ? combined : Val{e.tile(combined, span, "the result")};
  leaves(c, parts);
  if (parts.size() != tiles.size()) e.fail(Code::E0313, arg(0, "").span, "the function returns what it combines");
  std::vector<ir::Value*> yielded;
  for (std::size_t i = 0; i < parts.size(); ++i) yielded.push_back(e.reshape(e.coerce_elem({*parts[i]}, tiles[i]->elem, span), {}, span).v);
  Val out = x;
  std::vector<TileVal*> results;
  leaves(out, results);
  std::vector<Sym> out_dims = dims;
  if (!scan) out_dims[static_cast<std::size_t>(a)] = Sym(1);
  std::vector<ir::Value*> values(results.size(), nullptr);
  if (e.builder_) {
    e.builder_->yield(yielded);
    e.builder_->set_block(*outer);
    for (std::size_t i = 0; i < results.size(); ++i) {
      auto r = std::make_unique<ir::Value>();
      r->type = ir::TileType{tiles[i]->elem.dtype, e.dims_of(out_dims)};
      r->def = op;
      r->index = i;
      values[i] = r.get();
      op->results.push_back(std::move(r));
    }
  }
  std::vector<Mask> kept;
  for (const Mask& m : valid)
    if (scan || (m.range_id && m.axis != a)) kept.push_back(m);
  for (std::size_t i = 0; i < results.size(); ++i) *results[i] = e.make(results[i]->elem, out_dims, values[i], kept);
  if (auto* s = out.as<StructVal>()) s->type.generics.reset();
  return out;
}

Val Builtins::top_k() {
  expect(2, 2, {"axis"});
  TileVal t = operand(0, "the operand");
  if (is_bool(t.elem) || storage_only(t.elem)) e.fail(Code::E0308, arg(0, "").span, fmt::format("`top_k` is not defined for {}", describe(t.elem)));
  Sym k = e.const_int(arg(1, "k").value, arg(1, "").span, "k");
  int a = axis(t, "axis", t.dims.size() == 1 ? 0 : -1);
  TileVal g = e.guard(t, -std::numeric_limits<double>::infinity(), a);
  std::vector<Sym> dims = t.dims;
  if (auto n = dims[static_cast<std::size_t>(a)].as_constant(), c = k.as_constant(); n && c && (*c < 1 || *c > *n))
    e.fail(Code::E0208, arg(1, "").span, fmt::format("`top_k` takes between 1 and {} elements, not {}", *n, *c));
  dims[static_cast<std::size_t>(a)] = k;
  ir::Value *values = nullptr, *indices = nullptr;
  if (e.builder_) {
    ir::Op* op = e.builder_->op(OpKind::TopK, {g.v}, {{ir::Attr::Axis, std::int64_t{a}}, {ir::Attr::K, k.constant()}});
    values = op->result(0);
    indices = op->result(1);
  }
  return {TupleVal{{Val{e.make(t.elem, dims, values, g.valid)}, Val{e.make(elem(DType::Idx), dims, indices, g.valid)}}}};
}

Val Builtins::sort() {
  expect(1, 1, {"axis", "descending"});
  TileVal t = operand(0, "the operand");
  if (is_bool(t.elem) || storage_only(t.elem)) e.fail(Code::E0308, arg(0, "").span, fmt::format("`sort` is not defined for {}", describe(t.elem)));
  int a = axis(t, "axis", t.dims.size() == 1 ? 0 : -1);
  bool down = flag(named("descending"));
  const double inf = std::numeric_limits<double>::infinity();
  TileVal g = e.guard(t, down ? -inf : inf, a);
  ir::Attrs attrs{{ir::Attr::Axis, std::int64_t{a}}};
  if (down) attrs[ir::Attr::Descending] = std::int64_t{1};
  return {e.make(t.elem, t.dims, e.emit(OpKind::Sort, {g.v}, attrs), t.valid)};
}

Val Builtins::histogram() {
  expect(2, 2, {"when"});
  TileVal t = operand(0, "the operand");
  if (is_idx(t.elem) || !is_integer(t.elem) || t.elem.opaque() || t.elem.dtype != DType::I32 || t.dims.size() != 1)
    e.fail(Code::E0302, arg(0, "").span, fmt::format("`histogram` counts i32[N], not {}", describe(Val{t})));
  Sym n = e.const_int(arg(1, "the number of bins").value, arg(1, "").span, "the number of bins");
  e.positive_dims({n}, arg(1, "").span);
  const ArgVal* w = named("when");
  TileVal when = w ? e.broadcast_to(e.coerce_elem(w->value, elem(DType::Bool), w->span), t.dims, w->span) : e.constant(elem(DType::Bool), t.dims, 1);
  when.valid = e.join(when.valid, t.valid);
  when = e.guard(when, 0, 0);
  ir::Attrs attrs;
  if (e.builder_) attrs[ir::Attr::Size] = n.constant();
  return {e.make(elem(DType::I32), {n}, e.emit(OpKind::Histogram, {t.v, when.v}, attrs))};
}

}  // namespace tessera
