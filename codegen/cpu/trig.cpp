// Sine and cosine with full range reduction.
#include <array>
#include <cmath>
#include <limits>
#include <string>

#include "codegen/cpu/vecmath.h"
#include "codegen/cpu/vecmath_detail.h"

namespace tessera::cpu {

using llvm::Type;
using llvm::Value;
using namespace detail;

namespace {

/// A vector of so many lanes; 0: a scalar.
Type* shape(Emitter& e, Type* t, int lanes) { return lanes == 0 ? t : e.vec(t, lanes); }

/// x = quadrant * pi / 2 + r with |r| <= pi / 4, lane by lane.
struct Reduced {
  Value *r, *quadrant;  ///< f64 and i32
};

/// |x| < 2^28, in double precision: two parts of pi / 2 leave an error below 2^-75 in absolute terms, and no float comes nearer to a multiple
/// of pi / 2 than 2^-34 there.
Reduced reduce_small(Emitter& e, Value* x, int lanes) {
  Type* dt = shape(e, e.f64(), lanes);
  constexpr double kMagic = 6755399441055744.0;  // 1.5 * 2^52: the nearest integer stands in the low bits of the sum
  Value* xd = e.b.CreateFPExt(x, dt);
  Value* t = e.fma(xd, e.real(dt, 0.63661977236758134308), e.real(dt, kMagic));
  Value* quadrant = e.b.CreateTrunc(e.b.CreateBitCast(t, shape(e, e.i64(), lanes)), shape(e, e.i32(), lanes));
  Value* n = e.b.CreateFSub(t, e.real(dt, kMagic));
  Value* r = e.fma(n, e.real(dt, -1.57079632679489655800), xd);
  return {e.fma(n, e.real(dt, -6.12323399573676603587e-17), r), quadrant};
}

/// 32 bits of 2 / pi ending at byte j + 1 after the point, for every j: 96 bits taken at the right place hold all of the quotient mod 4.
llvm::Constant* two_over_pi(Emitter& e) {
  static constexpr std::array<std::uint8_t, 24> kBytes = {0xa2, 0xf9, 0x83, 0x6e, 0x4e, 0x44, 0x15, 0x29, 0xfc, 0x27, 0x57, 0xd1,
                                                          0xf5, 0x34, 0xdd, 0xc0, 0xdb, 0x62, 0x95, 0x99, 0x3c, 0x43, 0x90, 0x41};
  std::array<std::uint32_t, 24> words{};
  std::uint32_t word = 0;
  for (std::size_t j = 0; j < words.size(); ++j) words[j] = word = word << 8 | kBytes[j];
  const char* name = "tessera.two_over_pi";
  if (llvm::GlobalVariable* known = e.module.getNamedGlobal(name)) return known;
  llvm::Constant* data = llvm::ConstantDataArray::get(e.context, llvm::ArrayRef<std::uint32_t>(words));
  return new llvm::GlobalVariable(e.module, data->getType(), true, llvm::GlobalValue::InternalLinkage, data, name);
}

/// Payne and Hanek's method for every finite |x| >= 2^8: x = m * 2^s with a 24-bit m, times the 96 bits of 2 / pi that matter mod 4.
Reduced reduce_large(Emitter& e, Value* x, int lanes) {
  Type* it = shape(e, e.i32(), lanes);
  Type* lt = shape(e, e.i64(), lanes);
  Value* bits = e.b.CreateBitCast(x, it);
  Value* index = e.b.CreateAnd(e.b.CreateLShr(bits, e.integer(it, 26)), e.integer(it, 15));
  Value* shift = e.b.CreateAnd(e.b.CreateLShr(bits, e.integer(it, 23)), e.integer(it, 7));
  Value* m = e.b.CreateOr(e.b.CreateAnd(bits, e.integer(it, 0x7fffff)), e.integer(it, 0x800000));
  Value* mw = e.b.CreateZExt(e.b.CreateShl(m, shift), lt);
  llvm::Constant* table = two_over_pi(e);
  auto word = [&](std::int64_t offset) {
    Value* p = e.b.CreateGEP(e.i32(), table, e.b.CreateAdd(index, e.integer(it, offset)));
    if (lanes == 0) return e.b.CreateZExt(e.b.CreateLoad(e.i32(), p), lt);
    Value* all = llvm::Constant::getAllOnesValue(e.vec(e.b.getInt1Ty(), lanes));
    return e.b.CreateZExt(e.b.CreateMaskedGather(it, p, llvm::Align(4), all), lt);
  };
  Value* thirty_two = e.integer(lt, 32);
  Value* high = e.b.CreateShl(e.b.CreateMul(mw, word(0)), thirty_two);
  Value* middle = e.b.CreateMul(mw, word(4));
  Value* low = e.b.CreateLShr(e.b.CreateMul(mw, word(8)), thirty_two);
  Value* product = e.b.CreateAdd(e.b.CreateOr(high, low), middle);  // x * 2 / pi mod 4 in units of 2^-62
  Value* quadrant = e.b.CreateLShr(e.b.CreateAdd(product, e.integer(lt, std::int64_t{1} << 61)), e.integer(lt, 62));
  Value* fraction = e.b.CreateSub(product, e.b.CreateShl(quadrant, e.integer(lt, 62)));
  Type* dt = shape(e, e.f64(), lanes);
  Value* r = e.b.CreateFMul(e.b.CreateSIToFP(fraction, dt), e.real(dt, std::ldexp(1.57079632679489661923, -62)));
  // The sign of x was left out.
  Value* negative = e.b.CreateICmpSLT(bits, e.zero(it));
  Value* q = e.b.CreateTrunc(quadrant, it);
  return {e.b.CreateSelect(negative, e.b.CreateFNeg(r), r), e.b.CreateSelect(negative, e.b.CreateNeg(q), q)};
}

/// sin(r + quadrant * pi / 2) for |r| <= pi / 4.
Value* sine_of_reduced(Emitter& e, Value* r, Value* q) {
  Type *t = r->getType(), *it = q->getType();
  Value* z = e.b.CreateFMul(r, r);
  Value* s = e.fma(e.b.CreateFMul(r, z), horner(e, z, {-0.16666666641, 0.0083333293623, -0.00019839327129, 2.7182372149e-6}), r);
  Value* c = e.fma(e.b.CreateFMul(z, z), horner(e, z, {0.041666645554, -0.0013887309866, 2.4432412866e-5}), e.fma(z, e.real(t, -0.5), e.real(t, 1)));
  Value* odd = e.b.CreateICmpNE(e.b.CreateAnd(q, e.integer(it, 1)), e.zero(it));
  Value* sign = e.b.CreateShl(e.b.CreateAnd(q, e.integer(it, 2)), e.integer(it, 30));
  return e.b.CreateBitCast(e.b.CreateXor(e.b.CreateBitCast(e.b.CreateSelect(odd, c, s), it), sign), t);
}

/// sin(x + turn * pi / 2).
Value* sine_body(Emitter& e, Value* x, int lanes, int turn) {
  Type* t = x->getType();
  Type* it = shape(e, e.i32(), lanes);
  Type* dt = shape(e, e.f64(), lanes);
  Reduced small = reduce_small(e, x, lanes);
  Value* a = fabs(e, x);
  Value* large = e.b.CreateFCmpOGE(a, e.real(t, 268435456.0));
  llvm::BasicBlock* direct = e.b.GetInsertBlock();
  Reduced exact{};
  llvm::BasicBlock* slow = nullptr;
  e.if_then(lanes == 0 ? large : e.b.CreateOrReduce(large), [&] {
    Reduced r = reduce_large(e, x, lanes);
    exact = {e.b.CreateSelect(large, r.r, small.r), e.b.CreateSelect(large, r.quadrant, small.quadrant)};
    slow = e.b.GetInsertBlock();
  });
  auto merge = [&](Type* type, Value* from_direct, Value* from_slow) {
    llvm::PHINode* phi = e.b.CreatePHI(type, 2);
    phi->addIncoming(from_direct, direct);
    phi->addIncoming(from_slow, slow);
    return phi;
  };
  Value* rd = merge(dt, small.r, exact.r);
  Value* q = merge(it, small.quadrant, exact.quadrant);
  q = e.b.CreateAdd(q, e.integer(it, turn));
  Value* result = sine_of_reduced(e, e.b.CreateFPTrunc(rd, t), q);
  const double inf = std::numeric_limits<double>::infinity();
  return e.b.CreateSelect(e.b.CreateFCmpOLT(a, e.real(t, inf)), result, e.real(t, std::numeric_limits<double>::quiet_NaN()));
}

/// One shared function a vector length (0: for scalars): the reduction is long and no inner loop of products waits for it.
Value* sine_call(Emitter& e, Value* x, int lanes, int turn) {
  llvm::Function* f = e.shared(std::string(turn ? "tessera.cos." : "tessera.sin.") + std::to_string(lanes),
                               llvm::FunctionType::get(x->getType(), {x->getType()}, false),
                               [&](llvm::Function* self) { e.b.CreateRet(sine_body(e, self->getArg(0), lanes, turn)); });
  return e.b.CreateCall(f, {x});
}

Value* sine(Emitter& e, Value* x, int turn) {
  auto* v = llvm::dyn_cast<llvm::FixedVectorType>(x->getType());
  if (!v) {
    Value* wide = e.b.CreateInsertElement(e.zero(e.vec(e.f32(), 4)), x, std::uint64_t{0});
    return e.b.CreateExtractElement(sine(e, wide, turn), std::uint64_t{0});
  }
  return sine_call(e, x, static_cast<int>(v->getNumElements()), turn);
}

/// pi / 2 in three floats.
constexpr double kHalfPi[] = {1.57079637050628662109375, -4.371138828673793e-8, -1.7151245100058819e-15};
/// Below it the quotient by pi / 2 has 17 bits, and its product with the first of these, taken off by a fused multiply-add, leaves no rounding.
constexpr double kShortAngle = 131072;

}  // namespace

Value* emit_sine_inline(Emitter& e, Value* x, int turn) {
  Type *t = x->getType(), *it = e.i32();
  constexpr double kMagic = 12582912.0;  // 1.5 * 2^23
  Value* shifted = e.fma(x, e.real(t, 0.63661977236758134308), e.real(t, kMagic));
  Value* n = e.b.CreateFNeg(e.b.CreateFSub(shifted, e.real(t, kMagic)));
  Value* r = x;
  for (const double c : kHalfPi) r = e.fma(n, e.real(t, c), r);
  Value* near = sine_of_reduced(e, r, e.b.CreateAdd(e.b.CreateBitCast(shifted, it), e.integer(it, turn)));
  Value* far = e.b.CreateFCmpUGE(fabs(e, x), e.real(t, kShortAngle));
  return e.choose(far, [&] { return Values{sine_call(e, x, 0, turn)}; }, [&] { return Values{near}; })[0];
}

Value* emit_sin(Emitter& e, Value* x) { return is_f64(x) ? libm_lanes(e, "sin", x) : sine(e, x, 0); }
Value* emit_cos(Emitter& e, Value* x) { return is_f64(x) ? libm_lanes(e, "cos", x) : sine(e, x, 1); }

}  // namespace tessera::cpu
