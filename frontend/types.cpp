// Type expressions, dims and generics.
#include <fmt/format.h>

#include "frontend/elaborate.h"

namespace tessera {

namespace {

bool mentions_wildcard(const Sym& s) {
  for (const std::string& name : s.symbols())
    if (name.front() == '?') return true;
  return false;
}

}  // namespace

bool Elaborator::same_dim(const Sym& a, const Sym& b) const {
  return a == b || facts_.proves_equal(a, b) || mentions_wildcard(a) || mentions_wildcard(b);
}

bool Elaborator::known_different(const Sym& a, const Sym& b) const {
  if (same_dim(a, b)) return false;
  // Quotients of opaque generics cannot be decided before instantiation, which repeats the check on numbers.
  return lowering() || (facts_.normalise(a).is_plain_polynomial() && facts_.normalise(b).is_plain_polynomial());
}

bool Elaborator::same_axis(const Sym& a, const Sym& b) const {
  if (same_dim(a, b)) return true;
  return !lowering() && !(facts_.normalise(a).is_plain_polynomial() && facts_.normalise(b).is_plain_polynomial());
}

void Elaborator::positive_dims(const std::vector<Sym>& dims, Span span) {
  std::int64_t product = 1;
  for (const Sym& d : dims) {
    auto v = d.as_constant();
    if (!v) continue;
    if (*v <= 0) fail(Code::E0208, span, fmt::format("a tile cannot have a dim of {}", *v));
    if (__builtin_mul_overflow(product, *v, &product) || product > (std::int64_t{1} << 24))
      fail(Code::E0604, span, fmt::format("a tile of {} has more than 2^24 elements", describe_dims(dims)));
  }
}

Sym Elaborator::resolve_dim(const ast::Expr& e, const ScopePtr& s, bool view_dim) {
  Naming saved = std::exchange(naming_, view_dim ? Naming::ViewDim : Naming::TileDim);
  Val v;
  try {
    v = eval(e, s);
  } catch (const Failed&) {
    naming_ = saved;
    throw;
  }
  naming_ = saved;
  if (v.poison()) throw Failed{};
  if (auto* c = v.as<IntConst>()) return c->value;
  if (auto* t = v.as<TileVal>(); t && t->dims.empty() && t->sym) {
    if (view_dim) return *t->sym;
    if (facts_.normalise(*t->sym).is_constant()) return facts_.normalise(*t->sym);
    fail(Code::E0315, e.span, fmt::format("`{}` is known only at launch; a tile's dims are compile-time constants", display(*t->sym)),
         "read the axis in tiles: `for i in tiles(axis, N)`");
  }
  fail(Code::E0315, e.span, fmt::format("a dim is an integer constant, not {}", describe(v)));
}

std::optional<Ty> Elaborator::named_type(const ast::Path& p, const ScopePtr& s) {
  Naming saved = std::exchange(naming_, Naming::Type);
  Val v;
  try {
    v = lookup(p.parts[0], s);
  } catch (const Failed&) {
    naming_ = saved;
    throw;
  }
  naming_ = saved;
  for (std::size_t i = 1; i < p.parts.size(); ++i) v = member(std::move(v), p.parts[i], p.span);
  if (auto* t = v.as<TypeVal>()) return t->type;
  return std::nullopt;
}

Elem Elaborator::resolve_elem(const ast::Path& p, Span span, const ScopePtr& s) {
  auto t = named_type(p, s);
  if (t)
    if (auto* tile = std::get_if<TileTy>(&t->kind); tile && tile->dims.empty()) return tile->elem;
  fail(Code::E0302, span, fmt::format("`{}` is not an element type", p.parts.back().name));
}

Ty Elaborator::resolve_type(const ast::TypeExpr& t, const ScopePtr& s) {
  if (auto* r = std::get_if<ast::RangeTypeExpr>(&t.node)) return Ty{RangeTy{resolve_dim(*r->axis, s, true)}};
  if (auto* f = std::get_if<ast::FnTypeExpr>(&t.node)) return Ty{FnTy{f, s}};
  const auto& n = std::get<ast::NamedType>(t.node);
  auto base = named_type(n.path, s);
  if (!base) fail(Code::E0302, n.path.span, fmt::format("`{}` is not a type", n.path.parts.back().name));
  if (auto* st = std::get_if<StructTy>(&base->kind)) {
    if (n.view) fail(Code::E0302, t.span, "a view holds elements, not structs");
    if (!st->decl || (!n.has_dims && st->generics)) return *base;
    std::vector<Val> args;
    for (const auto& d : n.dims) args.push_back(eval(*d, s));
    return Ty{struct_type(*st->decl, args, t.span)};
  }
  auto* tile = std::get_if<TileTy>(&base->kind);
  if (!tile || (n.has_dims && !tile->dims.empty())) fail(Code::E0302, t.span, "this type takes no dims");
  std::vector<Sym> dims = tile->dims;
  for (const auto& d : n.dims) dims.push_back(resolve_dim(*d, s, n.view));
  if (n.view) return Ty{ViewTy{tile->elem, dims, n.strided}};
  positive_dims(dims, t.span);
  return Ty{TileTy{tile->elem, dims}};
}

StructTy Elaborator::struct_type(const StructDecl& d, const std::vector<Val>& args, Span span) {
  const auto& gs = d.ast->generics;
  if (args.size() != gs.size())
    fail(Code::E0302, span, fmt::format("`{}` has {} compile-time parameters, not {}", d.name, gs.size(), args.size()), "",
         {{d.ast->name.span, "declared here"}});
  auto bound = new_scope();
  bound->parent = d.module->scope;
  for (std::size_t i = 0; i < gs.size(); ++i) bind_generic(gs[i], args[i], *bound, span);
  auto out = std::make_shared<Generics>();
  for (const auto& g : gs) (*out)[g.name.name] = GenericValue{std::make_shared<Val>(bound->names[g.name.name].value), false};
  return StructTy{&d, "", out};
}

Elaborator::ScopePtr Elaborator::struct_scope(const StructTy& t) {
  auto s = new_scope();
  s->parent = t.decl->module->scope;
  s->free_symbols = true;
  s->symbol_prefix = t.decl->name + ".";
  if (t.generics)
    for (const auto& [n, g] : *t.generics) s->names[n] = Binding{*std::get<std::shared_ptr<Val>>(g.value), false, t.decl->ast->name.span, n, false};
  else
    for (const auto& g : t.decl->ast->generics) s->names[g.name.name] = Binding{opaque_generic(g, s), false, g.name.span, g.name.name, false};
  return s;
}

std::vector<Ty> Elaborator::struct_fields(const StructTy& t) {
  ScopePtr s = struct_scope(t);
  std::vector<Ty> out;
  for (const auto& f : t.decl->ast->fields) out.push_back(resolve_type(f.type, s));
  return out;
}

bool Elaborator::same_type(const Ty& a, const Ty& b) {
  if (a.kind.index() != b.kind.index()) return false;
  auto same_dims = [&](const std::vector<Sym>& x, const std::vector<Sym>& y) {
    if (x.size() != y.size()) return false;
    for (std::size_t i = 0; i < x.size(); ++i)
      if (known_different(x[i], y[i])) return false;
    return true;
  };
  if (auto* x = std::get_if<TileTy>(&a.kind)) {
    const auto& y = std::get<TileTy>(b.kind);
    return x->elem == y.elem && same_dims(x->dims, y.dims);
  }
  if (auto* x = std::get_if<ViewTy>(&a.kind)) {
    const auto& y = std::get<ViewTy>(b.kind);
    return x->elem == y.elem && same_dims(x->dims, y.dims);
  }
  if (auto* x = std::get_if<RangeTy>(&a.kind)) return same_axis(x->axis, std::get<RangeTy>(b.kind).axis);
  if (auto* x = std::get_if<StructTy>(&a.kind)) {
    const auto& y = std::get<StructTy>(b.kind);
    if (x->decl != y.decl || x->generic != y.generic) return false;
    if (!x->generics || !y.generics) return true;
    for (const auto& [n, g] : *x->generics) {
      auto* p = std::get<std::shared_ptr<Val>>(g.value)->as<IntConst>();
      auto* q = std::get<std::shared_ptr<Val>>(y.generics->at(n).value)->as<IntConst>();
      if (p && q && known_different(p->value, q->value)) return false;
    }
    return true;
  }
  return true;  // fn types are compared by use
}

/// A value of the declared type about which nothing else is known: the parameters of a body that is being checked.
Val Elaborator::opaque_value(const Ty& t, const std::string& hint, Span bound) {
  return std::visit(
      [&](const auto& x) -> Val {
        using T = std::decay_t<decltype(x)>;
        if constexpr (std::is_same_v<T, TileTy>) {
          TileVal v = make(x.elem, x.dims, nullptr);
          if (x.dims.empty() && is_integer(x.elem)) v.sym = fresh_symbol(hint, nullptr);
          return {v};
        } else if constexpr (std::is_same_v<T, ViewTy>) {
          ViewVal v;
          v.elem = x.elem;
          v.dims = x.dims;
          v.root = hint;
          v.bound = bound;
          return {v};
        } else if constexpr (std::is_same_v<T, RangeTy>) {
          RangeVal r;
          r.axis = x.axis;
          r.size = Sym::symbol(fmt::format("?{}", fresh_id()));
          r.id = fresh_id();
          r.bound = bound;
          return {r};
        } else if constexpr (std::is_same_v<T, StructTy>) {
          StructVal v{x, {}};
          Deeper deeper(*this, bound);
          if (x.decl) {
            auto fields = struct_fields(x);
            for (std::size_t i = 0; i < fields.size(); ++i)
              v.fields.push_back(opaque_value(fields[i], hint + "." + x.decl->ast->fields[i].name.name, bound));
          }
          return {v};
        } else {
          FnVal f;
          f.opaque = x;
          f.name = hint;
          return {f};
        }
      },
      t.kind);
}

}  // namespace tessera
