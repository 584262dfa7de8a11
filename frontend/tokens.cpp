#include "frontend/tokens.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

namespace tessera {

namespace {

struct Word {
  TokenKind kind;
  std::string_view text;
  const char* description;
};

constexpr Word keywords[] = {
#define TESSERA_KEYWORD(id, text) {TokenKind::id, text, "`" text "`"},
#define TESSERA_PUNCTUATION(id, text)
#include "frontend/tokens.def"
};
constexpr Word punctuation[] = {
#define TESSERA_KEYWORD(id, text)
#define TESSERA_PUNCTUATION(id, text) {TokenKind::id, text, "`" text "`"},
#include "frontend/tokens.def"
};

// Not <cctype>: that depends on the host's locale.
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool begins_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool continues_name(char c) { return begins_name(c) || is_digit(c); }
bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

class Tokenizer {
 public:
  Tokenizer(const SourceMap& sources, FileId file, Diagnostics& diagnostics)
      : text_(sources.file(file).text), file_(file), diagnostics_(diagnostics) {}

  Tokens run() {
    constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
    if (text_.starts_with(byte_order_mark)) at_ = byte_order_mark.size();
    while (at_ < text_.size()) step();
    push(TokenKind::End, text_.size());
    return std::move(tokens_);
  }

 private:
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  void step() {
    char c = peek();
    if (c == '\n') {
      line_has_word_ = false;
      ++at_;
    } else if (is_space(c)) {
      ++at_;
    } else if (c == '/' && peek(1) == '/') {
      comment();
    } else if (begins_name(c)) {
      name();
    } else if (is_digit(c)) {
      number();
    } else if (c == '"') {
      string();
    } else if (!symbol()) {
      invalid();
    }
  }

  void push(TokenKind kind, std::size_t begin) {
    bool at_margin = begin == 0 || (begin <= text_.size() && text_[begin - 1] == '\n');
    tokens_.list.push_back({kind, at_margin, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(at_), text_.substr(begin, at_ - begin)});
    line_has_word_ = true;
  }

  Span span(std::size_t begin, std::size_t end) const { return {file_, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)}; }

  void error(Code code, std::size_t begin, std::size_t end, std::string message, std::string help = {}) {
    diagnostics_.add({code, span(begin, end), std::move(message), {}, {}, std::move(help)});
  }

  void comment() {
    std::size_t begin = at_;
    at_ = std::min(text_.find('\n', at_), text_.size());
    std::size_t end = at_;
    while (end > begin && is_space(text_[end - 1])) --end;
    tokens_.comments.push_back({span(begin, end), !line_has_word_});
  }

  void name() {
    std::size_t begin = at_;
    while (continues_name(peek())) ++at_;
    std::string_view word = text_.substr(begin, at_ - begin);
    TokenKind kind = TokenKind::Name;
    for (const Word& k : keywords)
      if (k.text == word) kind = k.kind;
    push(kind, begin);
  }

  void number() {
    std::size_t begin = at_;
    bool real = false;
    bool well_formed = true;
    if (peek() == '0' && (peek(1) == 'x' || peek(1) == 'X')) {
      at_ += 2;
      well_formed = is_hex(peek());
      while (is_hex(peek())) ++at_;
    } else {
      while (is_digit(peek())) ++at_;
      // `1 .. 3` may be written `1..3`; `1.` alone is refused rather than read as a member access.
      if (peek() == '.' && peek(1) != '.') {
        real = true;
        ++at_;
        well_formed = is_digit(peek());
        while (is_digit(peek())) ++at_;
      }
      if (peek() == 'e' || peek() == 'E') {
        real = true;
        ++at_;
        if (peek() == '+' || peek() == '-') ++at_;
        well_formed = well_formed && is_digit(peek());
        while (is_digit(peek())) ++at_;
      }
    }
    if (continues_name(peek())) well_formed = false;
    while (continues_name(peek())) ++at_;
    if (!well_formed)
      error(Code::E0105, begin, at_, fmt::format("malformed number `{}`", text_.substr(begin, at_ - begin)));
    else
      check_range(begin, real);
    push(real ? TokenKind::Real : TokenKind::Integer, begin);
  }

  void check_range(std::size_t begin, bool real) {
    std::string_view digits = text_.substr(begin, at_ - begin);
    if (real) {
      double value = 0;
      auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
      if (status != std::errc()) error(Code::E0105, begin, at_, fmt::format("`{}` is outside the range of 64-bit floats", digits));
      return;
    }
    bool hex = digits.starts_with("0x") || digits.starts_with("0X");
    if (hex) digits.remove_prefix(2);
    std::uint64_t value = 0;
    auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), value, hex ? 16 : 10);
    if (status != std::errc()) error(Code::E0105, begin, at_, fmt::format("`{}` does not fit 64 bits", text_.substr(begin, at_ - begin)));
  }

  void string() {
    std::size_t begin = at_++;
    while (peek() != '"') {
      if (at_ >= text_.size() || peek() == '\n') {
        error(Code::E0106, begin, at_, "unterminated string", "end it with `\"` on the same line");
        push(TokenKind::String, begin);
        return;
      }
      if (peek() == '\\' && at_ + 1 < text_.size() && text_[at_ + 1] != '\n') {
        char escaped = peek(1);
        if (escaped != '"' && escaped != '\\' && escaped != 'n')
          error(Code::E0101, at_, at_ + 2, "unknown escape in a string", "known are `\\\"`, `\\\\` and `\\n`");
        ++at_;
      }
      ++at_;
    }
    ++at_;
    push(TokenKind::String, begin);
  }

  bool symbol() {
    for (const Word& p : punctuation)
      if (text_.substr(at_).starts_with(p.text)) {
        std::size_t begin = at_;
        at_ += p.text.size();
        push(p.kind, begin);
        return true;
      }
    return false;
  }

  // A run of bytes that begin no word is one mistake: usually one UTF-8 character.
  void invalid() {
    std::size_t begin = at_;
    auto alien = [](char c) { return static_cast<unsigned char>(c) >= 0x80; };
    ++at_;
    if (alien(text_[begin]))
      while (at_ < text_.size() && alien(peek())) ++at_;
    else
      while (at_ < text_.size() && peek() == text_[begin]) ++at_;
    auto byte = static_cast<unsigned char>(text_[begin]);
    if (byte > 0x20 && byte < 0x7F)
      error(Code::E0104, begin, at_, fmt::format("invalid character `{}`", text_[begin]));
    else
      error(Code::E0104, begin, at_, fmt::format("invalid byte 0x{:02X}", byte),
            alien(text_[begin]) ? "outside comments and strings only ASCII is allowed" : "");
  }

  std::string_view text_;
  FileId file_;
  Diagnostics& diagnostics_;
  std::size_t at_ = 0;
  bool line_has_word_ = false;
  Tokens tokens_;
};

}  // namespace

const char* describe(TokenKind kind) {
  if (kind == TokenKind::End) return "end of file";
  if (kind == TokenKind::Name) return "a name";
  if (kind == TokenKind::Integer || kind == TokenKind::Real) return "a number";
  if (kind == TokenKind::String) return "a string";
  for (const Word& w : keywords)
    if (w.kind == kind) return w.description;
  for (const Word& w : punctuation)
    if (w.kind == kind) return w.description;
  TESSERA_UNREACHABLE("token kind without a description");
}

bool is_keyword(TokenKind kind) { return kind >= keywords[0].kind && kind <= keywords[std::size(keywords) - 1].kind; }

bool begins_item(TokenKind kind) {
  return kind >= TokenKind::Import && kind <= TokenKind::Schedule && kind != TokenKind::Where && kind != TokenKind::Over;
}

Tokens tokenize(const SourceMap& sources, FileId file, Diagnostics& diagnostics) { return Tokenizer(sources, file, diagnostics).run(); }

}  // namespace tessera
