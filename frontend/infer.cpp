// Compile-time parameters: their values are inferred from argument types, or named in the call.
#include <fmt/format.h>

#include "frontend/elaborate.h"

namespace tessera {

namespace {

const char* kind_name(ast::GenericKind k) {
  switch (k) {
    case ast::GenericKind::Int: return "int";
    case ast::GenericKind::Bool: return "bool";
    case ast::GenericKind::DTypeAny: return "dtype";
    case ast::GenericKind::Half: return "half";
    case ast::GenericKind::Float: return "float";
    case ast::GenericKind::IntType: return "inttype";
    case ast::GenericKind::Struct: return "struct";
    case ast::GenericKind::Dim: return "dim";
    case ast::GenericKind::Fn: return "fn";
  }
  TESSERA_UNREACHABLE("generic kind");
}

/// Parameters of fn types have a number instead, `#1`.
bool named(const ast::Ident& param) { return param.name[0] != '#'; }
std::string called(const ast::Ident& param) {
  return named(param) ? fmt::format("`{}`", param.name) : fmt::format("argument {}", param.name.substr(1));
}

}  // namespace

/// The parameter as a value about which nothing is known but its kind.
Val Elaborator::opaque_generic(const ast::Generic& g, const ScopePtr& s) {
  const std::string& n = g.name.name;
  switch (g.kind) {
    case ast::GenericKind::Int: symbol_bound_[n] = g.name.span; return {IntConst{Sym::symbol(n)}};
    case ast::GenericKind::Bool: return {BoolConst{}};
    case ast::GenericKind::DTypeAny:
    case ast::GenericKind::Half:
    case ast::GenericKind::Float:
    case ast::GenericKind::IntType: return {TypeVal{Ty{TileTy{Elem{DType::F32, n, g.kind, nullptr}, {}}}}};
    case ast::GenericKind::Struct: return {TypeVal{Ty{StructTy{nullptr, n, nullptr}}}};
    case ast::GenericKind::Dim: {
      launch_symbols_.insert(n);
      symbols_[n] = nullptr;
      symbol_bound_[n] = g.name.span;
      TileVal t = make(elem(DType::Idx), {}, nullptr);
      t.sym = Sym::symbol(n);
      return {t};
    }
    case ast::GenericKind::Fn: {
      FnVal f;
      f.opaque = std::get<FnTy>(resolve_type(*g.fn_type, s).kind);
      f.name = n;
      return {f};
    }
  }
  TESSERA_UNREACHABLE("generic kind");
}

void Elaborator::bind_generic(const ast::Generic& g, const Val& v, Scope& bound, Span span) {
  if (v.poison()) throw Failed{};
  auto wrong = [&]() {
    fail(Code::E0312, span, fmt::format("`{}` is a compile-time {}, not {}", g.name.name, kind_name(g.kind), describe(v)), "",
         {{g.name.span, "declared here"}});
  };
  Val out = v;
  switch (g.kind) {
    case ast::GenericKind::Int: {
      auto* c = v.as<IntConst>();
      auto* t = v.as<TileVal>();
      if (c)
        out = {IntConst{facts_.normalise(c->value)}};
      else if (t && t->sym && facts_.normalise(*t->sym).is_constant())
        out = {IntConst{facts_.normalise(*t->sym)}};
      else
        wrong();
      break;
    }
    case ast::GenericKind::Bool:
      if (!v.as<BoolConst>()) wrong();
      break;
    case ast::GenericKind::DTypeAny:
    case ast::GenericKind::Half:
    case ast::GenericKind::Float:
    case ast::GenericKind::IntType: {
      auto* t = v.as<TypeVal>();
      auto* tile = t ? std::get_if<TileTy>(&t->type.kind) : nullptr;
      if (!tile || !tile->dims.empty()) wrong();
      const Elem& e = tile->elem;
      bool ok = g.kind == ast::GenericKind::DTypeAny;
      if (e.opaque()) {
        ok = ok || e.generic_kind == g.kind || (g.kind == ast::GenericKind::Float && e.generic_kind == ast::GenericKind::Half);
      } else {
        if (g.kind == ast::GenericKind::Half) ok = is_half(e.dtype);
        if (g.kind == ast::GenericKind::Float) ok = is_half(e.dtype) || e.dtype == DType::F32 || e.dtype == DType::E4M3 || e.dtype == DType::E5M2;
        if (g.kind == ast::GenericKind::IntType) ok = is_int(e.dtype);
      }
      if (!ok)
        fail(Code::E0312, span, fmt::format("`{}` must be of kind {}, and {} is not", g.name.name, kind_name(g.kind), describe(e)),
             g.kind == ast::GenericKind::Half    ? "half is f16 or bf16"
             : g.kind == ast::GenericKind::Float ? "float is f16, bf16, f32, e4m3 or e5m2"
                                                 : "",
             {{g.name.span, "declared here"}});
      break;
    }
    case ast::GenericKind::Struct: {
      auto* t = v.as<TypeVal>();
      if (!t || !std::get_if<StructTy>(&t->type.kind)) wrong();
      break;
    }
    case ast::GenericKind::Dim: {
      Sym s;
      if (auto* c = v.as<IntConst>())
        s = c->value;
      else if (auto* r = v.as<RangeVal>())
        s = r->axis && !r->size && r->lo_sym && *r->lo_sym == Sym(0) ? *r->axis : range_extent(*r);
      else if (auto* t = v.as<TileVal>(); t && t->dims.empty() && is_integer(t->elem))
        s = t->sym ? *t->sym : fresh_symbol(g.name.name, as_idx(v, span).v);
      else
        wrong();
      TileVal t = make(elem(DType::Idx), {}, emit_sym(s));
      t.sym = s;
      out = {t};
      break;
    }
    case ast::GenericKind::Fn: {
      if (!v.as<FnVal>()) wrong();
      auto s = new_scope();
      *s = bound;
      FnTy type = std::get<FnTy>(resolve_type(*g.fn_type, s).kind);
      out = coerce(v, Ty{type}, span, fmt::format("`{}`", g.name.name));
      break;
    }
  }
  bound.names[g.name.name] = Binding{out, false, g.name.span, g.name.name, false};
}

void Elaborator::infer_dim(const ast::Expr& e, const Sym& dim, const std::map<std::string, const ast::Generic*>& open, Scope& bound, Span span) {
  auto* n = std::get_if<ast::Name>(&e.node);
  if (!n) return;
  auto it = open.find(n->name);
  if (it == open.end() || bound.names.count(n->name)) return;
  if (it->second->kind == ast::GenericKind::Dim) {
    TileVal t = make(elem(DType::Idx), {}, emit_sym(dim));
    t.sym = dim;
    bound.names[n->name] = Binding{Val{t}, false, it->second->name.span, n->name, false};
  } else if (it->second->kind == ast::GenericKind::Int) {
    if (lowering() && !facts_.normalise(dim).is_constant())
      fail(Code::E0315, span, fmt::format("`{}` is a compile-time int, but the axis `{}` is known only at run time", n->name, display(dim)),
           fmt::format("declare it `{}: dim`", n->name), {{it->second->name.span, "declared here"}});
    bound.names[n->name] = Binding{Val{IntConst{facts_.normalise(dim)}}, false, it->second->name.span, n->name, false};
  }
}

/// Binds the open parameters that occur in `t` from the type of `v`.
bool Elaborator::infer(const ast::TypeExpr& t, const Val& v, const std::map<std::string, const ast::Generic*>& open, Scope& bound, Span span) {
  if (auto* r = std::get_if<ast::RangeTypeExpr>(&t.node)) {
    RangeVal x = as_range(v, span);
    infer_dim(*r->axis, x.axis ? *x.axis : range_extent(x), open, bound, span);
    return true;
  }
  auto* n = std::get_if<ast::NamedType>(&t.node);
  if (!n) return true;
  const std::vector<Sym>* dims = nullptr;
  const Elem* e = nullptr;
  if (auto* x = v.as<TileVal>()) dims = &x->dims, e = &x->elem;
  if (auto* x = v.as<ViewVal>()) dims = &x->dims, e = &x->elem;
  Elem literal = elem(v.as<FloatConst>() ? DType::F32 : DType::Idx);
  if (v.as<FloatConst>() || v.as<IntConst>()) e = &literal;
  if (n->path.parts.size() == 1) {
    auto it = open.find(n->path.parts[0].name);
    if (it != open.end() && !bound.names.count(it->first)) {
      if (it->second->kind == ast::GenericKind::Struct) {
        if (auto* s = v.as<StructVal>()) bind_generic(*it->second, {TypeVal{Ty{s->type}}}, bound, span);
      } else if (e) {
        bind_generic(*it->second, {TypeVal{Ty{TileTy{*e, {}}}}}, bound, span);
      }
    }
  }
  if (auto* s = v.as<StructVal>(); s && s->type.decl && s->type.generics) {
    const auto& gs = s->type.decl->ast->generics;
    for (std::size_t i = 0; i < gs.size() && i < n->dims.size(); ++i) {
      auto* c = std::get<std::shared_ptr<Val>>(s->type.generics->at(gs[i].name.name).value)->as<IntConst>();
      if (c) infer_dim(*n->dims[i], c->value, open, bound, span);
    }
  }
  if (dims && dims->size() == n->dims.size())
    for (std::size_t i = 0; i < dims->size(); ++i) infer_dim(*n->dims[i], (*dims)[i], open, bound, span);
  return true;
}

void Elaborator::bind_defaults(const std::vector<ast::Generic>& gs, const ScopePtr& bound, Span span, const std::string& callee) {
  for (const ast::Generic& g : gs) {
    if (bound->names.count(g.name.name)) continue;
    if (!g.fallback)
      fail(Code::E0311, span, fmt::format("the arguments do not determine `{}` of `{}`", g.name.name, callee),
           fmt::format("name it in the call: `{}: ..`", g.name.name), {{g.name.span, "declared here"}});
    bind_generic(g, eval(*g.fallback, bound), *bound, g.fallback->span);
  }
}

/// Matches arguments to parameters: named ones to parameters or compile-time parameters, positional ones in order; infers the open
/// compile-time parameters; converts; fills defaults. All end up as names in `bound`.
void Elaborator::bind_params(const std::vector<ast::Generic>& generics, std::vector<ArgVal>& args,
                             const std::vector<std::pair<const ast::Ident*, const ast::TypeExpr*>>& params,
                             const std::vector<const ast::Expr*>& fallbacks, const ScopePtr& bound, Span span, const std::string& callee,
                             Span declared) {
  std::map<std::string, const ast::Generic*> open;
  for (const ast::Generic& g : generics) open[g.name.name] = &g;
  std::vector<ArgVal*> given(params.size(), nullptr);
  std::size_t next = 0;
  std::vector<std::pair<const ast::Generic*, ArgVal*>> explicit_generics;
  for (ArgVal& a : args) {
    if (a.value.poison()) throw Failed{};
    if (a.name.empty()) {
      if (next >= params.size())
        fail(Code::E0306, a.span, fmt::format("`{}` takes {} arguments", callee, params.size()), "", {{declared, "declared here"}});
      given[next++] = &a;
      continue;
    }
    bool found = false;
    for (std::size_t i = 0; i < params.size() && !found; ++i) {
      if (params[i].first->name != a.name) continue;
      if (given[i]) fail(Code::E0306, a.span, fmt::format("`{}` is given twice", a.name));
      given[i] = &a;
      found = true;
    }
    if (found) continue;
    auto it = open.find(a.name);
    if (it == open.end()) {
      std::vector<std::string> names;
      for (const auto& p : params)
        if (named(*p.first)) names.push_back(p.first->name);
      for (const auto& g : generics) names.push_back(g.name.name);
      std::string guess = did_you_mean(a.name, names);
      fail(Code::E0306, a.span, fmt::format("`{}` has no parameter `{}`", callee, a.name),
           guess.empty() ? "" : fmt::format("did you mean `{}`?", guess), {{declared, "declared here"}});
    }
    explicit_generics.push_back({it->second, &a});
  }
  for (auto& [g, a] : explicit_generics)
    if (g->kind != ast::GenericKind::Fn) bind_generic(*g, a->value, *bound, a->span);
  for (std::size_t i = 0; i < params.size(); ++i) {
    if (!given[i]) continue;
    auto* named = std::get_if<ast::NamedType>(&params[i].second->node);
    if (named && !named->view) given[i]->value = decay(given[i]->value, given[i]->span);
    infer(*params[i].second, given[i]->value, open, *bound, given[i]->span);
  }
  for (auto& [g, a] : explicit_generics)
    if (g->kind == ast::GenericKind::Fn) bind_generic(*g, a->value, *bound, a->span);
  // Missing parameters with defaults may still determine nothing; those without a default are an error before inference complains.
  for (std::size_t i = 0; i < params.size(); ++i)
    if (!given[i] && !fallbacks[i])
      fail(Code::E0305, span, fmt::format("`{}` needs the argument {}", callee, called(*params[i].first)), "",
           {{params[i].first->span, "declared here"}});
  // A struct made of constants alone, such as the identity `Lin(a: 1.0, b: 0.0)`, is a single element: its dims are 1.
  bool constants_only = !args.empty();
  for (const ArgVal& a : args) constants_only &= a.value.as<IntConst>() || a.value.as<FloatConst>() || a.value.as<BoolConst>();
  for (const ast::Generic& g : generics)
    if (constants_only && g.kind == ast::GenericKind::Int && !g.fallback && !bound->names.count(g.name.name))
      bind_generic(g, {IntConst{Sym(1)}}, *bound, span);
  bind_defaults(generics, bound, span, callee);
  for (std::size_t i = 0; i < params.size(); ++i) {
    Ty type = resolve_type(*params[i].second, bound);
    Val v = given[i] ? coerce(given[i]->value, type, given[i]->span, called(*params[i].first))
                     : coerce(eval(*fallbacks[i], bound), type, fallbacks[i]->span, called(*params[i].first));
    bound->names[params[i].first->name] = Binding{v, false, params[i].first->span, params[i].first->name, false};
  }
}

}  // namespace tessera
