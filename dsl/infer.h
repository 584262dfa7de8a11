// The type rules, one function a TypeRule, as infer_types dispatches to them. Private to dsl/infer*.cpp.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "dsl/builder.h"

namespace tessera::ir::rules {

/// Thrown by the rules, caught by infer_types.
struct IllTyped {
  std::string what;
};

template <typename... Args>
[[noreturn]] void fail(fmt::format_string<Args...> text, Args&&... args) {
  throw IllTyped{fmt::format(text, std::forward<Args>(args)...)};
}
template <typename... Args>
void require(bool ok, fmt::format_string<Args...> text, Args&&... args) {
  if (!ok) fail(text, std::forward<Args>(args)...);
}

using Types = std::vector<Type>;

// --- operands
const TileType& tile_operand(const Op& op, std::size_t i);
const ViewType& view_operand(const Op& op, std::size_t i);
/// A rank-0 tile of an integer dtype.
void require_int_scalar(const Op& op, std::size_t i);
void require_idx_scalar(const Op& op, std::size_t i);
/// A dtype that is computed with, not only stored.
void require_computable(DType t);

// --- attributes
std::int64_t int_of(const Op& op, Attr a);
/// `a`, at least `low` and below `limit`.
std::int64_t int_in(const Op& op, Attr a, std::int64_t low, std::int64_t limit);
std::int64_t positive_size(const Op& op);
std::size_t axis_of(const Op& op, std::size_t rank);
const Dims& perm_of(const Op& op, std::size_t rank);
ReduceKind reduce_kind_of(const Op& op);
/// Absent, 0 or 1.
bool flag_of(const Op& op, Attr a);

// --- regions
/// Arguments and yielded types of a region, as far as it is filled: a builder makes it empty.
void require_region(const Op& op, std::size_t region, const Types& args, const Types& yields);

// --- the rules (infer_elementwise.cpp)
Types stated(const Op& op, const Types& stated);
Types idx_scalar(const Op& op);
Types range(const Op& op);
Types of_range(const Op& op, DType t);
Types same(const Op& op);
Types same_float(const Op& op);
Types same_int(const Op& op);
Types same_bits(const Op& op);
Types compare(const Op& op);
Types select(const Op& op);
Types cast(const Op& op, const Types& stated);

// (infer_shape.cpp)
Types broadcast(const Op& op, const Types& stated);
Types reshape(const Op& op, const Types& stated);
Types permute(const Op& op);
Types slice(const Op& op);
Types concat(const Op& op);
Types pick(const Op& op);
Types dot(const Op& op);
Types dot_scaled(const Op& op);
Types solve_lower(const Op& op);
Types reduce(const Op& op);
Types fold_with(const Op& op, bool keeps_axis);
Types top_k(const Op& op);
Types histogram(const Op& op);

// (infer_structured.cpp)
Types load(const Op& op);
Types store(const Op& op);
Types view_drop(const Op& op);
Types view_same(const Op& op);
Types view_merge(const Op& op);
Types view_split(const Op& op);
Types view_drop_first(const Op& op);
Types for_loop(const Op& op);
Types while_loop(const Op& op);
Types if_else(const Op& op, const Types& stated);
Types nothing(const Op& op);

/// The one stated type, a tile.
const TileType& stated_tile(const Types& stated);

}  // namespace tessera::ir::rules
