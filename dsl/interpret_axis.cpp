// Whole-axis ops: reductions, scans, sorting, counting.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "dsl/interpret_value.h"

namespace tessera::interp {

using ir::Attr;
using ir::Op;
using ir::ReduceKind;

namespace {

const ir::TileType& result_type(const Op& op) { return ir::tile(op.result()->type); }
ReduceKind reduce_kind(const Op& op) { return static_cast<ReduceKind>(op.int_attr(Attr::Kind)); }

/// The identity of a fold; arg kinds fold like the value they look for.
double float_identity(ReduceKind k) {
  switch (k) {
    case ReduceKind::Sum:
    case ReduceKind::Any: return 0;
    case ReduceKind::Prod:
    case ReduceKind::All: return 1;
    case ReduceKind::Max:
    case ReduceKind::ArgMax: return -std::numeric_limits<double>::infinity();
    case ReduceKind::Min:
    case ReduceKind::ArgMin: return std::numeric_limits<double>::infinity();
  }
  TESSERA_UNREACHABLE("reduce kind");
}

std::int64_t int_identity(DType t, ReduceKind k) {
  switch (k) {
    case ReduceKind::Sum:
    case ReduceKind::Any: return 0;
    case ReduceKind::Prod:
    case ReduceKind::All: return 1;
    case ReduceKind::Max:
    case ReduceKind::ArgMax: return int_min(t);
    case ReduceKind::Min:
    case ReduceKind::ArgMin: return int_max(t);
  }
  TESSERA_UNREACHABLE("reduce kind");
}

double fold(ReduceKind k, double acc, double x) {
  switch (k) {
    case ReduceKind::Sum: return acc + x;
    case ReduceKind::Prod: return acc * x;
    case ReduceKind::Max:
    case ReduceKind::ArgMax: return float_max(acc, x);
    case ReduceKind::Min:
    case ReduceKind::ArgMin: return float_min(acc, x);
    case ReduceKind::Any:
    case ReduceKind::All: break;
  }
  TESSERA_UNREACHABLE("any and all fold bools");
}

std::int64_t fold(DType t, ReduceKind k, std::int64_t acc, std::int64_t x) {
  switch (k) {
    case ReduceKind::Sum: return wrap_add(t, acc, x);
    case ReduceKind::Prod: return wrap_mul(t, acc, x);
    case ReduceKind::Max:
    case ReduceKind::ArgMax: return int_less(t, acc, x) ? x : acc;
    case ReduceKind::Min:
    case ReduceKind::ArgMin: return int_less(t, x, acc) ? x : acc;
    case ReduceKind::Any: return acc | x;
    case ReduceKind::All: return acc & x;
  }
  TESSERA_UNREACHABLE("reduce kind");
}

/// NaN goes last whichever way the order runs.
bool float_before(double a, double b, bool descending) {
  if (std::isnan(a)) return false;
  if (std::isnan(b)) return true;
  return descending ? a > b : a < b;
}

/// Positions along one line of an axis in sorted order; equal elements keep their order.
std::vector<std::int64_t> sorted_line(const Tile& x, const AxisSplit& s, std::int64_t o, std::int64_t i, bool descending) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(s.n));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t p, std::int64_t q) {
    const auto a = static_cast<std::size_t>(s.at(o, p, i));
    const auto b = static_cast<std::size_t>(s.at(o, q, i));
    if (x.floats()) return float_before(x.f[a], x.f[b], descending);
    return descending ? int_less(x.dtype, x.i[b], x.i[a]) : int_less(x.dtype, x.i[a], x.i[b]);
  });
  return order;
}

template <class F>
void for_lines(const AxisSplit& s, F&& f) {
  for (std::int64_t o = 0; o < s.outer; ++o) {
    for (std::int64_t i = 0; i < s.inner; ++i) f(o, i);
  }
}

/// First position of the extreme element; 0 if all are NaN.
std::int64_t arg_extreme(const Tile& x, const AxisSplit& s, std::int64_t o, std::int64_t i, bool max) {
  std::int64_t best = 0;
  for (std::int64_t k = 1; k < s.n; ++k) {
    const auto a = static_cast<std::size_t>(s.at(o, best, i));
    const auto b = static_cast<std::size_t>(s.at(o, k, i));
    const bool better = x.floats() ? float_before(x.f[b], x.f[a], max) : max ? int_less(x.dtype, x.i[a], x.i[b]) : int_less(x.dtype, x.i[b], x.i[a]);
    if (better) best = k;
  }
  return best;
}

}  // namespace

TilePtr eval_reduce(const Op& op, const Tiles& operands, const Mode& mode) {
  const Tile& x = *operands[0];
  auto y = make_tile(result_type(op));
  const ReduceKind kind = reduce_kind(op);
  const AxisSplit s(x.dims, op.int_attr(Attr::Axis));
  for_lines(s, [&](std::int64_t o, std::int64_t i) {
    const auto out = static_cast<std::size_t>(o * s.inner + i);
    if (kind == ReduceKind::ArgMax || kind == ReduceKind::ArgMin) {
      y->i[out] = arg_extreme(x, s, o, i, kind == ReduceKind::ArgMax);
    } else if (x.floats()) {
      // Starts from the first element, so that a line of NaN gives NaN.
      double acc = x.f[static_cast<std::size_t>(s.at(o, 0, i))];
      for (std::int64_t k = 1; k < s.n; ++k) acc = fold(kind, acc, x.f[static_cast<std::size_t>(s.at(o, k, i))]);
      y->f[out] = acc;
    } else {
      std::int64_t acc = x.i[static_cast<std::size_t>(s.at(o, 0, i))];
      for (std::int64_t k = 1; k < s.n; ++k) acc = fold(x.dtype, kind, acc, x.i[static_cast<std::size_t>(s.at(o, k, i))]);
      y->i[out] = acc;
    }
  });
  round_tile(*y, mode);
  return y;
}

TilePtr eval_scan(const Op& op, const Tiles& operands, const Mode& mode) {
  const Tile& x = *operands[0];
  auto y = make_tile(result_type(op));
  const ReduceKind kind = reduce_kind(op);
  const bool exclusive = op.int_attr(Attr::Exclusive) != 0;
  const bool reverse = op.int_attr(Attr::Reverse) != 0;
  const AxisSplit s(x.dims, op.int_attr(Attr::Axis));
  for_lines(s, [&](std::int64_t o, std::int64_t i) {
    double f = float_identity(kind);
    std::int64_t n = x.floats() ? 0 : int_identity(x.dtype, kind);
    for (std::int64_t step = 0; step < s.n; ++step) {
      const auto at = static_cast<std::size_t>(s.at(o, reverse ? s.n - 1 - step : step, i));
      const bool first = step == 0;
      if (x.floats()) {
        if (exclusive) y->f[at] = f;
        f = first && !exclusive ? x.f[at] : fold(kind, f, x.f[at]);
        if (!exclusive) y->f[at] = f;
      } else {
        if (exclusive) y->i[at] = n;
        n = fold(x.dtype, kind, n, x.i[at]);
        if (!exclusive) y->i[at] = n;
      }
    }
  });
  round_tile(*y, mode);
  return y;
}

namespace {

/// Folds every line with `combine`; `keep` sees the accumulator after each element.
template <class Keep>
void fold_lines(const Tiles& x, std::int64_t axis, const RegionFn& combine, Keep&& keep) {
  const std::size_t n = x.size() / 2;
  const AxisSplit s(x[0]->dims, axis);
  for_lines(s, [&](std::int64_t o, std::int64_t i) {
    Tiles acc(x.begin() + static_cast<std::ptrdiff_t>(n), x.end());
    for (std::int64_t k = 0; k < s.n; ++k) {
      Tiles args = acc;
      for (std::size_t j = 0; j < n; ++j) args.push_back(element(*x[j], s.at(o, k, i)));
      acc = combine(std::move(args));
      keep(s, o, k, i, acc);
    }
  });
}

std::vector<std::shared_ptr<Tile>> result_tiles(const Op& op) {
  std::vector<std::shared_ptr<Tile>> y;
  for (const auto& r : op.results) y.push_back(make_tile(ir::tile(r->type)));
  return y;
}

}  // namespace

Tiles eval_reduce_with(const Op& op, const Tiles& x, const RegionFn& combine) {
  auto y = result_tiles(op);
  fold_lines(x, op.int_attr(Attr::Axis), combine, [&](const AxisSplit& s, std::int64_t o, std::int64_t k, std::int64_t i, const Tiles& acc) {
    if (k + 1 < s.n) return;
    for (std::size_t j = 0; j < y.size(); ++j) set_element(*y[j], o * s.inner + i, *acc[j]);
  });
  return Tiles(y.begin(), y.end());
}

Tiles eval_scan_with(const Op& op, const Tiles& x, const RegionFn& combine) {
  auto y = result_tiles(op);
  fold_lines(x, op.int_attr(Attr::Axis), combine, [&](const AxisSplit& s, std::int64_t o, std::int64_t k, std::int64_t i, const Tiles& acc) {
    for (std::size_t j = 0; j < y.size(); ++j) set_element(*y[j], s.at(o, k, i), *acc[j]);
  });
  return Tiles(y.begin(), y.end());
}

TilePtr eval_sort(const Op& op, const Tiles& operands) {
  const Tile& x = *operands[0];
  auto y = make_tile(result_type(op));
  const AxisSplit s(x.dims, op.int_attr(Attr::Axis));
  for_lines(s, [&](std::int64_t o, std::int64_t i) {
    const std::vector<std::int64_t> order = sorted_line(x, s, o, i, op.int_attr(Attr::Descending) != 0);
    for (std::int64_t k = 0; k < s.n; ++k) set_element(*y, s.at(o, k, i), *element(x, s.at(o, order[static_cast<std::size_t>(k)], i)));
  });
  return y;
}

Tiles eval_top_k(const Op& op, const Tiles& operands) {
  const Tile& x = *operands[0];
  auto y = result_tiles(op);
  const std::int64_t axis = op.int_attr(Attr::Axis);
  const AxisSplit s(x.dims, axis);
  const AxisSplit t(y[0]->dims, axis);
  for_lines(s, [&](std::int64_t o, std::int64_t i) {
    const std::vector<std::int64_t> order = sorted_line(x, s, o, i, true);
    for (std::int64_t k = 0; k < t.n; ++k) {
      const std::int64_t from = order[static_cast<std::size_t>(k)];
      set_element(*y[0], t.at(o, k, i), *element(x, s.at(o, from, i)));
      y[1]->i[static_cast<std::size_t>(t.at(o, k, i))] = from;
    }
  });
  return Tiles(y.begin(), y.end());
}

TilePtr eval_histogram(const Op& op, const Tiles& x) {
  auto y = make_tile(result_type(op));
  const std::int64_t size = y->elements();
  for (std::size_t k = 0; k < x[0]->i.size(); ++k) {
    const std::int64_t v = x[0]->i[k];
    if (x[1]->i[k] != 0 && v >= 0 && v < size) ++y->i[static_cast<std::size_t>(v)];
  }
  return y;
}

}  // namespace tessera::interp
