// Names: scopes, items of modules, built-in types.
#include <fmt/format.h>

#include <utility>

#include "frontend/builtins.h"
#include "frontend/elaborate.h"

namespace tessera {

void Elaborator::report(Code code, Span span, std::string message, std::string help, std::vector<Label> labels) {
  ++failures_;
  Diagnostic d{code, span, std::move(message), std::move(labels), {}, std::move(help)};
  for (auto it = trail_.rbegin(); it != trail_.rend(); ++it) d.trail.push_back(*it);
  diagnostics_.add(std::move(d));
}

void Elaborator::fail(Code code, Span span, std::string message, std::string help, std::vector<Label> labels) {
  report(code, span, std::move(message), std::move(help), std::move(labels));
  throw Failed{};
}

void Elaborator::fail_again() {
  ++failures_;
  throw Failed{};
}

Elaborator::Deeper::Deeper(Elaborator& e, Span span) : e_(e) {
  if (e.stopped_) throw Failed{};
  bool deep = e.depth_ >= max_nesting;
  if (deep || e.steps_ >= max_steps) {
    e.stopped_ = true;
    if (deep) e.fail(Code::E0603, span, fmt::format("expressions are nested more than {} deep, through calls and constants", max_nesting));
    e.fail(Code::E0601, span, fmt::format("more than {} expressions after inlining and unrolling", max_steps),
           "use a run-time loop instead of `for const`");
  }
  ++e.depth_;
  ++e.steps_;
}

void Elaborator::require_shallow_calls(Span span) {
  if (static_cast<int>(trail_.size()) >= max_calls) fail(Code::E0603, span, fmt::format("calls are nested more than {} deep", max_calls));
}

Sym Elaborator::fresh_symbol(const std::string& base, ir::Value* value) {
  std::string name = fmt::format("{}#{}", base, fresh_id());
  symbols_[name] = value;
  return Sym::symbol(name);
}

Elaborator::~Elaborator() {
  for (const auto& s : scopes_)
    if (auto alive = s.lock()) std::exchange(alive->names, {}).clear();
}

Elaborator::ScopePtr Elaborator::new_scope() {
  auto s = std::make_shared<Scope>();
  scopes_.push_back(s);
  return s;
}

Elaborator::ScopePtr Elaborator::child(const ScopePtr& s) {
  auto c = new_scope();
  c->parent = s;
  return c;
}

Binding* Elaborator::find(Scope& s, const std::string& name, bool* crossed) {
  for (Scope* at = &s; at; at = at->parent.get()) {
    auto it = at->names.find(name);
    if (it != at->names.end()) return &it->second;
    if (at->function && crossed) *crossed = true;
  }
  return nullptr;
}

void Elaborator::define(Scope& s, const ast::Ident& name, Val v, bool is_var) {
  auto it = s.names.find(name.name);
  if (it != s.names.end() && !it->second.kernel_symbol) {
    report(Code::E0402, name.span, fmt::format("`{}` is defined twice in this scope", name.name), "", {{it->second.span, "first defined here"}});
    return;
  }
  s.names[name.name] = Binding{std::move(v), is_var, name.span, name.name, false};
}

void Elaborator::define_generic(Scope& s, const ast::Generic& g, Val v) {
  auto [it, fresh] = s.names.try_emplace(g.name.name, Binding{std::move(v), false, g.name.span, g.name.name, false});
  if (!fresh) fail(Code::E0402, g.name.span, fmt::format("`{}` is defined twice", g.name.name), "", {{it->second.span, "first defined here"}});
}

std::vector<std::string> Elaborator::visible_names(Scope& s) {
  std::vector<std::string> out;
  for (Scope* at = &s; at; at = at->parent.get()) {
    for (const auto& [n, b] : at->names) out.push_back(n);
    if (at->module)
      for (const auto& [n, span] : at->module->defined) out.push_back(n);
  }
  for (const std::string& n : builtin_names()) out.push_back(n);
  for (DType t : all_dtypes()) out.push_back(name(t));
  return out;
}

Val Elaborator::lookup(const ast::Ident& id, const ScopePtr& s) {
  if (Binding* b = find(*s, id.name)) return b->value;
  for (Scope* at = s.get(); at; at = at->parent.get())
    if (at->module && at->module->defined.count(id.name)) return item_value(*at->module, id.name, id.span);
  if (auto t = dtype_from_name(id.name)) return {TypeVal{Ty{TileTy{elem(*t), {}}}}};
  if (is_builtin(id.name)) return {FnVal{nullptr, nullptr, nullptr, std::nullopt, std::nullopt, nullptr, id.name}};
  for (Scope* at = s.get(); at; at = at->parent.get()) {
    if (!at->free_symbols || naming_ == Naming::TileDim || naming_ == Naming::Type) continue;
    // A dim of a kernel's view that is nothing else is a launch symbol, bound by the first view that has it.
    std::string symbol = at->symbol_prefix + id.name;
    if (launch_symbols_.insert(symbol).second) {
      symbol_order_.push_back(symbol);
      symbol_bound_[symbol] = id.span;
      symbols_[symbol] = builder_ ? builder_->sym(symbol) : nullptr;
    }
    TileVal v = make(elem(DType::Idx), {}, symbols_[symbol]);
    v.sym = Sym::symbol(symbol);
    at->names[id.name] = Binding{Val{v}, false, symbol_bound_[symbol], id.name, true};
    return {v};
  }
  for (Scope* at = s.get(); at; at = at->parent.get()) {
    if (at->module && !at->module->whole) fail_again();
  }
  if (symbols_lost_ || !unknown_.insert(id.name).second) fail_again();
  // Beyond the limit of kept errors a guess would be work for nothing.
  std::string guess = diagnostics_.list().size() < Diagnostics::limit ? did_you_mean(id.name, visible_names(*s)) : "";
  if (naming_ == Naming::TileDim || naming_ == Naming::ViewDim)
    fail(Code::E0406, id.span, fmt::format("the dimension `{}` is not declared", id.name),
         guess.empty() ? fmt::format("declare it in `[..]` after the name, e.g. `{}: dim` or `{}: int`", id.name, id.name)
                       : fmt::format("did you mean `{}`?", guess));
  fail(Code::E0401, id.span, fmt::format("unknown name `{}`", id.name), guess.empty() ? "" : fmt::format("did you mean `{}`?", guess));
}

Val Elaborator::item_value(LoadedModule& m, const std::string& name, Span use) {
  if (auto it = m.imports.find(name); it != m.imports.end()) return {ModuleVal{it->second}};
  if (auto it = m.fns.find(name); it != m.fns.end()) return {FnVal{it->second, nullptr, m.scope, std::nullopt, std::nullopt, &m, name}};
  if (auto it = m.structs.find(name); it != m.structs.end()) return {TypeVal{Ty{StructTy{it->second.get(), "", nullptr}}}};
  if (auto it = m.newtypes.find(name); it != m.newtypes.end()) {
    Ty base = resolve_type(it->second->ast->type, m.scope);
    auto* t = std::get_if<TileTy>(&base.kind);
    if (!t || !t->dims.empty()) fail(Code::E0302, it->second->ast->type.span, "a nominal type stands for one element type");
    t->elem.nominal = it->second.get();
    return {TypeVal{base}};
  }
  if (auto it = m.constants.find(name); it != m.constants.end()) {
    const ast::Const& c = *it->second;
    if (auto known = constants_.find(&c); known != constants_.end()) return known->second;
    Val v = eval_constant(*c.value, m.scope);
    if (c.type) v = coerce(v, resolve_type(*c.type, m.scope), c.value->span, fmt::format("`{}`", name));
    if (v.poison()) throw Failed{};
    if (v.as<Nothing>()) fail(Code::E0316, c.value->span, "the call returns nothing");
    if (v.as<IntConst>() || v.as<FloatConst>() || v.as<BoolConst>() || v.as<TypeVal>()) constants_[&c] = v;
    return v;
  }
  if (m.kernels.count(name)) fail(Code::E0303, use, fmt::format("the kernel `{}` is launched from the host, not called", name));
  fail(Code::E0401, use, fmt::format("unknown name `{}`", name));
}

}  // namespace tessera
