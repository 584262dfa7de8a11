// Checking: every item once, with its compile-time parameters opaque.
#include <fmt/format.h>

#include "frontend/elaborate.h"

namespace tessera {

namespace {

/// A fresh elaborator for each item, so that facts and symbols of one do not leak into another.
template <class F>
void isolated(const Program& program, Diagnostics& diagnostics, const F& f) {
  Elaborator e(program, diagnostics);
  try {
    f(e);
  } catch (const Failed&) {
  } catch (const std::length_error&) {
    e.report_too_large();
  }
}

}  // namespace

void Elaborator::check_module(LoadedModule& m) {
  for (const ast::Item& item : m.ast.items) {
    std::visit(
        [&](const auto& x) {
          using T = std::decay_t<decltype(x)>;
          if constexpr (std::is_same_v<T, ast::Const>) {
            isolated(program_, diagnostics_, [&](Elaborator& e) { (void)e.item_value(m, x.name.name, x.name.span); });
          } else if constexpr (std::is_same_v<T, ast::NewType>) {
            isolated(program_, diagnostics_, [&](Elaborator& e) { (void)e.item_value(m, x.name.name, x.name.span); });
          } else if constexpr (std::is_same_v<T, ast::Struct>) {
            auto it = m.structs.find(x.name.name);
            if (it != m.structs.end() && it->second->ast == &x)
              isolated(program_, diagnostics_, [&](Elaborator& e) { e.check_struct(m, *it->second); });
          } else if constexpr (std::is_same_v<T, ast::Fn>) {
            const std::size_t before = diagnostics_.count();
            isolated(program_, diagnostics_, [&](Elaborator& e) { e.check_fn(m, x); });
            if (diagnostics_.count() != before) m.failed.insert(x.name.name);
          } else if constexpr (std::is_same_v<T, ast::Kernel> || std::is_same_v<T, ast::KernelInstance>) {
            auto it = m.kernels.find(x.name.name);
            const std::size_t before = diagnostics_.count();
            if (it != m.kernels.end()) isolated(program_, diagnostics_, [&](Elaborator& e) { e.check_kernel(*it->second); });
            if (diagnostics_.count() != before) m.failed.insert(x.name.name);
          } else if constexpr (std::is_same_v<T, ast::Tune>) {
            isolated(program_, diagnostics_, [&](Elaborator& e) { e.check_tune(m, x); });
          } else if constexpr (std::is_same_v<T, ast::Schedule>) {
            isolated(program_, diagnostics_, [&](Elaborator& e) { e.check_schedule(m, x); });
          }
        },
        item.node);
  }
}

void Elaborator::check_struct(LoadedModule& m, const StructDecl& s) {
  (void)m;
  StructTy t{&s, "", nullptr};
  auto once = [&](const ast::Ident& name, std::map<std::string, Span>& seen) {
    auto [it, fresh] = seen.emplace(name.name, name.span);
    if (!fresh) report(Code::E0402, name.span, fmt::format("`{}` is defined twice", name.name), "", {{it->second, "first defined here"}});
  };
  std::map<std::string, Span> parameters, fields;
  for (const auto& g : s.ast->generics) once(g.name, parameters);
  for (const auto& f : s.ast->fields) once(f.name, fields);
  ScopePtr scope = struct_scope(t);
  for (const auto& f : s.ast->fields) {
    try {
      Ty type = resolve_type(f.type, scope);
      if (f.fallback) (void)coerce(eval(*f.fallback, scope), type, f.fallback->span, fmt::format("`{}`", f.name.name));
    } catch (const Failed&) {}
  }
}

void Elaborator::check_fn(LoadedModule& m, const ast::Fn& fn) {
  auto before = failures_;
  auto s = new_scope();
  s->parent = m.scope;
  s->function = true;
  for (const auto& g : fn.generics) {
    define_generic(*s, g, opaque_generic(g, s));
    if (g.fallback && g.kind != ast::GenericKind::Fn) {
      Scope scratch;
      bind_generic(g, eval(*g.fallback, s), scratch, g.fallback->span);
    }
  }
  for (const auto& p : fn.params) {
    try {
      Ty type = resolve_type(p.type, s);
      Val v = opaque_value(type, p.name.name, p.name.span);
      if (auto* view = v.as<ViewVal>()) {
        view->optional = p.optional;
        switch (p.mode) {
          case ast::ParamMode::In: view->mode = ir::Mode::In; break;
          case ast::ParamMode::Out: view->mode = ir::Mode::Out; break;
          case ast::ParamMode::InOut: view->mode = ir::Mode::InOut; break;
          case ast::ParamMode::Scatter: view->mode = ir::Mode::Scatter; break;
          case ast::ParamMode::Add: view->mode = ir::Mode::Add; break;
        }
        if (p.peers) view->peers = resolve_dim(*p.peers, s, true);
      }
      if (p.fallback) (void)coerce(eval(*p.fallback, s), type, p.fallback->span, fmt::format("`{}`", p.name.name));
      define(*s, p.name, v, false);
    } catch (const Failed&) {
      s->names[p.name.name] = Binding{Val{Nothing{true}}, false, p.name.span, p.name.name, false};
    }
  }
  run_body(fn.body, s);
  if (failures_ != before) return;
  if (!returned_ && !fn.results.empty())
    fail(Code::E0313, fn.name.span,
         fmt::format("`{}` returns nothing, but declares {} result{}", fn.name.name, fn.results.size(), fn.results.size() == 1 ? "" : "s"),
         "end it with `return ..;`");
  if (returned_) (void)return_value(fn.results, s, *returned_, return_span_, fmt::format("`{}`", fn.name.name));
}

void Elaborator::check_kernel(const KernelDecl& k) {
  ScopePtr s = constants_scope(k, {}, true);
  if (!k.instances.empty()) return;  // the body was checked with its own declaration
  auto before = failures_;
  Interface face = declare(k, s, {});
  in_kernel_ = true;
  deterministic_ = k.ast->deterministic;
  body_ = nullptr;
  run_body(k.ast->body, s);
  if (failures_ != before) return;
  for (const ir::Param& p : face.params)
    if (p.mode == ir::Mode::Out && p.is_view && !stored_.count(p.name))
      report(Code::E0501, p.span, fmt::format("`{}` is never stored", p.name), "store it, or remove the parameter");
  if (!k.ast->deterministic) return;
  for (const ast::Param& p : k.ast->params) {
    auto* n = std::get_if<ast::NamedType>(&p.type.node);
    if (p.mode != ast::ParamMode::Add || !n) continue;
    auto* v = s->names[p.name.name].value.as<ViewVal>();
    if (v && is_float(v->elem))
      report(Code::E0517, p.name.span, fmt::format("`{}` adds floats in any order", p.name.name),
             "drop `deterministic`, or accumulate into integers");
  }
}

}  // namespace tessera
