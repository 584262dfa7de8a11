#include <limits>

#include "tests/dsl/interpret_support.h"

namespace tessera::test {
namespace {

using ir::OpKind;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t kMin64 = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kMax64 = std::numeric_limits<std::int64_t>::max();

Buffer cast(const Buffer& x, DType to, bool saturate = false, Rounding r = Rounding::Nearest) {
  return compute({x}, [&](ir::Builder& b, const Values& v) { return Values{b.cast(v[0], to, saturate, r)}; })[0];
}
Buffer bitcast(const Buffer& x, DType to) {
  return compute({x}, [&](ir::Builder& b, const Values& v) { return Values{b.bitcast(v[0], to)}; })[0];
}

void float_to_float() {
  expect_values(cast(floats(DType::F32, {4}, {1.00390625, 1.01171875, 3e38, kNaN}), DType::BF16),
                {1, 1.015625, round_to_float(DType::BF16, 3e38), kNaN}, "ties to even");
  expect_values(cast(floats(DType::F32, {4}, {464, 465, 1000, kInf}), DType::E4M3), {448, kNaN, kNaN, kNaN}, "e4m3 overflow");
  expect_values(cast(floats(DType::F32, {4}, {464, 1000, -kInf, kNaN}), DType::E4M3, true), {448, 448, -448, kNaN}, "e4m3 saturated");
  expect_values(cast(floats(DType::F32, {3}, {70000, -70000, 0.1}), DType::F16), {kInf, -kInf, round_to_float(DType::F16, static_cast<double>(0.1f))},
                "f16");
  expect_values(cast(floats(DType::F32, {3}, {3.1, 4, -1}), DType::E8M0, false, Rounding::Up), {4, 4, kNaN}, "e8m0 up");
  expect_values(cast(floats(DType::F32, {8}, {.25, .75, 1.25, 1.75, 2.5, 3.5, 5, -7}), DType::E2M1), {0, 1, 1, 2, 2, 4, 4, -6}, "e2m1");
  expect_values(cast(floats(DType::F64, {2}, {1 + 0x1p-40, -1 - 0x1p-40}), DType::F32, false, Rounding::Up), {1 + 0x1p-23, -1}, "f32 up");
  expect_values(cast(floats(DType::F64, {2}, {1 + 0x1p-40, -1 - 0x1p-40}), DType::F32, false, Rounding::TowardZero), {1, -1}, "f32 toward zero");
}

void to_and_from_int() {
  expect_ints(cast(floats(DType::F32, {5}, {2.9, -2.9, 1e20, -kInf, kNaN}), DType::I32), {2, -2, 2147483647, -2147483648, 0}, "f32 to i32");
  expect_ints(cast(floats(DType::F32, {3}, {-1, 300, 7.5}), DType::U8), {0, 255, 7}, "f32 to u8");
  expect_ints(cast(floats(DType::F64, {1}, {1e30}), DType::U64), {-1}, "f64 to u64");
  expect_values(cast(ints(DType::I32, {2}, {16777217, -3}), DType::F32), {16777216, -3}, "i32 to f32");
  expect_values(cast(ints(DType::U64, {1}, {-1}), DType::F64), {0x1p64}, "u64 to f64");
  // 2^54 + 2^30 + 1 is above the tie of f32; float64 would drop the 1 and leave a tie.
  expect_values(cast(ints(DType::I64, {1}, {(std::int64_t{1} << 54) + (std::int64_t{1} << 30) + 1}), DType::F32), {0x1p54 + 0x1p31},
                "i64 to f32, once");
  expect_values(cast(ints(DType::I64, {2}, {kMax64, kMin64 + 1}), DType::F64, false, Rounding::TowardZero), {0x1p63 - 1024, -0x1p63 + 1024},
                "i64 to f64 toward zero");
  expect_values(cast(ints(DType::I32, {2}, {65536, -70000}), DType::F16), {kInf, -kInf}, "i32 to f16");
  expect_values(cast(ints(DType::I32, {1}, {70000}), DType::F16, true), {65504}, "i32 to f16, saturated");
  expect_values(cast(ints(DType::Bool, {2}, {0, 1}), DType::F32), {0, 1}, "bool to f32");
}

void int_to_int() {
  expect_ints(cast(ints(DType::I32, {3}, {300, -1, 128}), DType::I8), {44, -1, -128}, "wraps");
  expect_ints(cast(ints(DType::I32, {3}, {300, -1, -300}), DType::I8, true), {127, -1, -128}, "saturates");
  expect_ints(cast(ints(DType::U64, {1}, {-1}), DType::I64, true), {kMax64}, "u64 to i64");
  expect_ints(cast(ints(DType::I64, {1}, {-5}), DType::U64, true), {0}, "i64 to u64");
  expect_ints(cast(ints(DType::I8, {1}, {-1}), DType::U32), {4294967295}, "sign extends, then wraps");
  expect_ints(cast(ints(DType::U8, {1}, {255}), DType::I32), {255}, "zero extends");
  expect_ints(cast(ints(DType::I32, {2}, {256, 0}), DType::Bool), {1, 0}, "to bool");
  expect_ints(cast(floats(DType::F32, {4}, {0.25, 0, -0.0, kNaN}), DType::Bool), {1, 0, 0, 1}, "f32 to bool");
  expect_ints(cast(ints(DType::I4, {3}, {-8, 7, -1}), DType::I32), {-8, 7, -1}, "i4");
  expect_ints(cast(ints(DType::U4, {3}, {8, 15, 1}), DType::I32), {8, 15, 1}, "u4");
  expect_ints(cast(ints(DType::I32, {2}, {9, -9}), DType::I4), {-7, 7}, "to i4");
}

void bits_stay() {
  expect_ints(bitcast(floats(DType::F32, {2}, {1, -0.0}), DType::I32), {0x3f800000, std::numeric_limits<std::int32_t>::min()}, "f32 to i32");
  expect_values(bitcast(ints(DType::U32, {2}, {0x40490fdb, 0x7f800000}), DType::F32), {static_cast<double>(3.14159274f), kInf}, "u32 to f32");
  expect_ints(bitcast(bitcast(ints(DType::U32, {1}, {0x7fc12345}), DType::F32), DType::U32), {0x7fc12345}, "NaN payload");
  expect_ints(bitcast(floats(DType::BF16, {1}, {1}), DType::U16), {0x3f80}, "bf16");
  expect_ints(bitcast(ints(DType::I8, {1}, {-1}), DType::U8), {255}, "i8 to u8");
  expect_values(bitcast(ints(DType::U8, {1}, {0x7e}), DType::E4M3), {448}, "u8 to e4m3");
}

}  // namespace

std::vector<Case> conversion_cases() {
  return {
      {OpKind::Cast, "float to float", float_to_float},
      {OpKind::Cast, "float to int and back", to_and_from_int},
      {OpKind::Cast, "int to int and bool", int_to_int},
      {OpKind::Bitcast, "the same bits", bits_stay},
  };
}

}  // namespace tessera::test
