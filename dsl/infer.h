// The type rules by family, as infer_types dispatches to them. Private to dsl/infer*.cpp.
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
std::size_t axis_of(const Op& op, std::size_t rank);
const Dims& perm_of(const Op& op, std::size_t rank);
ReduceKind reduce_kind_of(const Op& op);
/// Absent, 0 or 1.
bool flag_of(const Op& op, Attr a);

// --- regions
/// Arguments and yielded types of a region, as far as it is filled: a builder makes it empty.
void require_region(const Op& op, std::size_t region, const Types& args, const Types& yields);

// --- families
Types constants(const Op& op, const Types& stated);
Types elementwise(const Op& op, const Types& stated);
Types shape(const Op& op, const Types& stated);
Types whole_axis(const Op& op);
Types products(const Op& op);
Types memory(const Op& op);
Types views(const Op& op);
Types control(const Op& op, const Types& stated);
Types effects(const Op& op);

}  // namespace tessera::ir::rules
