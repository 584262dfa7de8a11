#include "frontend/format_printer.h"

namespace tessera::formatting {

Doc Printer::statement(const ast::Stmt& s) {
  bool one_line = on_one_line(s.span);
  Doc d = std::visit([&](const auto& n) { return print(n, one_line); }, s.node);
  // The blocks of a statement on one line open up together.
  if (!one_line) return d;
  std::vector<Doc> parts;
  parts.push_back(std::move(d));
  return group(std::move(parts));
}

Doc Printer::print(const ast::Let& n, bool) {
  Builder b;
  b << (n.is_var ? "var " : "let ");
  if (n.names.size() == 1) {
    b << n.names[0].name;
  } else {
    std::vector<Doc> names;
    for (const ast::Ident& i : n.names) names.push_back(text(i.name));
    b << list("(", std::move(names), ")");
  }
  if (n.type) b << ": " << type(*n.type);
  b << " = ";
  if (n.label) b << n.label->name + ": ";
  b << expr(n.value) << ";";
  return b.done();
}

Doc Printer::print(const ast::Assign& n, bool) {
  Builder b;
  b << expr(n.target) << std::string(" ") + text_of(n.op) + " " << expr(n.value) << ";";
  return b.done();
}

Doc Printer::print(const ast::ExprStmt& n, bool) {
  Builder b;
  b << expr(n.value) << ";";
  return b.done();
}

Doc Printer::print(const ast::For& n, bool one_line) {
  Builder b;
  if (n.label) b << n.label->name + ": ";
  b << (n.is_const ? "for const " : "for ") << n.var.name + " in " << expr(n.iter) << " " << block(*n.body, one_line);
  return b.done();
}

Doc Printer::print(const ast::While& n, bool one_line) {
  Builder b;
  b << "while " << expr(n.condition) << " " << block(*n.body, one_line);
  return b.done();
}

Doc Printer::print(const ast::If& n, bool one_line) {
  Builder b;
  b << "if " << expr(n.condition) << " " << block(*n.then, one_line);
  if (n.otherwise) {
    b << " else ";
    const auto* arm = n.otherwise->stmts.size() == 1 ? std::get_if<ast::If>(&n.otherwise->stmts[0].node) : nullptr;
    if (arm && arm->else_if)
      b << print(*arm, one_line);
    else
      b << block(*n.otherwise, one_line, false);
  }
  return b.done();
}

Doc Printer::print(const ast::Return& n, bool) {
  Builder b;
  b << "return";
  if (!n.values.empty()) b << " " << fill(exprs(n.values));
  b << ";";
  return b.done();
}

Doc Printer::print(const ast::Break&, bool) { return text("break;"); }

Doc Printer::print(const ast::Assert& n, bool) {
  Builder b;
  b << "assert " << expr(n.condition);
  if (n.message) b << ", " << quoted(*n.message);
  b << ";";
  return b.done();
}

Doc Printer::print(const ast::Claim& n, bool) {
  Builder b;
  b << "claim " << expr(n.what);
  if (n.why) b << " " << quoted(*n.why);
  b << ";";
  return b.done();
}

}  // namespace tessera::formatting
