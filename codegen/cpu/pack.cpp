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
  // Halves that lie as they are wanted, all there: one load.
  if (!row.count && !s.fast_stride && !s.ahead && bits(s.dtype) == 16)
    return e.load(e.vec(e.i32()), e.at(e.b.getInt16Ty(), row.address, e.mul(k, e.idx(2))), 2);
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

/// Units of k between what is packed and what is fetched.
constexpr int kRowsAhead = 16;

void emit_pack_panel(Emitter& e, Product p, const PackSource& s, Value* k_units, int lanes, Value* dst) {
  Type* unit = unit_type(e, p);
  const int per_unit = unit_k(p);
  auto copy = [&](Value* k, bool inside) {
    std::vector<Row> rows;
    for (int h = 0; h < per_unit; ++h) rows.push_back(row_at(e, s, e.add(e.mul(k, e.idx(per_unit)), e.idx(h)), inside));
    // Rows that lie far apart are found by no hardware prefetcher.
    if (inside && !s.row_exists && !s.fast_stride)
      for (int h = 0; h < per_unit; ++h)
        e.prefetch(s.row(e.add(e.mul(e.add(k, e.idx(kRowsAhead)), e.idx(per_unit)), e.idx(h))), static_cast<std::int64_t>(lanes) * bytes_of(s.dtype));
    Value* to = e.at(unit, dst, e.mul(k, e.idx(lanes)));
    auto vector = [&](Value* v) {
      Values parts;
      for (const Row& row : rows) {
        Value* raw = load_raw(e, s, row.address, v, left(e, row, v));
        parts.push_back(per_unit == 2 ? halve(e, p, s.dtype, raw) : emit_widen(e, s.dtype, raw, unit));
      }
      e.store(per_unit == 2 ? emit_pair16(e, parts[0], parts[1]) : parts[0], e.at(unit, to, v), 64);
    };
    // Rows that may not exist are few: less code rather than less work.
    if (!inside) return e.loop(e.idx(0), e.idx(lanes), e.idx(kLanes), true, vector);
    for (int v = 0; v < lanes; v += kLanes) vector(e.idx(v));
  };
  if (s.full) return e.loop(e.idx(0), k_units, e.idx(1), false, [&](Value* k) { copy(k, true); });
  // Rows that exist for certain, then the few that may not: the first loop's masks are the same in every round.
  Value* valid = e.max(e.idx(0), per_unit == 2 ? e.b.CreateAShr(s.slow_count, e.idx(1)) : s.slow_count);
  Value* whole = e.min(k_units, valid);
  e.loop(e.idx(0), whole, e.idx(1), false, [&](Value* k) { copy(k, true); });
  e.loop(whole, k_units, e.idx(1), false, [&](Value* k) { copy(k, false); });
}

namespace {

/// Sixteen rows of a source from unit k on, as one block of 16 units each. Where not all of it is there, the rows are copied first, with zeros.
class RowBlock {
 public:
  RowBlock(Emitter& e, Product p, const PackSource& s, Value* first) : e_(e), p_(p), s_(s), plain_(s) {
    plain_.fast_stride = nullptr;
    plain_.ahead = nullptr;
    if (s.full) {
      for (int r = 0; r < kLanes; ++r) rows_.push_back({s.row(e.add(first, e.idx(r))), nullptr});
      return;
    }
    // The rows' places by a loop: through page tables and merged axes each may take dozens of instructions.
    places_ = e.stack(e.ptr(), kLanes);
    counts_ = e.stack(e.i64(), kLanes);
    copy_ = e.stack(memory_type(e, s.dtype), kLanes * width());
    least_ = e.loop(e.idx(0), e.idx(kLanes), e.idx(1), {s.fast_count}, true, [&](Value* r, llvm::ArrayRef<Value*> least) {
      const Row row = row_at(e, s, e.add(first, r), false);
      e.store(row.address, e.at(e.ptr(), places_, r), 8);
      e.store(row.count, e.at(e.i64(), counts_, r), 8);
      return Values{e.min(least[0], row.count)};
    })[0];
    for (int r = 0; r < kLanes; ++r) rows_.push_back({e.load(e.ptr(), e.at(e.ptr(), places_, e.idx(r)), 8), nullptr});
  }

  Values load(Value* k) {
    auto block = [&](const PackSource& s, auto&& row, Value* from) {
      Values v;
      for (int r = 0; r < kLanes; ++r) v.push_back(unit_along(e_, p_, s, row(r), from));
      return v;
    };
    auto direct = [&] { return block(s_, [&](int r) { return rows_[static_cast<std::size_t>(r)]; }, k); };
    if (s_.full) return direct();
    Value* first = e_.mul(k, e_.idx(unit_k(p_)));
    Value* whole = e_.b.CreateICmpSLE(e_.add(first, e_.idx(width())), least_);
    return e_.choose(whole, direct, [&] {
      llvm::Type* element = memory_type(e_, s_.dtype);
      e_.loop(e_.idx(0), e_.idx(kLanes), e_.idx(1), true, [&](Value* r) {
        const Row row{e_.load(e_.ptr(), e_.at(e_.ptr(), places_, r), 8), e_.load(e_.i64(), e_.at(e_.i64(), counts_, r), 8)};
        for (int at = 0; at < width(); at += kLanes) {
          Value* fast = e_.add(first, e_.idx(at));
          e_.store(load_raw(e_, s_, row.address, fast, left(e_, row, fast)), e_.at(element, copy_, e_.add(e_.mul(r, e_.idx(width())), e_.idx(at))),
                   bytes_of(s_.dtype));
        }
      });
      return block(plain_, [&](int r) { return Row{e_.at(element, copy_, e_.idx(r * width())), nullptr}; }, e_.idx(0));
    });
  }

 private:
  int width() const { return kLanes * unit_k(p_); }  ///< elements of a row

  Emitter& e_;
  Product p_;
  const PackSource& s_;
  PackSource plain_;  ///< of rows that have been copied
  std::vector<Row> rows_;
  Value *places_ = nullptr, *counts_ = nullptr, *copy_ = nullptr;
  Value* least_ = nullptr;  ///< elements that all of the rows have
};

}  // namespace

void emit_pack_panel_transposed(Emitter& e, Product p, const PackSource& s, Value* k_units, int lanes, Value* dst) {
  Type* unit = unit_type(e, p);
  e.loop(e.idx(0), e.idx(lanes), e.idx(kLanes), true, [&](Value* lane0) {
    RowBlock rows(e, p, s, lane0);
    e.loop(e.idx(0), k_units, e.idx(kLanes), false, [&](Value* k) {
      const Values block = emit_transpose16(e, rows.load(k));
      Value* to = e.at(unit, dst, e.add(e.mul(k, e.idx(lanes)), lane0));
      for (int c = 0; c < kLanes; ++c) e.store(block[static_cast<std::size_t>(c)], e.at(unit, to, e.idx(c * lanes)), 64);
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
