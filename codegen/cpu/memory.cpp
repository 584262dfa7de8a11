#include "codegen/cpu/memory.h"

#include "codegen/cpu/arith.h"
#include "codegen/cpu/convert.h"
#include "dsl/diagnostic.h"

namespace tessera::cpu {

using llvm::Type;
using llvm::Value;

namespace {

/// Elements as memory holds them: register form but for bool, which is a byte.
Type* cell_type(Emitter& e, Cell cell) { return is_bool(cell.dtype) ? e.b.getInt8Ty() : register_type(e, cell.dtype); }

Value* from_memory(Emitter& e, Cell cell, Value* raw) { return is_bool(cell.dtype) ? e.b.CreateICmpNE(raw, e.zero(raw->getType())) : raw; }
Value* to_memory(Emitter& e, Cell cell, Value* x) {
  return is_bool(cell.dtype) ? e.b.CreateZExt(x, x->getType()->getWithNewType(e.b.getInt8Ty())) : x;
}

/// A nibble in the low bits of i8 lanes to register form.
Value* from_nibble(Emitter& e, DType t, Value* x) {
  if (t != DType::I4) return x;
  return e.b.CreateAShr(e.b.CreateShl(x, e.integer(x->getType(), 4)), e.integer(x->getType(), 4));
}

Value* mask_vector(Emitter& e, Value* mask) {
  if (!mask) return llvm::Constant::getAllOnesValue(e.vec(e.b.getInt1Ty()));
  return mask->getType()->isVectorTy() ? mask : e.splat(mask);
}
Value* mask_bits(Emitter& e, Value* mask) { return e.b.CreateBitCast(mask_vector(e, mask), e.b.getInt16Ty()); }

/// Sixteen zero bytes: where a load goes whose element does not exist.
Value* zero_bytes(Emitter& e) {
  constexpr const char* kName = "tessera.zero";
  if (auto* known = e.module.getGlobalVariable(kName, true)) return known;
  Type* t = llvm::ArrayType::get(e.b.getInt8Ty(), 16);
  auto* g = new llvm::GlobalVariable(e.module, t, true, llvm::GlobalValue::InternalLinkage, e.zero(t), kName);
  g->setAlignment(llvm::Align(16));
  return g;
}

std::string type_name(Cell cell) { return std::string(name(cell.dtype)) + (cell.nibble() ? ".packed" : ""); }

Value* load_nibble(Emitter& e, DType t, Value* base, Value* offset) {
  Value* byte = e.load(e.b.getInt8Ty(), e.at(e.b.getInt8Ty(), base, e.b.CreateAShr(offset, e.idx(1))), 1);
  Value* odd = e.b.CreateTrunc(e.b.CreateAnd(offset, e.idx(1)), e.b.getInt8Ty());
  Value* x = e.b.CreateLShr(byte, e.b.CreateShl(odd, e.integer(byte->getType(), 2)));
  return from_nibble(e, t, e.b.CreateAnd(x, e.integer(byte->getType(), 15)));
}

/// One element, unconditionally, in register form.
Value* load_one(Emitter& e, Cell cell, Value* base, Value* offset) {
  if (cell.nibble()) return load_nibble(e, cell.dtype, base, offset);
  Type* t = cell_type(e, cell);
  return from_memory(e, cell, e.load(t, e.at(t, base, offset), static_cast<int>(cell.bytes())));
}

void store_one(Emitter& e, Cell cell, Value* base, Value* offset, Value* x) {
  if (!cell.nibble()) {
    Type* t = cell_type(e, cell);
    return e.store(to_memory(e, cell, x), e.at(t, base, offset), static_cast<int>(cell.bytes()));
  }
  // Another instance may own the other half of the byte: two atomic steps never disturb it.
  Type* i8 = e.b.getInt8Ty();
  Value* p = e.at(i8, base, e.b.CreateAShr(offset, e.idx(1)));
  Value* shift = e.b.CreateShl(e.b.CreateTrunc(e.b.CreateAnd(offset, e.idx(1)), i8), e.integer(i8, 2));
  Value* bits = e.b.CreateShl(e.b.CreateAnd(x, e.integer(i8, 15)), shift);
  Value* keep = e.b.CreateLShr(e.integer(i8, 0xf0), shift);
  e.b.CreateAtomicRMW(llvm::AtomicRMWInst::And, p, keep, llvm::Align(1), llvm::AtomicOrdering::Monotonic);
  e.b.CreateAtomicRMW(llvm::AtomicRMWInst::Or, p, bits, llvm::Align(1), llvm::AtomicOrdering::Monotonic);
}

/// Calls f(lane) for every lane whose bit is set.
void for_set_lanes(Emitter& e, Value* bits, const std::function<void(Value* lane)>& f) {
  e.loop(e.idx(0), e.idx(kLanes), e.idx(1), true, [&](Value* lane) {
    Value* bit = e.b.CreateAnd(e.b.CreateLShr(bits, e.b.CreateTrunc(lane, bits->getType())), e.integer(bits->getType(), 1));
    e.if_then(e.b.CreateICmpNE(bit, e.integer(bit->getType(), 0)), [&] { f(lane); });
  });
}

/// Any offsets, one lane at a time, as one shared function a dtype.
Value* gather_slowly(Emitter& e, Cell cell, Value* base, Value* offsets, Value* mask) {
  llvm::FixedVectorType* result = e.vec(register_type(e, cell.dtype));
  auto* type = llvm::FunctionType::get(result, {e.ptr(), offsets->getType(), e.b.getInt16Ty()}, false);
  llvm::Function* f = e.shared("tessera.gather." + type_name(cell), type, [&](llvm::Function* self) {
    Values r = e.loop(e.idx(0), e.idx(kLanes), e.idx(1), {e.zero(result)}, true, [&](Value* lane, llvm::ArrayRef<Value*> so_far) {
      Value* bits = self->getArg(2);
      Value* bit = e.b.CreateAnd(e.b.CreateLShr(bits, e.b.CreateTrunc(lane, bits->getType())), e.integer(bits->getType(), 1));
      return e.choose(
          e.b.CreateICmpNE(bit, e.integer(bit->getType(), 0)),
          [&] {
            Value* x = load_one(e, cell, self->getArg(0), e.b.CreateExtractElement(self->getArg(1), lane));
            return Values{e.b.CreateInsertElement(so_far[0], x, lane)};
          },
          [&] { return Values{so_far[0]}; });
    });
    e.b.CreateRet(r[0]);
  });
  return e.b.CreateCall(f, {base, offsets, mask_bits(e, mask)});
}

void scatter_slowly(Emitter& e, Cell cell, Value* base, Value* offsets, Value* x, Value* mask) {
  auto* type = llvm::FunctionType::get(e.b.getVoidTy(), {e.ptr(), offsets->getType(), x->getType(), e.b.getInt16Ty()}, false);
  llvm::Function* f = e.shared("tessera.scatter." + type_name(cell), type, [&](llvm::Function* self) {
    for_set_lanes(e, self->getArg(3), [&](Value* lane) {
      store_one(e, cell, self->getArg(0), e.b.CreateExtractElement(self->getArg(1), lane), e.b.CreateExtractElement(self->getArg(2), lane));
    });
    e.b.CreateRetVoid();
  });
  e.b.CreateCall(f, {base, offsets, x, mask_bits(e, mask)});
}

/// Consecutive nibbles, all there.
Value* load_nibbles(Emitter& e, DType t, Value* base, Value* offset) {
  Type* i8 = e.b.getInt8Ty();
  Value* p = e.at(i8, base, e.b.CreateAShr(offset, e.idx(1)));
  Value* odd = e.b.CreateICmpNE(e.b.CreateAnd(offset, e.idx(1)), e.idx(0));
  Value* low = e.load(e.i64(), p, 1);
  // The ninth byte exists only if the first nibble is the upper half of its byte.
  Value* next = e.load(i8, e.b.CreateSelect(odd, e.at(i8, p, e.idx(8)), zero_bytes(e)), 1);
  Value* moved = e.b.CreateOr(e.b.CreateLShr(low, e.idx(4)), e.b.CreateShl(e.b.CreateZExt(next, e.i64()), e.idx(60)));
  Value* bytes = e.b.CreateBitCast(e.b.CreateSelect(odd, moved, low), e.vec(i8, 8));
  llvm::SmallVector<int, kLanes> twice;
  std::vector<llvm::Constant*> shifts;
  for (int l = 0; l < kLanes; ++l) {
    twice.push_back(l / 2);
    shifts.push_back(llvm::ConstantInt::get(i8, static_cast<std::uint64_t>(l % 2 * 4)));
  }
  Value* x = e.b.CreateLShr(e.b.CreateShuffleVector(bytes, twice), llvm::ConstantVector::get(shifts));
  return from_nibble(e, t, e.b.CreateAnd(x, e.integer(x->getType(), 15)));
}

void store_nibbles(Emitter& e, Cell cell, Value* base, Value* offset, const Lanes& place, Value* x, Value* mask) {
  Type* i8 = e.b.getInt8Ty();
  Value* bits = mask_bits(e, mask);
  Value* even = e.b.CreateICmpEQ(e.b.CreateAnd(offset, e.idx(1)), e.idx(0));
  Value* whole = e.b.CreateAnd(even, e.b.CreateICmpEQ(bits, e.integer(bits->getType(), -1)));
  e.if_then(
      whole,
      [&] {
        Value* pairs = e.b.CreateBitCast(e.b.CreateAnd(x, e.integer(x->getType(), 15)), e.vec(e.b.getInt16Ty(), 8));
        Value* joined = e.b.CreateOr(pairs, e.b.CreateLShr(pairs, e.integer(pairs->getType(), 4)));
        e.store(e.b.CreateTrunc(joined, e.vec(i8, 8)), e.at(i8, base, e.b.CreateAShr(offset, e.idx(1))), 1);
      },
      [&] { scatter_slowly(e, cell, base, as_vector(e, place), x, mask); });
}

bool consecutive(const Lanes& offset) { return offset.is_short() && offset.linear && offset.step == 1; }

/// Masked vector memory instructions exist for this cell; elsewhere LLVM would branch for every lane at every place.
bool has_masks(Emitter& e, Cell cell) { return e.target.avx512 || (e.target.avx2 && cell.bytes() >= 4); }
bool has_gather(Emitter& e, Cell cell) { return (e.target.avx512 || e.target.avx2) && cell.bytes() >= 4; }

}  // namespace

bool is_true(Value* mask) {
  if (!mask) return true;
  auto* c = llvm::dyn_cast<llvm::Constant>(mask);
  return c && c->isAllOnesValue();
}

Value* load_elements(Emitter& e, Cell cell, Value* base, const Lanes& offset, Value* mask, int align) {
  if (is_true(mask)) mask = nullptr;
  if (offset.uniform()) {
    if (!mask) return load_one(e, cell, base, offset.v);
    // Memory that generic pointers do not reach has no place of zeros: a branch.
    if (base->getType()->getPointerAddressSpace() != 0) {
      return e.choose(
          mask, [&] { return Values{load_one(e, cell, base, offset.v)}; }, [&] { return Values{e.zero(register_type(e, cell.dtype))}; })[0];
    }
    const bool lane_mask = mask->getType()->isVectorTy();
    Value* any = lane_mask ? e.b.CreateOrReduce(mask) : mask;
    // No branch: an element that is not there is read from a place that holds zeros.
    Value* x = load_one(e, cell, e.b.CreateSelect(any, base, zero_bytes(e)), e.b.CreateSelect(any, offset.v, e.idx(0)));
    return lane_mask ? e.b.CreateSelect(mask, e.splat(x), e.zero(e.vec(x->getType()))) : x;
  }
  if (cell.nibble()) {
    if (consecutive(offset) && !mask) return load_nibbles(e, cell.dtype, base, offset.v);
    return gather_slowly(e, cell, base, as_vector(e, offset), mask);
  }
  Type* t = cell_type(e, cell);
  if (consecutive(offset)) {
    if (mask && !has_masks(e, cell)) {
      if (mask->getType()->isVectorTy()) {
        Value* bits = mask_bits(e, mask);
        return e.choose(
            e.b.CreateICmpEQ(bits, e.integer(bits->getType(), -1)),
            [&] { return Values{from_memory(e, cell, e.load(e.vec(t), e.at(t, base, offset.v), align))}; },
            [&] { return Values{gather_slowly(e, cell, base, as_vector(e, offset), mask)}; })[0];
      }
      return gather_slowly(e, cell, base, as_vector(e, offset), mask);
    }
    return from_memory(e, cell, e.masked_load(e.vec(t), e.at(t, base, offset.v), align, mask ? mask_vector(e, mask) : nullptr));
  }
  if (!has_gather(e, cell)) return gather_slowly(e, cell, base, as_vector(e, offset), mask);
  // The lanes' part stays apart from the base: 32-bit offsets become the index of one gather instruction.
  Value* from = offset.is_short() ? e.at(t, base, offset.v) : base;
  Value* index = offset.is_short() ? offset.offset : as_vector(e, offset);
  return e.b.CreateMaskedGather(e.vec(t), e.b.CreateGEP(t, from, index), llvm::Align(static_cast<std::uint64_t>(cell.bytes())), mask_vector(e, mask),
                                e.zero(e.vec(t)));
}

void store_elements(Emitter& e, Cell cell, Value* base, const Lanes& offset, Value* x, Value* mask, int align, Value* stream) {
  if (is_true(mask)) mask = nullptr;
  if (stream && consecutive(offset) && !cell.nibble()) {
    const std::int64_t bytes = kLanes * cell.bytes();
    Value* p = e.at(cell_type(e, cell), base, offset.v);
    Value* aligned = e.b.CreateICmpEQ(e.b.CreateAnd(e.b.CreatePtrToInt(p, e.i64()), e.idx(bytes - 1)), e.idx(0));
    Value* whole = mask;
    if (mask && mask->getType()->isVectorTy()) whole = e.b.CreateICmpEQ(mask_bits(e, mask), e.integer(e.b.getInt16Ty(), -1));
    return e.if_then(
        both(e, e.b.CreateAnd(stream, aligned), whole),
        [&] {
          Value* v = to_memory(e, cell, x->getType()->isVectorTy() ? x : e.splat(x));
          llvm::StoreInst* s = e.b.CreateAlignedStore(v, p, llvm::Align(static_cast<std::uint64_t>(bytes)));
          s->setMetadata(llvm::LLVMContext::MD_nontemporal, llvm::MDNode::get(e.context, llvm::ConstantAsMetadata::get(e.b.getInt32(1))));
        },
        [&] { store_elements(e, cell, base, offset, x, mask, align); });
  }
  if (offset.uniform() && !x->getType()->isVectorTy() && !(mask && mask->getType()->isVectorTy())) {
    if (!mask) return store_one(e, cell, base, offset.v, x);
    return e.if_then(mask, [&] { store_one(e, cell, base, offset.v, x); });
  }
  if (!x->getType()->isVectorTy()) x = e.splat(x);
  if (cell.nibble()) {
    if (consecutive(offset)) return store_nibbles(e, cell, base, offset.v, offset, x, mask);
    return scatter_slowly(e, cell, base, as_vector(e, offset), x, mask);
  }
  Type* t = cell_type(e, cell);
  if (consecutive(offset)) {
    Value* p = e.at(t, base, offset.v);
    if (!mask || has_masks(e, cell)) return e.masked_store(to_memory(e, cell, x), p, align, mask ? mask_vector(e, mask) : nullptr);
    Value* bits = mask_bits(e, mask);
    return e.if_then(
        e.b.CreateICmpEQ(bits, e.integer(bits->getType(), -1)), [&] { e.store(to_memory(e, cell, x), p, align); },
        [&] { scatter_slowly(e, cell, base, as_vector(e, offset), x, mask); });
  }
  if (!e.target.avx512 || cell.bytes() < 4) return scatter_slowly(e, cell, base, as_vector(e, offset), x, mask);
  e.b.CreateMaskedScatter(x, e.b.CreateGEP(t, base, as_vector(e, offset)), llvm::Align(static_cast<std::uint64_t>(cell.bytes())),
                          mask_vector(e, mask));
}

Value* add_element(Emitter& e, DType t, Value* p, Value* x) {
  const llvm::Align align(static_cast<std::uint64_t>(bits(t) / 8));
  constexpr auto order = llvm::AtomicOrdering::Monotonic;
  if (!is_float(t)) return e.b.CreateAtomicRMW(llvm::AtomicRMWInst::Add, p, x, align, order);
  if (!is_half(t)) return e.b.CreateAtomicRMW(llvm::AtomicRMWInst::FAdd, p, x, align, order);
  // Compare and exchange on the bits: LLVM's own expansion would call library conversions.
  Type* i16 = e.b.getInt16Ty();
  llvm::Function* function = e.b.GetInsertBlock()->getParent();
  llvm::BasicBlock* before = e.b.GetInsertBlock();
  auto* again = llvm::BasicBlock::Create(e.context, "again", function);
  auto* done = llvm::BasicBlock::Create(e.context, "done", function);
  Value* first = e.load(i16, p, 2);
  e.b.CreateBr(again);
  e.b.SetInsertPoint(again);
  llvm::PHINode* old = e.b.CreatePHI(i16, 2);
  old->addIncoming(first, before);
  Value* old_value = e.b.CreateBitCast(old, register_type(e, t));
  Value* sum = e.b.CreateFAdd(widen_float(e, t, old_value), widen_float(e, t, x));
  Value* next = e.b.CreateBitCast(narrow_float(e, t, sum, false, Rounding::Nearest, true), i16);
  Value* swapped = e.b.CreateAtomicCmpXchg(p, old, next, align, order, order);
  old->addIncoming(e.b.CreateExtractValue(swapped, 0), again);
  e.b.CreateCondBr(e.b.CreateExtractValue(swapped, 1), done, again);
  e.b.SetInsertPoint(done);
  return old_value;
}

Value* add_elements(Emitter& e, Cell cell, Value* base, const Lanes& offset, Value* x, Value* mask) {
  Value* offsets = as_vector(e, offset);
  if (!x->getType()->isVectorTy()) x = e.splat(x);
  // One lane speaks for a uniform place and value.
  const bool single = offset.uniform() && !(mask && mask->getType()->isVectorTy());
  Value* set = mask_bits(e, mask);
  if (single) set = e.b.CreateAnd(set, e.integer(set->getType(), 1));
  auto* type = llvm::FunctionType::get(x->getType(), {e.ptr(), offsets->getType(), x->getType(), e.b.getInt16Ty()}, false);
  llvm::Function* f = e.shared("tessera.add." + type_name(cell), type, [&](llvm::Function* self) {
    Values r = e.loop(e.idx(0), e.idx(kLanes), e.idx(1), {e.zero(x->getType())}, true, [&](Value* lane, llvm::ArrayRef<Value*> so_far) {
      Value* all = self->getArg(3);
      Value* bit = e.b.CreateAnd(e.b.CreateLShr(all, e.b.CreateTrunc(lane, all->getType())), e.integer(all->getType(), 1));
      return e.choose(
          e.b.CreateICmpNE(bit, e.integer(bit->getType(), 0)),
          [&] {
            Value* p = e.at(register_type(e, cell.dtype), self->getArg(0), e.b.CreateExtractElement(self->getArg(1), lane));
            Value* old = add_element(e, cell.dtype, p, e.b.CreateExtractElement(self->getArg(2), lane));
            return Values{e.b.CreateInsertElement(so_far[0], old, lane)};
          },
          [&] { return Values{so_far[0]}; });
    });
    e.b.CreateRet(r[0]);
  });
  Value* old = e.b.CreateCall(f, {base, offsets, x, set});
  return single ? e.b.CreateExtractElement(old, std::uint64_t{0}) : old;
}

}  // namespace tessera::cpu
