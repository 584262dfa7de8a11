#include "codegen/cpu/pack.h"

#include <cassert>
#include <string>

namespace tessera::cpu {

using llvm::Type;
using llvm::Value;

namespace {

bool sixteen_bit(Product p) { return unit_k(p) == 2; }
int bytes_of(DType dtype) { return bits(dtype) / 8; }

/// kLanes elements along the fast axis as they lie in memory, zero from `count` on; a null count loads all.
Value* load_raw(Emitter& e, const PackSource& s, Value* row, Value* fast, Value* count) {
  Type* element = memory_type(e, s.dtype);
  llvm::FixedVectorType* t = e.vec(element);
  if (!s.fast_stride) {
    Value* p = e.at(element, row, fast);
    if (s.ahead) e.prefetch(e.at(element, p, s.ahead), kLanes * bytes_of(s.dtype));
    return count ? e.load_below(t, p, bytes_of(s.dtype), count) : e.load(t, p, bytes_of(s.dtype));
  }
  Value* lanes = e.b.CreateMul(e.b.CreateAdd(e.splat(fast), e.iota(e.i64())), e.splat(s.fast_stride));
  Value* mask = count ? e.lanes_below(count) : llvm::Constant::getAllOnesValue(e.vec(e.b.getInt1Ty()));
  return e.b.CreateMaskedGather(t, e.b.CreateGEP(element, row, lanes), llvm::Align(static_cast<std::uint64_t>(bytes_of(s.dtype))), mask, e.zero(t));
}

/// Raw elements as the 16-bit halves of pairs.
Value* halve(Emitter& e, Product p, DType dtype, Value* raw) {
  Type* t = e.vec(e.b.getInt16Ty());
  if (p == Product::I16Pair) return is_signed(dtype) ? e.b.CreateSExtOrTrunc(raw, t) : e.b.CreateZExtOrTrunc(raw, t);
  if (dtype == DType::BF16) return raw;
  // The fp8 types fit bf16: the upper half of the float holds every bit.
  Value* x = e.b.CreateBitCast(emit_fp8_to_f32(e, dtype, raw), e.vec(e.i32()));
  return e.b.CreateTrunc(e.b.CreateLShr(x, e.integer(x->getType(), 16)), t);
}

/// A row of the source and how many of its elements are valid.
struct Row {
  Value* address;
  Value* count;  ///< null: all that anybody asks for
};

/// Row `slow`; `inside` promises that it lies below slow_count. A row that is not there has no elements, and its address is not computed from
/// an index that no table may hold.
Row row_at(Emitter& e, const PackSource& s, Value* slow, bool inside) {
  if (s.full) return {s.row(slow), nullptr};
  Value* exists = inside ? nullptr : e.b.CreateICmpSLT(slow, s.slow_count);
  Value* safe = exists ? e.b.CreateSelect(exists, slow, e.idx(0)) : slow;
  if (s.row_exists) {
    Value* there = s.row_exists(safe);
    exists = exists ? e.b.CreateAnd(exists, there) : there;
  }
  return {s.row(safe), exists ? e.b.CreateSelect(exists, s.fast_count, e.idx(0)) : s.fast_count};
}

Value* left(Emitter& e, const Row& row, Value* fast) { return row.count ? e.sub(row.count, fast) : nullptr; }

/// kLanes units along k from unit `k` on of a row whose fast axis is k.
Value* unit_along(Emitter& e, Product p, const PackSource& s, const Row& row, Value* k) {
  if (!sixteen_bit(p)) return emit_widen(e, s.dtype, load_raw(e, s, row.address, k, left(e, row, k)), unit_type(e, p));
  Value* first = e.mul(k, e.idx(2));
  Value* second = e.add(first, e.idx(kLanes));
  Values halves;
  for (Value* fast : {first, second}) halves.push_back(halve(e, p, s.dtype, load_raw(e, s, row.address, fast, left(e, row, fast))));
  llvm::SmallVector<int, 2 * kLanes> both;
  for (int i = 0; i < 2 * kLanes; ++i) both.push_back(i);
  return e.b.CreateBitCast(e.b.CreateShuffleVector(halves[0], halves[1], both), e.vec(e.i32()));
}

}  // namespace

PackSource strided_source(Emitter& e, DType dtype, Value* base, Value* slow_stride, Value* slow_count, Value* fast_count) {
  PackSource s;
  s.dtype = dtype;
  s.row = [&e, dtype, base, slow_stride](Value* slow) { return e.at(memory_type(e, dtype), base, e.mul(slow, slow_stride)); };
  s.slow_count = slow_count;
  s.fast_count = fast_count;
  return s;
}

PackSource shifted(Emitter& e, const PackSource& s, Value* slow, Value* fast) {
  PackSource r = s;
  r.row = [&e, s, slow, fast](Value* i) {
    return e.at(memory_type(e, s.dtype), s.row(e.add(i, slow)), s.fast_stride ? e.mul(fast, s.fast_stride) : fast);
  };
  if (s.row_exists) r.row_exists = [&e, s, slow](Value* i) { return s.row_exists(e.add(i, slow)); };
  if (s.slow_count) r.slow_count = e.sub(s.slow_count, slow);
  if (s.fast_count) r.fast_count = e.sub(s.fast_count, fast);
  return r;
}

void emit_pack_panel(Emitter& e, Product p, const PackSource& s, Value* k_units, int lanes, Value* dst) {
  Type* unit = unit_type(e, p);
  const int per_unit = unit_k(p);
  auto copy = [&](Value* k, bool inside) {
    std::vector<Row> rows;
    for (int h = 0; h < per_unit; ++h) rows.push_back(row_at(e, s, e.add(e.mul(k, e.idx(per_unit)), e.idx(h)), inside));
    for (int v = 0; v < lanes; v += kLanes) {
      Values parts;
      for (const Row& row : rows) {
        Value* raw = load_raw(e, s, row.address, e.idx(v), left(e, row, e.idx(v)));
        parts.push_back(per_unit == 2 ? halve(e, p, s.dtype, raw) : emit_widen(e, s.dtype, raw, unit));
      }
      Value* x = per_unit == 2 ? emit_pair16(e, parts[0], parts[1]) : parts[0];
      e.store(x, e.at(unit, dst, e.add(e.mul(k, e.idx(lanes)), e.idx(v))), 64);
    }
  };
  if (s.full) return e.loop(e.idx(0), k_units, e.idx(1), false, [&](Value* k) { copy(k, true); });
  // Rows that exist for certain, then the few that may not: the first loop's masks are the same in every round.
  Value* valid = e.max(e.idx(0), per_unit == 2 ? e.b.CreateAShr(s.slow_count, e.idx(1)) : s.slow_count);
  Value* whole = e.min(k_units, valid);
  e.loop(e.idx(0), whole, e.idx(1), false, [&](Value* k) { copy(k, true); });
  e.loop(whole, k_units, e.idx(1), false, [&](Value* k) { copy(k, false); });
}

void emit_pack_panel_transposed(Emitter& e, Product p, const PackSource& s, Value* k_units, int lanes, Value* dst) {
  Type* unit = unit_type(e, p);
  e.loop(e.idx(0), e.idx(lanes), e.idx(kLanes), true, [&](Value* lane0) {
    std::vector<Row> rows;
    for (int r = 0; r < kLanes; ++r) rows.push_back(row_at(e, s, e.add(lane0, e.idx(r)), false));
    auto load_block = [&](Value* k, bool whole) {
      Values block;
      for (const Row& row : rows) block.push_back(unit_along(e, p, s, whole ? Row{row.address, nullptr} : row, k));
      return block;
    };
    e.loop(e.idx(0), k_units, e.idx(kLanes), false, [&](Value* k) {
      Values block;
      if (s.full || s.row_exists) {
        block = load_block(k, s.full);
      } else {
        Value* rows_whole = e.b.CreateICmpSLE(e.add(lane0, e.idx(kLanes)), s.slow_count);
        Value* k_whole = e.b.CreateICmpSLE(e.mul(e.add(k, e.idx(kLanes)), e.idx(unit_k(p))), s.fast_count);
        block = e.choose(e.b.CreateAnd(rows_whole, k_whole), [&] { return load_block(k, true); }, [&] { return load_block(k, false); });
      }
      block = emit_transpose16(e, std::move(block));
      for (int c = 0; c < kLanes; ++c)
        e.store(block[static_cast<std::size_t>(c)], e.at(unit, dst, e.add(e.mul(e.add(k, e.idx(c)), e.idx(lanes)), lane0)), 64);
    });
  });
}

void emit_pack_rows(Emitter& e, Product p, const PackSource& s, Value* rows, Value* k_units, Value* dst, Value* dst_row) {
  Type* unit = unit_type(e, p);
  e.loop(e.idx(0), rows, e.idx(1), false, [&](Value* r) {
    Row from = row_at(e, s, r, false);
    Value* to = e.at(unit, dst, e.mul(r, dst_row));
    auto copy = [&](Value* lo, Value* hi, const Row& row) {
      e.loop(lo, hi, e.idx(kLanes), false, [&](Value* k) { e.store(unit_along(e, p, s, row, k), e.at(unit, to, k), 64); });
    };
    if (!from.count) return copy(e.idx(0), k_units, from);
    const int block = kLanes * unit_k(p);
    Value* whole = e.mul(e.b.CreateSDiv(e.max(e.idx(0), e.min(from.count, e.mul(k_units, e.idx(unit_k(p))))), e.idx(block)), e.idx(kLanes));
    copy(e.idx(0), whole, {from.address, nullptr});
    copy(whole, k_units, from);
  });
}

Type* memory_type(Emitter& e, DType dtype) {
  if (dtype == DType::F32) return e.f32();
  if (dtype == DType::F64) return e.f64();
  if (dtype == DType::F16) return e.b.getHalfTy();
  return e.b.getIntNTy(static_cast<unsigned>(bits(dtype)));
}

Value* emit_widen(Emitter& e, DType dtype, Value* raw, Type* element) {
  Type* t = raw->getType()->getWithNewType(element);
  if (raw->getType() == t) return raw;
  if (!is_float(dtype)) {
    if (element->isIntegerTy()) return is_signed(dtype) ? e.b.CreateSExtOrTrunc(raw, t) : e.b.CreateZExtOrTrunc(raw, t);
    return is_signed(dtype) ? e.b.CreateSIToFP(raw, t) : e.b.CreateUIToFP(raw, t);
  }
  Value* x = raw;
  if (dtype == DType::BF16)
    x = emit_bf16_to_f32(e, raw);
  else if (dtype == DType::E4M3 || dtype == DType::E5M2)
    x = emit_fp8_to_f32(e, dtype, raw);
  else if (dtype == DType::F16)
    x = e.b.CreateFPExt(raw, raw->getType()->getWithNewType(e.f32()));
  return x->getType() == t ? x : e.b.CreateFPCast(x, t);
}

Value* emit_narrow(Emitter& e, DType dtype, Value* x) {
  // Doubles round to bf16 and f16 directly: LLVM's own truncation is right there, if slow.
  if (dtype == DType::BF16 && x->getType()->getScalarType()->isFloatTy()) return emit_f32_to_bf16(e, x);
  if (dtype == DType::BF16)
    return e.b.CreateBitCast(e.b.CreateFPTrunc(x, x->getType()->getWithNewType(e.b.getBFloatTy())), x->getType()->getWithNewType(e.b.getInt16Ty()));
  Type* t = x->getType()->getWithNewType(memory_type(e, dtype));
  return x->getType() == t ? x : e.b.CreateFPCast(x, t);
}

Values emit_transpose16(Emitter& e, Values rows) {
  assert(rows.size() == 16);
  auto shuffle = [&](Value* x, Value* y, auto&& source) {
    llvm::SmallVector<int, 16> mask;
    for (int lane = 0; lane < 16; ++lane) mask.push_back(source(lane / 4, lane % 4));
    return e.b.CreateShuffleVector(x, y, mask);
  };
  // Three rounds: 32-bit and 64-bit unpacks inside the 128-bit quarters, then whole quarters. Each is one x86 instruction.
  Values t(16), u(16), result(16);
  for (std::size_t i = 0; i < 16; i += 2)
    for (int half = 0; half < 2; ++half)
      t[i + static_cast<std::size_t>(half)] =
          shuffle(rows[i], rows[i + 1], [=](int q, int l) { return (l & 1 ? 16 : 0) + 4 * q + 2 * half + l / 2; });
  for (std::size_t i = 0; i < 16; i += 4)
    for (std::size_t c = 0; c < 4; ++c)
      u[i + c] =
          shuffle(t[i + c / 2], t[i + 2 + c / 2], [=](int q, int l) { return (l >= 2 ? 16 : 0) + 4 * q + 2 * static_cast<int>(c & 1) + (l & 1); });
  auto quarters = [&](Value* x, Value* y, int even, int odd) {
    return shuffle(x, y, [=](int q, int l) { return (q >= 2 ? 16 : 0) + 4 * (q & 1 ? odd : even) + l; });
  };
  for (std::size_t c = 0; c < 4; ++c) {
    Value* low_top = quarters(u[c], u[4 + c], 0, 1);
    Value* high_top = quarters(u[c], u[4 + c], 2, 3);
    Value* low_bottom = quarters(u[8 + c], u[12 + c], 0, 1);
    Value* high_bottom = quarters(u[8 + c], u[12 + c], 2, 3);
    result[c] = quarters(low_top, low_bottom, 0, 2);
    result[4 + c] = quarters(low_top, low_bottom, 1, 3);
    result[8 + c] = quarters(high_top, high_bottom, 0, 2);
    result[12 + c] = quarters(high_top, high_bottom, 1, 3);
  }
  return result;
}

void call_transpose16(Emitter& e, Value* dst, Value* dst_row, Value* src, Value* src_row) {
  auto* type = llvm::FunctionType::get(e.b.getVoidTy(), {e.ptr(), e.i64(), e.ptr(), e.i64()}, false);
  llvm::Function* f = e.shared("tessera.transpose16", type, [&](llvm::Function* self) {
    Value *to = self->getArg(0), *to_row = self->getArg(1), *from = self->getArg(2), *from_row = self->getArg(3);
    Values rows;
    for (int r = 0; r < 16; ++r) rows.push_back(e.load(e.vec(e.i32()), e.at(e.i32(), from, e.mul(from_row, e.idx(r))), 4));
    rows = emit_transpose16(e, std::move(rows));
    for (int r = 0; r < 16; ++r) e.store(rows[static_cast<std::size_t>(r)], e.at(e.i32(), to, e.mul(to_row, e.idx(r))), 4);
    e.b.CreateRetVoid();
  });
  e.b.CreateCall(f, {dst, dst_row, src, src_row});
}

Value* emit_pair16(Emitter& e, Value* even, Value* odd) {
  Type* wide = even->getType()->getWithNewType(e.i32());
  return e.b.CreateOr(e.b.CreateZExt(even, wide), e.b.CreateShl(e.b.CreateZExt(odd, wide), e.integer(wide, 16)));
}

Value* emit_f32_to_bf16(Emitter& e, Value* x) {
  Type* half = x->getType()->getWithNewType(e.b.getInt16Ty());
  if (e.target.avx512_bf16) return e.b.CreateBitCast(e.b.CreateFPTrunc(x, x->getType()->getWithNewType(e.b.getBFloatTy())), half);
  Type* wide = half->getWithNewType(e.i32());
  Value* bits = e.b.CreateBitCast(x, wide);
  Value* lsb = e.b.CreateAnd(e.b.CreateLShr(bits, e.integer(wide, 16)), e.integer(wide, 1));
  Value* rounded = e.b.CreateAdd(bits, e.b.CreateAdd(lsb, e.integer(wide, 0x7fff)));
  // A NaN keeps its upper bits and is made quiet: rounding could carry it into infinity.
  Value* quiet = e.b.CreateOr(bits, e.integer(wide, 0x400000));
  rounded = e.b.CreateSelect(e.b.CreateFCmpUNO(x, x), quiet, rounded);
  return e.b.CreateTrunc(e.b.CreateLShr(rounded, e.integer(wide, 16)), half);
}

Value* emit_bf16_to_f32(Emitter& e, Value* bits) {
  Type* wide = bits->getType()->getWithNewType(e.i32());
  return e.b.CreateBitCast(e.b.CreateShl(e.b.CreateZExt(bits, wide), e.integer(wide, 16)), wide->getWithNewType(e.f32()));
}

Value* emit_bf16_pair(Emitter& e, Value* even, Value* odd) { return emit_pair16(e, emit_f32_to_bf16(e, even), emit_f32_to_bf16(e, odd)); }

Value* emit_fp8_to_f32(Emitter& e, DType dtype, Value* bits) {
  Type* wide = bits->getType()->getWithNewType(e.i32());
  Type* f = wide->getWithNewType(e.f32());
  const bool e4m3 = dtype == DType::E4M3;
  Value* x = e.b.CreateZExt(bits, wide);
  Value* sign = e.b.CreateShl(e.b.CreateAnd(x, e.integer(wide, 0x80)), e.integer(wide, 24));
  Value* magnitude = e.b.CreateAnd(x, e.integer(wide, 0x7f));
  // Exponent and mantissa put where f32 has them give a value too small by the difference of the biases; multiplying by that power of two is
  // exact and makes normals of subnormals. It needs the subnormal f32 in between: only the smallest values pass through one.
  const int mantissa = e4m3 ? 3 : 2;
  Value* placed = e.b.CreateBitCast(e.b.CreateShl(magnitude, e.integer(wide, 23 - mantissa)), f);
  Value* value = e.b.CreateFMul(placed, e.real(f, e4m3 ? 0x1p120 : 0x1p112));
  Value* result = e.b.CreateOr(e.b.CreateBitCast(value, wide), sign);
  if (e4m3) {
    result = e.b.CreateSelect(e.b.CreateICmpEQ(magnitude, e.integer(wide, 0x7f)), e.b.CreateOr(sign, e.integer(wide, 0x7fc00000)), result);
  } else {
    Value* special = e.b.CreateOr(e.b.CreateOr(sign, e.integer(wide, 0x7f800000)),
                                  e.b.CreateShl(e.b.CreateAnd(magnitude, e.integer(wide, 3)), e.integer(wide, 21)));
    result = e.b.CreateSelect(e.b.CreateICmpUGE(magnitude, e.integer(wide, 0x7c)), special, result);
  }
  return e.b.CreateBitCast(result, f);
}

}  // namespace tessera::cpu
