// Statements other than loops.
#include <fmt/format.h>

#include "frontend/elaborate.h"

namespace tessera {

using ir::OpKind;

namespace {

void collect_assigned(const ast::Block& b, std::set<std::string>& out);

void collect_assigned(const ast::Stmt& s, std::set<std::string>& out) {
  std::visit(
      [&](const auto& x) {
        using T = std::decay_t<decltype(x)>;
        if constexpr (std::is_same_v<T, ast::Assign>) {
          const ast::Expr* e = x.target.get();
          bool indexed = false;
          if (auto* p = std::get_if<ast::Postfix>(&e->node)) {
            for (const auto& suffix : p->suffixes) indexed |= !std::get_if<ast::Member>(&suffix.kind);
            e = p->base.get();
          }
          if (auto* n = std::get_if<ast::Name>(&e->node); n && !indexed) out.insert(n->name);
        } else if constexpr (std::is_same_v<T, ast::For> || std::is_same_v<T, ast::While>) {
          // A `break` in there ends that loop, not the one around it.
          std::set<std::string> inner;
          collect_assigned(*x.body, inner);
          inner.erase("break");
          out.insert(inner.begin(), inner.end());
        } else if constexpr (std::is_same_v<T, ast::If>) {
          collect_assigned(*x.then, out);
          if (x.otherwise) collect_assigned(*x.otherwise, out);
        } else if constexpr (std::is_same_v<T, ast::Break>) {
          out.insert("break");
        }
      },
      s.node);
}

void collect_assigned(const ast::Block& b, std::set<std::string>& out) {
  for (const auto& s : b.stmts) collect_assigned(s, out);
}

bool ends_in_return(const ast::Block& b) { return !b.stmts.empty() && std::get_if<ast::Return>(&b.stmts.back().node); }

}  // namespace

std::set<std::string> assigned_names(const ast::Block& b) {
  std::set<std::string> out;
  collect_assigned(b, out);
  return out;
}

bool has_break(const ast::Block& b) { return assigned_names(b).count("break") != 0; }
bool has_break(const ast::Stmt& s) {
  std::set<std::string> out;
  collect_assigned(s, out);
  return out.count("break") != 0;
}

void Elaborator::run_body(const ast::Block& b, const ScopePtr& s) {
  const ast::Block* saved = std::exchange(body_, &b);
  bool kernel = std::exchange(in_kernel_, in_kernel_ && saved == nullptr);
  try {
    exec_stmts(b.stmts, 0, s);
  } catch (const Failed&) {
    body_ = saved;
    in_kernel_ = kernel;
    throw;
  }
  body_ = saved;
  in_kernel_ = kernel;
}

void Elaborator::exec_block(const ast::Block& b, const ScopePtr& s) { exec_stmts(b.stmts, 0, child(s)); }

void Elaborator::exec_stmts(const std::vector<ast::Stmt>& stmts, std::size_t from, const ScopePtr& s) {
  for (std::size_t i = from; i < stmts.size(); ++i) {
    const ast::Stmt& st = stmts[i];
    bool last = i + 1 == stmts.size();
    if (std::get_if<ast::Return>(&st.node) && !(body_ && &stmts == &body_->stmts && last)) {
      bool kernel_exit = last && &stmts == exit_ && std::get<ast::Return>(st.node).values.empty();
      if (!kernel_exit)
        report(Code::E0508, st.span, "`return` is the last statement of a function",
               in_kernel_ ? "a kernel leaves early by `if .. { return; }` at the top level of its body" : "");
      if (!kernel_exit && lowering()) throw Failed{};
      continue;
    }
    try {
      // `if c { ..; return; }` at the top of a kernel: the rest runs only where c is false.
      auto* cond = std::get_if<ast::If>(&st.node);
      if (!(cond && in_kernel_ && body_ && &stmts == &body_->stmts && ends_in_return(*cond->then) && !cond->otherwise)) cond = nullptr;
      if (cond) exit_ = &cond->then->stmts;
      if (cond && lowering()) {
        Val c = eval(*cond->condition, s);
        if (auto* known = c.as<BoolConst>(); known && known->value) {
          if (*known->value) return exec_block(*cond->then, s);
          continue;
        }
        std::set<std::string> assigned = assigned_names(*cond->then);
        for (std::size_t k = i + 1; k < stmts.size(); ++k) collect_assigned(stmts[k], assigned);
        exec_if_else(scalar_bool(c, cond->condition->span).v, assigned, s, [&] { exec_block(*cond->then, s); }, [&] { exec_stmts(stmts, i + 1, s); });
        return;
      }
      exec(st, s);
    } catch (const Failed&) {
      if (lowering() || stopped_) throw;
      ++failures_;
      // Names that this statement would have defined exist, but say nothing, so that one mistake is reported once.
      if (auto* l = std::get_if<ast::Let>(&st.node))
        for (const auto& n : l->names) s->names[n.name] = Binding{Val{Nothing{true}}, l->is_var, n.span, n.name, false};
    }
    if (!last && has_break(st)) {
      Binding* flag = find(*s, "break");
      if (flag && lowering()) {
        std::set<std::string> assigned;
        for (std::size_t k = i + 1; k < stmts.size(); ++k) collect_assigned(stmts[k], assigned);
        ir::Value* go = emit(OpKind::Not, {flag->value.as<TileVal>()->v});
        exec_if_else(go, assigned, s, [&] { exec_stmts(stmts, i + 1, child(s)); }, [] {});
        return;
      }
    }
  }
}

void Elaborator::exec(const ast::Stmt& st, const ScopePtr& s) {
  Deeper deeper(*this, st.span);
  at(st.span);
  std::visit(
      [&](const auto& x) {
        using T = std::decay_t<decltype(x)>;
        if constexpr (std::is_same_v<T, ast::Let>) {
          exec_let(x, st.span, s);
        } else if constexpr (std::is_same_v<T, ast::Assign>) {
          exec_assign(x, st.span, s);
        } else if constexpr (std::is_same_v<T, ast::ExprStmt>) {
          exec_expr(x, s);
        } else if constexpr (std::is_same_v<T, ast::For>) {
          exec_for(x, st.span, s);
        } else if constexpr (std::is_same_v<T, ast::While>) {
          exec_while(x, st.span, s);
        } else if constexpr (std::is_same_v<T, ast::If>) {
          exec_if(x, st.span, s);
        } else if constexpr (std::is_same_v<T, ast::Return>) {
          std::vector<Val> values;
          for (const auto& e : x.values) values.push_back(eval(*e, s));
          for (Val& v : values) v = decay(v, st.span);
          return_span_ = st.span;
          returned_ = std::move(values);
        } else if constexpr (std::is_same_v<T, ast::Break>) {
          bool crossed = false;
          Binding* flag = find(*s, "break", &crossed);
          if (!flag || crossed) fail(Code::E0507, st.span, "`break` outside a run-time loop");
          if (!flag->is_var) fail(Code::E0507, st.span, "`break` cannot leave a `for const` loop, which is unrolled", "use a run-time `for`");
          flag->value = Val{constant(elem(DType::Bool), {}, 1)};
        } else if constexpr (std::is_same_v<T, ast::Assert>) {
          Val c = eval(*x.condition, s);
          TileVal t = tile(c, x.condition->span, "the condition");
          if (!is_bool(t.elem)) fail(Code::E0307, x.condition->span, fmt::format("`assert` needs a bool, not {}", describe(Val{t})));
          t = guard(t, 1);
          emit(OpKind::Assert, {t.v}, {{ir::Attr::Message, x.message.value_or(std::string(program_.sources->text(x.condition->span)))}});
        } else {
          exec_claim(x, st.span, s);
        }
      },
      st.node);
}

void Elaborator::exec_expr(const ast::ExprStmt& x, const ScopePtr& s) {
  auto* p = std::get_if<ast::Postfix>(&x.value->node);
  auto* callee = p ? std::get_if<ast::Name>(&p->base->node) : nullptr;
  bool for_effect = callee && p->suffixes.size() == 1 && (callee->name == "fetch_add" || callee->name == "wait");
  unused_ = for_effect;
  Val v = eval(*x.value, s);
  unused_ = false;
  if (v.as<Nothing>() || for_effect) return;
  fail(Code::E0316, x.value->span, "the value is computed and not used", "bind it with `let`, or remove the statement");
}

void Elaborator::exec_claim(const ast::Claim& x, Span span, const ScopePtr& s) {
  (void)span;
  auto* p = std::get_if<ast::Postfix>(&x.what->node);
  auto* name = p ? std::get_if<ast::Name>(&p->base->node) : nullptr;
  auto* c = p && p->suffixes.size() == 1 ? std::get_if<ast::Call>(&p->suffixes[0].kind) : nullptr;
  if (!name || name->name != "unique" || !c) fail(Code::E0302, x.what->span, "a claim reads `claim unique(..) \"why\";`");
  std::vector<ir::Value*> operands;
  for (const auto& a : c->args) {
    TileVal t = as_idx(eval(*a.value, s), a.value->span);
    operands.push_back(t.valid.empty() ? t.v : guard(t, -1).v);
  }
  emit(OpKind::Claim, operands, {{ir::Attr::Kind, std::string("unique")}, {ir::Attr::Message, x.why.value_or("")}});
}

void Elaborator::exec_let(const ast::Let& l, Span span, const ScopePtr& s) {
  pending_label_ = l.label ? l.label->name : "";
  Val v;
  try {
    v = eval(*l.value, s);
  } catch (const Failed&) {
    pending_label_.clear();
    throw;
  }
  pending_label_.clear();
  if (v.poison()) throw Failed{};
  if (v.as<Nothing>()) fail(Code::E0316, l.value->span, "the call returns nothing");
  std::vector<Val> values{v};
  if (l.names.size() > 1) {
    auto* t = v.as<TupleVal>();
    if (!t || t->items.size() != l.names.size())
      fail(Code::E0313, span, fmt::format("{} names for {}", l.names.size(), t ? fmt::format("{} values", t->items.size()) : "one value"));
    values = std::vector<Val>(t->items);
  } else if (v.as<TupleVal>()) {
    fail(Code::E0313, span, fmt::format("one name for {} values", v.as<TupleVal>()->items.size()), "write `let (a, b) = ..`");
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    Val& x = values[i];
    x = decay(x, l.value->span);
    if (l.type) x = coerce(x, resolve_type(*l.type, s), l.value->span, fmt::format("`{}`", l.names[i].name));
    if (l.is_var) {
      if (x.as<IntConst>() || x.as<FloatConst>() || x.as<BoolConst>()) x = {tile(x, l.value->span, "a variable")};
      bool holds = x.as<TileVal>() || x.as<StructVal>();
      std::function<void(const Val&)> check = [&](const Val& f) {
        if (auto* st = f.as<StructVal>())
          for (const Val& g : st->fields) check(g);
        else if (!f.as<TileVal>())
          holds = false;
      };
      check(x);
      if (!holds) fail(Code::E0314, l.value->span, fmt::format("a variable cannot hold {}", describe(x)), "bind it with `let`");
      if (auto* t = x.as<TileVal>()) t->sym.reset(), t->id = fresh_id();
    } else if (auto* t = x.as<TileVal>(); t && t->dims.empty() && is_integer(t->elem) && !t->sym && !storage_only(t->elem)) {
      // A name for a run-time integer is an identity: two axes of this length are the same axis.
      t->sym = fresh_symbol(l.names[i].name, builder_ ? coerce_elem(x, elem(DType::Idx), span, true).v : nullptr);
    }
    hint(x, l.names[i].name);
    define(*s, l.names[i], x, l.is_var);
  }
}

void Elaborator::exec_assign(const ast::Assign& a, Span span, const ScopePtr& s) {
  static constexpr ast::BinaryOp ops[] = {ast::BinaryOp::Add, ast::BinaryOp::Add, ast::BinaryOp::Sub, ast::BinaryOp::Mul, ast::BinaryOp::Div};
  ast::BinaryOp op = ops[static_cast<int>(a.op)];
  if (auto t = eval_target(*a.target, s)) {
    Val v = eval(*a.value, s);
    at(span);
    if (a.op == ast::AssignOp::Set || a.op == ast::AssignOp::Add) return store(*t, v, a.value->span, a.op == ast::AssignOp::Add);
    if (t->view.mode == ir::Mode::Add)
      fail(Code::E0506, t->span, fmt::format("`{}` is an `add` view", t->view.root), "accumulate with `+=`", {{t->view.bound, "declared here"}});
    Val old = load(*t);
    return store(*t, binary(op, old, v, span, a.target->span, a.value->span), a.value->span, false);
  }
  // A variable, or a field of one.
  const ast::Expr* root = a.target.get();
  std::vector<const ast::Ident*> fields;
  if (auto* p = std::get_if<ast::Postfix>(&root->node)) {
    for (const auto& x : p->suffixes) {
      auto* m = std::get_if<ast::Member>(&x.kind);
      if (!m) fail(Code::E0405, a.target->span, "this cannot be assigned to");
      fields.push_back(&m->name);
    }
    root = p->base.get();
  }
  auto* n = std::get_if<ast::Name>(&root->node);
  if (!n) fail(Code::E0405, a.target->span, "this cannot be assigned to");
  bool crossed = false;
  Binding* b = find(*s, n->name, &crossed);
  if (!b) {
    (void)lookup({n->name, root->span}, s);
    fail(Code::E0405, root->span, fmt::format("`{}` cannot be assigned to", n->name));
  }
  if (!b->is_var || crossed)
    fail(Code::E0405, root->span,
         crossed ? fmt::format("a lambda cannot assign to `{}` outside it", n->name) : fmt::format("`{}` is not a variable", n->name),
         crossed ? "return the new value instead" : fmt::format("declare it with `var {}`", n->name), {{b->span, "defined here"}});
  Val now = eval(*a.value, s);
  at(span);
  b = find(*s, n->name);
  Val* place = &b->value;
  for (const ast::Ident* f : fields) {
    auto* st = place->as<StructVal>();
    (void)member(*place, *f, f->span);
    const auto& decl = st->type.decl->ast->fields;
    for (std::size_t i = 0; i < decl.size(); ++i)
      if (decl[i].name.name == f->name) {
        place = &st->fields[i];
        break;
      }
  }
  if (place->poison() || now.poison()) throw Failed{};
  if (a.op != ast::AssignOp::Set) now = binary(op, *place, now, span, a.target->span, a.value->span);
  if (now.as<Nothing>()) fail(Code::E0316, a.value->span, "the call returns nothing");
  *place = merge_assign(*place, now, a.value->span);
  hint(*place, n->name);
}

void Elaborator::exec_if(const ast::If& i, Span span, const ScopePtr& s) {
  Val c = eval(*i.condition, s);
  if (c.poison()) throw Failed{};
  if (auto* known = c.as<BoolConst>()) {
    if (known->value) {
      if (*known->value)
        exec_block(*i.then, s);
      else if (i.otherwise)
        exec_block(*i.otherwise, s);
      return;
    }
    // Checking: both arms, and a view is there in the first if the condition says so.
    std::set<std::string> saved = present_;
    note_present(*i.condition);
    exec_block(*i.then, s);
    present_ = saved;
    if (i.otherwise) exec_block(*i.otherwise, s);
    return;
  }
  TileVal t = scalar_bool(c, i.condition->span);
  std::set<std::string> assigned = assigned_names(*i.then);
  if (i.otherwise) assigned.merge(assigned_names(*i.otherwise));
  at(span);
  exec_if_else(
      t.v, assigned, s, [&] { exec_block(*i.then, s); },
      [&] {
        if (i.otherwise) exec_block(*i.otherwise, s);
      });
}

/// Records the views that `has(x)` or `has(x) && ..` says are there.
void Elaborator::note_present(const ast::Expr& e) {
  if (auto* c = std::get_if<ast::Chain>(&e.node)) {
    bool conjunction = true;
    for (const auto& l : c->rest) conjunction &= l.op == ast::BinaryOp::And;
    if (!conjunction) return;
    note_present(*c->first);
    for (const auto& l : c->rest) note_present(*l.rhs);
  }
  auto* p = std::get_if<ast::Postfix>(&e.node);
  auto* n = p ? std::get_if<ast::Name>(&p->base->node) : nullptr;
  auto* call = p && p->suffixes.size() == 1 ? std::get_if<ast::Call>(&p->suffixes[0].kind) : nullptr;
  if (!n || n->name != "has" || !call || call->args.size() != 1) return;
  present_.insert(std::string(program_.sources->text(call->args[0].value->span)));
}

}  // namespace tessera
