// Characters to words for the parser of Tile IR text.
#pragma once

#include <fmt/format.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "dsl/ir.h"

namespace tessera::ir {

/// Where and why the text is not Tile IR. Thrown within the parser only.
struct TextError {
  std::size_t begin, end;
  std::string message;
};

/// A cursor over the text. All functions skip white space and `//` comments first.
class TextCursor {
 public:
  explicit TextCursor(std::string_view text) : text_(text) {}

  /// Offset of the next word.
  std::size_t here();
  bool at_end() { return here() == text_.size(); }
  bool peek(char c) { return here() < text_.size() && text_[at_] == c; }
  bool peek_digit() { return here() < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; }
  /// The next character, which is not consumed; 0 at the end.
  char next() { return here() < text_.size() ? text_[at_] : '\0'; }
  bool eat(char c);
  /// A whole word, not the beginning of a longer one.
  bool eat_word(std::string_view w);
  void expect(char c, std::string_view where);
  void expect_word(std::string_view w);

  std::string word(std::string_view what);
  /// A word or a quoted string.
  std::string name(std::string_view what);
  std::string quoted();
  std::int64_t integer(std::string_view what);
  /// An integer or a float, with sign; `inf` and `nan` are floats.
  AttrValue number();
  struct ValueName {
    std::string key;   ///< what identifies it: the number, else the whole name
    std::string hint;  ///< after the number, or the whole name
    std::size_t begin = 0, end = 0;
  };
  /// `%3.kt`, `%3`, `%kt`
  ValueName value_name();
  /// A symbolic integer that ends before one of `stop` outside brackets, a comparison sign or the word `in`.
  Sym sym(std::string_view stop);

  template <typename... Args>
  [[noreturn]] void fail(std::size_t begin, fmt::format_string<Args...> text, Args&&... args) const {
    throw TextError{begin, std::max(at_, begin), fmt::format(text, std::forward<Args>(args)...)};
  }

 private:
  std::string_view take_word();
  std::string shown(std::size_t at) const;

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace tessera::ir
