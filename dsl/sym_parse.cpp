// Text to Sym, by recursive descent over what Sym::str() prints.
#include <cctype>
#include <limits>

#include "dsl/sym.h"

namespace tessera {

namespace {

constexpr int kDeepest = 200;

class SymParser {
 public:
  explicit SymParser(std::string_view text) : text_(text) {}

  std::optional<Sym> run() {
    auto s = sum();
    skip();
    return s && at_ == text_.size() ? s : std::nullopt;
  }

 private:
  void skip() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_]))) ++at_;
  }
  bool eat(char c) {
    skip();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  static bool starts_name(char c) { return std::isalpha(static_cast<unsigned char>(c)) || c == '_' || c == '%' || c == '$'; }
  static bool in_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '$'; }

  std::optional<Sym> sum() {
    if (++depth_ > kDeepest) return std::nullopt;
    bool negative = eat('-');
    auto total = product();
    if (total && negative) total = -*total;
    while (total) {
      bool minus = false;
      if (eat('-'))
        minus = true;
      else if (!eat('+'))
        break;
      auto next = product();
      if (!next) return std::nullopt;
      total = minus ? *total - *next : *total + *next;
    }
    --depth_;
    return total;
  }

  std::optional<Sym> product() {
    auto total = factor();
    while (total && eat('*')) {
      auto next = factor();
      if (!next) return std::nullopt;
      total = *total * *next;
    }
    return total;
  }

  std::optional<Sym> factor() {
    skip();
    if (at_ >= text_.size()) return std::nullopt;
    if (std::isdigit(static_cast<unsigned char>(text_[at_]))) return number();
    if (eat('(')) {
      auto inner = sum();
      return inner && eat(')') ? inner : std::nullopt;
    }
    if (!starts_name(text_[at_])) return std::nullopt;
    std::size_t begin = at_++;
    while (at_ < text_.size() && in_name(text_[at_])) ++at_;
    std::string name(text_.substr(begin, at_ - begin));
    std::size_t after = at_;
    auto op = call(name);
    if (!op || !eat('(')) {
      at_ = after;
      return Sym::symbol(std::move(name));
    }
    auto a = sum();
    if (!a || !eat(',')) return std::nullopt;
    auto b = sum();
    if (!b || !eat(')')) return std::nullopt;
    return apply(*op, *a, *b);
  }

  /// Magnitudes up to 2^63: the least int64 prints as `-9223372036854775808`.
  std::optional<Sym> number() {
    std::uint64_t value = 0;
    constexpr std::uint64_t most = std::uint64_t{1} << 63;
    while (at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_]))) {
      auto digit = static_cast<std::uint64_t>(text_[at_++] - '0');
      if (value > (most - digit) / 10) return std::nullopt;
      value = value * 10 + digit;
    }
    return Sym(static_cast<std::int64_t>(value));
  }

  static std::optional<SymOp> call(const std::string& name) {
    if (name == "div") return SymOp::FloorDiv;
    if (name == "mod") return SymOp::Mod;
    if (name == "ceil") return SymOp::CeilDiv;
    if (name == "min") return SymOp::Min;
    if (name == "max") return SymOp::Max;
    return std::nullopt;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

std::optional<Sym> parse_sym(std::string_view text) { return SymParser(text).run(); }

}  // namespace tessera
