// Operands of products: read where they lie, or packed in units.
#include "codegen/cpu/convert.h"
#include "codegen/cpu/emit.h"
#include "codegen/cpu/pack.h"
#include "codegen/cpu/plan_block.h"
#include "codegen/cpu/prefetch.h"
#include "dsl/diagnostic.h"

namespace tessera::cpu {

using LV = llvm::Value;

namespace {

bool in_pairs(Product p) { return unit_k(p) == 2; }

/// The dtype whose elements are the units of a product that has no pairs.
DType single_dtype(Product p) { return p == Product::F64 ? DType::F64 : p == Product::I32 ? DType::I32 : DType::F32; }

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
  // Packing writes k in whole vectors.
  const std::int64_t slack = kLanes * std::max<std::int64_t>(b.layout.strip, kLanes) * 8;
  b.offset = arena_.take(b.bytes() + (o.layout.local ? 0 : slack));
  operands_[{s.op, s.operand}] = b;
  operand_refs_[{s.op, s.operand}] = packed_ref(s);
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

KernelEmitter::OperandRef KernelEmitter::packed_ref(const Sink& s) {
  const ProductPlan& p = plan_.product(*s.op);
  const OperandPlan& o = p.operand[s.operand];
  const Buffer& b = operand_buffer(*s.op, s.operand);
  OperandRef r;
  r.base = ev_->address(b);
  if (o.lane_axis == o.k_axis) {
    r.row = e_.idx(b.layout.strip / (b.dtype == DType::I16 ? 2 : 1));
    r.k = e_.idx(1);
    r.strip = e_.idx(0);
  } else {
    r.row = e_.idx(1);
    r.k = e_.idx(b.layout.strip);
    r.strip = e_.idx(b.layout.local ? 0 : b.others() * b.layout.strip);
  }
  return r;
}

/// A tile in the arena that lies as the product reads it.
std::optional<KernelEmitter::OperandRef> KernelEmitter::buffer_operand(const Sink& s) {
  const ProductPlan& p = plan_.product(*s.op);
  if (in_pairs(p.product) || s.op->kind == ir::OpKind::DotScaled) return std::nullopt;
  const ir::Value* v = s.value;
  int axes[2] = {0, 1};
  while (analysis_.lazy(v) && v->def->kind == ir::OpKind::Permute) {
    const ir::Dims& perm = v->def->dims_attr(ir::Attr::Perm);
    for (int& a : axes) a = static_cast<int>(perm[static_cast<std::size_t>(a)]);
    v = v->def->operands[0];
  }
  if (analysis_.lazy(v) || !ev_->has_buffer(v) || dtype(v) != single_dtype(p.product)) return std::nullopt;
  const Buffer& b = ev_->buffer(v);
  if (b.layout.local || b.layout.lane < 0) return std::nullopt;
  const int row_axis = s.operand == 0 ? 0 : 1;
  const bool in_lanes = (s.operand == 0) == p.transposed;
  const std::int64_t others = b.others();
  OperandRef r;
  r.base = ev_->address(b);
  const bool row_in_lanes = b.layout.lane == axes[row_axis];
  if (in_lanes) {
    const std::int64_t strip = static_cast<std::int64_t>(p.block.vectors) * kLanes;
    const std::int64_t extent = b.dims[static_cast<std::size_t>(axes[row_axis])];
    if (!row_in_lanes || (b.layout.strip != strip && b.layout.strip < extent)) return std::nullopt;
    r.k = e_.idx(b.layout.strip);
    r.strip = e_.idx(b.layout.strip == strip ? others * strip : strip);
    r.row = e_.idx(1);
    return r;
  }
  if (b.layout.strip < b.dims[static_cast<std::size_t>(b.layout.lane)]) return std::nullopt;
  r.row = e_.idx(row_in_lanes ? 1 : b.layout.strip);
  r.k = e_.idx(row_in_lanes ? b.layout.strip : 1);
  r.strip = e_.idx(0);
  return r;
}

bool KernelEmitter::emit_operand(const Sink& s) {
  const ProductPlan& p = plan_.product(*s.op);
  const OperandPlan& o = p.operand[s.operand];
  if (o.layout.local || s.op->kind == ir::OpKind::DotScaled) return false;
  if (const auto r = buffer_operand(s)) {
    operand_refs_[{s.op, s.operand}] = *r;
    return true;
  }
  const auto t = loaded_tile(analysis_, s.value);
  if (!t) return false;
  const ViewPtr view = ev_->view(t->load->operands[0]);
  const auto row_axis = static_cast<std::size_t>(s.operand == 0 ? 0 : 1);
  const std::size_t k_axis = 1 - row_axis;
  const bool in_lanes = (s.operand == 0) == p.transposed;
  const std::int64_t rows = plan_rows(s);
  bool direct = view->affine() && !t->changing;
  LV *row_stride = nullptr, *k_stride = nullptr;
  LV* ok = nullptr;
  if (direct) {
    row_stride = view->strides[view_axis(t->index[row_axis])];
    k_stride = view->strides[view_axis(t->index[k_axis])];
    const bool k_unit = view->unit[view_axis(t->index[k_axis])];
    const bool row_unit = view->unit[view_axis(t->index[row_axis])];
    const DType type = dtype(s.value);
    if (in_lanes) {
      // Panels are read once for every block of rows: few rows do not repay a copy.
      direct = type == single_dtype(p.product) && !in_pairs(p.product) && row_unit && s.space[row_axis] % kLanes == 0 && rows <= 16;
    } else if (in_pairs(p.product)) {
      direct = p.product == Product::BF16Pair && type == DType::BF16 && k_unit && s.space[k_axis] % 2 == 0;
    } else {
      direct = type == single_dtype(p.product);
    }
  }
  if (!direct) return emit_pack(s);
  ok = whole_condition(*ev_, *t);
  Coords zero(2, lanes(e_.idx(0)));
  const Address a = ev_->address_of(*t->load, 1, zero);
  OperandRef r;
  r.base = e_.at(memory_type(e_, dtype(s.value)), a.base, a.offset.v);
  r.row = row_stride;
  r.k = k_stride;
  r.strip = e_.idx(in_lanes ? static_cast<std::int64_t>(p.block.vectors) * kLanes : 0);
  if (in_lanes && rows <= kInnerRows) r.ahead = next_step(*ev_, *t->load);
  r.align = static_cast<int>(view_cell(dtype(s.value)).bytes());
  if (in_pairs(p.product)) {
    ok = both(e_, ok, e_.b.CreateICmpEQ(e_.b.CreateAnd(row_stride, e_.idx(1)), e_.idx(0)));
    r.row = e_.b.CreateAShr(row_stride, e_.idx(1));
    r.k = e_.idx(1);
  }
  if (is_true(ok)) {
    operand_refs_[{s.op, s.operand}] = r;
    return true;
  }
  // A tile that sticks out of its view is packed, with zeros where there is nothing.
  const OperandRef packed = packed_ref(s);
  const Values chosen = e_.choose(
      ok, [&] { return Values{r.base, r.row, r.k, r.strip}; },
      [&] {
        if (!emit_pack(s)) pack_by_elements(s);
        return Values{packed.base, packed.row, packed.k, packed.strip};
      });
  operand_refs_[{s.op, s.operand}] = {chosen[0], chosen[1], chosen[2], chosen[3], r.align, r.ahead};
  return true;
}

/// Rows of the product that read a lane operand.
std::int64_t KernelEmitter::plan_rows(const Sink& s) const { return dims(s.op->result())[plan_.product(*s.op).transposed ? 1 : 0]; }

/// Packs a loaded tile row by row; false if it has no rows in memory.
bool KernelEmitter::emit_pack(const Sink& s) {
  const ProductPlan& p = plan_.product(*s.op);
  const OperandPlan& o = p.operand[s.operand];
  const auto t = loaded_tile(analysis_, s.value);
  if (!t || bits(dtype(s.value)) < 8 || is_bool(dtype(s.value)) || dtype(s.value) == DType::E8M0) return false;
  for (std::size_t a = 0; a < 2; ++a) {
    const RangeRef& r = ev_->range(t->load->operands[t->index[a]]);
    if (!r.full && !r.starts_inside) return false;
  }
  const ViewPtr view = ev_->view(t->load->operands[0]);
  auto unit = [&](int axis) {
    const auto walk = walk_along(*view, view_axis(t->index[static_cast<std::size_t>(axis)]));
    return walk && walk->unit;
  };
  const int row_axis = 1 - o.k_axis;
  const Buffer& b = operand_buffer(*s.op, s.operand);
  LV* dst = ev_->address(b);
  const std::int64_t k = s.space[static_cast<std::size_t>(o.k_axis)];
  LV* k_units = e_.idx((k + unit_k(p.product) - 1) / unit_k(p.product));
  const bool whole_k = k % (static_cast<std::int64_t>(kLanes) * unit_k(p.product)) == 0;
  if (o.lane_axis == o.k_axis) {
    if (!unit(o.k_axis)) return false;
    PackSource source = pack_source(*ev_, *t, row_axis);
    source.full = source.full && whole_k;
    emit_pack_rows(e_, p.product, source, e_.idx(s.space[static_cast<std::size_t>(row_axis)]), k_units, dst,
                   e_.idx(b.layout.strip / (b.dtype == DType::I16 ? 2 : 1)));
    return true;
  }
  const bool across = unit(o.k_axis);
  if (!across && !unit(row_axis)) return false;
  PackSource source = pack_source(*ev_, *t, across ? row_axis : o.k_axis);
  if (plan_rows(s) <= kInnerRows) source.ahead = next_step(*ev_, *t->load);
  // Packing runs to the end of the last strip, and in steps of a pair or a block along k: all of that must be there.
  const std::int64_t lane_extent = s.space[static_cast<std::size_t>(o.lane_axis)];
  source.full = source.full && lane_extent % b.layout.strip == 0 && (across ? whole_k : k % unit_k(p.product) == 0);
  const std::int64_t strips = (lane_extent + b.layout.strip - 1) / b.layout.strip;
  e_.loop(e_.idx(0), e_.idx(strips), e_.idx(1), true, [&](LV* strip) {
    LV* first = e_.mul(strip, e_.idx(b.layout.strip));
    LV* panel = e_.at(unit_type(e_, p.product), dst, e_.mul(strip, e_.idx(b.others() * b.layout.strip)));
    const int lanes = static_cast<int>(b.layout.strip);
    if (across)
      emit_pack_panel_transposed(e_, p.product, shifted(e_, source, first, e_.idx(0)), k_units, lanes, panel);
    else
      emit_pack_panel(e_, p.product, shifted(e_, source, e_.idx(0), first), k_units, lanes, panel);
  });
  return true;
}

}  // namespace tessera::cpu
