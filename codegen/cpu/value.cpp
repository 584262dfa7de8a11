#include "codegen/cpu/value.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "codegen/cpu/arith.h"

namespace tessera::cpu {

using llvm::Value;

namespace {

std::int64_t magnitude(std::int64_t x) { return x < 0 ? -x : x; }

std::optional<std::int64_t> constant(const Lanes& x) {
  if (x.uniform())
    if (auto* c = llvm::dyn_cast<llvm::ConstantInt>(x.v)) return c->getSExtValue();
  return std::nullopt;
}

/// What the base is surely a multiple of; 0 for the constant 0.
std::int64_t multiple_of(const Lanes& x) {
  if (auto* c = llvm::dyn_cast<llvm::ConstantInt>(x.v)) return magnitude(c->getSExtValue());
  return x.multiple;
}

/// Sum or difference of the small parts; null if the result is not surely small.
Lanes combine(Emitter& e, const Lanes& x, const Lanes& y, bool subtract) {
  Lanes r;
  r.v = subtract ? e.b.CreateSub(x.v, y.v) : e.b.CreateAdd(x.v, y.v);
  r.multiple = std::gcd(multiple_of(x), multiple_of(y));
  if (x.uniform() && y.uniform()) return r;
  r.bound = x.bound + y.bound;
  const std::int64_t sign = subtract ? -1 : 1;
  if (x.uniform() || y.uniform() || (x.linear && y.linear)) r.linear = (x.uniform() || x.linear) && (y.uniform() || y.linear);
  r.step = x.step + sign * y.step;
  if (r.linear) {
    r.offset = e.b.CreateMul(e.iota(e.i32()), e.splat(e.b.getInt32(static_cast<std::uint32_t>(r.step))));
    if (r.step == 0) r = Lanes{r.v, nullptr, 0, false, 0, r.multiple};
    return r;
  }
  if (!y.offset)
    r.offset = x.offset;
  else if (!x.offset)
    r.offset = subtract ? e.b.CreateNeg(y.offset) : y.offset;
  else
    r.offset = subtract ? e.b.CreateSub(x.offset, y.offset) : e.b.CreateAdd(x.offset, y.offset);
  return r;
}

bool short_or_uniform(const Lanes& x) { return x.uniform() || x.is_short(); }

}  // namespace

Lanes linear_lanes(Emitter& e, Value* base, std::int64_t step, std::int64_t multiple) {
  Lanes r;
  r.v = base;
  r.multiple = multiple;
  r.linear = true;
  r.step = step;
  r.bound = magnitude(step) * kLanes;
  r.offset = e.b.CreateMul(e.iota(e.i32()), e.splat(e.b.getInt32(static_cast<std::uint32_t>(step))));
  return r;
}

Value* plain(Emitter& e, const Lanes& x) {
  if (!x.offset) return x.v;
  return e.b.CreateAdd(e.splat(x.v), e.b.CreateSExt(x.offset, e.vec(e.i64())));
}

Value* as_vector(Emitter& e, const Lanes& x) {
  Value* v = plain(e, x);
  return v->getType()->isVectorTy() ? v : e.splat(v);
}

llvm::Type* register_type(Emitter& e, DType t) {
  switch (t) {
    case DType::Bool: return e.b.getInt1Ty();
    case DType::I8:
    case DType::U8:
    case DType::E4M3:
    case DType::E5M2:
    case DType::E8M0:
    case DType::E2M1:
    case DType::I4:
    case DType::U4: return e.b.getInt8Ty();
    case DType::I16:
    case DType::U16:
    case DType::BF16: return e.b.getInt16Ty();
    case DType::I32:
    case DType::U32: return e.i32();
    case DType::I64:
    case DType::U64:
    case DType::Idx: return e.i64();
    case DType::F16: return e.b.getHalfTy();
    case DType::F32: return e.f32();
    case DType::F64: return e.f64();
  }
  return nullptr;
}

llvm::Constant* register_constant(Emitter& e, DType t, std::uint64_t raw) {
  llvm::Type* type = register_type(e, t);
  if (t == DType::I4) return llvm::ConstantInt::getSigned(type, decode_int(t, raw));
  if (type->isIntegerTy()) return llvm::ConstantInt::get(type, raw, false, /*ImplicitTrunc=*/true);
  const unsigned width = type->getScalarSizeInBits();
  return llvm::ConstantFP::get(type, llvm::APFloat(type->getFltSemantics(), llvm::APInt(width, raw, false, true)));
}

Lanes idx_add(Emitter& e, const Lanes& x, const Lanes& y) {
  // Address arithmetic adds many zeros; LLVM would find them one pass later, and the instruction count is limited.
  if (constant(x) == 0) return y;
  if (constant(y) == 0) return x;
  if (short_or_uniform(x) && short_or_uniform(y) && x.bound + y.bound < kShort) return combine(e, x, y, false);
  return lanes(e.b.CreateAdd(as_vector(e, x), as_vector(e, y)));
}

Lanes idx_sub(Emitter& e, const Lanes& x, const Lanes& y) {
  if (short_or_uniform(x) && short_or_uniform(y) && x.bound + y.bound < kShort) return combine(e, x, y, true);
  return lanes(e.b.CreateSub(as_vector(e, x), as_vector(e, y)));
}

Lanes idx_mul(Emitter& e, const Lanes& x, const Lanes& y) {
  if (constant(x) == 1) return y;
  if (constant(y) == 1) return x;
  if (constant(x) == 0) return x;
  if (constant(y) == 0) return y;
  if (x.uniform() && y.uniform()) {
    Lanes r = lanes(e.b.CreateMul(x.v, y.v));
    r.multiple = std::max<std::int64_t>(1, multiple_of(x) % kShort * (multiple_of(y) % kShort));
    return r;
  }
  const auto c = constant(y);
  if (!c && constant(x)) return idx_mul(e, y, x);
  if (c && x.is_short() && magnitude(*c) < kShort && x.bound * magnitude(*c) < kShort) {
    if (*c == 0) return lanes(e.idx(0));
    Lanes r = x;
    r.v = e.b.CreateMul(x.v, y.v);
    r.offset = e.b.CreateMul(x.offset, e.splat(e.b.getInt32(static_cast<std::uint32_t>(*c))));
    r.bound = x.bound * magnitude(*c);
    r.multiple = multiple_of(x) % kShort * magnitude(*c);
    r.step = x.step * *c;
    return r;
  }
  return lanes(e.b.CreateMul(as_vector(e, x), as_vector(e, y)));
}

namespace {

/// x / y and x % y of a short x and a positive constant y: the base is divided once, the lanes in 32 bits.
std::pair<Lanes, Lanes> divide_short(Emitter& e, const Lanes& x, std::int64_t y) {
  const std::int64_t m = multiple_of(x);
  if (x.linear && x.step == 1 && m % kLanes == 0 && (y % kLanes == 0 || kLanes % y == 0)) {
    // Aligned runs either stay inside one quotient or split at constant lanes.
    Value* q = floor_divide(e, x.v, e.idx(y), true);
    Value* r = e.b.CreateSub(x.v, e.b.CreateMul(q, e.idx(y)));
    if (y % kLanes == 0) return {lanes(q), linear_lanes(e, r, 1, kLanes)};
    Value* d = e.splat(e.b.getInt32(static_cast<std::uint32_t>(y)));
    Lanes quotient{q, e.b.CreateUDiv(e.iota(e.i32()), d), kLanes, false, 0, m / y};
    Lanes remainder{e.idx(0), e.b.CreateURem(e.iota(e.i32()), d), y, false, 0, 0};
    return {quotient, remainder};
  }
  Value* q = floor_divide(e, x.v, e.idx(y), true);
  Value* r = e.b.CreateSub(x.v, e.b.CreateMul(q, e.idx(y)));
  Value* t = e.b.CreateAdd(e.splat(e.b.CreateTrunc(r, e.i32())), x.offset);
  Value* d = e.splat(e.b.getInt32(static_cast<std::uint32_t>(y)));
  Value* small = floor_divide(e, t, d, true);
  Lanes quotient, remainder;
  quotient.v = q;
  quotient.offset = small;
  quotient.bound = x.bound / y + 2;
  remainder.v = e.idx(0);
  remainder.offset = e.b.CreateSub(t, e.b.CreateMul(small, d));
  remainder.bound = y;
  return {quotient, remainder};
}

bool divides_short(const Lanes& x, std::optional<std::int64_t> y) { return x.is_short() && y && *y > 0 && *y + x.bound < kShort; }

}  // namespace

Lanes idx_div(Emitter& e, const Lanes& x, const Lanes& y) {
  if (x.uniform() && y.uniform()) return lanes(floor_divide(e, x.v, y.v, true));
  const auto c = constant(y);
  if (c == 1) return x;
  if (divides_short(x, c)) return divide_short(e, x, *c).first;
  return lanes(floor_divide(e, as_vector(e, x), as_vector(e, y), true));
}

Lanes idx_mod(Emitter& e, const Lanes& x, const Lanes& y) {
  if (x.uniform() && y.uniform()) return lanes(floor_remainder(e, x.v, y.v, true));
  const auto c = constant(y);
  if (divides_short(x, c)) return divide_short(e, x, *c).second;
  return lanes(floor_remainder(e, as_vector(e, x), as_vector(e, y), true));
}

Value* idx_compare(Emitter& e, llvm::CmpInst::Predicate predicate, const Lanes& x, const Lanes& y) {
  if (x.uniform() && y.uniform()) return e.b.CreateICmp(predicate, x.v, y.v);
  if (!short_or_uniform(x) || !short_or_uniform(y)) return e.b.CreateICmp(predicate, as_vector(e, x), as_vector(e, y));
  // base difference + offsets, compared with 0: the difference may be cut to +-2 kShort without changing the answer. A difference of 64-bit
  // numbers can wrap; saturating keeps its sign.
  Value* d = e.b.CreateBinaryIntrinsic(llvm::Intrinsic::ssub_sat, y.v, x.v);
  d = e.max(e.idx(-2 * kShort), e.min(e.idx(2 * kShort), d));
  Value* rhs = e.splat(e.b.CreateTrunc(d, e.i32()));
  Value* lhs = x.offset ? x.offset : static_cast<Value*>(e.zero(e.vec(e.i32())));
  if (y.offset) {
    if (x.linear && y.linear && x.step == y.step)
      lhs = e.zero(e.vec(e.i32()));
    else
      lhs = e.b.CreateSub(lhs, y.offset);
  }
  return e.b.CreateICmp(predicate, lhs, rhs);
}

Value* idx_below(Emitter& e, const Lanes& x, Value* count) {
  return e.b.CreateICmpSLT(x.offset, e.splat(e.b.CreateTrunc(e.b.CreateSub(count, x.v), e.i32())));
}

Value* idx_within(Emitter& e, const Lanes& x, Value* lo, Value* hi) {
  Value* a = lo ? idx_compare(e, llvm::CmpInst::ICMP_SGE, x, lanes(lo)) : nullptr;
  Value* b = hi ? idx_compare(e, llvm::CmpInst::ICMP_SLT, x, lanes(hi)) : nullptr;
  return both(e, a, b);
}

Value* both(Emitter& e, Value* x, Value* y) {
  if (!x) return y;
  if (!y) return x;
  const bool vx = x->getType()->isVectorTy();
  const bool vy = y->getType()->isVectorTy();
  if (vx && !vy) y = e.splat(y);
  if (vy && !vx) x = e.splat(x);
  return e.b.CreateAnd(x, y);
}

}  // namespace tessera::cpu
