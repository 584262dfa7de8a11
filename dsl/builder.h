// Appends ops to a block. The result types follow from the op table; an operand that breaks the op's rule is an internal error, since the
// checker has already spoken to the user.
#pragma once

#include <initializer_list>

#include "dsl/ir.h"

namespace tessera::ir {

using Attrs = std::map<Attr, AttrValue>;

class Builder {
 public:
  explicit Builder(Block& block) : block_(&block) {}

  Block& block() const { return *block_; }
  void set_block(Block& b) { block_ = &b; }
  /// Source position given to the ops built from now on.
  void set_span(Span s) { span_ = s; }
  Span span() const { return span_; }

  /// Any op whose result types follow from its operands and attributes.
  Op* op(OpKind k, std::vector<Value*> operands, Attrs attrs = {});
  /// Any op with stated result types (const, cast, broadcast, reshape, control). Regions are made empty: the caller adds their arguments and
  /// ops. `for` and `while` take their result types from the inits, so they need no stated ones.
  Op* op(OpKind k, std::vector<Value*> operands, Attrs attrs, std::vector<Type> results);
  Value* value(OpKind k, std::vector<Value*> operands, Attrs attrs = {}) { return op(k, std::move(operands), std::move(attrs))->result(); }

  Value* constant(TileType t, double v);
  Value* constant(TileType t, std::int64_t v);
  Value* idx(std::int64_t v) { return constant(scalar(DType::Idx), v); }
  Value* sym(const std::string& name);
  Value* cast(Value* x, DType to, bool saturate = false, Rounding r = Rounding::Nearest);
  Value* bitcast(Value* x, DType to);
  Value* broadcast(Value* x, Dims dims);
  Value* reshape(Value* x, Dims dims);
  Value* permute(Value* x, Dims perm);
  Value* range(Value* start, Value* lo, Value* hi, std::int64_t size);
  Value* reduce(ReduceKind k, Value* x, int axis);
  /// `for`, `while`, `if` with the arguments of their regions added; the caller fills the regions.
  Op* for_loop(Value* lo, Value* hi, Value* step, std::vector<Value*> inits);
  Op* while_loop(std::vector<Value*> inits);
  Op* if_else(Value* condition, std::vector<Type> results);
  void yield(std::vector<Value*> values) { op(OpKind::Yield, std::move(values)); }

 private:
  Block* block_;
  Span span_;
};

/// The result types an op must have, from operands, attributes and regions; or what is wrong. `stated` are the types given by the creator,
/// used by rules that cannot derive them. Shared by the builder and the verifier.
struct InferredTypes {
  std::vector<Type> types;
  std::string error;  ///< empty if well-typed
};
InferredTypes infer_types(const Op& op, const std::vector<Type>& stated);

}  // namespace tessera::ir
