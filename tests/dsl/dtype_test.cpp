#include "dsl/dtype.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>

namespace tessera {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

const std::vector<DType> kSmallFloats = {DType::F16, DType::BF16, DType::E4M3, DType::E5M2, DType::E8M0, DType::E2M1};
constexpr Rounding kRoundings[] = {Rounding::Nearest, Rounding::TowardZero, Rounding::Up, Rounding::Down};

/// All finite values of a small type, ascending, zero once.
std::vector<double> finite_values(DType t) {
  std::vector<double> all;
  for (std::uint64_t raw = 0; raw < (std::uint64_t{1} << bits(t)); ++raw) {
    const double v = decode_float(t, raw);
    if (std::isfinite(v)) all.push_back(v == 0 ? 0.0 : v);
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

/// The rounding of a finite x by search in the sorted values. A value beyond the last one by less than half of the last gap rounds back.
double brute_force(DType t, const std::vector<double>& values, double x, bool saturate, Rounding r) {
  const bool e8m0 = t == DType::E8M0;
  if (e8m0 && x < 0) return kNaN;
  const double top = values.back();
  const double bottom = values.front();
  const auto beyond = [&](bool negative) {
    if (saturate || t == DType::E2M1) return negative ? bottom : top;
    if (t == DType::E4M3 || e8m0) return kNaN;
    return negative ? -kInf : kInf;
  };
  const auto above = std::lower_bound(values.begin(), values.end(), x);  // first >= x
  if (above != values.end() && *above == x) return x;
  if (above == values.end() || above == values.begin()) {
    if (e8m0 && above == values.begin()) return bottom;
    const bool negative = above == values.begin();
    const double last = negative ? bottom : top;
    const double gap = e8m0 ? top : top - values[values.size() - 2];
    // The next value would have an even mantissa if the last one is odd; a tie goes away then. e4m3 ends in the even 448.
    const bool tie_away = t != DType::E4M3;
    switch (r) {
      case Rounding::Nearest: {
        const double over = std::fabs(x - last);
        return over < gap / 2 || (over == gap / 2 && !tie_away) ? last : beyond(negative);
      }
      case Rounding::TowardZero: return last;
      case Rounding::Up: return negative ? last : beyond(false);
      case Rounding::Down: return negative ? beyond(true) : last;
    }
  }
  const double hi = *above;
  const double lo = *(above - 1);
  switch (r) {
    case Rounding::Nearest: {
      if (x - lo != hi - x) return x - lo < hi - x ? lo : hi;
      if (e8m0) return hi;
      return (encode_float(t, lo) & 1) == 0 ? lo : hi;
    }
    case Rounding::TowardZero: return x < 0 ? hi : lo;
    case Rounding::Up: return hi;
    case Rounding::Down: return lo;
  }
  return kNaN;
}

void expect_same(double got, double want, DType t, double x, bool saturate, Rounding r) {
  const bool same = std::isnan(want) ? std::isnan(got) : got == want;
  ASSERT_TRUE(same) << name(t) << " of " << std::hexfloat << x << " saturate " << saturate << " rounding " << static_cast<int>(r) << ": got " << got
                    << ", want " << want;
}

TEST(Dtype, NamesAndTable) {
  for (const DType t : all_dtypes()) EXPECT_EQ(dtype_from_name(name(t)), t);
  EXPECT_FALSE(dtype_from_name("f8"));
  EXPECT_EQ(bits(DType::E2M1), 4);
  EXPECT_EQ(bits(DType::Bool), 8);
  EXPECT_TRUE(is_signed(DType::Idx));
  EXPECT_FALSE(is_signed(DType::U32));
  EXPECT_TRUE(storage_only(DType::I4));
  EXPECT_FALSE(storage_only(DType::I8));
}

TEST(Dtype, EveryPatternSurvivesDecodeAndEncode) {
  for (const DType t : kSmallFloats) {
    for (std::uint64_t raw = 0; raw < (std::uint64_t{1} << bits(t)); ++raw) {
      ASSERT_EQ(encode_float(t, decode_float(t, raw)), raw) << name(t);
    }
  }
  for (const DType t : {DType::I4, DType::U4, DType::I8, DType::U8, DType::I16, DType::U16}) {
    for (std::uint64_t raw = 0; raw < (std::uint64_t{1} << bits(t)); ++raw) {
      ASSERT_EQ(encode_int(t, decode_int(t, raw)), raw) << name(t);
      ASSERT_EQ(wrap_int(t, decode_int(t, raw)), decode_int(t, raw)) << name(t);
    }
  }
  std::mt19937_64 random(1);
  for (int i = 0; i < 200000; ++i) {
    const std::uint64_t raw = random();
    ASSERT_EQ(encode_float(DType::F32, decode_float(DType::F32, raw & 0xffffffff)), raw & 0xffffffff);
    ASSERT_EQ(encode_float(DType::F64, decode_float(DType::F64, raw)), raw);
    ASSERT_EQ(encode_int(DType::U64, decode_int(DType::U64, raw)), raw);
    ASSERT_EQ(encode_int(DType::I64, decode_int(DType::I64, raw)), raw);
  }
}

TEST(Dtype, DecodeKnownValues) {
  EXPECT_EQ(decode_float(DType::F16, 0x3c00), 1.0);
  EXPECT_EQ(decode_float(DType::F16, 0x0001), 0x1p-24);
  EXPECT_EQ(decode_float(DType::F16, 0x7bff), 65504.0);
  EXPECT_EQ(decode_float(DType::F16, 0xfc00), -kInf);
  EXPECT_EQ(decode_float(DType::BF16, 0x3f80), 1.0);
  EXPECT_EQ(decode_float(DType::E4M3, 0x7e), 448.0);
  EXPECT_TRUE(std::isnan(decode_float(DType::E4M3, 0x7f)));
  EXPECT_EQ(decode_float(DType::E4M3, 0x01), 0x1p-9);
  EXPECT_EQ(decode_float(DType::E5M2, 0x7b), 57344.0);
  EXPECT_EQ(decode_float(DType::E5M2, 0x7c), kInf);
  EXPECT_EQ(decode_float(DType::E8M0, 127), 1.0);
  EXPECT_EQ(decode_float(DType::E8M0, 0), 0x1p-127);
  EXPECT_TRUE(std::isnan(decode_float(DType::E8M0, 255)));
  const double e2m1[] = {0, .5, 1, 1.5, 2, 3, 4, 6};
  for (std::uint64_t i = 0; i < 8; ++i) {
    EXPECT_EQ(decode_float(DType::E2M1, i), e2m1[i]);
    EXPECT_EQ(decode_float(DType::E2M1, i + 8), -e2m1[i]);
  }
}

TEST(Dtype, BFloat16IsTheUpperHalfOfF32) {
  for (std::uint64_t raw = 0; raw < 65536; ++raw) {
    const auto f = std::bit_cast<float>(static_cast<std::uint32_t>(raw << 16));
    const double d = decode_float(DType::BF16, raw);
    ASSERT_TRUE(std::isnan(f) ? std::isnan(d) : static_cast<double>(f) == d);
  }
}

TEST(Dtype, RoundingAgreesWithSearch) {
  for (const DType t : kSmallFloats) {
    const std::vector<double> values = finite_values(t);
    std::vector<double> probes = values;
    for (std::size_t i = 0; i + 1 < values.size(); ++i) {
      const double mid = (values[i] + values[i + 1]) / 2;
      probes.insert(probes.end(), {mid, std::nextafter(mid, -kInf), std::nextafter(mid, kInf), std::nextafter(values[i], kInf),
                                   std::nextafter(values[i + 1], -kInf)});
    }
    const double top = values.back();
    const double gap = t == DType::E8M0 ? top : top - values[values.size() - 2];
    for (const double x : {top + gap / 2, std::nextafter(top + gap / 2, 0.0), std::nextafter(top + gap / 2, kInf), top + gap, top * 64,
                           std::nextafter(top, kInf), 1e-300, 4e-324, 1e300}) {
      probes.push_back(x);
      probes.push_back(-x);
    }
    for (const double x : probes) {
      for (const Rounding r : kRoundings) {
        for (const bool saturate : {false, true}) {
          expect_same(round_to_float(t, x, saturate, r), brute_force(t, values, x, saturate, r), t, x, saturate, r);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(Dtype, F32RoundsLikeTheHardware) {
  std::mt19937_64 random(2);
  for (int i = 0; i < 300000; ++i) {
    const double x = std::bit_cast<double>((random() & 0x800fffffffffffff) | ((1023 - 155 + random() % 290) << 52));
    const double want = static_cast<double>(static_cast<float>(x));
    ASSERT_EQ(round_to_float(DType::F32, x), want);
    ASSERT_EQ(decode_float(DType::F32, encode_float(DType::F32, x)), want);
    if (!std::isfinite(want)) continue;
    ASSERT_EQ(round_to_float(DType::F32, x, true), want);  // the general path
    const double up = want >= x ? want : static_cast<double>(std::nextafterf(static_cast<float>(want), INFINITY));
    ASSERT_EQ(round_to_float(DType::F32, x, false, Rounding::Up), up);
    const double down = want <= x ? want : static_cast<double>(std::nextafterf(static_cast<float>(want), -INFINITY));
    ASSERT_EQ(round_to_float(DType::F32, x, false, Rounding::Down), down);
    ASSERT_EQ(round_to_float(DType::F32, x, false, Rounding::TowardZero), x < 0 ? up : down);
  }
}

TEST(Dtype, NonFiniteValues) {
  for (const DType t : {DType::F16, DType::BF16, DType::F32, DType::F64, DType::E5M2}) {
    for (const Rounding r : kRoundings) {
      EXPECT_EQ(round_to_float(t, kInf, false, r), kInf);
      EXPECT_EQ(round_to_float(t, -kInf, false, r), -kInf);
      EXPECT_TRUE(std::isnan(round_to_float(t, kNaN, true, r)));
    }
    EXPECT_LT(round_to_float(t, kInf, true), kInf);
  }
  EXPECT_EQ(round_to_float(DType::E5M2, -kInf, true), -57344.0);
  EXPECT_TRUE(std::isnan(round_to_float(DType::E4M3, kInf)));
  EXPECT_EQ(round_to_float(DType::E4M3, kInf, true), 448.0);
  EXPECT_TRUE(std::isnan(round_to_float(DType::E4M3, kNaN, true)));
  EXPECT_EQ(round_to_float(DType::E4M3, 464.0), 448.0);
  EXPECT_TRUE(std::isnan(round_to_float(DType::E4M3, 465.0)));
  EXPECT_EQ(round_to_float(DType::E2M1, kInf), 6.0);
  EXPECT_EQ(round_to_float(DType::E2M1, -kInf), -6.0);
  EXPECT_EQ(round_to_float(DType::E2M1, kNaN), 6.0);
  EXPECT_EQ(round_to_float(DType::E8M0, 0.0), 0x1p-127);
  EXPECT_TRUE(std::isnan(round_to_float(DType::E8M0, -1.0)));
  EXPECT_TRUE(std::isnan(round_to_float(DType::E8M0, kInf)));
  EXPECT_EQ(round_to_float(DType::E8M0, 3.0), 4.0);
  EXPECT_EQ(round_to_float(DType::E8M0, 2.1, false, Rounding::Up), 4.0);
  EXPECT_EQ(round_to_float(DType::E8M0, 3.9, false, Rounding::Down), 2.0);
  for (const DType t : {DType::F16, DType::BF16, DType::F32, DType::E4M3, DType::E5M2, DType::E2M1}) {
    EXPECT_TRUE(std::signbit(round_to_float(t, -0.0))) << name(t);
    EXPECT_TRUE(std::signbit(round_to_float(t, -1e-60))) << name(t);
  }
}

TEST(Dtype, FloatToInt) {
  EXPECT_EQ(float_to_int(DType::I32, 2.9), 2);
  EXPECT_EQ(float_to_int(DType::I32, -2.9), -2);
  EXPECT_EQ(float_to_int(DType::I32, 3e9), int_max(DType::I32));
  EXPECT_EQ(float_to_int(DType::I32, -kInf), int_min(DType::I32));
  EXPECT_EQ(float_to_int(DType::I8, 127.9), 127);
  EXPECT_EQ(float_to_int(DType::I8, -128.9), -128);
  EXPECT_EQ(float_to_int(DType::U8, -1.0), 0);
  EXPECT_EQ(float_to_int(DType::U8, 300.0), 255);
  EXPECT_EQ(float_to_int(DType::I64, 0x1p63), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(float_to_int(DType::I64, -0x1p63), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(static_cast<std::uint64_t>(float_to_int(DType::U64, 0x1p63)), std::uint64_t{1} << 63);
  EXPECT_EQ(float_to_int(DType::U64, 1e30), -1);
  EXPECT_EQ(float_to_int(DType::I4, 9.0), 7);
  EXPECT_EQ(float_to_int(DType::U4, 99.0), 15);
  EXPECT_EQ(float_to_int(DType::Bool, 0.25), 1);
  for (const DType t : all_dtypes()) {
    if (!is_int(t)) continue;
    EXPECT_EQ(float_to_int(t, kNaN), 0) << name(t);
  }
}

TEST(Dtype, IntegersWrap) {
  EXPECT_EQ(wrap_int(DType::I8, 128), -128);
  EXPECT_EQ(wrap_int(DType::U8, -1), 255);
  EXPECT_EQ(wrap_int(DType::I4, 8), -8);
  EXPECT_EQ(wrap_int(DType::U4, 17), 1);
  EXPECT_EQ(wrap_int(DType::I32, std::int64_t{1} << 31), std::numeric_limits<std::int32_t>::min());
  EXPECT_EQ(wrap_int(DType::Idx, std::numeric_limits<std::int64_t>::min()), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(wrap_int(DType::Bool, 256), 1);
  EXPECT_EQ(int_min(DType::I16), -32768);
  EXPECT_EQ(int_max(DType::U16), 65535);
  EXPECT_EQ(int_max(DType::U64), -1);
  EXPECT_EQ(int_min(DType::U64), 0);
}

}  // namespace
}  // namespace tessera
