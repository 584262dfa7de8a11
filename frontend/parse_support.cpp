#include "frontend/parse_support.h"

#include <fmt/format.h>

#include <charconv>

namespace tessera::parsing {

namespace {

bool opens(TokenKind k) { return k == TokenKind::LParen || k == TokenKind::LBracket || k == TokenKind::LBrace; }
bool closes(TokenKind k) { return k == TokenKind::RParen || k == TokenKind::RBracket || k == TokenKind::RBrace; }

/// The bracket still open before `at`, or null.
Cursor open_bracket(Cursor begin, Cursor at) {
  int depth = 0;
  while (at != begin) {
    --at;
    if (closes(at->kind)) ++depth;
    if (opens(at->kind) && depth-- == 0) return at;
  }
  return nullptr;
}

}  // namespace

void report_expected(State& state, Cursor at, const std::string& expected) {
  bool follows_from_last = !state.errors.empty() && state.errors.back().span == state.span(at);
  if (state.gave_up || follows_from_last) return;
  Diagnostic d;
  d.code = Code::E0101;
  d.span = state.span(at);
  std::string found = at->kind == TokenKind::End ? describe(at->kind) : fmt::format("`{}`", at->text);
  if (expected == describe(TokenKind::Name) && is_keyword(at->kind)) {
    d.code = Code::E0108;
    d.message = fmt::format("{} is a reserved word and cannot name anything", found);
    d.help = fmt::format("write `{}_`", at->text);
  } else {
    d.message = fmt::format("expected {}, found {}", expected, found);
    if (expected == describe(TokenKind::RBrace))
      if (Cursor open = open_bracket(state.begin, at)) d.labels.push_back({state.span(open), "opened here"});
  }
  state.errors.push_back(std::move(d));
  state.gave_up = state.errors.size() >= Diagnostics::limit;
}

Cursor skip_statement(Cursor start, Cursor at) {
  int depth = 0;
  for (Cursor t = start;; ++t) {
    bool behind_error = t >= at;
    if (t->kind == TokenKind::End || (behind_error && t->at_margin && begins_item(t->kind))) return t;
    if (t->kind == TokenKind::LBrace) {
      ++depth;
    } else if (t->kind == TokenKind::Semicolon && depth == 0 && behind_error) {
      return t + 1;
    } else if (t->kind == TokenKind::RBrace) {
      if (depth == 0) return t;
      --depth;
      // The block of a lambda or of an `if` before `else` does not end the statement.
      TokenKind next = (t + 1)->kind;
      bool goes_on = next == TokenKind::Else || next == TokenKind::Semicolon || next == TokenKind::RParen || next == TokenKind::Comma;
      if (depth == 0 && behind_error && !goes_on) return t + 1;
    }
  }
}

Cursor skip_entry(Cursor start, Cursor at) {
  int depth = 0;
  for (Cursor t = start;; ++t) {
    bool behind_error = t >= at;
    if (t->kind == TokenKind::End || (behind_error && t->at_margin && begins_item(t->kind))) return t;
    if (t->kind == TokenKind::Semicolon && behind_error) return t + 1;
    if (t->kind == TokenKind::LBrace) ++depth;
    if (t->kind == TokenKind::RBrace && depth-- == 0) return t;
  }
}

Cursor skip_item(Cursor start, Cursor at) {
  int depth = 0;
  for (Cursor t = start;; ++t) {
    if (t->kind == TokenKind::End) return t;
    bool behind_item = t > start && depth <= 0 && ((t - 1)->kind == TokenKind::Semicolon || (t - 1)->kind == TokenKind::RBrace);
    if (t > start && t >= at && begins_item(t->kind) && (t->at_margin || behind_item)) return t;
    if (t->kind == TokenKind::LBrace) ++depth;
    if (t->kind == TokenKind::RBrace) --depth;
  }
}

ast::Number number_of(const Token& token) {
  ast::Number n;
  n.is_float = token.kind == TokenKind::Real;
  const char* begin = token.text.data();
  const char* end = begin + token.text.size();
  // What does not fit was reported by the tokenizer.
  if (n.is_float)
    std::from_chars(begin, end, n.real);
  else if (token.text.starts_with("0x") || token.text.starts_with("0X"))
    std::from_chars(begin + 2, end, n.integer, 16);
  else
    std::from_chars(begin, end, n.integer);
  return n;
}

std::string string_of(const Token& token) {
  std::string out;
  for (std::size_t i = 1; i < token.text.size() && token.text[i] != '"'; ++i) {
    if (token.text[i] == '\\' && i + 1 < token.text.size()) {
      ++i;
      out += token.text[i] == 'n' ? '\n' : token.text[i];
    } else {
      out += token.text[i];
    }
  }
  return out;
}

namespace {

struct Operator {
  TokenKind kind;
  ast::BinaryOp op;
  int level;  ///< higher binds tighter
};
constexpr int comparison = 2;
constexpr Operator operators[] = {
    {TokenKind::OrOr, ast::BinaryOp::Or, 0},
    {TokenKind::AndAnd, ast::BinaryOp::And, 1},
    {TokenKind::EqEq, ast::BinaryOp::Eq, comparison},
    {TokenKind::NotEq, ast::BinaryOp::Ne, comparison},
    {TokenKind::Less, ast::BinaryOp::Lt, comparison},
    {TokenKind::Greater, ast::BinaryOp::Gt, comparison},
    {TokenKind::LessEq, ast::BinaryOp::Le, comparison},
    {TokenKind::GreaterEq, ast::BinaryOp::Ge, comparison},
    {TokenKind::Or, ast::BinaryOp::BitOr, 3},
    {TokenKind::Xor, ast::BinaryOp::BitXor, 4},
    {TokenKind::And, ast::BinaryOp::BitAnd, 5},
    {TokenKind::ShiftLeft, ast::BinaryOp::Shl, 6},
    {TokenKind::ShiftRight, ast::BinaryOp::Shr, 6},
    {TokenKind::Plus, ast::BinaryOp::Add, 7},
    {TokenKind::Minus, ast::BinaryOp::Sub, 7},
    {TokenKind::Star, ast::BinaryOp::Mul, 8},
    {TokenKind::Slash, ast::BinaryOp::Div, 8},
    {TokenKind::Percent, ast::BinaryOp::Mod, 8},
    {TokenKind::At, ast::BinaryOp::MatMul, 8},
};
const Operator* find_operator(TokenKind kind) {
  for (const Operator& o : operators)
    if (o.kind == kind) return &o;
  return nullptr;
}

/// Folds operands[first .. last], in which every operator has at least `level`. Recursion is bounded by the number of levels.
ast::ExprPtr fold_level(Operands& all, std::size_t first, std::size_t last, int level, State& state) {
  if (first == last) return std::move(all.operands[first]);
  ast::Chain chain;
  std::size_t from = first;
  for (std::size_t i = first; i <= last; ++i) {
    if (i < last && find_operator(all.operators[i]->kind)->level != level) continue;
    ast::ExprPtr part = fold_level(all, from, i, level + 1, state);
    if (from == first) {
      chain.first = std::move(part);
    } else {
      Cursor link = all.operators[from - 1];
      chain.rest.push_back({find_operator(link->kind)->op, state.span(link), std::move(part)});
    }
    from = i + 1;
  }
  if (chain.rest.empty()) return std::move(chain.first);
  if (level == comparison && chain.rest.size() > 1)
    state.errors.push_back({Code::E0107, chain.rest[1].op_span, "comparisons cannot be chained", {}, {}, "write `a < b && b < c`"});
  auto expr = std::make_unique<ast::Expr>();
  expr->span = join(chain.first->span, chain.rest.back().rhs->span);
  expr->node = std::move(chain);
  return expr;
}

}  // namespace

bool is_binary_operator(const Token& token) { return find_operator(token.kind) != nullptr; }

ast::ExprPtr fold(Operands& all, State& state) { return fold_level(all, 0, all.operands.size() - 1, 0, state); }

}  // namespace tessera::parsing
