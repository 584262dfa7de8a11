#include "dsl/builder.h"

#include <fmt/format.h>

#include "dsl/diagnostic.h"

namespace tessera::ir {

Op* Builder::op(OpKind k, std::vector<Value*> operands, Attrs attrs) { return op(k, std::move(operands), std::move(attrs), {}); }

Op* Builder::op(OpKind k, std::vector<Value*> operands, Attrs attrs, std::vector<Type> results) {
  auto op = std::make_unique<Op>();
  op->kind = k;
  op->operands = std::move(operands);
  op->attrs = std::move(attrs);
  op->span = span_;
  op->parent = block_;
  for (int i = 0; i < info(k).regions; ++i) {
    op->regions.push_back(std::make_unique<Block>());
    op->regions.back()->parent = op.get();
  }
  InferredTypes inferred = infer_types(*op, results);
  if (!inferred.error.empty()) TESSERA_UNREACHABLE(fmt::format("ill-typed `{}`: {}", info(k).name, inferred.error));
  for (Type& t : inferred.types) {
    auto v = std::make_unique<Value>();
    v->type = std::move(t);
    v->def = op.get();
    v->index = op->results.size();
    op->results.push_back(std::move(v));
  }
  block_->ops.push_back(std::move(op));
  return block_->ops.back().get();
}

Value* Builder::constant(TileType t, double v) { return op(OpKind::Const, {}, {{Attr::Value, v}}, {t})->result(); }

Value* Builder::constant(TileType t, std::int64_t v) {
  if (is_float(t.dtype)) return constant(std::move(t), static_cast<double>(v));
  return op(OpKind::Const, {}, {{Attr::Value, v}}, {t})->result();
}

Value* Builder::sym(const std::string& name) { return op(OpKind::Sym, {}, {{Attr::Name, name}})->result(); }

Value* Builder::cast(Value* x, DType to, bool saturate, Rounding r) {
  Attrs attrs;
  if (saturate) attrs[Attr::Saturate] = std::int64_t{1};
  if (r != Rounding::Nearest) attrs[Attr::Rounding] = static_cast<std::int64_t>(r);
  return op(OpKind::Cast, {x}, std::move(attrs), {TileType{to, tile(x->type).dims}})->result();
}

Value* Builder::bitcast(Value* x, DType to) { return op(OpKind::Bitcast, {x}, {}, {TileType{to, tile(x->type).dims}})->result(); }

Value* Builder::broadcast(Value* x, Dims dims) { return op(OpKind::Broadcast, {x}, {}, {TileType{tile(x->type).dtype, std::move(dims)}})->result(); }

Value* Builder::reshape(Value* x, Dims dims) { return op(OpKind::Reshape, {x}, {}, {TileType{tile(x->type).dtype, std::move(dims)}})->result(); }

Value* Builder::permute(Value* x, Dims perm) { return value(OpKind::Permute, {x}, {{Attr::Perm, std::move(perm)}}); }

Value* Builder::range(Value* start, Value* lo, Value* hi, std::int64_t size) { return value(OpKind::Range, {start, lo, hi}, {{Attr::Size, size}}); }

Value* Builder::reduce(ReduceKind k, Value* x, int axis) {
  return value(OpKind::Reduce, {x}, {{Attr::Kind, static_cast<std::int64_t>(k)}, {Attr::Axis, std::int64_t{axis}}});
}

Op* Builder::for_loop(Value* lo, Value* hi, Value* step, std::vector<Value*> inits) {
  std::vector<Value*> operands{lo, hi, step};
  operands.insert(operands.end(), inits.begin(), inits.end());
  Op* loop = op(OpKind::For, std::move(operands));
  loop->region().add_arg(scalar(DType::Idx));
  for (const Value* v : inits) loop->region().add_arg(v->type, v->hint);
  return loop;
}

Op* Builder::while_loop(std::vector<Value*> inits) {
  Op* loop = op(OpKind::While, inits);
  for (const auto& region : loop->regions)
    for (const Value* v : inits) region->add_arg(v->type, v->hint);
  return loop;
}

Op* Builder::if_else(Value* condition, std::vector<Type> results) { return op(OpKind::If, {condition}, {}, std::move(results)); }

}  // namespace tessera::ir
