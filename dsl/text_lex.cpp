#include "dsl/text_lex.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "dsl/text_words.h"

namespace tessera::ir {

namespace {
bool is_digit(char c) { return c >= '0' && c <= '9'; }
int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}
}  // namespace

std::size_t TextCursor::here() {
  while (at_ < text_.size()) {
    char c = text_[at_];
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
      ++at_;
    else if (text_.substr(at_, 2) == "//")
      at_ = std::min(text_.find('\n', at_), text_.size());
    else
      break;
  }
  return at_;
}

/// What stands at `at`, for messages.
std::string TextCursor::shown(std::size_t at) const {
  if (at >= text_.size()) return "the end of the text";
  std::size_t end = at;
  while (end < text_.size() && end < at + 32 && words::in_word(text_[end])) ++end;
  if (end == at) ++end;
  return fmt::format("`{}`", text_.substr(at, end - at));
}

bool TextCursor::eat(char c) {
  if (!peek(c)) return false;
  ++at_;
  return true;
}

std::string_view TextCursor::take_word() {
  std::size_t begin = here();
  while (at_ < text_.size() && words::in_word(text_[at_])) ++at_;
  return text_.substr(begin, at_ - begin);
}

bool TextCursor::eat_word(std::string_view w) {
  std::size_t begin = here();
  if (take_word() == w) return true;
  at_ = begin;
  return false;
}

void TextCursor::expect(char c, std::string_view where) {
  if (!eat(c)) fail(at_, "expected `{}` {}, found {}", c, where, shown(at_));
}

void TextCursor::expect_word(std::string_view w) {
  if (!eat_word(w)) fail(at_, "expected `{}`, found {}", w, shown(at_));
}

std::string TextCursor::word(std::string_view what) {
  std::size_t begin = here();
  std::string w(take_word());
  if (words::is_word(w)) return w;
  at_ = begin;
  fail(begin, "expected {}, found {}", what, shown(begin));
}

std::string TextCursor::name(std::string_view what) { return peek('"') ? quoted() : word(what); }

std::string TextCursor::quoted() {
  std::size_t begin = here();
  expect('"', "before a string");
  std::string s;
  while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\n') {
    char c = text_[at_++];
    if (c != '\\') {
      s += c;
      continue;
    }
    char e = at_ < text_.size() ? text_[at_++] : '\0';
    if (e == '"' || e == '\\') {
      s += e;
    } else if (e == 'x' && at_ + 2 <= text_.size() && hex_digit(text_[at_]) >= 0 && hex_digit(text_[at_ + 1]) >= 0) {
      s += static_cast<char>(hex_digit(text_[at_]) * 16 + hex_digit(text_[at_ + 1]));
      at_ += 2;
    } else {
      fail(begin, "unknown escape in a string");
    }
  }
  if (at_ >= text_.size() || text_[at_] != '"') fail(begin, "unterminated string");
  ++at_;
  return s;
}

std::int64_t TextCursor::integer(std::string_view what) {
  std::size_t begin = here();
  std::int64_t v = 0;
  auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), v);
  if (error == std::errc::result_out_of_range) fail(begin, "integer beyond 64 bits");
  if (error != std::errc()) fail(begin, "expected {}, found {}", what, shown(begin));
  at_ = static_cast<std::size_t>(end - text_.data());
  return v;
}

AttrValue TextCursor::number() {
  std::size_t begin = here();
  bool negative = text_.substr(begin, 1) == "-";
  std::size_t first = begin + (negative ? 1 : 0), end = first;
  for (std::string_view special : {"inf", "nan"})
    if (text_.substr(first, 3) == special && (first + 3 >= text_.size() || !words::in_word(text_[first + 3]))) {
      at_ = first + 3;
      double v = special == "inf" ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
      return negative ? -v : v;
    }
  if (first >= text_.size() || !is_digit(text_[first])) fail(begin, "expected a number, found {}", shown(begin));
  while (end < text_.size() && (words::in_word(text_[end]) || ((text_[end] == '+' || text_[end] == '-') && text_[end - 1] == 'e'))) ++end;
  std::string_view digits = text_.substr(begin, end - begin);
  at_ = end;
  if (std::all_of(digits.begin() + (negative ? 1 : 0), digits.end(), is_digit)) {
    at_ = begin;
    return integer("an integer");
  }
  double v = 0;
  auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), v);
  if (error != std::errc() || stop != digits.data() + digits.size()) fail(begin, "malformed number `{}`", digits.substr(0, 40));
  return v;
}

TextCursor::ValueName TextCursor::value_name() {
  std::size_t begin = here();
  expect('%', "before a value's name");
  std::size_t start = at_;
  while (at_ < text_.size() && words::in_word(text_[at_])) ++at_;
  std::string_view all = text_.substr(start, at_ - start);
  std::size_t digits = 0;
  while (digits < all.size() && is_digit(all[digits])) ++digits;
  ValueName v{std::string(all), std::string(all), begin, at_};
  if (digits > 0) {
    if (digits < all.size() && all[digits] != '.') fail(begin, "a value's number is followed by `.` and its name");
    v.key = std::string(all.substr(0, digits));
    v.hint = digits < all.size() ? std::string(all.substr(digits + 1)) : "";
  }
  if (v.key.empty()) fail(begin, "`%` without a name");
  return v;
}

Sym TextCursor::sym(std::string_view stop) {
  std::size_t begin = here(), end = begin;
  int depth = 0;
  constexpr std::string_view comparisons = "<>=!";
  while (end < text_.size()) {
    char c = text_[end];
    if (depth == 0 && (stop.find(c) != std::string_view::npos || comparisons.find(c) != std::string_view::npos)) break;
    if (c == '(') ++depth;
    if (c == ')' && --depth < 0) break;
    if (c == '\n' || text_.substr(end, 2) == "//") break;
    if (words::in_word(c)) {
      std::size_t from = end;
      while (end < text_.size() && words::in_word(text_[end])) ++end;
      if (depth == 0 && text_.substr(from, end - from) == "in") {
        end = from;
        break;
      }
      continue;
    }
    ++end;
  }
  std::string_view text = text_.substr(begin, end - begin);
  auto s = parse_sym(text);
  at_ = end;
  if (!s) fail(begin, "malformed symbolic integer `{}`", text.substr(0, 60));
  return *s;
}

}  // namespace tessera::ir
