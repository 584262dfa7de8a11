// Kernels: their interface (parameters, where, grid), checking and lowering.
#include <fmt/format.h>

#include <stdexcept>

#include "frontend/elaborate.h"

namespace tessera {

using ir::OpKind;

namespace {

ir::Mode mode_of(ast::ParamMode m) {
  switch (m) {
    case ast::ParamMode::In: return ir::Mode::In;
    case ast::ParamMode::Out: return ir::Mode::Out;
    case ast::ParamMode::InOut: return ir::Mode::InOut;
    case ast::ParamMode::Scatter: return ir::Mode::Scatter;
    case ast::ParamMode::Add: return ir::Mode::Add;
  }
  TESSERA_UNREACHABLE("parameter mode");
}

ast::BinaryOp comparison_op(const ast::Condition& c) {
  auto* chain = std::get_if<ast::Chain>(&c.value->node);
  return chain && chain->rest.size() == 1 ? chain->rest[0].op : ast::BinaryOp::Add;
}

std::optional<Compare> compare_of(ast::BinaryOp op) {
  switch (op) {
    case ast::BinaryOp::Eq: return Compare::Eq;
    case ast::BinaryOp::Ne: return Compare::Ne;
    case ast::BinaryOp::Lt: return Compare::Lt;
    case ast::BinaryOp::Le: return Compare::Le;
    case ast::BinaryOp::Gt: return Compare::Gt;
    case ast::BinaryOp::Ge: return Compare::Ge;
    default: return std::nullopt;
  }
}

std::optional<Sym> sym_of(const Val& v) {
  if (auto* c = v.as<IntConst>()) return c->value;
  if (auto* t = v.as<TileVal>(); t && t->dims.empty()) return t->sym;
  return std::nullopt;
}

}  // namespace

void Elaborator::note_fact(const SymCondition& c) {
  if (c.op != Compare::Eq || c.rhs.size() != 1) return;
  facts_.add_equal(c.lhs, c.rhs[0]);
  if (!(c.rhs[0] == Sym(0)) || c.lhs.terms().size() != 1) return;
  const auto& [monomial, coefficient] = *c.lhs.terms().begin();
  if (monomial.size() == 1 && coefficient == 1 && monomial[0]->op == SymOp::Mod) facts_.add_divisible(monomial[0]->args[0], monomial[0]->args[1]);
}

std::vector<SymCondition> Elaborator::condition(const ast::Condition& c, const ScopePtr& s, std::optional<bool>& outcome) {
  std::vector<SymCondition> out;
  auto decide = [&](const SymCondition& k) {
    auto l = facts_.normalise(k.lhs).as_constant();
    bool all_constant = l.has_value(), any = false;
    for (const Sym& r : k.rhs) {
      auto v = facts_.normalise(r).as_constant();
      all_constant &= v.has_value();
      if (l && v) any |= holds(k.op, *l, *v);
    }
    if (all_constant)
      outcome = outcome.value_or(true) && any;
    else
      out.push_back(k), note_fact(k);
  };
  if (!c.set.empty() || c.range) {
    Val v = eval(*c.value, s);
    if (auto* t = v.as<TypeVal>()) {
      bool any = false, known = true;
      for (const auto& e : c.set) {
        Val m = binary(ast::BinaryOp::Eq, v, eval(*e, s), e->span, c.value->span, e->span);
        auto* b = m.as<BoolConst>();
        known &= b && b->value;
        any |= b && b->value.value_or(false);
      }
      (void)t;
      if (known) outcome = any;
      return out;
    }
    auto l = sym_of(v);
    if (!l) fail(Code::E0315, c.value->span, fmt::format("a `where` clause is about constants and extents, not {}", describe(v)));
    if (c.range) {
      auto& r = std::get<ast::RangeExpr>(c.range->node);
      auto lo = sym_of(eval(*r.lo, s)), hi = sym_of(eval(*r.hi, s));
      if (!lo || !hi) fail(Code::E0315, c.range->span, "the ends of the range are constants or extents");
      decide({Compare::Ge, *l, {*lo}});
      decide({Compare::Lt, *l, {*hi}});
      return out;
    }
    SymCondition k{Compare::Eq, *l, {}};
    for (const auto& e : c.set) {
      auto m = sym_of(eval(*e, s));
      if (!m) fail(Code::E0315, e->span, "a member of the set is a constant or an extent");
      k.rhs.push_back(*m);
    }
    decide(k);
    return out;
  }
  if (auto op = compare_of(comparison_op(c))) {
    auto& chain = std::get<ast::Chain>(c.value->node);
    Val l = eval(*chain.first, s), r = eval(*chain.rest[0].rhs, s);
    if (auto a = sym_of(l), b = sym_of(r); a && b) {
      decide({*op, *a, {*b}});
      return out;
    }
    Val v = binary(chain.rest[0].op, l, r, c.span, chain.first->span, chain.rest[0].rhs->span);
    if (auto* b = v.as<BoolConst>())
      outcome = b->value;
    else
      fail(Code::E0315, c.value->span, "a `where` clause is about constants and extents");
    return out;
  }
  Val v = eval(*c.value, s);
  auto* b = v.as<BoolConst>();
  if (!b) fail(Code::E0315, c.value->span, fmt::format("a `where` clause is a comparison, not {}", describe(v)));
  outcome = b->value;
  return out;
}

Val Elaborator::declare_param(const std::string& name, const Ty& type, const ast::Param& p, Span span, const std::vector<std::string>& absent,
                              Interface& out) {
  ir::Param param;
  param.name = name;
  param.span = span;
  auto nominal = [](const Elem& e) { return e.nominal ? e.nominal->name : std::string(); };
  if (auto* v = std::get_if<ViewTy>(&type.kind)) {
    param.is_view = true;
    param.dtype = v->elem.dtype;
    param.nominal = nominal(v->elem);
    param.mode = mode_of(p.mode);
    param.optional = p.optional;
    for (const std::string& a : absent) param.present &= a != name;
    param.strided = v->strided;
    param.dims = v->dims;
    ViewVal out_value;
    out_value.elem = v->elem;
    out_value.dims = v->dims;
    out_value.mode = param.mode;
    out_value.optional = p.optional;
    out_value.absent = !param.present;
    out_value.root = name;
    out_value.bound = span;
    if (p.peers) {
      out_value.peers = resolve_dim(*p.peers, const_cast<const ScopePtr&>(declaring_), true);
      if (lowering()) param.peers = out_value.peers->as_constant().value_or(0);
    }
    if (kernel_ && param.present)
      out_value.v = kernel_->body.add_arg(ir::ViewType{v->elem.dtype, static_cast<int>(v->dims.size()), param.mode}, name);
    if (lowering() && !p.optional) out_value.optional = false;
    out.params.push_back(std::move(param));
    if (lowering() && out_value.optional && !out_value.absent) present_.insert(name);
    return {out_value};
  }
  if (name == p.name.name && (p.optional || p.peers || (p.mode != ast::ParamMode::In && !std::get_if<StructTy>(&type.kind))))
    fail(Code::E0302, p.type.span, fmt::format("{} is not a view: only views are written, optional or of peers", describe(type)));
  if (auto* t = std::get_if<TileTy>(&type.kind)) {
    if (!t->dims.empty()) fail(Code::E0302, p.type.span, "a kernel takes views and scalars; a tile lives inside it", "declare it `view`");
    if (storage_only(t->elem) && !t->elem.opaque())
      fail(Code::E0308, p.type.span, fmt::format("{} is a storage type and cannot be a scalar parameter", describe(t->elem)));
    param.dtype = t->elem.dtype;
    param.nominal = nominal(t->elem);
    TileVal v = make(t->elem, {}, kernel_ ? kernel_->body.add_arg(ir::scalar(t->elem.dtype), name) : nullptr);
    if (is_integer(t->elem)) v.sym = fresh_symbol(name, kernel_ && !is_idx(t->elem) ? nullptr : v.v);
    if (kernel_ && v.sym && !is_idx(t->elem)) symbols_[v.sym->symbols()[0]] = builder_->cast(v.v, DType::Idx);
    out.params.push_back(std::move(param));
    return {v};
  }
  if (auto* st = std::get_if<StructTy>(&type.kind)) {
    if (!st->decl) return opaque_value(type, name, span);
    Deeper deeper(*this, span);
    auto fields = new_scope();
    *fields = *struct_scope(*st);
    fields->symbol_prefix.clear();
    StructVal v{*st, {}};
    for (const auto& f : st->decl->ast->fields) {
      // Symbols of a struct's views are the kernel's: `struct Plan { req: view i32[W] }` lets the grid run over W.
      for (const auto& [n, b] : declaring_->names)
        if (b.kernel_symbol && !fields->names.count(n)) fields->names[n] = b;
      Ty field = resolve_type(f.type, fields);
      for (const auto& [n, b] : fields->names)
        if (b.kernel_symbol && !declaring_->names.count(n)) declaring_->names[n] = b;
      if (std::get_if<FnTy>(&field.kind))
        fail(Code::E0314, p.type.span, fmt::format("`{}` holds functions and cannot be a run-time parameter", st->decl->name));
      v.fields.push_back(declare_param(name + "." + f.name.name, field, p, f.name.span, absent, out));
    }
    return {v};
  }
  fail(Code::E0302, p.type.span, "a kernel takes views, scalars and structs of them");
}

void Elaborator::bind_grid(const ast::Kernel& k, const ScopePtr& s, Interface& out) {
  for (const ast::Over& o : k.over) {
    Val domain = eval(*o.domain, s);
    auto* tiles = domain.as<TilesVal>();
    RangeVal r = tiles ? tiles->of : as_range(domain, o.domain->span);
    auto launch_known = [&](const std::optional<Sym>& sym) {
      if (!sym) return false;
      for (const std::string& n : sym->symbols())
        if (n.find('#') != std::string::npos) return false;
      return true;
    };
    if (!launch_known(r.lo_sym) || !launch_known(r.hi_sym))
      fail(Code::E0516, o.domain->span, fmt::format("the extent of `{}` is not known at launch", o.name.name),
           "the grid is made of view extents and constants");
    Sym extent = *r.hi_sym - *r.lo_sym;
    Sym count = facts_.normalise(tiles ? ceil_div(extent, tiles->size) : extent);
    out.grid.push_back({o.name.name, count});
    ir::Value* i = kernel_ ? kernel_->body.add_arg(ir::scalar(DType::Idx), o.name.name) : nullptr;
    Sym at = fresh_symbol(o.name.name, i);
    bounds_[at.symbols()[0]] = {0, count};
    Val v;
    if (tiles) {
      ir::Value* start = builder_ ? idx_binary(OpKind::Add, r.lo, idx_binary(OpKind::Mul, i, emit_sym(tiles->size))) : nullptr;
      RangeVal t = tile_range(r, tiles->size, start, *r.lo_sym + at * tiles->size, i);
      t.bound = o.name.span;
      v = {t};
    } else {
      TileVal t = make(elem(DType::Idx), {}, builder_ ? idx_binary(OpKind::Add, r.lo, i) : nullptr);
      t.sym = *r.lo_sym + at;
      v = {t};
    }
    define(*s, o.name, v, false);
  }
}

/// "the nearest `D` that fits is 40": for the first given integer that the violated clause mentions and that alone can be changed to satisfy all
/// clauses.
std::string Elaborator::nearest_allowed(const KernelDecl& k, const ast::Condition& violated) const {
  constexpr std::int64_t reach = 256;
  if (!given_) return "";
  for (const auto& [n, value] : *given_) {
    const auto* asked = std::get_if<std::int64_t>(&value);
    if (!asked || *asked < -reach || *asked > (std::int64_t{1} << 40) || !mentions(*violated.value, n)) continue;
    for (std::int64_t d = 1; d <= reach; ++d) {
      for (const std::int64_t v : {*asked + d, *asked - d}) {
        if (v <= 0) continue;
        Constants other = *given_;
        other[n] = v;
        Diagnostics scratch;
        Elaborator e(program_, scratch);
        try {
          if (e.where_allows(k, e.constants_scope(k, other, true))) return fmt::format("the nearest `{}` that fits is {}", n, v);
        } catch (const Failed&) {
          break;  // another constant is at fault
        }
      }
    }
  }
  return "";
}

Elaborator::Interface Elaborator::declare(const KernelDecl& k, const ScopePtr& s, const std::vector<std::string>& absent, bool judge_presence) {
  Interface out;
  s->free_symbols = true;
  declaring_ = s;
  for (const ast::Param& p : k.ast->params) {
    try {
      Ty type = resolve_type(p.type, s);
      Val v = declare_param(p.name.name, type, p, p.name.span, absent, out);
      define(*s, p.name, v, false);
    } catch (const Failed&) {
      symbols_lost_ = true;
      if (lowering()) throw;
      s->names[p.name.name] = Binding{Val{Nothing{true}}, false, p.name.span, p.name.name, false};
    }
  }
  s->free_symbols = false;
  for (const ast::Condition& c : k.ast->where) {
    std::optional<bool> outcome;
    try {
      auto more = condition(c, s, outcome);
      out.where.insert(out.where.end(), more.begin(), more.end());
    } catch (const Failed&) {
      if (lowering()) throw;
    }
    const bool judged = judge_presence || !mentions(*c.value, "has");
    if (outcome && !*outcome && lowering() && judged) {
      std::string values;
      for (const auto& [n, text] : kernel_->constants) values += (values.empty() ? "" : ", ") + n + " = " + text;
      std::string help = values.empty() ? "" : "it was asked for " + values;
      if (const std::string near = nearest_allowed(k, c); !near.empty()) help = near + "; " + help;
      fail(Code::E0509, c.span, fmt::format("`{}` needs `{}`", k.name, program_.sources->text(c.span)), help);
    }
  }
  bind_grid(*k.ast, s, out);
  return out;
}

Elaborator::ScopePtr Elaborator::constants_scope(const KernelDecl& k, const Constants& constants, bool partial) {
  auto s = new_scope();
  s->parent = k.body_module->scope;
  s->function = true;
  std::map<std::string, const ast::Generic*> generics;
  for (const auto& g : k.ast->generics) {
    auto [it, fresh] = generics.emplace(g.name.name, &g);
    if (!fresh)
      fail(Code::E0402, g.name.span, fmt::format("`{}` is defined twice", g.name.name), "", {{it->second->name.span, "first defined here"}});
  }
  for (const auto& [instance, module] : k.instances) {
    for (const auto& a : instance->args) {
      auto it = a.name ? generics.find(a.name->name) : generics.end();
      if (it == generics.end())
        fail(Code::E0511, a.name ? a.name->span : a.value->span,
             fmt::format("`{}` has no compile-time parameter `{}`", k.ast->name.name, a.name ? a.name->name : "?"), "",
             {{k.ast->name.span, "declared here"}});
      if (!s->names.count(it->first)) pending_generics_.push_back({it->second, {eval(*a.value, module->scope), a.value->span}});
    }
  }
  for (const auto& [n, c] : constants) {
    auto it = generics.find(n);
    if (it == generics.end()) {
      bool schedule_only = false;
      if (k.tune)
        for (const auto& choice : k.tune->choices) schedule_only |= choice.name.name == n;
      if (schedule_only) continue;
      std::vector<std::string> names;
      for (const auto& [g, ptr] : generics) names.push_back(g);
      std::string guess = did_you_mean(n, names);
      fail(Code::E0511, k.span, fmt::format("`{}` has no compile-time parameter `{}`", k.name, n),
           guess.empty() ? "" : fmt::format("did you mean `{}`?", guess));
    }
    Val v;
    if (auto* i = std::get_if<std::int64_t>(&c))
      v = {IntConst{Sym(*i)}};
    else if (auto* b = std::get_if<bool>(&c))
      v = {BoolConst{*b}};
    else if (auto* t = std::get_if<DType>(&c))
      v = {TypeVal{Ty{TileTy{elem(*t), {}}}}};
    else {
      ast::Path path;
      path.span = k.span;
      std::string text = std::get<std::string>(c), part;
      for (char ch : text + ".") {
        if (ch == '.')
          path.parts.push_back({part, k.span}), part.clear();
        else
          part += ch;
      }
      v = lookup(path.parts[0], program_.root().scope);
      for (std::size_t i = 1; i < path.parts.size(); ++i) v = member(std::move(v), path.parts[i], k.span);
    }
    pending_generics_.push_back({it->second, {v, k.span}});
  }
  // Values before functions: the type of a fn parameter may mention the others.
  auto pending = std::exchange(pending_generics_, {});
  for (bool functions : {false, true}) {
    for (auto& [g, value] : pending)
      if ((g->kind == ast::GenericKind::Fn) == functions) bind_generic(*g, value.first, *s, value.second);
    for (const auto& g : k.ast->generics) {
      if (s->names.count(g.name.name) || (g.kind == ast::GenericKind::Fn) != functions) continue;
      if (g.fallback) {
        bind_generic(g, eval(*g.fallback, s), *s, g.fallback->span);
      } else if (partial) {
        s->names[g.name.name] = Binding{opaque_generic(g, s), false, g.name.span, g.name.name, false};
      } else {
        fail(Code::E0510, g.name.span, fmt::format("`{}` needs a value for `{}`", k.name, g.name.name),
             fmt::format("give it as a constant: `{} = ..`", g.name.name));
      }
    }
  }
  return s;
}

std::unique_ptr<ir::Kernel> Elaborator::lower_kernel(const KernelDecl& k, const Constants& constants, const std::vector<std::string>& absent,
                                                     bool judge_presence) {
  auto kernel = std::make_unique<ir::Kernel>();
  given_ = &constants;
  try {
    ScopePtr s = constants_scope(k, constants, false);
    kernel->name = k.name;
    kernel->span = k.span;
    kernel->strict = k.ast->strict;
    kernel->deterministic = k.ast->deterministic;
    kernel->resident = k.ast->resident;
    for (const auto& g : k.ast->generics) kernel->constants.push_back({g.name.name, constant_text(s->names[g.name.name].value)});
    kernel_ = kernel.get();
    builder_ = std::make_unique<ir::Builder>(kernel->body);
    at(k.span);
    deterministic_ = k.ast->deterministic;
    Interface face = declare(k, s, absent, judge_presence);
    kernel->params = std::move(face.params);
    kernel->where = std::move(face.where);
    kernel->grid = std::move(face.grid);
    in_kernel_ = true;
    body_ = nullptr;
    run_body(k.ast->body, s);
    builder_->set_block(kernel->body);
    builder_->yield({});
    kernel->symbols = symbol_order_;
    ir::remove_dead(kernel->body);
  } catch (const Failed&) {
    return nullptr;
  } catch (const std::length_error&) {
    report_too_large();
    return nullptr;
  }
  builder_.reset();
  kernel_ = nullptr;
  return kernel;
}

/// A constant as it appears in reports and cache keys.
std::string Elaborator::constant_text(const Val& v) {
  if (auto* c = v.as<IntConst>()) return c->value.str();
  if (auto* c = v.as<BoolConst>()) return c->value.value_or(false) ? "true" : "false";
  if (auto* t = v.as<TypeVal>()) return spelled(t->type);
  if (auto* f = v.as<FnVal>()) return (f->module && !f->module->path.empty() ? f->module->path + "." : "") + f->name;
  return describe(v);
}

}  // namespace tessera
