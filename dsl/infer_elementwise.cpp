// Type rules of constants, coordinates, elementwise ops and shape ops.
#include <algorithm>

#include "dsl/diagnostic.h"
#include "dsl/infer.h"

namespace tessera::ir::rules {

namespace {

const TileType& stated_tile(const Types& stated) {
  require(stated.size() == 1, "the result type must be stated");
  require(is_tile(stated[0]), "the result is a tile, not a {}", str(stated[0]));
  return tile(stated[0]);
}

Dims common_dims(const Op& op) {
  Dims dims;
  for (std::size_t i = 0; i < op.operands.size(); ++i) {
    const TileType& t = tile_operand(op, i);
    require(broadcast(dims, t.dims, dims), "operand {} of type {} does not broadcast with those before it", i, str(t));
  }
  return dims;
}

void require_one_dtype(const Op& op, std::size_t first) {
  for (std::size_t i = first + 1; i < op.operands.size(); ++i)
    require(tile_operand(op, i).dtype == tile_operand(op, first).dtype, "operands have different dtypes: {} and {}",
            tessera::name(tile_operand(op, first).dtype), tessera::name(tile_operand(op, i).dtype));
}

void require_scan(const Op& op, const TileType& t) {
  axis_of(op, t.dims.size());
  ReduceKind k = reduce_kind_of(op);
  require(k == ReduceKind::Sum || k == ReduceKind::Prod || k == ReduceKind::Max || k == ReduceKind::Min, "no scan of kind {}", name(k));
  flag_of(op, Attr::Exclusive);
  flag_of(op, Attr::Reverse);
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

}  // namespace

Types constants(const Op& op, const Types& stated) {
  switch (info(op.kind).rule) {
    case TypeRule::Stated: {
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
    case TypeRule::IdxScalar:
      if (op.kind == OpKind::Extent) {
        axis_of(op, static_cast<std::size_t>(view_operand(op, 0).rank));
      } else {
        auto it = op.attrs.find(Attr::Name);
        require(it != op.attrs.end() && std::holds_alternative<std::string>(it->second), "attribute `name` is missing");
      }
      return {scalar(DType::Idx)};
    case TypeRule::Range: {
      for (std::size_t i = 0; i < 3; ++i) require_idx_scalar(op, i);
      std::int64_t size = int_of(op, Attr::Size);
      require(size > 0, "attribute `size` = {} is not positive", size);
      flag_of(op, Attr::Full);
      return {RangeType{size}};
    }
    default: break;  // Coords, Inside
  }
  const Type& t = op.operands[0]->type;
  require(is_range(t), "operand 0 is a {}, not a range", str(t));
  return {TileType{op.kind == OpKind::Coords ? DType::Idx : DType::Bool, {range(t).size}}};
}

Types elementwise(const Op& op, const Types& stated) {
  if (info(op.kind).rule == TypeRule::Cast) return cast(op, stated);
  Dims dims = common_dims(op);
  if (op.kind == OpKind::Select) {
    require(is_bool(tile_operand(op, 0).dtype), "the condition is a {}, not a bool", str(op.operands[0]->type));
    require_one_dtype(op, 1);
    return {TileType{tile_operand(op, 1).dtype, dims}};
  }
  require_one_dtype(op, 0);
  const TileType& t = tile_operand(op, 0);
  require_computable(t.dtype);
  switch (info(op.kind).rule) {
    case TypeRule::Same:
      if (op.kind == OpKind::Not)
        require(!is_float(t.dtype), "{} has no bits to complement", tessera::name(t.dtype));
      else
        require(!is_bool(t.dtype), "no arithmetic on bool");
      if (op.kind == OpKind::Scan) require_scan(op, t);
      if (op.kind == OpKind::Sort) {
        axis_of(op, t.dims.size());
        flag_of(op, Attr::Descending);
      }
      return {TileType{t.dtype, dims}};
    case TypeRule::SameFloat: require(is_float(t.dtype), "needs a float, not {}", tessera::name(t.dtype)); return {TileType{t.dtype, dims}};
    case TypeRule::SameInt: require(is_int(t.dtype), "needs an integer, not {}", tessera::name(t.dtype)); return {TileType{t.dtype, dims}};
    case TypeRule::SameBits:
      require(!is_float(t.dtype), "needs an integer or bool, not {}", tessera::name(t.dtype));
      return {TileType{t.dtype, dims}};
    case TypeRule::Compare:
      require(!is_bool(t.dtype) || op.kind == OpKind::Eq || op.kind == OpKind::Ne, "bools have no order");
      return {TileType{DType::Bool, dims}};
    default: TESSERA_UNREACHABLE("not an elementwise rule");
  }
}

Types shape(const Op& op, const Types& stated) {
  const TileType& t = tile_operand(op, 0);
  Dims dims = t.dims;
  switch (op.kind) {
    case OpKind::Broadcast: {
      const TileType& to = stated_tile(stated);
      Dims out;
      require(to.dtype == t.dtype, "{} to {} changes the dtype", str(t), str(to));
      require(broadcast(t.dims, to.dims, out) && out == to.dims, "{} does not stretch to {}", str(t), str(to));
      return stated;
    }
    case OpKind::Reshape: {
      const TileType& to = stated_tile(stated);
      require(to.dtype == t.dtype, "{} to {} changes the dtype", str(t), str(to));
      require(to.elements() == t.elements(), "{} to {} changes the number of elements", str(t), str(to));
      return stated;
    }
    case OpKind::Permute: {
      const Dims& perm = perm_of(op, t.dims.size());
      for (std::size_t i = 0; i < perm.size(); ++i) dims[i] = t.dims[static_cast<std::size_t>(perm[i])];
      return {TileType{t.dtype, dims}};
    }
    case OpKind::Slice: {
      std::size_t axis = axis_of(op, t.dims.size());
      std::int64_t offset = int_in(op, Attr::Offset, 0, t.dims[axis]);
      dims[axis] = int_in(op, Attr::Size, 1, t.dims[axis] - offset + 1);
      return {TileType{t.dtype, dims}};
    }
    case OpKind::Concat: {
      std::size_t axis = axis_of(op, t.dims.size());
      require_one_dtype(op, 0);
      for (std::size_t i = 1; i < op.operands.size(); ++i) {
        const TileType& u = tile_operand(op, i);
        Dims same = u.dims;
        require(same.size() == dims.size(), "operand {} is a {}: ranks differ", i, str(u));
        dims[axis] += u.dims[axis];
        same[axis] = dims[axis];
        require(same == dims, "operand {} is a {}: dims other than the axis differ", i, str(u));
      }
      return {TileType{t.dtype, dims}};
    }
    case OpKind::Pick: {
      std::size_t axis = axis_of(op, t.dims.size());
      require_idx_scalar(op, 1);
      dims[axis] = 1;
      return {TileType{t.dtype, dims}};
    }
    default: TESSERA_UNREACHABLE("not a shape op");
  }
}

}  // namespace tessera::ir::rules
