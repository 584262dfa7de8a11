#include "codegen/cpu/convert.h"

#include <cmath>
#include <limits>

#include "codegen/cpu/pack.h"
#include "dsl/diagnostic.h"

namespace tessera::cpu {

using llvm::Type;
using llvm::Value;

namespace {

Type* like(Value* x, Type* element) { return x->getType()->getWithNewType(element); }

Value* bits_of(Emitter& e, Value* x) { return e.b.CreateBitCast(x, like(x, e.b.getIntNTy(x->getType()->getScalarSizeInBits()))); }

/// f64 -> f32 with the last bit set if inexact: rounding once more, to at most 22 bits, rounds the f64 value once.
Value* round_to_odd(Emitter& e, Value* x) {
  Value* y = e.b.CreateFPTrunc(x, like(x, e.f32()));
  Value* back = e.b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, e.b.CreateFPExt(y, x->getType()));
  Value* ax = e.b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x);
  Value* u = bits_of(e, y);
  Value* above = e.b.CreateZExt(e.b.CreateFCmpOGT(back, ax), u->getType());
  Value* inexact = e.b.CreateZExt(e.b.CreateFCmpONE(back, ax), u->getType());
  return e.b.CreateBitCast(e.b.CreateOr(e.b.CreateSub(u, above), inexact), y->getType());
}

/// A sign-magnitude format by its widths; `max_code` is the largest finite magnitude, `over` what overflow gives, `nan` a quiet NaN.
struct Format {
  int mant_bits, bias;
  std::int64_t sign, max_code, over, nan;
};

Format format_of(DType t) {
  switch (t) {
    case DType::F16: return {10, 15, 0x8000, 0x7bff, 0x7c00, 0x7e00};
    case DType::BF16: return {7, 127, 0x8000, 0x7f7f, 0x7f80, 0x7fc0};
    case DType::F32: return {23, 127, std::int64_t{1} << 31, 0x7f7fffff, 0x7f800000, 0x7fc00000};
    case DType::E4M3: return {3, 7, 0x80, 0x7e, 0x7f, 0x7f};
    case DType::E5M2: return {2, 15, 0x80, 0x7b, 0x7c, 0x7e};
    case DType::E2M1: return {1, 1, 0x8, 0x7, 0x7, 0x7};
    default: TESSERA_UNREACHABLE("not a sign-magnitude float");
  }
}

/// The magnitude code nearest to |x| (f32), beyond max_code for overflow.
Value* nearest_code(Emitter& e, const Format& f, Value* magnitude_bits) {
  Type* t = magnitude_bits->getType();
  const int drop = 23 - f.mant_bits;
  auto c = [&](std::int64_t v) { return e.integer(t, v); };
  if (drop == 0) return magnitude_bits;
  Value* odd = e.b.CreateAnd(e.b.CreateLShr(magnitude_bits, c(drop)), c(1));
  Value* rounded = e.b.CreateAdd(magnitude_bits, e.b.CreateAdd(odd, c((std::int64_t{1} << (drop - 1)) - 1)));
  Value* code = e.b.CreateSub(e.b.CreateLShr(rounded, c(drop)), c(static_cast<std::int64_t>(127 - f.bias) << f.mant_bits));
  if (f.bias == 127) return code;  // the same exponents: subnormals need nothing special
  // Adding 2^(23 + emin - mant_bits) makes the hardware round at the format's smallest unit.
  const int emin = 1 - f.bias;
  const std::int64_t magic = static_cast<std::int64_t>(127 + 23 + emin - f.mant_bits) << 23;
  Type* real = t->getWithNewType(e.f32());
  Value* sum = e.b.CreateFAdd(e.b.CreateBitCast(magnitude_bits, real), e.b.CreateBitCast(c(magic), real));
  Value* small = e.b.CreateSub(e.b.CreateBitCast(sum, t), c(magic));
  return e.b.CreateSelect(e.b.CreateICmpULT(magnitude_bits, c(static_cast<std::int64_t>(127 + emin) << 23)), small, code);
}

/// |value| of a magnitude code as f32; codes beyond max_code are infinite.
Value* decode_code(Emitter& e, DType t, const Format& f, Value* code) {
  Type* it = code->getType();
  Value* x;
  if (t == DType::F32)
    x = e.b.CreateBitCast(code, like(code, e.f32()));
  else if (t == DType::F16)
    x = e.b.CreateFPExt(e.b.CreateBitCast(e.b.CreateTrunc(code, like(code, e.b.getInt16Ty())), like(code, e.b.getHalfTy())), like(code, e.f32()));
  else if (t == DType::BF16)
    x = e.b.CreateBitCast(e.b.CreateShl(code, e.integer(it, 16)), like(code, e.f32()));
  else
    x = widen_float(e, t, e.b.CreateTrunc(code, like(code, e.b.getInt8Ty())));
  return e.b.CreateSelect(e.b.CreateICmpSGT(code, e.integer(it, f.max_code)), e.real(x->getType(), INFINITY), x);
}

/// f32 (or, for F32 itself, f64) to the bits of `t` in i32 lanes.
Value* encode(Emitter& e, DType t, Value* x, bool saturate, Rounding rounding) {
  const Format f = format_of(t);
  Value* source = x;
  Value* narrow = x->getType()->getScalarType()->isDoubleTy() ? e.b.CreateFPTrunc(x, like(x, e.f32())) : x;
  Value* u = bits_of(e, narrow);
  Type* it = u->getType();
  auto c = [&](std::int64_t v) { return e.integer(it, v); };
  Value* magnitude = e.b.CreateAnd(u, c(0x7fffffff));
  Value* negative = e.b.CreateICmpSLT(u, c(0));
  Value* code = nearest_code(e, f, magnitude);
  if (rounding != Rounding::Nearest) {
    code = e.b.CreateSelect(e.b.CreateICmpSGT(code, c(f.max_code)), c(f.max_code + 1), code);
    Value* back = decode_code(e, t, f, code);
    Value* ax = e.b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, source);
    if (back->getType() != ax->getType()) back = e.b.CreateFPExt(back, ax->getType());
    Value* above = e.b.CreateZExt(e.b.CreateFCmpOGT(back, ax), it);
    Value* below = e.b.CreateZExt(e.b.CreateFCmpOLT(back, ax), it);
    Value* inward = e.b.CreateSub(code, above);
    Value* outward = e.b.CreateAdd(code, below);
    if (rounding == Rounding::TowardZero)
      code = inward;
    else
      code = rounding == Rounding::Up ? e.b.CreateSelect(negative, inward, outward) : e.b.CreateSelect(negative, outward, inward);
  }
  code = e.b.CreateSelect(e.b.CreateICmpSGT(code, c(f.max_code)), c(saturate ? f.max_code : f.over), code);
  Value* sign = e.b.CreateSelect(negative, c(f.sign), c(0));
  Value* nan = e.b.CreateFCmpUNO(source, source);
  // e2m1 has no NaN: the largest value stands for it, without a sign.
  if (t == DType::E2M1) sign = e.b.CreateSelect(nan, c(0), sign);
  code = e.b.CreateSelect(nan, c(f.nan), code);
  return e.b.CreateOr(code, sign);
}

Value* encode_e8m0(Emitter& e, Value* x, bool saturate, Rounding rounding) {
  Value* u = bits_of(e, x);
  Type* it = u->getType();
  auto c = [&](std::int64_t v) { return e.integer(it, v); };
  Value* exponent = e.b.CreateLShr(u, c(23));
  Value* fraction = e.b.CreateAnd(u, c(0x7fffff));
  // Subnormals of f32 reach down to 2^-149; of those only what lies above 2^-127 (fraction 0x400000) can round up.
  Value* subnormal = e.b.CreateICmpEQ(exponent, c(0));
  Value* up = nullptr;
  if (rounding == Rounding::Nearest)
    up = e.b.CreateICmpUGE(fraction, e.b.CreateSelect(subnormal, c(0x600000), c(0x400000)));
  else if (rounding == Rounding::Up)
    up = e.b.CreateICmpUGT(fraction, e.b.CreateSelect(subnormal, c(0x400000), c(0)));
  Value* code = up ? e.b.CreateAdd(exponent, e.b.CreateZExt(up, it)) : exponent;
  const bool keeps = saturate || rounding == Rounding::TowardZero || rounding == Rounding::Down;
  code = e.b.CreateSelect(e.b.CreateICmpUGT(code, c(254)), c(keeps ? 254 : 255), code);
  if (!saturate) code = e.b.CreateSelect(e.b.CreateFCmpOEQ(x, e.real(x->getType(), INFINITY)), c(255), code);
  Value* bad = e.b.CreateOr(e.b.CreateFCmpUNO(x, x), e.b.CreateFCmpOLT(x, e.real(x->getType(), 0)));
  code = e.b.CreateSelect(bad, c(255), code);
  return e.b.CreateSelect(e.b.CreateFCmpOEQ(x, e.real(x->getType(), 0)), c(0), code);
}

/// An integer as f64, exactly or with a sticky last bit: any later rounding to 32 bits or fewer is single.
Value* sticky_double(Emitter& e, Value* x, bool is_signed) {
  Type* t = x->getType();
  Type* real = like(x, e.f64());
  if (t->getScalarSizeInBits() < 64) return is_signed ? e.b.CreateSIToFP(x, real) : e.b.CreateUIToFP(x, real);
  Value* negative = is_signed ? e.b.CreateICmpSLT(x, e.integer(t, 0)) : nullptr;
  Value* magnitude = negative ? e.b.CreateSelect(negative, e.b.CreateNeg(x), x) : x;
  Value* large = e.b.CreateICmpUGE(magnitude, e.integer(t, std::int64_t{1} << 52));
  Value* rest = e.b.CreateZExt(e.b.CreateICmpNE(e.b.CreateAnd(magnitude, e.integer(t, 0xfff)), e.integer(t, 0)), t);
  Value* cut = e.b.CreateOr(e.b.CreateLShr(magnitude, e.integer(t, 12)), rest);
  Value* y = e.b.CreateUIToFP(e.b.CreateSelect(large, cut, magnitude), real);
  y = e.b.CreateFMul(y, e.b.CreateSelect(large, e.real(real, 4096), e.real(real, 1)));
  return negative ? e.b.CreateSelect(negative, e.b.CreateFNeg(y), y) : y;
}

/// A 64-bit integer to f64 in a direction: the rounding error of hi + lo is exact.
Value* directed_double(Emitter& e, Value* x, bool is_signed, Rounding rounding) {
  Type* t = x->getType();
  Type* real = like(x, e.f64());
  Value* high = is_signed ? e.b.CreateAShr(x, e.integer(t, 32)) : e.b.CreateLShr(x, e.integer(t, 32));
  Value* hi = e.b.CreateFMul(is_signed ? e.b.CreateSIToFP(high, real) : e.b.CreateUIToFP(high, real), e.real(real, 4294967296.0));
  Value* lo = e.b.CreateUIToFP(e.b.CreateAnd(x, e.integer(t, 0xffffffff)), real);
  Value* sum = e.b.CreateFAdd(hi, lo);
  Value* error = e.b.CreateFSub(lo, e.b.CreateFSub(sum, hi));
  Value* bits = bits_of(e, sum);
  Value* negative = e.b.CreateFCmpOLT(sum, e.real(real, 0));
  Value* rounded_up = e.b.CreateFCmpOLT(error, e.real(real, 0));
  Value* rounded_down = e.b.CreateFCmpOGT(error, e.real(real, 0));
  Value* minus = e.b.CreateSub(bits, e.integer(t, 1));
  Value* plus = e.b.CreateAdd(bits, e.integer(t, 1));
  Value* down = e.b.CreateSelect(rounded_up, e.b.CreateSelect(negative, plus, minus), bits);
  Value* up = e.b.CreateSelect(rounded_down, e.b.CreateSelect(negative, minus, plus), bits);
  Value* r = rounding == Rounding::Up ? up : rounding == Rounding::Down ? down : e.b.CreateSelect(negative, up, down);
  return e.b.CreateBitCast(r, real);
}

Value* int_to_float(Emitter& e, DType from, DType to, Value* x, bool saturate, Rounding rounding, bool exact_subnormals) {
  const bool sign = is_signed(from);
  const bool wide = bits(from) == 64;
  const auto nearest = [&](Type* real) { return sign ? e.b.CreateSIToFP(x, like(x, real)) : e.b.CreateUIToFP(x, like(x, real)); };
  if (rounding == Rounding::Nearest && (to == DType::F32 || to == DType::F64)) return nearest(to == DType::F32 ? e.f32() : e.f64());
  // f32 holds every one of these, so that there is one rounding at most.
  if (bits(from) <= 16) return convert(e, DType::F32, to, nearest(e.f32()), saturate, rounding, exact_subnormals);
  if (to == DType::F64) return wide ? directed_double(e, x, sign, rounding) : sticky_double(e, x, sign);
  return narrow_float(e, to, sticky_double(e, x, sign), saturate, rounding, exact_subnormals);
}

Value* float_to_int(Emitter& e, DType to, Value* x) {
  if (is_bool(to)) return e.b.CreateFCmpUNE(x, e.real(x->getType(), 0));
  Type* t = like(x, register_type(e, to));
  const auto id = is_signed(to) ? llvm::Intrinsic::fptosi_sat : llvm::Intrinsic::fptoui_sat;
  Value* y = e.b.CreateIntrinsic(id, {t, x->getType()}, {x});
  if (bits(to) >= 8) return y;
  Value* top = e.integer(t, int_max(to));
  if (!is_signed(to)) return e.b.CreateBinaryIntrinsic(llvm::Intrinsic::umin, y, top);
  y = e.b.CreateBinaryIntrinsic(llvm::Intrinsic::smin, y, top);
  return e.b.CreateBinaryIntrinsic(llvm::Intrinsic::smax, y, e.integer(t, int_min(to)));
}

Value* int_to_int(Emitter& e, DType from, DType to, Value* x, bool saturate) {
  if (is_bool(to)) return e.b.CreateICmpNE(x, e.zero(x->getType()));
  if (saturate) {
    Type* wide = like(x, e.i64());
    x = is_signed(from) ? e.b.CreateSExt(x, wide) : e.b.CreateZExt(x, wide);
    // Beyond the signed range only u64 reaches; there every bound but u64's own lies below, as unsigned numbers.
    if (from == DType::U64) {
      if (to != DType::U64) x = e.b.CreateBinaryIntrinsic(llvm::Intrinsic::umin, x, e.integer(wide, int_max(to)));
    } else {
      x = e.b.CreateBinaryIntrinsic(llvm::Intrinsic::smax, x, e.integer(wide, int_min(to)));
      if (to != DType::U64) x = e.b.CreateBinaryIntrinsic(llvm::Intrinsic::smin, x, e.integer(wide, int_max(to)));
    }
    return e.b.CreateTrunc(x, like(x, register_type(e, to)));
  }
  Type* t = like(x, register_type(e, to));
  x = is_signed(from) ? e.b.CreateSExtOrTrunc(x, t) : e.b.CreateZExtOrTrunc(x, t);
  if (to == DType::I4) return e.b.CreateAShr(e.b.CreateShl(x, e.integer(t, 4)), e.integer(t, 4));
  if (to == DType::U4) return e.b.CreateAnd(x, e.integer(t, 15));
  return x;
}

}  // namespace

Value* widen_float(Emitter& e, DType from, Value* x) {
  if (from == DType::F32 || from == DType::F64) return x;
  if (from != DType::E8M0 && from != DType::E2M1) return emit_widen(e, from, x, e.f32());
  Value* u = e.b.CreateZExt(x, like(x, e.i32()));
  Type* it = u->getType();
  auto c = [&](std::int64_t v) { return e.integer(it, v); };
  if (from == DType::E8M0) {
    Value* bits = e.b.CreateShl(u, c(23));
    bits = e.b.CreateSelect(e.b.CreateICmpEQ(u, c(0)), c(0x400000), bits);
    bits = e.b.CreateSelect(e.b.CreateICmpEQ(u, c(255)), c(0x7fc00000), bits);
    return e.b.CreateBitCast(bits, like(x, e.f32()));
  }
  Value* magnitude = e.b.CreateAnd(u, c(7));
  Value* bits = e.b.CreateAdd(e.b.CreateShl(magnitude, c(22)), c(std::int64_t{126} << 23));
  bits = e.b.CreateSelect(e.b.CreateICmpEQ(magnitude, c(1)), c(0x3f000000), bits);
  bits = e.b.CreateSelect(e.b.CreateICmpEQ(magnitude, c(0)), c(0), bits);
  bits = e.b.CreateOr(bits, e.b.CreateShl(e.b.CreateAnd(u, c(8)), c(28)));
  return e.b.CreateBitCast(bits, like(x, e.f32()));
}

Value* narrow_float(Emitter& e, DType to, Value* x, bool saturate, Rounding rounding, bool exact_subnormals) {
  const bool wide = x->getType()->getScalarType()->isDoubleTy();
  if (to == DType::F64) {
    Value* y = wide ? x : e.b.CreateFPExt(x, like(x, e.f64()));
    if (!saturate) return y;
    const double top = std::numeric_limits<double>::max();
    y = e.b.CreateSelect(e.b.CreateFCmpOGT(y, e.real(y->getType(), top)), e.real(y->getType(), top), y);
    return e.b.CreateSelect(e.b.CreateFCmpOLT(y, e.real(y->getType(), -top)), e.real(y->getType(), -top), y);
  }
  if (to == DType::F32) {
    if (!saturate && (!wide || rounding == Rounding::Nearest)) return wide ? e.b.CreateFPTrunc(x, like(x, e.f32())) : x;
    return e.b.CreateBitCast(encode(e, to, x, saturate, rounding), like(x, e.f32()));
  }
  if (wide) x = round_to_odd(e, x);
  if (to == DType::E8M0) return e.b.CreateTrunc(encode_e8m0(e, x, saturate, rounding), like(x, e.b.getInt8Ty()));
  if (!saturate && rounding == Rounding::Nearest) {
    if (to == DType::F16) return emit_narrow(e, to, x);
    if (to == DType::BF16 && !(exact_subnormals && e.target.avx512_bf16)) return emit_f32_to_bf16(e, x);
  }
  Value* code = encode(e, to, x, saturate, rounding);
  if (to == DType::F16) return e.b.CreateBitCast(e.b.CreateTrunc(code, like(x, e.b.getInt16Ty())), like(x, e.b.getHalfTy()));
  return e.b.CreateTrunc(code, like(x, register_type(e, to)));
}

Value* convert(Emitter& e, DType from, DType to, Value* x, bool saturate, Rounding rounding, bool exact_subnormals) {
  if (from == to && !saturate) return x;
  if (is_bool(from)) {
    if (is_bool(to)) return x;
    if (is_float(to)) return narrow_float(e, to, e.b.CreateUIToFP(x, like(x, e.f32())), false, Rounding::Nearest, false);
    return e.b.CreateZExt(x, like(x, register_type(e, to)));
  }
  if (is_float(from)) {
    Value* wide = widen_float(e, from, x);
    return is_float(to) ? narrow_float(e, to, wide, saturate, rounding, exact_subnormals) : float_to_int(e, to, wide);
  }
  return is_float(to) ? int_to_float(e, from, to, x, saturate, rounding, exact_subnormals) : int_to_int(e, from, to, x, saturate);
}

Value* reinterpret(Emitter& e, DType from, DType to, Value* x) {
  if (from == to) return x;
  if (from == DType::I4) x = e.b.CreateAnd(x, e.integer(x->getType(), 15));
  x = e.b.CreateBitCast(x, like(x, register_type(e, to)));
  if (to == DType::I4) x = e.b.CreateAShr(e.b.CreateShl(x, e.integer(x->getType(), 4)), e.integer(x->getType(), 4));
  return x;
}

}  // namespace tessera::cpu
