#include "codegen/passes/algebra.h"

#include <gtest/gtest.h>

#include "codegen/passes/pipeline.h"
#include "tests/passes/kernels.h"
#include "tests/passes/support.h"

namespace tessera::test {
namespace {

std::unique_ptr<Kernel> lowered(const Kernel& before, const PassOptions& options = {}) {
  auto kernel = before.clone();
  Diagnostics ds;
  EXPECT_TRUE(run_target_free_passes(*kernel, ds, options));
  return kernel;
}
int in_first_loop(const Kernel& k, OpKind kind, std::int64_t columns) {
  int n = 0;
  ir::walk(static_cast<const Block&>(loops(k.body).at(0)->region()), [&](const Op& op) {
    n += op.kind == kind && !op.results.empty() && is_tile(op.result()->type) && tile(op.result()->type).rank() == 2 &&
         tile(op.result()->type).dims[1] == columns;
  });
  return n;
}

/// Attention with tiles of 16 keys, so that score tiles are told from the others by their columns.
std::unique_ptr<Kernel> scores(bool positive) {
  Attention a;
  a.bn = 16;
  a.keep = causal;
  a.positive_scale = positive;
  return attention(a);
}

TEST(Algebra, SoftmaxIsOneFmaAndOneExp2AnElement) {
  auto before = scores(true);
  auto k = lowered(*before);
  EXPECT_EQ(in_first_loop(*k, OpKind::Fma, 16), 1) << ir::print(*k);
  EXPECT_EQ(in_first_loop(*k, OpKind::Exp2, 16), 1);
  EXPECT_EQ(in_first_loop(*k, OpKind::Mul, 16), 0);
  EXPECT_EQ(count(k->body, OpKind::Exp), 0);
  EXPECT_EQ(count(k->body, OpKind::Div), 1) << "a bound of a loop; none of tiles";
  for (const Symbols& s : {Symbols{{"Sq", 13}, {"Sk", 37}}, Symbols{{"Sq", 40}, {"Sk", 21}}}) expect_same(run(*before, s), run(*k, s), 2e-3);
}

// 4 tanh(scale s / 4): the scale and the quarter are one factor, and the 4 goes where the scale of a plain softmax goes.
TEST(Algebra, SoftCapIsOneMultiplicationMore) {
  Attention a;
  a.bn = 16;
  a.keep = causal;
  a.positive_scale = true;
  a.score = [](KernelBuilder& k, Value* s) { return k.mul(k.op(OpKind::Tanh, {k.op(OpKind::Div, {s, k.f32(4)})}), k.f32(4)); };
  auto before = attention(a);
  auto k = lowered(*before);
  EXPECT_EQ(in_first_loop(*k, OpKind::Mul, 16), 1) << ir::print(*k);
  EXPECT_EQ(in_first_loop(*k, OpKind::Fma, 16), 1);
  EXPECT_EQ(in_first_loop(*k, OpKind::Tanh, 16), 1);
  EXPECT_EQ(in_first_loop(*k, OpKind::Tanh, 1), 1) << "of the maximum, which waits for no tanh";
  expect_same(run(*before, {{"Sq", 13}, {"Sk", 37}}), run(*k, {{"Sq", 13}, {"Sk", 37}}), 2e-3);
}

TEST(Algebra, ScaleOfUnknownSignStaysInTheScores) {
  auto before = scores(false);
  auto k = lowered(*before);
  EXPECT_EQ(in_first_loop(*k, OpKind::Mul, 16), 1) << ir::print(*k);
  for (double scale : {0.5, 0.0, -0.5})
    expect_same(run(*before, {{"Sq", 13}, {"Sk", 37}}, {{"scale", scale}}), run(*k, {{"Sq", 13}, {"Sk", 37}}, {{"scale", scale}}), 2e-3);
}

TEST(Algebra, StrictKernelsKeepTheirArithmetic) {
  auto before = scores(true);
  PassOptions strict;
  strict.strict = true;
  auto k = lowered(*before, strict);
  EXPECT_EQ(count(k->body, OpKind::Fma) + count(k->body, OpKind::Exp2) + count(k->body, OpKind::Rcp), 0);
  before->strict = true;
  EXPECT_EQ(count(lowered(*before)->body, OpKind::Exp2), 0);
  expect_same(run(*before, {{"Sq", 13}, {"Sk", 37}}), run(*k, {{"Sq", 13}, {"Sk", 37}}));
}

/// y[M, 8] = f(x[M, 8], c[M, 1]) and the largest relative error `algebra` brings.
double error_of(const std::function<Value*(KernelBuilder&, Value* x, Value* c)>& f) {
  KernelBuilder k("k", {"M"});
  Value* xv = k.view("x", DType::F32, {Sym::symbol("M"), 8});
  Value* cv = k.view("c", DType::F32, {Sym::symbol("M"), 1});
  Value* yv = k.view("y", DType::F32, {Sym::symbol("M"), 8}, ir::Mode::Out);
  Value* i = k.grid("i", ceil_div(Sym::symbol("M"), 8));
  Value* r = k.b.range(k.mul(i, k.idx(8)), k.idx(0), k.sym("M"), 8);
  Value* y = f(k, k.op(OpKind::Load, {xv, r, k.whole(8)}), k.op(OpKind::Load, {cv, r, k.whole(1)}));
  k.b.op(OpKind::Store, {yv, y, r, k.whole(8)});
  auto before = k.finish(), after = before->clone();
  ir::algebra(*after);
  expect_sound(*after);
  EXPECT_NE(ir::print(*before), ir::print(*after));
  const Symbols shape{{"M", 200}};
  auto a = run(*before, shape), b = run(*after, shape);
  double worst = 0;
  for (std::int64_t n = 0; n < a["y"].size(); ++n) {
    const double u = a["y"].get(n), v = b["y"].get(n);
    if (u == v || (std::isnan(u) && std::isnan(v))) continue;
    worst = std::max(worst, std::fabs(u - v) / std::fabs(u));
  }
  return worst;
}

constexpr double kUlp = 1.2e-7;

TEST(Algebra, ErrorsAreAFewUlp) {
  EXPECT_LE(error_of([](KernelBuilder& k, Value* x, Value*) { return k.op(OpKind::Exp, {x}); }), 6 * kUlp);
  EXPECT_LE(error_of([](KernelBuilder& k, Value* x, Value* c) { return k.op(OpKind::Exp, {k.sub(x, c)}); }), 12 * kUlp);
  EXPECT_LE(error_of([](KernelBuilder& k, Value* x, Value* c) { return k.op(OpKind::Div, {x, c}); }), 2 * kUlp);
  EXPECT_LE(error_of([](KernelBuilder& k, Value* x, Value*) { return k.op(OpKind::Ln, {k.op(OpKind::Abs, {x})}); }), 2 * kUlp);
}

TEST(Algebra, InfinitiesSurvive) {
  auto f = [](KernelBuilder& k, Value* x, Value* c) {
    Value* s = k.select(k.op(OpKind::Lt, {x, k.f32(0)}), k.f32(kMinusInf), x);
    return k.op(OpKind::Exp, {k.sub(s, k.mul(c, k.f32(1e38)))});  // z beyond 2^127 / log2(e) among them
  };
  KernelBuilder unused("k", {});
  EXPECT_LE(error_of(f), 1) << "zeros stay zeros, and no NaN arises";
}

}  // namespace
}  // namespace tessera::test
