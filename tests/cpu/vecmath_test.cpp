// Elementary functions against long double: bounds in ulp over random and special values, on every target this machine can run.
#include "codegen/cpu/vecmath.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "tests/cpu/emit_jit.h"

namespace tessera::cpu {
namespace {

using test::Jit;
using test::JitTarget;
using UnaryEmitter = std::function<llvm::Value*(Emitter&, llvm::Value*)>;
using Reference = long double (*)(long double);

constexpr float kInf = std::numeric_limits<float>::infinity();

/// y[i] = f(x[i]) for a whole array whose length is a multiple of `lanes`.
template <typename T>
std::vector<T> apply(const JitTarget& target, const UnaryEmitter& f, const std::vector<T>& x, int lanes) {
  Jit jit;
  void* p = jit.compile(target, "map", [&](Emitter& e) {
    auto* fn = test::begin_function(e, "map", {e.ptr(), e.ptr(), e.i64()});
    llvm::Type* scalar = sizeof(T) == 4 ? e.f32() : e.f64();
    llvm::Type* t = lanes == 1 ? scalar : static_cast<llvm::Type*>(e.vec(scalar, lanes));
    e.loop(e.idx(0), fn->getArg(2), e.idx(lanes), false, [&](llvm::Value* i) {
      llvm::Value* v = e.load(t, e.at(scalar, fn->getArg(0), i), sizeof(T));
      e.store(f(e, v), e.at(scalar, fn->getArg(1), i), sizeof(T));
    });
    e.b.CreateRetVoid();
  });
  std::vector<T> y(x.size());
  reinterpret_cast<void (*)(const T*, T*, std::int64_t)>(p)(x.data(), y.data(), static_cast<std::int64_t>(x.size()));
  return y;
}

/// Distance from the true value in units of the last place of the float nearest to it.
double ulps(float got, long double want) {
  if (std::isnan(want)) return std::isnan(got) ? 0 : INFINITY;
  const float nearest = static_cast<float>(want);
  if (std::isinf(nearest) || std::isinf(got) || std::isnan(got)) {
    // One step from the largest float to infinity is as good as any other step.
    if (got == nearest) return 0;
    return std::fabs(got) >= 3.40282e38f && std::fabs(nearest) >= 3.40282e38f && got * nearest > 0 ? 1 : INFINITY;
  }
  const float a = std::fabs(nearest);
  const long double unit = a < 1.17549435e-38f ? 0x1p-149L : static_cast<long double>(std::nextafter(a, kInf)) - a;
  return static_cast<double>(std::fabs(static_cast<long double>(got) - want) / unit);
}

std::vector<float> specials() {
  std::vector<float> s = {0.f, -0.f, 1.f, -1.f, kInf, -kInf, std::nanf(""), 1.17549435e-38f, 1e-45f, -1e-45f, 1e-40f, 3.4028235e38f, -3.4028235e38f};
  for (float x : {-104.f,     -103.9f,    -103.f,     -88.f,  -87.3f,      87.3f,   88.7f,  88.72f, 88.73f, 89.f,   126.f, 127.f,
                  127.9f,     128.f,      -126.f,     -127.f, -149.f,      -149.5f, -150.f, -151.f, 0.625f, 0.928f, 0.5f,  -0.5f,
                  1.5707964f, 3.1415927f, 6.2831855f, 1e6f,   268435456.f, 2.5e8f,  3e8f,   1e10f,  1e20f,  1e38f})
    s.insert(s.end(), {x, -x, std::nextafter(x, kInf), std::nextafter(x, -kInf)});
  return s;
}

std::vector<float> samples(float lo, float hi, int count) {
  std::mt19937 random(7);
  std::uniform_real_distribution<float> uniform(lo, hi);
  std::vector<float> x = specials();
  while (static_cast<int>(x.size()) < count) x.push_back(uniform(random));
  while (static_cast<int>(x.size()) < 2 * count || x.size() % 48) x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(random())));
  return x;
}

struct Case {
  const char* name;
  UnaryEmitter emit;
  Reference reference;
  float lo, hi;  ///< where half of the samples lie; the others are arbitrary bits
  double bound;
};

long double sigmoid_reference(long double x) { return 1 / (1 + std::exp(-x)); }
long double rsqrt_reference(long double x) { return 1 / std::sqrt(x); }
long double rcp_reference(long double x) { return 1 / x; }
long double round_reference(long double x) { return std::nearbyint(x); }

std::vector<Case> cases() {
  auto full = [](llvm::Value* (*f)(Emitter&, llvm::Value*, Accuracy)) { return [f](Emitter& e, llvm::Value* x) { return f(e, x, Accuracy::F32); }; };
  return {{"exp2", full(emit_exp2), std::exp2, -150, 130, 2},
          {"exp", full(emit_exp), std::exp, -105, 90, 2},
          {"ln", emit_ln, std::log, 0, 3, 2},
          {"log2", emit_log2, std::log2, 0, 3, 2},
          {"tanh", full(emit_tanh), std::tanh, -10, 10, 2},
          {"sigmoid", full(emit_sigmoid), sigmoid_reference, -105, 20, 2},
          {"erf", emit_erf, std::erf, -4.5, 4.5, 2},
          {"sin", emit_sin, std::sin, -1e6f, 1e6f, 2},
          {"cos", emit_cos, std::cos, -100, 100, 2},
          {"sqrt", emit_sqrt, std::sqrt, 0, 100, 0.5},
          {"rsqrt", emit_rsqrt, rsqrt_reference, 0, 100, 2},
          {"rcp", emit_rcp, rcp_reference, -10, 10, 0.5},
          {"floor", emit_floor, std::floor, -1e5f, 1e5f, 0},
          {"ceil", emit_ceil, std::ceil, -1e5f, 1e5f, 0},
          {"round", emit_round, round_reference, -1e5f, 1e5f, 0}};
}

void expect_within(const std::vector<float>& x, const std::vector<float>& y, Reference reference, double bound, const std::string& what) {
  double worst = 0;
  float at = 0, got = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double u = ulps(y[i], reference(x[i]));
    if (!(u <= worst)) worst = u, at = x[i], got = y[i];
  }
  EXPECT_LE(worst, bound) << what << "(" << at << ") = " << got << ", want " << static_cast<double>(reference(at));
}

TEST(VecMath, WithinBoundsOfTrueValues) {
  for (const JitTarget& target : test::runnable_targets())
    for (const Case& c : cases()) {
      const std::vector<float> x = samples(c.lo, c.hi, 60000);
      expect_within(x, apply(target, c.emit, x, 16), c.reference, c.bound, target.name + " " + c.name);
    }
}

TEST(VecMath, AnyNumberOfLanes) {
  for (const JitTarget& target : test::runnable_targets())
    for (const Case& c : cases())
      for (int lanes : {1, 3, 8, 24, 48}) {
        const std::vector<float> x = samples(c.lo, c.hi, 480);
        expect_within(x, apply(target, c.emit, x, lanes), c.reference, c.bound, target.name + " " + c.name + " x " + std::to_string(lanes));
      }
}

TEST(VecMath, NearZerosOfSineAndLogarithm) {
  std::vector<float> x;
  for (int k = 1; k < 2000; ++k)
    for (float p : {static_cast<float>(k * 1.5707963267948966), static_cast<float>(k * 517.0 * 1.5707963267948966)})
      x.insert(x.end(), {p, std::nextafter(p, 0.f), std::nextafter(p, kInf), -p});
  std::vector<float> y;
  for (float p = 1; y.size() < 8000; p = std::nextafter(p, 2.f)) y.insert(y.end(), {p, 2.f - p});
  for (const JitTarget& target : test::runnable_targets()) {
    x.resize(x.size() / 16 * 16);
    expect_within(x, apply<float>(target, emit_sin, x, 16), std::sin, 2, target.name + " sin");
    expect_within(x, apply<float>(target, emit_cos, x, 16), std::cos, 2, target.name + " cos");
    expect_within(y, apply<float>(target, emit_ln, y, 16), std::log, 2, target.name + " ln");
    expect_within(y, apply<float>(target, emit_log2, y, 16), std::log2, 2, target.name + " log2");
  }
}

TEST(VecMath, ExactValues) {
  const std::vector<float> x = {0, -kInf, kInf, 1, -1, 10, -149, 128, -0.f, -1000, 1000, 3, 2, 4, 5, 6};
  const std::vector<float> want = {1, 0, kInf, 2, 0.5f, 1024, 0x1p-149f, kInf, 1, 0, kInf, 8, 4, 16, 32, 64};
  for (const JitTarget& target : test::runnable_targets())
    for (Accuracy a : {Accuracy::F32, Accuracy::F16, Accuracy::BF16}) {
      const auto y = apply<float>(target, [a](Emitter& e, llvm::Value* v) { return emit_exp2(e, v, a); }, x, 16);
      // The short polynomials are exact at whole numbers too: the fraction is 0 there.
      EXPECT_EQ(y, want) << target.name;
      const auto z = apply<float>(target, [a](Emitter& e, llvm::Value* v) { return emit_exp(e, v, a); }, {0, -kInf, kInf, -0.f}, 4);
      EXPECT_EQ(z, (std::vector<float>{1, 0, kInf, 1})) << target.name;
    }
}

TEST(VecMath, ShortPolynomialsKeepTheirBounds) {
  std::vector<float> x;
  for (int i = 0; i < 48000; ++i) x.push_back(-80.f + static_cast<float>(i) * (160.f / 48000));
  using Emit = llvm::Value* (*)(Emitter&, llvm::Value*, Accuracy);
  const std::vector<std::tuple<const char*, Emit, Reference>> functions = {
      {"exp2", emit_exp2, std::exp2}, {"exp", emit_exp, std::exp}, {"tanh", emit_tanh, std::tanh}, {"sigmoid", emit_sigmoid, sigmoid_reference}};
  for (const JitTarget& target : test::runnable_targets())
    for (auto [name, emit, reference] : functions)
      for (auto [accuracy, bound] : {std::pair{Accuracy::F16, 1e-5}, std::pair{Accuracy::BF16, 2e-4}}) {
        const auto y = apply<float>(target, [emit = emit, a = accuracy](Emitter& e, llvm::Value* v) { return emit(e, v, a); }, x, 16);
        double worst = 0;
        for (std::size_t i = 0; i < x.size(); ++i)
          worst = std::max(worst, static_cast<double>(std::fabs((y[i] - reference(x[i])) / reference(x[i]))));
        EXPECT_LE(worst, bound) << target.name << " " << name;
      }
}

TEST(VecMath, DoublesAreTheLibrarys) {
  std::vector<double> x;
  for (int i = 0; i < 160; ++i) x.push_back(0.01 + i * 0.05);
  using Emit = llvm::Value* (*)(Emitter&, llvm::Value*);
  const std::vector<std::tuple<Emit, double (*)(double)>> functions = {{[](Emitter& e, llvm::Value* v) { return emit_exp2(e, v); }, std::exp2},
                                                                       {[](Emitter& e, llvm::Value* v) { return emit_exp(e, v); }, std::exp},
                                                                       {emit_ln, std::log},
                                                                       {emit_log2, std::log2},
                                                                       {[](Emitter& e, llvm::Value* v) { return emit_tanh(e, v); }, std::tanh},
                                                                       {emit_erf, std::erf},
                                                                       {emit_sin, std::sin},
                                                                       {emit_cos, std::cos},
                                                                       {emit_sqrt, std::sqrt}};
  const JitTarget target = test::runnable_targets()[0];
  for (auto [emit, reference] : functions)
    for (int lanes : {1, 16}) {
      const auto y = apply<double>(target, emit, x, lanes);
      for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(y[i], reference(x[i])) << x[i];
    }
}

TEST(VecMath, NoLibraryCallsForFloats) {
  for (const JitTarget& target : test::runnable_targets())
    for (const Case& c : cases()) {
      llvm::LLVMContext context;
      llvm::Module module("m", context);
      Emitter e(module, target.vectors);
      auto* f = test::begin_function(e, "f", {e.ptr()});
      e.store(c.emit(e, e.load(e.vec(e.f32()), f->getArg(0), 4)), f->getArg(0), 4);
      e.b.CreateRetVoid();
      for (const llvm::Function& g : module) {
        if (!g.isDeclaration()) continue;
        EXPECT_TRUE(g.isIntrinsic()) << g.getName().str();
        for (auto id : {llvm::Intrinsic::exp, llvm::Intrinsic::exp2, llvm::Intrinsic::log, llvm::Intrinsic::log2, llvm::Intrinsic::sin,
                        llvm::Intrinsic::cos, llvm::Intrinsic::tanh})
          EXPECT_NE(g.getIntrinsicID(), id) << c.name;
      }
    }
}

}  // namespace
}  // namespace tessera::cpu
