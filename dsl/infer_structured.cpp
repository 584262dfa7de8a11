// Type rules of memory, views, control and effects.
#include "dsl/infer.h"

namespace tessera::ir::rules {

namespace {

/// What operands first .. first + rank select from a view.
Dims selected_dims(const Op& op, const ViewType& v, std::size_t first) {
  Dims in_order, gathered;
  int tiles = 0, ranges = 0;
  for (std::size_t i = first; i < first + static_cast<std::size_t>(v.rank); ++i) {
    const Type& t = op.operands[i]->type;
    if (is_range(t)) {
      ++ranges;
      in_order.push_back(ir::range(t).size);
      continue;
    }
    require(is_tile(t) && is_int(tile(t).dtype), "index operand {} is a {}: an integer scalar, a range or an integer tile is needed", i, str(t));
    require_computable(tile(t).dtype);
    const Dims& dims = tile(t).dims;
    if (dims.empty()) continue;
    ++tiles;
    require(ir::broadcast(gathered, dims, gathered), "index operand {} is a {}: index tiles do not broadcast", i, str(t));
    in_order.push_back(dims[0]);
  }
  if (tiles == 0) return in_order;
  if (ranges == 0) return gathered;
  require(tiles == 1 && gathered.size() == 1, "among ranges at most one index tile, of rank 1");
  return in_order;
}

/// The selection of an op whose indices start at operand `first`; `after` operands follow them.
Dims selection(const Op& op, std::size_t first, std::size_t after) {
  const ViewType& v = view_operand(op, 0);
  std::size_t needed = first + static_cast<std::size_t>(v.rank) + after;
  require(op.operands.size() == needed, "{} operands for a view of rank {}: {} are needed", op.operands.size(), v.rank, needed);
  return selected_dims(op, v, first);
}

/// The value that is written: exactly what the indices select.
TileType written(const Op& op, std::size_t after) {
  const TileType& value = tile_operand(op, 1);
  TileType expected{view_operand(op, 0).dtype, selection(op, 2, after)};
  require(value == expected, "the value is a {}, the indices select a {}", str(value), str(expected));
  return expected;
}

Types carried(const Op& op, std::size_t first) {
  Types types;
  for (std::size_t i = first; i < op.operands.size(); ++i) types.emplace_back(tile_operand(op, i));
  return types;
}

}  // namespace

Types load(const Op& op) {
  const ViewType& v = view_operand(op, 0);
  if (op.kind == OpKind::FetchAdd) {
    require_computable(v.dtype);
    return {written(op, 0)};
  }
  if (op.kind == OpKind::Wait)
    require_region(op, 0, {scalar(v.dtype)}, {scalar(DType::Bool)});
  else
    flag_of(op, Attr::Zero);
  return {TileType{v.dtype, selection(op, 1, 0)}};
}

Types store(const Op& op) {
  bool masked = flag_of(op, Attr::Masked);
  if (flag_of(op, Attr::Add)) require_computable(view_operand(op, 0).dtype);
  TileType value = written(op, masked ? 1 : 0);
  if (masked) {
    const TileType& when = tile_operand(op, op.operands.size() - 1);
    Dims out;
    require(is_bool(when.dtype), "the mask is a {}, not a bool", str(when));
    require(ir::broadcast(when.dims, value.dims, out) && out == value.dims, "the mask is a {}, which does not stretch to the dims of {}", str(when),
            str(value));
  }
  return {};
}

Types view_drop(const Op& op) {
  ViewType v = view_operand(op, 0);
  axis_of(op, static_cast<std::size_t>(v.rank));
  require_int_scalar(op, 1);
  --v.rank;
  return {v};
}

Types view_same(const Op& op) {
  const ViewType& v = view_operand(op, 0);
  auto rank = static_cast<std::size_t>(v.rank);
  if (op.kind == OpKind::ViewPermute) {
    perm_of(op, rank);
    return {v};
  }
  if (op.kind == OpKind::ViewTake) {
    const Type& ids = op.operands[1]->type;
    require(v.rank >= 1, "a view of rank 0 has no rows");
    bool good = is_view(ids) ? view(ids).rank == 1 && is_int(view(ids).dtype) : is_tile(ids) && tile(ids).rank() == 1 && is_int(tile(ids).dtype);
    require(good, "operand 1 is a {}: a rank-1 integer view or tile is needed", str(ids));
    return {v};
  }
  if (op.kind == OpKind::ViewSpan) {
    axis_of(op, rank);
    require_int_scalar(op, 2);
  }
  require_int_scalar(op, 1);  // span: lo; peer: the rank
  return {v};
}

Types view_merge(const Op& op) {
  ViewType v = view_operand(op, 0);
  auto axis = static_cast<std::int64_t>(axis_of(op, static_cast<std::size_t>(v.rank)));
  v.rank -= static_cast<int>(int_in(op, Attr::Last, axis, v.rank) - axis);
  return {v};
}

Types view_split(const Op& op) {
  ViewType v = view_operand(op, 0);
  axis_of(op, static_cast<std::size_t>(v.rank));
  positive_size(op);
  ++v.rank;
  return {v};
}

Types view_drop_first(const Op& op) {
  ViewType pool = view_operand(op, 0);
  const ViewType& table = view_operand(op, 1);
  require(pool.rank >= 2, "a pool has rank 2 or more, not {}", pool.rank);
  require(table.rank == 1 && is_int(table.dtype), "operand 1 is a {}: a rank-1 integer view is needed", str(op.operands[1]->type));
  require_int_scalar(op, 2);
  --pool.rank;
  return {pool};
}

Types for_loop(const Op& op) {
  for (std::size_t i = 0; i < 3; ++i) require_idx_scalar(op, i);
  Types types = carried(op, 3), args{scalar(DType::Idx)};
  args.insert(args.end(), types.begin(), types.end());
  require_region(op, 0, args, types);
  return types;
}

Types while_loop(const Op& op) {
  Types types = carried(op, 0);
  require_region(op, 0, types, {scalar(DType::Bool)});
  require_region(op, 1, types, types);
  return types;
}

Types if_else(const Op& op, const Types& stated) {
  const Type& condition = op.operands[0]->type;
  require(is_scalar(condition) && is_bool(tile(condition).dtype), "the condition is a {}, not a bool", str(condition));
  Types types = stated;
  const Block& first = op.region(0);
  if (types.empty() && !first.ops.empty() && first.ops.back()->kind == OpKind::Yield)
    for (const Value* v : first.ops.back()->operands) types.push_back(v->type);
  for (const Type& t : types) require(is_tile(t), "a result is a {}, not a tile", str(t));
  require_region(op, 0, {}, types);
  require_region(op, 1, {}, types);
  return types;
}

Types nothing(const Op& op) {
  if (op.kind == OpKind::Assert) require(is_bool(tile_operand(op, 0).dtype), "operand 0 is a {}, not a bool", str(op.operands[0]->type));
  if (op.kind == OpKind::Print) tile_operand(op, 0);
  if (op.kind == OpKind::Signal) written(op, 0);
  return {};
}

}  // namespace tessera::ir::rules
