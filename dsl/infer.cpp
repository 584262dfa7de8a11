#include "dsl/infer.h"

#include <algorithm>

#include "dsl/diagnostic.h"

namespace tessera::ir {

namespace rules {

const TileType& tile_operand(const Op& op, std::size_t i) {
  const Type& t = op.operands.at(i)->type;
  require(is_tile(t), "operand {} is a {}, not a tile", i, str(t));
  return tile(t);
}

const ViewType& view_operand(const Op& op, std::size_t i) {
  const Type& t = op.operands.at(i)->type;
  require(is_view(t), "operand {} is a {}, not a view", i, str(t));
  return view(t);
}

void require_int_scalar(const Op& op, std::size_t i) {
  const Type& t = op.operands.at(i)->type;
  require(is_scalar(t) && is_int(tile(t).dtype), "operand {} is a {}, not an integer scalar", i, str(t));
}

void require_idx_scalar(const Op& op, std::size_t i) {
  const Type& t = op.operands.at(i)->type;
  require(is_scalar(t) && tile(t).dtype == DType::Idx, "operand {} is a {}, not an idx scalar", i, str(t));
}

void require_computable(DType t) { require(!storage_only(t), "{} is a storage type: convert it first", tessera::name(t)); }

std::int64_t int_of(const Op& op, Attr a) {
  auto it = op.attrs.find(a);
  require(it != op.attrs.end(), "attribute `{}` is missing", name(a));
  const auto* v = std::get_if<std::int64_t>(&it->second);
  require(v != nullptr, "attribute `{}` is not an integer", name(a));
  return *v;
}

std::int64_t int_in(const Op& op, Attr a, std::int64_t low, std::int64_t limit) {
  std::int64_t v = int_of(op, a);
  require(low <= v && v < limit, "attribute `{}` = {} is not in {} .. {}", name(a), v, low, limit);
  return v;
}

std::int64_t positive_size(const Op& op) {
  std::int64_t size = int_of(op, Attr::Size);
  require(size > 0, "attribute `size` = {} is not positive", size);
  return size;
}

std::size_t axis_of(const Op& op, std::size_t rank) { return static_cast<std::size_t>(int_in(op, Attr::Axis, 0, static_cast<std::int64_t>(rank))); }

const Dims& perm_of(const Op& op, std::size_t rank) {
  auto it = op.attrs.find(Attr::Perm);
  const auto* perm = it == op.attrs.end() ? nullptr : std::get_if<Dims>(&it->second);
  require(perm != nullptr, "attribute `perm` is missing or not a list");
  Dims sorted = *perm;
  std::sort(sorted.begin(), sorted.end());
  bool good = sorted.size() == rank;
  for (std::size_t i = 0; good && i < rank; ++i) good = sorted[i] == static_cast<std::int64_t>(i);
  require(good, "attribute `perm` is not a permutation of {} axes", rank);
  return *perm;
}

ReduceKind reduce_kind_of(const Op& op) {
  return static_cast<ReduceKind>(int_in(op, Attr::Kind, 0, static_cast<std::int64_t>(ReduceKind::ArgMin) + 1));
}

bool flag_of(const Op& op, Attr a) { return op.has(a) && int_in(op, a, 0, 2) == 1; }

void require_region(const Op& op, std::size_t region, const Types& args, const Types& yields) {
  if (region >= op.regions.size()) return;  // the count is checked elsewhere
  const Block& block = *op.regions[region];
  if (block.args.empty() && block.ops.empty()) return;
  require(block.args.size() == args.size(), "region {} has {} arguments, not {}", region, block.args.size(), args.size());
  for (std::size_t i = 0; i < args.size(); ++i)
    require(block.args[i]->type == args[i], "argument {} of region {} is a {}, not a {}", i, region, str(block.args[i]->type), str(args[i]));
  if (block.ops.empty() || block.ops.back()->kind != OpKind::Yield) return;
  const auto& values = block.ops.back()->operands;
  require(values.size() == yields.size(), "region {} yields {} values, not {}", region, values.size(), yields.size());
  for (std::size_t i = 0; i < yields.size(); ++i)
    require(values[i]->type == yields[i], "region {} yields a {} as value {}, not a {}", region, str(values[i]->type), i, str(yields[i]));
}

const TileType& stated_tile(const Types& stated) {
  require(stated.size() == 1, "the result type must be stated");
  require(is_tile(stated[0]), "the result is a tile, not a {}", str(stated[0]));
  return tile(stated[0]);
}

namespace {

Types dispatch(const Op& op, const Types& given) {
  switch (info(op.kind).rule) {
    case TypeRule::Stated: return rules::stated(op, given);
    case TypeRule::IdxScalar: return idx_scalar(op);
    case TypeRule::Range: return rules::range(op);
    case TypeRule::Coords: return of_range(op, DType::Idx);
    case TypeRule::Inside: return of_range(op, DType::Bool);
    case TypeRule::Same: return same(op);
    case TypeRule::SameFloat: return same_float(op);
    case TypeRule::SameInt: return same_int(op);
    case TypeRule::SameBits: return same_bits(op);
    case TypeRule::Compare: return compare(op);
    case TypeRule::Select: return select(op);
    case TypeRule::Cast: return cast(op, given);
    case TypeRule::Broadcast: return broadcast(op, given);
    case TypeRule::Reshape: return reshape(op, given);
    case TypeRule::Permute: return permute(op);
    case TypeRule::Slice: return slice(op);
    case TypeRule::Concat: return concat(op);
    case TypeRule::Pick: return pick(op);
    case TypeRule::Dot: return dot(op);
    case TypeRule::DotScaled: return dot_scaled(op);
    case TypeRule::Reduce: return reduce(op);
    case TypeRule::ReduceWith: return fold_with(op, false);
    case TypeRule::ScanWith: return fold_with(op, true);
    case TypeRule::TopK: return top_k(op);
    case TypeRule::Histogram: return histogram(op);
    case TypeRule::SolveLower: return solve_lower(op);
    case TypeRule::Load: return load(op);
    case TypeRule::Store: return store(op);
    case TypeRule::ViewDrop: return view_drop(op);
    case TypeRule::ViewSame: return view_same(op);
    case TypeRule::ViewMerge: return view_merge(op);
    case TypeRule::ViewSplit: return view_split(op);
    case TypeRule::ViewDropFirst: return view_drop_first(op);
    case TypeRule::For: return for_loop(op);
    case TypeRule::While: return while_loop(op);
    case TypeRule::If: return if_else(op, given);
    case TypeRule::None: return nothing(op);
  }
  TESSERA_UNREACHABLE("TypeRule");
}

void require_counts(const Op& op) {
  const OpInfo& i = info(op.kind);
  auto n = static_cast<int>(op.operands.size());
  require(n >= i.min_operands && (i.max_operands < 0 || n <= i.max_operands), "{} operands", n);
  require(static_cast<int>(op.regions.size()) == i.regions, "{} regions, not {}", op.regions.size(), i.regions);
}

void require_sizes(const Types& types) {
  for (const Type& t : types) {
    if (is_range(t)) require(ir::range(t).size > 0 && ir::range(t).size <= kMaxTileElements, "result {} has an invalid size", str(t));
    if (!is_tile(t)) continue;
    for (std::int64_t d : tile(t).dims) require(d > 0, "result {} has a dim that is not positive", str(t));
    require(tile(t).elements() <= kMaxTileElements, "result {} has too many elements", str(t));
  }
}

}  // namespace
}  // namespace rules

InferredTypes infer_types(const Op& op, const std::vector<Type>& stated) {
  try {
    rules::require_counts(op);
    rules::require_sizes(stated);
    InferredTypes result{rules::dispatch(op, stated), ""};
    rules::require_sizes(result.types);
    if (!stated.empty()) {
      rules::require(stated.size() == result.types.size(), "{} results, not {}", stated.size(), result.types.size());
      for (std::size_t i = 0; i < stated.size(); ++i)
        rules::require(stated[i] == result.types[i], "result {} is a {}, not a {}", i, str(result.types[i]), str(stated[i]));
    }
    return result;
  } catch (const rules::IllTyped& e) {
    return {{}, e.what};
  }
}

}  // namespace tessera::ir
