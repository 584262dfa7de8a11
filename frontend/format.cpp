#include "frontend/format.h"

#include "frontend/format_printer.h"

namespace tessera {

namespace formatting {

namespace {
constexpr std::size_t width = 120;
}

Doc Printer::file() {
  std::vector<Element> items;
  for (const ast::Item& i : file_.items) items.push_back({i.span, [this, &i] { return item(i); }});
  return sequence(items, static_cast<std::uint32_t>(sources_.file(file_.id).text.size() + 1));
}

std::string Printer::next_comment() { return std::string(sources_.text(file_.comments[next_++].span)); }

bool Printer::comments_in(std::uint32_t begin, std::uint32_t end) const {
  // Those before `begin` that are not handed out yet belong to an enclosing element's header.
  for (std::size_t i = next_; i < file_.comments.size() && file_.comments[i].span.begin < end; ++i)
    if (file_.comments[i].span.begin >= begin) return true;
  return false;
}

void Printer::hoist_comments(std::uint32_t end) {
  while (next_ < file_.comments.size() && file_.comments[next_].span.begin < end) hoisted_.push_back(next_comment());
}

Doc Printer::sequence(const std::vector<Element>& elements, std::uint32_t end, const char* separator) {
  Builder out;
  std::uint32_t last_line = 0;  // of the source, where the part printed last ends; 0: none yet
  auto begin_line = [&](std::uint32_t source_line) {
    if (last_line != 0) out << (source_line > last_line + 1 ? blank_line() : hard_line());
  };
  auto own_line_comments = [&](std::uint32_t before) {
    while (next_ < file_.comments.size() && file_.comments[next_].span.begin < before) {
      std::uint32_t line = line_of(file_.comments[next_].span.begin);
      begin_line(line);
      out << comment(next_comment());
      last_line = line;
    }
  };
  std::vector<std::string> outer = std::move(hoisted_);
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const Element& e = elements[i];
    own_line_comments(e.span.begin);
    hoisted_.clear();
    Doc doc = e.print();
    hoist_comments(e.span.end);
    begin_line(line_of(e.span.begin));
    for (std::string& c : hoisted_) out << comment(std::move(c)) << hard_line();
    out << std::move(doc);
    if (i + 1 < elements.size()) out << separator;
    last_line = line_of(e.span.end - 1);
    std::uint32_t next_begin = i + 1 < elements.size() ? elements[i + 1].span.begin : end;
    if (next_ < file_.comments.size()) {
      Span c = file_.comments[next_].span;
      if (c.begin < next_begin && line_of(c.begin) == last_line) out << comment("  " + next_comment());
    }
  }
  hoisted_ = std::move(outer);
  own_line_comments(end);
  return out.done();
}

Doc Printer::braces(const std::vector<Element>& elements, Span span, bool one_line, const char* separator) {
  std::uint32_t close = span.end - 1;
  if (one_line || (elements.empty() && !comments_in(span.begin, close))) {
    if (elements.empty()) return text("{}");
    Builder inner;
    for (std::size_t i = 0; i < elements.size(); ++i) inner << line() << elements[i].print() << (i + 1 < elements.size() ? separator : "");
    Builder b;
    b << "{" << nest(inner.take()) << line() << "}";
    return b.done();
  }
  Builder inner;
  inner << hard_line() << sequence(elements, close, separator);
  Builder b;
  b << "{" << nest(inner.take()) << hard_line() << "}";
  return b.done();
}

Doc Printer::block(const ast::Block& block, bool one_line, bool outer_comments) {
  if (outer_comments) hoist_comments(block.span.begin);
  std::vector<Element> elements;
  for (const ast::Stmt& s : block.stmts) elements.push_back({s.span, [this, &s] { return statement(s); }});
  // A comment behind the brace stays there.
  std::string behind_brace;
  if (next_ < file_.comments.size()) {
    const ast::Comment& c = file_.comments[next_];
    std::uint32_t first = elements.empty() ? block.span.end : elements[0].span.begin;
    if (!c.own_line && c.span.begin > block.span.begin && c.span.begin < first && line_of(c.span.begin) == line_of(block.span.begin))
      behind_brace = next_comment();
  }
  if (behind_brace.empty()) {
    std::vector<Doc> parts;
    parts.push_back(braces(elements, block.span, one_line));
    return concat(std::move(parts));
  }
  Builder inner;
  inner << comment("  " + behind_brace);
  if (!elements.empty() || comments_in(block.span.begin, block.span.end)) inner << hard_line() << sequence(elements, block.span.end - 1);
  Builder b;
  b << "{" << nest(inner.take()) << hard_line() << "}";
  return b.done();
}

std::string quoted(const std::string& s) {
  std::string out = "\"";
  for (char c : s) {
    if (c == '\n')
      out += "\\n";
    else if (c == '"' || c == '\\')
      (out += '\\') += c;
    else
      out += c;
  }
  return out + "\"";
}

std::string dotted(const ast::Path& path) {
  std::string out;
  for (const ast::Ident& part : path.parts) out += (out.empty() ? "" : ".") + part.name;
  return out;
}

const char* name_of(ast::GenericKind kind) {
  switch (kind) {
    case ast::GenericKind::Int: return "int";
    case ast::GenericKind::Bool: return "bool";
    case ast::GenericKind::DTypeAny: return "dtype";
    case ast::GenericKind::Half: return "half";
    case ast::GenericKind::Float: return "float";
    case ast::GenericKind::IntType: return "inttype";
    case ast::GenericKind::Struct: return "struct";
    case ast::GenericKind::Dim: return "dim";
    case ast::GenericKind::Fn: return "fn";
  }
  return "";
}

std::string prefix_of(ast::ParamMode mode) {
  switch (mode) {
    case ast::ParamMode::In: return "";
    case ast::ParamMode::Out: return "out ";
    case ast::ParamMode::InOut: return "inout ";
    case ast::ParamMode::Scatter: return "scatter ";
    case ast::ParamMode::Add: return "add ";
  }
  return "";
}

const char* text_of(ast::UnaryOp op) {
  switch (op) {
    case ast::UnaryOp::Neg: return "-";
    case ast::UnaryOp::Not: return "!";
    case ast::UnaryOp::BitNot: return "~";
  }
  return "";
}

const char* text_of(ast::AssignOp op) {
  switch (op) {
    case ast::AssignOp::Set: return "=";
    case ast::AssignOp::Add: return "+=";
    case ast::AssignOp::Sub: return "-=";
    case ast::AssignOp::Mul: return "*=";
    case ast::AssignOp::Div: return "/=";
  }
  return "";
}

}  // namespace formatting

std::string format(const SourceMap& sources, const ast::File& file) {
  std::string out = formatting::layout(formatting::Printer(sources, file).file(), formatting::width);
  if (!out.empty()) out += '\n';
  return out;
}

}  // namespace tessera
