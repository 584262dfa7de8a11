#include "codegen/cpu/arith.h"

#include <llvm/IR/IntrinsicInst.h>
#include <llvm/IR/IntrinsicsX86.h>

#include <cmath>

#include "codegen/cpu/convert.h"
#include "codegen/cpu/vecmath.h"
#include "dsl/diagnostic.h"

namespace tessera::cpu {

using ir::OpKind;
using llvm::Type;
using llvm::Value;

namespace {

/// A splat or scalar constant.
std::optional<std::int64_t> constant_of(Value* v) {
  if (auto* c = llvm::dyn_cast<llvm::Constant>(v)) {
    if (auto* s = c->getType()->isVectorTy() ? c->getSplatValue() : c) {
      if (auto* i = llvm::dyn_cast<llvm::ConstantInt>(s)) return i->getSExtValue();
    }
  }
  return std::nullopt;
}

std::optional<int> power_of_two(std::optional<std::int64_t> c) {
  if (!c || *c <= 0 || (*c & (*c - 1)) != 0) return std::nullopt;
  return __builtin_ctzll(static_cast<std::uint64_t>(*c));
}

struct Division {
  Value *quotient, *remainder;
};

Division divide(Emitter& e, Value* x, Value* y, bool is_signed) {
  Type* t = x->getType();
  Value* zero = e.integer(t, 0);
  Value* one = e.integer(t, 1);
  const auto c = constant_of(y);
  if (!is_signed) {
    Value* bad = c && *c != 0 ? nullptr : e.b.CreateICmpEQ(y, zero);
    Value* safe = bad ? e.b.CreateSelect(bad, one, y) : y;
    Value* q = e.b.CreateUDiv(x, safe);
    Value* r = e.b.CreateSub(x, e.b.CreateMul(q, safe));
    if (!bad) return {q, r};
    return {e.b.CreateSelect(bad, zero, q), e.b.CreateSelect(bad, zero, r)};
  }
  if (c && *c > 0) {
    Value* q = e.b.CreateSDiv(x, y);
    Value* r = e.b.CreateSub(x, e.b.CreateMul(q, y));
    Value* below = e.b.CreateAShr(r, e.integer(t, t->getScalarSizeInBits() - 1));  // -1 where the remainder is negative
    return {e.b.CreateAdd(q, below), e.b.CreateAdd(r, e.b.CreateAnd(below, y))};
  }
  Value* none = e.b.CreateICmpEQ(y, zero);
  Value* minus = e.b.CreateICmpEQ(y, e.integer(t, -1));
  Value* safe = e.b.CreateSelect(e.b.CreateOr(none, minus), one, y);
  Value* q = e.b.CreateSDiv(x, safe);
  Value* r = e.b.CreateSub(x, e.b.CreateMul(q, safe));
  Value* adjust = e.b.CreateAnd(e.b.CreateICmpNE(r, zero), e.b.CreateICmpSLT(e.b.CreateXor(r, safe), zero));
  q = e.b.CreateSelect(adjust, e.b.CreateSub(q, one), q);
  r = e.b.CreateSelect(adjust, e.b.CreateAdd(r, safe), r);
  q = e.b.CreateSelect(minus, e.b.CreateNeg(x), q);
  q = e.b.CreateSelect(none, zero, q);
  r = e.b.CreateSelect(none, zero, r);
  return {q, r};
}

Value* range_instruction(Emitter& e, Value* x, Value* y, int select) {
  // VRANGEPS returns the operand that is a number, as IEEE 754 minNum and maxNum do: one instruction instead of three.
  return e.b.CreateIntrinsic(
      llvm::Intrinsic::x86_avx512_mask_range_ps_512, {},
      {x, y, e.b.getInt32(static_cast<std::uint32_t>(4 | select)), e.zero(x->getType()), e.b.getInt16(0xffff), e.b.getInt32(4)});
}

/// Surely no signalling NaN, which VRANGEPS would return (made quiet) instead of the number beside it: what arithmetic makes is quiet.
bool never_signals(Value* x, int depth = 4) {
  if (llvm::isa<llvm::Constant>(x) || llvm::isa<llvm::PHINode>(x)) return true;
  auto* i = llvm::dyn_cast<llvm::Instruction>(x);
  if (!i || depth == 0) return false;
  switch (i->getOpcode()) {
    case llvm::Instruction::FAdd:
    case llvm::Instruction::FSub:
    case llvm::Instruction::FMul:
    case llvm::Instruction::FDiv:
    case llvm::Instruction::FPTrunc:
    case llvm::Instruction::FPExt:
    case llvm::Instruction::SIToFP:
    case llvm::Instruction::UIToFP: return true;
    case llvm::Instruction::Call: return llvm::isa<llvm::IntrinsicInst>(i) && !llvm::cast<llvm::IntrinsicInst>(i)->mayReadFromMemory();
    case llvm::Instruction::Select: return never_signals(i->getOperand(1), depth - 1) && never_signals(i->getOperand(2), depth - 1);
    default: return false;
  }
}

bool full_f32(Emitter& e, Value* x, Value* y) { return e.target.avx512 && x->getType() == e.vec(e.f32()) && never_signals(x) && never_signals(y); }

Value* shift(Emitter& e, OpKind kind, DType t, Value* x, Value* y) {
  Type* type = x->getType();
  Value* inside = e.b.CreateICmpULT(y, e.integer(type, bits(t)));
  Value* safe = e.b.CreateSelect(inside, y, e.integer(type, 0));
  Value* r = kind == OpKind::Shl ? e.b.CreateShl(x, safe) : is_signed(t) ? e.b.CreateAShr(x, safe) : e.b.CreateLShr(x, safe);
  return e.b.CreateSelect(inside, r, e.integer(type, 0));
}

Value* integer_op(Emitter& e, OpKind kind, DType t, const Values& x) {
  const bool sign = is_signed(t);
  switch (kind) {
    case OpKind::Neg: return e.b.CreateNeg(x[0]);
    case OpKind::Abs: return sign ? e.b.CreateIntrinsic(llvm::Intrinsic::abs, {x[0]->getType()}, {x[0], e.b.getFalse()}) : x[0];
    case OpKind::Not: return e.b.CreateNot(x[0]);
    case OpKind::Popcount: return e.b.CreateUnaryIntrinsic(llvm::Intrinsic::ctpop, x[0]);
    case OpKind::Clz: return e.b.CreateIntrinsic(llvm::Intrinsic::ctlz, {x[0]->getType()}, {x[0], e.b.getFalse()});
    case OpKind::Add: return e.b.CreateAdd(x[0], x[1]);
    case OpKind::Sub: return e.b.CreateSub(x[0], x[1]);
    case OpKind::Mul: return e.b.CreateMul(x[0], x[1]);
    case OpKind::Div: return floor_divide(e, x[0], x[1], sign);
    case OpKind::Mod: return floor_remainder(e, x[0], x[1], sign);
    case OpKind::Min: return e.b.CreateBinaryIntrinsic(sign ? llvm::Intrinsic::smin : llvm::Intrinsic::umin, x[0], x[1]);
    case OpKind::Max: return e.b.CreateBinaryIntrinsic(sign ? llvm::Intrinsic::smax : llvm::Intrinsic::umax, x[0], x[1]);
    case OpKind::And: return e.b.CreateAnd(x[0], x[1]);
    case OpKind::Or: return e.b.CreateOr(x[0], x[1]);
    case OpKind::Xor: return e.b.CreateXor(x[0], x[1]);
    case OpKind::Shl:
    case OpKind::Shr: return shift(e, kind, t, x[0], x[1]);
    default: TESSERA_UNREACHABLE(std::string("no integer form of ") + ir::info(kind).name);
  }
}

/// x * y + z of two f32 factors, rounded once to f32 or shorter: the product is exact in f64, and the sum is rounded to odd.
Value* fma_by_double(Emitter& e, Value* x, Value* y, Value* z) {
  Type* wide = x->getType()->getWithNewType(e.f64());
  Value* product = e.b.CreateFMul(e.b.CreateFPExt(x, wide), e.b.CreateFPExt(y, wide));
  Value* c = e.b.CreateFPExt(z, wide);
  Value* sum = e.b.CreateFAdd(product, c);
  Value* part = e.b.CreateFSub(sum, product);
  Value* error = e.b.CreateFAdd(e.b.CreateFSub(product, e.b.CreateFSub(sum, part)), e.b.CreateFSub(c, part));
  Type* it = wide->getWithNewType(e.i64());
  Value* bits = e.b.CreateBitCast(sum, it);
  // Inexact and even: the true sum lies between this and an odd neighbour, up or down in magnitude.
  Value* inexact =
      e.b.CreateAnd(e.b.CreateFCmpONE(error, e.real(wide, 0)), e.b.CreateICmpEQ(e.b.CreateAnd(bits, e.integer(it, 1)), e.integer(it, 0)));
  Value* grows = e.b.CreateICmpEQ(e.b.CreateFCmpOLT(error, e.real(wide, 0)), e.b.CreateICmpSLT(bits, e.integer(it, 0)));
  Value* neighbour = e.b.CreateAdd(bits, e.b.CreateSelect(grows, e.integer(it, 1), e.integer(it, -1)));
  return e.b.CreateBitCast(e.b.CreateSelect(inexact, neighbour, bits), wide);
}

/// f32 or f64; the result's type is that of the operands, except for fma of shorter types, which gives f64.
Value* float_op(Emitter& e, OpKind kind, DType t, const Values& x) {
  const Accuracy accuracy = t == DType::F16 ? Accuracy::F16 : t == DType::BF16 ? Accuracy::BF16 : Accuracy::F32;
  switch (kind) {
    case OpKind::Neg: return e.b.CreateFNeg(x[0]);
    case OpKind::Abs: return e.b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x[0]);
    case OpKind::Exp: return emit_exp(e, x[0], accuracy);
    case OpKind::Exp2: return emit_exp2(e, x[0], accuracy);
    case OpKind::Ln: return emit_ln(e, x[0]);
    case OpKind::Log2: return emit_log2(e, x[0]);
    case OpKind::Sqrt: return emit_sqrt(e, x[0]);
    case OpKind::Rsqrt: return emit_rsqrt(e, x[0]);
    case OpKind::Rcp: return emit_rcp(e, x[0]);
    case OpKind::Tanh: return emit_tanh(e, x[0], accuracy);
    case OpKind::Sigmoid: return emit_sigmoid(e, x[0], accuracy);
    case OpKind::Sin: return emit_sin(e, x[0]);
    case OpKind::Cos: return emit_cos(e, x[0]);
    case OpKind::Erf: return emit_erf(e, x[0]);
    case OpKind::Floor: return emit_floor(e, x[0]);
    case OpKind::Ceil: return emit_ceil(e, x[0]);
    case OpKind::Round: return emit_round(e, x[0]);
    case OpKind::Add: return e.b.CreateFAdd(x[0], x[1]);
    case OpKind::Sub: return e.b.CreateFSub(x[0], x[1]);
    case OpKind::Mul: return e.b.CreateFMul(x[0], x[1]);
    case OpKind::Div: return e.b.CreateFDiv(x[0], x[1]);
    case OpKind::Min: return nan_min(e, x[0], x[1]);
    case OpKind::Max: return nan_max(e, x[0], x[1]);
    case OpKind::Fma:
      if (t == DType::F64 || (t == DType::F32 && e.target.fma)) return e.fma(x[0], x[1], x[2]);
      return fma_by_double(e, x[0], x[1], x[2]);
    default: TESSERA_UNREACHABLE(std::string("no float form of ") + ir::info(kind).name);
  }
}

llvm::CmpInst::Predicate predicate(OpKind kind, bool real, bool sign) {
  using P = llvm::CmpInst::Predicate;
  switch (kind) {
    case OpKind::Eq: return real ? P::FCMP_OEQ : P::ICMP_EQ;
    case OpKind::Ne: return real ? P::FCMP_UNE : P::ICMP_NE;
    case OpKind::Lt: return real ? P::FCMP_OLT : sign ? P::ICMP_SLT : P::ICMP_ULT;
    case OpKind::Le: return real ? P::FCMP_OLE : sign ? P::ICMP_SLE : P::ICMP_ULE;
    case OpKind::Gt: return real ? P::FCMP_OGT : sign ? P::ICMP_SGT : P::ICMP_UGT;
    case OpKind::Ge: return real ? P::FCMP_OGE : sign ? P::ICMP_SGE : P::ICMP_UGE;
    default: TESSERA_UNREACHABLE("not a comparison");
  }
}

bool is_comparison(OpKind k) { return ir::info(k).rule == ir::TypeRule::Compare; }

/// Ops on idx that keep short forms; null v if there is no such form.
Lanes idx_op(Emitter& e, OpKind kind, const std::vector<Lanes>& x) {
  switch (kind) {
    case OpKind::Add: return idx_add(e, x[0], x[1]);
    case OpKind::Sub: return idx_sub(e, x[0], x[1]);
    case OpKind::Mul: return idx_mul(e, x[0], x[1]);
    case OpKind::Div: return idx_div(e, x[0], x[1]);
    case OpKind::Mod: return idx_mod(e, x[0], x[1]);
    case OpKind::Neg: return idx_sub(e, lanes(e.idx(0)), x[0]);
    default: return {};
  }
}

}  // namespace

Value* floor_divide(Emitter& e, Value* x, Value* y, bool is_signed) {
  if (const auto k = power_of_two(constant_of(y))) {
    Value* amount = e.integer(x->getType(), *k);
    return is_signed ? e.b.CreateAShr(x, amount) : e.b.CreateLShr(x, amount);
  }
  return divide(e, x, y, is_signed).quotient;
}

Value* floor_remainder(Emitter& e, Value* x, Value* y, bool is_signed) {
  if (const auto c = constant_of(y); power_of_two(c)) return e.b.CreateAnd(x, e.integer(x->getType(), *c - 1));
  return divide(e, x, y, is_signed).remainder;
}

Value* nan_max(Emitter& e, Value* x, Value* y) {
  if (full_f32(e, x, y)) return range_instruction(e, x, y, 1);
  return e.b.CreateSelect(e.b.CreateOr(e.b.CreateFCmpOGT(x, y), e.b.CreateFCmpUNO(y, y)), x, y);
}

Value* nan_min(Emitter& e, Value* x, Value* y) {
  if (full_f32(e, x, y)) return range_instruction(e, x, y, 0);
  return e.b.CreateSelect(e.b.CreateOr(e.b.CreateFCmpOLT(x, y), e.b.CreateFCmpUNO(y, y)), x, y);
}

Lanes emit_elementwise(Emitter& e, const ir::Op& op, const std::vector<Lanes>& operands, bool strict) {
  const DType t = ir::tile(op.operands.back()->type).dtype;  // select has its condition first
  if (t == DType::Idx && op.operands.size() <= 2 && op.kind != OpKind::Cast) {
    if (is_comparison(op.kind)) return lanes(idx_compare(e, predicate(op.kind, false, true), operands[0], operands[1]));
    if (Lanes r = idx_op(e, op.kind, operands); r.v) return r;
  }
  bool uniform = true;
  for (const Lanes& x : operands) uniform = uniform && x.uniform();
  Values x;
  for (const Lanes& o : operands) x.push_back(uniform ? o.v : as_vector(e, o));
  if (op.kind == OpKind::Select) {
    // A condition that all lanes share stays a scalar: then select moves whole registers.
    return lanes(e.b.CreateSelect(operands[0].uniform() ? operands[0].v : x[0], x[1], x[2]));
  }
  if (op.kind == OpKind::Cast || op.kind == OpKind::Bitcast) {
    const DType to = ir::tile(op.result()->type).dtype;
    if (op.kind == OpKind::Bitcast) return lanes(reinterpret(e, t, to, x[0]));
    return lanes(convert(e, t, to, x[0], op.int_attr(ir::Attr::Saturate) != 0, static_cast<Rounding>(op.int_attr(ir::Attr::Rounding)), strict));
  }
  if (!is_float(t)) {
    if (is_comparison(op.kind)) return lanes(e.b.CreateICmp(predicate(op.kind, false, is_signed(t)), x[0], x[1]));
    return lanes(integer_op(e, op.kind, t, x));
  }
  if (t == DType::BF16 && (op.kind == OpKind::Neg || op.kind == OpKind::Abs)) {
    Type* bits = x[0]->getType();
    return lanes(op.kind == OpKind::Neg ? e.b.CreateXor(x[0], e.integer(bits, -0x8000)) : e.b.CreateAnd(x[0], e.integer(bits, 0x7fff)));
  }
  for (Value*& v : x) v = widen_float(e, t, v);
  if (is_comparison(op.kind)) return lanes(e.b.CreateFCmp(predicate(op.kind, true, true), x[0], x[1]));
  return lanes(narrow_float(e, t, float_op(e, op.kind, t, x), false, Rounding::Nearest, strict));
}

Type* accumulator_form(Emitter& e, DType t) { return is_half(t) ? e.f32() : register_type(e, t); }
Value* to_accumulator(Emitter& e, DType t, Value* x) { return is_half(t) ? widen_float(e, t, x) : x; }
Value* from_accumulator(Emitter& e, DType t, Value* x) { return is_half(t) ? narrow_float(e, t, x, false, Rounding::Nearest, false) : x; }

Value* fold_values(Emitter& e, ir::ReduceKind kind, DType t, Value* acc, Value* x) {
  using K = ir::ReduceKind;
  const bool real = is_float(t);
  switch (kind) {
    case K::Sum: return real ? e.b.CreateFAdd(acc, x) : e.b.CreateAdd(acc, x);
    case K::Prod: return real ? e.b.CreateFMul(acc, x) : e.b.CreateMul(acc, x);
    case K::Max: return real ? nan_max(e, x, acc) : integer_op(e, OpKind::Max, t, {acc, x});
    case K::Min: return real ? nan_min(e, x, acc) : integer_op(e, OpKind::Min, t, {acc, x});
    case K::Any: return e.b.CreateOr(acc, x);
    case K::All: return e.b.CreateAnd(acc, x);
    case K::ArgMax:
    case K::ArgMin: TESSERA_UNREACHABLE("arg kinds fold pairs");
  }
  return nullptr;
}

llvm::Constant* fold_identity(Emitter& e, ir::ReduceKind kind, DType t) {
  using K = ir::ReduceKind;
  Type* type = accumulator_form(e, t);
  const bool real = is_float(t);
  switch (kind) {
    case K::Sum:
    case K::Any: return llvm::Constant::getNullValue(type);
    case K::Prod: return real ? e.real(type, 1) : e.integer(type, 1);
    case K::All: return e.b.getTrue();
    case K::Max:
    case K::ArgMax: return real ? e.real(type, -INFINITY) : llvm::ConstantInt::get(type, static_cast<std::uint64_t>(int_min(t)), true, true);
    case K::Min:
    case K::ArgMin: return real ? e.real(type, INFINITY) : llvm::ConstantInt::get(type, static_cast<std::uint64_t>(int_max(t)), true, true);
  }
  return nullptr;
}

llvm::Constant* fold_start(Emitter& e, ir::ReduceKind kind, DType t) {
  const bool extreme = kind == ir::ReduceKind::Max || kind == ir::ReduceKind::Min;
  if (extreme && is_float(t)) return e.real(accumulator_form(e, t), std::nan(""));
  return fold_identity(e, kind, t);
}

}  // namespace tessera::cpu
