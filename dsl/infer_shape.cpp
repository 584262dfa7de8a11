// Type rules of shape ops, products and whole-axis ops.
#include "dsl/infer.h"

namespace tessera::ir::rules {

namespace {

bool is_fp8(DType t) { return t == DType::E4M3 || t == DType::E5M2; }
bool is_byte_int(DType t) { return t == DType::I8 || t == DType::U8; }

DType dot_result(DType a, DType b) {
  if (is_fp8(a) && is_fp8(b)) return DType::F32;
  if (is_byte_int(a) && is_byte_int(b)) return DType::I32;
  require(a == b, "operands have different dtypes: {} and {}", tessera::name(a), tessera::name(b));
  require_computable(a);
  require(is_float(a) || a == DType::I32, "no product of {} tiles", tessera::name(a));
  if (a == DType::F64 || a == DType::I32) return a;
  return DType::F32;
}

const TileType& rank2_operand(const Op& op, std::size_t i) {
  const TileType& t = tile_operand(op, i);
  require(t.rank() == 2, "operand {} is a {}: rank 2 is needed", i, str(t));
  return t;
}

}  // namespace

Types broadcast(const Op& op, const Types& stated) {
  const TileType &t = tile_operand(op, 0), &to = stated_tile(stated);
  Dims out;
  require(to.dtype == t.dtype, "{} to {} changes the dtype", str(t), str(to));
  require(ir::broadcast(t.dims, to.dims, out) && out == to.dims, "{} does not stretch to {}", str(t), str(to));
  return stated;
}

Types reshape(const Op& op, const Types& stated) {
  const TileType &t = tile_operand(op, 0), &to = stated_tile(stated);
  require(to.dtype == t.dtype, "{} to {} changes the dtype", str(t), str(to));
  require(to.elements() == t.elements(), "{} to {} changes the number of elements", str(t), str(to));
  return stated;
}

Types permute(const Op& op) {
  const TileType& t = tile_operand(op, 0);
  TileType result = t;
  const Dims& perm = perm_of(op, t.dims.size());
  for (std::size_t i = 0; i < perm.size(); ++i) result.dims[i] = t.dims[static_cast<std::size_t>(perm[i])];
  return {result};
}

Types slice(const Op& op) {
  TileType t = tile_operand(op, 0);
  std::int64_t& dim = t.dims[axis_of(op, t.dims.size())];
  std::int64_t offset = int_in(op, Attr::Offset, 0, dim);
  dim = int_in(op, Attr::Size, 1, dim - offset + 1);
  return {t};
}

Types concat(const Op& op) {
  TileType t = tile_operand(op, 0);
  std::size_t axis = axis_of(op, t.dims.size());
  for (std::size_t i = 1; i < op.operands.size(); ++i) {
    TileType u = tile_operand(op, i);
    require(u.dtype == t.dtype, "operands have different dtypes: {} and {}", tessera::name(t.dtype), tessera::name(u.dtype));
    require(u.dims.size() == t.dims.size(), "operand {} is a {}: ranks differ", i, str(u));
    t.dims[axis] += u.dims[axis];
    require(t.dims[axis] <= kMaxTileElements, "the result has too many elements");
    u.dims[axis] = t.dims[axis];
    require(u.dims == t.dims, "operand {} is a {}: dims other than the axis differ", i, str(op.operands[i]->type));
  }
  return {t};
}

Types pick(const Op& op) {
  TileType t = tile_operand(op, 0);
  std::size_t axis = axis_of(op, t.dims.size());
  require_idx_scalar(op, 1);
  t.dims[axis] = 1;
  return {t};
}

Types dot(const Op& op) {
  const TileType &a = rank2_operand(op, 0), &b = rank2_operand(op, 1);
  require(a.dims[1] == b.dims[0], "{} x {}: the inner dims differ", str(a), str(b));
  DType result = dot_result(a.dtype, b.dtype);
  if (op.has(Attr::Prec)) {
    std::int64_t prec = int_in(op, Attr::Prec, 0, static_cast<std::int64_t>(DotPrec::Tf32x3) + 1);
    require(prec == 0 || a.dtype == DType::F32, "`prec` other than ieee is for f32");
  }
  return {TileType{result, {a.dims[0], b.dims[1]}}};
}

Types dot_scaled(const Op& op) {
  const TileType &a = rank2_operand(op, 0), &sa = rank2_operand(op, 1), &b = rank2_operand(op, 2), &sb = rank2_operand(op, 3);
  require(is_float(a.dtype) && is_float(b.dtype) && is_float(sa.dtype) && is_float(sb.dtype), "operands are floats");
  require(a.dims[1] == b.dims[0], "{} x {}: the inner dims differ", str(a), str(b));
  require(sa.dims[0] == a.dims[0] && sb.dims[1] == b.dims[1] && sa.dims[1] == sb.dims[0] && a.dims[1] % sa.dims[1] == 0,
          "scales {} and {} do not fit {} x {}", str(sa), str(sb), str(a), str(b));
  return {TileType{DType::F32, {a.dims[0], b.dims[1]}}};
}

Types solve_lower(const Op& op) {
  const TileType &a = rank2_operand(op, 0), &r = rank2_operand(op, 1);
  require(a.dims[0] == a.dims[1] && a.dims[1] == r.dims[0], "{} and {}: [M, M] and [M, N] are needed", str(a), str(r));
  require(a.dtype == r.dtype && is_float(a.dtype), "operands share a float dtype");
  require_computable(a.dtype);
  return {r};
}

Types reduce(const Op& op) {
  TileType t = tile_operand(op, 0);
  ReduceKind k = reduce_kind_of(op);
  t.dims[axis_of(op, t.dims.size())] = 1;
  bool logical = k == ReduceKind::Any || k == ReduceKind::All;
  require(logical == is_bool(t.dtype), "no `{}` of {}", name(k), tessera::name(t.dtype));
  require_computable(t.dtype);
  if (k == ReduceKind::ArgMax || k == ReduceKind::ArgMin) t.dtype = DType::Idx;
  return {t};
}

Types fold_with(const Op& op, bool keeps_axis) {
  require(op.operands.size() % 2 == 0, "{} operands: n tiles and n identities are needed", op.operands.size());
  std::size_t n = op.operands.size() / 2;
  const TileType& first = tile_operand(op, 0);
  std::size_t axis = axis_of(op, first.dims.size());
  Types results, scalars;
  for (std::size_t i = 0; i < n; ++i) {
    TileType t = tile_operand(op, i);
    require(t.dims == first.dims, "operand {} is a {}: all tiles have the same dims", i, str(t));
    require_computable(t.dtype);
    const Type& identity = op.operands[n + i]->type;
    require(is_scalar(identity) && tile(identity).dtype == t.dtype, "identity {} is a {}, not a {}", i, str(identity), tessera::name(t.dtype));
    if (!keeps_axis) t.dims[axis] = 1;
    results.push_back(t);
    scalars.push_back(scalar(t.dtype));
  }
  Types args = scalars;
  args.insert(args.end(), scalars.begin(), scalars.end());
  require_region(op, 0, args, scalars);
  return results;
}

Types top_k(const Op& op) {
  TileType t = tile_operand(op, 0);
  std::int64_t& dim = t.dims[axis_of(op, t.dims.size())];
  dim = int_in(op, Attr::K, 1, dim + 1);
  require(!is_bool(t.dtype), "bools have no order");
  require_computable(t.dtype);
  return {t, TileType{DType::Idx, t.dims}};
}

Types histogram(const Op& op) {
  const TileType &t = tile_operand(op, 0), &when = tile_operand(op, 1);
  require(t.dtype == DType::I32 && t.rank() == 1, "operand 0 is a {}, not an i32[N]", str(t));
  require(is_bool(when.dtype) && when.dims == t.dims, "operand 1 is a {}, not a bool[{}]", str(when), t.dims[0]);
  return {TileType{DType::I32, {positive_size(op)}}};
}

}  // namespace tessera::ir::rules
