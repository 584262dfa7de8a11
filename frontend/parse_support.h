// The parts of the parser that need no grammar: error messages, recovery, literals and operator precedence.
#pragma once

#include <string>
#include <vector>

#include "dsl/diagnostic.h"
#include "frontend/ast.h"
#include "frontend/tokens.h"

namespace tessera::parsing {

/// A position in the token list, which ends with an End token.
using Cursor = const Token*;

/// What the actions of one parse share.
struct State {
  FileId file = 0;
  Cursor begin = nullptr;
  std::vector<Diagnostic> errors;
  bool gave_up = false;  ///< so many errors that the rest is not worth reading

  Span span(Cursor token) const { return {file, token->begin, token->end}; }
  /// Of the tokens [first, last), which are not empty.
  Span span(Cursor first, Cursor last) const { return {file, first->begin, (last - 1)->end}; }
};

/// "expected .., found .." at a token; E0108 where a reserved word stands for a name.
void report_expected(State& state, Cursor at, const std::string& expected);

/// Where to go on after an error at `at` in the statement that begins at `start`: behind the next `;` or the statement's block, or before the `}`
/// of the block around it, or before an item at the margin.
Cursor skip_statement(Cursor start, Cursor at);

/// The same in `tune` and `schedule`, whose entries hold no blocks: any `;` ends one.
Cursor skip_entry(Cursor start, Cursor at);

/// The next word that begins an item: at the margin, or outside all braces behind `;` or `}`.
Cursor skip_item(Cursor start, Cursor at);

ast::Number number_of(const Token& token);
/// The value of a string, escapes resolved.
std::string string_of(const Token& token);

bool is_binary_operator(const Token& token);

/// `a op b op c ..` as written, all levels mixed: operators[i] stands between operands[i] and operands[i + 1].
struct Operands {
  std::vector<ast::ExprPtr> operands;
  std::vector<Cursor> operators;
};
/// Groups by precedence, one flat Chain a level. Reports E0107.
ast::ExprPtr fold(Operands& all, State& state);

}  // namespace tessera::parsing
