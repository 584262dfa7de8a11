#include "frontend/parse.h"

#include <algorithm>
#include <boost/spirit/home/x3.hpp>

#include "frontend/limits.h"
#include "frontend/parse_support.h"

// The grammar runs over tokens. Rules build the tree with actions rather than by attribute propagation, since the nodes are move-only.
// No rule is tried twice at one place: alternatives differ in their first word or in a bounded look-ahead, so time is linear.
// `a >> b` may fail and leave room for another alternative; `a > b` is an error if b does not follow.

namespace tessera::parsing {
namespace {

namespace x3 = boost::spirit::x3;
using Kind = TokenKind;

struct state_tag {};
template <typename Context>
State& state(const Context& context) {
  return x3::get<state_tag>(context);
}

// --- parsers of one token

struct TokenParser : x3::parser<TokenParser> {
  using attribute_type = x3::unused_type;
  static constexpr bool has_attribute = false;
  constexpr TokenParser(Kind k, const char* n) : kind(k), name(n) {}
  template <typename Context, typename RContext, typename Attribute>
  bool parse(Cursor& first, const Cursor& last, const Context&, RContext&, Attribute&) const {
    if (first == last || first->kind != kind) return false;
    ++first;
    return true;
  }
  Kind kind;
  const char* name;  ///< for messages; null: the kind's own
};
constexpr TokenParser tok(Kind kind, const char* name = nullptr) { return {kind, name}; }

/// A word that is reserved only where the grammar expects it.
struct WordParser : x3::parser<WordParser> {
  using attribute_type = x3::unused_type;
  static constexpr bool has_attribute = false;
  constexpr explicit WordParser(const char* w) : text(w) {}
  template <typename Context, typename RContext, typename Attribute>
  bool parse(Cursor& first, const Cursor& last, const Context&, RContext&, Attribute&) const {
    if (first == last || first->kind != Kind::Name || first->text != text) return false;
    ++first;
    return true;
  }
  const char* text;
};
constexpr WordParser word(const char* text) { return WordParser(text); }

/// Any token that is accepted; the attribute points to it.
struct OneOfParser : x3::parser<OneOfParser> {
  using attribute_type = Cursor;
  static constexpr bool has_attribute = true;
  constexpr OneOfParser(const char* n, bool (*a)(const Token&)) : name(n), accepts(a) {}
  template <typename Context, typename RContext, typename Attribute>
  bool parse(Cursor& first, const Cursor& last, const Context&, RContext&, Attribute& attribute) const {
    if (first == last || !accepts(*first)) return false;
    if constexpr (std::is_same_v<Attribute, Cursor>) attribute = first;
    ++first;
    return true;
  }
  const char* name;
  bool (*accepts)(const Token&);
};

struct NameParser : x3::parser<NameParser> {
  using attribute_type = ast::Ident;
  static constexpr bool has_attribute = true;
  template <typename Context, typename RContext, typename Attribute>
  bool parse(Cursor& first, const Cursor& last, const Context& context, RContext&, Attribute& attribute) const {
    if (first == last || first->kind != Kind::Name) return false;
    if constexpr (std::is_same_v<Attribute, ast::Ident>) attribute = {std::string(first->text), state(context).span(first)};
    ++first;
    return true;
  }
};

// --- directives

template <typename Node>
void set_span(Node& node, Span span) {
  node.span = span;
}
void set_span(ast::ExprPtr& node, Span span) { node->span = span; }

/// Gives the node that the enclosing rule builds the span of what `subject` matched.
template <typename Subject>
struct Spanned : x3::unary_parser<Subject, Spanned<Subject>> {
  using base = x3::unary_parser<Subject, Spanned<Subject>>;
  static constexpr bool is_pass_through_unary = true;
  constexpr explicit Spanned(const Subject& s) : base(s) {}
  template <typename Context, typename RContext, typename Attribute>
  bool parse(Cursor& first, const Cursor& last, const Context& context, RContext& rcontext, Attribute& attribute) const {
    Cursor start = first;
    if (!this->subject.parse(first, last, context, rcontext, attribute)) return false;
    set_span(rcontext, state(context).span(start, first));
    return true;
  }
};
template <typename P>
constexpr auto spanned(const P& p) {
  return Spanned<typename x3::extension::as_parser<P>::value_type>(x3::as_parser(p));
}

/// Reports what was expected, and goes on behind the broken part, which leaves no node.
template <typename Subject>
struct Recovering : x3::unary_parser<Subject, Recovering<Subject>> {
  using base = x3::unary_parser<Subject, Recovering<Subject>>;
  static constexpr bool is_pass_through_unary = true;
  constexpr Recovering(const Subject& s, Cursor (*f)(Cursor, Cursor)) : base(s), skip(f) {}
  template <typename Context, typename RContext, typename Attribute>
  bool parse(Cursor& first, const Cursor& last, const Context& context, RContext& rcontext, Attribute& attribute) const {
    Cursor start = first;
    try {
      return this->subject.parse(first, last, context, rcontext, attribute);
    } catch (const x3::expectation_failure<Cursor>& failure) {
      report_expected(state(context), failure.where(), failure.which());
      first = state(context).gave_up ? last - 1 : skip(start, failure.where());
      return true;
    }
  }
  Cursor (*skip)(Cursor start, Cursor at);
};
template <typename P>
constexpr auto recovering(const P& p, Cursor (*skip)(Cursor, Cursor)) {
  return Recovering<typename x3::extension::as_parser<P>::value_type>(x3::as_parser(p), skip);
}

}  // namespace
}  // namespace tessera::parsing

// The names in "expected ..".
namespace boost::spirit::x3 {
template <>
struct get_info<tessera::parsing::TokenParser> {
  std::string operator()(const tessera::parsing::TokenParser& p) const { return p.name ? p.name : tessera::describe(p.kind); }
};
template <>
struct get_info<tessera::parsing::WordParser> {
  std::string operator()(const tessera::parsing::WordParser& p) const { return std::string("`") + p.text + "`"; }
};
template <>
struct get_info<tessera::parsing::OneOfParser> {
  std::string operator()(const tessera::parsing::OneOfParser& p) const { return p.name; }
};
template <>
struct get_info<tessera::parsing::NameParser> {
  std::string operator()(const tessera::parsing::NameParser&) const { return tessera::describe(tessera::TokenKind::Name); }
};
template <typename Subject, typename Action>
struct get_info<action<Subject, Action>> {
  std::string operator()(const action<Subject, Action>& p) const { return what(p.subject); }
};
template <typename Left, typename Right>
struct get_info<sequence<Left, Right>> {
  std::string operator()(const sequence<Left, Right>& p) const { return what(p.left); }
};
template <typename Subject>
struct get_info<tessera::parsing::Spanned<Subject>> {
  std::string operator()(const tessera::parsing::Spanned<Subject>& p) const { return what(p.subject); }
};
}  // namespace boost::spirit::x3

namespace tessera::parsing {
namespace {

// --- actions

template <typename To, typename From>
void put(To& to, From&& from) {
  to = std::forward<From>(from);
}
template <typename T>
void put(std::unique_ptr<T>& to, T&& from) {
  to = std::make_unique<T>(std::move(from));
}
template <typename T>
ast::ExprPtr make_expr(T node) {
  auto e = std::make_unique<ast::Expr>();
  e->node = std::move(node);
  return e;
}

/// The rule's value is what the part matched.
constexpr auto take = [](auto& ctx) { put(x3::_val(ctx), std::move(x3::_attr(ctx))); };
constexpr auto set(auto member) {
  return [member](auto& ctx) { put(x3::_val(ctx).*member, std::move(x3::_attr(ctx))); };
}
constexpr auto push(auto member) {
  return [member](auto& ctx) { (x3::_val(ctx).*member).push_back(std::move(x3::_attr(ctx))); };
}
/// push, unless recovery left the node empty
constexpr auto push_parsed(auto member) {
  return [member](auto& ctx) {
    if (x3::_attr(ctx).span.known()) (x3::_val(ctx).*member).push_back(std::move(x3::_attr(ctx)));
  };
}
constexpr auto put_value(auto member, auto constant) {
  return [member, constant](auto& ctx) { x3::_val(ctx).*member = constant; };
}
/// The part is one alternative of the rule's variant.
constexpr auto node = [](auto& ctx) { x3::_val(ctx).node = std::move(x3::_attr(ctx)); };
/// The same for a rule that makes an ExprPtr.
constexpr auto expr_node = [](auto& ctx) { x3::_val(ctx) = make_expr(std::move(x3::_attr(ctx))); };

// --- pieces

constexpr NameParser name;
/// `p, p, ..`; unlike x3's list a comma must be followed by an element.
constexpr auto list(auto p) { return p >> *(tok(Kind::Comma) > p); }
constexpr auto closing(Kind kind) { return tok(kind, kind == Kind::RParen ? "`,` or `)`" : kind == Kind::RBracket ? "`,` or `]`" : "`,` or `}`"); }

template <typename Tag, typename Attribute>
using Rule = x3::rule<Tag, Attribute>;
#define TESSERA_RULE(id, Attribute, description) const Rule<struct id##_tag, Attribute> id = description
TESSERA_RULE(label, ast::Ident, "a label");
TESSERA_RULE(path, ast::Path, "a name");
TESSERA_RULE(expr, ast::ExprPtr, "an expression");
TESSERA_RULE(lambda, ast::Lambda, "a lambda");
TESSERA_RULE(range, ast::ExprPtr, "an expression");
TESSERA_RULE(binary, Operands, "an expression");
TESSERA_RULE(unary, ast::ExprPtr, "an expression");
TESSERA_RULE(postfix, ast::ExprPtr, "an expression");
TESSERA_RULE(suffix, ast::Suffix, "a call, index or member");
TESSERA_RULE(index_items, ast::Index, "an index");
TESSERA_RULE(index_item, ast::ExprPtr, "an expression or `:`");
TESSERA_RULE(arguments, ast::Call, "arguments");
TESSERA_RULE(argument, ast::Arg, "an expression");
TESSERA_RULE(primary, ast::ExprPtr, "an expression");
TESSERA_RULE(number, ast::ExprPtr, "a number");
TESSERA_RULE(string, std::string, "a string");
TESSERA_RULE(type, ast::TypeExpr, "a type");
TESSERA_RULE(named_type, ast::NamedType, "a type");
TESSERA_RULE(range_type, ast::RangeTypeExpr, "a type");
TESSERA_RULE(fn_type, ast::FnTypeExpr, "a type");
TESSERA_RULE(fn_kind, ast::TypeExpr, "a type");
TESSERA_RULE(generic, ast::Generic, "a name");
TESSERA_RULE(generics, std::vector<ast::Generic>, "`[`");
TESSERA_RULE(results, std::vector<ast::TypeExpr>, "a type");
TESSERA_RULE(block, ast::Block, "`{`");
TESSERA_RULE(statement, ast::Stmt, "a statement");
TESSERA_RULE(statement_body, ast::Stmt, "a statement");
TESSERA_RULE(let, ast::Let, "`let`");
TESSERA_RULE(simple, ast::Assign, "a statement");
TESSERA_RULE(for_loop, ast::For, "`for`");
TESSERA_RULE(while_loop, ast::While, "`while`");
TESSERA_RULE(if_statement, ast::Stmt, "`if`");
TESSERA_RULE(if_body, ast::If, "`if`");
TESSERA_RULE(return_statement, ast::Return, "`return`");
TESSERA_RULE(assertion, ast::Assert, "`assert`");
TESSERA_RULE(claim, ast::Claim, "`claim`");
TESSERA_RULE(param, ast::Param, "a name");
TESSERA_RULE(params, std::vector<ast::Param>, "`(`");
TESSERA_RULE(condition, ast::Condition, "an expression");
TESSERA_RULE(import, ast::Import, "`import`");
TESSERA_RULE(constant, ast::Const, "`const`");
TESSERA_RULE(new_type, ast::NewType, "`type`");
TESSERA_RULE(field, ast::Field, "a name");
TESSERA_RULE(structure, ast::Struct, "`struct`");
TESSERA_RULE(function, ast::Fn, "`fn`");
TESSERA_RULE(over, ast::Over, "a name");
TESSERA_RULE(kernel, ast::Kernel, "`kernel`");
TESSERA_RULE(instance, ast::KernelInstance, "`kernel`");
TESSERA_RULE(choice, ast::TuneChoice, "a name");
TESSERA_RULE(tune_entry, ast::Tune, "an entry of `tune`");
TESSERA_RULE(tune_body, ast::Tune, "`name in ..`, `where`, `key` or `invariant`");
TESSERA_RULE(tune, ast::Tune, "`tune`");
TESSERA_RULE(directive_argument, ast::DirectiveArg, "an argument");
TESSERA_RULE(directive, ast::Directive, "a directive");
TESSERA_RULE(directive_body, ast::Directive, "a directive");
TESSERA_RULE(schedule, ast::Schedule, "`schedule`");
TESSERA_RULE(item, ast::Item, "an item");
TESSERA_RULE(item_body, ast::Item, "`import`, `const`, `type`, `struct`, `fn`, `kernel`, `tune` or `schedule`");
TESSERA_RULE(file, ast::File, "a file");
#undef TESSERA_RULE

const auto label_def = name[take] >> tok(Kind::Colon);
const auto path_def = spanned(name[push(&ast::Path::parts)] >> *(tok(Kind::Dot) > name[push(&ast::Path::parts)]));

// --- expressions

const auto expr_def = spanned(lambda[expr_node]) | range[take];
const auto lambda_def = tok(Kind::Or) > list(name[push(&ast::Lambda::params)]) > tok(Kind::Or, "`,` or `|`") >
                        (block[set(&ast::Lambda::block)] | (x3::eps > expr[set(&ast::Lambda::body)]));

constexpr auto fold_operands = [](auto& ctx) { x3::_val(ctx) = fold(x3::_attr(ctx), state(ctx)); };
constexpr auto to_range = [](auto& ctx) {
  ast::ExprPtr lo = std::move(x3::_val(ctx));
  ast::ExprPtr hi = fold(x3::_attr(ctx), state(ctx));
  Span span = join(lo->span, hi->span);
  x3::_val(ctx) = make_expr(ast::RangeExpr{std::move(lo), std::move(hi)});
  x3::_val(ctx)->span = span;
};
const auto range_def = binary[fold_operands] >> -(tok(Kind::DotDot) > binary[to_range]);

// One rule for all binary levels, grouped by precedence afterwards: nine nested rules would cost their stack at every bracket.
constexpr OneOfParser binary_operator{"an operator", is_binary_operator};
const auto binary_def = unary[push(&Operands::operands)] >> *(binary_operator[push(&Operands::operators)] > unary[push(&Operands::operands)]);

constexpr OneOfParser prefix_operator{"an operator",
                                      [](const Token& t) { return t.kind == Kind::Minus || t.kind == Kind::Not || t.kind == Kind::Tilde; }};
constexpr auto begin_unary = [](auto& ctx) {
  Kind kind = x3::_attr(ctx)->kind;
  x3::_val(ctx) = make_expr(ast::Unary{kind == Kind::Minus ? ast::UnaryOp::Neg : kind == Kind::Not ? ast::UnaryOp::Not : ast::UnaryOp::BitNot, {}});
};
constexpr auto end_unary = [](auto& ctx) { std::get<ast::Unary>(x3::_val(ctx)->node).operand = std::move(x3::_attr(ctx)); };
const auto unary_def = spanned(prefix_operator[begin_unary] > unary[end_unary]) | postfix[take];

constexpr auto append_suffix = [](auto& ctx) {
  ast::ExprPtr& base = x3::_val(ctx);
  ast::Suffix& suffix = x3::_attr(ctx);
  Span span = join(base->span, suffix.span);
  if (base->parenthesised || !std::holds_alternative<ast::Postfix>(base->node)) base = make_expr(ast::Postfix{std::move(base), {}});
  base->span = span;
  std::get<ast::Postfix>(base->node).suffixes.push_back(std::move(suffix));
};
constexpr auto suffix_kind = [](auto& ctx) { x3::_val(ctx).kind = std::move(x3::_attr(ctx)); };
constexpr auto suffix_member = [](auto& ctx) { x3::_val(ctx).kind = ast::Member{std::move(x3::_attr(ctx))}; };
const auto postfix_def = primary[take] >> *suffix[append_suffix];
const auto suffix_def = spanned((tok(Kind::Dot) > name[suffix_member]) | index_items[suffix_kind] | arguments[suffix_kind]);
const auto index_items_def = tok(Kind::LBracket) > list(index_item[push(&ast::Index::items)]) > closing(Kind::RBracket);
constexpr auto make_all = [](auto& ctx) { x3::_val(ctx) = make_expr(ast::All{}); };
const auto index_item_def = spanned(tok(Kind::Colon)[make_all]) | expr[take];
const auto arguments_def = tok(Kind::LParen) > -(!tok(Kind::RParen) > list(argument[push(&ast::Call::args)])) > closing(Kind::RParen);
const auto argument_def = -label[set(&ast::Arg::name)] > expr[set(&ast::Arg::value)];

constexpr OneOfParser number_token{"a number", [](const Token& t) { return t.kind == Kind::Integer || t.kind == Kind::Real; }};
constexpr OneOfParser string_token{"a string", [](const Token& t) { return t.kind == Kind::String; }};
constexpr auto make_number = [](auto& ctx) {
  ast::Number n = number_of(*x3::_attr(ctx));
  n.spelling = state(ctx).span(x3::_attr(ctx));
  x3::_val(ctx) = make_expr(n);
};
constexpr auto make_string = [](auto& ctx) { x3::_val(ctx) = make_expr(ast::String{std::move(x3::_attr(ctx))}); };
constexpr auto make_name = [](auto& ctx) { x3::_val(ctx) = make_expr(ast::Name{std::move(x3::_attr(ctx).name)}); };
constexpr auto make_bool(bool b) {
  return [b](auto& ctx) { x3::_val(ctx) = make_expr(ast::Bool{b}); };
}
constexpr auto make_inf = [](auto& ctx) { x3::_val(ctx) = make_expr(ast::Inf{}); };
constexpr auto mark_parenthesised = [](auto& ctx) { x3::_val(ctx)->parenthesised = true; };
const auto number_def = spanned(number_token[make_number]);
const auto string_def = string_token[([](auto& ctx) { x3::_val(ctx) = string_of(*x3::_attr(ctx)); })];
const auto primary_def =
    number[take] | spanned(string[make_string] | tok(Kind::True)[make_bool(true)] | tok(Kind::False)[make_bool(false)] | tok(Kind::Inf)[make_inf] |
                           name[make_name] | ((tok(Kind::LParen) > expr[take] > tok(Kind::RParen)) >> x3::eps[mark_parenthesised]));

// --- types

constexpr auto append = [](auto& ctx) { x3::_val(ctx).push_back(std::move(x3::_attr(ctx))); };
const auto type_def = spanned(fn_type[node] | range_type[node] | named_type[node]);
const auto fn_type_def = tok(Kind::Fn) > -generics[set(&ast::FnTypeExpr::generics)] > tok(Kind::LParen) >
                         -(!tok(Kind::RParen) > list(type[push(&ast::FnTypeExpr::params)])) > closing(Kind::RParen) >
                         tok(Kind::Arrow) > results[set(&ast::FnTypeExpr::results)];
const auto results_def = (tok(Kind::LParen) > list(type[append]) > closing(Kind::RParen)) | type[append];
const auto range_type_def = word("range") >> tok(Kind::LBracket) > expr[set(&ast::RangeTypeExpr::axis)] > tok(Kind::RBracket);
const auto dims =
    -(tok(Kind::LBracket)[put_value(&ast::NamedType::has_dims, true)] > list(expr[push(&ast::NamedType::dims)]) > closing(Kind::RBracket));
const auto named_type_def = (tok(Kind::View)[put_value(&ast::NamedType::view, true)] > path[set(&ast::NamedType::path)] > dims >
                             -word("strided")[put_value(&ast::NamedType::strided, true)]) |
                            (path[set(&ast::NamedType::path)] >> dims);

struct KindWord {
  std::string_view text;
  ast::GenericKind kind;
};
constexpr KindWord kind_words[] = {{"int", ast::GenericKind::Int},       {"bool", ast::GenericKind::Bool},   {"dtype", ast::GenericKind::DTypeAny},
                                   {"half", ast::GenericKind::Half},     {"float", ast::GenericKind::Float}, {"inttype", ast::GenericKind::IntType},
                                   {"struct", ast::GenericKind::Struct}, {"dim", ast::GenericKind::Dim}};
constexpr OneOfParser kind_word{
    "a kind (int, bool, dtype, half, float, inttype, struct, dim or a fn type)",
    [](const Token& t) { return std::any_of(std::begin(kind_words), std::end(kind_words), [&](const KindWord& k) { return k.text == t.text; }); }};
constexpr auto set_kind = [](auto& ctx) {
  Cursor token = x3::_attr(ctx);
  for (const KindWord& k : kind_words)
    if (k.text == token->text) x3::_val(ctx).kind = k.kind;
  x3::_val(ctx).kind_span = state(ctx).span(token);
};
constexpr auto set_fn_kind = [](auto& ctx) {
  x3::_val(ctx).kind = ast::GenericKind::Fn;
  x3::_val(ctx).kind_span = x3::_attr(ctx).span;
  put(x3::_val(ctx).fn_type, std::move(x3::_attr(ctx)));
};
const auto fn_kind_def = spanned(fn_type[node]);
const auto generics_def = tok(Kind::LBracket) > list(generic[append]) > closing(Kind::RBracket);
const auto generic_def = name[set(&ast::Generic::name)] > tok(Kind::Colon) > (fn_kind[set_fn_kind] | (x3::eps > kind_word[set_kind])) >
                         -(tok(Kind::Assign) > expr[set(&ast::Generic::fallback)]);

// --- statements

constexpr OneOfParser item_at_margin{"an item", [](const Token& t) { return t.at_margin && begins_item(t.kind); }};
/// Repeats `entry` up to the closing brace. A missing brace shows at the next item at the margin.
constexpr auto entries(auto entry) {
  return tok(Kind::LBrace) > *(!tok(Kind::RBrace) >> !tok(Kind::End) >> !item_at_margin >> entry) > tok(Kind::RBrace);
}
constexpr auto semicolon = tok(Kind::Semicolon);
const auto block_def = spanned(entries(statement[push_parsed(&ast::Block::stmts)]));

constexpr auto simple_node = [](auto& ctx) {
  ast::Assign& a = x3::_attr(ctx);
  if (a.value)
    x3::_val(ctx).node = std::move(a);
  else
    x3::_val(ctx).node = ast::ExprStmt{std::move(a.target)};
};
constexpr auto break_node = [](auto& ctx) { x3::_val(ctx).node = ast::Break{}; };
const auto statement_def = recovering(x3::eps > statement_body[take], skip_statement);
const auto statement_body_def =
    if_statement[take] | spanned(let[node] | for_loop[node] | while_loop[node] | return_statement[node] | (tok(Kind::Break)[break_node] > semicolon) |
                                 assertion[node] | claim[node] | simple[simple_node]);

const auto let_def = (tok(Kind::Let) | tok(Kind::Var)[put_value(&ast::Let::is_var, true)]) >
                     ((tok(Kind::LParen) > list(name[push(&ast::Let::names)]) > closing(Kind::RParen)) |
                      (x3::eps > name[push(&ast::Let::names)] > -(tok(Kind::Colon) > type[set(&ast::Let::type)]))) > tok(Kind::Assign) >
                     -label[set(&ast::Let::label)] > expr[set(&ast::Let::value)] > semicolon;

struct AssignWord {
  Kind kind;
  ast::AssignOp op;
};
constexpr AssignWord assign_words[] = {{Kind::Assign, ast::AssignOp::Set},
                                       {Kind::PlusEq, ast::AssignOp::Add},
                                       {Kind::MinusEq, ast::AssignOp::Sub},
                                       {Kind::StarEq, ast::AssignOp::Mul},
                                       {Kind::SlashEq, ast::AssignOp::Div}};
constexpr OneOfParser assign_operator{"an assignment", [](const Token& t) {
                                        return std::any_of(std::begin(assign_words), std::end(assign_words),
                                                           [&](const AssignWord& a) { return a.kind == t.kind; });
                                      }};
constexpr auto set_assign = [](auto& ctx) {
  for (const AssignWord& a : assign_words)
    if (a.kind == x3::_attr(ctx)->kind) x3::_val(ctx).op = a.op;
};
const auto simple_def = expr[set(&ast::Assign::target)] >> -(assign_operator[set_assign] > expr[set(&ast::Assign::value)]) > semicolon;

const auto for_loop_def = ((label[set(&ast::For::label)] > tok(Kind::For)) | tok(Kind::For)) >
                          -tok(Kind::Const)[put_value(&ast::For::is_const, true)] > name[set(&ast::For::var)] >
                          tok(Kind::In) > expr[set(&ast::For::iter)] > block[set(&ast::For::body)];
const auto while_loop_def = tok(Kind::While) > expr[set(&ast::While::condition)] > block[set(&ast::While::body)];

constexpr auto set_else_if = [](auto& ctx) {
  ast::Stmt stmt = std::move(x3::_attr(ctx));
  std::get<ast::If>(stmt.node).else_if = true;
  auto arm = std::make_unique<ast::Block>();
  arm->span = stmt.span;
  arm->stmts.push_back(std::move(stmt));
  x3::_val(ctx).otherwise = std::move(arm);
};
const auto if_statement_def = spanned(if_body[node]);
const auto if_body_def = tok(Kind::If) > expr[set(&ast::If::condition)] > block[set(&ast::If::then)] >
                         -(tok(Kind::Else) > (if_statement[set_else_if] | (x3::eps > block[set(&ast::If::otherwise)])));
const auto return_statement_def = tok(Kind::Return) > -(!semicolon > list(expr[push(&ast::Return::values)])) > semicolon;
const auto assertion_def = tok(Kind::Assert) > expr[set(&ast::Assert::condition)] >
                           -(tok(Kind::Comma) > string[set(&ast::Assert::message)]) > semicolon;
const auto claim_def = tok(Kind::Claim) > expr[set(&ast::Claim::what)] > -string[set(&ast::Claim::why)] > semicolon;

// --- items

struct ModeWord {
  Kind kind;
  ast::ParamMode mode;
};
constexpr ModeWord mode_words[] = {{Kind::Out, ast::ParamMode::Out}, {Kind::InOut, ast::ParamMode::InOut}, {Kind::Scatter, ast::ParamMode::Scatter}};
constexpr OneOfParser mode_word{
    "a mode",
    [](const Token& t) { return std::any_of(std::begin(mode_words), std::end(mode_words), [&](const ModeWord& m) { return m.kind == t.kind; }); }};
constexpr auto set_mode = [](auto& ctx) {
  for (const ModeWord& m : mode_words)
    if (m.kind == x3::_attr(ctx)->kind) x3::_val(ctx).mode = m.mode;
};
const auto params_def = tok(Kind::LParen) > -(!tok(Kind::RParen) > list(param[append])) > closing(Kind::RParen);
const auto param_def = name[set(&ast::Param::name)] > tok(Kind::Colon) >
                       -(word("peer") >> tok(Kind::LBracket) > expr[set(&ast::Param::peers)] > tok(Kind::RBracket)) >
                       -(mode_word[set_mode] |
                         (word("add") >> &tok(Kind::View))[put_value(&ast::Param::mode, ast::ParamMode::Add)]) > type[set(&ast::Param::type)] >
                       -tok(Kind::Question)[put_value(&ast::Param::optional, true)] > -(tok(Kind::Assign) > expr[set(&ast::Param::fallback)]);

/// `{a, b}` or an expression, usually `lo .. hi`
template <typename Node>
constexpr auto domain() {
  return (tok(Kind::LBrace) > list(expr[push(&Node::set)]) > closing(Kind::RBrace)) | (x3::eps > expr[set(&Node::range)]);
}
const auto condition_def = spanned(expr[set(&ast::Condition::value)] >> -(tok(Kind::In) > domain<ast::Condition>()));

const auto import_def = tok(Kind::Import) > path[set(&ast::Import::path)] > -(word("as") > name[set(&ast::Import::as)]) > semicolon;
const auto constant_def = tok(Kind::Const) > name[set(&ast::Const::name)] > -(tok(Kind::Colon) > type[set(&ast::Const::type)]) >
                          tok(Kind::Assign) > expr[set(&ast::Const::value)] > semicolon;
const auto new_type_def = tok(Kind::Type) > name[set(&ast::NewType::name)] > tok(Kind::Assign) > type[set(&ast::NewType::type)] > semicolon;
const auto structure_def = tok(Kind::Struct) > name[set(&ast::Struct::name)] > -generics[set(&ast::Struct::generics)] > tok(Kind::LBrace) >
                           -(!tok(Kind::RBrace) > list(field[push(&ast::Struct::fields)])) > closing(Kind::RBrace);
const auto field_def = name[set(&ast::Field::name)] > tok(Kind::Colon) > type[set(&ast::Field::type)] >
                       -(tok(Kind::Assign) > expr[set(&ast::Field::fallback)]);
const auto function_def = tok(Kind::Fn) > name[set(&ast::Fn::name)] > -generics[set(&ast::Fn::generics)] > params[set(&ast::Fn::params)] >
                          -(tok(Kind::Arrow) > results[set(&ast::Fn::results)]) > block[set(&ast::Fn::body)];

constexpr OneOfParser kernel_flag{"a flag", [](const Token& t) { return t.text == "strict" || t.text == "deterministic" || t.text == "resident"; }};
constexpr auto set_kernel_flag = [](auto& ctx) {
  Cursor token = x3::_attr(ctx);
  ast::Kernel& k = x3::_val(ctx);
  (token->text == "strict" ? k.strict : token->text == "resident" ? k.resident : k.deterministic) = true;
  k.flags.push_back({std::string(token->text), state(ctx).span(token)});
};
const auto kernel_def = tok(Kind::Kernel) > name[set(&ast::Kernel::name)] > -generics[set(&ast::Kernel::generics)] >
                        params[set(&ast::Kernel::params)] > -(tok(Kind::Where) > list(condition[push(&ast::Kernel::where)])) > tok(Kind::Over) >
                        tok(Kind::LParen) > list(over[push(&ast::Kernel::over)]) > closing(Kind::RParen) >
                        *kernel_flag[set_kernel_flag] > block[set(&ast::Kernel::body)];
const auto over_def = name[set(&ast::Over::name)] > tok(Kind::In) > expr[set(&ast::Over::domain)];
const auto instance_def = tok(Kind::Kernel) >> name[set(&ast::KernelInstance::name)] >> tok(Kind::Assign) > path[set(&ast::KernelInstance::of)] >
                          tok(Kind::LBracket) > list(argument[push(&ast::KernelInstance::args)]) > closing(Kind::RBracket) > semicolon;

constexpr auto merge_entry = [](auto& ctx) {
  auto move_all = [](auto& from, auto& to) { std::move(from.begin(), from.end(), std::back_inserter(to)); };
  ast::Tune &from = x3::_attr(ctx), &to = x3::_val(ctx);
  move_all(from.choices, to.choices);
  move_all(from.where, to.where);
  move_all(from.keys, to.keys);
  move_all(from.invariant, to.invariant);
};
const auto tune_def = tok(Kind::Tune) > path[set(&ast::Tune::target)] >
                      ((word("like") > path[set(&ast::Tune::like)] > semicolon) | (x3::eps > entries(tune_entry[merge_entry])));
const auto tune_entry_def = recovering(x3::eps > tune_body[take], skip_entry);
const auto tune_body_def =
    (choice[push(&ast::Tune::choices)] | (tok(Kind::Where) > list(condition[push(&ast::Tune::where)])) |
     (word("key") > list(expr[push(&ast::Tune::keys)])) | (word("invariant") > list(name[push(&ast::Tune::invariant)]))) > semicolon;
const auto choice_def = name[set(&ast::TuneChoice::name)] >> tok(Kind::In) > domain<ast::TuneChoice>();

constexpr auto push_directive = [](auto& ctx) {
  if (x3::_attr(ctx).name.span.known()) x3::_val(ctx).directives.push_back(std::move(x3::_attr(ctx)));
};
const auto schedule_def = tok(Kind::Schedule) > path[set(&ast::Schedule::target)] >
                          ((word("like") > path[set(&ast::Schedule::like)] > semicolon) |
                           (x3::eps > word("on") > name[set(&ast::Schedule::on)] > entries(directive[push_directive])));
const auto directive_def = recovering(x3::eps > directive_body[take], skip_entry);
const auto directive_body_def = name[set(&ast::Directive::name)] >> -list(directive_argument[push(&ast::Directive::args)]) > semicolon;
const auto directive_argument_def = ((path[set(&ast::DirectiveArg::subject)] >> -number[set(&ast::DirectiveArg::index)]) |
                                     number[set(&ast::DirectiveArg::index)]) >>
                                    -(tok(Kind::Colon) > expr[set(&ast::DirectiveArg::value)] > -name[set(&ast::DirectiveArg::modifier)]);

const auto item_def = recovering(x3::eps > item_body[take], skip_item);
const auto item_body_def = spanned(import[node] | constant[node] | new_type[node] | structure[node] | function[node] | instance[node] | kernel[node] |
                                   tune[node] | schedule[node]);
const auto file_def = *(!tok(Kind::End) >> item[push_parsed(&ast::File::items)]) >> tok(Kind::End);

BOOST_SPIRIT_DEFINE(label, path, expr, lambda, range, binary, unary, postfix, suffix, index_items, index_item, arguments, argument, number, string,
                    primary)
BOOST_SPIRIT_DEFINE(type, fn_type, fn_kind, results, range_type, named_type, generics, generic)
BOOST_SPIRIT_DEFINE(block, statement, statement_body, let, simple, for_loop, while_loop, if_statement, if_body, return_statement, assertion, claim)
BOOST_SPIRIT_DEFINE(params, param, condition, import, constant, new_type, structure, field, function, kernel, over, instance)
BOOST_SPIRIT_DEFINE(tune, tune_entry, tune_body, choice, schedule, directive, directive_body, directive_argument, item, item_body, file)

}  // namespace
}  // namespace tessera::parsing

namespace tessera {

namespace {

/// Where a malformed word leaves a gap the grammar misses something: errors in the same statement behind one of the first `lexical` errors go.
void drop_consequences(const std::vector<Token>& tokens, std::size_t lexical, std::vector<Diagnostic>& errors) {
  if (lexical == 0) return;
  std::vector<std::uint32_t> gaps, ends;  // both in order
  for (std::size_t i = 0; i < lexical; ++i) gaps.push_back(errors[i].span.begin);
  for (const Token& t : tokens)
    if (t.kind == TokenKind::Semicolon || t.kind == TokenKind::LBrace || t.kind == TokenKind::RBrace) ends.push_back(t.begin);
  auto consequence = [&](const Diagnostic& d) {
    auto end = std::lower_bound(ends.begin(), ends.end(), d.span.begin);
    std::uint32_t from = end == ends.begin() ? 0 : *std::prev(end);
    auto gap = std::lower_bound(gaps.begin(), gaps.end(), from);
    return gap != gaps.end() && *gap <= d.span.begin;
  };
  errors.erase(std::remove_if(errors.begin() + static_cast<std::ptrdiff_t>(lexical), errors.end(), consequence), errors.end());
}

}  // namespace

ast::File parse(const SourceMap& sources, FileId id, Diagnostics& diagnostics) {
  ast::File result;
  result.id = id;
  if (!limits::check_size(sources, id, diagnostics)) return result;
  Diagnostics lexical;
  Tokens tokens = tokenize(sources, id, lexical);
  parsing::State state{id, tokens.list.data(), lexical.list(), false};
  result.comments = std::move(tokens.comments);
  if (limits::check_depth(tokens.list, id, lexical)) {
    parsing::Cursor first = tokens.list.data();
    parsing::Cursor last = first + tokens.list.size();
    auto grammar = parsing::x3::with<parsing::state_tag>(state)[parsing::file];
    ast::File tree;
    bool whole = parsing::x3::parse(first, last, grammar, tree);
    TESSERA_ASSERT(whole && first == last, "the grammar left a rest that recovery should have skipped");
    result.items = std::move(tree.items);
  } else {
    state.errors = lexical.list();
  }
  drop_consequences(tokens.list, lexical.list().size(), state.errors);
  std::stable_sort(state.errors.begin(), state.errors.end(), [](const Diagnostic& a, const Diagnostic& b) { return a.span.begin < b.span.begin; });
  for (Diagnostic& d : state.errors) diagnostics.add(std::move(d));
  return result;
}

}  // namespace tessera
