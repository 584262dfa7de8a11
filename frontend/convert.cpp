// Conversions between kinds of values, and small emission helpers that do nothing while checking.
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "frontend/elaborate.h"

namespace tessera {

using ir::OpKind;

ir::Value* Elaborator::emit(OpKind k, std::vector<ir::Value*> operands, ir::Attrs attrs) {
  if (!builder_) return nullptr;
  if (++op_count_ > max_ops)
    fail(Code::E0601, builder_->span(), fmt::format("the kernel has more than {} operations after inlining and unrolling", max_ops),
         "use a run-time loop instead of `for const`");
  ir::Op* op = builder_->op(k, std::move(operands), std::move(attrs));
  return op->results.empty() ? nullptr : op->result();
}
ir::Value* Elaborator::emit_idx(std::int64_t v) { return builder_ ? builder_->idx(v) : nullptr; }
ir::Value* Elaborator::idx_binary(OpKind k, ir::Value* a, ir::Value* b) {
  if (!builder_) return nullptr;
  auto x = ir::constant_int(a), y = ir::constant_int(b);
  if (x && y) {
    auto a_bits = static_cast<std::uint64_t>(*x), b_bits = static_cast<std::uint64_t>(*y);  // idx wraps
    if (k == OpKind::Add) return emit_idx(static_cast<std::int64_t>(a_bits + b_bits));
    if (k == OpKind::Sub) return emit_idx(static_cast<std::int64_t>(a_bits - b_bits));
    if (k == OpKind::Mul) return emit_idx(static_cast<std::int64_t>(a_bits * b_bits));
    if (k == OpKind::Min) return emit_idx(std::min(*x, *y));
    if (k == OpKind::Max) return emit_idx(std::max(*x, *y));
    if (k == OpKind::Div) return emit_idx(floor_div(*x, *y));
  }
  if ((k == OpKind::Add || k == OpKind::Sub) && y && *y == 0) return a;
  if (k == OpKind::Add && x && *x == 0) return b;
  if ((k == OpKind::Mul || k == OpKind::Div) && y && *y == 1) return a;
  if (k == OpKind::Mul && x && *x == 1) return b;
  if ((k == OpKind::Min || k == OpKind::Max) && a == b) return a;
  return emit(k, {a, b});
}

ir::Dims Elaborator::dims_of(const std::vector<Sym>& dims) {
  ir::Dims out;
  for (const Sym& d : dims) {
    auto c = facts_.normalise(d).as_constant();
    TESSERA_ASSERT(c.has_value(), "a tile dim is not constant when lowering: " + d.str());
    out.push_back(*c);
  }
  return out;
}

TileVal Elaborator::make(const Elem& e, std::vector<Sym> dims, ir::Value* v, std::vector<Mask> valid) {
  positive_dims(dims, here_);
  TileVal t;
  t.elem = e;
  t.dims = std::move(dims);
  t.v = v;
  t.valid = std::move(valid);
  t.id = fresh_id();
  return t;
}

ir::Value* Elaborator::emit_sym(const Sym& s) {
  if (!builder_) return nullptr;
  ir::Value* sum = nullptr;
  for (const auto& [monomial, coefficient] : s.terms()) {
    ir::Value* product = nullptr;
    for (const auto& atom : monomial) {
      ir::Value* factor = nullptr;
      if (atom->op == SymOp::Symbol) {
        auto it = symbols_.find(atom->text);
        TESSERA_ASSERT(it != symbols_.end() && it->second, "no value for the symbol " + atom->text);
        factor = it->second;
      } else {
        ir::Value* a = emit_sym(atom->args[0]);
        ir::Value* b = emit_sym(atom->args[1]);
        switch (atom->op) {
          case SymOp::FloorDiv: factor = idx_binary(OpKind::Div, a, b); break;
          case SymOp::Mod: factor = emit(OpKind::Mod, {a, b}); break;
          case SymOp::CeilDiv: factor = idx_binary(OpKind::Div, idx_binary(OpKind::Add, a, idx_binary(OpKind::Sub, b, emit_idx(1))), b); break;
          case SymOp::Min: factor = idx_binary(OpKind::Min, a, b); break;
          case SymOp::Max: factor = idx_binary(OpKind::Max, a, b); break;
          case SymOp::Symbol: TESSERA_UNREACHABLE("handled above");
        }
      }
      product = product ? idx_binary(OpKind::Mul, product, factor) : factor;
    }
    std::int64_t c = coefficient;
    bool subtract = sum && c < 0 && c != std::numeric_limits<std::int64_t>::min();
    if (subtract) c = -c;
    ir::Value* term = product ? (c == 1 ? product : idx_binary(OpKind::Mul, product, emit_idx(c))) : emit_idx(c);
    sum = sum ? idx_binary(subtract ? OpKind::Sub : OpKind::Add, sum, term) : term;
  }
  return sum ? sum : emit_idx(0);
}

TileVal Elaborator::constant(const Elem& e, const std::vector<Sym>& dims, double value) {
  ir::Value* v = nullptr;
  if (builder_) {
    ir::TileType type{e.dtype, dims_of(dims)};
    v = is_float(e) ? builder_->constant(type, value) : builder_->constant(type, static_cast<std::int64_t>(value));
  }
  return make(e, dims, v);
}

TileVal Elaborator::int_constant(const Elem& e, const std::vector<Sym>& dims, const Sym& value) {
  if (is_float(e)) return constant(e, dims, builder_ ? static_cast<double>(value.constant()) : 0);
  ir::Value* v = nullptr;
  if (builder_) v = builder_->constant(ir::TileType{e.dtype, dims_of(dims)}, value.constant());
  TileVal t = make(e, dims, v);
  if (dims.empty()) t.sym = value;
  return t;
}

/// A view all of whose axes are compile-time constants (a scalar place among them) is read where a value is needed.
Val Elaborator::decay(Val v, Span span) {
  auto* view = v.as<ViewVal>();
  if (!view || view->peers) return v;
  for (const Sym& d : view->dims)
    if (run_time(d)) return v;
  std::vector<Val> items;
  std::vector<Span> spans;
  for (std::size_t i = 0; i < view->dims.size(); ++i) {
    RangeVal r = whole_axis(*view, static_cast<int>(i));
    items.push_back({tile_range(r, view->dims[i], emit_idx(0), Sym(0), emit_idx(0))});
    spans.push_back(span);
  }
  return load(target(*view, items, spans, span));
}

TileVal Elaborator::tile(const Val& given, Span span, const char* what) {
  Val v = decay(given, span);
  if (v.poison()) throw Failed{};
  if (auto* t = v.as<TileVal>()) return *t;
  if (auto* c = v.as<IntConst>()) return int_constant(elem(DType::Idx), {}, c->value);
  if (auto* c = v.as<FloatConst>()) return constant(elem(DType::F32), {}, c->value);
  if (auto* c = v.as<BoolConst>()) return constant(elem(DType::Bool), {}, c->value.value_or(false) ? 1 : 0);
  if (auto* view = v.as<ViewVal>())
    fail(Code::E0210, span, fmt::format("{} is a {} with run-time axes, not a tile", what, describe(v)),
         fmt::format("read it in tiles: `for i in tiles({}, 64)`", view->dims.empty() ? "axis" : display(view->dims.back())));
  if (v.as<Nothing>()) fail(Code::E0316, span, "the call returns nothing");
  if (v.as<FnVal>() || v.as<TypeVal>() || v.as<ModuleVal>())
    fail(Code::E0314, span, fmt::format("{} must be a run-time value, not {}", what, describe(v)));
  fail(Code::E0302, span, fmt::format("{} must be a tile or scalar, not {}", what, describe(v)));
}

TileVal Elaborator::as_idx(const Val& given, Span span) {
  TileVal t = tile(given, span, "an index");
  return coerce_elem({t}, elem(DType::Idx), span);
}

Sym Elaborator::const_int(const Val& v, Span span, const char* what) {
  if (v.poison()) throw Failed{};
  if (auto* c = v.as<IntConst>()) return c->value;
  if (auto* t = v.as<TileVal>(); t && t->dims.empty() && t->sym && facts_.normalise(*t->sym).is_constant()) return facts_.normalise(*t->sym);
  fail(Code::E0315, span, fmt::format("{} must be a compile-time integer, not {}", what, describe(v)));
}

TileVal Elaborator::scalar_bool(const Val& given, Span span) {
  TileVal t = tile(given, span, "a condition");
  if (!is_bool(t.elem) || !t.dims.empty())
    fail(Code::E0307, span, fmt::format("a condition is one bool, not {}", describe(Val{t})),
         is_bool(t.elem) ? "reduce it with `any(x)` or `all(x)`, or use `select`" : "");
  return t;
}

/// Implicit conversions only: literals, a narrower integer to a wider one of its kind, i32 (and narrower) to idx. Explicit ones convert anything.
TileVal Elaborator::coerce_elem(const Val& given, const Elem& to, Span span, bool explicit_cast) {
  if (auto* c = given.as<IntConst>()) {
    if (auto value = c->value.as_constant(); value && !to.opaque() && is_integer(to)) {
      std::int64_t lo = int_min(to.dtype), hi = int_max(to.dtype);
      bool fits = to.dtype == DType::U64 ? *value >= 0 : *value >= lo && *value <= hi;
      if (!fits && !explicit_cast) fail(Code::E0309, span, fmt::format("{} does not fit {}", *value, describe(to)));
      if (!fits) return int_constant(to, {}, Sym(wrap_int(to.dtype, *value)));
    }
    if (is_bool(to) && !explicit_cast) fail(Code::E0301, span, "an integer is not a bool", "compare it: `x != 0`");
    if (is_bool(to)) return constant(to, {}, c->value.as_constant().value_or(0) != 0);
    return int_constant(to, {}, c->value);
  }
  if (auto* c = given.as<FloatConst>()) {
    if (!is_float(to) && !(explicit_cast && to.opaque())) {
      if (!explicit_cast)
        fail(Code::E0309, span, fmt::format("the float literal {} is not of type {}", c->value, describe(to)),
             fmt::format("convert it: `{}(..)`", spelled(to)));
      return int_constant(to, {}, Sym(float_to_int(to.dtype, c->value)));
    }
    return constant(to, {}, to.opaque() ? c->value : round_to_float(to.dtype, c->value));
  }
  TileVal t = tile(given, span, "an operand");
  if (t.elem == to) return t;
  bool widen =
      !t.elem.nominal && !to.nominal && !t.elem.opaque() && !to.opaque() && is_int(t.elem.dtype) && is_int(to.dtype) && t.elem.dtype != DType::Idx &&
      bits(t.elem.dtype) >= 8 &&
      ((to.dtype == DType::Idx && bits(t.elem.dtype) <= 32) || (kind(t.elem.dtype) == kind(to.dtype) && bits(t.elem.dtype) < bits(to.dtype)));
  if (!widen && !explicit_cast) {
    Code code = t.elem.nominal != to.nominal ? Code::E0310 : Code::E0301;
    fail(code, span, fmt::format("this is {}, but {} is needed", describe(t.elem), describe(to)), fmt::format("convert it: `{}(..)`", spelled(to)));
  }
  TileVal out = make(to, t.dims, builder_ ? (t.elem.dtype == to.dtype ? t.v : builder_->cast(t.v, to.dtype)) : nullptr, t.valid);
  if (is_integer(t.elem) && is_integer(to) && (widen || is_idx(to))) out.sym = t.sym, out.id = t.id;
  return out;
}

TileVal Elaborator::broadcast_to(TileVal t, const std::vector<Sym>& dims, Span span) {
  if (dims.empty() && !t.dims.empty())
    fail(Code::E0202, span, fmt::format("{} where a scalar is needed", describe(Val{t})), "reduce it, e.g. `sum(x)`, or pick an element");
  if (t.dims.size() != dims.size() && !t.dims.empty())
    fail(Code::E0202, span, fmt::format("{} does not stretch to {}", describe(Val{t}), describe_dims(dims)),
         t.dims.size() == 1 ? "make it a column with `col(x)` or a row with `row(x)`" : "");
  bool same = t.dims.size() == dims.size();
  for (std::size_t i = 0; i < t.dims.size(); ++i) {
    bool one = t.dims[i] == Sym(1);
    if (!same_dim(t.dims[i], dims[i])) same = false;
    if (!one && known_different(t.dims[i], dims[i]))
      fail(Code::E0201, span, fmt::format("{} does not stretch to {}", describe(Val{t}), describe_dims(dims)));
  }
  if (same) return t;
  return make(t.elem, dims, builder_ ? builder_->broadcast(t.v, dims_of(dims)) : nullptr, t.valid);
}

Val Elaborator::coerce(const Val& v, const Ty& to, Span span, const std::string& what) {
  if (v.poison()) throw Failed{};
  auto mismatch = [&]() -> Val { fail(Code::E0302, span, fmt::format("{} is {}, but {} is needed", what, describe(v), describe(to))); };
  if (auto* t = std::get_if<TileTy>(&to.kind)) {
    Val d = decay(v, span);
    if (!d.as<TileVal>() && !d.as<IntConst>() && !d.as<FloatConst>() && !d.as<BoolConst>()) {
      if (d.as<ViewVal>()) (void)tile(d, span, what.c_str());
      return mismatch();
    }
    TileVal x = coerce_elem(d, t->elem, span);
    if (t->dims.empty() && !x.dims.empty()) return mismatch();
    return {broadcast_to(x, t->dims, span)};
  }
  if (auto* t = std::get_if<ViewTy>(&to.kind)) {
    auto* x = v.as<ViewVal>();
    if (!x || x->dims.size() != t->dims.size()) return mismatch();
    if (!(x->elem == t->elem))
      fail(x->elem.nominal != t->elem.nominal ? Code::E0310 : Code::E0301, span,
           fmt::format("{} is {}, but {} is needed", what, describe(v), describe(to)));
    for (std::size_t i = 0; i < t->dims.size(); ++i)
      if (x->dims[i].is_constant() && t->dims[i].is_constant() && known_different(x->dims[i], t->dims[i]))
        fail(Code::E0201, span, fmt::format("{} is {}, but {} is needed", what, describe(v), describe(to)));
      else if (!same_axis(x->dims[i], t->dims[i]))
        fail(Code::E0205, span,
             fmt::format("{} is {}, but {} is needed: axis {} is not provably `{}`", what, describe(v), describe(to), i, display(t->dims[i])),
             "bind the slice or the length once with `let` and use it for both");
    return v;
  }
  if (auto* t = std::get_if<RangeTy>(&to.kind)) {
    RangeVal r = as_range(v, span);
    if (r.axis && !same_axis(*r.axis, t->axis))
      fail(Code::E0203, span, fmt::format("{} runs over axis `{}`, but `{}` is needed", what, display(*r.axis), display(t->axis)), "",
           axis_labels({}, t->axis, r));
    if (!r.axis) r.axis = t->axis;
    return {r};
  }
  if (auto* t = std::get_if<StructTy>(&to.kind)) {
    auto* x = v.as<StructVal>();
    if (!x || !same_type(Ty{x->type}, to)) return mismatch();
    StructVal out = *x;
    if (t->decl && t->generics) out.type = *t;
    return {out};
  }
  const auto& f = std::get<FnTy>(to.kind);
  if (!v.as<FnVal>()) return mismatch();
  check_fn_value(v, f, span);
  FnVal out = *v.as<FnVal>();
  out.typed = f;
  return {out};
}

/// Assignment to a variable is a store: elements that are not valid keep their old value.
Val Elaborator::merge_assign(const Val& old, const Val& now, Span span) {
  if (auto* o = old.as<TileVal>()) {
    TileVal n = broadcast_to(coerce_elem(decay(now, span), o->elem, span), o->dims, span);
    std::vector<Mask> extra;
    for (const Mask& m : n.valid) {
      bool known = false;
      for (const Mask& k : o->valid) known |= m.range_id && k.range_id == m.range_id && k.axis == m.axis;
      if (!known) extra.push_back(m);
    }
    TileVal out = make(o->elem, o->dims, n.v, o->valid);
    if (!extra.empty() && builder_) out.v = emit(OpKind::Select, {mask_value(extra, n.dims.size(), n.dims), n.v, o->v});
    return {out};
  }
  if (auto* o = old.as<StructVal>()) {
    auto* n = now.as<StructVal>();
    if (!n || !same_type(Ty{o->type}, Ty{n->type}))
      fail(Code::E0302, span, fmt::format("{} cannot be assigned to a variable of type {}", describe(now), describe(old)));
    StructVal out = *o;
    for (std::size_t i = 0; i < o->fields.size(); ++i) out.fields[i] = merge_assign(o->fields[i], n->fields[i], span);
    return {out};
  }
  if (old.as<TupleVal>() || old.poison()) throw Failed{};
  fail(Code::E0314, span, fmt::format("a variable cannot hold {}", describe(old)));
}

void Elaborator::hint(const Val& v, const std::string& name) {
  if (!builder_) return;
  std::string full;
  for (const std::string& l : labels_) full += l + ".";
  if (auto* t = v.as<TileVal>(); t && t->v) {
    if (t->v->hint.empty()) t->v->hint = full + name;
  } else if (auto* s = v.as<StructVal>(); s && s->type.decl) {
    for (std::size_t i = 0; i < s->fields.size(); ++i) hint(s->fields[i], name + "." + s->type.decl->ast->fields[i].name.name);
  }
}

/// The IR values a run-time value consists of, in place, so that loops can carry and replace them.
void Elaborator::flatten(const Val& v, std::vector<ir::Value**>& out) {
  if (auto* t = v.as<TileVal>()) out.push_back(const_cast<ir::Value**>(&t->v));
  if (auto* s = v.as<StructVal>())
    for (const Val& f : s->fields) flatten(f, out);
}

}  // namespace tessera
