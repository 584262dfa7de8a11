// Type rules of products, whole-axis ops, memory, views, control and effects.
#include <algorithm>

#include "dsl/diagnostic.h"
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

void require_rank2(const TileType& t, std::size_t i) { require(t.rank() == 2, "operand {} is a {}: rank 2 is needed", i, str(t)); }

Types fold_with(const Op& op) {
  require(op.operands.size() % 2 == 0, "{} operands: n tiles and n identities are needed", op.operands.size());
  std::size_t n = op.operands.size() / 2;
  const TileType& first = tile_operand(op, 0);
  std::size_t axis = axis_of(op, first.dims.size());
  Types results, scalars;
  for (std::size_t i = 0; i < n; ++i) {
    const TileType& t = tile_operand(op, i);
    require(t.dims == first.dims, "operand {} is a {}: all tiles have the same dims", i, str(t));
    require_computable(t.dtype);
    require(op.operands[n + i]->type == Type(scalar(t.dtype)), "identity {} is a {}, not a {}", i, str(op.operands[n + i]->type),
            tessera::name(t.dtype));
    TileType result = t;
    if (op.kind == OpKind::ReduceWith) result.dims[axis] = 1;
    results.push_back(result);
    scalars.push_back(scalar(t.dtype));
  }
  Types args = scalars;
  args.insert(args.end(), scalars.begin(), scalars.end());
  require_region(op, 0, args, scalars);
  return results;
}

/// What operands first .. first + rank select from a view.
Dims selected_dims(const Op& op, const ViewType& v, std::size_t first) {
  Dims ranges, gathered;
  int tiles = 0, range_count = 0;
  for (std::size_t i = first; i < first + static_cast<std::size_t>(v.rank); ++i) {
    const Type& t = op.operands[i]->type;
    if (is_range(t)) {
      ++range_count;
      ranges.push_back(range(t).size);
      continue;
    }
    require(is_tile(t) && is_int(tile(t).dtype), "index operand {} is a {}: an integer scalar, a range or an integer tile is needed", i, str(t));
    const Dims& dims = tile(t).dims;
    if (dims.empty()) continue;
    ++tiles;
    require(broadcast(gathered, dims, gathered), "index operand {} is a {}: index tiles do not broadcast", i, str(t));
    if (dims.size() == 1) ranges.push_back(dims[0]);
  }
  if (tiles == 0) return ranges;
  if (range_count == 0) return gathered;
  require(tiles == 1 && gathered.size() == 1, "among ranges at most one index tile, of rank 1");
  return ranges;
}

/// The selection of an op whose indices start at operand `first`; `after` operands follow them.
Dims selection(const Op& op, std::size_t first, std::size_t after) {
  const ViewType& v = view_operand(op, 0);
  std::size_t needed = first + static_cast<std::size_t>(v.rank) + after;
  require(op.operands.size() == needed, "{} operands for a view of rank {}: {} are needed", op.operands.size(), v.rank, needed);
  return selected_dims(op, v, first);
}

TileType require_written(const Op& op, std::size_t after) {
  const ViewType& v = view_operand(op, 0);
  const TileType& value = tile_operand(op, 1);
  TileType expected{v.dtype, selection(op, 2, after)};
  require(value == expected, "the value is a {}, the indices select a {}", str(value), str(expected));
  return expected;
}

}  // namespace

Types products(const Op& op) {
  const TileType& a = tile_operand(op, 0);
  require_rank2(a, 0);
  switch (op.kind) {
    case OpKind::Dot: {
      const TileType& b = tile_operand(op, 1);
      require_rank2(b, 1);
      require(a.dims[1] == b.dims[0], "{} x {}: the inner dims differ", str(a), str(b));
      DType result = dot_result(a.dtype, b.dtype);
      if (op.has(Attr::Prec)) {
        std::int64_t prec = int_in(op, Attr::Prec, 0, 3);
        require(prec == 0 || a.dtype == DType::F32, "`prec` other than ieee is for f32");
      }
      return {TileType{result, {a.dims[0], b.dims[1]}}};
    }
    case OpKind::DotScaled: {
      const TileType &sa = tile_operand(op, 1), &b = tile_operand(op, 2), &sb = tile_operand(op, 3);
      require_rank2(sa, 1);
      require_rank2(b, 2);
      require_rank2(sb, 3);
      require(is_float(a.dtype) && is_float(b.dtype) && is_float(sa.dtype) && is_float(sb.dtype), "operands are floats");
      require(a.dims[1] == b.dims[0], "{} x {}: the inner dims differ", str(a), str(b));
      require(sa.dims[0] == a.dims[0] && sb.dims[1] == b.dims[1] && sa.dims[1] == sb.dims[0] && a.dims[1] % sa.dims[1] == 0,
              "scales {} and {} do not fit {} x {}", str(sa), str(sb), str(a), str(b));
      return {TileType{DType::F32, {a.dims[0], b.dims[1]}}};
    }
    case OpKind::SolveLower: {
      const TileType& r = tile_operand(op, 1);
      require_rank2(r, 1);
      require(a.dims[0] == a.dims[1] && a.dims[1] == r.dims[0], "{} and {}: [M, M] and [M, N] are needed", str(a), str(r));
      require(a.dtype == r.dtype && is_float(a.dtype), "operands share a float dtype");
      require_computable(a.dtype);
      return {r};
    }
    default: TESSERA_UNREACHABLE("not a product");
  }
}

Types whole_axis(const Op& op) {
  if (op.kind == OpKind::ReduceWith || op.kind == OpKind::ScanWith) return fold_with(op);
  const TileType& t = tile_operand(op, 0);
  Dims dims = t.dims;
  switch (op.kind) {
    case OpKind::Reduce: {
      ReduceKind k = reduce_kind_of(op);
      dims[axis_of(op, dims.size())] = 1;
      bool logical = k == ReduceKind::Any || k == ReduceKind::All;
      require(logical == is_bool(t.dtype), "no `{}` of {}", name(k), tessera::name(t.dtype));
      require_computable(t.dtype);
      return {TileType{k == ReduceKind::ArgMax || k == ReduceKind::ArgMin ? DType::Idx : t.dtype, dims}};
    }
    case OpKind::TopK: {
      std::size_t axis = axis_of(op, dims.size());
      dims[axis] = int_in(op, Attr::K, 1, dims[axis] + 1);
      require(!is_bool(t.dtype), "bools have no order");
      require_computable(t.dtype);
      return {TileType{t.dtype, dims}, TileType{DType::Idx, dims}};
    }
    case OpKind::Histogram: {
      const TileType& when = tile_operand(op, 1);
      require(t.dtype == DType::I32 && t.rank() == 1, "operand 0 is a {}, not an i32[N]", str(t));
      require(is_bool(when.dtype) && when.dims == t.dims, "operand 1 is a {}, not a bool[{}]", str(when), t.dims[0]);
      std::int64_t size = int_of(op, Attr::Size);
      require(size > 0, "attribute `size` = {} is not positive", size);
      return {TileType{DType::I32, {size}}};
    }
    default: TESSERA_UNREACHABLE("not a whole-axis op");
  }
}

Types memory(const Op& op) {
  const ViewType& v = view_operand(op, 0);
  switch (op.kind) {
    case OpKind::Load: flag_of(op, Attr::Zero); return {TileType{v.dtype, selection(op, 1, 0)}};
    case OpKind::Wait: {
      require_region(op, 0, {scalar(v.dtype)}, {scalar(DType::Bool)});
      return {TileType{v.dtype, selection(op, 1, 0)}};
    }
    case OpKind::FetchAdd: require_computable(v.dtype); return {require_written(op, 0)};
    case OpKind::Store: {
      bool masked = flag_of(op, Attr::Masked);
      if (flag_of(op, Attr::Add)) require_computable(v.dtype);
      TileType value = require_written(op, masked ? 1 : 0);
      if (masked) {
        const TileType& when = tile_operand(op, op.operands.size() - 1);
        Dims out;
        require(is_bool(when.dtype) && broadcast(when.dims, value.dims, out) && out == value.dims,
                "the mask is a {}, which does not stretch to the dims of {}", str(when), str(value));
      }
      return {};
    }
    default: TESSERA_UNREACHABLE("not a memory op");
  }
}

Types views(const Op& op) {
  ViewType v = view_operand(op, 0);
  auto rank = static_cast<std::size_t>(v.rank);
  switch (op.kind) {
    case OpKind::ViewIndex:
      axis_of(op, rank);
      require_int_scalar(op, 1);
      --v.rank;
      return {v};
    case OpKind::ViewSpan:
      axis_of(op, rank);
      require_int_scalar(op, 1);
      require_int_scalar(op, 2);
      return {v};
    case OpKind::ViewPermute: perm_of(op, rank); return {v};
    case OpKind::ViewMerge: {
      auto axis = static_cast<std::int64_t>(axis_of(op, rank));
      v.rank -= static_cast<int>(int_in(op, Attr::Last, axis, v.rank) - axis);
      return {v};
    }
    case OpKind::ViewSplit: {
      axis_of(op, rank);
      std::int64_t size = int_of(op, Attr::Size);
      require(size > 0, "attribute `size` = {} is not positive", size);
      ++v.rank;
      return {v};
    }
    case OpKind::ViewPaged: {
      const ViewType& table = view_operand(op, 1);
      require(v.rank >= 2, "a pool has rank 2 or more, not {}", v.rank);
      require(table.rank == 1 && is_int(table.dtype), "operand 1 is a {}: a rank-1 integer view is needed", str(op.operands[1]->type));
      require_int_scalar(op, 2);
      --v.rank;
      return {v};
    }
    case OpKind::ViewTake: {
      const Type& ids = op.operands[1]->type;
      require(v.rank >= 1, "a view of rank 0 has no rows");
      bool good =
          (is_view(ids) && view(ids).rank == 1 && is_int(view(ids).dtype)) || (is_tile(ids) && tile(ids).rank() == 1 && is_int(tile(ids).dtype));
      require(good, "operand 1 is a {}: a rank-1 integer view or tile is needed", str(ids));
      return {v};
    }
    case OpKind::ViewPeer: require_int_scalar(op, 1); return {v};
    default: TESSERA_UNREACHABLE("not a view op");
  }
}

Types control(const Op& op, const Types& stated) {
  auto carried = [&](std::size_t first) {
    Types types;
    for (std::size_t i = first; i < op.operands.size(); ++i) types.push_back(tile_operand(op, i));
    return types;
  };
  switch (op.kind) {
    case OpKind::For: {
      for (std::size_t i = 0; i < 3; ++i) require_idx_scalar(op, i);
      Types types = carried(3), args{scalar(DType::Idx)};
      args.insert(args.end(), types.begin(), types.end());
      require_region(op, 0, args, types);
      return types;
    }
    case OpKind::While: {
      Types types = carried(0);
      require_region(op, 0, types, {scalar(DType::Bool)});
      require_region(op, 1, types, types);
      return types;
    }
    case OpKind::If: {
      require(op.operands[0]->type == Type(scalar(DType::Bool)), "the condition is a {}, not a bool", str(op.operands[0]->type));
      Types types = stated;
      const Block& first = op.region(0);
      if (types.empty() && !first.ops.empty() && first.ops.back()->kind == OpKind::Yield)
        for (const Value* v : first.ops.back()->operands) types.push_back(v->type);
      for (const Type& t : types) require(is_tile(t), "a result is a {}, not a tile", str(t));
      require_region(op, 0, {}, types);
      require_region(op, 1, {}, types);
      return types;
    }
    default: TESSERA_UNREACHABLE("not a control op");
  }
}

Types effects(const Op& op) {
  switch (op.kind) {
    case OpKind::Yield: return {};
    case OpKind::Assert: require(is_bool(tile_operand(op, 0).dtype), "operand 0 is a {}, not a bool", str(op.operands[0]->type)); return {};
    case OpKind::Print: tile_operand(op, 0); return {};
    case OpKind::Claim: return {};
    case OpKind::Signal: require_written(op, 0); return {};
    default: TESSERA_UNREACHABLE("not an effect");
  }
}

}  // namespace tessera::ir::rules
