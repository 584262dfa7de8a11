#include "frontend/limits.h"

#include <fmt/format.h>

namespace tessera::limits {

bool check_size(const SourceMap& sources, FileId file, Diagnostics& diagnostics) {
  std::size_t size = sources.file(file).text.size();
  if (size <= file_bytes) return true;
  diagnostics.add({Code::E0103, {file, 0, 0}, fmt::format("the file has {} bytes; at most {} are allowed", size, file_bytes), {}, {}, {}});
  return false;
}

namespace {

// What recurses without a bracket of its own.
struct Level {
  std::uint32_t unary = 0;  // operators waiting for their operand
  std::uint32_t tail = 0;   // lambdas, results of fn types and `else` arms: open until the list element or statement ends
  std::uint32_t total() const { return unary + tail; }
};

bool ends_operand(TokenKind kind) {
  return kind == TokenKind::Name || kind == TokenKind::Integer || kind == TokenKind::Real || kind == TokenKind::String || kind == TokenKind::True ||
         kind == TokenKind::False || kind == TokenKind::Inf || kind == TokenKind::RParen || kind == TokenKind::RBracket;
}

bool opens(TokenKind kind) { return kind == TokenKind::LParen || kind == TokenKind::LBracket || kind == TokenKind::LBrace; }
bool closes(TokenKind kind) { return kind == TokenKind::RParen || kind == TokenKind::RBracket || kind == TokenKind::RBrace; }

}  // namespace

bool check_depth(const std::vector<Token>& tokens, FileId file, Diagnostics& diagnostics) {
  std::vector<Level> levels(1);
  std::uint32_t below = 0;  // brackets and chains outside the innermost bracket
  TokenKind previous = TokenKind::Semicolon;
  for (const Token& token : tokens) {
    Level& level = levels.back();
    bool after_operand = ends_operand(previous);
    if (previous == TokenKind::RBrace && token.kind != TokenKind::Else) level.tail = 0;
    if (opens(token.kind)) {
      below += level.total() + 1;
      levels.emplace_back();
    } else if (closes(token.kind)) {
      if (levels.size() > 1) {
        levels.pop_back();
        below -= levels.back().total() + 1;
        levels.back().unary = 0;
      }
    } else if (token.kind == TokenKind::Comma || token.kind == TokenKind::Semicolon) {
      level = {};
    } else if (token.kind == TokenKind::Arrow || token.kind == TokenKind::Else || (token.kind == TokenKind::Or && !after_operand)) {
      ++level.tail;
    } else if (!after_operand && (token.kind == TokenKind::Minus || token.kind == TokenKind::Not || token.kind == TokenKind::Tilde)) {
      ++level.unary;
    } else if (ends_operand(token.kind)) {
      level.unary = 0;
    }
    if (below + levels.back().total() > depth) {
      diagnostics.add({Code::E0102, {file, token.begin, token.end}, fmt::format("nesting too deep: more than {} levels", depth), {}, {}, {}});
      return false;
    }
    previous = token.kind;
  }
  return true;
}

}  // namespace tessera::limits
