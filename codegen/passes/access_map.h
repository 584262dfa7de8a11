// Which elements of a parameter a load or store touches, as forms in the grid indices and loop variables around it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "codegen/passes/affine.h"
#include "dsl/ir.h"

namespace tessera::ir {

/// Something that takes the values 0 .. count-1, one after the other or in different instances.
struct Variable {
  std::string symbol;
  Sym count;
};

/// One axis of a view on the way from the parameter to the elements: [start, start + length), cut to [lo, hi), of [0, extent).
struct Slot {
  Sym start, length, lo, hi, extent;
  std::string str() const;
};

struct AccessMap {
  const Value* root = nullptr;      ///< the parameter's argument
  std::vector<Slot> slots;          ///< in the order of the access's view ops, then its indices
  std::vector<std::string> shape;   ///< merges, splits and permutations passed: part of the map
  std::vector<Variable> variables;  ///< grid indices, then the loops around the access, outermost first
  /// Equal texts mean equal maps, whatever the variables from the `first` on are called: they count by place and number of values.
  std::string anonymous(std::size_t first) const;
};

/// Empty, with a reason, if the map is no closed form: paged and gathered views, indices read from memory, loops that depend on other variables.
/// Loop variables are rewritten to count from 0. The value's own mask (`masked`) must follow from the ranges of the indices.
std::optional<AccessMap> access_map(Affine& affine, const Kernel& kernel, const Op& access, std::string& reason);

/// `e` with every atom for which `with` gives a form replaced, inner atoms first.
Sym rewrite_atoms(const Sym& e, const std::function<std::optional<Sym>(const SymAtom&)>& with);

}  // namespace tessera::ir
