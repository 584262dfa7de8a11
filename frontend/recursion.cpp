#include "frontend/recursion.h"

#include <fmt/format.h>

#include <map>
#include <set>

namespace tessera {

namespace {

enum class ItemKind : std::uint8_t { Fn, Struct, NewType, Const };

struct Item;
struct Mention {
  Item* item = nullptr;
  Span span;
};
/// An item that others can mention.
struct Item {
  ItemKind kind{};
  const ast::Ident* name = nullptr;
  LoadedModule* module = nullptr;
  const ast::Item* ast = nullptr;
  std::vector<Mention> mentions;  ///< each item once, at its first mention
  enum { Unseen, Open, Done } state = Unseen;
};

using Items = std::map<std::pair<const LoadedModule*, std::string>, Item>;

/// Finds the items that an item mentions, names bound inside it left out.
class Mentions {
 public:
  Mentions(Items& items, Item& of) : items_(items), of_(of) {}

  void run() {
    std::visit(
        [&](const auto& x) {
          using T = std::decay_t<decltype(x)>;
          if constexpr (std::is_same_v<T, ast::Fn>) {
            generics(x.generics);
            for (const auto& p : x.params) {
              if (p.peers) expr(*p.peers);
              type(p.type);
              if (p.fallback) expr(*p.fallback);
            }
            for (const auto& r : x.results) type(r);
            for (const auto& p : x.params) bind(p.name);
            block(x.body);
          } else if constexpr (std::is_same_v<T, ast::Struct>) {
            generics(x.generics);
            for (const auto& f : x.fields) {
              type(f.type);
              if (f.fallback) expr(*f.fallback);
            }
          } else if constexpr (std::is_same_v<T, ast::NewType>) {
            type(x.type);
          } else if constexpr (std::is_same_v<T, ast::Const>) {
            if (x.type) type(*x.type);
            expr(*x.value);
          }
        },
        of_.ast->node);
  }

 private:
  void bind(const ast::Ident& id) {
    local_.push_back(id.name);
    ++count_[id.name];
  }
  void leave(std::size_t mark) {
    for (; local_.size() > mark; local_.pop_back()) --count_[local_.back()];
  }
  bool bound(const std::string& name) const {
    auto it = count_.find(name);
    return it != count_.end() && it->second > 0;
  }

  void generics(const std::vector<ast::Generic>& gs) {
    for (const auto& g : gs) {
      if (g.fn_type) type(*g.fn_type);
      if (g.fallback) expr(*g.fallback);
      bind(g.name);
    }
  }

  /// `name`, or `module.name`, as far as the path is one; `next` gives the following part.
  void path(const std::string& first, Span first_span, const std::function<const ast::Ident*()>& next) {
    if (bound(first)) return;
    LoadedModule* m = of_.module;
    std::string name = first;
    Span span = first_span;
    for (auto it = m->imports.find(name); it != m->imports.end(); it = m->imports.find(name)) {
      const ast::Ident* part = next();
      if (!part) return;
      m = it->second;
      name = part->name;
      span = tessera::join(first_span, part->span);
    }
    auto it = items_.find({m, name});
    if (it == items_.end()) return;
    if (seen_.insert(&it->second).second) of_.mentions.push_back({&it->second, span});
  }

  void type(const ast::TypeExpr& t) {
    if (auto* r = std::get_if<ast::RangeTypeExpr>(&t.node)) return expr(*r->axis);
    if (auto* f = std::get_if<ast::FnTypeExpr>(&t.node)) {
      std::size_t mark = local_.size();
      generics(f->generics);
      for (const auto& p : f->params) type(p);
      for (const auto& r : f->results) type(r);
      leave(mark);
      return;
    }
    const auto& n = std::get<ast::NamedType>(t.node);
    std::size_t i = 0;
    path(n.path.parts[0].name, n.path.parts[0].span, [&] { return ++i < n.path.parts.size() ? &n.path.parts[i] : nullptr; });
    for (const auto& d : n.dims) expr(*d);
  }

  void expr(const ast::Expr& e) {
    std::visit(
        [&](const auto& x) {
          using T = std::decay_t<decltype(x)>;
          if constexpr (std::is_same_v<T, ast::Name>) {
            path(x.name, e.span, [] { return nullptr; });
          } else if constexpr (std::is_same_v<T, ast::Unary>) {
            expr(*x.operand);
          } else if constexpr (std::is_same_v<T, ast::Chain>) {
            expr(*x.first);
            for (const auto& link : x.rest) expr(*link.rhs);
          } else if constexpr (std::is_same_v<T, ast::RangeExpr>) {
            expr(*x.lo);
            expr(*x.hi);
          } else if constexpr (std::is_same_v<T, ast::Postfix>) {
            postfix(x);
          } else if constexpr (std::is_same_v<T, ast::Lambda>) {
            std::size_t mark = local_.size();
            for (const auto& p : x.params) bind(p);
            if (x.body) expr(*x.body);
            if (x.block) block(*x.block);
            leave(mark);
          }
        },
        e.node);
  }

  void postfix(const ast::Postfix& p) {
    if (auto* n = std::get_if<ast::Name>(&p.base->node)) {
      std::size_t i = 0;
      path(n->name, p.base->span, [&]() -> const ast::Ident* {
        auto* m = i < p.suffixes.size() ? std::get_if<ast::Member>(&p.suffixes[i++].kind) : nullptr;
        return m ? &m->name : nullptr;
      });
    } else {
      expr(*p.base);
    }
    for (const auto& x : p.suffixes) {
      if (auto* c = std::get_if<ast::Call>(&x.kind))
        for (const auto& a : c->args) expr(*a.value);
      if (auto* ix = std::get_if<ast::Index>(&x.kind))
        for (const auto& item : ix->items) expr(*item);
    }
  }

  void block(const ast::Block& b) {
    std::size_t mark = local_.size();
    for (const auto& s : b.stmts) stmt(s);
    leave(mark);
  }

  void stmt(const ast::Stmt& s) {
    std::visit(
        [&](const auto& x) {
          using T = std::decay_t<decltype(x)>;
          if constexpr (std::is_same_v<T, ast::Let>) {
            if (x.type) type(*x.type);
            expr(*x.value);
            for (const auto& n : x.names) bind(n);
          } else if constexpr (std::is_same_v<T, ast::Assign>) {
            expr(*x.target);
            expr(*x.value);
          } else if constexpr (std::is_same_v<T, ast::ExprStmt>) {
            expr(*x.value);
          } else if constexpr (std::is_same_v<T, ast::For>) {
            expr(*x.iter);
            std::size_t mark = local_.size();
            bind(x.var);
            block(*x.body);
            leave(mark);
          } else if constexpr (std::is_same_v<T, ast::While>) {
            expr(*x.condition);
            block(*x.body);
          } else if constexpr (std::is_same_v<T, ast::If>) {
            expr(*x.condition);
            block(*x.then);
            if (x.otherwise) block(*x.otherwise);
          } else if constexpr (std::is_same_v<T, ast::Return>) {
            for (const auto& v : x.values) expr(*v);
          } else if constexpr (std::is_same_v<T, ast::Assert>) {
            expr(*x.condition);
          } else if constexpr (std::is_same_v<T, ast::Claim>) {
            expr(*x.what);
          }
        },
        s.node);
  }

  Items& items_;
  Item& of_;
  std::vector<std::string> local_;    ///< bound names, innermost last
  std::map<std::string, int> count_;  ///< how often each is bound
  std::set<const Item*> seen_;
};

std::string message(const std::vector<Item*>& circle) {
  const char* verb = nullptr;
  switch (circle[0]->kind) {
    case ItemKind::Fn: verb = "calls itself"; break;
    case ItemKind::Struct: verb = "contains itself"; break;
    case ItemKind::NewType: verb = "stands for itself"; break;
    case ItemKind::Const: verb = "is defined by itself"; break;
  }
  std::string out = fmt::format("`{}` {}", circle[0]->name->name, verb);
  if (circle.size() > 6) return fmt::format("{} through {} others", out, circle.size() - 1);
  for (std::size_t i = 1; i < circle.size(); ++i)
    out += fmt::format("{} `{}`", i == 1 ? " through" : i + 1 == circle.size() ? " and" : ",", circle[i]->name->name);
  return out;
}

}  // namespace

void check_recursion(const Program& program, Diagnostics& diagnostics) {
  Items items;
  std::vector<Item*> order;
  for (const auto& m : program.modules)
    for (const ast::Item& item : m->ast.items) {
      auto add = [&](ItemKind kind, const ast::Ident& name) {
        auto [it, fresh] = items.try_emplace({m.get(), name.name}, Item{kind, &name, m.get(), &item, {}, Item::Unseen});
        if (fresh) order.push_back(&it->second);
      };
      if (auto* x = std::get_if<ast::Fn>(&item.node)) add(ItemKind::Fn, x->name);
      if (auto* x = std::get_if<ast::Struct>(&item.node)) add(ItemKind::Struct, x->name);
      if (auto* x = std::get_if<ast::NewType>(&item.node)) add(ItemKind::NewType, x->name);
      if (auto* x = std::get_if<ast::Const>(&item.node)) add(ItemKind::Const, x->name);
    }
  for (Item* i : order) Mentions(items, *i).run();
  // Depth first without recursion: a chain of definitions is as long as the file.
  std::set<const Item*> reported;
  std::vector<std::pair<Item*, std::size_t>> stack;
  for (Item* root : order) {
    if (root->state != Item::Unseen) continue;
    root->state = Item::Open;
    stack.push_back({root, 0});
    while (!stack.empty()) {
      auto& [item, next] = stack.back();
      if (next == item->mentions.size()) {
        item->state = Item::Done;
        stack.pop_back();
        continue;
      }
      const Mention& m = item->mentions[next++];
      if (m.item->state == Item::Unseen) {
        m.item->state = Item::Open;
        stack.push_back({m.item, 0});
      } else if (m.item->state == Item::Open && reported.insert(m.item).second) {
        if (diagnostics.list().size() >= Diagnostics::limit) return;
        std::vector<Item*> circle;
        std::size_t from = 0;
        while (stack[from].first != m.item) ++from;
        for (std::size_t i = from; i < stack.size(); ++i) circle.push_back(stack[i].first);
        diagnostics.add({Code::E0407,
                         m.span,
                         message(circle),
                         {{m.item->name->span, "defined here"}},
                         {},
                         m.item->kind == ItemKind::Fn ? "use a loop: functions are inlined" : ""});
      }
    }
  }
}

void for_each_name(const ast::Expr& e, const std::function<void(const std::string&, Span)>& f) {
  if (auto* n = std::get_if<ast::Name>(&e.node)) f(n->name, e.span);
  if (auto* u = std::get_if<ast::Unary>(&e.node)) for_each_name(*u->operand, f);
  if (auto* r = std::get_if<ast::RangeExpr>(&e.node)) for_each_name(*r->lo, f), for_each_name(*r->hi, f);
  if (auto* c = std::get_if<ast::Chain>(&e.node)) {
    for_each_name(*c->first, f);
    for (const auto& link : c->rest) for_each_name(*link.rhs, f);
  }
  auto* p = std::get_if<ast::Postfix>(&e.node);
  if (!p) return;
  for_each_name(*p->base, f);
  for (const auto& x : p->suffixes) {
    if (auto* c = std::get_if<ast::Call>(&x.kind))
      for (const auto& a : c->args) for_each_name(*a.value, f);
    if (auto* ix = std::get_if<ast::Index>(&x.kind))
      for (const auto& item : ix->items) for_each_name(*item, f);
  }
}

}  // namespace tessera
