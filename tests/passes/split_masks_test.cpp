#include "codegen/passes/split_masks.h"

#include <gtest/gtest.h>

#include "codegen/passes/drop_zeroing.h"
#include "codegen/passes/fold.h"
#include "codegen/passes/pad_states.h"
#include "tests/passes/kernels.h"
#include "tests/passes/support.h"

namespace tessera::test {
namespace {

/// All passes up to split_masks, after a check that the results stay the same.
std::unique_ptr<Kernel> split(const Kernel& before, const std::vector<Symbols>& shapes, const Scalars& scalars = {}) {
  auto kernel = before.clone();
  ir::fold(*kernel);
  ir::pad_states(*kernel);
  ir::fold(*kernel);
  ir::split_masks(*kernel);
  expect_sound(*kernel);
  for (const Symbols& s : shapes) expect_same(run(before, s, scalars), run(*kernel, s, scalars));
  ir::fold(*kernel);
  ir::drop_zeroing(*kernel);
  expect_sound(*kernel);
  for (const Symbols& s : shapes) expect_same(run(before, s, scalars), run(*kernel, s, scalars));
  return kernel;
}

const std::vector<Symbols> kShapes = {{{"Sq", 1}, {"Sk", 1}},   {{"Sq", 8}, {"Sk", 16}},  {{"Sq", 13}, {"Sk", 21}},
                                      {{"Sq", 21}, {"Sk", 13}}, {{"Sq", 40}, {"Sk", 40}}, {{"Sq", 3}, {"Sk", 70}}};

/// Selects of whole score tiles: those of columns, such as the guard against an empty row, do not count.
int tile_selects(const Op& loop) {
  int n = 0;
  ir::walk(static_cast<const Block&>(loop.region()), [&](const Op& op) {
    if (op.kind == OpKind::Select && tile(op.result()->type).dims.size() == 2 && tile(op.result()->type).dims[1] != 1) ++n;
  });
  return n;
}
std::vector<int> selects_by_loop(const Kernel& k) {
  std::vector<int> out;
  for (const Op* l : loops(k.body)) out.push_back(tile_selects(*l));
  return out;
}
int zeroed_loads(const Block& block) {
  int n = 0;
  ir::walk(block, [&](const Op& op) { n += op.kind == OpKind::Load && op.int_attr(Attr::Zero) != 0; });
  return n;
}

using Selects = std::vector<int>;

TEST(SplitMasks, UnmaskedAttentionPeelsItsTail) {
  auto k = split(*attention({}), kShapes);
  EXPECT_EQ(selects_by_loop(*k), (Selects{0, 1})) << ir::print(*k);
  EXPECT_EQ(count(loops(k->body)[0]->region(), OpKind::Dot), 2);
  EXPECT_EQ(zeroed_loads(loops(k->body)[0]->region()), 0);
}

TEST(SplitMasks, CausalAttention) {
  Attention a;
  a.keep = causal;
  auto k = split(*attention(a), kShapes);
  EXPECT_EQ(selects_by_loop(*k), (Selects{0, 1})) << ir::print(*k);
  // Skipping: the last loop does not run to the end of the keys.
  const Value* end = loops(k->body)[1]->operands[1];
  ASSERT_TRUE(end->def);
  EXPECT_EQ(end->def->kind, OpKind::Min);
}

TEST(SplitMasks, PackedHeadsDivideRows) {
  Attention a;
  a.keep = causal;
  a.group = 3;
  auto k = split(*attention(a), kShapes);
  EXPECT_EQ(selects_by_loop(*k), (Selects{0, 1})) << ir::print(*k);
}

TEST(SplitMasks, WindowIsMixedFreeMixed) {
  Attention a;
  a.keep = [](KernelBuilder& k, Value* rows, Value* cols) {
    Value* at = k.add(rows, k.sub(k.sym("Sk"), k.sym("Sq")));
    return k.op(OpKind::And, {causal(k, rows, cols), k.op(OpKind::Ge, {k.add(cols, k.idx(19)), at})});
  };
  auto k = split(*attention(a), kShapes);
  EXPECT_EQ(selects_by_loop(*k), (Selects{1, 0, 1})) << ir::print(*k);
  EXPECT_NE(loops(k->body)[0]->operands[0]->def->kind, OpKind::Const) << "trips before the window are skipped";
}

TEST(SplitMasks, ChunksOfRunTimeSize) {
  Attention a;
  a.keep = [](KernelBuilder& k, Value* rows, Value* cols) {
    Value* chunk = k.extra;
    return k.op(OpKind::And, {causal(k, rows, cols), k.op(OpKind::Eq, {k.op(OpKind::Div, {cols, chunk}), k.op(OpKind::Div, {rows, chunk})})});
  };
  a.extra = "chunk";
  auto before = attention(a);
  for (double chunk : {1.0, 8.0, 12.0, 100.0, 0.0, -5.0}) {
    auto k = split(*before, kShapes, {{"chunk", chunk}});
    EXPECT_EQ(selects_by_loop(*k), (Selects{1, 0, 1})) << ir::print(*k);
  }
}

TEST(SplitMasks, PrefixIsAUnionOfHalfLines) {
  Attention a;
  a.keep = [](KernelBuilder& k, Value* rows, Value* cols) { return k.op(OpKind::Or, {causal(k, rows, cols), k.op(OpKind::Lt, {cols, k.idx(10)})}); };
  auto k = split(*attention(a), kShapes);
  EXPECT_EQ(selects_by_loop(*k), (Selects{0, 1})) << ir::print(*k);
}

TEST(SplitMasks, ConditionsFromMemoryStay) {
  Attention a;
  a.keep = [](KernelBuilder& k, Value* rows, Value* cols) {
    // No affine form: parity of the columns, standing in for document ids.
    Value* odd = k.op(OpKind::Eq, {k.op(OpKind::Xor, {k.op(OpKind::And, {cols, k.idx(1)}), k.idx(1)}), k.idx(0)});
    return k.op(OpKind::And, {odd, causal(k, rows, cols)});
  };
  auto k = split(*attention(a), kShapes);
  EXPECT_EQ(selects_by_loop(*k), (Selects{1, 1})) << ir::print(*k);
  EXPECT_EQ(count(loops(k->body)[0]->region(), OpKind::Le), 0) << "the affine part is gone from the free loop";
  EXPECT_EQ(count(loops(k->body)[1]->region(), OpKind::Le), 1);
}

TEST(SplitMasks, TwoSoftmaxesShareTheirBounds) {
  Attention a;
  a.keep = causal;
  a.softmaxes = 2;
  auto k = split(*attention(a), kShapes);
  EXPECT_EQ(selects_by_loop(*k), (Selects{0, 2})) << ir::print(*k);
  EXPECT_EQ(loops(k->body)[1]->operands[1]->def->kind, OpKind::Min);
}

// |i - j| where j <= i holds is i - j, |j - i| too; where it does not hold throughout, and of other distances, nothing is known.
TEST(SplitMasks, DistancesKnowTheirSignWhereTheMaskHolds) {
  const auto with = [](bool flipped, std::int64_t off) {
    Attention a;
    a.keep = [=](KernelBuilder& k, Value* rows, Value* cols) { return k.op(OpKind::Le, {cols, rows}); };
    a.bias = [=](KernelBuilder& k, Value* s, Value* rows, Value* cols) {
      Value* d = flipped ? k.sub(cols, rows) : k.sub(rows, cols);
      Value* distance = k.op(OpKind::Abs, {k.add(d, k.idx(off))});
      return k.sub(s, k.b.op(OpKind::Cast, {distance}, {}, {TileType{DType::F32, tile(distance->type).dims}})->result());
    };
    return attention(a);
  };
  for (const bool flipped : {false, true}) {
    auto before = with(flipped, 0);
    auto k = split(*before, kShapes);
    ASSERT_EQ(selects_by_loop(*k), (Selects{0, 1})) << ir::print(*k);
    EXPECT_EQ(count(loops(k->body)[0]->region(), OpKind::Abs), 0) << ir::print(*k);
    EXPECT_EQ(count(loops(k->body)[0]->region(), OpKind::Neg), flipped ? 1 : 0);
    EXPECT_EQ(count(loops(k->body)[1]->region(), OpKind::Abs), 1);
  }
  EXPECT_EQ(count(loops(split(*with(false, 3), kShapes)->body)[0]->region(), OpKind::Abs), 0);
  EXPECT_EQ(count(loops(split(*with(false, -1), kShapes)->body)[0]->region(), OpKind::Abs), 1);
}

TEST(SplitMasks, SoftCapAndMask) {
  Attention a;
  a.keep = causal;
  a.score = [](KernelBuilder& k, Value* s) { return k.mul(k.op(OpKind::Tanh, {k.mul(s, k.f32(0.25))}), k.f32(4)); };
  auto k = split(*attention(a), kShapes);
  EXPECT_EQ(selects_by_loop(*k), (Selects{0, 1})) << ir::print(*k);
}

TEST(SplitMasks, GemmPeelsTheTailOfK) {
  std::vector<Symbols> shapes = {{{"M", 5}, {"N", 7}, {"K", 8}}, {{"M", 8}, {"N", 8}, {"K", 19}}, {{"M", 9}, {"N", 3}, {"K", 3}}};
  auto k = split(*gemm(8, 8, 8), shapes);
  ASSERT_EQ(loops(k->body).size(), 2U) << ir::print(*k);
  EXPECT_EQ(selects_by_loop(*k), (Selects{0, 0}));
  EXPECT_EQ(zeroed_loads(loops(k->body)[0]->region()), 0);
  EXPECT_EQ(zeroed_loads(loops(k->body)[1]->region()), 2);
}

TEST(SplitMasks, GemmOfWholeTilesStaysOneLoop) {
  auto before = gemm(8, 8, 8);
  before->where.push_back({Compare::Eq, mod(Sym::symbol("K"), 8), {Sym(0)}});
  auto k = split(*before, {{{"M", 5}, {"N", 7}, {"K", 16}}});
  ASSERT_EQ(loops(k->body).size(), 1U) << ir::print(*k);
  EXPECT_EQ(zeroed_loads(k->body), 0);
}

TEST(SplitMasks, IntegerProductNeedsOneZeroedOperand) {
  auto k = split(*gemm(8, 8, 8, DType::I8), {{{"M", 5}, {"N", 7}, {"K", 13}}});
  ASSERT_EQ(loops(k->body).size(), 2U) << ir::print(*k);
  EXPECT_EQ(zeroed_loads(loops(k->body)[1]->region()), 1);
}

}  // namespace
}  // namespace tessera::test
