// Built-ins on ranges and views, and those that act on places in views.
#include <fmt/format.h>

#include "frontend/builtins.h"

namespace tessera {

using ir::OpKind;

Val Builtins::tiles() {
  expect(2, 2);
  RangeVal r = e.as_range(arg(0, "an axis").value, arg(0, "").span);
  // A `range[S]` parameter may be a whole range or a tile of it; while its body is checked both uses are possible.
  if (r.size && !e.lowering() && r.size->str().front() == '?') r.size.reset(), r.lo_sym = Sym(0), r.hi_sym = r.axis;
  if (r.size) e.fail(Code::E0302, arg(0, "").span, "a tile range cannot be tiled again");
  Sym n = e.const_int(arg(1, "a tile size").value, arg(1, "").span, "a tile size");
  e.positive_dims({n}, arg(1, "").span);
  return {TilesVal{r, n}};
}

Val Builtins::whole() {
  expect(1, 1);
  return {e.as_range(arg(0, "an axis").value, arg(0, "").span)};
}

/// w-th of W near-equal parts of an axis, cut at multiples of m: [u*w/W, u*(w+1)/W) * m with u = ceil(n / m), clipped to the axis.
Val Builtins::share() {
  expect(3, 3, {"multiple"});
  RangeVal r = e.as_range(arg(0, "an axis").value, arg(0, "").span);
  TileVal parts = e.as_idx(arg(1, "the number of parts").value, arg(1, "").span), which = e.as_idx(arg(2, "the part").value, arg(2, "").span);
  Sym m(1);
  if (const ArgVal* a = named("multiple")) m = e.const_int(a->value, a->span, "`multiple`");
  RangeVal out = r;
  out.id = e.fresh_id();
  out.lo_sym.reset();
  out.hi_sym.reset();
  if (!e.builder_) return {out};
  ir::Value* k = e.emit_sym(m);
  ir::Value* length = e.idx_binary(OpKind::Sub, r.hi, r.lo);
  ir::Value* units = e.idx_binary(OpKind::Div, e.idx_binary(OpKind::Add, length, e.idx_binary(OpKind::Sub, k, e.emit_idx(1))), k);
  auto cut = [&](ir::Value* w) {
    ir::Value* u = e.idx_binary(OpKind::Div, e.idx_binary(OpKind::Mul, units, w), parts.v);
    return e.idx_binary(OpKind::Add, r.lo, e.idx_binary(OpKind::Min, e.idx_binary(OpKind::Mul, u, k), length));
  };
  out.lo = cut(which.v);
  out.hi = cut(e.idx_binary(OpKind::Add, which.v, e.emit_idx(1)));
  return {out};
}

Val Builtins::span_of() {
  expect(3, 3);
  RangeVal r = e.as_range(arg(0, "an axis").value, arg(0, "").span);
  TileVal lo = e.as_idx(arg(1, "the lower end").value, arg(1, "").span), hi = e.as_idx(arg(2, "the upper end").value, arg(2, "").span);
  // A part of a run-time range counts from its start: the coordinates are those of the derived axis.
  RangeVal out = r;
  if (!r.axis) {
    out = e.whole_range(e.range_extent(r));
  }
  ir::Value *base_lo = out.lo, *base_hi = out.hi;
  out.id = e.fresh_id();
  out.lo = e.idx_binary(OpKind::Max, lo.v, base_lo);
  out.hi = e.idx_binary(OpKind::Min, hi.v, base_hi);
  out.lo_sym.reset();
  out.hi_sym.reset();
  return {out};
}

Val Builtins::extent() {
  expect(1, 1);
  const ArgVal& a = arg(0, "an axis");
  Val v = a.value;
  if (auto* view = v.as<ViewVal>(); view && view->dims.size() == 1) v = {e.whole_axis(*view, 0)};
  RangeVal r = e.as_range(v, a.span);
  Sym s = r.axis && r.lo_sym && r.hi_sym && *r.lo_sym == Sym(0) && *r.hi_sym == *r.axis ? *r.axis : e.range_extent(r);
  TileVal t = e.make(elem(DType::Idx), {}, e.emit_sym(s));
  t.sym = s;
  return {t};
}

Val Builtins::paged() {
  expect(3, 3);
  auto* pool = arg(0, "a pool of pages").value.as<ViewVal>();
  auto* table = arg(1, "a page table").value.as<ViewVal>();
  if (!pool || pool->dims.size() < 2)
    e.fail(Code::E0302, arg(0, "").span, fmt::format("a pool is a view [pages, page size, ..], not {}", describe(arg(0, "").value)));
  if (!table || table->dims.size() != 1 || !is_integer(table->elem))
    e.fail(Code::E0302, arg(1, "").span, fmt::format("a page table is a rank-1 view of integers, not {}", describe(arg(1, "").value)));
  e.require_present(*pool, arg(0, "").span);
  e.require_present(*table, arg(1, "").span);
  const ArgVal& a = arg(2, "a length");
  TileVal n = e.as_idx(a.value, a.span);
  if (!n.sym) n.sym = e.fresh_symbol("n", n.v);
  ViewVal out = *pool;
  out.dims.erase(out.dims.begin());
  out.dims[0] = *n.sym;
  out.v = e.emit(OpKind::ViewPaged, {pool->v, table->v, n.v});
  return {out};
}

Val Builtins::take() {
  expect(2, 2);
  auto* v = arg(0, "a view").value.as<ViewVal>();
  if (!v || v->dims.empty()) e.fail(Code::E0302, arg(0, "").span, fmt::format("`take` picks rows of a view, not of {}", describe(arg(0, "").value)));
  e.require_present(*v, arg(0, "").span);
  const ArgVal& a = arg(1, "row numbers");
  ViewVal out = *v;
  if (auto* ids = a.value.as<ViewVal>(); ids && ids->dims.size() == 1 && is_integer(ids->elem)) {
    out.dims[0] = ids->dims[0];
    out.v = e.emit(OpKind::ViewTake, {v->v, ids->v});
    return {out};
  }
  TileVal ids = e.tile(a.value, a.span, "the row numbers");
  if (!is_integer(ids.elem) || ids.dims.size() != 1)
    e.fail(Code::E0302, a.span, fmt::format("row numbers are rank-1 integers, not {}", describe(Val{ids})));
  if (!ids.valid.empty()) ids = e.guard(ids, -1, 0);
  out.dims[0] = ids.dims[0];
  out.v = e.emit(OpKind::ViewTake, {v->v, ids.v});
  return {out};
}

Val Builtins::has() {
  expect(1, 1);
  auto* v = arg(0, "a view").value.as<ViewVal>();
  if (!v) e.fail(Code::E0302, arg(0, "").span, fmt::format("`has` asks for an optional view, not {}", describe(arg(0, "").value)));
  if (!v->optional) return {BoolConst{true}};
  if (!e.lowering()) return {BoolConst{}};
  return {BoolConst{!v->absent}};
}

Val Builtins::print() {
  expect(1, 1);
  TileVal t = operand(0, "the operand");
  std::string what = arg(0, "").expr ? std::string(e.program_.sources->text(arg(0, "").expr->span)) : "";
  e.emit(OpKind::Print, {t.v}, {{ir::Attr::Message, what}});
  return {Nothing{}};
}

Val Elaborator::place_builtin(const std::string& name, const Target& t, const ast::Call& c, Span span, const ScopePtr& s) {
  auto scope_word = [&](std::size_t i) {
    auto* n = i < c.args.size() ? std::get_if<ast::Name>(&c.args[i].value->node) : nullptr;
    if (!n || (n->name != "gpu" && n->name != "sys")) fail(Code::E0305, span, fmt::format("`{}` needs a scope: `gpu` or `sys`", name));
    return n->name;
  };
  if (name == "fetch_add") {
    if (c.args.size() != 2)
      fail(c.args.size() < 2 ? Code::E0305 : Code::E0306, span, "`fetch_add` takes a place and a value", "it reads `fetch_add(v[..], x)`");
    bool unused = std::exchange(unused_, false);
    Val given = eval(*c.args[1].value, s);
    unused_ = unused;
    return fetch_add(t, given, span);
  }
  if (c.args.size() != 3)
    fail(c.args.size() < 3 ? Code::E0305 : Code::E0306, span, fmt::format("`{}` takes a place, a value or condition, and a scope", name));
  if (name == "signal") {
    std::string scope = scope_word(2);
    TileVal x = broadcast_to(coerce_elem(decay(eval(*c.args[1].value, s), span), t.view.elem, c.args[1].value->span), t.dims, span);
    std::vector<ir::Value*> operands{t.view.v, x.v};
    operands.insert(operands.end(), t.operands.begin(), t.operands.end());
    emit(OpKind::Signal, operands, {{ir::Attr::Scope, scope}});
    return {Nothing{}};
  }
  std::string scope = scope_word(2);
  Val f = eval(*c.args[1].value, s);
  auto* fn = f.as<FnVal>();
  if (!fn) fail(Code::E0302, c.args[1].value->span, "`wait` needs a condition, such as `|v| v == epoch`");
  std::vector<ir::Value*> operands{t.view.v};
  operands.insert(operands.end(), t.operands.begin(), t.operands.end());
  ir::Op* op = nullptr;
  ir::Block* outer = nullptr;
  if (builder_) {
    op = open_op(OpKind::Wait, operands, 1);
    op->attrs[ir::Attr::Scope] = scope;
    outer = &builder_->block();
    builder_->set_block(op->region());
  }
  std::vector<ArgVal> one(1);
  one[0].value = {make(t.view.elem, {}, op ? op->region().add_arg(ir::scalar(t.view.elem.dtype)) : nullptr)};
  one[0].span = span;
  TileVal held = scalar_bool(call_value(*fn, one, span), c.args[1].value->span);
  if (!builder_) return {make(t.view.elem, t.dims, nullptr, t.valid)};
  builder_->yield({held.v});
  builder_->set_block(*outer);
  auto r = std::make_unique<ir::Value>();
  r->type = ir::TileType{t.view.elem.dtype, dims_of(t.dims)};
  r->def = op;
  ir::Value* out = r.get();
  op->results.push_back(std::move(r));
  return {make(t.view.elem, t.dims, out, t.valid)};
}

}  // namespace tessera
