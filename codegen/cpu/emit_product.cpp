// Products: operands in the product's units, register blocks, and sinks that take the results from registers.
#include "codegen/cpu/arith.h"
#include "codegen/cpu/convert.h"
#include "codegen/cpu/emit_nest.h"
#include "codegen/cpu/pack.h"
#include "dsl/diagnostic.h"

namespace tessera::cpu {

using LV = llvm::Value;
using NE = KernelEmitter::NestEmitter;

namespace {

bool in_pairs(Product p) { return unit_k(p) == 2; }

LV* pair_up(Emitter& e, LV* even, LV* odd) {
  if (even->getType()->isVectorTy()) return emit_pair16(e, even, odd);
  return e.b.CreateOr(e.b.CreateZExt(even, e.i32()), e.b.CreateShl(e.b.CreateZExt(odd, e.i32()), e.b.getInt32(16)));
}

}  // namespace

void KernelEmitter::ensure_operand(const Sink& s) {
  const ProductPlan& p = plan_.product(*s.op);
  const OperandPlan& o = p.operand[s.operand];
  Buffer b;
  b.dims = s.space;
  b.layout = o.layout;
  b.dtype = p.product == Product::F64 ? DType::F64 : p.product == Product::F32 ? DType::F32 : DType::I32;
  if (in_pairs(p.product)) {
    // Pairs are neighbours where k runs along the lanes; else a unit holds both.
    if (o.lane_axis == o.k_axis)
      b.dtype = DType::I16;
    else
      b.dims[static_cast<std::size_t>(o.k_axis)] = (s.space[static_cast<std::size_t>(o.k_axis)] + 1) / 2;
  }
  b.offset = arena_.take(b.bytes());
  operands_[{s.op, s.operand}] = b;
}

LV* KernelEmitter::operand_element(const Sink& s, const Coords& c) {
  const ProductPlan& p = plan_.product(*s.op);
  const ir::Value* v = s.value;
  LV* x = plain(e_, ev_->eval(v, c));
  const DType t = dtype(v);
  auto like = [&](llvm::Type* element) { return x->getType()->getWithNewType(element); };
  if (s.op->kind == ir::OpKind::DotScaled) {
    const std::size_t k = s.operand == 0 ? 1 : 0;
    const ir::Value* scale = s.op->operands[s.operand == 0 ? 1 : 3];
    Coords at = c;
    at[k] = idx_div(e_, c[k], lanes(e_.idx(s.space[k] / dims(scale)[k])));
    for (std::size_t i = 0; i < at.size(); ++i)
      if (dims(scale)[i] == 1) at[i] = lanes(e_.idx(0));
    LV* f = widen_float(e_, dtype(scale), plain(e_, ev_->eval(scale, at)));
    x = widen_float(e_, t, x);
    if (f->getType()->isVectorTy() && !x->getType()->isVectorTy()) x = e_.splat(x);
    if (x->getType()->isVectorTy() && !f->getType()->isVectorTy()) f = e_.splat(f);
    if (x->getType()->getScalarType()->isDoubleTy()) x = e_.b.CreateFPTrunc(x, like(e_.f32()));
    if (f->getType()->getScalarType()->isDoubleTy()) f = e_.b.CreateFPTrunc(f, f->getType()->getWithNewType(e_.f32()));
    return e_.b.CreateFMul(x, f);
  }
  switch (p.product) {
    case Product::F32: return widen_float(e_, t, x);
    case Product::F64:
    case Product::I32: return x;
    case Product::I16Pair: return is_signed(t) ? e_.b.CreateSExt(x, like(e_.b.getInt16Ty())) : e_.b.CreateZExt(x, like(e_.b.getInt16Ty()));
    case Product::BF16Pair: {
      if (t == DType::BF16) return x;
      LV* f = widen_float(e_, t, x);
      LV* bits = e_.b.CreateBitCast(f, f->getType()->getWithNewType(e_.i32()));
      return e_.b.CreateTrunc(e_.b.CreateLShr(bits, e_.integer(bits->getType(), 16)), like(e_.b.getInt16Ty()));
    }
  }
  return nullptr;
}

void NE::store_operand(const Sink& s, const Coords& c, const Coords* second) {
  const ProductPlan& p = k_.plan_.product(*s.op);
  const OperandPlan& o = p.operand[s.operand];
  const Buffer& b = k_.operand_buffer(*s.op, s.operand);
  LV* x = k_.operand_element(s, c);
  const bool vector = c[static_cast<std::size_t>(o.lane_axis)].is_short();
  auto spread = [&](LV* v) { return vector && !v->getType()->isVectorTy() ? e_.splat(v) : v; };
  x = spread(x);
  // Beyond the operand's k there must be zeros, since pairs reach there; lanes beyond its lanes are never looked at.
  if (ev_.active() && o.lane_axis == o.k_axis) x = e_.b.CreateSelect(ev_.active(), x, e_.zero(x->getType()));
  Coords at = c;
  if (in_pairs(p.product) && o.lane_axis != o.k_axis) {
    const auto k = static_cast<std::size_t>(o.k_axis);
    LV* y = second ? spread(k_.operand_element(s, *second)) : static_cast<LV*>(e_.zero(x->getType()));
    x = pair_up(e_, x, y);
    at[k] = idx_div(e_, c[k], lanes(e_.idx(2)));
  }
  ev_.store_buffer(b, at, lanes(x));
}

void NE::product(const Chunk& c, Folds& folds, Folds& lane_folds) {
  const Sink& s = *nest_.sinks.front();
  const ProductPlan& p = k_.plan_.product(*s.op);
  const std::size_t row_axis = p.transposed ? 1 : 0;
  const int row_loop = nest_.loop_of.at(&s)[row_axis];
  const std::int64_t rows = s.space[row_axis];
  const OperandPlan& across = p.operand[p.transposed ? 1 : 0];  // broadcast: one row of the block
  const OperandPlan& along = p.operand[p.transposed ? 0 : 1];   // in lanes
  const Buffer& ab = k_.operand_buffer(*s.op, p.transposed ? 1 : 0);
  const Buffer& bb = k_.operand_buffer(*s.op, p.transposed ? 0 : 1);
  const std::int64_t depth = dims(s.op->operands[0])[1];
  const std::int64_t k_units = (depth + unit_k(p.product) - 1) / unit_k(p.product);
  ProductOperands o;
  o.a = ev_.address(ab);
  if (across.lane_axis == across.k_axis) {
    o.a_row = e_.idx(ab.layout.strip / (ab.dtype == DType::I16 ? 2 : 1));
    o.a_k = e_.idx(1);
  } else {
    o.a_row = e_.idx(1);
    o.a_k = e_.idx(ab.layout.strip);
  }
  TESSERA_ASSERT(along.lane_axis != along.k_axis, "a lane operand lies along k");
  LV* strip = c.base ? e_.b.CreateUDiv(c.base, e_.idx(bb.layout.strip)) : static_cast<LV*>(e_.idx(0));
  o.b = e_.at(unit_type(e_, p.product), ev_.address(bb), e_.mul(strip, e_.idx(k_units * bb.layout.strip)));
  o.b_k = e_.idx(bb.layout.strip);
  o.k = e_.idx(k_units);
  RegisterBlock block = p.block;
  block.vectors = c.vectors;
  const Values out = emit_product(e_, p.product, block, o, rows, flatten(folds),
                                  [&](LV* row0, int count, llvm::ArrayRef<LV*> sums, llvm::ArrayRef<LV*> carried) {
                                    restore(folds, carried);
                                    for (int r = 0; r < count; ++r) {
                                      ev_.push();
                                      if (row_loop >= 0) at_[static_cast<std::size_t>(row_loop)] = lanes(r == 0 ? row0 : e_.add(row0, e_.idx(r)));
                                      for (int v = 0; v < c.vectors; ++v) {
                                        set_lane(c, v);
                                        LV* sum = sums[static_cast<std::size_t>(r * c.vectors + v)];
                                        if (!c.base) sum = e_.b.CreateExtractElement(sum, std::uint64_t{0});
                                        ev_.bind_at(s.target, coords(s), lanes(sum));
                                      }
                                      points(c, folds, lane_folds);
                                      ev_.pop();
                                    }
                                    if (row_loop >= 0) at_[static_cast<std::size_t>(row_loop)] = Lanes{};
                                    return flatten(folds);
                                  });
  restore(folds, out);
}

}  // namespace tessera::cpu
