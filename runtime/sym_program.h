// Symbolic integers made ready for launches: the same polynomial with symbols looked up by number, so that no text is touched.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dsl/sym.h"

namespace tessera {

class SymProgram {
 public:
  SymProgram() = default;
  /// `number` gives the place of a symbol among the values; empty if it has none, then uses() says so.
  SymProgram(const Sym& sym, const std::function<std::optional<std::size_t>(const std::string&)>& number);

  /// Empty if the value does not fit 64 bits. Precondition: `values` has every number in uses().
  std::optional<std::int64_t> eval(std::span<const std::int64_t> values) const {
    // Most are a number or a symbol; launches evaluate dozens of them.
    switch (form_) {
      case Form::Constant: return constant_;
      case Form::Symbol: return values[symbol_];
      case Form::General: return eval_terms(values);
    }
    return std::nullopt;
  }
  /// Numbers of the symbols it reads, each once.
  std::vector<std::size_t> uses() const;
  /// All symbols had a number.
  bool complete() const { return complete_; }

 private:
  struct Atom {
    SymOp op = SymOp::Symbol;
    std::size_t symbol = 0;
    std::vector<SymProgram> args;
  };
  struct Term {
    std::int64_t coefficient = 0;
    std::vector<Atom> atoms;
  };
  enum class Form : std::uint8_t { Constant, Symbol, General };
  std::optional<std::int64_t> eval_terms(std::span<const std::int64_t> values) const;
  void collect(std::vector<std::size_t>& out) const;

  Form form_ = Form::Constant;
  std::int64_t constant_ = 0;
  std::size_t symbol_ = 0;
  std::vector<Term> terms_;
  bool complete_ = true;
};

}  // namespace tessera
