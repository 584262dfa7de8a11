// Type rules of constants, coordinates and elementwise ops.
#include "dsl/infer.h"

namespace tessera::ir::rules {

namespace {

Dims common_dims(const Op& op) {
  Dims dims;
  for (std::size_t i = 0; i < op.operands.size(); ++i) {
    const TileType& t = tile_operand(op, i);
    require(ir::broadcast(dims, t.dims, dims), "operand {} of type {} does not broadcast with those before it", i, str(t));
  }
  return dims;
}

/// The result of operands of one dtype that is computed with.
TileType common_type(const Op& op) {
  TileType result{tile_operand(op, 0).dtype, common_dims(op)};
  for (std::size_t i = 1; i < op.operands.size(); ++i)
    require(tile_operand(op, i).dtype == result.dtype, "operands have different dtypes: {} and {}", tessera::name(result.dtype),
            tessera::name(tile_operand(op, i).dtype));
  require_computable(result.dtype);
  return result;
}

void require_scan(const Op& op, const TileType& t) {
  axis_of(op, t.dims.size());
  ReduceKind k = reduce_kind_of(op);
  require(k == ReduceKind::Sum || k == ReduceKind::Prod || k == ReduceKind::Max || k == ReduceKind::Min, "no scan of kind {}", name(k));
  flag_of(op, Attr::Exclusive);
  flag_of(op, Attr::Reverse);
}

}  // namespace

Types stated(const Op& op, const Types& stated) {
  const TileType& t = stated_tile(stated);
  if (op.kind == OpKind::Iota) {
    require(t.dtype == DType::Idx && t.rank() == 1, "iota is an idx[N], not a {}", str(t));
    return stated;
  }
  auto it = op.attrs.find(Attr::Value);
  require(it != op.attrs.end(), "attribute `value` is missing");
  bool whole = std::holds_alternative<std::int64_t>(it->second);
  require(whole || (is_float(t.dtype) && std::holds_alternative<double>(it->second)), "`value` does not fit {}", tessera::name(t.dtype));
  if (is_bool(t.dtype)) int_in(op, Attr::Value, 0, 2);
  return stated;
}

Types idx_scalar(const Op& op) {
  if (op.kind == OpKind::Extent) {
    axis_of(op, static_cast<std::size_t>(view_operand(op, 0).rank));
  } else {
    auto it = op.attrs.find(Attr::Name);
    require(it != op.attrs.end() && std::holds_alternative<std::string>(it->second), "attribute `name` is missing");
  }
  return {scalar(DType::Idx)};
}

Types range(const Op& op) {
  for (std::size_t i = 0; i < 3; ++i) require_idx_scalar(op, i);
  flag_of(op, Attr::Full);
  return {RangeType{positive_size(op)}};
}

Types of_range(const Op& op, DType t) {
  const Type& r = op.operands[0]->type;
  require(is_range(r), "operand 0 is a {}, not a range", str(r));
  return {TileType{t, {ir::range(r).size}}};
}

Types same(const Op& op) {
  TileType t = common_type(op);
  if (op.kind == OpKind::Not)
    require(!is_float(t.dtype), "{} has no bits to complement", tessera::name(t.dtype));
  else
    require(!is_bool(t.dtype), "no arithmetic on bool");
  if (op.kind == OpKind::Scan) require_scan(op, t);
  if (op.kind == OpKind::Sort) {
    axis_of(op, t.dims.size());
    flag_of(op, Attr::Descending);
  }
  return {t};
}

Types same_float(const Op& op) {
  TileType t = common_type(op);
  require(is_float(t.dtype), "needs a float, not {}", tessera::name(t.dtype));
  return {t};
}

Types same_int(const Op& op) {
  TileType t = common_type(op);
  require(is_int(t.dtype), "needs an integer, not {}", tessera::name(t.dtype));
  return {t};
}

Types same_bits(const Op& op) {
  TileType t = common_type(op);
  require(!is_float(t.dtype), "needs an integer or bool, not {}", tessera::name(t.dtype));
  return {t};
}

Types compare(const Op& op) {
  TileType t = common_type(op);
  require(!is_bool(t.dtype) || op.kind == OpKind::Eq || op.kind == OpKind::Ne, "bools have no order");
  return {TileType{DType::Bool, t.dims}};
}

Types select(const Op& op) {
  DType x = tile_operand(op, 1).dtype, y = tile_operand(op, 2).dtype;
  require(is_bool(tile_operand(op, 0).dtype), "the condition is a {}, not a bool", str(op.operands[0]->type));
  require(x == y, "operands have different dtypes: {} and {}", tessera::name(x), tessera::name(y));
  return {TileType{x, common_dims(op)}};
}

Types cast(const Op& op, const Types& stated) {
  const TileType& from = tile_operand(op, 0);
  const TileType& to = stated_tile(stated);
  require(from.dims == to.dims, "{} to {} changes the dims", str(from), str(to));
  if (op.kind == OpKind::Bitcast) {
    require(bits(from.dtype) == bits(to.dtype), "{} and {} have different widths", tessera::name(from.dtype), tessera::name(to.dtype));
    require(!is_bool(from.dtype) && !is_bool(to.dtype), "a bool has no bits to reinterpret");
    return stated;
  }
  flag_of(op, Attr::Saturate);
  if (op.has(Attr::Rounding)) int_in(op, Attr::Rounding, 0, 4);
  return stated;
}

}  // namespace tessera::ir::rules
