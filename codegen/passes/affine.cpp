#include "codegen/passes/affine.h"

#include <algorithm>
#include <stdexcept>

#include "codegen/passes/rewrite.h"
#include "dsl/diagnostic.h"
#include "dsl/sym_divisor.h"

namespace tessera::ir {

namespace {

bool is_position(const std::string& name) { return name.front() == '@'; }

Sym renamed_positions(const Sym& e, const std::function<Sym(int)>& with) {
  return e.substitute([&](const std::string& name) -> std::optional<Sym> {
    if (!is_position(name)) return std::nullopt;
    return with(std::stoi(name.substr(1)));
  });
}

/// Operand positions of a reshape in terms of the result's.
std::vector<Sym> reshaped_positions(const Dims& from, const Dims& to) {
  std::vector<std::size_t> f, t;  // the axes that are not 1
  for (std::size_t k = 0; k < from.size(); ++k)
    if (from[k] != 1) f.push_back(k);
  for (std::size_t k = 0; k < to.size(); ++k)
    if (to[k] != 1) t.push_back(k);
  std::vector<Sym> out(from.size(), Sym(0));
  std::size_t i = 0, j = 0;
  while (i < f.size()) {
    // The smallest groups of axes with equal products: one row-major position within the group serves both sides.
    const std::size_t i0 = i, j0 = j;
    std::int64_t a = from[f[i++]], b = to[t[j++]];
    while (a != b) {
      if (a < b) {
        a *= from[f[i++]];
      } else {
        b *= to[t[j++]];
      }
    }
    Sym linear;
    for (std::size_t k = j0; k < j; ++k) linear = linear * Sym(to[t[k]]) + Affine::position(static_cast<int>(t[k]));
    std::int64_t inner = 1;
    for (std::size_t k = i; k-- > i0;) {
      const std::int64_t size = from[f[k]];
      Sym q = floor_div(linear, Sym(inner));
      inner *= size;
      out[f[k]] = inner == a ? q : mod(q, Sym(size));
    }
  }
  return out;
}

}  // namespace

Affine::Affine(const Kernel& kernel) : kernel_(kernel) {
  for (const std::string& s : kernel.symbols) bounds_[s].lo = Sym(0);
  for (const SymCondition& c : kernel.where) {
    if (c.rhs.size() != 1) continue;
    const Sym& r = c.rhs[0];
    auto lhs = c.lhs.as_symbol();
    auto rhs = r.as_symbol();
    switch (c.op) {
      case Compare::Eq: {
        facts_.add_equal(c.lhs, r);
        const auto& terms = c.lhs.terms();
        if (r == Sym(0) && terms.size() == 1 && terms.begin()->first.size() == 1 && terms.begin()->first[0]->op == SymOp::Mod)
          facts_.add_divisible(terms.begin()->first[0]->args[0], terms.begin()->first[0]->args[1]);
        break;
      }
      case Compare::Ne: break;
      case Compare::Lt:
        if (lhs) bounds_[*lhs].hi = r - 1;
        if (rhs && c.lhs.is_constant()) bounds_[*rhs].lo = Sym(std::max<std::int64_t>(0, c.lhs.constant() + 1));
        break;
      case Compare::Le:
        if (lhs) bounds_[*lhs].hi = r;
        if (rhs && c.lhs.is_constant()) bounds_[*rhs].lo = Sym(std::max<std::int64_t>(0, c.lhs.constant()));
        break;
      case Compare::Gt:
        if (lhs && r.is_constant()) bounds_[*lhs].lo = Sym(std::max<std::int64_t>(0, r.constant() + 1));
        if (rhs) bounds_[*rhs].hi = c.lhs - 1;
        break;
      case Compare::Ge:
        if (lhs && r.is_constant()) bounds_[*lhs].lo = Sym(std::max<std::int64_t>(0, r.constant()));
        if (rhs) bounds_[*rhs].hi = c.lhs;
        break;
    }
  }
}

const Value* Affine::value(const std::string& symbol) const {
  auto it = values_.find(symbol);
  return it == values_.end() ? nullptr : it->second;
}

Sym Affine::symbol_of(const Value* v) {
  auto it = names_.find(v);
  if (it == names_.end()) {
    it = names_.emplace(v, "%" + std::to_string(names_.size())).first;
    values_[it->second] = v;
    bind(v);
  }
  return Sym::symbol(it->second);
}

/// Bounds of grid indices and loop variables.
void Affine::bind(const Value* v) {
  Bounds b;
  b.depth = static_cast<int>(bounds_.size());
  if (v->block == &kernel_.body) {
    std::size_t first = kernel_.body.args.size() - kernel_.grid.size();
    if (v->index >= first) {
      b.lo = Sym(0);
      b.hi = kernel_.grid[v->index - first].count - 1;
    }
  } else if (v->block && v->block->parent && v->block->parent->kind == OpKind::For && v->index == 0) {
    const Op& loop = *v->block->parent;
    Sym lo = scalar(loop.operands[0]), hi = scalar(loop.operands[1]), step = scalar(loop.operands[2]);
    b.depth = static_cast<int>(bounds_.size());
    b.lo = lo;
    b.step = step;
    b.hi = hi - (facts_.proves_divisible(hi - lo, step) ? step : Sym(1));
  }
  bounds_[names_.at(v)] = b;
}

Sym Affine::scalar(const Value* v) {
  if (auto it = scalars_.find(v); it != scalars_.end()) return it->second;
  std::optional<Sym> e;
  if (is_scalar(v->type) && tile(v->type).dtype == DType::Idx) e = element(v);
  return scalars_.emplace(v, e ? *e : symbol_of(v)).first->second;
}

std::optional<Sym> Affine::element(const Value* v) {
  // Operands come first on a list of their own: kernels may be long chains, too long to recurse along.
  for (std::vector<const Value*> open{v}; !open.empty();) {
    const Value* at = open.back();
    const std::size_t before = open.size();
    if (!elements_.count(at) && at->def && has(at->def->kind, Trait::Pure))
      for (const Value* o : at->def->operands)
        if (is_tile(o->type) && tile(o->type).dtype == DType::Idx && !elements_.count(o)) open.push_back(o);
    if (open.size() != before) continue;
    if (!elements_.count(at)) elements_.emplace(at, element_bounded(at));
    open.pop_back();
  }
  return elements_.at(v);
}

/// Forms too large for any proof are not kept: the value stands for itself.
std::optional<Sym> Affine::element_bounded(const Value* v) {
  constexpr std::size_t longest = 400;
  try {
    std::optional<Sym> e = element_uncached(v);
    std::size_t length = 0;
    if (e)
      for (const auto& [monomial, coefficient] : e->terms())
        for (const SymAtomRef& atom : monomial) length += atom->text.size();
    if (length <= longest) return e;
  } catch (const std::length_error&) {}
  return is_scalar(v->type) ? std::optional(symbol_of(v)) : std::nullopt;
}

std::optional<Sym> Affine::element_uncached(const Value* v) {
  if (!is_tile(v->type) || tile(v->type).dtype != DType::Idx) return std::nullopt;
  const Dims& dims = tile(v->type).dims;
  auto opaque = [&]() -> std::optional<Sym> { return dims.empty() ? std::optional(symbol_of(v)) : std::nullopt; };
  if (!v->def) return opaque();
  const Op& op = *v->def;
  auto operand = [&](std::size_t i) {
    auto e = element(op.operands[i]);
    if (!e) return e;
    // Operands of size 1 along an axis do not vary there; scalars have no positions at all.
    const Dims& from = tile(op.operands[i]->type).dims;
    return std::optional(renamed_positions(*e, [&](int a) { return from[static_cast<std::size_t>(a)] == 1 ? Sym(0) : position(a); }));
  };
  auto binary = [&](auto f) -> std::optional<Sym> {
    auto a = operand(0), b = operand(1);
    if (!a || !b) return opaque();
    return f(*a, *b);
  };
  switch (op.kind) {
    case OpKind::Const: return Sym(op.int_attr(Attr::Value));
    case OpKind::Iota: return dims[0] == 1 ? Sym(0) : position(0);
    case OpKind::Sym: return Sym::symbol(op.string_attr(Attr::Name));
    case OpKind::Coords: {
      const Op* r = op.operands[0]->def;
      return r ? std::optional(scalar(r->operands[0]) + (dims[0] == 1 ? Sym(0) : position(0))) : std::nullopt;
    }
    case OpKind::Extent: {
      Sym e = extent(op.operands[0], static_cast<int>(op.int_attr(Attr::Axis)));
      return e;
    }
    case OpKind::Neg: {
      auto a = operand(0);
      return a ? std::optional(-*a) : opaque();
    }
    case OpKind::Add: return binary([](const Sym& a, const Sym& b) { return a + b; });
    case OpKind::Sub: return binary([](const Sym& a, const Sym& b) { return a - b; });
    case OpKind::Mul: return binary([](const Sym& a, const Sym& b) { return a * b; });
    case OpKind::Div:
    case OpKind::Mod: {
      auto a = operand(0), b = operand(1);
      if (!a || !b || (!is_extent(*b) && assumes_nonzero(*a, *b))) return opaque();
      return op.kind == OpKind::Div ? floor_div(*a, *b) : mod(*a, *b);
    }
    case OpKind::Min: return binary([](const Sym& a, const Sym& b) { return tessera::min(a, b); });
    case OpKind::Max: return binary([](const Sym& a, const Sym& b) { return tessera::max(a, b); });
    case OpKind::Broadcast: return operand(0);
    case OpKind::Permute: {
      auto a = element(op.operands[0]);
      if (!a) return std::nullopt;
      return renamed_positions(*a, [&](int axis) { return position(axis_in_result(op, axis)); });
    }
    case OpKind::Reshape: {
      auto a = element(op.operands[0]);
      if (!a) return opaque();
      auto at = reshaped_positions(tile(op.operands[0]->type).dims, dims);
      return renamed_positions(*a, [&](int axis) { return at[static_cast<std::size_t>(axis)]; });
    }
    case OpKind::Slice: {
      auto a = element(op.operands[0]);
      if (!a) return std::nullopt;
      return renamed_positions(*a, [&](int axis) {
        Sym p = dims[static_cast<std::size_t>(axis)] == 1 ? Sym(0) : position(axis);
        return axis == op.int_attr(Attr::Axis) ? p + op.int_attr(Attr::Offset) : p;
      });
    }
    case OpKind::Reduce: {  // the largest or smallest of a uniform tile
      auto kind = static_cast<ReduceKind>(op.int_attr(Attr::Kind));
      auto a = element(op.operands[0]);
      if (a && (kind == ReduceKind::Max || kind == ReduceKind::Min) && !mentions_position(*a)) return a;
      return opaque();
    }
    default: return opaque();
  }
}

/// Made of launch symbols. Those are not zero where an instance runs, which cannot be said of any value.
bool Affine::is_extent(const Sym& d) const {
  if (mentions_position(d)) return false;
  for (const std::string& n : d.symbols())
    if (value(n)) return false;
  return true;
}

Sym Affine::extent(const Value* v, int axis) {
  const auto at = static_cast<std::size_t>(axis);
  if (!v->def) {
    const Param* p = param_of(kernel_, v);
    TESSERA_ASSERT(p, "a view argument is a parameter");
    return p->dims[at];
  }
  const Op& op = *v->def;
  const Value* from = op.operands[0];
  const auto own = static_cast<int>(op.int_attr(Attr::Axis));
  switch (op.kind) {
    case OpKind::ViewIndex: return extent(from, axis < own ? axis : axis + 1);
    case OpKind::ViewSpan: {
      if (axis != own) return extent(from, axis);
      Sym lo = max(scalar(op.operands[1]), Sym(0)), hi = min(scalar(op.operands[2]), extent(from, axis));
      return max(hi - lo, Sym(0));
    }
    case OpKind::ViewPermute: return extent(from, static_cast<int>(op.dims_attr(Attr::Perm)[at]));
    case OpKind::ViewMerge: {
      auto last = static_cast<int>(op.int_attr(Attr::Last));
      if (axis < own) return extent(from, axis);
      if (axis > own) return extent(from, axis + last - own);
      Sym product = 1;
      for (int a = own; a <= last; ++a) product = product * extent(from, a);
      return product;
    }
    case OpKind::ViewSplit:
      if (axis < own) return extent(from, axis);
      if (axis == own) return floor_div(extent(from, axis), Sym(op.int_attr(Attr::Size)));
      return axis == own + 1 ? Sym(op.int_attr(Attr::Size)) : extent(from, axis - 1);
    case OpKind::ViewPaged: return axis == 0 ? scalar(op.operands[2]) : extent(from, axis + 1);
    case OpKind::ViewTake: {
      const Value* ids = op.operands[1];
      if (axis != 0) return extent(from, axis);
      return is_view(ids->type) ? extent(ids, 0) : Sym(tile(ids->type).dims[0]);
    }
    case OpKind::ViewPeer: return extent(from, axis);
    default: TESSERA_UNREACHABLE("not a view op");
  }
}

Affine::Span Affine::range(const Value* r) {
  TESSERA_ASSERT(r->def && r->def->kind == OpKind::Range, "ranges are made by `range`");
  const Op& op = *r->def;
  return {scalar(op.operands[0]), scalar(op.operands[1]), scalar(op.operands[2]), op.int_attr(Attr::Size), op.int_attr(Attr::Full) != 0};
}

bool Affine::mentions_position(const Sym& e) {
  auto names = e.symbols();
  return std::any_of(names.begin(), names.end(), is_position);
}

bool Affine::visible_at(const Sym& e, const Op& at) const {
  auto names = e.symbols();
  return std::all_of(names.begin(), names.end(), [&](const std::string& n) {
    const Value* v = value(n);
    return !is_position(n) && (!v || visible(v, at));
  });
}

Value* Affine::emit(Builder& b, const Sym& e) const {
  Value* sum = nullptr;
  auto add = [&](Value* x, bool negative) {
    if (!sum) {
      sum = negative ? b.value(OpKind::Neg, {x}) : x;
    } else {
      sum = b.value(negative ? OpKind::Sub : OpKind::Add, {sum, x});
    }
  };
  auto term = [&](const Sym::Monomial& m, std::int64_t c) {
    Value* product = nullptr;
    for (const SymAtomRef& a : m) {
      Value* x = nullptr;
      if (a->op == SymOp::Symbol) {
        const Value* v = value(a->text);
        x = v ? const_cast<Value*>(v) : b.sym(a->text);
      } else {
        Value *l = emit(b, a->args[0]), *r = emit(b, a->args[1]);
        switch (a->op) {
          case SymOp::Symbol: break;
          case SymOp::FloorDiv: x = b.value(OpKind::Div, {l, r}); break;
          case SymOp::Mod: x = b.value(OpKind::Mod, {l, r}); break;
          case SymOp::CeilDiv: x = b.value(OpKind::Neg, {b.value(OpKind::Div, {b.value(OpKind::Neg, {l}), r})}); break;
          case SymOp::Min: x = b.value(OpKind::Min, {l, r}); break;
          case SymOp::Max: x = b.value(OpKind::Max, {l, r}); break;
        }
      }
      product = product ? b.value(OpKind::Mul, {product, x}) : x;
    }
    const std::int64_t magnitude = c < 0 ? -c : c;
    if (!product) return add(b.idx(magnitude), c < 0);
    if (magnitude != 1) product = b.value(OpKind::Mul, {product, b.idx(magnitude)});
    add(product, c < 0);
  };
  // Positive terms first, so that no sum starts with a negation.
  for (const auto& [m, c] : e.terms())
    if (c > 0) term(m, c);
  for (const auto& [m, c] : e.terms())
    if (c < 0) term(m, c);
  return sum ? sum : b.idx(0);
}

}  // namespace tessera::ir
