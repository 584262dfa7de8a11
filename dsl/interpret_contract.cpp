// Products and the triangular solve. Sums run in float64 and round once at the end: the order of k is unspecified, so every back end is
// compared within a bound, and this is the middle of it. `prec` changes that bound, not the value here.
#include "dsl/interpret_value.h"

namespace tessera::interp {

using ir::Op;

namespace {

const ir::TileType& result_type(const Op& op) { return ir::tile(op.result()->type); }

void multiply_add(const std::vector<double>& a, const std::vector<double>& b, std::vector<double>& c, std::size_t m, std::size_t k, std::size_t n) {
  for (std::size_t i = 0; i < m; ++i) {
    double* row = c.data() + i * n;
    for (std::size_t l = 0; l < k; ++l) {
      const double x = a[i * k + l];
      const double* other = b.data() + l * n;
      for (std::size_t j = 0; j < n; ++j) row[j] += x * other[j];
    }
  }
}

}  // namespace

TilePtr eval_dot(const Op& op, const Tiles& x, const Mode& mode) {
  auto y = make_tile(result_type(op));
  const Tile& a = *x[0];
  const Tile& b = *x[1];
  const auto m = static_cast<std::size_t>(a.dims[0]);
  const auto k = static_cast<std::size_t>(a.dims[1]);
  const auto n = static_cast<std::size_t>(b.dims[1]);
  if (y->floats()) {
    multiply_add(a.f, b.f, y->f, m, k, n);
    round_tile(*y, mode);
    return y;
  }
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t l = 0; l < k; ++l) {
      for (std::size_t j = 0; j < n; ++j) {
        std::int64_t& sum = y->i[i * n + j];
        sum = wrap_add(y->dtype, sum, wrap_mul(y->dtype, a.i[i * k + l], b.i[l * n + j]));
      }
    }
  }
  return y;
}

TilePtr eval_dot_scaled(const Op& op, const Tiles& x, const Mode& mode) {
  auto y = make_tile(result_type(op));
  Tile a = *x[0];
  Tile b = *x[2];
  const Tile& sa = *x[1];
  const Tile& sb = *x[3];
  const auto m = static_cast<std::size_t>(a.dims[0]);
  const auto k = static_cast<std::size_t>(a.dims[1]);
  const auto n = static_cast<std::size_t>(b.dims[1]);
  const auto groups = static_cast<std::size_t>(sa.dims[1]);
  const std::size_t g = k / groups;
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t l = 0; l < k; ++l) a.f[i * k + l] *= sa.f[i * groups + l / g];
  }
  for (std::size_t l = 0; l < k; ++l) {
    for (std::size_t j = 0; j < n; ++j) b.f[l * n + j] *= sb.f[l / g * n + j];
  }
  multiply_add(a.f, b.f, y->f, m, k, n);
  round_tile(*y, mode);
  return y;
}

TilePtr eval_solve_lower(const Op& op, const Tiles& x, const Mode& mode) {
  auto y = make_tile(result_type(op));
  const Tile& a = *x[0];
  const Tile& r = *x[1];
  const auto m = static_cast<std::size_t>(r.dims[0]);
  const auto n = static_cast<std::size_t>(r.dims[1]);
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      double sum = r.f[i * n + j];
      for (std::size_t l = 0; l < i; ++l) sum -= a.f[i * m + l] * y->f[l * n + j];
      y->f[i * n + j] = mode.exact ? sum : round_to_float(y->dtype, sum);
    }
  }
  return y;
}

}  // namespace tessera::interp
