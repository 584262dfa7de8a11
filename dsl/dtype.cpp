#include "dsl/dtype.h"

#include <bit>
#include <cmath>
#include <limits>

namespace tessera {
namespace {

struct DTypeInfo {
  const char* name;
  DTypeKind kind;
  int bits;
};
constexpr DTypeInfo kInfo[] = {
#define TESSERA_DTYPE(id, text, kind, bits) {text, DTypeKind::kind, bits},
#include "dsl/dtypes.def"
};
constexpr int kCount = static_cast<int>(std::size(kInfo));

const DTypeInfo& info(DType t) { return kInfo[static_cast<int>(t)]; }

enum class NonFinite { Ieee, NanOnly, None };

/// A sign-magnitude binary float format. e8m0 is none: it has neither sign nor mantissa.
struct Format {
  int exp_bits;
  int mant_bits;
  int emin;           ///< exponent of the smallest normal number
  double max_finite;  ///< largest finite value
  double min_sub;     ///< smallest positive (subnormal) value
  NonFinite special;
};
constexpr Format kF16{5, 10, -14, 65504.0, 0x1p-24, NonFinite::Ieee};
constexpr Format kBF16{8, 7, -126, 0x1.fep127, 0x1p-133, NonFinite::Ieee};
constexpr Format kF32{8, 23, -126, 0x1.fffffep127, 0x1p-149, NonFinite::Ieee};
constexpr Format kE4M3{4, 3, -6, 448.0, 0x1p-9, NonFinite::NanOnly};
constexpr Format kE5M2{5, 2, -14, 57344.0, 0x1p-16, NonFinite::Ieee};
constexpr Format kE2M1{2, 1, 0, 6.0, 0.5, NonFinite::None};

/// Null for f64, e8m0 and types that are no floats.
const Format* format(DType t) {
  switch (t) {
    case DType::F16: return &kF16;
    case DType::BF16: return &kBF16;
    case DType::F32: return &kF32;
    case DType::E4M3: return &kE4M3;
    case DType::E5M2: return &kE5M2;
    case DType::E2M1: return &kE2M1;
    case DType::Bool:
    case DType::I8:
    case DType::I16:
    case DType::I32:
    case DType::I64:
    case DType::U8:
    case DType::U16:
    case DType::U32:
    case DType::U64:
    case DType::F64:
    case DType::E8M0:
    case DType::I4:
    case DType::U4:
    case DType::Idx: return nullptr;
  }
  return nullptr;
}

constexpr int kMant = 52;
constexpr std::uint64_t kSign = std::uint64_t{1} << 63;
constexpr std::uint64_t kFrac = (std::uint64_t{1} << kMant) - 1;
constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// Unbiased exponent of a normal double.
int exponent(std::uint64_t bits) { return static_cast<int>((bits >> kMant) & 0x7ff) - 1023; }

/// Away from zero, given what is dropped: `odd` is the last kept bit, `half` compares the dropped part with half a unit (-1, 0, 1).
bool rounds_away(Rounding r, bool negative, bool odd, int half) {
  switch (r) {
    case Rounding::Nearest: return half > 0 || (half == 0 && odd);
    case Rounding::TowardZero: return false;
    case Rounding::Up: return !negative;
    case Rounding::Down: return negative;
  }
  return false;
}

double overflow(const Format& f, bool negative, bool saturate, bool infinite, Rounding r) {
  const bool inward = !infinite && (r == Rounding::TowardZero || (r == Rounding::Up && negative) || (r == Rounding::Down && !negative));
  double v = f.max_finite;
  if (!saturate && !inward && f.special == NonFinite::Ieee) v = kInf;
  if (!saturate && !inward && f.special == NonFinite::NanOnly) v = kNaN;
  return negative ? -v : v;
}

double round_to_format(const Format& f, double x, bool saturate, Rounding r) {
  const auto bits = std::bit_cast<std::uint64_t>(x);
  const bool negative = (bits & kSign) != 0;
  const std::uint64_t mag = bits & ~kSign;
  const double ax = std::bit_cast<double>(mag);
  if (std::isnan(x)) return f.special == NonFinite::None ? f.max_finite : x;
  if (std::isinf(x)) return overflow(f, negative, saturate, true, r);
  if (ax == 0) return x;
  double y;
  if (ax < f.min_sub) {
    const int half = ax * 2 < f.min_sub ? -1 : ax * 2 > f.min_sub ? 1 : 0;
    y = rounds_away(r, negative, false, half) ? f.min_sub : 0.0;
  } else {
    const int e = exponent(mag);
    const int drop = kMant - f.mant_bits + (e < f.emin ? f.emin - e : 0);  // in 1 .. 52, since ax >= min_sub
    const std::uint64_t unit = std::uint64_t{1} << drop;
    const std::uint64_t rest = mag & (unit - 1);
    std::uint64_t kept = mag - rest;
    if (rest != 0) {
      const bool odd = ((((mag & kFrac) | (kFrac + 1)) >> drop) & 1) != 0;
      const std::uint64_t mid = unit / 2;
      // A carry out of the fraction moves into the exponent, which is the next binade's first value.
      if (rounds_away(r, negative, odd, rest < mid ? -1 : rest > mid ? 1 : 0)) kept += unit;
    }
    y = std::bit_cast<double>(kept);
  }
  if (y > f.max_finite) return overflow(f, negative, saturate, false, r);
  return negative ? -y : y;
}

double round_to_e8m0(double x, bool saturate, Rounding r) {
  if (std::isnan(x) || x < 0) return kNaN;
  if (std::isinf(x)) return saturate ? 0x1p127 : kNaN;
  if (x <= 0x1p-127) return 0x1p-127;
  const auto bits = std::bit_cast<std::uint64_t>(x);
  const std::uint64_t frac = bits & kFrac;
  std::uint64_t kept = bits - frac;
  const std::uint64_t mid = (kFrac + 1) / 2;
  if ((r == Rounding::Nearest && frac >= mid) || (r == Rounding::Up && frac != 0)) kept += kFrac + 1;
  const double y = std::bit_cast<double>(kept);
  if (y > 0x1p127) return saturate || r == Rounding::TowardZero || r == Rounding::Down ? 0x1p127 : kNaN;
  return y;
}

std::uint64_t low_bits(int n) { return n == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << n) - 1; }

/// `y` is a value of the format, a NaN or an infinity.
std::uint64_t encode_format(const Format& f, double y) {
  const auto bits = std::bit_cast<std::uint64_t>(y);
  const std::uint64_t sign = (bits >> 63) << (f.exp_bits + f.mant_bits);
  const std::uint64_t mag = bits & ~kSign;
  const std::uint64_t exp_ones = low_bits(f.exp_bits) << f.mant_bits;
  if (mag == 0) return sign;
  if (std::isnan(y)) {
    if (f.special == NonFinite::NanOnly) return sign | exp_ones | low_bits(f.mant_bits);
    const std::uint64_t payload = (mag & kFrac) >> (kMant - f.mant_bits);
    return sign | exp_ones | (payload != 0 ? payload : std::uint64_t{1} << (f.mant_bits - 1));
  }
  if (std::isinf(y)) return sign | exp_ones;
  const int e = exponent(mag);
  if (e < f.emin) return sign | static_cast<std::uint64_t>(std::bit_cast<double>(mag) / f.min_sub);
  return sign | (static_cast<std::uint64_t>(e - f.emin + 1) << f.mant_bits) | ((mag & kFrac) >> (kMant - f.mant_bits));
}

double decode_format(const Format& f, std::uint64_t raw) {
  const std::uint64_t sign = ((raw >> (f.exp_bits + f.mant_bits)) & 1) << 63;
  const std::uint64_t mant = raw & low_bits(f.mant_bits);
  const std::uint64_t exp = (raw >> f.mant_bits) & low_bits(f.exp_bits);
  const bool top = exp == low_bits(f.exp_bits);
  if (top && f.special == NonFinite::Ieee) return std::bit_cast<double>(sign | (std::uint64_t{0x7ff} << kMant) | (mant << (kMant - f.mant_bits)));
  if (top && f.special == NonFinite::NanOnly && mant == low_bits(f.mant_bits))
    return std::bit_cast<double>(sign | std::bit_cast<std::uint64_t>(kNaN));
  if (exp == 0) {
    const double m = static_cast<double>(mant) * f.min_sub;
    return sign != 0 ? -m : m;
  }
  const auto e = static_cast<std::uint64_t>(static_cast<int>(exp) - 1 + f.emin + 1023);
  return std::bit_cast<double>(sign | (e << kMant) | (mant << (kMant - f.mant_bits)));
}

}  // namespace

const char* name(DType t) { return info(t).name; }
DTypeKind kind(DType t) { return info(t).kind; }
int bits(DType t) { return info(t).bits; }

std::optional<DType> dtype_from_name(std::string_view name) {
  for (int i = 0; i < kCount; ++i) {
    if (name == kInfo[i].name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

std::vector<DType> all_dtypes() {
  std::vector<DType> all;
  for (int i = 0; i < kCount; ++i) all.push_back(static_cast<DType>(i));
  return all;
}

bool storage_only(DType t) {
  return t == DType::E4M3 || t == DType::E5M2 || t == DType::E8M0 || t == DType::E2M1 || t == DType::I4 || t == DType::U4;
}

double round_to_float(DType t, double x, bool saturate, Rounding r) {
  if (t == DType::F32 && r == Rounding::Nearest && !saturate) return static_cast<double>(static_cast<float>(x));
  if (t == DType::F64) return saturate && std::isinf(x) ? std::copysign(std::numeric_limits<double>::max(), x) : x;
  if (t == DType::E8M0) return round_to_e8m0(x, saturate, r);
  const Format* f = format(t);
  return f == nullptr ? x : round_to_format(*f, x, saturate, r);
}

std::int64_t float_to_int(DType t, double x) {
  if (is_bool(t)) return x != 0 ? 1 : 0;
  if (std::isnan(x)) return 0;
  if (kind(t) == DTypeKind::UnsignedInt) {
    if (x <= 0) return 0;
    if (x >= std::ldexp(1.0, bits(t))) return int_max(t);
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(x));
  }
  const double limit = std::ldexp(1.0, bits(t) - 1);
  if (x >= limit) return int_max(t);
  if (x < -limit) return int_min(t);
  return static_cast<std::int64_t>(x);
}

std::int64_t wrap_int(DType t, std::int64_t x) {
  if (is_bool(t)) return x != 0 ? 1 : 0;
  return decode_int(t, static_cast<std::uint64_t>(x));
}

std::int64_t int_min(DType t) {
  if (!is_signed(t)) return 0;
  return static_cast<std::int64_t>(~low_bits(bits(t) - 1));
}

std::int64_t int_max(DType t) {
  if (is_bool(t)) return 1;
  return static_cast<std::int64_t>(low_bits(is_signed(t) ? bits(t) - 1 : bits(t)));
}

double decode_float(DType t, std::uint64_t raw) {
  // The hardware conversion quiets signalling NaNs, so those take the long way.
  if (t == DType::F32 && (raw & 0x7fffffff) <= 0x7f800000) return static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(raw)));
  if (t == DType::F64) return std::bit_cast<double>(raw);
  if (t == DType::E8M0) {
    const int b = static_cast<int>(raw & 0xff);
    return b == 0xff ? kNaN : std::ldexp(1.0, b - 127);
  }
  const Format* f = format(t);
  return f == nullptr ? 0.0 : decode_format(*f, raw);
}

std::uint64_t encode_float(DType t, double x) {
  if (t == DType::F32 && !std::isnan(x)) return std::bit_cast<std::uint32_t>(static_cast<float>(x));
  if (t == DType::F64) return std::bit_cast<std::uint64_t>(x);
  if (t == DType::E8M0) {
    const double y = round_to_e8m0(x, false, Rounding::Nearest);
    return std::isnan(y) ? 0xff : static_cast<std::uint64_t>(std::ilogb(y) + 127);
  }
  const Format* f = format(t);
  return f == nullptr ? 0 : encode_format(*f, round_to_format(*f, x, false, Rounding::Nearest));
}

std::int64_t decode_int(DType t, std::uint64_t raw) {
  const int n = bits(t);
  if (is_bool(t)) return (raw & 0xff) != 0 ? 1 : 0;
  if (n == 64) return static_cast<std::int64_t>(raw);
  if (is_signed(t)) return static_cast<std::int64_t>(raw << (64 - n)) >> (64 - n);
  return static_cast<std::int64_t>(raw & low_bits(n));
}

std::uint64_t encode_int(DType t, std::int64_t x) {
  if (is_bool(t)) return x != 0 ? 1 : 0;
  return static_cast<std::uint64_t>(x) & low_bits(bits(t));
}

}  // namespace tessera
