// Facts about a kernel that planning and emission share: uses, which ops are evaluated at their consumers, which axes move together,
// which memory may change, and how coordinates flow through lazy expressions.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <vector>

#include "dsl/ir.h"

namespace tessera::cpu {

/// An axis of a consumer that an axis of an operand follows.
inline constexpr int kNoAxis = -1;      ///< the operand's dim is 1, or its coordinate is fixed
inline constexpr int kMisaligned = -2;  ///< the coordinate is not the consumer's own (slice, concat, split reshape, gather)
using AxisMap = std::vector<int>;       ///< one entry an axis of the operand

inline std::int64_t elements(const ir::Value* v) { return ir::tile(v->type).elements(); }
/// A scalar, or a tile of one element: held in a register.
inline bool is_unit(const ir::Value* v) { return ir::is_tile(v->type) && elements(v) == 1; }
inline const ir::Dims& dims(const ir::Value* v) { return ir::tile(v->type).dims; }
inline DType dtype(const ir::Value* v) { return ir::tile(v->type).dtype; }

class Analysis {
 public:
  explicit Analysis(const ir::Kernel& kernel);

  const ir::Kernel& kernel() const { return kernel_; }
  const std::vector<const ir::Op*>& uses(const ir::Value* v) const;
  /// The block whose ops define `v`, or whose argument it is.
  static const ir::Block* home_block(const ir::Value* v) { return v->def ? v->def->parent : v->block; }

  /// Evaluated element by element where it is used; never stored by itself unless `stored` says so.
  bool lazy(const ir::Value* v) const { return v->def && lazy_op(*v->def) && stored_.count(v) == 0; }
  static bool lazy_op(const ir::Op& op);
  /// Makes a lazy value one that is computed once and kept.
  void store_value(const ir::Value* v) {
    stored_.insert(v);
    costly_.clear();
  }
  bool stored(const ir::Value* v) const { return stored_.count(v) != 0; }

  /// Number of the class of axes that are walked together; -1 for dims of 1.
  int axis_class(const ir::Value* v, std::size_t axis) const;

  /// The parameter behind a view, and whether some store of this kernel may change its memory.
  std::size_t param_of(const ir::Value* view) const;
  bool changes(const ir::Value* view) const { return changing_.count(param_of(view)) != 0; }
  /// Two views that may share memory.
  bool may_alias(const ir::Value* a, const ir::Value* b) const;

  /// How each operand's axes follow those of the op's result, whose axes follow `map`. For Load: the index tiles (views, ranges: empty).
  static std::vector<AxisMap> operand_maps(const ir::Op& op, const AxisMap& map);

  /// A value that an expression reads from storage, or a load of changing memory, and how its axes follow the expression's.
  using LeafVisitor = std::function<void(const ir::Value* leaf, const AxisMap& map)>;
  /// Visits the leaves under `v`, v itself if it is one: values that are not lazy, and loads of changing memory (visited, then entered).
  void leaves(const ir::Value* v, const AxisMap& map, const LeafVisitor& visit) const;
  void leaves(const ir::Value* v, const LeafVisitor& visit) const;
  static AxisMap identity(std::size_t rank);

  /// Provably >= 0.
  bool non_negative(const ir::Value* v) const;
  /// start >= lo by the way the range is made.
  bool starts_inside(const ir::Op& range) const;

  /// Evaluating an element costs more than a memory access: division, transcendental functions.
  bool costly(const ir::Value* v) const;

 private:
  struct Classes;
  using Visited = std::set<std::pair<const ir::Value*, AxisMap>>;
  void walk_leaves(const ir::Value* v, const AxisMap& map, const LeafVisitor& visit, Visited& visited) const;
  void collect(const ir::Block& block, Classes& classes);
  void unify(const ir::Op& op, Classes& classes);
  void limit_reach(const ir::Op& op);

  /// The tree of lazy ops under a value, what is shared in it counted again at each use.
  struct Reach {
    std::int64_t depth = 0, size = 1;
  };

  const ir::Kernel& kernel_;
  std::map<const ir::Value*, std::vector<const ir::Op*>> uses_;
  std::map<const ir::Value*, Reach> reach_;
  std::map<const ir::Value*, std::vector<int>> axis_classes_;
  std::set<const ir::Value*> stored_;
  std::set<std::size_t> changing_;
  std::map<const ir::Value*, std::size_t> param_index_;
  mutable std::map<const ir::Value*, bool> costly_;
};

}  // namespace tessera::cpu
