// Small tools the passes share: who uses a value, what is visible where, and inserting ops in the middle of a block.
#pragma once

#include <map>
#include <utility>
#include <vector>

#include "dsl/builder.h"
#include "dsl/ir.h"

namespace tessera::ir {

struct Use {
  Op* op = nullptr;
  std::size_t index = 0;  ///< operand number
};
using Uses = std::map<const Value*, std::vector<Use>>;
Uses collect_uses(Block& block);

/// The block a value belongs to.
const Block* home(const Value* v);
/// Whether `v` may be an operand of `at`: it is defined earlier in the same block or in an enclosing one.
bool visible(const Value* v, const Op& at);
/// Whether `op` lies in `block` or below.
bool inside_block(const Op& op, const Block& block);
/// Number of ops in `block` and below.
std::size_t count_ops(const Block& block);

std::size_t position(const Op& op);
void splice(Block& into, std::size_t at, Block& from);

/// Ops that `build(Builder&)` appends are put before `at`; returns what `build` returns.
template <class F>
auto insert_before(Op& at, F&& build) {
  Block scratch;
  Builder b(scratch);
  b.set_span(at.span);
  auto result = build(b);
  splice(*at.parent, position(at), scratch);
  return result;
}

/// The same right after the definition of `v` (at the start of the block for an argument).
template <class F>
auto insert_after(Value* v, F&& build) {
  Block scratch;
  Builder b(scratch);
  if (v->def) b.set_span(v->def->span);
  auto result = build(b);
  if (v->def) {
    splice(*v->def->parent, position(*v->def) + 1, scratch);
  } else {
    splice(*v->block, 0, scratch);
  }
  return result;
}

/// The param a view is made from, or null if it does not start at a body argument; `steps` gets the view ops, outermost (last applied) first.
const Value* view_root(const Value* view, std::vector<const Op*>* steps = nullptr);
/// The parameter of a body argument, or null.
const Param* param_of(const Kernel& kernel, const Value* arg);

/// The operands of a store, load or fetch_add.
struct Access {
  Value* view = nullptr;
  Value* value = nullptr;  ///< store and fetch_add
  std::vector<Value*> indices;
  Value* when = nullptr;  ///< a masked store's bool tile
};
Access access(const Op& op);
/// For every axis of the accessed tile the range that spans it; null where an integer tile does, or where tiles alone index the view.
std::vector<const Value*> axis_ranges(const Op& op);

/// Where an axis of the operand of a shape op lies in its result, and the reverse; -1 if it is not an axis of its own there.
int axis_in_result(const Op& shape_op, int axis);
int axis_in_operand(const Op& shape_op, int axis);

}  // namespace tessera::ir
