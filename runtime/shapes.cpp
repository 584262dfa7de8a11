#include "runtime/shapes.h"

namespace tessera {
namespace {

std::optional<std::int64_t> eval(const Sym& s, const SymbolValues& values) {
  return s.eval([&](const std::string& n) -> std::optional<std::int64_t> {
    const auto at = values.find(n);
    if (at == values.end()) return std::nullopt;
    return at->second;
  });
}

/// Solves form == value for the one symbol of `form` that is unknown, if it is linear in it. True if that gave a new value.
bool solve(const Sym& form, std::int64_t value, SymbolValues& values) {
  const Sym left = form.substitute([&](const std::string& n) -> std::optional<Sym> {
    const auto at = values.find(n);
    if (at == values.end()) return std::nullopt;
    return Sym(at->second);
  });
  const std::vector<std::string> names = left.symbols();
  if (names.size() != 1) return false;
  const std::optional<std::int64_t> mul = left.coefficient(names[0]);
  if (!mul || *mul == 0) return false;
  const std::optional<std::int64_t> add = (left - Sym(*mul) * Sym::symbol(names[0])).as_constant();
  if (!add || (value - *add) % *mul != 0 || (value - *add) / *mul < 0) return false;
  return values.emplace(names[0], (value - *add) / *mul).second;
}

}  // namespace

SymbolValues infer_symbols(const ir::Kernel& kernel, const Shapes& known, SymbolValues values) {
  bool changed = true;
  while (changed) {
    changed = false;
    for (const ir::Param& p : kernel.params) {
      const auto shape = known.find(p.name);
      if (!p.is_view || shape == known.end() || shape->second.size() != p.dims.size()) continue;
      for (std::size_t axis = 0; axis < p.dims.size(); ++axis) changed |= solve(p.dims[axis], shape->second[axis], values);
    }
    for (const SymCondition& c : kernel.where) {
      if (c.op != Compare::Eq || c.rhs.size() != 1) continue;
      if (const std::optional<std::int64_t> r = eval(c.rhs[0], values)) changed |= solve(c.lhs, *r, values);
      if (const std::optional<std::int64_t> l = eval(c.lhs, values)) changed |= solve(c.rhs[0], *l, values);
    }
  }
  return values;
}

std::optional<std::vector<std::int64_t>> extents(const ir::Param& param, const SymbolValues& symbols) {
  std::vector<std::int64_t> out;
  std::int64_t product = 1;
  for (const Sym& d : param.dims) {
    const std::optional<std::int64_t> e = eval(d, symbols);
    if (!e || *e < 0 || __builtin_mul_overflow(product, *e > 0 ? *e : 1, &product)) return std::nullopt;
    out.push_back(*e);
  }
  return out;
}

}  // namespace tessera
