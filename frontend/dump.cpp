#include <fmt/format.h>

#include "frontend/format.h"
#include "frontend/format_printer.h"

namespace tessera {

namespace {

using formatting::dotted;

/// One line an item, statement or entry; expressions as S-expressions. No positions, so that two spellings of one program compare equal.
class Dumper {
 public:
  std::string run(const ast::File& file) {
    for (const ast::Item& i : file.items) std::visit([&](const auto& n) { item(n); }, i.node);
    return std::move(out_);
  }

 private:
  void line(const std::string& s) { out_ += std::string(2 * depth_, ' ') + s + "\n"; }

  struct Indent {
    explicit Indent(Dumper& d) : dumper(d) { ++dumper.depth_; }
    ~Indent() { --dumper.depth_; }
    Dumper& dumper;
  };

  // --- expressions

  std::string expr(const ast::ExprPtr& e) {
    return std::visit([&](const auto& n) { return node(n); }, e->node);
  }
  std::string exprs(const std::vector<ast::ExprPtr>& list) {
    std::string out;
    for (const ast::ExprPtr& e : list) out += (out.empty() ? "" : ", ") + expr(e);
    return out;
  }
  std::string args(const std::vector<ast::Arg>& list) {
    std::string out;
    for (const ast::Arg& a : list) out += (out.empty() ? "" : ", ") + (a.name ? a.name->name + ": " : "") + expr(a.value);
    return out;
  }

  std::string node(const ast::Number& n) { return n.is_float ? fmt::format("(real {})", n.real) : fmt::format("{}", n.integer); }
  std::string node(const ast::String& n) { return formatting::quoted(n.value); }
  std::string node(const ast::Bool& n) { return n.value ? "true" : "false"; }
  std::string node(const ast::Inf&) { return "inf"; }
  std::string node(const ast::Name& n) { return n.name; }
  std::string node(const ast::All&) { return ":"; }
  std::string node(const ast::Unary& n) { return fmt::format("({} {})", formatting::text_of(n.op), expr(n.operand)); }
  std::string node(const ast::Chain& n) {
    std::string out = "(" + expr(n.first);
    for (const ast::ChainLink& link : n.rest) out += fmt::format(" {} {}", ast::text(link.op), expr(link.rhs));
    return out + ")";
  }
  std::string node(const ast::RangeExpr& n) { return fmt::format("(range {} {})", expr(n.lo), expr(n.hi)); }
  std::string node(const ast::Postfix& n) {
    std::string out = "(postfix " + expr(n.base);
    for (const ast::Suffix& s : n.suffixes) out += " " + std::visit([&](const auto& k) { return suffix(k); }, s.kind);
    return out + ")";
  }
  std::string suffix(const ast::Call& c) { return "(" + args(c.args) + ")"; }
  std::string suffix(const ast::Index& i) { return "[" + exprs(i.items) + "]"; }
  std::string suffix(const ast::Member& m) { return "." + m.name.name; }
  std::string node(const ast::Lambda& n) {
    std::string params;
    for (const ast::Ident& p : n.params) params += (params.empty() ? "" : ", ") + p.name;
    if (n.body) return fmt::format("(lambda |{}| {})", params, expr(n.body));
    // The statements of a lambda's block are lines of their own even here.
    std::string outer = std::move(out_);
    out_.clear();
    block(*n.block);
    std::string statements = std::move(out_);
    out_ = std::move(outer);
    return fmt::format("(lambda |{}|\n{}{})", params, statements, std::string(2 * depth_, ' '));
  }

  // --- types

  std::string type(const ast::TypeExpr& t) {
    return std::visit([&](const auto& n) { return node(n); }, t.node);
  }
  std::string types(const std::vector<ast::TypeExpr>& list) {
    std::string out;
    for (const ast::TypeExpr& t : list) out += (out.empty() ? "" : ", ") + type(t);
    return out;
  }
  std::string node(const ast::NamedType& t) {
    return (t.view ? "view " : "") + dotted(t.path) + (t.has_dims ? "[" + exprs(t.dims) + "]" : "") + (t.strided ? " strided" : "");
  }
  std::string node(const ast::RangeTypeExpr& t) { return "range[" + expr(t.axis) + "]"; }
  std::string node(const ast::FnTypeExpr& t) { return fmt::format("fn{}({}) -> ({})", generics(t.generics), types(t.params), types(t.results)); }
  std::string generics(const std::vector<ast::Generic>& list) {
    std::string out;
    for (const ast::Generic& g : list)
      out += fmt::format("{}{}: {}{}", out.empty() ? "" : ", ", g.name.name, g.fn_type ? type(*g.fn_type) : formatting::name_of(g.kind),
                         g.fallback ? " = " + expr(g.fallback) : "");
    return out.empty() ? "" : "[" + out + "]";
  }

  // --- statements

  void block(const ast::Block& b) {
    Indent indent(*this);
    for (const ast::Stmt& s : b.stmts) std::visit([&](const auto& n) { statement(n); }, s.node);
  }
  void statement(const ast::Let& n) {
    std::string names;
    for (const ast::Ident& i : n.names) names += (names.empty() ? "" : ", ") + i.name;
    line(fmt::format("{} {}{} = {}{}", n.is_var ? "var" : "let", names, n.type ? ": " + type(*n.type) : "", n.label ? n.label->name + ": " : "",
                     expr(n.value)));
  }
  void statement(const ast::Assign& n) { line(fmt::format("assign {} {} {}", expr(n.target), formatting::text_of(n.op), expr(n.value))); }
  void statement(const ast::ExprStmt& n) { line("do " + expr(n.value)); }
  void statement(const ast::For& n) {
    line(fmt::format("for {}{}{} in {}", n.label ? n.label->name + ": " : "", n.is_const ? "const " : "", n.var.name, expr(n.iter)));
    block(*n.body);
  }
  void statement(const ast::While& n) {
    line("while " + expr(n.condition));
    block(*n.body);
  }
  void statement(const ast::If& n) {
    line("if " + expr(n.condition));
    block(*n.then);
    if (!n.otherwise) return;
    line("else");
    block(*n.otherwise);
  }
  void statement(const ast::Return& n) { line(n.values.empty() ? "return" : "return " + exprs(n.values)); }
  void statement(const ast::Break&) { line("break"); }
  void statement(const ast::Assert& n) { line("assert " + expr(n.condition) + (n.message ? " " + formatting::quoted(*n.message) : "")); }
  void statement(const ast::Claim& n) { line("claim " + expr(n.what) + (n.why ? " " + formatting::quoted(*n.why) : "")); }

  // --- items

  void item(const ast::Import& n) { line("import " + dotted(n.path) + (n.as ? " as " + n.as->name : "")); }
  void item(const ast::Const& n) { line(fmt::format("const {}{} = {}", n.name.name, n.type ? ": " + type(*n.type) : "", expr(n.value))); }
  void item(const ast::NewType& n) { line(fmt::format("type {} = {}", n.name.name, type(n.type))); }
  void item(const ast::Struct& n) {
    line(fmt::format("struct {}{}", n.name.name, generics(n.generics)));
    Indent indent(*this);
    for (const ast::Field& f : n.fields) line(fmt::format("{}: {}{}", f.name.name, type(f.type), f.fallback ? " = " + expr(f.fallback) : ""));
  }
  void params(const std::vector<ast::Param>& list) {
    Indent indent(*this);
    for (const ast::Param& p : list)
      line(fmt::format("param {}: {}{}{}{}{}", p.name.name, p.peers ? "peer[" + expr(p.peers) + "] " : "", formatting::prefix_of(p.mode),
                       type(p.type), p.optional ? " ?" : "", p.fallback ? " = " + expr(p.fallback) : ""));
  }
  void item(const ast::Fn& n) {
    line(fmt::format("fn {}{} -> ({})", n.name.name, generics(n.generics), types(n.results)));
    params(n.params);
    block(n.body);
  }
  std::string domain(const std::vector<ast::ExprPtr>& set, const ast::ExprPtr& range) {
    return range ? " in " + expr(range) : set.empty() ? "" : " in {" + exprs(set) + "}";
  }
  std::string condition(const ast::Condition& c) { return expr(c.value) + domain(c.set, c.range); }
  void item(const ast::Kernel& n) {
    line(fmt::format("kernel {}{}{}{}{}", n.name.name, generics(n.generics), n.strict ? " strict" : "", n.deterministic ? " deterministic" : "",
                     n.resident ? " resident" : ""));
    params(n.params);
    {
      Indent indent(*this);
      for (const ast::Condition& c : n.where) line("where " + condition(c));
      for (const ast::Over& o : n.over) line(fmt::format("over {} in {}", o.name.name, expr(o.domain)));
    }
    block(n.body);
  }
  void item(const ast::KernelInstance& n) { line(fmt::format("kernel {} = {}[{}]", n.name.name, dotted(n.of), args(n.args))); }
  void item(const ast::Tune& n) {
    line("tune " + dotted(n.target) + (n.like ? " like " + dotted(*n.like) : ""));
    Indent indent(*this);
    for (const ast::TuneChoice& c : n.choices) line(c.name.name + domain(c.set, c.range));
    for (const ast::Condition& c : n.where) line("where " + condition(c));
    for (const ast::ExprPtr& k : n.keys) line("key " + expr(k));
    for (const ast::Ident& i : n.invariant) line("invariant " + i.name);
  }
  void item(const ast::Schedule& n) {
    line("schedule " + dotted(n.target) + (n.like ? " like " + dotted(*n.like) : " on " + n.on->name));
    Indent indent(*this);
    for (const ast::Directive& d : n.directives) {
      std::string args;
      for (const ast::DirectiveArg& a : d.args)
        args += fmt::format(" ({}{}{}{})", dotted(a.subject), a.index ? " #" + expr(a.index) : "", a.value ? ": " + expr(a.value) : "",
                            a.modifier ? " " + a.modifier->name : "");
      line(d.name.name + args);
    }
  }

  std::string out_;
  std::size_t depth_ = 0;
};

}  // namespace

std::string dump(const ast::File& file) { return Dumper().run(file); }

}  // namespace tessera
