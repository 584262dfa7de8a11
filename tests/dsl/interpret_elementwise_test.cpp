#include <limits>

#include "tests/dsl/interpret_support.h"

namespace tessera::test {
namespace {

using ir::OpKind;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t kMin64 = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kMax64 = std::numeric_limits<std::int64_t>::max();

struct FloatRow {
  OpKind kind;
  DType dtype;
  std::vector<std::vector<double>> operands;
  std::vector<double> want;  ///< rounded to the dtype before it is compared
};

const std::vector<FloatRow>& float_rows() {
  static const std::vector<FloatRow> rows = {
      {OpKind::Neg, DType::F32, {{1, -2.5, 0, kInf, kNaN}}, {-1, 2.5, -0.0, -kInf, kNaN}},
      {OpKind::Abs, DType::F32, {{1, -2.5, -kInf, kNaN}}, {1, 2.5, kInf, kNaN}},
      {OpKind::Exp, DType::F32, {{0, 1, -1, -kInf, kInf, 100, -200, kNaN}}, {1, 2.718281828459045, 0.36787944117144233, 0, kInf, kInf, 0, kNaN}},
      {OpKind::Exp, DType::BF16, {{1}}, {2.718281828459045}},
      {OpKind::Exp2, DType::F32, {{0, 1, -3, 10, 0.5, -kInf, 200, -149, -160}}, {1, 2, 0.125, 1024, 1.4142135623730951, 0, kInf, 0x1p-149, 0}},
      {OpKind::Ln, DType::F32, {{1, 2.5, 0, -1, kInf}}, {0, 0.9162907318741551, -kInf, kNaN, kInf}},
      {OpKind::Log2, DType::F32, {{1, 8, 0.25, 0, -1, 3}}, {0, 3, -2, -kInf, kNaN, 1.584962500721156}},
      {OpKind::Sqrt, DType::F32, {{0, 4, 2, -1, kInf}}, {0, 2, 1.4142135623730951, kNaN, kInf}},
      {OpKind::Rsqrt, DType::F32, {{4, 2, 0, -1, kInf}}, {0.5, 0.7071067811865475, kInf, kNaN, 0}},
      {OpKind::Rcp, DType::F32, {{4, 3, 0, -kInf}}, {0.25, 1.0 / 3, kInf, -0.0}},
      {OpKind::Tanh, DType::F32, {{0, 1, -kInf, 20}}, {0, 0.7615941559557649, -1, 1}},
      {OpKind::Sigmoid, DType::F32, {{0, 1, -kInf, kInf, -100}}, {0.5, 0.7310585786300049, 0, 1, 3.720075976020836e-44}},
      {OpKind::Sin, DType::F32, {{0, 1, 1000000}}, {0, 0.8414709848078965, -0.3499935021712930}},
      {OpKind::Cos, DType::F32, {{0, 1, 1000000}}, {1, 0.5403023058681398, 0.9367521275331447}},
      {OpKind::Erf, DType::F32, {{0, 0.5, -kInf}}, {0, 0.5204998778130465, -1}},
      {OpKind::Floor, DType::F32, {{1.5, -1.5, 2, -0.25}}, {1, -2, 2, -1}},
      {OpKind::Ceil, DType::F32, {{1.5, -1.5, 2, 0.25}}, {2, -1, 2, 1}},
      {OpKind::Round, DType::F32, {{0.5, 1.5, 2.5, -2.5, 2.4, 1e30}}, {0, 2, 2, -2, 2, 1e30}},
      {OpKind::Add, DType::F32, {{1, kInf, 0x1p24}, {2, -kInf, 1}}, {3, kNaN, 0x1p24}},
      {OpKind::Add, DType::BF16, {{256, 256, 1}, {1, 3, 0.00390625}}, {256, 260, 1}},
      {OpKind::Add, DType::F16, {{65504, 65504}, {15, 16}}, {65504, kInf}},
      {OpKind::Sub, DType::F32, {{1, 0x1p24, kInf}, {2, 0.5, kInf}}, {-1, 0x1p24, kNaN}},
      {OpKind::Mul, DType::F32, {{3, 0, 1e30}, {0.1f, kInf, 1e30}}, {3 * static_cast<double>(0.1f), kNaN, kInf}},
      {OpKind::Div, DType::F32, {{1, 1, -1, 0}, {3, 0, 0, 0}}, {1.0 / 3, kInf, -kInf, kNaN}},
      {OpKind::Min, DType::F32, {{1, kNaN, 3, kNaN}, {2, 5, kNaN, kNaN}}, {1, 5, 3, kNaN}},
      {OpKind::Max, DType::F32, {{1, kNaN, 3, kNaN, -kInf}, {2, 5, kNaN, kNaN, kNaN}}, {2, 5, 3, kNaN, -kInf}},
      // a = 1 + 2^-12: a * a = 1 + 2^-11 + 2^-24, whose last bit two roundings would lose against -(1 + 2^-11).
      {OpKind::Fma, DType::F32, {{2, 1 + 0x1p-12}, {3, 1 + 0x1p-12}, {4, -(1 + 0x1p-11)}}, {10, 0x1p-24}},
      // The product is 2^-24 - 2^-70: the sum is below the tie, but float64 alone would round it to the tie and then to even, away.
      {OpKind::Fma, DType::F32, {{0x1p-24 + 0x1p-47}, {1 - 0x1p-23}, {1 + 0x1p-23}}, {1 + 0x1p-23}},
      {OpKind::Fma, DType::F32, {{1 + 0x1p-23}, {0x1p-24}, {1}}, {1 + 0x1p-23}},
      {OpKind::Fma, DType::F16, {{0x1p-14}, {0x1p-14}, {1}}, {1}},
  };
  return rows;
}

struct IntRow {
  OpKind kind;
  DType dtype;
  std::vector<std::vector<std::int64_t>> operands;
  std::vector<std::int64_t> want;
};

const std::vector<IntRow>& int_rows() {
  static const std::vector<IntRow> rows = {
      {OpKind::Neg, DType::I8, {{1, -128}}, {-1, -128}},
      {OpKind::Neg, DType::U8, {{1, 0}}, {255, 0}},
      {OpKind::Neg, DType::I64, {{kMin64}}, {kMin64}},
      {OpKind::Abs, DType::I32, {{-5, 5, -2147483648}}, {5, 5, -2147483648}},
      {OpKind::Abs, DType::U64, {{-5}}, {-5}},
      {OpKind::Not, DType::I32, {{0, 5}}, {-1, -6}},
      {OpKind::Not, DType::U8, {{1}}, {254}},
      {OpKind::Not, DType::Bool, {{0, 1}}, {1, 0}},
      {OpKind::Popcount, DType::I8, {{-1, 5, 0}}, {8, 2, 0}},
      {OpKind::Popcount, DType::U64, {{-1}}, {64}},
      {OpKind::Clz, DType::I32, {{0, 1, -1}}, {32, 31, 0}},
      {OpKind::Clz, DType::U8, {{1}}, {7}},
      {OpKind::Clz, DType::I64, {{0}}, {64}},
      {OpKind::Add, DType::I8, {{100, -100}, {100, -100}}, {-56, 56}},
      {OpKind::Add, DType::I64, {{kMax64}, {1}}, {kMin64}},
      {OpKind::Sub, DType::U32, {{1}, {2}}, {4294967295}},
      {OpKind::Sub, DType::Idx, {{kMin64}, {1}}, {kMax64}},
      {OpKind::Mul, DType::I32, {{65536, -3}, {65536, 4}}, {0, -12}},
      {OpKind::Mul, DType::U64, {{-1}, {-1}}, {1}},
      {OpKind::Div, DType::I32, {{7, -7, 7, -7, 5, -2147483648}, {2, 2, -2, -2, 0, -1}}, {3, -4, -4, 3, 0, -2147483648}},
      {OpKind::Div, DType::U64, {{-2}, {2}}, {kMax64}},
      {OpKind::Div, DType::I64, {{kMin64}, {-1}}, {kMin64}},
      {OpKind::Mod, DType::I32, {{7, -7, 7, -7, 5, -2147483648}, {4, 4, -4, -4, 0, -1}}, {3, 1, -1, -3, 0, 0}},
      {OpKind::Mod, DType::U64, {{-1}, {10}}, {5}},
      {OpKind::Min, DType::I32, {{-1, 3}, {1, 2}}, {-1, 2}},
      {OpKind::Min, DType::U64, {{-1}, {1}}, {1}},
      {OpKind::Max, DType::U64, {{-1}, {1}}, {-1}},
      {OpKind::Max, DType::I64, {{-1}, {1}}, {1}},
      {OpKind::And, DType::I32, {{12, -1}, {10, 7}}, {8, 7}},
      {OpKind::And, DType::Bool, {{0, 0, 1, 1}, {0, 1, 0, 1}}, {0, 0, 0, 1}},
      {OpKind::Or, DType::I32, {{12}, {10}}, {14}},
      {OpKind::Or, DType::Bool, {{0, 0, 1, 1}, {0, 1, 0, 1}}, {0, 1, 1, 1}},
      {OpKind::Xor, DType::U8, {{12}, {10}}, {6}},
      {OpKind::Xor, DType::Bool, {{0, 0, 1, 1}, {0, 1, 0, 1}}, {0, 1, 1, 0}},
      {OpKind::Shl, DType::I32, {{1, 1, 1, 1, 3}, {31, 32, -1, 64, 1}}, {-2147483648, 0, 0, 0, 6}},
      {OpKind::Shl, DType::U8, {{255}, {4}}, {240}},
      {OpKind::Shr, DType::I32, {{-8, -8, -8, 8}, {1, 31, 32, -1}}, {-4, -1, 0, 0}},
      {OpKind::Shr, DType::U64, {{-1, -1}, {63, 64}}, {1, 0}},
      {OpKind::Shr, DType::U8, {{128}, {7}}, {1}},
  };
  return rows;
}

struct CompareRow {
  OpKind kind;
  std::vector<std::int64_t> floats;  ///< of (1,2) (2,2) (3,2) (NaN,2) (NaN,NaN) (0,-0)
  std::vector<std::int64_t> u64;     ///< of (-1,1) (1,1) (1,-1) as bit patterns
};
const CompareRow kCompareRows[] = {
    {OpKind::Eq, {0, 1, 0, 0, 0, 1}, {0, 1, 0}}, {OpKind::Ne, {1, 0, 1, 1, 1, 0}, {1, 0, 1}}, {OpKind::Lt, {1, 0, 0, 0, 0, 0}, {0, 0, 1}},
    {OpKind::Le, {1, 1, 0, 0, 0, 1}, {0, 1, 1}}, {OpKind::Gt, {0, 0, 1, 0, 0, 0}, {1, 0, 0}}, {OpKind::Ge, {0, 1, 1, 0, 0, 1}, {1, 1, 0}},
};

Buffer apply(OpKind kind, std::vector<Buffer> operands) {
  return compute(std::move(operands), [&](ir::Builder& b, const Values& x) { return Values{b.value(kind, x)}; })[0];
}

void run_float_row(const FloatRow& row) {
  std::vector<Buffer> operands;
  for (const auto& x : row.operands) operands.push_back(floats(row.dtype, {static_cast<std::int64_t>(x.size())}, x));
  std::vector<double> want = row.want;
  for (double& w : want) w = round_to_float(row.dtype, w);
  const Buffer got = apply(row.kind, operands);
  EXPECT_EQ(got.dtype, row.dtype);
  expect_values(got, want, name(row.dtype));
}

void run_int_row(const IntRow& row) {
  std::vector<Buffer> operands;
  for (const auto& x : row.operands) operands.push_back(ints(row.dtype, {static_cast<std::int64_t>(x.size())}, x));
  expect_ints(apply(row.kind, operands), row.want, name(row.dtype));
}

}  // namespace

std::vector<Case> elementwise_cases() {
  std::vector<Case> cases;
  for (const FloatRow& row : float_rows()) cases.push_back({row.kind, name(row.dtype), [&row] { run_float_row(row); }});
  for (const IntRow& row : int_rows()) cases.push_back({row.kind, name(row.dtype), [&row] { run_int_row(row); }});
  for (const CompareRow& row : kCompareRows) {
    cases.push_back({row.kind, "floats and u64", [&row] {
                       expect_ints(
                           apply(row.kind, {floats(DType::F32, {6}, {1, 2, 3, kNaN, kNaN, 0}), floats(DType::F32, {6}, {2, 2, 2, 2, kNaN, -0.0})}),
                           row.floats, "f32");
                       expect_ints(apply(row.kind, {ints(DType::U64, {3}, {-1, 1, 1}), ints(DType::U64, {3}, {1, 1, -1})}), row.u64, "u64");
                       // The same bits as signed numbers order the other way round.
                       expect_ints(apply(row.kind, {ints(DType::I64, {3}, {1, 1, -1}), ints(DType::I64, {3}, {-1, 1, 1})}), row.u64, "i64");
                     }});
  }
  cases.push_back({OpKind::Select, "takes whole elements, NaN included", [] {
                     const Buffer c = ints(DType::Bool, {3}, {1, 0, 1});
                     expect_values(apply(OpKind::Select, {c, floats(DType::F32, {3}, {1, kNaN, kNaN}), floats(DType::F32, {3}, {4, 5, 6})}),
                                   {1, 5, kNaN}, "f32");
                     expect_ints(apply(OpKind::Select, {c, ints(DType::I32, {3}, {1, 2, 3}), ints(DType::I32, {3}, {4, 5, 6})}), {1, 5, 3}, "i32");
                   }});
  cases.push_back({OpKind::Select, "broadcasts all three", [] {
                     const Buffer c = ints(DType::Bool, {2, 1}, {1, 0});
                     const Buffer x = floats(DType::F32, {1, 3}, {1, 2, 3});
                     const Buffer y = floats(DType::F32, {}, {9});
                     expect_values(apply(OpKind::Select, {c, x, y}), {1, 2, 3, 9, 9, 9}, "select");
                   }});
  cases.push_back({OpKind::Sub, "broadcasts rows, columns and scalars", [] {
                     const Buffer col = floats(DType::F32, {2, 1}, {10, 20});
                     const Buffer row = floats(DType::F32, {1, 3}, {1, 2, 3});
                     const Buffer s = floats(DType::F32, {}, {100});
                     expect_values(apply(OpKind::Sub, {col, row}), {9, 8, 7, 19, 18, 17}, "col - row");
                     expect_values(apply(OpKind::Sub, {row, col}), {-9, -8, -7, -19, -18, -17}, "row - col");
                     expect_values(apply(OpKind::Sub, {s, row}), {99, 98, 97}, "scalar - row");
                   }});
  cases.push_back({OpKind::Max, "plus zero is the larger zero", [] {
                     const Buffer z = floats(DType::F32, {2}, {0.0, -0.0});
                     const Buffer w = floats(DType::F32, {2}, {-0.0, 0.0});
                     const Buffer top = apply(OpKind::Max, {z, w});
                     const Buffer low = apply(OpKind::Min, {z, w});
                     for (int k = 0; k < 2; ++k) {
                       EXPECT_FALSE(std::signbit(top.get(k)));
                       EXPECT_TRUE(std::signbit(low.get(k)));
                     }
                   }});
  return cases;
}

namespace {

TEST(InterpretExact, ElementwiseOpsDoNotRound) {
  InterpretOptions exact;
  exact.exact = true;
  const Build build = [](ir::Builder& b, const Values& x) {
    ir::Value* third = b.value(OpKind::Div, {x[0], x[1]});
    ir::Value* half = b.cast(third, DType::BF16);
    ir::Value* back = b.cast(half, DType::F64);
    return Values{back};
  };
  const std::vector<Buffer> in = {floats(DType::F32, {1}, {1}), floats(DType::F32, {1}, {3})};
  EXPECT_EQ(compute(in, build, exact)[0].get(0), 1.0 / 3);
  EXPECT_EQ(compute(in, build)[0].get(0), round_to_float(DType::BF16, static_cast<double>(1.0f / 3.0f)));
}

TEST(InterpretExact, SaturationAndScalesStay) {
  InterpretOptions exact;
  exact.exact = true;
  const auto got = compute(
      {floats(DType::F32, {2}, {1000, 2.7})},
      [](ir::Builder& b, const Values& x) {
        ir::Value* q = b.cast(b.cast(x[0], DType::E4M3, true), DType::F64);
        ir::Value* s = b.cast(b.cast(x[0], DType::E8M0, false, Rounding::Up), DType::F64);
        return Values{q, s};
      },
      exact);
  expect_values(got[0], {448, static_cast<double>(2.7f)}, "saturated, not rounded");
  expect_values(got[1], {1024, 4}, "powers of two");
}

}  // namespace
}  // namespace tessera::test
