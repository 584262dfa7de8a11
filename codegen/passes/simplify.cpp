#include "codegen/passes/simplify.h"

#include <algorithm>
#include <cmath>

#include "codegen/passes/rewrite.h"
#include "codegen/passes/scalar.h"
#include "dsl/diagnostic.h"

namespace tessera::ir {

namespace {

const TileType& result_type(const Op& op) { return tile(op.result()->type); }

Value* constant_like(Builder& b, const TileType& t, const Number& n) { return n.floats() ? b.constant(t, n.f) : b.constant(t, n.i); }
Value* constant_bool(Builder& b, const TileType& t, bool v) { return b.constant(t, std::int64_t{v}); }

/// `x` in the shape of the op's result.
Value* as_result(Builder& b, const Op& op, Value* x) {
  const TileType& t = result_type(op);
  if (tile(x->type) == t) return x;
  if (auto c = constant(x)) return constant_like(b, t, *c);
  return b.broadcast(x, t.dims);
}

bool is_value(const Value* v, double f, std::int64_t i) {
  auto c = constant(v);
  return c && (c->floats() ? same(*c, Number{c->dtype, f, 0}) : c->i == wrap_int(c->dtype, i));
}
bool is_zero_int(const Value* v) {
  auto c = constant(v);
  return c && !c->floats() && c->i == 0;
}
bool is_all_ones(const Value* v) {
  auto c = constant(v);
  return c && !c->floats() && (is_bool(c->dtype) ? c->i == 1 : c->i == wrap_int(c->dtype, -1));
}

/// Comparison of idx values whose difference has a known sign.
std::optional<bool> decide(const Op& op, Affine& affine) {
  if (tile(op.operands[0]->type).dtype != DType::Idx) return std::nullopt;
  auto x = affine.element(op.operands[0]), y = affine.element(op.operands[1]);
  if (!x || !y) return std::nullopt;
  const Dims& dims = result_type(op).dims;
  // Positions along axes where an operand has size 1 are those of the result.
  const Sym d = *x - *y;
  auto ge = [&](const Sym& e) { return affine.nonnegative(e, dims); };
  switch (op.kind) {
    case OpKind::Eq:
    case OpKind::Ne:
      if (d == Sym(0)) return op.kind == OpKind::Eq;
      if (ge(d - 1) || ge(-d - 1)) return op.kind == OpKind::Ne;
      return std::nullopt;
    case OpKind::Lt:
      if (ge(-d - 1)) return true;
      return ge(d) ? std::optional(false) : std::nullopt;
    case OpKind::Le:
      if (ge(-d)) return true;
      return ge(d - 1) ? std::optional(false) : std::nullopt;
    case OpKind::Gt:
      if (ge(d - 1)) return true;
      return ge(-d) ? std::optional(false) : std::nullopt;
    case OpKind::Ge:
      if (ge(d)) return true;
      return ge(-d - 1) ? std::optional(false) : std::nullopt;
    default: return std::nullopt;
  }
}

Value* simplify_elementwise(Op& op, Builder& b, Affine& affine) {
  const auto& x = op.operands;
  const TileType& t = result_type(op);
  std::vector<Number> numbers;
  for (const Value* v : x)
    if (auto c = constant(v)) numbers.push_back(*c);
  if (numbers.size() == x.size()) return constant_like(b, t, evaluate(op, numbers));
  const bool ints = !is_float(t.dtype);
  auto keep = [&](std::size_t i) { return as_result(b, op, x[i]); };
  if (info(op.kind).rule == TypeRule::Compare) {
    if (auto known = decide(op, affine)) return constant_bool(b, t, *known);
  }
  switch (op.kind) {
    case OpKind::Neg:
      if (x[0]->def && x[0]->def->kind == OpKind::Neg) return x[0]->def->operands[0];
      break;
    case OpKind::Not:
      if (x[0]->def && x[0]->def->kind == OpKind::Not) return x[0]->def->operands[0];
      break;
    case OpKind::Add:
      for (std::size_t i : {0U, 1U})
        if (is_value(x[i], -0.0, 0)) return keep(1 - i);
      break;
    case OpKind::Sub:
      if (is_value(x[1], 0.0, 0)) return keep(0);
      if (ints && x[0] == x[1]) return b.constant(t, std::int64_t{0});
      break;
    case OpKind::Mul:
      for (std::size_t i : {0U, 1U}) {
        if (is_value(x[i], 1.0, 1)) return keep(1 - i);
        if (is_zero_int(x[i])) return b.constant(t, std::int64_t{0});
      }
      break;
    case OpKind::Div:
      if (is_value(x[1], 1.0, 1)) return keep(0);
      break;
    case OpKind::Mod:
      if (is_value(x[1], 1.0, 1)) return b.constant(t, std::int64_t{0});
      break;
    case OpKind::Min:
    case OpKind::Max:
      if (x[0] == x[1]) return x[0];
      if (t.dtype == DType::Idx) {
        auto l = affine.element(x[0]), r = affine.element(x[1]);
        if (l && r) {
          if (affine.nonnegative(*l - *r, t.dims)) return keep(op.kind == OpKind::Max ? 0 : 1);
          if (affine.nonnegative(*r - *l, t.dims)) return keep(op.kind == OpKind::Max ? 1 : 0);
        }
      }
      break;
    case OpKind::And:
      if (x[0] == x[1]) return x[0];
      for (std::size_t i : {0U, 1U}) {
        if (is_all_ones(x[i])) return keep(1 - i);
        if (is_zero_int(x[i])) return b.constant(t, std::int64_t{0});
      }
      break;
    case OpKind::Or:
      if (x[0] == x[1]) return x[0];
      for (std::size_t i : {0U, 1U}) {
        if (is_zero_int(x[i])) return keep(1 - i);
        if (is_all_ones(x[i])) return keep(i);
      }
      break;
    case OpKind::Xor:
      if (x[0] == x[1]) return b.constant(t, std::int64_t{0});
      for (std::size_t i : {0U, 1U})
        if (is_zero_int(x[i])) return keep(1 - i);
      break;
    case OpKind::Shl:
    case OpKind::Shr:
      if (is_zero_int(x[1])) return keep(0);
      break;
    case OpKind::Eq:
    case OpKind::Le:
    case OpKind::Ge:
      if (x[0] == x[1] && !is_float(tile(x[0]->type).dtype)) return constant_bool(b, t, true);
      break;
    case OpKind::Ne:
    case OpKind::Lt:
    case OpKind::Gt:
      if (x[0] == x[1] && !is_float(tile(x[0]->type).dtype)) return constant_bool(b, t, false);
      break;
    case OpKind::Select: {
      if (auto c = constant(x[0])) return keep(c->i != 0 ? 1 : 2);
      if (x[1] == x[2]) return keep(1);
      auto p = constant(x[1]), q = constant(x[2]);
      if (p && q && same(*p, *q)) return keep(1);
      if (p && q && is_bool(t.dtype)) {
        if (p->i == 1) return keep(0);
        return as_result(b, op, b.value(OpKind::Not, {x[0]}));
      }
      if (const Op* n = x[0]->def; n && n->kind == OpKind::Not) return b.value(OpKind::Select, {n->operands[0], x[2], x[1]});
      if (const Op* s = x[1]->def; s && s->kind == OpKind::Select && s->operands[0] == x[0])
        return b.value(OpKind::Select, {x[0], s->operands[1], x[2]});
      if (const Op* s = x[2]->def; s && s->kind == OpKind::Select && s->operands[0] == x[0])
        return b.value(OpKind::Select, {x[0], x[1], s->operands[2]});
      break;
    }
    case OpKind::Cast:
      if (tile(x[0]->type).dtype == t.dtype && op.int_attr(Attr::Saturate) == 0) return x[0];
      break;
    case OpKind::Bitcast:
      if (tile(x[0]->type).dtype == t.dtype) return x[0];
      break;
    default: break;
  }
  return nullptr;
}

/// idx scalars: a constant, or another value that is the same number.
Value* simplify_index(const Op& op, Builder& b, Affine& affine) {
  Sym e = affine.facts().normalise(affine.scalar(op.result()));
  if (auto c = e.as_constant()) return b.idx(*c);
  auto name = e.as_symbol();
  if (!name) return nullptr;
  const Value* v = affine.value(*name);
  if (v == op.result()) return nullptr;
  return v ? const_cast<Value*>(v) : b.sym(*name);
}

Value* simplify_shape(Op& op, Builder& b) {
  Value* x = op.operands[0];
  const TileType& t = result_type(op);
  if (op.kind == OpKind::Concat) return op.operands.size() == 1 ? x : nullptr;
  if (op.kind == OpKind::Pick) {
    auto at = constant(op.operands[1]);
    if (!at) return nullptr;
    const std::int64_t size = tile(x->type).dims[static_cast<std::size_t>(op.int_attr(Attr::Axis))];
    if (at->i < 0 || at->i >= size) return b.constant(t, std::int64_t{0});
    return b.value(OpKind::Slice, {x}, {{Attr::Axis, op.int_attr(Attr::Axis)}, {Attr::Offset, at->i}, {Attr::Size, std::int64_t{1}}});
  }
  if (auto c = constant(x)) return constant_like(b, t, *c);
  if (tile(x->type) == t && (op.kind != OpKind::Permute || std::is_sorted(op.dims_attr(Attr::Perm).begin(), op.dims_attr(Attr::Perm).end())))
    return x;
  const Op* from = x->def;
  if (!from || from->kind != op.kind) return nullptr;
  Value* y = from->operands[0];
  if (op.kind == OpKind::Reshape) return b.reshape(y, t.dims);
  if (op.kind == OpKind::Broadcast) return b.broadcast(y, t.dims);
  if (op.kind == OpKind::Permute) {
    Dims perm;
    for (std::int64_t i : op.dims_attr(Attr::Perm)) perm.push_back(from->dims_attr(Attr::Perm)[static_cast<std::size_t>(i)]);
    return b.permute(y, perm);
  }
  return nullptr;
}

Value* simplify_reduce(const Op& op, Builder& b) {
  auto c = constant(op.operands[0]);
  if (!c) return nullptr;
  switch (static_cast<ReduceKind>(op.int_attr(Attr::Kind))) {
    case ReduceKind::Max:
    case ReduceKind::Min:
    case ReduceKind::Any:
    case ReduceKind::All: return constant_like(b, result_type(op), *c);
    case ReduceKind::Sum: return is_value(op.operands[0], 0.0, 0) ? constant_like(b, result_type(op), *c) : nullptr;
    case ReduceKind::Prod: return is_value(op.operands[0], 1.0, 1) ? constant_like(b, result_type(op), *c) : nullptr;
    case ReduceKind::ArgMax:
    case ReduceKind::ArgMin: return nullptr;
  }
  TESSERA_UNREACHABLE("ReduceKind");
}

/// A gather whose indices are the same numbers everywhere reads one element.
Value* load_one(const Op& op, Builder& b) {
  if (is_scalar(op.result()->type)) return nullptr;
  std::vector<Value*> operands{op.operands[0]};
  for (Value* index : access(op).indices) {
    if (is_range(index->type)) return nullptr;
    const bool stretched = index->def && index->def->kind == OpKind::Broadcast;
    operands.push_back(stretched ? index->def->operands[0] : index);
    if (!is_scalar(operands.back()->type)) return nullptr;
  }
  return b.broadcast(b.value(OpKind::Load, std::move(operands)), result_type(op).dims);
}

bool is_full(const Value* range) { return range->def && range->def->int_attr(Attr::Full) != 0; }

}  // namespace

Value* simplify(Op& op, Builder& b, Affine& affine, bool& touched) {
  b.set_span(op.span);
  if (op.results.size() == 1 && is_scalar(op.result()->type) && tile(op.result()->type).dtype == DType::Idx && has(op.kind, Trait::Pure) &&
      op.kind != OpKind::Const && op.kind != OpKind::Sym) {
    if (Value* v = simplify_index(op, b, affine)) return v;
  }
  if (has(op.kind, Trait::Elementwise)) return simplify_elementwise(op, b, affine);
  switch (op.kind) {
    case OpKind::Broadcast:
    case OpKind::Reshape:
    case OpKind::Permute:
    case OpKind::Slice:
    case OpKind::Concat:
    case OpKind::Pick: return simplify_shape(op, b);
    case OpKind::Reduce: return simplify_reduce(op, b);
    case OpKind::Range: {
      if (op.int_attr(Attr::Full) != 0) return nullptr;
      Affine::Span r = affine.range(op.result());
      if (affine.nonnegative(r.start - r.lo) && affine.nonnegative(r.hi - r.start - r.size)) {
        op.attrs[Attr::Full] = std::int64_t{1};
        touched = true;
      }
      return nullptr;
    }
    case OpKind::Inside: return is_full(op.operands[0]) ? constant_bool(b, result_type(op), true) : nullptr;
    case OpKind::Load: {
      if (Value* one = load_one(op, b)) return one;
      if (op.int_attr(Attr::Zero) == 0) return nullptr;
      const auto indices = access(op).indices;
      if (std::all_of(indices.begin(), indices.end(), [](const Value* v) { return !is_range(v->type) || is_full(v); })) {
        op.attrs.erase(Attr::Zero);
        touched = true;
      }
      return nullptr;
    }
    case OpKind::Extent: {
      // Extents of launch symbols alone do not depend on the view any more.
      Sym e = affine.facts().normalise(affine.scalar(op.result()));
      auto names = e.symbols();
      if (std::any_of(names.begin(), names.end(), [&](const std::string& n) { return affine.value(n) != nullptr; })) return nullptr;
      return affine.emit(b, e);
    }
    default: return nullptr;
  }
}

}  // namespace tessera::ir
