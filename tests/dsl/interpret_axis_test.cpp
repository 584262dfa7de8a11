#include <limits>

#include "tests/dsl/interpret_support.h"

namespace tessera::test {
namespace {

using ir::Attr;
using ir::OpKind;
using ir::ReduceKind;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Buffer reduce(const Buffer& x, ReduceKind kind, int axis) {
  return compute({x}, [&](ir::Builder& b, const Values& v) { return Values{b.reduce(kind, v[0], axis)}; })[0];
}

void sums() {
  const Buffer x = floats(DType::F32, {2, 3}, {1, 2, 3, 4, 5, 6});
  const Buffer rows = reduce(x, ReduceKind::Sum, 1);
  EXPECT_EQ(rows.dims, (ir::Dims{2, 1}));
  expect_values(rows, {6, 15}, "sum of rows");
  expect_values(reduce(x, ReduceKind::Sum, 0), {5, 7, 9}, "sum of columns");
  expect_values(reduce(x, ReduceKind::Prod, 1), {6, 120}, "prod");
  expect_ints(reduce(ints(DType::I8, {1, 3}, {100, 100, 100}), ReduceKind::Sum, 1), {44}, "i8 wraps");
  expect_ints(reduce(ints(DType::U8, {1, 2}, {16, 17}), ReduceKind::Prod, 1), {16}, "u8 wraps");
}

void extremes() {
  const Buffer x = floats(DType::F32, {3, 3}, {1, kNaN, 3, kNaN, kNaN, kNaN, -kInf, kNaN, -kInf});
  expect_values(reduce(x, ReduceKind::Max, 1), {3, kNaN, -kInf}, "max");
  expect_values(reduce(x, ReduceKind::Min, 1), {1, kNaN, -kInf}, "min");
  expect_ints(reduce(x, ReduceKind::ArgMax, 1), {2, 0, 0}, "argmax");
  expect_ints(reduce(x, ReduceKind::ArgMin, 1), {0, 0, 0}, "argmin");
  EXPECT_EQ(reduce(x, ReduceKind::ArgMax, 1).dtype, DType::Idx);
  expect_ints(reduce(floats(DType::F32, {1, 4}, {kNaN, 5, 7, 7}), ReduceKind::ArgMax, 1), {2}, "ties go to the lowest index");
  expect_ints(reduce(floats(DType::F32, {1, 4}, {kNaN, 5, 2, 2}), ReduceKind::ArgMin, 1), {2}, "ties go to the lowest index");
  expect_ints(reduce(ints(DType::U64, {3}, {1, -1, 0}), ReduceKind::Max, 0), {-1}, "u64");
  expect_ints(reduce(ints(DType::I32, {3}, {1, -1, 0}), ReduceKind::ArgMin, 0), {1}, "i32");
}

void logic() {
  const Buffer x = ints(DType::Bool, {3, 2}, {0, 0, 0, 1, 1, 1});
  expect_ints(reduce(x, ReduceKind::Any, 1), {0, 1, 1}, "any");
  expect_ints(reduce(x, ReduceKind::All, 1), {0, 0, 1}, "all");
}

Buffer scan(const Buffer& x, ReduceKind kind, bool exclusive, bool reverse) {
  return compute({x}, [&](ir::Builder& b, const Values& v) {
    return Values{b.value(OpKind::Scan, {v[0]},
                          {{Attr::Kind, static_cast<std::int64_t>(kind)},
                           {Attr::Axis, std::int64_t{1}},
                           {Attr::Exclusive, std::int64_t{exclusive}},
                           {Attr::Reverse, std::int64_t{reverse}}})};
  })[0];
}

void scans() {
  const Buffer x = floats(DType::F32, {2, 3}, {1, 2, 3, 4, 5, 6});
  expect_values(scan(x, ReduceKind::Sum, false, false), {1, 3, 6, 4, 9, 15}, "sum");
  expect_values(scan(x, ReduceKind::Sum, true, false), {0, 1, 3, 0, 4, 9}, "exclusive");
  expect_values(scan(x, ReduceKind::Sum, false, true), {6, 5, 3, 15, 11, 6}, "reverse");
  expect_values(scan(x, ReduceKind::Sum, true, true), {5, 3, 0, 11, 6, 0}, "exclusive reverse");
  expect_values(scan(x, ReduceKind::Prod, true, false), {1, 1, 2, 1, 4, 20}, "exclusive prod");
  expect_values(scan(floats(DType::F32, {1, 4}, {kNaN, 2, 1, 3}), ReduceKind::Max, false, false), {kNaN, 2, 2, 3}, "max");
  expect_values(scan(floats(DType::F32, {1, 2}, {4, 2}), ReduceKind::Max, true, false), {-kInf, 4}, "exclusive max");
  expect_values(scan(floats(DType::F32, {1, 2}, {4, 2}), ReduceKind::Min, true, false), {kInf, 4}, "exclusive min");
  expect_ints(scan(ints(DType::I32, {1, 3}, {4, 2, 9}), ReduceKind::Min, false, false), {4, 2, 2}, "i32 min");
  expect_ints(scan(ints(DType::I8, {1, 2}, {4, 2}), ReduceKind::Max, true, false), {-128, 4}, "i8 exclusive max");
  expect_ints(scan(ints(DType::I8, {1, 2}, {100, 100}), ReduceKind::Sum, false, false), {100, -56}, "i8 wraps");
}

/// (s, b) o (t, c) = (s * t, b * t + c): affine maps composed left to right, which is associative and does not commute.
ir::Op* fold_affine(ir::Builder& b, OpKind kind, const Values& v, std::int64_t axis) {
  ir::Value* one = b.constant(ir::scalar(DType::F32), 1.0);
  ir::Value* zero = b.constant(ir::scalar(DType::F32), 0.0);
  ir::Op* op = b.op(kind, {v[0], v[1], one, zero}, {{Attr::Axis, axis}});
  ir::Block& region = op->region();
  for (int k = 0; k < 4; ++k) region.add_arg(ir::scalar(DType::F32));
  ir::Builder r(region);
  ir::Value* s = r.value(OpKind::Mul, {region.args[0].get(), region.args[2].get()});
  ir::Value* t = r.value(OpKind::Fma, {region.args[1].get(), region.args[2].get(), region.args[3].get()});
  r.yield({s, t});
  return op;
}

void folds() {
  const Buffer s = floats(DType::F32, {2, 3}, {1, 2, 3, 4, 5, 6});
  const Buffer t = floats(DType::F32, {2, 3}, {1, 1, 1, 2, 0, 1});
  const auto total = compute({s, t}, [](ir::Builder& b, const Values& v) {
    ir::Op* op = fold_affine(b, OpKind::ReduceWith, v, 1);
    return Values{op->result(0), op->result(1)};
  });
  EXPECT_EQ(total[0].dims, (ir::Dims{2, 1}));
  expect_values(total[0], {6, 120}, "scales");
  expect_values(total[1], {(1 * 2 + 1) * 3 + 1, 2 * 5 * 6 + 1}, "offsets");
  const auto prefix = compute({s, t}, [](ir::Builder& b, const Values& v) {
    ir::Op* op = fold_affine(b, OpKind::ScanWith, v, 1);
    return Values{op->result(0), op->result(1)};
  });
  expect_values(prefix[0], {1, 2, 6, 4, 20, 120}, "scales");
  expect_values(prefix[1], {1, 3, 10, 2, 10, 61}, "offsets");
  const auto down = compute({s, t}, [](ir::Builder& b, const Values& v) { return Values{fold_affine(b, OpKind::ReduceWith, v, 0)->result(1)}; });
  expect_values(down[0], {1 * 4 + 2, 1 * 5 + 0, 1 * 6 + 1}, "along axis 0");
}

void sorts() {
  const Buffer x = floats(DType::F32, {1, 5}, {3, kNaN, -kInf, 7, 3});
  const auto sort = [](const Buffer& in, bool descending, std::int64_t axis) {
    return compute({in}, [&](ir::Builder& b, const Values& v) {
      return Values{b.value(OpKind::Sort, {v[0]}, {{Attr::Axis, axis}, {Attr::Descending, std::int64_t{descending}}})};
    })[0];
  };
  expect_values(sort(x, false, 1), {-kInf, 3, 3, 7, kNaN}, "ascending");
  expect_values(sort(x, true, 1), {7, 3, 3, -kInf, kNaN}, "descending");
  expect_values(sort(floats(DType::F32, {3, 2}, {3, 1, 2, 5, 1, 3}), false, 0), {1, 1, 2, 3, 3, 5}, "along axis 0");
  expect_ints(sort(ints(DType::U64, {3}, {-1, 5, 0}), false, 0), {0, 5, -1}, "u64");
}

void top_k() {
  const auto got = compute({floats(DType::F32, {2, 5}, {3, kNaN, 7, 7, 1, kNaN, kNaN, kNaN, 2, kNaN})}, [](ir::Builder& b, const Values& v) {
    ir::Op* op = b.op(OpKind::TopK, {v[0]}, {{Attr::Axis, std::int64_t{1}}, {Attr::K, std::int64_t{3}}});
    return Values{op->result(0), op->result(1)};
  });
  expect_values(got[0], {7, 7, 3, 2, kNaN, kNaN}, "values");
  expect_ints(got[1], {2, 3, 0, 3, 0, 1}, "indices");
}

void histogram() {
  const auto got = compute({ints(DType::I32, {6}, {0, 2, 2, 3, -1, 2}), ints(DType::Bool, {6}, {1, 1, 0, 1, 1, 1})},
                           [](ir::Builder& b, const Values& v) { return Values{b.value(OpKind::Histogram, v, {{Attr::Size, std::int64_t{3}}})}; });
  expect_ints(got[0], {1, 0, 2}, "counts");
}

}  // namespace

std::vector<Case> axis_cases() {
  return {
      {OpKind::Reduce, "sum and prod", sums},
      {OpKind::Reduce, "NaN loses, ties go low", extremes},
      {OpKind::Reduce, "any and all", logic},
      {OpKind::Scan, "kinds and directions", scans},
      {OpKind::ReduceWith, "an operation that does not commute", folds},
      {OpKind::ScanWith, "an operation that does not commute", folds},
      {OpKind::Sort, "NaN last", sorts},
      {OpKind::TopK, "ties and NaN", top_k},
      {OpKind::Histogram, "values outside and masked", histogram},
  };
}

}  // namespace tessera::test
