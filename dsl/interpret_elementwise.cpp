// Elementwise ops: one scalar function an op, applied in float64 or int64 and then rounded or wrapped to the result type.
#include <bit>
#include <cmath>
#include <limits>

#include "dsl/interpret_value.h"

namespace tessera::interp {
namespace {

using ir::Op;
using ir::OpKind;

struct UnaryFloat {
  OpKind kind;
  double (*f)(double);
};
constexpr UnaryFloat kUnaryFloat[] = {
    {OpKind::Neg, [](double x) { return -x; }},
    {OpKind::Abs, [](double x) { return std::fabs(x); }},
    {OpKind::Exp, [](double x) { return std::exp(x); }},
    {OpKind::Exp2, [](double x) { return std::exp2(x); }},
    {OpKind::Ln, [](double x) { return std::log(x); }},
    {OpKind::Log2, [](double x) { return std::log2(x); }},
    {OpKind::Sqrt, [](double x) { return std::sqrt(x); }},
    {OpKind::Rsqrt, [](double x) { return 1 / std::sqrt(x); }},
    {OpKind::Rcp, [](double x) { return 1 / x; }},
    {OpKind::Tanh, [](double x) { return std::tanh(x); }},
    {OpKind::Sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }},
    {OpKind::Sin, [](double x) { return std::sin(x); }},
    {OpKind::Cos, [](double x) { return std::cos(x); }},
    {OpKind::Erf, [](double x) { return std::erf(x); }},
    {OpKind::Floor, [](double x) { return std::floor(x); }},
    {OpKind::Ceil, [](double x) { return std::ceil(x); }},
    {OpKind::Round, [](double x) { return std::nearbyint(x); }},
};

struct UnaryInt {
  OpKind kind;
  std::int64_t (*f)(DType, std::int64_t);
};
constexpr UnaryInt kUnaryInt[] = {
    {OpKind::Neg, [](DType t, std::int64_t x) { return wrap_mul(t, x, -1); }},
    {OpKind::Abs, [](DType t, std::int64_t x) { return is_signed(t) && x < 0 ? wrap_mul(t, x, -1) : x; }},
    {OpKind::Not, [](DType t, std::int64_t x) { return is_bool(t) ? std::int64_t{x == 0} : wrap_int(t, ~x); }},
    {OpKind::Popcount, [](DType t, std::int64_t x) { return static_cast<std::int64_t>(std::popcount(encode_int(t, x))); }},
    {OpKind::Clz, [](DType t, std::int64_t x) { return static_cast<std::int64_t>(std::countl_zero(encode_int(t, x)) - (64 - bits(t))); }},
};

struct BinaryFloat {
  OpKind kind;
  double (*f)(double, double);
};
constexpr BinaryFloat kBinaryFloat[] = {
    {OpKind::Add, [](double x, double y) { return x + y; }},
    {OpKind::Sub, [](double x, double y) { return x - y; }},
    {OpKind::Mul, [](double x, double y) { return x * y; }},
    {OpKind::Div, [](double x, double y) { return x / y; }},
    {OpKind::Min, float_min},
    {OpKind::Max, float_max},
};

std::int64_t floor_quotient(DType t, std::int64_t x, std::int64_t y) {
  if (y == 0) return 0;
  if (t == DType::U64) return static_cast<std::int64_t>(static_cast<std::uint64_t>(x) / static_cast<std::uint64_t>(y));
  if (y == -1) return wrap_mul(t, x, -1);  // the least integer by -1 wraps
  const std::int64_t q = x / y;
  return x % y != 0 && (x < 0) != (y < 0) ? q - 1 : q;
}

std::int64_t floor_remainder(DType t, std::int64_t x, std::int64_t y) {
  if (y == 0) return 0;
  if (t == DType::U64) return static_cast<std::int64_t>(static_cast<std::uint64_t>(x) % static_cast<std::uint64_t>(y));
  if (y == -1) return 0;
  const std::int64_t r = x % y;
  return r != 0 && (r < 0) != (y < 0) ? r + y : r;
}

std::int64_t shift_left(DType t, std::int64_t x, std::int64_t y) {
  if (y < 0 || y >= bits(t)) return 0;
  return wrap_int(t, static_cast<std::int64_t>(static_cast<std::uint64_t>(x) << y));
}

std::int64_t shift_right(DType t, std::int64_t x, std::int64_t y) {
  if (y < 0 || y >= bits(t)) return 0;
  return is_signed(t) ? x >> y : static_cast<std::int64_t>(static_cast<std::uint64_t>(x) >> y);
}

struct BinaryInt {
  OpKind kind;
  std::int64_t (*f)(DType, std::int64_t, std::int64_t);
};
constexpr BinaryInt kBinaryInt[] = {
    {OpKind::Add, wrap_add},
    {OpKind::Sub,
     [](DType t, std::int64_t x, std::int64_t y) {
       return wrap_int(t, static_cast<std::int64_t>(static_cast<std::uint64_t>(x) - static_cast<std::uint64_t>(y)));
     }},
    {OpKind::Mul, wrap_mul},
    {OpKind::Div, floor_quotient},
    {OpKind::Mod, floor_remainder},
    {OpKind::Min, [](DType t, std::int64_t x, std::int64_t y) { return int_less(t, y, x) ? y : x; }},
    {OpKind::Max, [](DType t, std::int64_t x, std::int64_t y) { return int_less(t, x, y) ? y : x; }},
    {OpKind::And, [](DType, std::int64_t x, std::int64_t y) { return x & y; }},
    {OpKind::Or, [](DType, std::int64_t x, std::int64_t y) { return x | y; }},
    {OpKind::Xor, [](DType, std::int64_t x, std::int64_t y) { return x ^ y; }},
    {OpKind::Shl, shift_left},
    {OpKind::Shr, shift_right},
};

struct CompareFn {
  OpKind kind;
  bool (*floats)(double, double);
  bool (*ints)(DType, std::int64_t, std::int64_t);
};
constexpr CompareFn kCompare[] = {
    {OpKind::Eq, [](double x, double y) { return x == y; }, [](DType, std::int64_t x, std::int64_t y) { return x == y; }},
    {OpKind::Ne, [](double x, double y) { return x != y; }, [](DType, std::int64_t x, std::int64_t y) { return x != y; }},
    {OpKind::Lt, [](double x, double y) { return x < y; }, [](DType t, std::int64_t x, std::int64_t y) { return int_less(t, x, y); }},
    {OpKind::Le, [](double x, double y) { return x <= y; }, [](DType t, std::int64_t x, std::int64_t y) { return !int_less(t, y, x); }},
    {OpKind::Gt, [](double x, double y) { return x > y; }, [](DType t, std::int64_t x, std::int64_t y) { return int_less(t, y, x); }},
    {OpKind::Ge, [](double x, double y) { return x >= y; }, [](DType t, std::int64_t x, std::int64_t y) { return !int_less(t, x, y); }},
};

template <class Entry, std::size_t N>
const Entry& entry(const Entry (&table)[N], const Op& op) {
  for (const Entry& e : table) {
    if (e.kind == op.kind) return e;
  }
  TESSERA_UNREACHABLE(std::string("the interpreter has no function for ") + ir::info(op.kind).name + " on this dtype");
}

const ir::TileType& result_type(const Op& op) { return ir::tile(op.result()->type); }

/// A scalar operand is read in place, any other is stretched to the result's dims.
TilePtr spread(const TilePtr& x, const Dims& dims) { return x->elements() == 1 ? x : expand(x, dims); }
std::size_t step(const TilePtr& x) { return x->elements() == 1 ? 0 : 1; }

/// a + b with the last bit set if the sum is inexact: rounding it again to at most 51 bits rounds the exact sum once.
double add_to_odd(double a, double b) {
  const double s = a + b;
  if (!std::isfinite(s)) return s;
  const double bb = s - a;
  const double error = (a - (s - bb)) + (b - bb);
  if (error == 0 || (std::bit_cast<std::uint64_t>(s) & 1) != 0) return s;
  return std::nextafter(s, error > 0 ? std::numeric_limits<double>::infinity() : -std::numeric_limits<double>::infinity());
}

/// `exact` keeps the value and loses only what is not rounding: the range that `saturate` asks for, and the powers of two of e8m0, which
/// algorithms rely on.
double float_to_float(DType to, double x, bool saturate, Rounding r, bool exact) {
  if (!exact || to == DType::E8M0) return round_to_float(to, x, saturate, r);
  if (!saturate && to != DType::E2M1) return x;
  const double top = round_to_float(to, std::numeric_limits<double>::infinity(), true);
  return std::isnan(x) ? round_to_float(to, x, true) : float_min(float_max(x, -top), top);
}

/// An integer as the float type, rounded once. x87 long double holds every 64-bit integer.
double int_to_float(DType from, DType to, std::int64_t x, bool saturate, Rounding r, bool exact) {
  const long double wide = from == DType::U64 ? static_cast<long double>(static_cast<std::uint64_t>(x)) : static_cast<long double>(x);
  double d = static_cast<double>(wide);
  if (static_cast<long double>(d) == wide) return float_to_float(to, d, saturate, r, exact);
  const bool above = static_cast<long double>(d) > wide;
  const double low = above ? std::nextafter(d, -INFINITY) : d;
  const double high = above ? d : std::nextafter(d, INFINITY);
  if (exact || (to == DType::F64 && r == Rounding::Nearest)) return d;
  if (to == DType::F64) {
    if (r == Rounding::TowardZero) return x < 0 && from != DType::U64 ? high : low;
    return r == Rounding::Up ? high : low;
  }
  return round_to_float(to, (std::bit_cast<std::uint64_t>(low) & 1) != 0 ? low : high, saturate, r);
}

std::int64_t int_to_int(DType from, DType to, std::int64_t x, bool saturate) {
  if (is_bool(to)) return x != 0 ? 1 : 0;
  if (!saturate) return wrap_int(to, x);
  const __int128 wide = from == DType::U64 ? static_cast<__int128>(static_cast<std::uint64_t>(x)) : static_cast<__int128>(x);
  const __int128 low = int_min(to);
  const __int128 high = to == DType::U64 ? static_cast<__int128>(~std::uint64_t{0}) : static_cast<__int128>(int_max(to));
  return wide < low ? int_min(to) : wide > high ? int_max(to) : x;
}

}  // namespace

TilePtr eval_unary(const Op& op, const Tiles& x, const Mode& mode) {
  auto y = make_tile(result_type(op));
  if (y->floats()) {
    const auto f = entry(kUnaryFloat, op).f;
    for (std::size_t k = 0; k < y->f.size(); ++k) y->f[k] = f(x[0]->f[k]);
    round_tile(*y, mode);
  } else {
    const auto f = entry(kUnaryInt, op).f;
    for (std::size_t k = 0; k < y->i.size(); ++k) y->i[k] = f(y->dtype, x[0]->i[k]);
  }
  return y;
}

TilePtr eval_binary(const Op& op, const Tiles& x, const Mode& mode) {
  auto y = make_tile(result_type(op));
  const TilePtr a = spread(x[0], y->dims);
  const TilePtr b = spread(x[1], y->dims);
  const std::size_t sa = step(a);
  const std::size_t sb = step(b);
  if (y->floats()) {
    const auto f = entry(kBinaryFloat, op).f;
    for (std::size_t k = 0; k < y->f.size(); ++k) y->f[k] = f(a->f[k * sa], b->f[k * sb]);
    round_tile(*y, mode);
  } else {
    const auto f = entry(kBinaryInt, op).f;
    for (std::size_t k = 0; k < y->i.size(); ++k) y->i[k] = f(y->dtype, a->i[k * sa], b->i[k * sb]);
  }
  return y;
}

TilePtr eval_compare(const Op& op, const Tiles& x) {
  auto y = make_tile(result_type(op));
  const TilePtr a = spread(x[0], y->dims);
  const TilePtr b = spread(x[1], y->dims);
  const std::size_t sa = step(a);
  const std::size_t sb = step(b);
  const CompareFn& fn = entry(kCompare, op);
  if (a->floats()) {
    for (std::size_t k = 0; k < y->i.size(); ++k) y->i[k] = fn.floats(a->f[k * sa], b->f[k * sb]) ? 1 : 0;
  } else {
    for (std::size_t k = 0; k < y->i.size(); ++k) y->i[k] = fn.ints(a->dtype, a->i[k * sa], b->i[k * sb]) ? 1 : 0;
  }
  return y;
}

TilePtr eval_select(const Op& op, const Tiles& x) {
  auto y = make_tile(result_type(op));
  const TilePtr c = spread(x[0], y->dims);
  const TilePtr a = spread(x[1], y->dims);
  const TilePtr b = spread(x[2], y->dims);
  const std::size_t sc = step(c);
  const std::size_t sa = step(a);
  const std::size_t sb = step(b);
  for (std::size_t k = 0; k < y->f.size(); ++k) y->f[k] = c->i[k * sc] != 0 ? a->f[k * sa] : b->f[k * sb];
  for (std::size_t k = 0; k < y->i.size(); ++k) y->i[k] = c->i[k * sc] != 0 ? a->i[k * sa] : b->i[k * sb];
  return y;
}

TilePtr eval_fma(const Op& op, const Tiles& x, const Mode& mode) {
  auto y = make_tile(result_type(op));
  const TilePtr a = spread(x[0], y->dims);
  const TilePtr b = spread(x[1], y->dims);
  const TilePtr c = spread(x[2], y->dims);
  const std::size_t sa = step(a);
  const std::size_t sb = step(b);
  const std::size_t sc = step(c);
  // Products of two f32 values are exact in float64; only the sum can round twice.
  const bool wide = mode.exact || y->dtype == DType::F64;
  for (std::size_t k = 0; k < y->f.size(); ++k) {
    const double u = a->f[k * sa];
    const double v = b->f[k * sb];
    const double w = c->f[k * sc];
    y->f[k] = wide ? std::fma(u, v, w) : add_to_odd(u * v, w);
  }
  round_tile(*y, mode);
  return y;
}

TilePtr eval_cast(const Op& op, const Tiles& x, const Mode& mode) {
  auto y = make_tile(result_type(op));
  const Tile& a = *x[0];
  const bool saturate = op.int_attr(ir::Attr::Saturate) != 0;
  const auto r = static_cast<Rounding>(op.int_attr(ir::Attr::Rounding));
  const auto n = static_cast<std::size_t>(y->elements());
  if (a.floats() && y->floats()) {
    for (std::size_t k = 0; k < n; ++k) y->f[k] = float_to_float(y->dtype, a.f[k], saturate, r, mode.exact);
  } else if (a.floats()) {
    for (std::size_t k = 0; k < n; ++k) y->i[k] = float_to_int(y->dtype, a.f[k]);
  } else if (y->floats()) {
    for (std::size_t k = 0; k < n; ++k) y->f[k] = int_to_float(a.dtype, y->dtype, a.i[k], saturate, r, mode.exact);
  } else {
    for (std::size_t k = 0; k < n; ++k) y->i[k] = int_to_int(a.dtype, y->dtype, a.i[k], saturate);
  }
  return y;
}

TilePtr eval_bitcast(const Op& op, const Tiles& x) {
  auto y = make_tile(result_type(op));
  const Tile& a = *x[0];
  for (std::size_t k = 0; k < static_cast<std::size_t>(y->elements()); ++k) {
    const std::uint64_t raw = a.floats() ? encode_float(a.dtype, a.f[k]) : encode_int(a.dtype, a.i[k]);
    if (y->floats()) {
      y->f[k] = decode_float(y->dtype, raw);
    } else {
      y->i[k] = decode_int(y->dtype, raw);
    }
  }
  return y;
}

}  // namespace tessera::interp
