// The words of a .tile file. The grammar of parse.cpp runs over them, so it needs no skipper and every position is exact.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "dsl/diagnostic.h"
#include "frontend/ast.h"

namespace tessera {

enum class TokenKind : std::uint8_t {
  End,  ///< after the last word; empty
  Name,
  Integer,
  Real,
  String,
#define TESSERA_KEYWORD(id, text) id,
#define TESSERA_PUNCTUATION(id, text) id,
#include "frontend/tokens.def"
};

struct Token {
  TokenKind kind = TokenKind::End;
  bool at_margin = false;  ///< stands in the first column of its line
  std::uint32_t begin = 0, end = 0;
  std::string_view text;  ///< points into the SourceMap
};

/// How messages show a kind: "`;`", "a name".
const char* describe(TokenKind kind);
bool is_keyword(TokenKind kind);
/// Can the kind begin an item?
bool begins_item(TokenKind kind);

struct Tokens {
  std::vector<Token> list;  ///< ends with an End token
  std::vector<ast::Comment> comments;
};

/// Splits a file into words, in linear time. Reports E0104 (byte that begins no word), E0105 (malformed number) and E0106 (unterminated string);
/// what is wrong with a word does not stop the next ones.
/// Precondition: the file is smaller than 4 GiB (see limits.h).
Tokens tokenize(const SourceMap& sources, FileId file, Diagnostics& diagnostics);

}  // namespace tessera
