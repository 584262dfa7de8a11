#include "frontend/format_printer.h"

namespace tessera::formatting {

Doc Printer::expr(const ast::ExprPtr& e) {
  Doc d = std::visit([&](const auto& n) { return print(n); }, e->node);
  if (!e->parenthesised) return d;
  Builder b;
  b << "(" << std::move(d) << ")";
  return b.done();
}

std::vector<Doc> Printer::exprs(const std::vector<ast::ExprPtr>& list) {
  std::vector<Doc> out;
  for (const ast::ExprPtr& e : list) out.push_back(expr(e));
  return out;
}

std::vector<Doc> Printer::arguments(const std::vector<ast::Arg>& args) {
  std::vector<Doc> out;
  for (const ast::Arg& a : args) {
    Builder b;
    if (a.name) b << a.name->name + ": ";
    b << expr(a.value);
    out.push_back(b.done());
  }
  return out;
}

Doc Printer::print(const ast::Number& n) { return text(std::string(sources_.text(n.spelling))); }
Doc Printer::print(const ast::String& n) { return text(quoted(n.value)); }
Doc Printer::print(const ast::Bool& n) { return text(n.value ? "true" : "false"); }
Doc Printer::print(const ast::Inf&) { return text("inf"); }
Doc Printer::print(const ast::Name& n) { return text(n.name); }
Doc Printer::print(const ast::All&) { return text(":"); }

Doc Printer::print(const ast::Unary& n) {
  Builder b;
  b << text_of(n.op) << expr(n.operand);
  return b.done();
}

Doc Printer::print(const ast::Chain& n) {
  Builder rest;
  for (const ast::ChainLink& link : n.rest) {
    Builder b;
    b << line() << std::string(ast::text(link.op)) + " " << expr(link.rhs);
    rest << group(b.take());
  }
  Builder b;
  b << expr(n.first) << nest(rest.take());
  return group(b.take());
}

Doc Printer::print(const ast::RangeExpr& n) {
  Builder b;
  b << expr(n.lo) << " .. " << expr(n.hi);
  return b.done();
}

Doc Printer::print(const ast::Postfix& n) {
  Builder b;
  b << expr(n.base);
  for (const ast::Suffix& s : n.suffixes) {
    if (const auto* call = std::get_if<ast::Call>(&s.kind)) b << list("(", arguments(call->args), ")");
    if (const auto* index = std::get_if<ast::Index>(&s.kind)) b << list("[", exprs(index->items), "]");
    if (const auto* member = std::get_if<ast::Member>(&s.kind)) b << "." + member->name.name;
  }
  return b.done();
}

Doc Printer::print(const ast::Lambda& n) {
  Builder b;
  std::string params;
  for (const ast::Ident& p : n.params) params += (params.empty() ? "" : ", ") + p.name;
  b << "|" + params + "| ";
  if (n.body)
    b << expr(n.body);
  else
    b << block(*n.block, on_one_line(n.block->span));
  return b.done();
}

Doc Printer::type(const ast::TypeExpr& t) {
  return std::visit([&](const auto& n) { return print(n); }, t.node);
}

Doc Printer::print(const ast::NamedType& t) {
  Builder b;
  if (t.view) b << "view ";
  b << dotted(t.path);
  if (t.has_dims) b << list("[", exprs(t.dims), "]");
  if (t.strided) b << " strided";
  return b.done();
}

Doc Printer::print(const ast::RangeTypeExpr& t) {
  Builder b;
  b << "range[" << expr(t.axis) << "]";
  return b.done();
}

Doc Printer::print(const ast::FnTypeExpr& t) {
  Builder b;
  b << "fn" << generics(t.generics);
  std::vector<Doc> types;
  for (const ast::TypeExpr& p : t.params) types.push_back(type(p));
  b << list("(", std::move(types), ")") << " -> " << results(t.results);
  return b.done();
}

Doc Printer::results(const std::vector<ast::TypeExpr>& types) {
  if (types.size() == 1) return type(types[0]);
  std::vector<Doc> docs;
  for (const ast::TypeExpr& t : types) docs.push_back(type(t));
  return list("(", std::move(docs), ")");
}

Doc Printer::generics(const std::vector<ast::Generic>& generics) {
  if (generics.empty()) return concat({});
  std::vector<Doc> docs;
  for (const ast::Generic& g : generics) {
    Builder b;
    b << g.name.name + ": ";
    if (g.fn_type)
      b << type(*g.fn_type);
    else
      b << name_of(g.kind);
    if (g.fallback) b << " = " << expr(g.fallback);
    docs.push_back(b.done());
  }
  return list("[", std::move(docs), "]");
}

}  // namespace tessera::formatting
