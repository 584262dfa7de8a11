#include "codegen/passes/fold.h"

#include <gtest/gtest.h>

#include "codegen/passes/rewrite.h"
#include "tests/passes/kernels.h"
#include "tests/passes/support.h"

namespace tessera::test {
namespace {

/// A kernel y[M, 8] = f(x[M, 8]) of one tile row, folded after a check that the results stay.
std::unique_ptr<Kernel> folded(const std::function<Value*(KernelBuilder&, Value* x, Value* i)>& f, DType t = DType::F32) {
  KernelBuilder k("k", {"M"});
  Value* xv = k.view("x", t, {Sym::symbol("M"), 8});
  Value* yv = k.view("y", t, {Sym::symbol("M"), 8}, ir::Mode::Out);
  Value* i = k.grid("i", Sym::symbol("M"));
  Value* x = k.op(OpKind::Load, {xv, i, k.whole(8)});
  k.b.op(OpKind::Store, {yv, f(k, x, i), i, k.whole(8)});
  auto before = k.finish();
  auto after = before->clone();
  ir::fold(*after);
  expect_sound(*after);
  expect_same(run(*before, {{"M", 3}}), run(*after, {{"M", 3}}));
  return after;
}
std::size_t ops(const Kernel& k) { return ir::count_ops(k.body); }
/// What a kernel that only copies is folded to.
std::size_t copy_size() {
  static const std::size_t n = ops(*folded([](KernelBuilder&, Value* x, Value*) { return x; }));
  return n;
}

TEST(Fold, IdentitiesThatKeepTheBits) {
  auto ints = [](auto f) { return ops(*folded(f, DType::I32)); };
  auto c = [](KernelBuilder& k, std::int64_t v) { return k.b.constant(ir::scalar(DType::I32), v); };
  EXPECT_EQ(ints([&](KernelBuilder& k, Value* x, Value*) { return k.add(x, c(k, 0)); }), copy_size());
  EXPECT_EQ(ints([&](KernelBuilder& k, Value* x, Value*) { return k.mul(c(k, 1), x); }), copy_size());
  EXPECT_EQ(ints([&](KernelBuilder& k, Value* x, Value*) { return k.add(x, k.sub(x, x)); }), copy_size());
  EXPECT_EQ(ints([&](KernelBuilder& k, Value* x, Value*) { return k.op(OpKind::Not, {k.op(OpKind::Not, {x})}); }), copy_size());
  EXPECT_EQ(ints([&](KernelBuilder& k, Value* x, Value*) { return k.op(OpKind::And, {x, c(k, -1)}); }), copy_size());
  EXPECT_EQ(ints([&](KernelBuilder& k, Value* x, Value*) { return k.op(OpKind::Max, {x, x}); }), copy_size());
  EXPECT_EQ(ops(*folded([](KernelBuilder& k, Value* x, Value*) { return k.mul(x, k.f32(1)); })), copy_size());
  EXPECT_EQ(ops(*folded([](KernelBuilder& k, Value* x, Value*) { return k.select(k.op(OpKind::Lt, {x, k.f32(0)}), x, x); })), copy_size());
}

TEST(Fold, WhatWouldChangeBitsStays) {
  EXPECT_EQ(count(folded([](KernelBuilder& k, Value* x, Value*) { return k.add(x, k.f32(0)); })->body, OpKind::Add), 1) << "-0 + 0 is 0";
  EXPECT_EQ(count(folded([](KernelBuilder& k, Value* x, Value*) { return k.sub(x, x); })->body, OpKind::Sub), 1) << "NaN - NaN is NaN";
  EXPECT_EQ(count(folded([](KernelBuilder& k, Value* x, Value*) { return k.mul(x, k.f32(0)); })->body, OpKind::Mul), 1);
  EXPECT_EQ(count(folded([](KernelBuilder& k, Value* x, Value*) { return k.op(OpKind::Max, {x, k.f32(kMinusInf)}); })->body, OpKind::Max), 1);
}

TEST(Fold, ConstantsAreComputedAsTheInterpreterDoes) {
  auto k = folded(
      [](KernelBuilder& k, Value* x, Value*) {
        auto c = [&](std::int64_t v) { return k.b.constant(TileType{DType::I8, {8}}, v); };
        Value* wrapped = k.add(c(100), c(100));             // -56
        Value* floored = k.op(OpKind::Div, {c(-7), c(2)});  // -4
        Value* nothing = k.op(OpKind::Mod, {c(5), c(0)});   // 0
        Value* shifted = k.op(OpKind::Shl, {c(1), c(8)});   // 0
        return k.add(x, k.add(k.add(wrapped, floored), k.add(nothing, shifted)));
      },
      DType::I8);
  EXPECT_EQ(count(k->body, OpKind::Add), 1) << ir::print(*k);
  EXPECT_NE(ir::print(*k).find("value = -60"), std::string::npos);
}

TEST(Fold, CommonSubexpressionsButNotAcrossStores) {
  auto k = folded([](KernelBuilder& k, Value* x, Value*) { return k.add(k.op(OpKind::Exp, {x}), k.op(OpKind::Exp, {x})); });
  EXPECT_EQ(count(k->body, OpKind::Exp), 1);
  KernelBuilder b("inout", {"M"});
  Value* y = b.view("y", DType::F32, {Sym::symbol("M")}, ir::Mode::InOut);
  Value* i = b.grid("i", Sym::symbol("M"));
  auto load = [&] { return b.op(OpKind::Load, {y, i}); };
  b.b.op(OpKind::Store, {y, b.add(load(), b.f32(1)), i});
  b.b.op(OpKind::Store, {y, b.mul(load(), load()), i});
  auto before = b.finish(), after = before->clone();
  ir::fold(*after);
  EXPECT_EQ(count(after->body, OpKind::Load), 2) << "one before the first store, one between the two";
  expect_same(run(*before, {{"M", 4}}), run(*after, {{"M", 4}}));
}

TEST(Fold, WhatALoopWritesIsReadAgain) {
  KernelBuilder b("inout", {"M"});
  Value* y = b.view("y", DType::F32, {Sym::symbol("M")}, ir::Mode::InOut);
  Value* i = b.grid("i", Sym::symbol("M"));
  const auto load = [&] { return b.op(OpKind::Load, {y, i}); };
  const auto twice = [&](Value* x) { b.b.op(OpKind::Store, {y, b.add(x, load()), i}); };
  twice(load());
  b.loop(b.idx(0), b.idx(3), b.idx(1), {}, [&](Value*, const std::vector<Value*>&) {
    twice(load());
    return std::vector<Value*>{};
  });
  twice(load());
  auto before = b.finish(), after = before->clone();
  ir::fold(*after);
  EXPECT_EQ(count(after->body, OpKind::Load), 3) << ir::print(*after);
  expect_same(run(*before, {{"M", 4}}), run(*after, {{"M", 4}}));
}

// x[i + 1] everywhere, which lies outside for the last i.
TEST(Fold, GathersOfOneElementAreScalarLoads) {
  KernelBuilder k("k", {"M"});
  Value* xv = k.view("x", DType::F32, {Sym::symbol("M")});
  Value* yv = k.view("y", DType::F32, {Sym::symbol("M"), 8}, ir::Mode::Out);
  Value* i = k.grid("i", Sym::symbol("M"));
  Value* x = k.op(OpKind::Load, {xv, k.b.broadcast(k.add(i, k.idx(1)), {8})});
  k.b.op(OpKind::Store, {yv, x, i, k.whole(8)});
  auto before = k.finish();
  auto after = before->clone();
  ir::fold(*after);
  expect_sound(*after);
  expect_same(run(*before, {{"M", 3}}), run(*after, {{"M", 3}}));
  ir::walk(static_cast<const Block&>(after->body),
           [](const Op& op) { EXPECT_TRUE(op.kind != OpKind::Load || tile(op.result()->type).dims.empty()); });
}

TEST(Fold, BranchesAndLoopsThatAreDecided) {
  auto k = folded([](KernelBuilder& k, Value* x, Value*) {
    auto twice = [&](Value*, const std::vector<Value*>& st) -> std::vector<Value*> { return {k.add(st[0], st[0])}; };
    Value* never = k.loop(k.idx(5), k.idx(5), k.idx(1), {x}, twice)[0];
    Value* once = k.loop(k.idx(0), k.idx(3), k.idx(4), {never}, twice)[0];
    Op* branch = k.b.if_else(k.op(OpKind::Lt, {k.idx(1), k.idx(2)}), {once->type});
    Block& outer = k.b.block();
    for (std::size_t arm : {0U, 1U}) {
      k.b.set_block(branch->region(arm));
      k.b.yield({arm == 0 ? once : k.op(OpKind::Exp, {once})});
    }
    k.b.set_block(outer);
    return branch->result();
  });
  EXPECT_EQ(count(k->body, OpKind::For) + count(k->body, OpKind::If), 0) << ir::print(*k);
  EXPECT_EQ(count(k->body, OpKind::Add), 1);
}

TEST(Fold, InvariantCodeLeavesLoops) {
  auto k = folded([](KernelBuilder& k, Value* x, Value* i) {
    return k.loop(k.idx(0), k.add(i, k.idx(1)), k.idx(1), {x},
                  [&](Value*, const std::vector<Value*>& st) -> std::vector<Value*> { return {k.add(st[0], k.op(OpKind::Exp, {x}))}; })[0];
  });
  EXPECT_EQ(count(loops(k->body).at(0)->region(), OpKind::Exp), 0) << ir::print(*k);
}

TEST(Fold, CarriedValuesNobodyNeedsDisappear) {
  auto k = folded([](KernelBuilder& k, Value* x, Value* i) {
    return k.loop(k.idx(0), k.add(i, k.idx(2)), k.idx(1), {x, x, x}, [&](Value*, const std::vector<Value*>& st) -> std::vector<Value*> {
      return {k.add(st[0], st[2]), k.op(OpKind::Exp, {st[1]}), st[2]};
    })[0];
  });
  ASSERT_EQ(loops(k->body).size(), 1U);
  EXPECT_EQ(loops(k->body)[0]->results.size(), 1U) << ir::print(*k);
}

TEST(Fold, RangesKnownToBeFull) {
  auto with = [](std::int64_t divisor) {
    auto k = gemm(8, 8, 8);
    k->where.push_back({Compare::Eq, mod(Sym::symbol("K"), divisor), {Sym(0)}});
    ir::fold(*k);
    expect_sound(*k);
    return count(loops(k->body).at(0)->region(), OpKind::Inside);
  };
  EXPECT_EQ(with(16), 0);
  EXPECT_EQ(with(12), 1);
}

TEST(Fold, ComparisonsDecidedByIntervals) {
  auto k = folded([](KernelBuilder& k, Value* x, Value* i) {
    Value* r = k.b.range(k.mul(i, k.idx(8)), k.idx(0), k.idx(1000), 8);
    Value* c = k.op(OpKind::Coords, {r});
    Value* inside = k.op(OpKind::Lt, {k.op(OpKind::Div, {c, k.idx(8)}), k.add(i, k.idx(1))});  // c / 8 == i
    return k.select(inside, x, k.f32(5));
  });
  EXPECT_EQ(count(k->body, OpKind::Select), 0) << ir::print(*k);
}

}  // namespace
}  // namespace tessera::test
