// Expressions: literals, operators, members.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "dsl/sym_divisor.h"
#include "frontend/elaborate.h"

namespace tessera {

using ast::BinaryOp;
using ir::OpKind;

Val Elaborator::eval_constant(const ast::Expr& e, ScopePtr s) { return eval(e, s); }

Val Elaborator::eval(const ast::Expr& e, const ScopePtr& s) {
  Deeper deeper(*this, e.span);
  at(e.span);
  try {
    return eval_node(e, s);
  } catch (const std::length_error&) {
    at(e.span);
    report_too_large();
    throw Failed{};
  }
}

Val Elaborator::eval_node(const ast::Expr& e, const ScopePtr& s) {
  return std::visit(
      [&](const auto& x) -> Val {
        using T = std::decay_t<decltype(x)>;
        if constexpr (std::is_same_v<T, ast::Number>) {
          if (x.is_float) return {FloatConst{x.real}};
          // Beyond the range of idx a literal is a u64.
          if (x.integer > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
            return {int_constant(elem(DType::U64), {}, Sym(static_cast<std::int64_t>(x.integer)))};
          return {IntConst{Sym(static_cast<std::int64_t>(x.integer))}};
        } else if constexpr (std::is_same_v<T, ast::String>) {
          return {StringVal{x.value}};
        } else if constexpr (std::is_same_v<T, ast::Bool>) {
          return {BoolConst{x.value}};
        } else if constexpr (std::is_same_v<T, ast::Inf>) {
          return {FloatConst{std::numeric_limits<double>::infinity()}};
        } else if constexpr (std::is_same_v<T, ast::Name>) {
          return lookup({x.name, e.span}, s);
        } else if constexpr (std::is_same_v<T, ast::All>) {
          fail(Code::E0101, e.span, "`:` stands only in an index");
        } else if constexpr (std::is_same_v<T, ast::Unary>) {
          return eval_unary(x, e.span, s);
        } else if constexpr (std::is_same_v<T, ast::Chain>) {
          return eval_chain(x, e.span, s);
        } else if constexpr (std::is_same_v<T, ast::RangeExpr>) {
          Val lo = eval(*x.lo, s), hi = eval(*x.hi, s);
          return {make_range(lo, hi, e.span)};
        } else if constexpr (std::is_same_v<T, ast::Postfix>) {
          return eval_postfix(x, e.span, s);
        } else {
          FnVal f;
          f.lambda = &x;
          f.scope = s;
          return {f};
        }
      },
      e.node);
}

Val Elaborator::eval_unary(const ast::Unary& u, Span span, const ScopePtr& s) {
  if (auto* n = std::get_if<ast::Number>(&u.operand->node); n && u.op == ast::UnaryOp::Neg && !n->is_float && n->integer == std::uint64_t{1} << 63)
    return {IntConst{Sym(std::numeric_limits<std::int64_t>::min())}};
  Val v = eval(*u.operand, s);
  if (v.poison()) throw Failed{};
  at(span);
  switch (u.op) {
    case ast::UnaryOp::Neg: {
      if (auto* c = v.as<IntConst>()) return {IntConst{-c->value}};
      if (auto* c = v.as<FloatConst>()) return {FloatConst{-c->value}};
      TileVal t = tile(v, u.operand->span, "the operand of `-`");
      if (is_bool(t.elem) || storage_only(t.elem)) fail(Code::E0308, span, fmt::format("`-` is not defined for {}", describe(t.elem)));
      TileVal out = make(t.elem, t.dims, emit(OpKind::Neg, {t.v}), t.valid);
      if (t.sym) out.sym = -*t.sym;
      return {out};
    }
    case ast::UnaryOp::Not: {
      if (auto* c = v.as<BoolConst>()) return {BoolConst{c->value ? std::optional<bool>(!*c->value) : std::nullopt}};
      TileVal t = tile(v, u.operand->span, "the operand of `!`");
      if (!is_bool(t.elem)) fail(Code::E0308, span, fmt::format("`!` needs a bool, not {}", describe(t.elem)), "use `~x` for bits");
      return {make(t.elem, t.dims, emit(OpKind::Not, {t.v}), t.valid)};
    }
    case ast::UnaryOp::BitNot: {
      TileVal t = tile(v, u.operand->span, "the operand of `~`");
      if (!is_integer(t.elem) || storage_only(t.elem)) fail(Code::E0308, span, fmt::format("`~` needs an integer, not {}", describe(t.elem)));
      return {make(t.elem, t.dims, emit(OpKind::Not, {t.v}), t.valid)};
    }
  }
  TESSERA_UNREACHABLE("unary operator");
}

Val Elaborator::eval_chain(const ast::Chain& c, Span span, const ScopePtr& s) {
  Val acc = eval(*c.first, s);
  Span acc_span = c.first->span;
  for (const auto& link : c.rest) {
    // `c && has(x) && x[i]`: constants decide without looking at the rest, so an absent view is not touched.
    if (link.op == BinaryOp::And || link.op == BinaryOp::Or)
      if (auto* b = acc.as<BoolConst>(); b && b->value && *b->value == (link.op == BinaryOp::Or)) return acc;
    Val rhs = eval(*link.rhs, s);
    Span both = tessera::join(acc_span, link.rhs->span);
    at(both);
    acc = binary(link.op, std::move(acc), std::move(rhs), both, acc_span, link.rhs->span);
    acc_span = both;
  }
  (void)span;
  return acc;
}

std::vector<Sym> Elaborator::broadcast_dims(const TileVal& a, const TileVal& b, Span span) {
  if (a.dims.empty()) return b.dims;
  if (b.dims.empty()) return a.dims;
  if (a.dims.size() != b.dims.size())
    fail(Code::E0202, span, fmt::format("ranks differ: {} and {}", describe(Val{a}), describe(Val{b})),
         "make the rank-1 tile a column with `col(x)` or a row with `row(x)`");
  std::vector<Sym> out;
  for (std::size_t i = 0; i < a.dims.size(); ++i) {
    if (a.dims[i] == Sym(1))
      out.push_back(b.dims[i]);
    else if (b.dims[i] == Sym(1))
      out.push_back(a.dims[i]);
    else if (known_different(a.dims[i], b.dims[i]))
      fail(Code::E0201, span, fmt::format("shapes differ: {} and {}", describe(Val{a}), describe(Val{b})));
    else
      out.push_back(a.dims[i]);
  }
  return out;
}

bool heavy(const Sym& s) {
  std::size_t weight = 0;
  for (const auto& [monomial, coefficient] : s.terms())
    for (const auto& atom : monomial) weight += 1 + atom->text.size();
  return weight > 600;
}

/// Brings two operands to one element type: constants take the other's, narrow integers widen.
std::pair<TileVal, TileVal> Elaborator::unify_operands(const Val& a0, const Val& b0, Span span, Span a_span, Span b_span, const char* what) {
  Val a = decay(a0, a_span), b = decay(b0, b_span);
  if (a.poison() || b.poison()) throw Failed{};
  auto constant = [](const Val& v) { return v.as<IntConst>() || v.as<FloatConst>(); };
  if (constant(a) && constant(b)) {
    Elem e = elem(a.as<FloatConst>() || b.as<FloatConst>() ? DType::F32 : DType::Idx);
    return {coerce_elem(a, e, a_span), coerce_elem(b, e, b_span)};
  }
  if (constant(a)) {
    TileVal y = tile(b, b_span, what);
    return {coerce_elem(a, y.elem, a_span), y};
  }
  if (constant(b)) {
    TileVal x = tile(a, a_span, what);
    return {x, coerce_elem(b, x.elem, b_span)};
  }
  TileVal x = tile(a, a_span, what), y = tile(b, b_span, what);
  if (x.elem == y.elem) return {x, y};
  if (is_idx(x.elem) && is_integer(y.elem)) return {x, coerce_elem({y}, x.elem, b_span)};
  if (is_idx(y.elem) && is_integer(x.elem)) return {coerce_elem({x}, y.elem, a_span), y};
  if (!x.elem.opaque() && !y.elem.opaque() && !x.elem.nominal && !y.elem.nominal && is_int(x.elem.dtype) && is_int(y.elem.dtype) &&
      kind(x.elem.dtype) == kind(y.elem.dtype)) {
    if (bits(x.elem.dtype) < bits(y.elem.dtype)) return {coerce_elem({x}, y.elem, a_span), y};
    return {x, coerce_elem({y}, x.elem, b_span)};
  }
  Code code = x.elem.nominal || y.elem.nominal ? Code::E0310 : Code::E0301;
  fail(code, span, fmt::format("element types differ: {} and {}", describe(Val{x}), describe(Val{y})),
       fmt::format("convert one side, e.g. `{}(..)`", spelled(is_float(x.elem) ? elem(DType::F32) : x.elem)));
}

Val Elaborator::elementwise(OpKind k, const Elem& result, std::vector<TileVal> operands, Span span) {
  std::vector<ir::Value*> vs;
  std::vector<Sym> dims;
  std::vector<Mask> valid;
  TileVal shape;
  for (TileVal& t : operands) {
    dims = broadcast_dims(shape, t, span);
    shape.dims = dims;
    valid = this->join(valid, t.valid);
    vs.push_back(t.v);
  }
  return {make(result, dims, emit(k, vs), valid)};
}

namespace {

bool is_comparison(BinaryOp op) {
  return op == BinaryOp::Eq || op == BinaryOp::Ne || op == BinaryOp::Lt || op == BinaryOp::Gt || op == BinaryOp::Le || op == BinaryOp::Ge;
}

OpKind op_kind(BinaryOp op) {
  switch (op) {
    case BinaryOp::Or: return OpKind::Or;
    case BinaryOp::And: return OpKind::And;
    case BinaryOp::Eq: return OpKind::Eq;
    case BinaryOp::Ne: return OpKind::Ne;
    case BinaryOp::Lt: return OpKind::Lt;
    case BinaryOp::Gt: return OpKind::Gt;
    case BinaryOp::Le: return OpKind::Le;
    case BinaryOp::Ge: return OpKind::Ge;
    case BinaryOp::BitAnd: return OpKind::And;
    case BinaryOp::BitOr: return OpKind::Or;
    case BinaryOp::BitXor: return OpKind::Xor;
    case BinaryOp::Shl: return OpKind::Shl;
    case BinaryOp::Shr: return OpKind::Shr;
    case BinaryOp::Add: return OpKind::Add;
    case BinaryOp::Sub: return OpKind::Sub;
    case BinaryOp::Mul: return OpKind::Mul;
    case BinaryOp::Div: return OpKind::Div;
    case BinaryOp::Mod: return OpKind::Mod;
    case BinaryOp::MatMul: return OpKind::Dot;
  }
  TESSERA_UNREACHABLE("binary operator");
}

bool of_bits(BinaryOp op) {
  return op == BinaryOp::BitAnd || op == BinaryOp::BitOr || op == BinaryOp::BitXor || op == BinaryOp::Shl || op == BinaryOp::Shr;
}

std::optional<Sym> folded(BinaryOp op, const Sym& a, const Sym& b) {
  switch (op) {
    case BinaryOp::Add: return a + b;
    case BinaryOp::Sub: return a - b;
    case BinaryOp::Mul: return a * b;
    case BinaryOp::Div: return floor_div(a, b);
    case BinaryOp::Mod: return mod(a, b);
    case BinaryOp::BitAnd:
    case BinaryOp::BitOr:
    case BinaryOp::BitXor:
    case BinaryOp::Shl:
    case BinaryOp::Shr: {
      auto x = a.as_constant(), y = b.as_constant();
      if (!x || !y) return std::nullopt;
      if (op == BinaryOp::BitAnd) return Sym(*x & *y);
      if (op == BinaryOp::BitOr) return Sym(*x | *y);
      if (op == BinaryOp::BitXor) return Sym(*x ^ *y);
      if (*y < 0 || *y > 63) return Sym(0);
      return op == BinaryOp::Shl ? Sym(static_cast<std::int64_t>(static_cast<std::uint64_t>(*x) << *y)) : Sym(*x >> *y);
    }
    default: return std::nullopt;
  }
}

/// Empty where no form is worth keeping.
std::optional<Sym> fold(BinaryOp op, const Sym& a, const Sym& b) {
  if (heavy(a) || heavy(b)) return std::nullopt;
  try {
    return folded(op, a, b);
  } catch (const std::length_error&) {
    return std::nullopt;
  }
}

Compare comparison(BinaryOp op) {
  switch (op) {
    case BinaryOp::Eq: return Compare::Eq;
    case BinaryOp::Ne: return Compare::Ne;
    case BinaryOp::Lt: return Compare::Lt;
    case BinaryOp::Gt: return Compare::Gt;
    case BinaryOp::Le: return Compare::Le;
    default: return Compare::Ge;
  }
}

}  // namespace

Val Elaborator::logical(BinaryOp op, const Val& a, const Val& b, Span span) {
  bool is_and = op == BinaryOp::And;
  auto constant = [&](const Val& v) -> std::optional<bool> {
    auto* c = v.as<BoolConst>();
    return c ? c->value : std::nullopt;
  };
  if (auto c = constant(a)) return *c == is_and ? b : a;
  if (auto c = constant(b)) return *c == is_and ? a : b;
  if (a.as<BoolConst>() && b.as<BoolConst>()) return {BoolConst{}};
  TileVal x = tile(a, span, "an operand"), y = tile(b, span, "an operand");
  if (!is_bool(x.elem) || !is_bool(y.elem))
    fail(Code::E0308, span, fmt::format("`{}` needs bools, not {} and {}", text(op), describe(x.elem), describe(y.elem)),
         is_and ? "use `&` for bits" : "use `|` for bits");
  return elementwise(is_and ? OpKind::And : OpKind::Or, elem(DType::Bool), {x, y}, span);
}

Val Elaborator::binary(BinaryOp op, Val a, Val b, Span span, Span a_span, Span b_span) {
  if (a.poison() || b.poison()) throw Failed{};
  if (op == BinaryOp::MatMul) return matmul(a, b, span);
  if (op == BinaryOp::And || op == BinaryOp::Or) return logical(op, a, b, span);
  if (auto* r = a.as<RangeVal>()) return range_shift(op, *r, b, span);
  if (auto* r = b.as<RangeVal>(); r && op == BinaryOp::Add) return range_shift(op, *r, a, span);
  auto* ta = a.as<TypeVal>();
  auto* tb = b.as<TypeVal>();
  if (ta && tb && (op == BinaryOp::Eq || op == BinaryOp::Ne)) {
    auto* x = std::get_if<TileTy>(&ta->type.kind);
    auto* y = std::get_if<TileTy>(&tb->type.kind);
    if (x && y) {
      if (x->elem.opaque() || y->elem.opaque()) return {BoolConst{}};
      return {BoolConst{(x->elem == y->elem) == (op == BinaryOp::Eq)}};
    }
  }
  if (a.as<BoolConst>() && b.as<BoolConst>() && (op == BinaryOp::Eq || op == BinaryOp::Ne)) {
    auto x = a.as<BoolConst>()->value, y = b.as<BoolConst>()->value;
    if (!x || !y) return {BoolConst{}};
    return {BoolConst{(*x == *y) == (op == BinaryOp::Eq)}};
  }
  if (auto *x = a.as<IntConst>(), *y = b.as<IntConst>(); x && y) {
    if (is_comparison(op)) {
      auto p = facts_.normalise(x->value).as_constant(), q = facts_.normalise(y->value).as_constant();
      if (p && q) return {BoolConst{holds(comparison(op), *p, *q)}};
      return {BoolConst{}};
    }
    if (auto folded = fold(op, x->value, y->value)) return {IntConst{*folded}};
    if (!of_bits(op)) {
      at(span);
      report_too_large();
      throw Failed{};
    }
    if (!lowering()) return {IntConst{Sym::symbol(fmt::format("?{}", fresh_id()))}};
  }
  if ((a.as<FloatConst>() || a.as<IntConst>()) && (b.as<FloatConst>() || b.as<IntConst>()) && !is_comparison(op)) {
    auto number = [&](const Val& v) {
      return v.as<FloatConst>() ? v.as<FloatConst>()->value : static_cast<double>(v.as<IntConst>()->value.as_constant().value_or(1));
    };
    double x = number(a), y = number(b);
    switch (op) {
      case BinaryOp::Add: return {FloatConst{x + y}};
      case BinaryOp::Sub: return {FloatConst{x - y}};
      case BinaryOp::Mul: return {FloatConst{x * y}};
      case BinaryOp::Div: return {FloatConst{x / y}};
      default: break;
    }
  }
  auto [x, y] = unify_operands(a, b, span, a_span, b_span, "an operand");
  const Elem& e = x.elem;
  bool bitwise = op == BinaryOp::BitAnd || op == BinaryOp::BitOr || op == BinaryOp::BitXor;
  if (bitwise || op == BinaryOp::Shl || op == BinaryOp::Shr || op == BinaryOp::Mod) {
    if (!(is_integer(e) && !storage_only(e)) && !(bitwise && is_bool(e)))
      fail(Code::E0308, span, fmt::format("`{}` needs integers, not {}", text(op), describe(e)));
  } else if (is_comparison(op)) {
    if (storage_only(e)) fail(Code::E0308, span, fmt::format("{} is a storage type; convert it before comparing", describe(e)), "e.g. `f32(x)`");
  } else if (is_bool(e) || storage_only(e)) {
    fail(Code::E0308, span, fmt::format("`{}` is not defined for {}", text(op), describe(e)),
         storage_only(e) ? "convert it first, e.g. `f32(x)`" : "");
  }
  Val out = elementwise(op_kind(op), is_comparison(op) ? elem(DType::Bool) : e, {x, y}, span);
  bool divides = op == BinaryOp::Div || op == BinaryOp::Mod;
  auto made = [](const std::string& symbol) { return symbol.find('#') != std::string::npos; };
  auto symbols = y.sym ? y.sym->symbols() : std::vector<std::string>{};
  // A run-time value may be zero; extents are not where an instance runs.
  bool unsafe = divides && x.sym && std::any_of(symbols.begin(), symbols.end(), made) && assumes_nonzero(*x.sym, *y.sym);
  if (auto* t = out.as<TileVal>(); t && t->dims.empty() && x.sym && y.sym && is_idx(e) && !is_comparison(op) && !unsafe)
    t->sym = fold(op, *x.sym, *y.sym);
  return out;
}

Val Elaborator::matmul(const Val& a, const Val& b, Span span) {
  TileVal x = tile(a, span, "an operand of `@`"), y = tile(b, span, "an operand of `@`");
  if (x.dims.size() != 2 || y.dims.size() != 2)
    fail(Code::E0202, span, fmt::format("`@` multiplies two rank-2 tiles, not {} and {}", describe(Val{x}), describe(Val{y})),
         "make a rank-1 tile a column with `col(x)` or a row with `row(x)`");
  bool fp8 = !x.elem.opaque() && !y.elem.opaque() && bits(x.elem.dtype) == 8 && bits(y.elem.dtype) == 8 && is_float(x.elem) && is_float(y.elem);
  if (!(x.elem == y.elem) && !fp8)
    fail(Code::E0301, span, fmt::format("`@` needs one element type, not {} and {}", describe(Val{x}), describe(Val{y})), "convert one side");
  bool int8 = !x.elem.opaque() && (x.elem.dtype == DType::I8 || x.elem.dtype == DType::U8);
  bool any = x.elem.opaque() && x.elem.generic_kind == ast::GenericKind::DTypeAny;
  if ((!is_float(x.elem) && !int8 && !any) || (storage_only(x.elem) && !fp8))
    fail(Code::E0308, span, fmt::format("`@` is not defined for {}", describe(x.elem)));
  if (known_different(x.dims[1], y.dims[0]))
    fail(Code::E0201, span, fmt::format("`@` needs the columns of {} to be the rows of {}", describe(Val{x}), describe(Val{y})),
         same_dim(x.dims[1], y.dims[1]) ? "transpose the second operand: `b.T`" : "");
  if (partial(x, 1) || partial(y, 0)) {
    // Zeros on both sides: 0 * NaN would be NaN.
    std::vector<Mask> k;
    for (const Mask& m : x.valid)
      if (m.range_id && m.axis == 1) k.push_back(m);
    std::vector<Mask> ky;
    for (const Mask& m : y.valid)
      if (m.range_id && m.axis == 0) ky.push_back(m);
    for (Mask m : ky) m.axis = 1, k = this->join(k, {m});
    for (const Mask& m : k) {
      Mask on_x = m, on_y = m;
      on_y.axis = 0;
      x.valid = this->join(x.valid, {on_x});
      y.valid = this->join(y.valid, {on_y});
    }
    x = guard(x, 0, 1);
    y = guard(y, 0, 0);
  }
  std::vector<Mask> valid;
  for (const Mask& m : x.valid)
    if (m.range_id && m.axis == 0) valid.push_back(m);
  for (const Mask& m : y.valid)
    if (m.range_id && m.axis == 1) valid.push_back(m);
  DType out = int8 ? DType::I32 : !x.elem.opaque() && x.elem.dtype == DType::F64 ? DType::F64 : DType::F32;
  return {make(elem(out), {x.dims[0], y.dims[1]}, emit(OpKind::Dot, {x.v, y.v}), valid)};
}

/// The value of `base` with the first `count` suffixes applied.
Val Elaborator::eval_prefix(const ast::Postfix& p, std::size_t count, const ScopePtr& s) {
  Val v = eval(*p.base, s);
  Span so_far = p.base->span;
  for (std::size_t i = 0; i < count; ++i) {
    const ast::Suffix& x = p.suffixes[i];
    Span whole = tessera::join(so_far, x.span);
    if (v.poison()) throw Failed{};
    if (auto* m = std::get_if<ast::Member>(&x.kind)) {
      // `v.axis(0)`, `x.merge(0, 1)`: a method is a member followed by a call.
      if (i + 1 < count && std::get_if<ast::Call>(&p.suffixes[i + 1].kind) && !v.as<StructVal>() && !v.as<ModuleVal>()) {
        whole = tessera::join(so_far, p.suffixes[i + 1].span);
        const auto& c = std::get<ast::Call>(p.suffixes[i + 1].kind);
        v = method(std::move(v), m->name, eval_args(c, s), whole);
        ++i;
      } else {
        v = member(std::move(v), m->name, whole);
      }
    } else if (auto* ix = std::get_if<ast::Index>(&x.kind)) {
      v = index(std::move(v), *ix, whole, x.span, s);
    } else {
      at(whole);
      v = call(v, p, i, whole, s);
    }
    so_far = whole;
  }
  return v;
}

Val Elaborator::member(Val base, const ast::Ident& name, Span span) {
  if (auto* m = base.as<ModuleVal>()) {
    if (!m->module->defined.count(name.name)) {
      std::vector<std::string> names;
      for (const auto& [n, sp] : m->module->defined) names.push_back(n);
      std::string guess = did_you_mean(name.name, names);
      if (!m->module->whole) fail_again();
      fail(Code::E0401, name.span, fmt::format("the module has no `{}`", name.name), guess.empty() ? "" : fmt::format("did you mean `{}`?", guess));
    }
    return item_value(*m->module, name.name, name.span);
  }
  if (auto* st = base.as<StructVal>()) {
    if (!st->type.decl) fail(Code::E0304, name.span, fmt::format("`{}` is any struct here; its fields are not known", st->type.generic));
    const auto& fields = st->type.decl->ast->fields;
    std::vector<std::string> names;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (fields[i].name.name == name.name) return st->fields[i];
      names.push_back(fields[i].name.name);
    }
    std::string guess = did_you_mean(name.name, names);
    fail(Code::E0304, name.span, fmt::format("`{}` has no field `{}`", st->type.decl->name, name.name),
         guess.empty() ? "" : fmt::format("did you mean `{}`?", guess), {{st->type.decl->ast->name.span, "declared here"}});
  }
  if (name.name == "T") {
    if (auto* v = base.as<ViewVal>(); v && v->dims.size() == 2) {
      ViewVal out = *v;
      std::swap(out.dims[0], out.dims[1]);
      out.v = builder_ && v->v ? builder_->value(OpKind::ViewPermute, {v->v}, {{ir::Attr::Perm, ir::Dims{1, 0}}}) : nullptr;
      return {out};
    }
    TileVal t = tile(base, span, "the operand of `.T`");
    if (t.dims.size() != 2) fail(Code::E0202, span, fmt::format("`.T` transposes a rank-2 tile, not {}", describe(Val{t})));
    std::vector<Mask> valid = t.valid;
    for (Mask& m : valid) {
      if (m.range_id)
        m.axis = 1 - m.axis;
      else
        std::swap(m.dims[0], m.dims[1]), m.tile = builder_ ? builder_->permute(m.tile, {1, 0}) : nullptr;
    }
    return {make(t.elem, {t.dims[1], t.dims[0]}, builder_ ? builder_->permute(t.v, {1, 0}) : nullptr, valid)};
  }
  if (auto* r = base.as<RangeVal>()) {
    auto scalar = [&](ir::Value* v, std::optional<Sym> sym) -> Val {
      TileVal t = make(elem(DType::Idx), {}, v);
      t.sym = sym;
      return {t};
    };
    if (name.name == "start") return scalar(r->size ? r->start : r->lo, r->size ? r->start_sym : r->lo_sym);
    if (name.name == "size" && r->size) return {IntConst{*r->size}};
    if (name.name == "block" && r->size) return scalar(r->block, std::nullopt);
    fail(Code::E0304, name.span, fmt::format("a range has no member `{}`", name.name),
         "ranges have `.start`, and those from `tiles` also `.size` and `.block`");
  }
  fail(Code::E0304, name.span, fmt::format("{} has no member `{}`", describe(base), name.name));
}

}  // namespace tessera
