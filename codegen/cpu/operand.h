// Where product operands come from: loads seen as memory. Private to codegen/cpu.
#pragma once

#include "codegen/cpu/analysis.h"
#include "codegen/cpu/evaluate.h"
#include "codegen/cpu/pack.h"

namespace tessera::cpu {

/// A rank-2 expression that is a load of two ranges, seen through permutes and through selects that zero what the load leaves invalid.
struct LoadedTile {
  const ir::Op* load = nullptr;
  int load_axis[2] = {0, 1};      ///< of each axis of the expression: the axis of the load's result
  std::size_t index[2] = {0, 0};  ///< the load's operand that runs along it, a range
  bool changing = false;          ///< a store of this kernel may change the memory: it is read where the load stands, not later
};
std::optional<LoadedTile> loaded_tile(const Analysis& analysis, const ir::Value* v);

/// The axis of the view that an operand of its load indexes.
inline std::size_t view_axis(std::size_t operand) { return operand - 1; }

/// Valid elements along an axis of a loaded tile, counted from its first: null if all `size` are. Only for ranges that start inside.
llvm::Value* valid_count(Evaluator& ev, const ir::Value* range);
/// All elements of the tile exist: null for certain, else an i1.
llvm::Value* whole_condition(Evaluator& ev, const LoadedTile& t);

/// The tile as rows along `slow` (an axis of the expression), each walked along the other one. The rows' fast axis must be walkable in memory.
PackSource pack_source(Evaluator& ev, const LoadedTile& t, int slow);

}  // namespace tessera::cpu
