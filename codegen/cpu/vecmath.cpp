#include "codegen/cpu/vecmath.h"

#include <llvm/IR/IntrinsicsX86.h>

#include <cmath>
#include <limits>
#include <string>

#include "codegen/cpu/vecmath_detail.h"

namespace tessera::cpu {

using llvm::Type;
using llvm::Value;
using llvm::Intrinsic::ID;

namespace detail {

bool is_f64(const Value* x) { return x->getType()->getScalarType()->isDoubleTy(); }

Type* int_like(Emitter& e, const Value* x) { return x->getType()->getWithNewType(e.b.getIntNTy(x->getType()->getScalarSizeInBits())); }

Value* horner(Emitter& e, Value* x, std::initializer_list<double> lowest_first) {
  auto it = std::rbegin(lowest_first);
  Value* p = e.real(x->getType(), *it);
  for (++it; it != std::rend(lowest_first); ++it) p = e.fma(p, x, e.real(x->getType(), *it));
  return p;
}

Value* libm_lanes(Emitter& e, const char* name, Value* x) {
  llvm::FunctionCallee f = e.module.getOrInsertFunction(name, llvm::FunctionType::get(e.f64(), {e.f64()}, false));
  auto* v = llvm::dyn_cast<llvm::FixedVectorType>(x->getType());
  if (!v) return e.b.CreateCall(f, {x});
  Value* result = llvm::PoisonValue::get(v);
  for (unsigned i = 0; i < v->getNumElements(); ++i) {
    Value* lane = e.b.CreateCall(f, {e.b.CreateExtractElement(x, i)});
    result = e.b.CreateInsertElement(result, lane, i);
  }
  return result;
}

Value* copysign(Emitter& e, Value* magnitude, Value* sign) { return e.b.CreateBinaryIntrinsic(llvm::Intrinsic::copysign, magnitude, sign); }
Value* fabs(Emitter& e, Value* x) { return e.b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x); }

}  // namespace detail

using namespace detail;

namespace {

/// One of AVX-512's whole-register operations over a vector of any length: pieces of 16, the last one padded.
Value* in_pieces(Emitter& e, llvm::ArrayRef<Value*> operands, const std::function<Value*(llvm::ArrayRef<Value*>)>& f) {
  const int lanes = static_cast<int>(llvm::cast<llvm::FixedVectorType>(operands[0]->getType())->getNumElements());
  if (lanes == kLanes) return f(operands);
  const int pieces = (lanes + kLanes - 1) / kLanes;
  Value* joined = nullptr;
  for (int p = 0; p < pieces; ++p) {
    llvm::SmallVector<int, kLanes> mask;
    for (int i = 0; i < kLanes; ++i) mask.push_back(p * kLanes + i < lanes ? p * kLanes + i : -1);
    std::vector<Value*> parts;
    for (Value* o : operands) parts.push_back(e.b.CreateShuffleVector(o, mask));
    Value* r = f(parts);
    if (!joined) {
      joined = r;
      continue;
    }
    // Concatenate: both sides must have one length, so the new piece is widened first.
    llvm::SmallVector<int, 64> widen, concat;
    for (int i = 0; i < p * kLanes; ++i) widen.push_back(i < kLanes ? i : -1);
    Value* wide = e.b.CreateShuffleVector(r, widen);
    for (int i = 0; i < (p + 1) * kLanes; ++i) concat.push_back(i);
    joined = e.b.CreateShuffleVector(joined, wide, concat);
  }
  if (pieces * kLanes == lanes) return joined;
  llvm::SmallVector<int, 64> head;
  for (int i = 0; i < lanes; ++i) head.push_back(i);
  return e.b.CreateShuffleVector(joined, head);
}

bool use_avx512(const Emitter& e, const Value* x) { return e.target.avx512 && x->getType()->isVectorTy(); }

/// p * 2^n for an integral n: one instruction on AVX-512, which rounds subnormals once and takes any n, infinities included.
/// Elsewhere n must lie in -252 .. 252; two exact powers of two then do the same.
Value* scale_by_power(Emitter& e, Value* p, Value* n, Value* n_int) {
  if (use_avx512(e, p)) {
    return in_pieces(e, {p, n}, [&](llvm::ArrayRef<Value*> o) -> Value* {
      return e.b.CreateIntrinsic(llvm::Intrinsic::x86_avx512_mask_scalef_ps_512, {},
                                 {o[0], o[1], e.zero(o[0]->getType()), e.b.getInt16(0xffff), e.b.getInt32(4)});
    });
  }
  Type* t = n_int->getType();
  auto power = [&](Value* k) { return e.b.CreateBitCast(e.b.CreateShl(e.b.CreateAdd(k, e.integer(t, 127)), e.integer(t, 23)), p->getType()); };
  Value* half = e.b.CreateAShr(n_int, e.integer(t, 1));
  Value* rest = e.b.CreateSub(n_int, half);
  return e.b.CreateFMul(e.b.CreateFMul(p, power(half)), power(rest));
}

/// The nearest integer of |x| < 2^22 as a float and as an int. Adding 1.5 * 2^23 leaves the integer in the low bits: no conversion that NaN
/// would make undefined.
std::pair<Value*, Value*> nearest(Emitter& e, Value* x) {
  constexpr double kMagic = 12582912.0;
  Value* magic = e.real(x->getType(), kMagic);
  Value* t = e.b.CreateFAdd(x, magic);
  Type* it = int_like(e, x);
  Value* n_int = e.b.CreateSub(e.b.CreateBitCast(t, it), e.b.CreateBitCast(magic, it));
  return {e.b.CreateFSub(t, magic), n_int};
}

/// x limited to [lo, hi]; NaN stays NaN.
Value* clamp(Emitter& e, Value* x, double lo, double hi) { return e.fmin(e.real(x->getType(), hi), e.fmax(e.real(x->getType(), lo), x)); }

/// 2^f for |f| <= 1/2; 1 exactly for f = 0.
Value* exp2_polynomial(Emitter& e, Value* f, Accuracy accuracy) {
  switch (accuracy) {
    case Accuracy::F32: return horner(e, f, {1, 0.69314720285, 0.24022647914, 0.055503324711, 0.0096184373592, 0.0013398874461, 0.00015353362928});
    case Accuracy::F16: return horner(e, f, {1, 0.69312419382, 0.2402409876, 0.055906423241, 0.0095828472529});
    case Accuracy::BF16: return horner(e, f, {1, 0.69328292751, 0.24221095999, 0.055008929941});
  }
  llvm_unreachable("accuracy");
}

constexpr double kLog2E = 1.4426950408889634;
constexpr double kLn2High = 0.693359375;  // 10 bits, so that its product with n and the difference are exact
constexpr double kLn2Low = -2.12194440054690583e-4;

/// 2^n for 16 values of n in sixteenths, from a register: 2^(n - floor n) by its number, which `n_bits` has in its low bits; and the rest by the
/// exponent. (1 + p) 2^n in all.
Value* scaled_sixteenths(Emitter& e, Value* p, Value* n, Value* n_bits) {
  return in_pieces(e, {p, n, n_bits}, [&](llvm::ArrayRef<Value*> o) -> Value* {
    std::vector<llvm::Constant*> powers;
    for (int i = 0; i < kLanes; ++i) powers.push_back(e.real(e.f32(), std::exp2(i / 16.0)));
    Value* power = e.b.CreateIntrinsic(llvm::Intrinsic::x86_avx512_permvar_sf_512, {}, {llvm::ConstantVector::get(powers), o[2]});
    Value* x = e.fma(power, o[0], power);
    return e.b.CreateIntrinsic(llvm::Intrinsic::x86_avx512_mask_scalef_ps_512, {},
                               {x, o[1], e.zero(x->getType()), e.b.getInt16(0xffff), e.b.getInt32(4)});
  });
}

/// x * scale in sixteenths and its bits, by adding a number whose last place is a sixteenth.
std::pair<Value*, Value*> sixteenths(Emitter& e, Value* x, double scale) {
  constexpr double kMagic = 1.5 * (1 << 19);
  Value* magic = e.real(x->getType(), kMagic);
  Value* t = scale == 1 ? e.b.CreateFAdd(x, magic) : e.fma(x, e.real(x->getType(), scale), magic);
  return {e.b.CreateFSub(t, magic), e.b.CreateBitCast(t, int_like(e, x))};
}

/// The remainder where |x| < bound; elsewhere n alone gives 0, infinity or NaN.
Value* remainder_within(Emitter& e, Value* x, double bound, Value* remainder) {
  return e.b.CreateSelect(e.b.CreateFCmpOLT(fabs(e, x), e.real(x->getType(), bound)), remainder, e.zero(x->getType()));
}

/// Full accuracy on AVX-512: with remainders of at most 1/32 of a power of two, the polynomial is short.
Value* exp2_by_sixteenths(Emitter& e, Value* x) {
  auto [n, bits] = sixteenths(e, x, 1);
  Value* f = remainder_within(e, x, 200, e.b.CreateFSub(x, n));
  Value* p = e.b.CreateFMul(f, horner(e, f, {0.69314718056, 0.24022650696, 0.055504108665}));
  return scaled_sixteenths(e, p, n, bits);
}

Value* exp_by_sixteenths(Emitter& e, Value* x) {
  Type* t = x->getType();
  auto [n, bits] = sixteenths(e, x, kLog2E);
  Value* r = e.fma(n, e.real(t, -kLn2Low), e.fma(n, e.real(t, -kLn2High), x));
  r = remainder_within(e, x, 140, r);
  Value* p = e.fma(e.b.CreateFMul(r, r), horner(e, r, {0.5, 0.16666666667}), r);
  return scaled_sixteenths(e, p, n, bits);
}

}  // namespace

Value* emit_exp2(Emitter& e, Value* x, Accuracy accuracy) {
  if (is_f64(x)) return libm_lanes(e, "exp2", x);
  if (use_avx512(e, x) && accuracy == Accuracy::F32) return exp2_by_sixteenths(e, x);
  if (use_avx512(e, x)) {
    // vreduce and vrndscale treat infinities as 2^n needs them (fraction 0), and so no clamp is in the way of the inner loops.
    Value* n = emit_round(e, x);
    Value* f = in_pieces(e, {x}, [&](llvm::ArrayRef<Value*> o) -> Value* {
      return e.b.CreateIntrinsic(llvm::Intrinsic::x86_avx512_mask_reduce_ps_512, {},
                                 {o[0], e.b.getInt32(8), e.zero(o[0]->getType()), e.b.getInt16(0xffff), e.b.getInt32(4)});
    });
    return scale_by_power(e, exp2_polynomial(e, f, accuracy), n, nullptr);
  }
  x = clamp(e, x, -160, 130);
  auto [n, n_int] = nearest(e, x);
  return scale_by_power(e, exp2_polynomial(e, e.b.CreateFSub(x, n), accuracy), n, n_int);
}

namespace {

/// What is common to e^x in f32 and its careful form: e^x = 2^n * (1 + r + r^2 * tail), exact = r before the last rounding.
struct Exponential {
  Value *n, *n_int, *exact, *r, *tail;
};

Exponential exponential(Emitter& e, Value* x) {
  Exponential p{};
  Type* t = x->getType();
  x = clamp(e, x, -110, 89);
  if (use_avx512(e, x))
    p.n = emit_round(e, e.b.CreateFMul(x, e.real(t, kLog2E)));
  else
    std::tie(p.n, p.n_int) = nearest(e, e.b.CreateFMul(x, e.real(t, kLog2E)));
  p.exact = e.fma(p.n, e.real(t, -kLn2High), x);
  p.r = e.fma(p.n, e.real(t, -kLn2Low), p.exact);
  p.tail = horner(e, p.r, {0.4999999305, 0.1666651479, 0.041668456859, 0.0083694189359, 0.0013813140978});
  return p;
}

/// e^x as the sum of a float and a small correction: the rounding errors of r and of the additions are kept. For formulas that magnify them.
std::pair<Value*, Value*> careful_exp(Emitter& e, Value* x) {
  const Exponential p = exponential(e, x);
  Type* t = x->getType();
  Value* one = e.real(t, 1);
  Value* lost = e.fma(p.n, e.real(t, -kLn2Low), e.b.CreateFSub(p.exact, p.r));
  Value* high = e.b.CreateFAdd(p.r, one);
  Value* low = e.b.CreateFAdd(e.b.CreateFSub(p.r, e.b.CreateFSub(high, one)), lost);
  Value* small = e.fma(e.b.CreateFMul(p.r, p.r), p.tail, low);
  Value* sum = e.b.CreateFAdd(high, small);
  Value* rest = e.b.CreateFSub(small, e.b.CreateFSub(sum, high));
  return {scale_by_power(e, sum, p.n, p.n_int), scale_by_power(e, rest, p.n, p.n_int)};
}

}  // namespace

Value* emit_exp(Emitter& e, Value* x, Accuracy accuracy) {
  if (is_f64(x)) return libm_lanes(e, "exp", x);
  // The rounding of x * log2(e) costs up to 3e-6 of the result, too much for f32 and little enough for half types.
  if (accuracy != Accuracy::F32) return emit_exp2(e, e.b.CreateFMul(x, e.real(x->getType(), kLog2E)), accuracy);
  if (use_avx512(e, x)) return exp_by_sixteenths(e, x);
  const Exponential p = exponential(e, x);
  Value* sum = e.b.CreateFAdd(e.fma(e.b.CreateFMul(p.r, p.r), p.tail, p.r), e.real(x->getType(), 1));
  return scale_by_power(e, sum, p.n, p.n_int);
}

namespace {

struct Logarithm {
  Value *exponent, *r, *tail;  ///< ln x = exponent * ln 2 + r + tail, r exact
};

Logarithm logarithm(Emitter& e, Value* x) {
  Type* t = x->getType();
  Type* it = int_like(e, x);
  constexpr std::int64_t kSqrtHalf = 0x3f3504f3;
  Value* tiny = e.b.CreateFCmpOLT(x, e.real(t, std::ldexp(1.0, -126)));
  Value* scaled = e.b.CreateSelect(tiny, e.b.CreateFMul(x, e.real(t, 8388608.0)), x);
  Value* bits = e.b.CreateSub(e.b.CreateBitCast(scaled, it), e.integer(it, kSqrtHalf));
  Value* exponent = e.b.CreateAShr(bits, e.integer(it, 23));
  exponent = e.b.CreateSub(exponent, e.b.CreateSelect(tiny, e.integer(it, 23), e.integer(it, 0)));
  Value* m = e.b.CreateBitCast(e.b.CreateAdd(e.b.CreateAnd(bits, e.integer(it, 0x7fffff)), e.integer(it, kSqrtHalf)), t);
  Value* r = e.b.CreateFSub(m, e.real(t, 1));
  Value* p = horner(
      e, r,
      {0.33333312606, -0.25000009595, 0.20002118537, -0.16667995934, 0.14219554878, -0.12405589582, 0.11888145052, -0.11675640197, 0.067466634031});
  Value* r2 = e.b.CreateFMul(r, r);
  Value* tail = e.fma(r2, e.real(t, -0.5), e.b.CreateFMul(e.b.CreateFMul(r2, r), p));
  return {e.b.CreateSIToFP(exponent, t), r, tail};
}

Value* log_specials(Emitter& e, Value* x, Value* result) {
  Type* t = x->getType();
  const double inf = std::numeric_limits<double>::infinity();
  result = e.b.CreateSelect(e.b.CreateFCmpOLT(x, e.real(t, inf)), result, x);
  result = e.b.CreateSelect(e.b.CreateFCmpOEQ(x, e.real(t, 0)), e.real(t, -inf), result);
  return e.b.CreateSelect(e.b.CreateFCmpOLT(x, e.real(t, 0)), e.real(t, std::numeric_limits<double>::quiet_NaN()), result);
}

}  // namespace

Value* emit_ln(Emitter& e, Value* x) {
  if (is_f64(x)) return libm_lanes(e, "log", x);
  Type* t = x->getType();
  auto [n, r, tail] = logarithm(e, x);
  tail = e.fma(n, e.real(t, -2.12194440054690583e-4), tail);
  Value* result = e.fma(n, e.real(t, 0.693359375), e.b.CreateFAdd(r, tail));
  return log_specials(e, x, result);
}

Value* emit_log2(Emitter& e, Value* x) {
  if (is_f64(x)) return libm_lanes(e, "log2", x);
  Type* t = x->getType();
  auto [n, r, tail] = logarithm(e, x);
  // log2(e) - 1 keeps the exact r outside of the rounded product.
  Value* rest = e.real(t, 0.44269504088896341);
  Value* low = e.fma(r, rest, e.fma(tail, rest, tail));
  return log_specials(e, x, e.b.CreateFAdd(n, e.b.CreateFAdd(r, low)));
}

Value* emit_tanh(Emitter& e, Value* x, Accuracy accuracy) {
  if (is_f64(x)) return libm_lanes(e, "tanh", x);
  Type* t = x->getType();
  Value* a = fabs(e, x);
  Value* power = emit_exp(e, e.fmin(e.real(t, 20), e.b.CreateFAdd(a, a)), accuracy);
  Value* large = e.b.CreateFSub(e.real(t, 1), e.b.CreateFDiv(e.real(t, 2), e.b.CreateFAdd(power, e.real(t, 1))));
  // Near 0 the difference cancels; an odd polynomial does not.
  Value* z = e.b.CreateFMul(x, x);
  const bool short_form = accuracy != Accuracy::F32;
  Value* p = short_form ? horner(e, z, {-0.33332376089, 0.13308713498, -0.051971603009, 0.015226883428})
                        : horner(e, z, {-0.33333283925, 0.13331491274, -0.053743497058, 0.020650584209, -0.0057170418461});
  Value* small = e.fma(e.b.CreateFMul(x, z), p, x);
  return e.b.CreateSelect(e.b.CreateFCmpOLT(a, e.real(t, 0.625)), small, copysign(e, large, x));
}

Value* emit_sigmoid(Emitter& e, Value* x, Accuracy accuracy) {
  Type* t = x->getType();
  Value* one = e.real(t, 1);
  Value* below = e.b.CreateFCmpOLT(x, e.zero(t));
  // e^-|x| cannot overflow, so the result is right down to the subnormals.
  Value* negative = e.b.CreateFNeg(fabs(e, x));
  if (is_f64(x) || accuracy != Accuracy::F32) {
    Value* power = emit_exp(e, negative, accuracy);
    return e.b.CreateFDiv(e.b.CreateSelect(below, power, one), e.b.CreateFAdd(power, one));
  }
  // The errors of the power, of 1 + power and of the quotient would add up to 2.5 ulp; the first two are known and taken out.
  auto [power, rest] = careful_exp(e, negative);
  Value* sum = e.b.CreateFAdd(one, power);
  Value* sum_rest = e.b.CreateFAdd(e.b.CreateFSub(power, e.b.CreateFSub(sum, one)), rest);
  Value* quotient = e.b.CreateFDiv(e.b.CreateSelect(below, power, one), sum);
  Value* inverse = e.b.CreateSelect(below, e.b.CreateFSub(one, quotient), quotient);
  Value* correction = e.fma(e.b.CreateFNeg(quotient), sum_rest, e.b.CreateSelect(below, rest, e.zero(t)));
  return e.fma(correction, inverse, quotient);
}

Value* emit_erf(Emitter& e, Value* x) {
  if (is_f64(x)) return libm_lanes(e, "erf", x);
  Type* t = x->getType();
  Value* a = fabs(e, x);
  Value* z = e.b.CreateFMul(x, x);
  Value* small = horner(e, z, {0.1283791666, -0.37612633327, 0.11283689285, -0.026859056094, 0.0052001872578, -0.00081331560357, 8.3298968029e-5});
  small = e.fma(x, small, x);  // 2 / sqrt(pi) = 1 + 0.128..: the exact x stays outside
  // 1 - erfc(a) with ln erfc(a) = a * polynomial; beyond 4 the result rounds to 1.
  Value* limited = e.fmin(e.real(t, 4), a);
  Value* p = horner(e, limited, {-0.1285143539, -0.6357183407, -0.10526180772, 0.022889940291, -0.0032149477654, 0.00021398395232});
  Value* large = e.b.CreateFSub(e.real(t, 1), emit_exp(e, e.fma(limited, p, e.b.CreateFNeg(limited))));
  return e.b.CreateSelect(e.b.CreateFCmpOLT(a, e.real(t, 0.928)), small, copysign(e, large, x));
}

Value* emit_sqrt(Emitter& e, Value* x) { return e.b.CreateUnaryIntrinsic(llvm::Intrinsic::sqrt, x); }
Value* emit_rsqrt(Emitter& e, Value* x) { return emit_rcp(e, emit_sqrt(e, x)); }
Value* emit_rcp(Emitter& e, Value* x) { return e.b.CreateFDiv(e.real(x->getType(), 1), x); }
Value* emit_floor(Emitter& e, Value* x) { return e.b.CreateUnaryIntrinsic(llvm::Intrinsic::floor, x); }
Value* emit_ceil(Emitter& e, Value* x) { return e.b.CreateUnaryIntrinsic(llvm::Intrinsic::ceil, x); }
Value* emit_round(Emitter& e, Value* x) { return e.b.CreateUnaryIntrinsic(llvm::Intrinsic::roundeven, x); }

std::vector<std::pair<std::string_view, void*>> libm_symbols() {
  using F = double (*)(double);
  auto address = [](F f) { return reinterpret_cast<void*>(f); };
  return {{"exp", address(std::exp)},   {"exp2", address(std::exp2)}, {"log", address(std::log)}, {"log2", address(std::log2)},
          {"tanh", address(std::tanh)}, {"erf", address(std::erf)},   {"sin", address(std::sin)}, {"cos", address(std::cos)}};
}

}  // namespace tessera::cpu
