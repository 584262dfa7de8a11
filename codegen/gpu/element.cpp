#include "codegen/gpu/element.h"

#include <llvm/IR/PatternMatch.h>

#include <cmath>
#include <numbers>

#include "codegen/cpu/arith.h"
#include "codegen/cpu/convert.h"
#include "codegen/cpu/vecmath.h"
#include "dsl/diagnostic.h"

namespace tessera::gpu {

using cpu::Emitter;
using ir::OpKind;
using llvm::Type;
using LV = llvm::Value;

namespace {

LV* i32_of(Emitter& e, std::int64_t x) { return e.b.getInt32(static_cast<std::uint32_t>(x)); }
LV* zero32(Emitter& e) { return e.b.getInt32(0); }

/// A 64-bit difference as i32, held within what no sum of two short offsets reaches; such a sum can still be taken from it.
LV* clamp32(Emitter& e, LV* x) {
  const std::int64_t far = 3 * kShortOffset;
  return e.b.CreateTrunc(e.min(e.max(x, e.idx(-far)), e.idx(far)), e.i32());
}

/// Without what the register adds.
LV* thread_part(Emitter& e, const Element& x) { return e.b.CreateAdd(x.v, e.b.CreateSExt(x.offset, e.i64())); }

}  // namespace

LV* plain(Emitter& e, const Element& x) {
  return x.offset ? e.b.CreateAdd(x.v, e.b.CreateSExt(e.b.CreateAdd(x.offset, i32_of(e, x.fixed)), e.i64())) : x.v;
}

Element between(Emitter& e, LV* from, std::int64_t at, LV* to) {
  Element out{.fixed = at, .from = from, .to = to};
  LV* c = i32_of(e, at);
  if (from) out.v = e.b.CreateICmpSLE(from, c);
  if (to) out.v = cpu::both(e, out.v, e.b.CreateICmpSLT(c, to));
  return out;
}

namespace {

/// What a register adds, at most: sums of a few of these and of clamp32 do not overflow.
constexpr std::int64_t kSmallSteps = std::int64_t{1} << 20;

/// Both of two pairs of bounds.
Element meet(Emitter& e, const Element& x, const Element& y) {
  const auto moved = [&](LV* bound) { return bound && x.fixed != y.fixed ? e.b.CreateAdd(bound, i32_of(e, x.fixed - y.fixed)) : bound; };
  const auto tighter = [&](LV* a, LV* b, llvm::Intrinsic::ID of) { return a && b ? e.b.CreateBinaryIntrinsic(of, a, b) : a ? a : b; };
  return between(e, tighter(x.from, moved(y.from), llvm::Intrinsic::smax), x.fixed, tighter(x.to, moved(y.to), llvm::Intrinsic::smin));
}

/// `fixed` compared with what does not change from register to register.
Element compare(Emitter& e, OpKind kind, llvm::CmpInst::Predicate p, std::int64_t fixed, LV* with) {
  switch (kind) {
    case OpKind::Lt: return between(e, nullptr, fixed, with);
    case OpKind::Le: return between(e, nullptr, fixed - 1, with);
    case OpKind::Gt: return between(e, with, fixed - 1, nullptr);
    case OpKind::Ge: return between(e, with, fixed, nullptr);
    default: return {e.b.CreateICmp(p, i32_of(e, fixed), with)};
  }
}

std::optional<std::int64_t> constant(LV* v) {
  if (auto* c = llvm::dyn_cast<llvm::ConstantInt>(v)) return c->getSExtValue();
  return std::nullopt;
}

/// idx arithmetic that keeps short forms; an empty result where it cannot.
Element idx_op(Emitter& e, OpKind kind, const Elements& x) {
  const bool any_short = x[0].is_short() || (x.size() > 1 && x[1].is_short());
  if (!any_short) return {};
  const auto off = [&](const Element& y) { return y.offset ? y.offset : zero32(e); };
  switch (kind) {
    case OpKind::Add:
    case OpKind::Sub: {
      const std::int64_t bound = x[0].bound + x[1].bound;
      if (bound >= kShortOffset) return {};
      const bool add = kind == OpKind::Add;
      return {add ? e.add(x[0].v, x[1].v) : e.sub(x[0].v, x[1].v), add ? e.b.CreateAdd(off(x[0]), off(x[1])) : e.b.CreateSub(off(x[0]), off(x[1])),
              add ? x[0].fixed + x[1].fixed : x[0].fixed - x[1].fixed, bound};
    }
    case OpKind::Neg: return {e.b.CreateNeg(x[0].v), e.b.CreateNeg(x[0].offset), -x[0].fixed, x[0].bound};
    case OpKind::Mul: {
      const int s = x[0].is_short() ? 0 : 1;
      const auto c = constant(x[static_cast<std::size_t>(1 - s)].v);
      const Element& y = x[static_cast<std::size_t>(s)];
      if (x[static_cast<std::size_t>(1 - s)].is_short() || !c || std::abs(*c) >= kShortOffset || y.bound * std::abs(*c) >= kShortOffset) return {};
      return {e.mul(y.v, e.idx(*c)), e.b.CreateMul(y.offset, i32_of(e, *c)), y.fixed * *c, y.bound * std::abs(*c)};
    }
    default: return {};
  }
}

llvm::CmpInst::Predicate signed_predicate(OpKind kind) {
  switch (kind) {
    case OpKind::Eq: return llvm::CmpInst::ICMP_EQ;
    case OpKind::Ne: return llvm::CmpInst::ICMP_NE;
    case OpKind::Lt: return llvm::CmpInst::ICMP_SLT;
    case OpKind::Le: return llvm::CmpInst::ICMP_SLE;
    case OpKind::Gt: return llvm::CmpInst::ICMP_SGT;
    case OpKind::Ge: return llvm::CmpInst::ICMP_SGE;
    default: return llvm::CmpInst::BAD_ICMP_PREDICATE;
  }
}

LV* call1(Emitter& e, Primitive p, LV* x) { return call(e.b, e.module, p, {x}); }

/// tanh a = 1 - 2 / (e^2a + 1) for a = |x|; near 0, where that cancels, a + a^3 p(a^2). Within 4 ulp. Both forms are computed, so that no branch is
/// in the way.
LV* tanh_f32(Emitter& e, LV* x) {
  llvm::Type* t = x->getType();
  const auto c = [&](double v) { return e.real(t, v); };
  LV* a = e.b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x);
  LV* power = call1(e, Primitive::Ex2, e.b.CreateFMul(a, c(2 * std::numbers::log2e)));
  LV* large = e.fma(call1(e, Primitive::Rcp, e.b.CreateFAdd(power, c(1))), c(-2), c(1));
  LV* z = e.b.CreateFMul(x, x);
  // Least maximum of the relative error for a <= 0.625.
  LV* p = c(-0.0057170418461);
  for (const double k : {0.020650584209, -0.053743497058, 0.13331491274, -0.33333283925}) p = e.fma(p, z, c(k));
  LV* small = e.fma(e.b.CreateFMul(a, z), p, a);
  return e.b.CreateBinaryIntrinsic(llvm::Intrinsic::copysign, e.b.CreateSelect(e.b.CreateFCmpOLT(a, c(0.625)), small, large), x);
}

/// 2^x = 2^n p(r), n the nearest whole number, |r| <= 1/2, relative error below 7.5e-5 (least maximum of degree 3). Below 2^-126.5 it is 0, which is
/// what masks count on: a row that sees no key sums up nothing.
LV* short_exp2(Emitter& e, LV* x) {
  const auto c = [&](double v) { return e.real(x->getType(), v); };
  // NaN stays one: minimum and maximum keep it, and the last product.
  x = e.b.CreateBinaryIntrinsic(llvm::Intrinsic::minimum, e.b.CreateBinaryIntrinsic(llvm::Intrinsic::maximum, x, c(-127)), c(128));
  // The sum with 1.5 2^23 + 127 is rounded to a whole number: its last bits are n + 127, the exponent of 2^n.
  constexpr double kRound = 0x1.8p23 + 127;
  LV* sum = e.b.CreateFAdd(x, c(kRound));
  LV* r = e.b.CreateFSub(x, e.b.CreateFSub(sum, c(kRound)));
  LV* p = c(0.0551716685295105);
  for (const double k : {0.2426111251115799, 0.6932609677314758, 0.9999280571937561}) p = e.fma(p, r, c(k));
  return e.b.CreateFMul(p, e.b.CreateBitCast(e.b.CreateShl(e.b.CreateBitCast(sum, e.i32()), 23), x->getType()));
}

/// (x + c) y as x y + c y in one operation for each c: with x and y the same for many registers, x y is one value. Null if neither factor is such
/// a sum. Used where x is a coordinate as a float (exact up to 2^23).
LV* shared_product(Emitter& e, LV* a, LV* b) {
  using namespace llvm::PatternMatch;
  const auto of = [&](LV* sum, LV* y) -> LV* {
    LV *x = nullptr, *c = nullptr;
    if (!match(sum, m_FAdd(m_Value(x), m_Value(c))) || !llvm::isa<llvm::SIToFPInst>(x) || !llvm::isa<llvm::ConstantFP>(c)) return nullptr;
    return e.fma(y, c, e.b.CreateFMul(x, y));
  };
  LV* r = of(a, b);
  return r ? r : of(b, a);
}

/// Hardware functions of f32; null where there is none that is good enough.
LV* fast_f32(Emitter& e, OpKind kind, DType result, const std::vector<LV*>& x, int sm, bool coarse) {
  const auto c = [&](double v) { return e.real(x[0]->getType(), v); };
  switch (kind) {
    case OpKind::Exp2: return coarse ? short_exp2(e, x[0]) : call1(e, Primitive::Ex2, x[0]);
    case OpKind::Exp: {
      // x log2 e in two pieces: the error of one product grows with |x|.
      LV* high = e.b.CreateFMul(x[0], c(1.44269502162933349609375));
      LV* low = e.fma(x[0], c(1.44269502162933349609375), e.b.CreateFNeg(high));
      low = e.fma(x[0], c(1.92596299112661746887e-8), low);
      LV* whole = call1(e, Primitive::Ex2, high);
      LV* r = e.fma(whole, e.b.CreateFMul(low, c(0.6931471805599453)), whole);
      // Infinite arguments make low NaN.
      return e.b.CreateSelect(e.b.CreateFCmpOEQ(e.b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x[0]), c(INFINITY)), whole, r);
    }
    case OpKind::Rcp: return call1(e, Primitive::Rcp, x[0]);
    case OpKind::Rsqrt: return call1(e, Primitive::Rsqrt, x[0]);
    case OpKind::Sqrt: return e.b.CreateUnaryIntrinsic(llvm::Intrinsic::sqrt, x[0]);
    case OpKind::Sigmoid: {
      LV* y = e.b.CreateFMul(x[0], c(-1.4426950408889634));
      return call1(e, Primitive::Rcp, e.b.CreateFAdd(c(1), coarse ? short_exp2(e, y) : call1(e, Primitive::Ex2, y)));
    }
    case OpKind::Tanh: return (is_half(result) || coarse) && sm >= 75 ? call1(e, Primitive::TanhApprox, x[0]) : tanh_f32(e, x[0]);
    case OpKind::Sin: return cpu::emit_sine_inline(e, x[0], 0);
    case OpKind::Cos: return cpu::emit_sine_inline(e, x[0], 1);
    case OpKind::Max: return e.b.CreateBinaryIntrinsic(llvm::Intrinsic::maxnum, x[0], x[1]);
    case OpKind::Min: return e.b.CreateBinaryIntrinsic(llvm::Intrinsic::minnum, x[0], x[1]);
    default: return nullptr;
  }
}

/// Of 8 bits or fewer: beside 2^23 the last bits of an f32 are an integer. An addition, for conversions have a lower rate (CUDA C++ Programming
/// Guide, "Arithmetic Instructions").
LV* small_int_f32(Emitter& e, DType t, LV* x) {
  constexpr std::int64_t kBits = 0x4b000000;  // of 2^23
  const std::int64_t values = std::int64_t{1} << bits(t), least = is_signed(t) ? values / 2 : 0;
  LV* raw = e.b.CreateAnd(e.b.CreateZExt(x, e.i32()), e.integer(e.i32(), values - 1));
  LV* shifted = e.b.CreateXor(raw, e.integer(e.i32(), kBits | least));
  return e.b.CreateFSub(e.b.CreateBitCast(shifted, e.f32()), e.real(e.f32(), static_cast<double>((std::int64_t{1} << 23) + least)));
}

}  // namespace

Element emit_elementwise(Emitter& e, const ir::Op& op, const Elements& operands, bool strict, int sm, bool coarse) {
  const DType t = ir::tile(op.operands.back()->type).dtype;
  // One conversion for all elements of a thread: exact up to 2^23, beyond that one rounding more of a sum that is large beside what is added.
  if (t == DType::Idx && op.kind == OpKind::Cast && ir::tile(op.result()->type).dtype == DType::F32 && operands[0].is_short() && !strict &&
      std::abs(operands[0].fixed) <= kSmallSteps) {
    LV* base = e.b.CreateSIToFP(thread_part(e, operands[0]), e.f32());
    return {operands[0].fixed == 0 ? base : e.b.CreateFAdd(base, e.real(e.f32(), static_cast<double>(operands[0].fixed)))};
  }
  if (t == DType::Idx && op.kind != OpKind::Cast && op.kind != OpKind::Select) {
    if (const auto p = signed_predicate(op.kind); p != llvm::CmpInst::BAD_ICMP_PREDICATE) {
      if (operands[0].is_short() || operands[1].is_short()) {
        // bx + ox + fx < by + oy + fy  <=>  fx - fy < (by - bx) - (ox - oy), with by - bx cut to what the rest can reach.
        LV* offsets = e.b.CreateSub(operands[0].offset ? operands[0].offset : zero32(e), operands[1].offset ? operands[1].offset : zero32(e));
        LV* right = e.b.CreateSub(clamp32(e, e.sub(operands[1].v, operands[0].v)), offsets);
        return compare(e, op.kind, p, operands[0].fixed - operands[1].fixed, right);
      }
    } else if (const Element r = idx_op(e, op.kind, operands); r.v) {
      return r;
    }
  }
  if (op.kind == OpKind::Cast && is_float(ir::tile(op.result()->type).dtype) && is_int(t) && bits(t) <= 8) {
    LV* exact = small_int_f32(e, t, plain(e, operands[0]));
    const DType to = ir::tile(op.result()->type).dtype;
    const auto rounding = static_cast<Rounding>(op.int_attr(ir::Attr::Rounding));
    return {to == DType::F32 ? exact : cpu::convert(e, DType::F32, to, exact, op.int_attr(ir::Attr::Saturate) != 0, rounding, strict)};
  }
  const auto bounded = [](const Element& x) { return (x.from || x.to) && std::abs(x.fixed) <= kSmallSteps; };
  if (op.kind == OpKind::And && bounded(operands[0]) && bounded(operands[1])) return meet(e, operands[0], operands[1]);
  std::vector<LV*> x;
  for (const Element& o : operands) x.push_back(plain(e, o));
  const bool hardware = is_float(t) && bits(t) <= 32 && t != DType::F64 && op.kind != OpKind::Select && op.kind != OpKind::Cast &&
                        op.kind != OpKind::Bitcast && signed_predicate(op.kind) == llvm::CmpInst::BAD_ICMP_PREDICATE;
  if (hardware) {
    std::vector<LV*> wide;
    for (LV* v : x) wide.push_back(cpu::to_accumulator(e, t, v));
    if (op.kind == OpKind::Mul && t == DType::F32 && !strict) {
      if (LV* r = shared_product(e, x[0], x[1])) return {r};
    }
    if (LV* r = fast_f32(e, op.kind, t, wide, sm, coarse)) return {cpu::from_accumulator(e, t, r)};
  }
  std::vector<cpu::Lanes> values;
  for (LV* v : x) values.push_back(cpu::lanes(v));
  return {cpu::emit_elementwise(e, op, values, strict).v};
}

LV* fold_step(Emitter& e, ir::ReduceKind kind, DType t, LV* acc, LV* x) {
  if (acc->getType()->isFloatTy() && (kind == ir::ReduceKind::Max || kind == ir::ReduceKind::Min)) {
    return e.b.CreateBinaryIntrinsic(kind == ir::ReduceKind::Max ? llvm::Intrinsic::maxnum : llvm::Intrinsic::minnum, acc, x);
  }
  return cpu::fold_values(e, kind, t, acc, x);
}

LV* shuffle(Emitter& e, Primitive how, LV* x, LV* lane) {
  Type* t = x->getType();
  const unsigned width = t->getPrimitiveSizeInBits().getFixedValue();
  LV* bits = e.b.CreateBitCast(x, e.b.getIntNTy(width));
  if (width <= 32) {
    LV* r = call(e.b, e.module, how, {e.b.CreateZExt(bits, e.i32()), lane});
    return e.b.CreateBitCast(e.b.CreateTrunc(r, e.b.getIntNTy(width)), t);
  }
  TESSERA_ASSERT(width == 64, "a register form of more than 64 bits");
  LV* low = call(e.b, e.module, how, {e.b.CreateTrunc(bits, e.i32()), lane});
  LV* high = call(e.b, e.module, how, {e.b.CreateTrunc(e.b.CreateLShr(bits, e.idx(32)), e.i32()), lane});
  LV* both = e.b.CreateOr(e.b.CreateZExt(low, e.i64()), e.b.CreateShl(e.b.CreateZExt(high, e.i64()), e.idx(32)));
  return e.b.CreateBitCast(both, t);
}

namespace {

/// The word whose parts these are, as unpack_word gave them; null if they are not.
LV* whole_word(const std::vector<LV*>& parts) {
  using namespace llvm::PatternMatch;
  const std::size_t width = 32 / parts.size();
  LV* word = nullptr;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    LV *bits = parts[i], *inner = nullptr, *of = nullptr;
    if (match(bits, m_BitCast(m_Value(inner)))) bits = inner;
    if (i == 0 ? !match(bits, m_Trunc(m_Value(of))) : !match(bits, m_Trunc(m_LShr(m_Value(of), m_SpecificInt(width * i))))) return nullptr;
    if (i > 0 ? of != word : !of->getType()->isIntegerTy(32)) return nullptr;
    word = of;
  }
  return word;
}

}  // namespace

LV* pack_word(Emitter& e, const std::vector<LV*>& elements) {
  // What was rounded together is used together: no instruction.
  if (elements.size() > 1) {
    if (LV* word = whole_word(elements)) return word;
  }
  const unsigned width = 32 / static_cast<unsigned>(elements.size());
  if (elements.size() == 1) return e.b.CreateBitCast(elements[0], e.i32());
  LV* word = nullptr;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    LV* bits = e.b.CreateZExt(e.b.CreateBitCast(elements[i], e.b.getIntNTy(width)), e.i32());
    if (i > 0) bits = e.b.CreateShl(bits, i32_of(e, static_cast<std::int64_t>(i * width)));
    word = word ? e.b.CreateOr(word, bits) : bits;
  }
  return word;
}

LV* pack_rounded(Emitter& e, DType t, LV* low, LV* high) {
  return call(e.b, e.module, t == DType::BF16 ? Primitive::PackBf16x2 : Primitive::PackF16x2, {low, high});
}

LV* pack_codes(Emitter& e, DType t, const std::vector<LV*>& x) {
  return call(e.b, e.module, t == DType::E4M3 ? Primitive::PackE4m3x4 : Primitive::PackE5m2x4, {x[0], x[1], x[2], x[3]});
}

LV* round_tf32(Emitter& e, LV* word) {
  LV* x = e.b.CreateBitCast(word, e.f32());
  LV* rounded = e.b.CreateAnd(e.b.CreateAdd(word, i32_of(e, 0x1000)), i32_of(e, ~std::int64_t{0x1fff}));
  return e.b.CreateSelect(e.b.CreateFCmpUNO(x, x), i32_of(e, 0x7fc00000), rounded);
}

LV* unpack_word(Emitter& e, DType t, LV* word, int i) {
  Type* type = cpu::register_type(e, t);
  const unsigned width = type->getPrimitiveSizeInBits().getFixedValue();
  if (width >= 32) return e.b.CreateBitCast(word, type);
  LV* bits = i == 0 ? word : e.b.CreateLShr(word, i32_of(e, static_cast<std::int64_t>(width) * i));
  return e.b.CreateBitCast(e.b.CreateTrunc(bits, e.b.getIntNTy(width)), type);
}

}  // namespace tessera::gpu
