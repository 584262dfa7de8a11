#include <limits>

#include "tests/dsl/interpret_support.h"

namespace tessera::test {
namespace {

using ir::Attr;
using ir::Dims;
using ir::OpKind;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

std::vector<double> counting(std::int64_t n) {
  std::vector<double> v;
  for (std::int64_t k = 0; k < n; ++k) v.push_back(static_cast<double>(k));
  return v;
}

void constants() {
  const auto got = compute({}, [](ir::Builder& b, const Values&) {
    return Values{b.constant({DType::BF16, {2}}, 1.01), b.constant({DType::I8, {1}}, std::int64_t{-3}), b.constant({DType::F32, {}}, std::int64_t{7}),
                  b.constant({DType::Bool, {}}, std::int64_t{1})};
  });
  expect_values(got[0], {round_to_float(DType::BF16, 1.01), round_to_float(DType::BF16, 1.01)}, "rounded");
  expect_ints(got[1], {-3}, "i8");
  expect_values(got[2], {7}, "f32 from an int");
  expect_ints(got[3], {1}, "bool");
}

void shapes() {
  const Buffer x = floats(DType::F32, {2, 3}, counting(6));
  const auto got = compute({x}, [](ir::Builder& b, const Values& v) {
    const auto slice =
        b.value(OpKind::Slice, {v[0]}, {{Attr::Axis, std::int64_t{1}}, {Attr::Offset, std::int64_t{1}}, {Attr::Size, std::int64_t{2}}});
    const auto down = b.value(OpKind::Concat, {v[0], v[0]}, {{Attr::Axis, std::int64_t{0}}});
    const auto side = b.value(OpKind::Concat, {slice, v[0]}, {{Attr::Axis, std::int64_t{1}}});
    return Values{b.permute(v[0], {1, 0}), b.reshape(v[0], {3, 2}), slice, down, side};
  });
  expect_values(got[0], {0, 3, 1, 4, 2, 5}, "permute");
  expect_values(got[1], counting(6), "reshape");
  expect_values(got[2], {1, 2, 4, 5}, "slice");
  expect_values(got[3], {0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5}, "concat along 0");
  expect_values(got[4], {1, 2, 0, 1, 2, 4, 5, 3, 4, 5}, "concat along 1");
}

void permute_rank3() {
  const auto got =
      compute({floats(DType::F32, {2, 3, 4}, counting(24))}, [](ir::Builder& b, const Values& v) { return Values{b.permute(v[0], {2, 0, 1})}; })[0];
  EXPECT_EQ(got.dims, (Dims{4, 2, 3}));
  for (std::int64_t i = 0; i < 4; ++i) {
    for (std::int64_t j = 0; j < 2; ++j) {
      for (std::int64_t k = 0; k < 3; ++k) EXPECT_EQ(got.get((i * 2 + j) * 3 + k), static_cast<double>((j * 3 + k) * 4 + i));
    }
  }
}

void broadcasts() {
  const auto got = compute({floats(DType::F32, {2, 1}, {1, 2}), ints(DType::I32, {}, {5})},
                           [](ir::Builder& b, const Values& v) { return Values{b.broadcast(v[0], {2, 3}), b.broadcast(v[1], {2, 2})}; });
  expect_values(got[0], {1, 1, 1, 2, 2, 2}, "column");
  expect_ints(got[1], {5, 5, 5, 5}, "scalar");
}

void picks() {
  const auto got = compute({floats(DType::F32, {2, 3}, counting(6))}, [](ir::Builder& b, const Values& v) {
    Values r;
    for (const std::int64_t at : {1, 3, -1}) r.push_back(b.value(OpKind::Pick, {v[0], b.idx(at)}, {{Attr::Axis, std::int64_t{1}}}));
    r.push_back(b.value(OpKind::Pick, {v[0], b.idx(1)}, {{Attr::Axis, std::int64_t{0}}}));
    return r;
  });
  expect_values(got[0], {1, 4}, "pick 1");
  expect_values(got[1], {0, 0}, "beyond");
  expect_values(got[2], {0, 0}, "-1");
  expect_values(got[3], {3, 4, 5}, "row 1");
}

Buffer dot(const Buffer& a, const Buffer& b, const InterpretOptions& options = {}) {
  return compute({a, b}, [](ir::Builder& m, const Values& v) { return Values{m.value(OpKind::Dot, {v[0], v[1]})}; }, options)[0];
}

void products() {
  const Buffer y = dot(floats(DType::BF16, {2, 3}, {1, 2, 3, 4, 5, 6}), floats(DType::BF16, {3, 2}, {1, 0, 0, 1, 1, 1}));
  EXPECT_EQ(y.dtype, DType::F32);
  expect_values(y, {4, 5, 10, 11}, "bf16");
  expect_values(dot(floats(DType::E4M3, {1, 2}, {448, 2}), floats(DType::E5M2, {2, 1}, {2, 0.5})), {897}, "fp8 pair");
  expect_values(dot(floats(DType::F32, {1, 2}, {kNaN, 1}), floats(DType::F32, {2, 1}, {0, 1})), {kNaN}, "NaN times zero is NaN");
  const Buffer n = dot(ints(DType::I8, {1, 2}, {-128, 127}), ints(DType::I8, {2, 1}, {-128, 127}));
  EXPECT_EQ(n.dtype, DType::I32);
  expect_ints(n, {128 * 128 + 127 * 127}, "i8");
  expect_ints(dot(ints(DType::I8, {1, 1}, {-2}), ints(DType::U8, {1, 1}, {200})), {-400}, "i8 times u8");
  expect_ints(dot(ints(DType::I32, {1, 2}, {65536, 1}), ints(DType::I32, {2, 1}, {65536, 3})), {3}, "i32 wraps");
  // An f32 sum cannot hold 2^24 + 1, an exact run can.
  const Buffer big = floats(DType::F32, {1, 2}, {0x1p24, 1});
  const Buffer ones = floats(DType::F32, {2, 1}, {1, 1});
  expect_values(dot(big, ones), {0x1p24}, "rounds to f32");
  expect_values(dot(floats(DType::F64, {1, 2}, {0x1p24, 1}), floats(DType::F64, {2, 1}, {1, 1})), {0x1p24 + 1}, "f64 stays f64");
}

void scaled_products() {
  const Buffer a = floats(DType::E2M1, {1, 4}, {1, 2, 3, 4});
  const Buffer sa = floats(DType::E8M0, {1, 2}, {2, 0.5});
  const Buffer b = floats(DType::E4M3, {4, 2}, {1, 1, 1, 2, 1, 3, 1, 4});
  const Buffer sb = floats(DType::E8M0, {2, 2}, {1, 4, 2, 1});
  const auto got = compute({a, sa, b, sb}, [](ir::Builder& m, const Values& v) { return Values{m.value(OpKind::DotScaled, v)}; })[0];
  // column 0: 2*(1*1 + 2*1)*1 + .5*(3 + 4)*2; column 1: 2*(1*1 + 2*2)*4 + .5*(3*3 + 4*4)*1
  expect_values(got, {13, 52.5}, "dot_scaled");
}

void solve() {
  // The diagonal and the upper part of a are ignored.
  const Buffer a = floats(DType::F32, {3, 3}, {9, 9, 9, 2, 9, 9, 1, 3, 9});
  const Buffer r = floats(DType::F32, {3, 2}, {1, 0, 5, 1, 20, 1});
  const auto got = compute({a, r}, [](ir::Builder& m, const Values& v) { return Values{m.value(OpKind::SolveLower, v)}; })[0];
  expect_values(got, {1, 0, 3, 1, 10, -2}, "solve");
}

}  // namespace

std::vector<Case> tile_cases() {
  return {
      {OpKind::Const, "splats, rounded to the dtype", constants},
      {OpKind::Iota, "0, 1, ..",
       [] {
         const auto got =
             compute({}, [](ir::Builder& b, const Values&) { return Values{b.op(OpKind::Iota, {}, {}, {ir::TileType{DType::Idx, {4}}})->result()}; });
         expect_ints(got[0], {0, 1, 2, 3}, "iota");
       }},
      {OpKind::Broadcast, "columns and scalars", broadcasts},
      {OpKind::Reshape, "keeps row-major order", shapes},
      {OpKind::Permute, "rank 2", shapes},
      {OpKind::Permute, "rank 3", permute_rank3},
      {OpKind::Slice, "offset and size", shapes},
      {OpKind::Concat, "both axes", shapes},
      {OpKind::Pick, "inside and outside", picks},
      {OpKind::Dot, "dtypes and accumulators", products},
      {OpKind::DotScaled, "scales a group of k", scaled_products},
      {OpKind::SolveLower, "unit lower triangle", solve},
  };
}

}  // namespace tessera::test
