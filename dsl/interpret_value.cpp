#include "dsl/interpret_value.h"

#include <fmt/format.h>

#include <cmath>

namespace tessera::interp {

std::int64_t count(const Dims& dims) {
  std::int64_t n = 1;
  for (const std::int64_t d : dims) n *= d;
  return n;
}

std::shared_ptr<Tile> make_tile(DType t, Dims dims) {
  auto tile = std::make_shared<Tile>();
  const auto n = static_cast<std::size_t>(count(dims));
  tile->dtype = t;
  tile->dims = std::move(dims);
  if (is_float(t)) {
    tile->f.resize(n);
  } else {
    tile->i.resize(n);
  }
  return tile;
}

std::shared_ptr<Tile> make_tile(const ir::TileType& t) { return make_tile(t.dtype, t.dims); }

TilePtr int_scalar(DType t, std::int64_t v) {
  auto tile = make_tile(t, {});
  tile->i[0] = wrap_int(t, v);
  return tile;
}

void round_tile(Tile& t, const Mode& mode) {
  if (mode.exact || !t.floats() || t.dtype == DType::F64) return;
  if (t.dtype == DType::F32) {
    for (double& x : t.f) x = static_cast<double>(static_cast<float>(x));
    return;
  }
  for (double& x : t.f) x = round_to_float(t.dtype, x);
}

TilePtr element(const Tile& t, std::int64_t at) {
  auto s = make_tile(t.dtype, {});
  if (t.floats()) {
    s->f[0] = t.f[static_cast<std::size_t>(at)];
  } else {
    s->i[0] = t.i[static_cast<std::size_t>(at)];
  }
  return s;
}

void set_element(Tile& t, std::int64_t at, const Tile& scalar) {
  if (t.floats()) {
    t.f[static_cast<std::size_t>(at)] = scalar.f[0];
  } else {
    t.i[static_cast<std::size_t>(at)] = scalar.i[0];
  }
}

std::vector<std::size_t> source_positions(const Dims& dims, const Dims& step) {
  std::vector<std::size_t> at{0};
  for (std::size_t d = 0; d < dims.size(); ++d) {
    std::vector<std::size_t> next;
    next.reserve(at.size() * static_cast<std::size_t>(dims[d]));
    for (const std::size_t p : at) {
      for (std::int64_t k = 0; k < dims[d]; ++k) next.push_back(p + static_cast<std::size_t>(k * step[d]));
    }
    at = std::move(next);
  }
  return at;
}

Dims row_major_strides(const Dims& dims) {
  Dims strides;
  for (auto d = dims.begin(); d != dims.end(); ++d) strides.push_back(count(Dims(d + 1, dims.end())));
  return strides;
}

TilePtr expand(const TilePtr& x, const Dims& dims) {
  if (x->dims == dims) return x;
  Dims step(dims.size(), 0);
  if (x->elements() != 1) {
    TESSERA_ASSERT(x->dims.size() == dims.size(), "a tile cannot be stretched to another rank");
    step = row_major_strides(x->dims);
    for (std::size_t d = 0; d < dims.size(); ++d) {
      if (x->dims[d] == 1) step[d] = 0;
    }
  }
  return gather(*x, dims, step);
}

TilePtr gather(const Tile& x, const Dims& dims, const Dims& step) {
  auto y = make_tile(x.dtype, dims);
  const std::vector<std::size_t> from = source_positions(dims, step);
  for (std::size_t k = 0; k < y->f.size(); ++k) y->f[k] = x.f[from[k]];
  for (std::size_t k = 0; k < y->i.size(); ++k) y->i[k] = x.i[from[k]];
  return y;
}

double float_max(double a, double b) {
  if (std::isnan(a)) return b;
  if (std::isnan(b)) return a;
  if (a == b) return std::signbit(a) ? b : a;
  return a > b ? a : b;
}

double float_min(double a, double b) {
  if (std::isnan(a)) return b;
  if (std::isnan(b)) return a;
  if (a == b) return std::signbit(a) ? a : b;
  return a < b ? a : b;
}

void fail(const ir::Op& op, const std::string& what) {
  std::string name = ir::info(op.kind).name;
  if (!op.results.empty() && !op.result()->hint.empty()) name += " %" + op.result()->hint;
  throw InterpretError(op.span, fmt::format("`{}`: {}", name, what));
}

AxisSplit::AxisSplit(const Dims& dims, std::int64_t axis) {
  for (std::size_t d = 0; d < dims.size(); ++d) {
    const auto at = static_cast<std::int64_t>(d);
    (at < axis ? outer : at == axis ? n : inner) *= dims[d];
  }
}

namespace {

std::string print_from(const Tile& t, std::size_t dim, std::int64_t& at) {
  if (dim == t.dims.size()) {
    const auto k = static_cast<std::size_t>(at++);
    if (t.floats()) return fmt::format("{}", t.f[k]);
    if (is_bool(t.dtype)) return t.i[k] != 0 ? "true" : "false";
    if (t.dtype == DType::U64) return fmt::format("{}", static_cast<std::uint64_t>(t.i[k]));
    return fmt::format("{}", t.i[k]);
  }
  std::string s = "[";
  for (std::int64_t k = 0; k < t.dims[dim]; ++k) {
    if (k != 0) s += ", ";
    s += print_from(t, dim + 1, at);
  }
  return s + "]";
}

}  // namespace

std::string print_tile(const Tile& t) {
  std::int64_t at = 0;
  return print_from(t, 0, at);
}

}  // namespace tessera::interp
