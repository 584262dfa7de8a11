#include "dsl/sym_divisor.h"

namespace tessera {

bool assumes_nonzero(const Sym& a, const Sym& b) {
  if (b.is_constant() || a == Sym()) return false;
  const Sym q = floor_div(a, b);
  if (q.terms().size() != 1) return true;
  const auto& [monomial, factor] = *q.terms().begin();
  return factor != 1 || monomial.size() != 1 || monomial[0]->op != SymOp::FloorDiv || !(monomial[0]->args[0] == a && monomial[0]->args[1] == b);
}

}  // namespace tessera
