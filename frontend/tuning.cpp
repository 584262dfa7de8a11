// `tune` and `schedule` blocks: names, candidates, directives.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <functional>
#include <iterator>
#include <sstream>

#include "frontend/elaborate.h"
#include "frontend/recursion.h"

namespace tessera {

namespace {

/// All names a schedule may use: variables and views of the body, `label.name` for those of labelled calls.
class NameCollector {
 public:
  explicit NameCollector(std::set<std::string>& out) : out_(out) {}

  void block(const ast::Block& b, LoadedModule& m, const std::string& prefix, int depth) {
    for (const auto& st : b.stmts) {
      std::visit(
          [&](const auto& x) {
            using T = std::decay_t<decltype(x)>;
            if constexpr (std::is_same_v<T, ast::Let>) {
              for (const auto& n : x.names) out_.insert(prefix + n.name);
              calls(*x.value, m, prefix + (x.label ? x.label->name + "." : ""), depth);
            } else if constexpr (std::is_same_v<T, ast::Assign>) {
              calls(*x.value, m, prefix, depth);
            } else if constexpr (std::is_same_v<T, ast::For> || std::is_same_v<T, ast::While>) {
              if constexpr (std::is_same_v<T, ast::For>) {
                out_.insert(prefix + x.var.name);
                block(*x.body, m, prefix + (x.label ? x.label->name + "." : ""), depth);
              } else {
                block(*x.body, m, prefix, depth);
              }
            } else if constexpr (std::is_same_v<T, ast::If>) {
              block(*x.then, m, prefix, depth);
              if (x.otherwise) block(*x.otherwise, m, prefix, depth);
            } else if constexpr (std::is_same_v<T, ast::Return>) {
              for (const auto& e : x.values) calls(*e, m, prefix, depth);
            } else if constexpr (std::is_same_v<T, ast::ExprStmt>) {
              calls(*x.value, m, prefix, depth);
            }
          },
          st.node);
    }
  }

  /// The functions that it met, each with the path that its variables have.
  const std::vector<std::pair<const ast::Fn*, std::string>>& called() const { return called_; }

 private:
  void calls(const ast::Expr& e, LoadedModule& m, const std::string& prefix, int depth) {
    if (depth > 8 || out_.size() > most_names) return;
    if (auto* c = std::get_if<ast::Chain>(&e.node)) {
      calls(*c->first, m, prefix, depth);
      for (const auto& l : c->rest) calls(*l.rhs, m, prefix, depth);
    } else if (auto* p = std::get_if<ast::Postfix>(&e.node)) {
      ast::Path path;
      if (auto* n = std::get_if<ast::Name>(&p->base->node)) path.parts.push_back({n->name, p->base->span});
      for (const auto& x : p->suffixes) {
        if (auto* mem = std::get_if<ast::Member>(&x.kind))
          path.parts.push_back(mem->name);
        else
          break;
      }
      if (!path.parts.empty()) {
        auto [owner, name] = resolve_path(m, path);
        if (owner)
          if (auto it = owner->fns.find(name); it != owner->fns.end() && seen_.insert({it->second, prefix}).second) {
            called_.emplace_back(it->second, prefix);
            block(it->second->body, *owner, prefix, depth + 1);
            // `flash.kt` names a variable of the call by the function, when the call has no label.
            block(it->second->body, *owner, prefix + name + ".", depth + 1);
            for (const auto& param : it->second->params) out_.insert(prefix + param.name.name), out_.insert(prefix + name + "." + param.name.name);
          }
      }
      for (const auto& x : p->suffixes)
        if (auto* c = std::get_if<ast::Call>(&x.kind))
          for (const auto& a : c->args) calls(*a.value, m, prefix, depth);
    }
  }

  static constexpr std::size_t most_names = 20000;  // paths through calls can be exponentially many

  std::set<std::string>& out_;
  std::set<std::pair<const ast::Fn*, std::string>> seen_;
  std::vector<std::pair<const ast::Fn*, std::string>> called_;
};

std::string dotted(const ast::Path& p) {
  std::string out;
  for (const auto& part : p.parts) out += (out.empty() ? "" : ".") + part.name;
  return out;
}

}  // namespace

std::vector<Constant> Elaborator::tune_values(const ast::TuneChoice& c, ScopePtr s) {
  std::vector<Constant> out;
  auto add = [&](const Val& v, Span span) {
    if (auto* i = v.as<IntConst>(); i && i->value.is_constant())
      out.push_back(i->value.constant());
    else if (auto* b = v.as<BoolConst>(); b && b->value)
      out.push_back(*b->value);
    else if (auto* t = v.as<TypeVal>(); t && std::get_if<TileTy>(&t->type.kind))
      out.push_back(std::get<TileTy>(t->type.kind).elem.dtype);
    else
      fail(Code::E0315, span, fmt::format("a candidate is an integer, bool or dtype constant, not {}", describe(v)));
  };
  if (c.range) {
    const auto& r = std::get<ast::RangeExpr>(c.range->node);
    auto lo = const_int(eval(*r.lo, s), r.lo->span, "a candidate").as_constant(),
         hi = const_int(eval(*r.hi, s), r.hi->span, "a candidate").as_constant();
    if (!lo || !hi || (*hi > *lo && static_cast<std::uint64_t>(*hi) - static_cast<std::uint64_t>(*lo) > 4096))
      fail(Code::E0315, c.range->span, "the ends of a range of candidates are constants, at most 4096 apart");
    for (std::int64_t i = *lo; i < *hi; ++i) out.push_back(i);
  }
  for (const auto& e : c.set) add(eval(*e, s), e->span);
  return out;
}

bool Elaborator::tune_allows(const ast::Tune& t, ScopePtr s) {
  for (const auto& c : t.where) {
    std::optional<bool> outcome;
    (void)condition(c, s, outcome);
    if (outcome && !*outcome) return false;
  }
  return true;
}

bool Elaborator::where_allows(const KernelDecl& k, ScopePtr s) {
  s->free_symbols = true;
  for (const auto& c : k.ast->where) {
    std::optional<bool> outcome;
    // Clauses about views (`has(dq)`) are decided when the arguments are known.
    std::size_t before = diagnostics_.count();
    try {
      (void)condition(c, s, outcome);
    } catch (const Failed&) {
      TESSERA_ASSERT(diagnostics_.count() > before, "a failure without a diagnostic");
      return true;
    }
    if (outcome && !*outcome) return false;
  }
  return true;
}

void Elaborator::check_tune(LoadedModule& m, const ast::Tune& t) {
  auto [owner, name] = resolve_path(m, t.target);
  auto it = owner ? owner->kernels.find(name) : m.kernels.end();
  if (!owner || it == owner->kernels.end() || owner->failed.count(name)) return;  // reported
  const KernelDecl& k = *it->second;
  std::set<std::string> in_schedules;
  for (const auto& [s, module] : k.schedules)
    for (const auto& d : s->directives)
      for (const auto& a : d.args)
        if (auto* n = a.value ? std::get_if<ast::Name>(&a.value->node) : nullptr) in_schedules.insert(n->name);
  std::vector<std::string> names;
  std::vector<ast::Ident> scheduled_only;
  for (const auto& g : k.ast->generics) names.push_back(g.name.name);
  std::map<std::string, Span> chosen;
  for (const auto& c : t.choices) {
    auto [first, fresh] = chosen.emplace(c.name.name, c.name.span);
    if (!fresh) report(Code::E0402, c.name.span, fmt::format("`{}` is chosen twice", c.name.name), "", {{first->second, "first chosen here"}});
    const ast::Generic* found = nullptr;
    for (const auto& g : k.ast->generics)
      if (g.name.name == c.name.name) found = &g;
    if (!found && !in_schedules.count(c.name.name)) {
      std::string guess = did_you_mean(c.name.name, names);
      report(Code::E0512, c.name.span, fmt::format("`{}` has no compile-time parameter `{}`", k.name, c.name.name),
             guess.empty() ? "" : fmt::format("did you mean `{}`?", guess), {{k.ast->name.span, "declared here"}});
      continue;
    }
    if (found && (found->kind == ast::GenericKind::Struct || found->kind == ast::GenericKind::Fn || found->kind == ast::GenericKind::Dim))
      report(Code::E0512, c.name.span, fmt::format("`{}` is not an int, bool or dtype", c.name.name), "", {{found->name.span, "declared here"}});
    else if (!found)
      scheduled_only.push_back(c.name);
    if (found) {
      for (const auto& p : k.ast->params) {
        auto* n = std::get_if<ast::NamedType>(&p.type.node);
        if (!n || !n->view) continue;
        for (const auto& d : n->dims)
          if (mentions(*d, c.name.name))
            report(Code::E0518, c.name.span, fmt::format("`{}` is tuned, but the shape of `{}` depends on it", c.name.name, p.name.name), "",
                   {{d->span, "used here"}});
      }
    }
    (void)tune_values(c, m.scope);
  }
  ScopePtr s = constants_scope(k, {}, true);
  (void)declare(k, s, {});
  for (const ast::Ident& n : scheduled_only) s->names[n.name] = Binding{Val{IntConst{Sym::symbol(n.name)}}, false, n.span, n.name, false};
  auto require_known = [&](const std::string& n, Span span) {
    if (n == "bucket" || find(*s, n) || dtype_from_name(n)) return;
    std::string guess = did_you_mean(n, visible_names(*s));
    report(Code::E0401, span, fmt::format("`{}` has no parameter or extent `{}`", k.name, n),
           guess.empty() ? "" : fmt::format("did you mean `{}`?", guess), {{k.ast->name.span, "declared here"}});
  };
  for (const auto& key : t.keys) for_each_name(*key, require_known);
  for (const auto& inv : t.invariant) require_known(inv.name, inv.span);
  for (const auto& c : t.where) {
    std::optional<bool> outcome;
    try {
      (void)condition(c, s, outcome);
    } catch (const Failed&) {}
  }
  for (const auto& inv : t.invariant)
    for (const auto& key : t.keys)
      if (mentions(*key, inv.name))
        report(Code::E0512, key->span, fmt::format("a key mentions `{}`, which the choice must not depend on", inv.name), "",
               {{inv.span, "declared invariant here"}});
}

/// Whether a name occurs in an expression.
bool Elaborator::mentions(const ast::Expr& e, const std::string& name) const {
  std::string_view text = program_.sources->text(e.span);
  auto word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
  for (std::size_t at = text.find(name); at != std::string_view::npos; at = text.find(name, at + 1)) {
    bool left = at == 0 || !word(text[at - 1]);
    bool right = at + name.size() == text.size() || !word(text[at + name.size()]);
    if (left && right) return true;
  }
  return false;
}

namespace {

std::vector<std::string> words_of(DirectiveKind kind) {
  std::istringstream in(info(kind).words);
  return {std::istream_iterator<std::string>(in), {}};
}

}  // namespace

void Elaborator::check_schedule(LoadedModule& m, const ast::Schedule& s) {
  auto [owner, name] = resolve_path(m, s.target);
  if (!owner) return;
  std::set<std::string> names;
  NameCollector collect(names);
  std::vector<std::string> tuned;
  if (auto it = owner->kernels.find(name); it != owner->kernels.end()) {
    collect.block(it->second->ast->body, *it->second->body_module, "", 0);
    for (const auto& p : it->second->ast->params) names.insert(p.name.name);
    for (const auto& o : it->second->ast->over) names.insert(o.name.name);
  } else if (auto f = owner->fns.find(name); f != owner->fns.end()) {
    collect.block(f->second->body, *owner, "", 0);
    for (const auto& p : f->second->params) names.insert(p.name.name);
  } else {
    return;
  }
  static const std::vector<std::string> families = {"cpu", "sm80", "sm90", "sm100"};
  if (s.on && std::find(families.begin(), families.end(), s.on->name) == families.end())
    fail(Code::E0514, s.on->span, fmt::format("no target `{}`", s.on->name), "targets are cpu, sm80, sm90 and sm100");
  for (const auto& d : s.directives) {
    auto kind = directive_from_name(d.name.name);
    if (!kind) {
      std::vector<std::string> all;
      for (DirectiveKind k : all_directives()) all.push_back(info(k).name);
      std::string guess = did_you_mean(d.name.name, all);
      report(Code::E0514, d.name.span, fmt::format("no schedule directive `{}`", d.name.name),
             guess.empty() ? "" : fmt::format("did you mean `{}`?", guess));
      continue;
    }
    if (s.on && (" " + std::string(info(*kind).families) + " ").find(" " + s.on->name + " ") == std::string::npos)
      report(Code::E0514, d.name.span, fmt::format("`{}` does not exist for {}", d.name.name, s.on->name),
             fmt::format("it exists for {}", info(*kind).families));
    const bool of_values = std::string_view(info(*kind).subject) == "value";
    const std::vector<std::string> words = words_of(*kind);
    for (const auto& a : d.args) {
      std::string subject = dotted(a.subject);
      // A word that is not in the directive's list.
      const auto* word = a.value ? std::get_if<ast::Name>(&a.value->node) : nullptr;
      const std::string said = !of_values ? subject : word ? word->name : "";
      if (!words.empty() && !said.empty() && std::find(words.begin(), words.end(), said) == words.end()) {
        const std::string guess = did_you_mean(said, words);
        report(Code::E0513, of_values ? a.value->span : a.subject.span, fmt::format("`{}` has no `{}`", d.name.name, said),
               guess.empty() ? fmt::format("it has {}", fmt::join(words, ", ")) : fmt::format("did you mean `{}`?", guess));
      }
      if (!of_values) continue;
      // A field of a variable is named through the variable: `st.acc`.
      std::string root = a.subject.parts[0].name;
      if (subject.empty() || names.count(subject) || names.count(root)) continue;
      if (owner->failed.count(name)) continue;  // it may be missing because of an error
      std::string guess = did_you_mean(subject, std::vector<std::string>(names.begin(), names.end()));
      report(Code::E0513, a.subject.span, fmt::format("`{}` has no variable `{}`", name, subject),
             guess.empty() ? "" : fmt::format("did you mean `{}`?", guess));
    }
  }
}

Schedule Elaborator::schedule(const KernelDecl& k, const std::string& family, const Constants& constants) {
  Schedule out;
  auto s = new_scope();
  s->parent = k.body_module->scope;
  for (const auto& [n, c] : constants)
    if (auto* i = std::get_if<std::int64_t>(&c)) s->names[n] = Binding{Val{IntConst{Sym(*i)}}, false, k.span, n, false};
  std::set<std::string> names;
  NameCollector collect(names);
  collect.block(k.ast->body, *k.body_module, "", 0);
  // `flash.kt`, by the function of a call without a label, is `kt`.
  const auto by_labels = [&](std::string subject) {
    for (bool shorter = true; shorter;) {
      shorter = false;
      for (const auto& [fn, path] : collect.called()) {
        const std::string prefix = path + fn->name.name + ".";
        const bool other = names.contains(path + fn->name.name) ||
                           std::ranges::any_of(collect.called(), [&, fn = fn](const auto& c) { return c.first == fn && c.second == prefix; });
        if (!subject.starts_with(prefix) || other) continue;  // a variable or a label of this name
        subject = path + subject.substr(prefix.size());
        shorter = true;
      }
    }
    return subject;
  };
  const auto read = [&](const ast::Schedule& schedule, const std::string& path) {
    if (schedule.on && schedule.on->name != family) return;
    for (const auto& d : schedule.directives) {
      ScheduleDirective x;
      auto kind = directive_from_name(d.name.name);
      if (!kind) continue;
      x.kind = *kind;
      x.span = d.name.span;
      const bool of_values = std::string_view(info(*kind).subject) == "value";
      for (const auto& a : d.args) {
        ScheduleArg arg;
        arg.subject = of_values ? by_labels(path + dotted(a.subject)) : dotted(a.subject);
        if (a.modifier) arg.word = a.modifier->name;
        try {
          // A number alone, `swizzle 8`, or an axis: `divide acc 1: group`.
          if (a.index) (a.subject.parts.empty() ? arg.number : arg.index) = const_int(eval(*a.index, s), a.index->span, "a number").as_constant();
          if (a.value) {
            auto* n = std::get_if<ast::Name>(&a.value->node);
            if (n && !s->names.count(n->name))
              arg.word = n->name;
            else
              arg.number = const_int(eval(*a.value, s), a.value->span, "a number").as_constant();
          }
        } catch (const Failed&) {
          continue;  // what a function is generic in is not known here
        }
        x.args.push_back(std::move(arg));
      }
      out.directives.push_back(std::move(x));
    }
  };
  // Those of functions first: the kernel's own stand above them.
  for (const auto& [fn, path] : collect.called()) {
    const auto at = program_.fn_schedules.find(fn);
    if (at == program_.fn_schedules.end()) continue;
    for (const ast::Schedule* schedule : at->second) read(*schedule, path);
  }
  for (const auto& [schedule, module] : k.schedules) read(*schedule, "");
  return out;
}

}  // namespace tessera
