#include "codegen/cpu/micro.h"

#include <llvm/IR/IntrinsicsX86.h>

#include <string>

namespace tessera::cpu {

using llvm::Type;
using llvm::Value;

namespace {

bool small_int(DType t) { return (kind(t) == DTypeKind::SignedInt || kind(t) == DTypeKind::UnsignedInt) && bits(t) <= 16 && t != DType::U16; }
bool fits_bf16(DType t) { return t == DType::BF16 || t == DType::E4M3 || t == DType::E5M2 || t == DType::E2M1; }

/// Half of a vector: elements first, first + 2, .. of 32.
Value* every_other(Emitter& e, Value* v, int first) {
  llvm::SmallVector<int, kLanes> mask;
  for (int i = 0; i < kLanes; ++i) mask.push_back(2 * i + first);
  return e.b.CreateShuffleVector(v, mask);
}

/// a[even] * b[even] + a[odd] * b[odd] in i32, wrapping; both <16 x i32> of pairs.
Value* multiply_pairs(Emitter& e, Value* a, Value* b) {
  Type* halves = e.vec(e.b.getInt16Ty(), 2 * kLanes);
  Value* x = e.b.CreateBitCast(a, halves);
  Value* y = e.b.CreateBitCast(b, halves);
  if (e.target.avx512) return e.b.CreateIntrinsic(llvm::Intrinsic::x86_avx512_pmaddw_d_512, {}, {x, y});
  // LLVM knows this shape as vpmaddwd where there is one.
  Type* wide = e.vec(e.i32());
  auto product = [&](int which) {
    return e.b.CreateMul(e.b.CreateSExt(every_other(e, x, which), wide), e.b.CreateSExt(every_other(e, y, which), wide));
  };
  return e.b.CreateAdd(product(0), product(1));
}

Value* multiply_add(Emitter& e, Product p, Value* a, Value* b, Value* sum) {
  switch (p) {
    case Product::F32:
    case Product::F64: return e.fma(a, b, sum);
    case Product::BF16Pair: {
      Type* pairs = e.vec(e.b.getBFloatTy(), 2 * kLanes);
      return e.b.CreateIntrinsic(llvm::Intrinsic::x86_avx512bf16_dpbf16ps_512, {}, {sum, e.b.CreateBitCast(a, pairs), e.b.CreateBitCast(b, pairs)});
    }
    case Product::I16Pair: return e.b.CreateAdd(sum, multiply_pairs(e, a, b));
    case Product::I32: return e.b.CreateAdd(sum, e.b.CreateMul(a, b));
  }
  llvm_unreachable("product");
}

}  // namespace

Product product_for(DType a, DType b, const VectorTarget& target) {
  if (a == DType::F64 || b == DType::F64) return Product::F64;
  if (is_float(a)) return target.avx512_bf16 && fits_bf16(a) && fits_bf16(b) ? Product::BF16Pair : Product::F32;
  return small_int(a) && small_int(b) ? Product::I16Pair : Product::I32;
}

Type* unit_type(Emitter& e, Product p) {
  switch (p) {
    case Product::F32: return e.f32();
    case Product::F64: return e.f64();
    case Product::BF16Pair:
    case Product::I16Pair:
    case Product::I32: return e.i32();
  }
  llvm_unreachable("product");
}

int unit_bytes(Product p) { return p == Product::F64 ? 8 : 4; }
int unit_k(Product p) { return p == Product::BF16Pair || p == Product::I16Pair ? 2 : 1; }

Type* accumulator_type(Emitter& e, Product p) {
  switch (p) {
    case Product::F32:
    case Product::BF16Pair: return e.f32();
    case Product::F64: return e.f64();
    case Product::I16Pair:
    case Product::I32: return e.i32();
  }
  llvm_unreachable("product");
}

RegisterBlock register_block(Product p, const VectorTarget& target) {
  // A lane vector takes kLanes / register_lanes registers, twice that for doubles. AVX-512 has 32 registers, the others 16 (aarch64: 32 of 4).
  const int registers = (kLanes / target.register_lanes) * (p == Product::F64 ? 2 : 1);
  if (target.avx512) return registers == 1 ? RegisterBlock{4, 4} : RegisterBlock{4, 2};
  if (target.register_lanes == 8) return registers == 2 ? RegisterBlock{6, 1} : RegisterBlock{2, 1};
  if (!target.x86) return registers == 4 ? RegisterBlock{5, 1} : RegisterBlock{2, 1};
  return registers == 4 ? RegisterBlock{2, 1} : RegisterBlock{1, 1};
}

Values emit_micro(Emitter& e, Product p, RegisterBlock block, const ProductOperands& o, Values init) {
  Type* unit = unit_type(e, p);
  Type* sum_type = e.vec(accumulator_type(e, p));
  if (init.empty()) init.assign(static_cast<std::size_t>(block.rows * block.vectors), e.zero(sum_type));
  std::vector<Value*> rows(static_cast<std::size_t>(block.rows));
  for (int r = 0; r < block.rows; ++r) rows[static_cast<std::size_t>(r)] = e.at(unit, o.a, e.mul(o.a_row, e.idx(r)));
  // Pointers that step with k keep the loop at one add an operand whatever the strides are.
  return e.loop(e.idx(0), o.k, e.idx(1), std::move(init), true, [&](Value* k, llvm::ArrayRef<Value*> carried) {
    Values sums(carried.begin(), carried.end());
    Value* panel = e.at(unit, o.b, e.mul(k, o.b_k));
    Value* a_offset = e.mul(k, o.a_k);
    Values lanes;
    if (o.b_ahead) e.prefetch(e.at(unit, panel, o.b_ahead), block.vectors * kLanes * unit_bytes(p));
    for (int v = 0; v < block.vectors; ++v) lanes.push_back(e.load(e.vec(unit), e.at(unit, panel, e.idx(v * kLanes)), o.b_align));
    for (int r = 0; r < block.rows; ++r) {
      Value* a = e.splat(e.load(unit, e.at(unit, rows[static_cast<std::size_t>(r)], a_offset), unit_bytes(p) / unit_k(p)));
      for (int v = 0; v < block.vectors; ++v) {
        Value*& sum = sums[static_cast<std::size_t>(r * block.vectors + v)];
        sum = multiply_add(e, p, a, lanes[static_cast<std::size_t>(v)], sum);
      }
    }
    return sums;
  });
}

Values emit_product(Emitter& e, Product p, RegisterBlock block, const ProductOperands& o, std::int64_t rows, Values carried,
                    const Epilogue& epilogue) {
  Type* unit = unit_type(e, p);
  auto one_block = [&](Value* row0, int count, llvm::ArrayRef<Value*> state) {
    ProductOperands here = o;
    here.a = e.at(unit, o.a, e.mul(row0, o.a_row));
    return epilogue(row0, count, emit_micro(e, p, {count, block.vectors}, here), state);
  };
  const std::int64_t whole = rows / block.rows * block.rows;
  if (whole == block.rows)
    carried = one_block(e.idx(0), block.rows, carried);
  else if (whole > 0)
    carried = e.loop(e.idx(0), e.idx(whole), e.idx(block.rows), std::move(carried), true,
                     [&](Value* row0, llvm::ArrayRef<Value*> state) { return one_block(row0, block.rows, state); });
  if (rows > whole) carried = one_block(e.idx(whole), static_cast<int>(rows - whole), carried);
  return carried;
}

namespace {

/// Stores a block of sums into C as `accumulate` says.
void store_block(Emitter& e, Product p, RegisterBlock block, Accumulate accumulate, llvm::ArrayRef<Value*> sums, Value* c, Value* c_row,
                 Value* scale) {
  if (accumulate == Accumulate::SetOrAdd) {
    auto as = [&](Accumulate a) { return [&, a] { store_block(e, p, block, a, sums, c, c_row, scale); }; };
    return e.if_then(e.b.CreateIsNull(scale), as(Accumulate::Overwrite), as(Accumulate::Add));
  }
  Type* element = accumulator_type(e, p);
  Type* t = e.vec(element);
  const int align = 64;
  Values factors;
  if (accumulate == Accumulate::ScaleAdd)
    for (int v = 0; v < block.vectors; ++v) factors.push_back(e.load(t, e.at(element, scale, e.idx(v * kLanes)), align));
  for (int r = 0; r < block.rows; ++r)
    for (int v = 0; v < block.vectors; ++v) {
      Value* place = e.at(element, c, e.add(e.mul(c_row, e.idx(r)), e.idx(v * kLanes)));
      Value* sum = sums[static_cast<std::size_t>(r * block.vectors + v)];
      if (accumulate != Accumulate::Overwrite) {
        Value* old = e.load(t, place, align);
        if (element->isIntegerTy())
          sum = e.b.CreateAdd(sum, accumulate == Accumulate::ScaleAdd ? e.b.CreateMul(old, factors[static_cast<std::size_t>(v)]) : old);
        else
          sum = accumulate == Accumulate::ScaleAdd ? e.fma(old, factors[static_cast<std::size_t>(v)], sum) : e.b.CreateFAdd(old, sum);
      }
      e.store(sum, place, align);
    }
}

const char* name_of(Product p) {
  switch (p) {
    case Product::F32: return "f32";
    case Product::BF16Pair: return "bf16x2";
    case Product::F64: return "f64";
    case Product::I16Pair: return "i16x2";
    case Product::I32: return "i32";
  }
  llvm_unreachable("product");
}

const char* name_of(Accumulate a) {
  switch (a) {
    case Accumulate::Overwrite: return "set";
    case Accumulate::Add: return "add";
    case Accumulate::SetOrAdd: return "set_or_add";
    case Accumulate::ScaleAdd: return "scale_add";
  }
  llvm_unreachable("accumulate");
}

}  // namespace

llvm::Function* product_function(Emitter& e, Product p, RegisterBlock block, Accumulate accumulate, int rows_remainder, int b_align) {
  const std::string name = std::string("tessera.product.") + name_of(p) + "." + std::to_string(block.rows) + "x" + std::to_string(block.vectors) +
                           "." + name_of(accumulate) + (rows_remainder == kAnyRows ? ".any" : "." + std::to_string(rows_remainder)) + ".align" +
                           std::to_string(b_align);
  auto* type =
      llvm::FunctionType::get(e.b.getVoidTy(), {e.ptr(), e.i64(), e.i64(), e.ptr(), e.i64(), e.i64(), e.ptr(), e.i64(), e.i64(), e.ptr()}, false);
  return e.shared(name, type, [&](llvm::Function* f) {
    f->addParamAttr(6, llvm::Attribute::NoAlias);
    Type* unit = unit_type(e, p);
    Type* element = accumulator_type(e, p);
    ProductOperands o{f->getArg(0), f->getArg(1), f->getArg(2), f->getArg(3), f->getArg(4), f->getArg(5), b_align};
    Value *c = f->getArg(6), *c_row = f->getArg(7), *rows = f->getArg(8), *scale = f->getArg(9);
    auto one_block = [&](Value* row0, int count) {
      ProductOperands here = o;
      here.a = e.at(unit, o.a, e.mul(row0, o.a_row));
      Value* place = e.at(element, c, e.mul(row0, c_row));
      store_block(e, p, {count, block.vectors}, accumulate, emit_micro(e, p, {count, block.vectors}, here), place, c_row, scale);
    };
    Value* remainder = rows_remainder == kAnyRows ? e.b.CreateURem(rows, e.idx(block.rows)) : e.idx(rows_remainder);
    Value* done = e.sub(rows, remainder);
    e.loop(e.idx(0), done, e.idx(block.rows), false, [&](Value* row0) { one_block(row0, block.rows); });
    if (rows_remainder > 0) one_block(done, rows_remainder);
    if (rows_remainder == kAnyRows)
      for (int count = 4; count > 0; count /= 2) {  // blocks have fewer than 8 rows
        if (count >= block.rows) continue;
        Value* here = e.b.CreateAnd(remainder, e.idx(count));
        e.if_then(e.b.CreateICmpNE(here, e.idx(0)), [&] { one_block(done, count); });
        done = e.add(done, here);
      }
    e.b.CreateRetVoid();
  });
}

namespace {

void call(Emitter& e, llvm::Function* f, const ProductOperands& o, Value* rows, Value* c, Value* c_row, Value* scale) {
  e.b.CreateCall(f, {o.a, o.a_row, o.a_k, o.b, o.b_k, o.k, c, c_row, rows, scale ? scale : llvm::ConstantPointerNull::get(e.b.getPtrTy())});
}

}  // namespace

void call_product(Emitter& e, Product p, RegisterBlock block, Accumulate accumulate, const ProductOperands& o, std::int64_t rows, Value* c,
                  Value* c_row, Value* scale) {
  call(e, product_function(e, p, block, accumulate, static_cast<int>(rows % block.rows), o.b_align), o, e.idx(rows), c, c_row, scale);
}

void call_product(Emitter& e, Product p, RegisterBlock block, Accumulate accumulate, const ProductOperands& o, Value* rows, Value* c, Value* c_row,
                  Value* scale) {
  call(e, product_function(e, p, block, accumulate, kAnyRows, o.b_align), o, rows, c, c_row, scale);
}

}  // namespace tessera::cpu
