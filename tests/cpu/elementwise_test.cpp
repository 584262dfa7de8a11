// Every elementwise op on every dtype it takes, and every conversion, against the interpreter.
#include "tests/cpu/kernel_maker.h"

namespace tessera::test {
namespace {

constexpr std::int64_t kN = 203;

bool computable(DType t) { return !storage_only(t); }

struct Case {
  OpKind kind;
  bool floats, ints, bools;
};

/// Relative errors of one op in units of the dtype's last place, allowed for functions that are approximated.
Tolerance tolerance(OpKind k, DType t) {
  const double unit = t == DType::F64 ? 4e-16 : t == DType::F32 ? 2.4e-7 : t == DType::F16 ? 1e-3 : 8e-3;
  switch (k) {
    case OpKind::Exp:
    case OpKind::Exp2:
    case OpKind::Ln:
    case OpKind::Log2:
    case OpKind::Tanh:
    case OpKind::Sigmoid:
    case OpKind::Sin:
    case OpKind::Cos:
    case OpKind::Erf: return {t == DType::F16 ? 6e-8 : t == DType::F64 ? 0 : 1e-37, 2 * unit};
    case OpKind::Rsqrt: return {0, unit};
    // Outside of `strict` kernels bf16 results below the normal range may become zero.
    default: return {t == DType::BF16 ? 1.2e-38 : 0, 0};
  }
}

void run_elementwise(OpKind kind, DType t, int operands) {
  SCOPED_TRACE(std::string(ir::info(kind).name) + " " + name(t));
  KernelMaker k;
  std::vector<Value*> views;
  for (int i = 0; i < operands; ++i) views.push_back(k.view("x" + std::to_string(i), t, {Sym::symbol("N")}));
  const bool compares = ir::info(kind).rule == ir::TypeRule::Compare;
  const DType out = compares ? DType::Bool : t;
  Value* y = k.view("y", out, {Sym::symbol("N")}, Mode::Out);
  Value* r = k.part(k.b.idx(0), k.b.sym("N"), 256);
  std::vector<Value*> x;
  for (Value* v : views) x.push_back(k.load(v, {r}));
  k.store(y, k.b.value(kind, x), {r});
  Differential d(k.take());
  for (int i = 0; i < operands; ++i) d.tensor("x" + std::to_string(i), random_bits(t, {kN}, static_cast<unsigned>(17 * i + 1)));
  d.tensor("y", Buffer(out, {kN}));
  d.check(tolerance(kind, t));
}

class Elementwise : public testing::TestWithParam<OpKind> {};

std::vector<OpKind> elementwise_ops() {
  std::vector<OpKind> v;
  for (int i = 0; i <= static_cast<int>(OpKind::Wait); ++i) {
    const auto k = static_cast<OpKind>(i);
    if (ir::has(k, ir::ElementwiseBit) && k != OpKind::Select && k != OpKind::Cast && k != OpKind::Bitcast) v.push_back(k);
  }
  return v;
}

INSTANTIATE_TEST_SUITE_P(Cpu, Elementwise, testing::ValuesIn(elementwise_ops()),
                         [](const auto& info) { return std::string(ir::info(info.param).name); });

TEST_P(Elementwise, equals_the_interpreter) {
  const ir::OpInfo& info = ir::info(GetParam());
  for (const DType t : all_dtypes()) {
    if (!computable(t)) continue;
    if (info.rule == ir::TypeRule::SameFloat && !is_float(t)) continue;
    if (info.rule == ir::TypeRule::SameInt && !is_int(t)) continue;
    if (info.rule == ir::TypeRule::SameBits && is_float(t)) continue;
    if (info.rule == ir::TypeRule::Same && (GetParam() == OpKind::Not ? is_float(t) : is_bool(t))) continue;
    if (info.rule == ir::TypeRule::Compare && is_bool(t) && GetParam() != OpKind::Eq && GetParam() != OpKind::Ne) continue;
    run_elementwise(GetParam(), t, info.min_operands);
  }
}

class Convert : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Cpu, Convert, testing::ValuesIn(all_dtypes()), [](const auto& info) { return std::string(name(info.param)); });

void run_convert(DType from, const std::vector<DType>& to, int level, const std::function<Value*(Builder&, Value*, DType)>& convert) {
  KernelMaker k;
  k.kernel().strict = true;
  Value* x = k.view("x", from, {kN});
  std::vector<Value*> y;
  for (const DType t : to) y.push_back(k.view(std::string("y_") + name(t), t, {kN}, Mode::InOut));
  Value* r = k.part(k.b.idx(0), k.b.idx(kN), 256);
  Value* value = k.load(x, {r});
  for (std::size_t i = 0; i < to.size(); ++i) k.store(y[i], convert(k.b, value, to[i]), {r});
  Differential d(k.take());
  d.options.codegen_level = level;
  d.tensor("x", random_bits(from, {kN}, 5));
  for (const DType t : to) d.tensor(std::string("y_") + name(t), Buffer(t, {kN}));
  d.check();
}

TEST_P(Convert, casts_to_every_dtype) {
  for (const bool saturate : {false, true})
    for (const Rounding r : {Rounding::Nearest, Rounding::TowardZero, Rounding::Up, Rounding::Down}) {
      SCOPED_TRACE(testing::Message() << "saturate " << saturate << " rounding " << static_cast<int>(r));
      // Directions matter for float results only; without LLVM's optimisations these tests compile several times faster.
      std::vector<DType> to;
      for (const DType t : all_dtypes())
        if (r == Rounding::Nearest || is_float(t)) to.push_back(t);
      run_convert(GetParam(), to, r == Rounding::Nearest && !saturate ? 2 : 0,
                  [&](Builder& b, Value* v, DType t) { return b.cast(v, t, saturate, r); });
    }
}

TEST_P(Convert, bitcasts_to_every_dtype_of_its_width) {
  std::vector<DType> to;
  for (const DType t : all_dtypes())
    if (bits(t) == bits(GetParam()) && !is_bool(t) && !is_bool(GetParam())) to.push_back(t);
  if (!to.empty()) run_convert(GetParam(), to, 2, [](Builder& b, Value* v, DType t) { return b.bitcast(v, t); });
}

TEST(Cpu_Elementwise, select_of_every_dtype_and_scalar_conditions) {
  for (const DType t : all_dtypes()) {
    SCOPED_TRACE(name(t));
    KernelMaker k;
    Value* c = k.view("c", DType::Bool, {5, 35});
    Value* x = k.view("x", t, {5, 35});
    Value* z = k.view("z", t, {5, 1});
    Value* y = k.view("y", t, {5, 35}, Mode::Out);
    Value* w = k.view("w", t, {5, 35}, Mode::Out);
    Value* flag = k.load(c, {k.b.idx(0), k.b.idx(3)});
    Value* xt = k.load_whole(x, {5, 35});
    Value* zt = k.load_whole(z, {5, 1});
    k.store_whole(y, k.b.value(OpKind::Select, {k.load_whole(c, {5, 35}), xt, zt}));
    k.store_whole(w, k.b.value(OpKind::Select, {flag, xt, k.b.broadcast(zt, {5, 35})}));
    Differential d(k.take());
    d.tensor("c", random_bits(DType::Bool, {5, 35}, 1));
    d.tensor("x", random_bits(t, {5, 35}, 2));
    d.tensor("z", random_bits(t, {5, 1}, 3));
    d.tensor("y", Buffer(t, {5, 35}));
    d.tensor("w", Buffer(t, {5, 35}));
    d.check();
  }
}

}  // namespace
}  // namespace tessera::test
