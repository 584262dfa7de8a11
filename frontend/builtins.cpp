#include "frontend/builtins.h"

#include <fmt/format.h>

#include <limits>

namespace tessera {

using ir::OpKind;
using ir::ReduceKind;

const std::vector<BuiltinInfo>& builtin_table() {
  static const std::vector<BuiltinInfo> table = {
#define TESSERA_BUILTIN(id, text, signature, doc) {text, signature, doc},
#include "frontend/builtins.def"
  };
  return table;
}
bool is_builtin(const std::string& name) {
  for (const auto& b : builtin_table())
    if (name == b.name) return true;
  return false;
}
Builtin builtin_from_name(const std::string& name) {
  for (std::size_t i = 0; i < builtin_table().size(); ++i)
    if (name == builtin_table()[i].name) return static_cast<Builtin>(i);
  TESSERA_UNREACHABLE("not a built-in: " + name);
}
std::vector<std::string> builtin_names() {
  std::vector<std::string> out;
  for (const auto& b : builtin_table()) out.push_back(b.name);
  return out;
}

std::size_t Builtins::positional() const {
  std::size_t n = 0;
  for (const auto& a : args) n += a.name.empty();
  return n;
}

const Builtins::ArgVal& Builtins::arg(std::size_t i, const char* what) {
  std::size_t n = 0;
  for (const auto& a : args)
    if (a.name.empty() && n++ == i) return a;
  e.fail(Code::E0305, span, fmt::format("`{}` needs {}", name, what));
}

const Builtins::ArgVal* Builtins::named(const char* key) {
  for (const auto& a : args)
    if (a.name == key) return &a;
  return nullptr;
}

void Builtins::expect(std::size_t least, std::size_t most, std::initializer_list<const char*> keys) {
  std::size_t n = positional();
  std::string usage;
  for (const auto& b : builtin_table())
    if (name == b.name) usage = b.signature;
  if (n < least)
    e.fail(Code::E0305, span, fmt::format("`{}` needs {} argument{}, not {}", name, least, least == 1 ? "" : "s", n), "it reads `" + usage + "`");
  if (n > most)
    e.fail(Code::E0306, span, fmt::format("`{}` takes {} argument{}, not {}", name, most, most == 1 ? "" : "s", n), "it reads `" + usage + "`");
  for (const auto& a : args) {
    if (a.value.poison()) throw Failed{};
    bool known = a.name.empty();
    for (const char* k : keys) known |= a.name == k;
    if (!known) e.fail(Code::E0306, a.span, fmt::format("`{}` has no parameter `{}`", name, a.name), "it reads `" + usage + "`");
  }
}

int Builtins::axis(const TileVal& t, const char* key, int fallback) {
  const ArgVal* a = named(key);
  if (!a) {
    if (fallback >= 0) return fallback;
    e.fail(Code::E0305, span, fmt::format("`{}` needs `{}:`", name, key));
  }
  auto v = e.const_int(a->value, a->span, "an axis").as_constant();
  if (!v || *v < 0 || *v >= static_cast<std::int64_t>(t.dims.size()))
    e.fail(Code::E0207, a->span, fmt::format("{} has no axis {}", describe(Val{t}), v ? fmt::to_string(*v) : "of this number"),
           t.dims.empty() ? "a scalar has no axes" : fmt::format("its axes are 0 to {}", t.dims.size() - 1));
  return static_cast<int>(*v);
}

TileVal Builtins::operand(std::size_t i, const char* what) {
  const ArgVal& a = arg(i, what);
  return e.tile(a.value, a.span, what);
}

TileVal Builtins::float_operand(std::size_t i, const char* what) {
  const ArgVal& a = arg(i, what);
  Val v = a.value;
  if (v.as<IntConst>()) return e.coerce_elem(v, elem(DType::F32), a.span);
  TileVal t = e.tile(v, a.span, what);
  if (!is_float(t.elem) || storage_only(t.elem))
    e.fail(Code::E0308, a.span, fmt::format("`{}` is not defined for {}", name, describe(t.elem)), "convert it first, e.g. `f32(x)`");
  return t;
}

/// `count` operands of one element type, constants taking the others'.
std::vector<TileVal> Builtins::together(std::size_t from, std::size_t count, const char* what) {
  std::vector<TileVal> out;
  TileVal first =
      e.unify_operands(arg(from, what).value, arg(from + 1, what).value, span, arg(from, what).span, arg(from + 1, what).span, what).first;
  for (std::size_t i = 2; i < count; ++i)
    first = e.unify_operands({first}, arg(from + i, what).value, span, span, arg(from + i, what).span, what).first;
  for (std::size_t i = 0; i < count; ++i)
    out.push_back(e.coerce_elem(e.decay(arg(from + i, what).value, span), first.elem, arg(from + i, what).span));
  return out;
}

Val Elaborator::call_builtin(const std::string& name, const ast::Call& c, Span span, const ScopePtr& s) {
  Builtin b = builtin_from_name(name);
  // The few that take a place, a word or a quotient look at the syntax of their arguments.
  if (b == Builtin::FetchAdd || b == Builtin::Signal || b == Builtin::Wait) {
    if (c.args.empty()) fail(Code::E0305, span, fmt::format("`{}` needs a place in a view", name));
    bool unused = std::exchange(unused_, false);
    auto t = eval_target(*c.args[0].value, s);
    unused_ = unused;
    if (!t) fail(Code::E0302, c.args[0].value->span, fmt::format("`{}` needs a place in a view, such as `v[i]`", name));
    return place_builtin(name, *t, c, span, s);
  }
  if (b == Builtin::Ceil && c.args.size() == 1) {
    auto* chain = std::get_if<ast::Chain>(&c.args[0].value->node);
    if (chain && chain->rest.back().op == ast::BinaryOp::Div) {
      Val a = eval(*chain->first, s);
      Span at = chain->first->span;
      for (std::size_t i = 0; i + 1 < chain->rest.size(); ++i)
        a = binary(chain->rest[i].op, a, eval(*chain->rest[i].rhs, s), span, at, chain->rest[i].rhs->span);
      Val d = eval(*chain->rest.back().rhs, s);
      if (auto *x = a.as<IntConst>(), *y = d.as<IntConst>(); x && y) return {IntConst{facts_.normalise(ceil_div(x->value, y->value))}};
      auto integer = [](const Val& v) { return v.as<IntConst>() || (v.as<TileVal>() && is_integer(v.as<TileVal>()->elem)); };
      if (integer(a) && integer(d)) {
        auto [x, y] = unify_operands(a, d, span, at, chain->rest.back().rhs->span, "an operand");
        ir::Value* one = builder_ ? builder_->constant(ir::scalar(x.elem.dtype), std::int64_t{1}) : nullptr;
        TileVal out = make(x.elem, broadcast_dims(x, y, span), nullptr, this->join(x.valid, y.valid));
        out.v = emit(OpKind::Div, {emit(OpKind::Add, {x.v, emit(OpKind::Sub, {y.v, one})}), y.v});
        if (x.sym && y.sym) out.sym = facts_.normalise(ceil_div(*x.sym, *y.sym));
        return {out};
      }
      return call_builtin_on(b, name, {ArgVal{"", binary(ast::BinaryOp::Div, a, d, span, at, span), c.args[0].value->span, nullptr}}, span);
    }
  }
  if (b == Builtin::Dot) {
    // `prec: tf32` names a word, not a variable.
    ast::Call positional;
    std::vector<ArgVal> args;
    for (const auto& a : c.args) {
      ArgVal v;
      if (a.name) v.name = a.name->name;
      v.span = a.value->span;
      auto* word = std::get_if<ast::Name>(&a.value->node);
      v.value = v.name == "prec" && word ? Val{StringVal{word->name}} : eval(*a.value, s);
      args.push_back(v);
    }
    return call_builtin_on(b, name, std::move(args), span);
  }
  return call_builtin_on(b, name, eval_args(c, s), span);
}

Val Elaborator::call_builtin_on(Builtin b, const std::string& name, std::vector<ArgVal> args, Span span) {
  at(span);
  return Builtins{*this, args, span, name}.apply(b);
}

Val Builtins::apply(Builtin b) {
  const double inf = std::numeric_limits<double>::infinity();
  switch (b) {
    case Builtin::Exp: return math(OpKind::Exp, false);
    case Builtin::Exp2: return math(OpKind::Exp2, false);
    case Builtin::Ln: return math(OpKind::Ln, false);
    case Builtin::Log2: return math(OpKind::Log2, false);
    case Builtin::Sqrt: return math(OpKind::Sqrt, false);
    case Builtin::Rsqrt: return math(OpKind::Rsqrt, false);
    case Builtin::Rcp: return math(OpKind::Rcp, false);
    case Builtin::Tanh: return math(OpKind::Tanh, false);
    case Builtin::Sigmoid: return math(OpKind::Sigmoid, false);
    case Builtin::Sin: return math(OpKind::Sin, false);
    case Builtin::Cos: return math(OpKind::Cos, false);
    case Builtin::Erf: return math(OpKind::Erf, false);
    case Builtin::Floor: return math(OpKind::Floor, false);
    case Builtin::Ceil: return math(OpKind::Ceil, false);
    case Builtin::Round: return math(OpKind::Round, false);
    case Builtin::Abs: return math(OpKind::Abs, true);
    case Builtin::Popcount: return math(OpKind::Popcount, true);
    case Builtin::Clz: return math(OpKind::Clz, true);
    case Builtin::Fma: return fma();
    case Builtin::Clamp: return clamp();
    case Builtin::Select: return select();
    case Builtin::Bitcast: return bitcast();
    case Builtin::Min: return min_max(OpKind::Min, ReduceKind::Min, inf);
    case Builtin::Max: return min_max(OpKind::Max, ReduceKind::Max, -inf);
    case Builtin::Sum: return reduce_total(ReduceKind::Sum, 0);
    case Builtin::Prod: return reduce_total(ReduceKind::Prod, 1);
    case Builtin::Any: return reduce_total(ReduceKind::Any, 0);
    case Builtin::All: return reduce_total(ReduceKind::All, 1);
    case Builtin::ArgMax: return reduce_total(ReduceKind::ArgMax, -inf);
    case Builtin::ArgMin: return reduce_total(ReduceKind::ArgMin, inf);
    case Builtin::RowMax: return row_reduce(ReduceKind::Max, -inf);
    case Builtin::RowMin: return row_reduce(ReduceKind::Min, inf);
    case Builtin::RowSum: return row_reduce(ReduceKind::Sum, 0);
    case Builtin::Reduce: return generic_fold(false);
    case Builtin::Scan: return generic_fold(true);
    case Builtin::ScanSum: return scan(ReduceKind::Sum, 0);
    case Builtin::ScanMax: return scan(ReduceKind::Max, -inf);
    case Builtin::TopK: return top_k();
    case Builtin::Sort: return sort();
    case Builtin::Histogram: return histogram();
    case Builtin::Last: return last();
    case Builtin::Fill: return fill();
    case Builtin::Iota: return coords(-1);
    case Builtin::Col: return column(false);
    case Builtin::Row: return column(true);
    case Builtin::Split: return shape_split();
    case Builtin::Join: return shape_join();
    case Builtin::Cut: return cut();
    case Builtin::Concat: return concat();
    case Builtin::Pad: return pad();
    case Builtin::Dot: return dot();
    case Builtin::DotScaled: return dot_scaled();
    case Builtin::SolveLower: return solve_lower();
    case Builtin::Tiles: return tiles();
    case Builtin::Whole: return whole();
    case Builtin::Share: return share();
    case Builtin::Span: return span_of();
    case Builtin::Extent: return extent();
    case Builtin::Rows: return coords(0);
    case Builtin::Cols: return coords(1);
    case Builtin::Index: return coords(2);
    case Builtin::Paged: return paged();
    case Builtin::Take: return take();
    case Builtin::Has: return has();
    case Builtin::Print: return print();
    case Builtin::Unique: e.fail(Code::E0302, span, "`unique(..)` stands only in `claim unique(..) \"why\";`");
    case Builtin::Diff: return diff();
    case Builtin::FetchAdd:
    case Builtin::Signal:
    case Builtin::Wait: break;
  }
  TESSERA_UNREACHABLE("built-in handled by place");
}

}  // namespace tessera
