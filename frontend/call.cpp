// Calls: functions, lambdas and values of fn type are inlined; types convert and construct.
#include <fmt/format.h>

#include "frontend/builtins.h"
#include "frontend/elaborate.h"

namespace tessera {

using ir::OpKind;

std::vector<Elaborator::ArgVal> Elaborator::eval_args(const ast::Call& c, const ScopePtr& s) {
  std::vector<ArgVal> out;
  for (const ast::Arg& a : c.args) {
    ArgVal v;
    if (a.name) v.name = a.name->name;
    v.span = a.value->span;
    v.expr = a.value.get();
    v.value = eval(*a.value, s);
    out.push_back(std::move(v));
  }
  return out;
}

Val Elaborator::call(const Val& callee, const ast::Postfix& p, std::size_t suffix, Span span, const ScopePtr& s) {
  const auto& c = std::get<ast::Call>(p.suffixes[suffix].kind);
  std::string label = std::exchange(pending_label_, "");
  if (auto* f = callee.as<FnVal>()) {
    if (!f->fn && !f->lambda && !f->opaque) return call_builtin(f->name, c, span, s);
    std::vector<ArgVal> args = eval_args(c, s);
    if (!label.empty()) labels_.push_back(label);
    at(span);
    try {
      Val v = call_value(*f, std::move(args), span);
      if (!label.empty()) labels_.pop_back();
      return v;
    } catch (const Failed&) {
      if (!label.empty()) labels_.pop_back();
      throw;
    }
  }
  if (auto* t = callee.as<TypeVal>()) {
    if (auto* st = std::get_if<StructTy>(&t->type.kind)) return construct(*st, eval_args(c, s), span);
    if (auto* tile = std::get_if<TileTy>(&t->type.kind)) return convert(*tile, c, span, s);
  }
  fail(Code::E0303, p.base->span, fmt::format("{} cannot be called", describe(callee)));
}

/// `f32(x)`, `e4m3(x, sat)`, `Lse(x)`
Val Elaborator::convert(const TileTy& t, const ast::Call& c, Span span, const ScopePtr& s) {
  if (!t.dims.empty()) fail(Code::E0303, span, "only an element type converts; shapes follow from the value", "use `fill(v, type)` to make a tile");
  bool saturate = false;
  std::int64_t rounding = 0;
  if (c.args.empty()) fail(Code::E0305, span, fmt::format("{} converts one value", describe(t.elem)));
  for (std::size_t i = 1; i < c.args.size(); ++i) {
    auto* n = std::get_if<ast::Name>(&c.args[i].value->node);
    if (n && n->name == "sat")
      saturate = true;
    else if (n && n->name == "zero")
      rounding = 1;
    else if (n && n->name == "up")
      rounding = 2;
    else if (n && n->name == "down")
      rounding = 3;
    else
      fail(Code::E0306, c.args[i].value->span, "the modes of a conversion are `sat`, `up`, `down` and `zero`");
  }
  Val v = decay(eval(*c.args[0].value, s), c.args[0].value->span);
  at(span);
  Span at = c.args[0].value->span;
  if (v.as<IntConst>() && is_idx(t.elem)) {
    TileVal x = int_constant(t.elem, {}, v.as<IntConst>()->value);
    return {x};
  }
  if (v.as<IntConst>() || v.as<FloatConst>()) return {coerce_elem(v, t.elem, at, true)};
  TileVal x = tile(v, at, "the value to convert");
  if (x.elem == t.elem && !saturate && !rounding) return {x};
  if (x.elem.nominal && t.elem.nominal && x.elem.nominal != t.elem.nominal)
    fail(Code::E0310, span, fmt::format("nothing converts {} to {}", describe(x.elem), describe(t.elem)), "go through the base type explicitly");
  if (!saturate && !rounding) return {coerce_elem({x}, t.elem, at, true)};
  ir::Value* out = nullptr;
  if (builder_) out = builder_->cast(x.v, t.elem.dtype, saturate, static_cast<Rounding>(rounding));
  return {make(t.elem, x.dims, out, x.valid)};
}

Val Elaborator::construct(const StructTy& t, std::vector<ArgVal> args, Span span) {
  if (!t.decl) fail(Code::E0303, span, fmt::format("`{}` is any struct here and cannot be made", t.generic));
  const ast::Struct& d = *t.decl->ast;
  auto bound = new_scope();
  bound->parent = new_scope();
  bound->parent->parent = t.decl->module->scope;
  bound->parent->free_symbols = true;
  bound->parent->symbol_prefix = t.decl->name + ".";
  std::vector<ast::Generic> none;
  if (t.generics)
    for (const auto& [n, g] : *t.generics) bound->names[n] = Binding{*std::get<std::shared_ptr<Val>>(g.value), false, d.name.span, n, false};
  std::vector<std::pair<const ast::Ident*, const ast::TypeExpr*>> params;
  std::vector<const ast::Expr*> fallbacks;
  for (const auto& f : d.fields) params.push_back({&f.name, &f.type}), fallbacks.push_back(f.fallback.get());
  bind_params(t.generics ? none : d.generics, args, params, fallbacks, bound, span, d.name.name, d.name.span);
  StructVal out;
  out.type.decl = t.decl;
  out.type.generics = std::make_shared<Generics>();
  for (const auto& g : d.generics) (*out.type.generics)[g.name.name] = GenericValue{std::make_shared<Val>(bound->names[g.name.name].value), false};
  for (const auto& f : d.fields) out.fields.push_back(bound->names[f.name.name].value);
  return {out};
}

Val Elaborator::opaque_results(const std::vector<ast::TypeExpr>& results, const ScopePtr& types, const std::string& what, Span span) {
  if (results.empty()) return {Nothing{}};
  std::vector<Val> out;
  for (const auto& r : results) out.push_back(opaque_value(resolve_type(r, types), what, span));
  if (out.size() == 1) return out[0];
  return {TupleVal{out}};
}

Val Elaborator::return_value(const std::vector<ast::TypeExpr>& results, const ScopePtr& types, std::vector<Val> values, Span span,
                             const std::string& what) {
  if (values.size() == 1 && results.size() > 1)
    if (auto* t = values[0].as<TupleVal>()) values = std::vector<Val>(t->items);
  if (values.size() != results.size()) fail(Code::E0313, span, fmt::format("{} returns {} values, not {}", what, results.size(), values.size()));
  if (results.empty()) return {Nothing{}};
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = coerce(values[i], resolve_type(results[i], types), span,
                       results.size() == 1 ? fmt::format("the result of {}", what) : fmt::format("result {} of {}", i + 1, what));
  if (values.size() == 1) return values[0];
  return {TupleVal{values}};
}

Val Elaborator::call_value(const FnVal& f, std::vector<ArgVal> args, Span span) {
  if (f.typed && !f.opaque) return call_with_type(f, *f.typed, std::move(args), span);
  if (f.opaque) return call_with_type(f, *f.opaque, std::move(args), span);
  if (f.lambda) return call_lambda(f, std::move(args), span);
  if (!f.fn) return call_builtin_on(builtin_from_name(f.name), f.name, std::move(args), span);
  return call_fn(f, std::move(args), span);
}

/// A call through a fn type: arguments and results are converted to what the type says.
Val Elaborator::call_with_type(const FnVal& f, const FnTy& type, std::vector<ArgVal> args, Span span) {
  auto bound = new_scope();
  bound->parent = type.scope;
  const ast::FnTypeExpr& e = *type.expr;
  std::vector<ast::Ident> names(e.params.size());
  std::vector<std::pair<const ast::Ident*, const ast::TypeExpr*>> params;
  for (std::size_t i = 0; i < e.params.size(); ++i) {
    names[i].name = fmt::format("#{}", i + 1);
    names[i].span = e.params[i].span;
    params.push_back({&names[i], &e.params[i]});
  }
  std::string what = f.name.empty() ? "the lambda" : fmt::format("`{}`", f.name);
  bind_params(e.generics, args, params, std::vector<const ast::Expr*>(params.size(), nullptr), bound, span, f.name.empty() ? "lambda" : f.name, span);
  if (f.opaque) return opaque_results(e.results, bound, f.name, span);
  std::vector<ArgVal> converted;
  for (std::size_t i = 0; i < names.size(); ++i) converted.push_back({"", bound->names[names[i].name].value, args[i].span, args[i].expr});
  FnVal plain = f;
  plain.typed.reset();
  Val v = call_value(plain, std::move(converted), span);
  Span at = f.lambda ? (f.lambda->body ? f.lambda->body->span : f.lambda->block->span) : span;
  return return_value(e.results, bound, e.results.empty() ? std::vector<Val>{} : std::vector<Val>{v}, at, what);
}

void Elaborator::check_fn_value(const Val& v, const FnTy& type, Span span) {
  if (lowering()) return;
  const FnVal& f = *v.as<FnVal>();
  if (f.opaque) return;
  auto bound = new_scope();
  bound->parent = type.scope;
  for (const auto& g : type.expr->generics) bound->names[g.name.name] = Binding{opaque_generic(g, bound), false, g.name.span, g.name.name, false};
  std::vector<ArgVal> args;
  for (const auto& p : type.expr->params) {
    ArgVal a;
    a.value = opaque_value(resolve_type(p, bound), "argument", span);
    a.span = span;
    args.push_back(a);
  }
  FnVal typed = f;
  typed.typed = type;
  (void)call_with_type(typed, type, std::move(args), span);
}

Val Elaborator::call_lambda(const FnVal& f, std::vector<ArgVal> args, Span span) {
  const ast::Lambda& l = *f.lambda;
  for (const ArgVal& a : args)
    if (!a.name.empty()) fail(Code::E0306, a.span, "the arguments of a lambda have no names");
  if (args.size() != l.params.size())
    fail(Code::E0306, span, fmt::format("the lambda takes {} arguments, not {}", l.params.size(), args.size()), "",
         {{l.params.empty() ? span : l.params[0].span, "declared here"}});
  for (const void* a : active_)
    if (a == &l) fail(Code::E0407, span, "the lambda calls itself", "use a loop: functions are inlined");
  require_shallow_calls(span);
  ScopePtr s = child(f.scope);
  s->function = true;
  for (std::size_t i = 0; i < args.size(); ++i) {
    if (args[i].value.poison()) throw Failed{};
    define(*s, l.params[i], args[i].value, false);
  }
  active_.push_back(&l);
  trail_.push_back({span, "in the call of the lambda"});
  auto leave = [&] { active_.pop_back(), trail_.pop_back(); };
  try {
    Val v;
    if (l.body) {
      v = eval(*l.body, s);
    } else {
      auto saved = std::exchange(returned_, std::nullopt);
      const std::int64_t before = failures_;
      run_body(*l.block, s);
      auto values = std::exchange(returned_, saved);
      if (failures_ != before) throw Failed{};
      if (!values || values->empty()) fail(Code::E0313, l.block->span, "the lambda returns nothing", "end it with `return ..;`");
      v = values->size() == 1 ? (*values)[0] : Val{TupleVal{*values}};
    }
    leave();
    return v;
  } catch (const Failed&) {
    leave();
    throw;
  }
}

Val Elaborator::call_fn(const FnVal& f, std::vector<ArgVal> args, Span span) {
  const ast::Fn& fn = *f.fn;
  auto bound = new_scope();
  bound->parent = f.module->scope;
  bound->function = true;
  std::vector<std::pair<const ast::Ident*, const ast::TypeExpr*>> params;
  std::vector<const ast::Expr*> fallbacks;
  for (const auto& p : fn.params) params.push_back({&p.name, &p.type}), fallbacks.push_back(p.fallback.get());
  bind_params(fn.generics, args, params, fallbacks, bound, span, fn.name.name, fn.name.span);
  for (const auto& p : fn.params) {
    Val& v = bound->names[p.name.name].value;
    auto* view = v.as<ViewVal>();
    if (!view) continue;
    if (!p.optional) require_present(*view, span);
    bool writes = p.mode != ast::ParamMode::In;
    if (writes) stored_.insert(view->root);
    if (writes && view->mode == ir::Mode::In)
      fail(Code::E0505, span, fmt::format("`{}` is read-only, but `{}` writes its argument `{}`", view->root, fn.name.name, p.name.name), "",
           {{view->bound, "declared here"}});
    bool reads = p.mode == ast::ParamMode::In || p.mode == ast::ParamMode::InOut;
    if (reads && view->mode != ir::Mode::In && view->mode != ir::Mode::InOut)
      fail(Code::E0504, span, fmt::format("`{}` cannot be read, but `{}` reads its argument `{}`", view->root, fn.name.name, p.name.name), "",
           {{view->bound, "declared here"}});
  }
  for (const void* a : active_)
    if (a == &fn)
      fail(Code::E0407, span, fmt::format("`{}` calls itself through the function it was given", fn.name.name), "use a loop: functions are inlined",
           {{fn.name.span, "defined here"}});
  if (!lowering()) return opaque_results(fn.results, bound, fn.name.name, span);
  // Schedules name what has no name of its own by the parameter.
  for (const auto& p : fn.params) hint(bound->names[p.name.name].value, p.name.name);
  require_shallow_calls(span);
  active_.push_back(&fn);
  trail_.push_back({span, fmt::format("in the call of `{}`", fn.name.name)});
  auto saved = std::exchange(returned_, std::nullopt);
  try {
    run_body(fn.body, bound);
    auto values = std::exchange(returned_, saved);
    Val v = return_value(fn.results, bound, values ? *values : std::vector<Val>{}, fn.name.span, fmt::format("`{}`", fn.name.name));
    active_.pop_back();
    trail_.pop_back();
    return v;
  } catch (const Failed&) {
    returned_ = saved;
    active_.pop_back();
    trail_.pop_back();
    throw;
  }
}

}  // namespace tessera
