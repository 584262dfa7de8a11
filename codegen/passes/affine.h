// Affine analysis: what idx values are as symbolic integers, and what can be proved about them.
//
// A scalar becomes a Sym over launch symbols (by their name) and SSA values that cannot be seen through (`%n`: grid indices, loop variables,
// loaded numbers). The element of an idx tile at position (@0, @1, ..) becomes a Sym over these and the positions. idx arithmetic is taken not
// to overflow, as for all extents and coordinates.
//
// An Affine describes one state of the kernel: rewriting may add values, but a value it has seen must outlive it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dsl/builder.h"
#include "dsl/ir.h"

namespace tessera::ir {

class Affine {
 public:
  explicit Affine(const Kernel& kernel);

  /// Any idx scalar; what cannot be seen through is a symbol of its own.
  Sym scalar(const Value* v);
  /// The element of an idx tile at position (@0, @1, ..); empty if it is no arithmetic of coordinates and scalars.
  std::optional<Sym> element(const Value* v);
  static Sym position(int axis) { return Sym::symbol("@" + std::to_string(axis)); }
  /// Extent of an axis of a view, through its address map.
  Sym extent(const Value* view, int axis);

  struct Span {
    Sym start, lo, hi;
    std::int64_t size = 0;
    bool full = false;
  };
  Span range(const Value* range);

  /// The SSA value a symbol stands for, null for a launch symbol.
  const Value* value(const std::string& symbol) const;
  const SymFacts& facts() const { return facts_; }

  /// Whether e >= 0 wherever the values it mentions exist; positions lie within `dims`. False if it cannot be proved.
  bool nonnegative(const Sym& e, const Dims& dims = {});
  bool positive(const Sym& e, const Dims& dims = {}) { return nonnegative(e - 1, dims); }
  bool equal(const Sym& a, const Sym& b) const { return facts_.proves_equal(a, b); }
  /// Smaller and larger of two, decided where it can be proved.
  Sym min(const Sym& a, const Sym& b);
  Sym max(const Sym& a, const Sym& b);

  /// Bounds over all positions of a tile of dims `dims`; empty if there are none in closed form. Divisors that are not known to be positive are
  /// added to `assumed` if given, else there is no bound.
  std::optional<Sym> lower(const Sym& e, const Dims& dims, std::vector<Sym>* assumed = nullptr);
  std::optional<Sym> upper(const Sym& e, const Dims& dims, std::vector<Sym>* assumed = nullptr);

  /// Ops that compute `e`.
  Value* emit(Builder& b, const Sym& e) const;
  /// Whether all SSA values in `e` can be operands of `at`.
  bool visible_at(const Sym& e, const Op& at) const;
  /// `e` mentions a position.
  static bool mentions_position(const Sym& e);

 private:
  struct Bounds {
    std::optional<Sym> lo, hi;  ///< both inclusive
    std::optional<Sym> step;    ///< only lo, lo + step, .. occur
    int depth = 0;              ///< order of binding: later ones may depend on earlier ones
  };
  Sym symbol_of(const Value* v);
  void bind(const Value* v);
  std::optional<Sym> element_uncached(const Value* v);
  std::optional<Sym> element_bounded(const Value* v);
  bool is_extent(const Sym& d) const;
  std::optional<Sym> bound(const Sym& e, const Dims& dims, bool want_lower, std::vector<Sym>* assumed);
  std::optional<Sym> atom_bound(const SymAtom& a, const Dims& dims, bool want_lower, std::vector<Sym>* assumed);
  bool prove(const Sym& e, int fuel);
  bool refuted(const Sym& e);
  std::optional<std::int64_t> sampled(const std::string& symbol, std::size_t sample);
  void draw_samples();
  bool prove_without(const SymAtom& atom, const Sym& factor, const Sym& rest, int fuel);

  const Kernel& kernel_;
  SymFacts facts_;
  std::map<const Value*, std::string> names_;
  std::map<std::string, const Value*> values_;
  std::map<std::string, Bounds> bounds_;
  std::map<const Value*, Sym> scalars_;
  std::map<const Value*, std::optional<Sym>> elements_;
  std::map<std::string, bool> proved_;
  /// Values of symbols in some launches, for a quick no; a symbol without a value does not exist there.
  std::vector<std::map<std::string, std::optional<std::int64_t>>> samples_;
  bool drawn_ = false;
  int steps_ = 0;
};

}  // namespace tessera::ir
