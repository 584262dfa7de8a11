// The parts of the formatter: tree -> Doc. Comments are handed out in source order while the tree is walked.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "frontend/ast.h"
#include "frontend/format_doc.h"

namespace tessera::formatting {

class Printer {
 public:
  Printer(const SourceMap& sources, const ast::File& file) : sources_(sources), file_(file) {}
  Doc file();

 private:
  /// One statement, item or list element: where it stands in the source, and how to print it.
  struct Element {
    Span span;
    std::function<Doc()> print;
  };

  // format.cpp: comments, sequences and blocks
  /// Elements on lines of their own, with the comments up to `end` and single blank lines kept.
  Doc sequence(const std::vector<Element>& elements, std::uint32_t end, const char* separator = "");
  /// What follows the opening brace; `one_line` allows `{ a; b; }`. `outer_comments`: comments before the brace belong before the statement.
  Doc block(const ast::Block& block, bool one_line, bool outer_comments = true);
  Doc braces(const std::vector<Element>& elements, Span span, bool one_line, const char* separator = "");
  bool comments_in(std::uint32_t begin, std::uint32_t end) const;
  void hoist_comments(std::uint32_t end);
  std::string next_comment();
  std::uint32_t line_of(std::uint32_t offset) const { return sources_.position(file_.id, offset).line; }
  bool on_one_line(Span span) const { return line_of(span.begin) == line_of(span.end - 1); }

  // format_item.cpp
  Doc item(const ast::Item& item);
  Doc print(const ast::Import& n, Span span);
  Doc print(const ast::Const& n, Span span);
  Doc print(const ast::NewType& n, Span span);
  Doc print(const ast::Struct& n, Span span);
  Doc print(const ast::Fn& n, Span span);
  Doc print(const ast::Kernel& n, Span span);
  Doc print(const ast::KernelInstance& n, Span span);
  Doc print(const ast::Tune& n, Span span);
  Doc print(const ast::Schedule& n, Span span);
  /// `head`: what stands before the list.
  Doc params(const std::vector<ast::Param>& params, Span head);
  Doc param(const ast::Param& p);
  Doc field(const ast::Field& f);
  Doc condition(const ast::Condition& c);
  Doc domain(const std::vector<ast::ExprPtr>& set, const ast::ExprPtr& range);
  Doc directive(const ast::Directive& d);

  // format_statement.cpp
  Doc statement(const ast::Stmt& s);
  Doc print(const ast::Let& n, bool one_line);
  Doc print(const ast::Assign& n, bool one_line);
  Doc print(const ast::ExprStmt& n, bool one_line);
  Doc print(const ast::For& n, bool one_line);
  Doc print(const ast::While& n, bool one_line);
  Doc print(const ast::If& n, bool one_line);
  Doc print(const ast::Return& n, bool one_line);
  Doc print(const ast::Break& n, bool one_line);
  Doc print(const ast::Assert& n, bool one_line);
  Doc print(const ast::Claim& n, bool one_line);

  // format_expr.cpp
  Doc expr(const ast::ExprPtr& e);
  std::vector<Doc> exprs(const std::vector<ast::ExprPtr>& list);
  std::vector<Doc> arguments(const std::vector<ast::Arg>& args);
  Doc print(const ast::Number& n);
  Doc print(const ast::String& n);
  Doc print(const ast::Bool& n);
  Doc print(const ast::Inf& n);
  Doc print(const ast::Name& n);
  Doc print(const ast::All& n);
  Doc print(const ast::Unary& n);
  Doc print(const ast::Chain& n);
  Doc print(const ast::RangeExpr& n);
  Doc print(const ast::Postfix& n);
  Doc print(const ast::Lambda& n);
  Doc type(const ast::TypeExpr& t);
  Doc print(const ast::NamedType& t);
  Doc print(const ast::RangeTypeExpr& t);
  Doc print(const ast::FnTypeExpr& t);
  Doc results(const std::vector<ast::TypeExpr>& types);
  Doc generics(const std::vector<ast::Generic>& generics);

  const SourceMap& sources_;
  const ast::File& file_;
  std::size_t next_ = 0;              ///< first comment not handed out yet
  std::vector<std::string> hoisted_;  ///< comments from inside the element being printed, to stand before it
};

std::string quoted(const std::string& s);
std::string dotted(const ast::Path& path);
const char* name_of(ast::GenericKind kind);
/// "out ", "" for In
std::string prefix_of(ast::ParamMode mode);
const char* text_of(ast::UnaryOp op);
const char* text_of(ast::AssignOp op);

}  // namespace tessera::formatting
