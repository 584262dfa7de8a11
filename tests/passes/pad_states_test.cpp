#include "codegen/passes/pad_states.h"

#include <gtest/gtest.h>

#include "codegen/passes/fold.h"
#include "tests/passes/kernels.h"
#include "tests/passes/support.h"

namespace tessera::test {
namespace {

const std::vector<Symbols> kShapes = {{{"Sq", 1}, {"Sk", 1}}, {{"Sq", 8}, {"Sk", 16}}, {{"Sq", 13}, {"Sk", 21}}, {{"Sq", 21}, {"Sk", 13}}};

/// Folded and padded, after a check that both steps keep the results.
std::unique_ptr<Kernel> padded(const Kernel& before, const std::vector<Symbols>& shapes = kShapes) {
  auto kernel = before.clone();
  ir::fold(*kernel);
  expect_sound(*kernel);
  for (const Symbols& s : shapes) expect_same(run(before, s), run(*kernel, s));
  ir::pad_states(*kernel);
  expect_sound(*kernel);
  for (const Symbols& s : shapes) expect_same(run(before, s), run(*kernel, s));
  ir::fold(*kernel);
  return kernel;
}

struct Left {
  int guards = 0;  ///< selects of tiles whose condition comes from `inside`
  int others = 0;  ///< other selects of tiles wider than a column
  int zeroed = 0;  ///< loads with {zero}
  friend bool operator==(const Left&, const Left&) = default;
  friend std::ostream& operator<<(std::ostream& out, const Left& l) {
    return out << l.guards << " guards, " << l.others << " others, " << l.zeroed << " zeroed";
  }
};

bool from_inside(const Value* c) {
  if (!c->def) return false;
  if (c->def->kind == OpKind::Inside) return true;
  if (c->def->kind != OpKind::And && c->def->kind != OpKind::Reshape && c->def->kind != OpKind::Not && c->def->kind != OpKind::Or) return false;
  return std::any_of(c->def->operands.begin(), c->def->operands.end(), [](const Value* v) { return is_tile(v->type) && from_inside(v); });
}

/// What is left in the first loop of the kernel, or anywhere if it has none.
Left left(const Kernel& k) {
  Left l;
  auto look = [&](const Op& op) {
    l.zeroed += op.kind == OpKind::Load && op.int_attr(Attr::Zero) != 0;
    if (op.kind != OpKind::Select) return;
    if (from_inside(op.operands[0]) || op.operands[0]->def->kind == OpKind::Inside) {
      ++l.guards;
    } else if (tile(op.result()->type).rank() == 2 && tile(op.result()->type).dims[1] != 1) {
      ++l.others;
    }
  };
  auto all = loops(k.body);
  ir::walk(all.empty() ? static_cast<const Block&>(k.body) : static_cast<const Block&>(all[0]->region()), look);
  return l;
}

TEST(PadStates, ScoresCarryTheWholeMask) {
  EXPECT_EQ(left(*padded(*attention({}))), (Left{1, 0, 1}));
  Attention a;
  a.keep = causal;
  auto k = padded(*attention(a));
  EXPECT_EQ(left(*k), (Left{1, 0, 1})) << ir::print(*k);
  EXPECT_EQ(count(loops(k->body)[0]->region(), OpKind::Inside), 1);
}

TEST(PadStates, TwoSoftmaxesHaveOneEach) {
  Attention a;
  a.keep = causal;
  a.softmaxes = 2;
  auto k = padded(*attention(a));
  EXPECT_EQ(left(*k), (Left{2, 0, 1})) << ir::print(*k);
}

TEST(PadStates, ScoresThatAreChangedAfterwards) {
  Attention a;
  a.score = [](KernelBuilder& k, Value* s) { return k.mul(k.op(OpKind::Tanh, {s}), k.f32(30)); };
  EXPECT_EQ(left(*padded(*attention(a))), (Left{1, 0, 1}));
}

/// acc += weight(s) v without softmax.
std::unique_ptr<Kernel> weighted(const std::function<Value*(KernelBuilder&, Value* s, Value* rows, Value* cols)>& weight) {
  KernelBuilder k("weighted", {"Sq", "Sk"});
  Value* qv = k.view("q", DType::F32, {Sym::symbol("Sq"), 4});
  Value* kv = k.view("k", DType::F32, {Sym::symbol("Sk"), 4});
  Value* vv = k.view("v", DType::F32, {Sym::symbol("Sk"), 4});
  Value* ov = k.view("o", DType::F32, {Sym::symbol("Sq"), 4}, ir::Mode::Out);
  Value* i = k.grid("i", ceil_div(Sym::symbol("Sq"), 8));
  Value* qi = k.b.range(k.mul(i, k.idx(8)), k.idx(0), k.sym("Sq"), 8);
  Value* d = k.whole(4);
  auto acc = k.loop(k.idx(0), k.sym("Sk"), k.idx(8), {k.fill(0, {8, 4})}, [&](Value* j, const std::vector<Value*>& st) -> std::vector<Value*> {
    Value* kj = k.b.range(j, k.idx(0), k.sym("Sk"), 8);
    Value* s = k.op(OpKind::Dot, {k.op(OpKind::Load, {qv, qi, d}), k.transpose(k.op(OpKind::Load, {kv, kj, d}))});
    Value* p = weight(k, s, k.rows(qi), k.cols(kj));
    return {k.add(st[0], k.op(OpKind::Dot, {k.guard(kj, 1, p, 0), k.guard(kj, 0, k.op(OpKind::Load, {vv, kj, d}), 0)}))};
  });
  k.b.op(OpKind::Store, {ov, acc[0], qi, d});
  return k.finish();
}

TEST(PadStates, SigmoidOfPaddingIsNotZero) {
  auto bare = padded(*weighted([](KernelBuilder& k, Value* s, Value*, Value*) { return k.op(OpKind::Sigmoid, {k.add(s, k.f32(1))}); }));
  EXPECT_EQ(left(*bare), (Left{1, 0, 1})) << ir::print(*bare);
  auto masked = padded(*weighted([](KernelBuilder& k, Value* s, Value* rows, Value* cols) {
    return k.select(k.op(OpKind::Le, {cols, rows}), k.op(OpKind::Sigmoid, {s}), k.f32(0));
  }));
  EXPECT_EQ(left(*masked), (Left{1, 0, 1})) << ir::print(*masked);
}

TEST(PadStates, ZeroTimesWhatMayNotBeFiniteIsGuarded) {
  // p / s may be 0 / 0 in the padding even if p is zero there.
  auto k = padded(*weighted([](KernelBuilder& k, Value* s, Value*, Value*) { return k.op(OpKind::Div, {k.mul(s, k.f32(0)), s}); }));
  EXPECT_EQ(left(*k).guards, 1) << ir::print(*k);
}

TEST(PadStates, ProductsAskForZeros) {
  auto k = padded(*gemm(8, 8, 8), {{{"M", 5}, {"N", 9}, {"K", 11}}});
  EXPECT_EQ(left(*k), (Left{0, 0, 2})) << ir::print(*k);
  auto ints = padded(*gemm(8, 8, 8, DType::I8), {{{"M", 5}, {"N", 9}, {"K", 11}}});
  EXPECT_EQ(left(*ints), (Left{0, 0, 1})) << "integers in padding are finite";
}

TEST(PadStates, ChainedProducts) {
  // (a b) c with b's columns, c's rows along one partial range: zero columns of b make zero columns of a b only if a is finite.
  KernelBuilder k("chain", {"M", "N"});
  Value* av = k.view("a", DType::F32, {Sym::symbol("M"), 4});
  Value* bv = k.view("b", DType::F32, {4, Sym::symbol("N")});
  Value* cv = k.view("c", DType::F32, {Sym::symbol("N"), 4});
  Value* yv = k.view("y", DType::F32, {Sym::symbol("M"), 4}, ir::Mode::Out);
  Value* i = k.grid("i", ceil_div(Sym::symbol("M"), 8));
  Value* mi = k.b.range(k.mul(i, k.idx(8)), k.idx(0), k.sym("M"), 8);
  auto acc = k.loop(k.idx(0), k.sym("N"), k.idx(8), {k.fill(0, {8, 4})}, [&](Value* j, const std::vector<Value*>& st) -> std::vector<Value*> {
    Value* nj = k.b.range(j, k.idx(0), k.sym("N"), 8);
    Value* ab = k.op(OpKind::Dot, {k.op(OpKind::Load, {av, mi, k.whole(4)}), k.op(OpKind::Load, {bv, k.whole(4), nj})});
    return {k.add(st[0], k.op(OpKind::Dot, {k.guard(nj, 1, ab, 0), k.guard(nj, 0, k.op(OpKind::Load, {cv, nj, k.whole(4)}), 0)}))};
  });
  k.b.op(OpKind::Store, {yv, acc[0], mi, k.whole(4)});
  auto after = padded(*k.finish(), {{{"M", 5}, {"N", 11}}});
  EXPECT_EQ(left(*after), (Left{1, 0, 1})) << ir::print(*after);
}

/// y[n] = f over the rows of x[M, N], columns in tiles; M fits one partial tile.
std::unique_ptr<Kernel> over_rows(ReduceKind kind, double identity, const std::function<Value*(KernelBuilder&, Value*)>& f) {
  KernelBuilder k("over_rows", {"M", "N"});
  Value* xv = k.view("x", DType::F32, {Sym::symbol("M"), Sym::symbol("N")});
  Value* yv = k.view("y", DType::F32, {Sym::symbol("N")}, ir::Mode::Out);
  Value* i = k.grid("i", ceil_div(Sym::symbol("N"), 8));
  Value* ni = k.b.range(k.mul(i, k.idx(8)), k.idx(0), k.sym("N"), 8);
  Value* mr = k.b.range(k.idx(0), k.idx(0), k.sym("M"), 8);
  Value* x = f(k, k.op(OpKind::Load, {xv, mr, ni}));
  k.b.op(OpKind::Store, {yv, k.b.reshape(k.b.reduce(kind, k.guard(mr, 0, x, identity), 0), {8}), ni});
  return k.finish();
}

TEST(PadStates, ReductionsOverTheOtherAxis) {
  const std::vector<Symbols> shapes = {{{"M", 3}, {"N", 11}}, {{"M", 8}, {"N", 8}}};
  auto same = [](KernelBuilder&, Value* x) { return x; };
  EXPECT_EQ(left(*padded(*over_rows(ReduceKind::Sum, 0, same), shapes)), (Left{0, 0, 1}));
  EXPECT_EQ(left(*padded(*over_rows(ReduceKind::Max, kMinusInf, same), shapes)), (Left{1, 0, 0}));
  EXPECT_EQ(left(*padded(*over_rows(ReduceKind::Prod, 1, [](KernelBuilder& k, Value* x) { return k.op(OpKind::Exp, {x}); }), shapes)),
            (Left{0, 0, 1}))
      << "exp(0) = 1";
  EXPECT_EQ(left(*padded(*over_rows(ReduceKind::Max, kMinusInf, [](KernelBuilder& k, Value* x) { return k.op(OpKind::Ln, {x}); }), shapes)),
            (Left{0, 0, 1}))
      << "ln(0) = -inf";
}

TEST(PadStates, PaddingThatIsLookedAtStays) {
  // The sum sees x + 1 in its padding as well (a whole tile by decree), the maximum does not.
  KernelBuilder k("seen", {"M"});
  Value* xv = k.view("x", DType::F32, {Sym::symbol("M"), 8});
  Value* yv = k.view("y", DType::F32, {2}, ir::Mode::Scatter);
  k.grid("i", 1);
  Value* mr = k.b.range(k.idx(0), k.idx(0), k.sym("M"), 8);
  Value* x = k.op(OpKind::Load, {xv, mr, k.whole(8)}, {{Attr::Zero, std::int64_t{1}}});
  Value* y = k.add(x, k.f32(1));
  Value* sum = k.b.reduce(ReduceKind::Sum, y, 0);
  Value* top = k.b.reduce(ReduceKind::Max, k.guard(mr, 0, y, kMinusInf), 0);
  for (auto [at, v] : {std::pair<std::int64_t, Value*>{0, sum}, {1, top}})
    k.b.op(OpKind::Store, {yv, k.b.reshape(k.b.reduce(ReduceKind::Sum, v, 1), {}), k.idx(at)});
  auto after = padded(*k.finish(), {{{"M", 5}}});
  EXPECT_EQ(left(*after).guards, 1) << ir::print(*after);
}

TEST(PadStates, AssignmentsToRowsThatNobodySees) {
  // acc = select(rows valid, acc + x, acc), stored by the same rows.
  KernelBuilder k("assigned", {"M", "N"});
  Value* xv = k.view("x", DType::F32, {Sym::symbol("M"), Sym::symbol("N")});
  Value* yv = k.view("y", DType::F32, {Sym::symbol("M")}, ir::Mode::Out);
  Value* i = k.grid("i", ceil_div(Sym::symbol("M"), 8));
  Value* mi = k.b.range(k.mul(i, k.idx(8)), k.idx(0), k.sym("M"), 8);
  auto acc = k.loop(k.idx(0), k.sym("N"), k.idx(8), {k.fill(0, {8, 1})}, [&](Value* j, const std::vector<Value*>& st) -> std::vector<Value*> {
    Value* nj = k.b.range(j, k.idx(0), k.sym("N"), 8);
    Value* sum = k.b.reduce(ReduceKind::Sum, k.guard(nj, 1, k.op(OpKind::Load, {xv, mi, nj}), 0), 1);
    return {k.select(k.column(k.op(OpKind::Inside, {mi})), k.add(st[0], sum), st[0])};
  });
  k.b.op(OpKind::Store, {yv, k.b.reshape(acc[0], {8}), mi});
  auto after = padded(*k.finish(), {{{"M", 5}, {"N", 11}}, {{"M", 16}, {"N", 3}}});
  EXPECT_EQ(left(*after), (Left{0, 0, 1})) << ir::print(*after);
}

TEST(PadStates, AssignmentsOfRaggedChunksStay) {
  // ss = select(columns valid, ss + t * t, ss): the next chunk is another one.
  KernelBuilder k("chunks", {"N"});
  Value* xv = k.view("x", DType::F32, {Sym::symbol("N")});
  Value* yv = k.view("y", DType::F32, {8}, ir::Mode::Out);
  k.grid("i", 1);
  auto ss = k.loop(k.idx(0), k.sym("N"), k.idx(8), {k.fill(0, {8})}, [&](Value* j, const std::vector<Value*>& st) -> std::vector<Value*> {
    Value* nj = k.b.range(j, k.idx(0), k.sym("N"), 8);
    Value* t = k.op(OpKind::Load, {xv, nj});
    return {k.select(k.op(OpKind::Inside, {nj}), k.add(st[0], k.mul(t, t)), st[0])};
  });
  k.b.op(OpKind::Store, {yv, ss[0], k.whole(8)});
  auto after = padded(*k.finish(), {{{"N", 5}}, {{"N", 21}}});
  EXPECT_EQ(left(*after), (Left{1, 0, 0})) << ir::print(*after);
}

}  // namespace
}  // namespace tessera::test
