#include "runtime/sym_program.h"

#include <algorithm>

#include "dsl/diagnostic.h"

namespace tessera {

SymProgram::SymProgram(const Sym& sym, const std::function<std::optional<std::size_t>(const std::string&)>& number) {
  for (const auto& [monomial, coefficient] : sym.terms()) {
    Term term{coefficient, {}};
    for (const SymAtomRef& atom : monomial) {
      Atom a{atom->op, 0, {}};
      if (atom->op == SymOp::Symbol) {
        const std::optional<std::size_t> n = number(atom->text);
        complete_ &= n.has_value();
        a.symbol = n.value_or(0);
      }
      for (const Sym& arg : atom->args) {
        a.args.emplace_back(arg, number);
        complete_ &= a.args.back().complete_;
      }
      term.atoms.push_back(std::move(a));
    }
    terms_.push_back(std::move(term));
  }
  const Term* only = terms_.size() == 1 ? &terms_[0] : nullptr;
  if (only && only->atoms.empty()) {
    constant_ = only->coefficient;
  } else if (only && only->coefficient == 1 && only->atoms.size() == 1 && only->atoms[0].op == SymOp::Symbol && complete_) {
    form_ = Form::Symbol;
    symbol_ = only->atoms[0].symbol;
  } else if (!terms_.empty()) {
    form_ = Form::General;
  }
}

std::optional<std::int64_t> SymProgram::eval_terms(std::span<const std::int64_t> values) const {
  std::int64_t sum = 0;
  for (const Term& term : terms_) {
    std::int64_t product = term.coefficient;
    for (const Atom& atom : term.atoms) {
      std::int64_t x = 0;
      if (atom.op == SymOp::Symbol) {
        x = values[atom.symbol];
      } else {
        const std::optional<std::int64_t> a = atom.args[0].eval(values);
        const std::optional<std::int64_t> b = atom.args[1].eval(values);
        if (!a || !b) return std::nullopt;
        switch (atom.op) {
          case SymOp::Symbol: TESSERA_UNREACHABLE("handled above");
          case SymOp::FloorDiv: x = floor_div(*a, *b); break;
          case SymOp::Mod: x = floor_mod(*a, *b); break;
          case SymOp::CeilDiv: x = ceil_div(*a, *b); break;
          case SymOp::Min: x = std::min(*a, *b); break;
          case SymOp::Max: x = std::max(*a, *b); break;
        }
      }
      if (__builtin_mul_overflow(product, x, &product)) return std::nullopt;
    }
    if (__builtin_add_overflow(sum, product, &sum)) return std::nullopt;
  }
  return sum;
}

void SymProgram::collect(std::vector<std::size_t>& out) const {
  for (const Term& term : terms_) {
    for (const Atom& atom : term.atoms) {
      if (atom.op == SymOp::Symbol) out.push_back(atom.symbol);
      for (const SymProgram& arg : atom.args) arg.collect(out);
    }
  }
}

std::vector<std::size_t> SymProgram::uses() const {
  std::vector<std::size_t> out;
  collect(out);
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

}  // namespace tessera
