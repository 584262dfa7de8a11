// What tiles hold where a range sticks out of its axis, and who looks there.
//
// An atom (range, axis) names the part of a tile whose coordinates along `axis` lie outside the valid part of `range`. Everything is relative to
// one atom at a time, since a mask is a conjunction of `inside(range)` and fails where one of them does.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "codegen/passes/rewrite.h"
#include "codegen/passes/value_class.h"
#include "dsl/ir.h"

namespace tessera::ir {

struct Atom {
  const Value* range = nullptr;
  int axis = 0;
  friend auto operator<=>(const Atom&, const Atom&) = default;
};

/// The atoms of a mask that is nothing but `inside(..)` of ranges, reshaped to axes and and-ed; empty if it is anything else.
std::optional<std::vector<Atom>> mask_atoms(const Value* mask);

/// A value that is to be given a constant in a part of it.
struct Guard {
  Atom atom;
  Number value;
  bool existing = false;  ///< the value is a select between something and this constant, whose condition takes the mask in
};
using Guards = std::map<const Value*, std::vector<Guard>>;
/// Classes of all tiles when the guards are there.
ValueClasses guarded_classes(const Block& body, const Guards& guards);

/// A place of the graph of values: an axis of a tile that the atom's range spans.
struct Place {
  const Value* value = nullptr;
  int axis = 0;
};

class PadModel {
 public:
  /// As if the guards were there, and as if all loads outside `unspecified` had {zero}.
  PadModel(const ValueClasses& classes, const Uses& uses, const Guards& guards, const std::set<const Op*>& unspecified = {})
      : uses_(uses), guards_(guards), unspecified_(unspecified), classes_(classes) {}

  /// What the elements of `v` in the atom's part hold.
  Abstract state(const Value* v, Atom atom);
  /// Whether what `v` holds there can reach an effect or an element outside of it.
  bool observed(const Value* v, Atom atom);
  /// Values that `v` is made from, elementwise, in the atom's part; `v` first.
  std::vector<Place> sources(const Value* v, Atom atom) const;
  /// Loads counted on to be zero so far.
  const std::set<const Op*>& zeroed() const { return zeroed_; }

 private:
  Abstract compute(const Value* v, Atom atom);
  bool use_observes(const Use& use, Place at, Atom atom, std::vector<Place>& next);

  const Uses& uses_;
  const Guards& guards_;
  std::set<const Op*> unspecified_;
  const ValueClasses& classes_;
  std::map<std::pair<const Value*, Atom>, Abstract> known_;
  std::set<const Op*> zeroed_;
};

}  // namespace tessera::ir
