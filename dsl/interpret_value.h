// Values and shared helpers of the reference interpreter; private to dsl/interpret*.cpp.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "dsl/diagnostic.h"
#include "dsl/interpret.h"
#include "dsl/ir.h"

namespace tessera::interp {

using ir::Dims;

/// A tile's elements, row-major: `f` for floats, `i` for integers, idx and bool (0 or 1). Integers are kept wrapped to their type.
struct Tile {
  DType dtype = DType::F32;
  Dims dims;
  std::vector<double> f;
  std::vector<std::int64_t> i;

  bool floats() const { return is_float(dtype); }
  std::int64_t elements() const { return static_cast<std::int64_t>(floats() ? f.size() : i.size()); }
};
using TilePtr = std::shared_ptr<const Tile>;
using Tiles = std::vector<TilePtr>;

struct RangeValue {
  std::int64_t start = 0, lo = 0, hi = 0, size = 0;
  bool full = false;

  std::int64_t coord(std::int64_t k) const { return wrap_int(DType::Idx, static_cast<std::int64_t>(static_cast<std::uint64_t>(start) + k)); }
  bool valid(std::int64_t k) const { return full || (coord(k) >= lo && coord(k) < hi); }
};

struct View;
using ViewPtr = std::shared_ptr<const View>;
using Slot = std::variant<std::monostate, TilePtr, RangeValue, ViewPtr>;

/// How numbers behave in this run.
struct Mode {
  bool exact = false;
  bool poison = true;
};

/// Runs a region on scalars: arguments in, yielded values out.
using RegionFn = std::function<Tiles(Tiles)>;

/// A tile of zeros.
std::shared_ptr<Tile> make_tile(DType t, Dims dims);
std::shared_ptr<Tile> make_tile(const ir::TileType& t);
TilePtr int_scalar(DType t, std::int64_t v);
std::int64_t count(const Dims& dims);
/// Rounds every element of a float tile to its dtype, unless exact.
void round_tile(Tile& t, const Mode& mode);
/// One element as a scalar tile, and back into place.
TilePtr element(const Tile& t, std::int64_t at);
void set_element(Tile& t, std::int64_t at, const Tile& scalar);
/// Elements of a row-major tile of `dims` lie in the source at the sum of position * step over the dims.
std::vector<std::size_t> source_positions(const Dims& dims, const Dims& step);
Dims row_major_strides(const Dims& dims);
TilePtr gather(const Tile& x, const Dims& dims, const Dims& step);
/// `x` stretched to `dims`; `x` itself if nothing changes.
TilePtr expand(const TilePtr& x, const Dims& dims);

/// a < b in the order of an integer type (u64 values are bit patterns).
inline bool int_less(DType t, std::int64_t a, std::int64_t b) {
  return t == DType::U64 ? static_cast<std::uint64_t>(a) < static_cast<std::uint64_t>(b) : a < b;
}
inline std::int64_t wrap_add(DType t, std::int64_t a, std::int64_t b) {
  return wrap_int(t, static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b)));
}
inline std::int64_t wrap_mul(DType t, std::int64_t a, std::int64_t b) {
  return wrap_int(t, static_cast<std::int64_t>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b)));
}
/// NaN loses; +0 is larger than -0.
double float_max(double a, double b);
double float_min(double a, double b);

[[noreturn]] void fail(const ir::Op& op, const std::string& what);

/// Dims before, at and after an axis: element (o, k, i) lies at (o * n + k) * inner + i.
struct AxisSplit {
  std::int64_t outer = 1, n = 1, inner = 1;
  AxisSplit(const Dims& dims, std::int64_t axis);
  std::int64_t at(std::int64_t o, std::int64_t k, std::int64_t i) const { return (o * n + k) * inner + i; }
};

// Ops by group; operands are those of the op in order.
TilePtr eval_unary(const ir::Op& op, const Tiles& x, const Mode& mode);
TilePtr eval_binary(const ir::Op& op, const Tiles& x, const Mode& mode);
TilePtr eval_compare(const ir::Op& op, const Tiles& x);
TilePtr eval_select(const ir::Op& op, const Tiles& x);
TilePtr eval_fma(const ir::Op& op, const Tiles& x, const Mode& mode);
TilePtr eval_cast(const ir::Op& op, const Tiles& x, const Mode& mode);
TilePtr eval_bitcast(const ir::Op& op, const Tiles& x);

TilePtr eval_const(const ir::Op& op, const Mode& mode);
TilePtr eval_reshape(const ir::Op& op, const Tiles& x);
TilePtr eval_permute(const ir::Op& op, const Tiles& x);
TilePtr eval_slice(const ir::Op& op, const Tiles& x);
TilePtr eval_concat(const ir::Op& op, const Tiles& x);
TilePtr eval_pick(const ir::Op& op, const Tiles& x);

TilePtr eval_dot(const ir::Op& op, const Tiles& x, const Mode& mode);
TilePtr eval_dot_scaled(const ir::Op& op, const Tiles& x, const Mode& mode);
TilePtr eval_solve_lower(const ir::Op& op, const Tiles& x, const Mode& mode);

TilePtr eval_reduce(const ir::Op& op, const Tiles& x, const Mode& mode);
TilePtr eval_scan(const ir::Op& op, const Tiles& x, const Mode& mode);
Tiles eval_reduce_with(const ir::Op& op, const Tiles& x, const RegionFn& combine);
Tiles eval_scan_with(const ir::Op& op, const Tiles& x, const RegionFn& combine);
TilePtr eval_sort(const ir::Op& op, const Tiles& x);
Tiles eval_top_k(const ir::Op& op, const Tiles& x);
TilePtr eval_histogram(const ir::Op& op, const Tiles& x);

/// `[[1, 2], [3, 4]]`.
std::string print_tile(const Tile& t);

}  // namespace tessera::interp
