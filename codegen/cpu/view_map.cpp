#include "codegen/cpu/view_map.h"

#include "codegen/cpu/arith.h"
#include "dsl/diagnostic.h"

namespace tessera::cpu {

using ir::Attr;
using ir::OpKind;
using llvm::Value;

namespace {

template <class T>
void erase_at(std::vector<T>& v, std::size_t at) {
  v.erase(v.begin() + static_cast<std::ptrdiff_t>(at));
}
template <class T>
void insert_at(std::vector<T>& v, std::size_t at, T x) {
  v.insert(v.begin() + static_cast<std::ptrdiff_t>(at), std::move(x));
}

Value* clamp(Emitter& e, Value* x, Value* lo, Value* hi) { return e.max(lo, e.min(hi, x)); }

Value* within(Emitter& e, Value* x, Value* extent) { return e.b.CreateICmpULT(x, extent); }  // extents are not negative

Lanes times(Emitter& e, const Lanes& c, Value* stride, bool unit) {
  if (unit) return c;
  if (c.is_short()) {
    // A run-time stride leaves the 32-bit form: base * stride + lanes * stride.
    Value* lane = e.b.CreateMul(e.b.CreateSExt(c.offset, e.vec(e.i64())), e.splat(stride));
    return lanes(e.b.CreateAdd(e.splat(e.b.CreateMul(c.v, stride)), lane));
  }
  return idx_mul(e, c, lanes(stride));
}

void apply_index(Emitter& e, View& v, const View& from, Value* i) {
  v.valid = both(e, from.valid, within(e, i, from.extents[v.axis]));
  if (from.affine()) {
    v.origin = e.b.CreateAdd(from.origin, e.b.CreateMul(i, from.strides[v.axis]));
    erase_at(v.strides, v.axis);
    erase_at(v.unit, v.axis);
  } else {
    v.kind = View::Kind::Index;
    v.number = i;
  }
  erase_at(v.extents, v.axis);
}

void apply_span(Emitter& e, View& v, const View& from, Value* lo, Value* hi, const SpanBounds& bounds) {
  Value* extent = from.extents[v.axis];
  if (!bounds.inside) {
    lo = clamp(e, lo, e.idx(0), extent);
    hi = clamp(e, hi, lo, extent);
  }
  v.extents[v.axis] = bounds.extent ? static_cast<Value*>(e.idx(*bounds.extent)) : e.b.CreateSub(hi, lo);
  if (from.affine()) {
    v.origin = e.b.CreateAdd(from.origin, e.b.CreateMul(lo, from.strides[v.axis]));
  } else {
    v.kind = View::Kind::Span;
    v.number = lo;
  }
}

void apply_permute(View& v, const View& from, const ir::Dims& perm) {
  for (std::size_t d = 0; d < perm.size(); ++d) {
    const auto s = static_cast<std::size_t>(perm[d]);
    v.extents[d] = from.extents[s];
    if (!from.affine()) continue;
    v.strides[d] = from.strides[s];
    v.unit[d] = from.unit[s];
  }
  if (from.affine()) return;
  v.kind = View::Kind::Permute;
  v.perm = perm;
}

void apply_split(Emitter& e, View& v, const View& from, std::int64_t size) {
  v.extents[v.axis] = floor_divide(e, from.extents[v.axis], e.idx(size), true);
  insert_at(v.extents, v.axis + 1, static_cast<Value*>(e.idx(size)));
  if (from.affine()) {
    v.strides[v.axis] = e.b.CreateMul(from.strides[v.axis], e.idx(size));
    v.unit[v.axis] = from.unit[v.axis] && size == 1;
    insert_at(v.strides, v.axis + 1, from.strides[v.axis]);
    v.unit.insert(v.unit.begin() + static_cast<std::ptrdiff_t>(v.axis) + 1, from.unit[v.axis]);
  } else {
    v.kind = View::Kind::Split;
    v.number = e.idx(size);
  }
}

void apply_merge(Emitter& e, View& v, const View& from, std::size_t last) {
  if (last == v.axis) return;
  v.kind = View::Kind::Merge;
  v.last = last;
  for (std::size_t d = last; d > v.axis; --d) {
    v.extents[v.axis] = e.b.CreateMul(v.extents[v.axis], from.extents[d]);
    erase_at(v.extents, d);
  }
}

/// An element of a rank-1 integer view at `at`, and where there is one.
std::pair<Lanes, Value*> read_id(Emitter& e, const View& ids, const Lanes& at, Value* mask, const TileReader& tile) {
  mask = both(e, mask, idx_within(e, at, e.idx(0), ids.extents[0]));
  const Address a = locate(e, ids, {at}, mask, tile);
  Value* raw = load_elements(e, view_cell(ids.dtype), a.base, a.offset, a.mask, 1);
  Value* id = is_signed(ids.dtype) ? e.b.CreateSExt(raw, raw->getType()->getWithNewType(e.i64()))
                                   : e.b.CreateZExt(raw, raw->getType()->getWithNewType(e.i64()));
  return {lanes(id), a.mask};
}

/// One step down: coordinates of `v` become those of its parent.
void to_parent(Emitter& e, const View& v, std::vector<Lanes>& c, Value*& mask, const TileReader& tile) {
  switch (v.kind) {
    case View::Kind::Affine: return;
    case View::Kind::Index: return insert_at(c, v.axis, lanes(v.number));
    case View::Kind::Span: c[v.axis] = idx_add(e, c[v.axis], lanes(v.number)); return;
    case View::Kind::Permute: {
      const std::vector<Lanes> from = c;
      for (std::size_t d = 0; d < c.size(); ++d) c[static_cast<std::size_t>(v.perm[d])] = from[d];
      return;
    }
    case View::Kind::Merge: {
      Lanes rest = c[v.axis];
      erase_at(c, v.axis);
      std::vector<Lanes> digits;
      for (std::size_t d = v.last; d > v.axis; --d) {
        const Lanes extent = lanes(v.parent->extents[d]);
        digits.push_back(idx_mod(e, rest, extent));
        rest = idx_div(e, rest, extent);
      }
      digits.push_back(rest);
      for (const Lanes& d : digits) insert_at(c, v.axis, d);
      return;
    }
    case View::Kind::Split:
      c[v.axis] = idx_add(e, idx_mul(e, c[v.axis], lanes(v.number)), c[v.axis + 1]);
      erase_at(c, v.axis + 1);
      return;
    case View::Kind::Paged: {
      const Lanes row = c[0];
      auto [page, found] = read_id(e, *v.ids, idx_div(e, row, lanes(v.number)), mask, tile);
      mask = both(e, found, idx_within(e, page, e.idx(0), v.parent->extents[0]));
      c[0] = idx_mod(e, row, lanes(v.number));
      insert_at(c, 0, page);
      return;
    }
    case View::Kind::Take: {
      Lanes id;
      if (v.ids) {
        std::tie(id, mask) = read_id(e, *v.ids, c[0], mask, tile);
      } else {
        id = tile(v.ids_tile, c[0]);
      }
      mask = both(e, mask, idx_within(e, id, e.idx(0), v.parent->extents[0]));
      c[0] = id;
      return;
    }
  }
}

}  // namespace

ViewPtr parameter_view(Emitter& e, DType t, Value* base, Values extents, Values strides, bool last_is_unit) {
  auto v = std::make_shared<View>();
  v->dtype = t;
  v->base = base;
  v->origin = e.idx(0);
  v->extents = std::move(extents);
  v->strides = std::move(strides);
  v->unit.assign(v->strides.size(), false);
  if (last_is_unit && !v->unit.empty()) v->unit.back() = true;
  return v;
}

ViewPtr apply_view_op(Emitter& e, const ir::Op& op, const std::function<Value*(const ir::Value*)>& scalar,
                      const std::function<ViewPtr(const ir::Value*)>& view, const SpanBounds& bounds) {
  const ViewPtr from = view(op.operands[0]);
  auto v = std::make_shared<View>(*from);
  v->parent = from;
  v->kind = View::Kind::Affine;
  v->axis = static_cast<std::size_t>(op.int_attr(Attr::Axis));
  // Kinds other than Affine keep only what belongs to their own step; a plain copy of a non-affine parent must not pass for affine.
  const bool affine = from->affine();
  switch (op.kind) {
    case OpKind::ViewIndex: apply_index(e, *v, *from, scalar(op.operands[1])); break;
    case OpKind::ViewSpan: apply_span(e, *v, *from, scalar(op.operands[1]), scalar(op.operands[2]), bounds); break;
    case OpKind::ViewPermute: apply_permute(*v, *from, op.dims_attr(Attr::Perm)); break;
    case OpKind::ViewSplit: apply_split(e, *v, *from, op.int_attr(Attr::Size)); break;
    case OpKind::ViewMerge: {
      const auto last = static_cast<std::size_t>(op.int_attr(Attr::Last));
      if (last == v->axis) return from;
      apply_merge(e, *v, *from, last);
      break;
    }
    case OpKind::ViewPaged:
      v->kind = View::Kind::Paged;
      v->ids = view(op.operands[1]);
      v->number = from->extents[1];
      v->valid = both(e, v->valid, e.b.CreateICmpSGT(v->number, e.idx(0)));
      v->extents.erase(v->extents.begin());
      v->extents[0] = e.max(e.idx(0), scalar(op.operands[2]));
      break;
    case OpKind::ViewTake:
      v->kind = View::Kind::Take;
      if (ir::is_view(op.operands[1]->type)) {
        v->ids = view(op.operands[1]);
        v->extents[0] = v->ids->extents[0];
        v->valid = both(e, v->valid, v->ids->valid);
      } else {
        v->ids_tile = op.operands[1];
        v->extents[0] = e.idx(ir::tile(op.operands[1]->type).elements());
      }
      break;
    default: TESSERA_UNREACHABLE("not a view op of the CPU");
  }
  TESSERA_ASSERT(affine || !v->affine(), "a view op lost its parent's map");
  return v;
}

Address locate(Emitter& e, const View& view, std::vector<Lanes> c, Value* mask, const TileReader& tile) {
  mask = both(e, mask, view.valid);
  const View* v = &view;
  for (; !v->affine(); v = v->parent.get()) {
    to_parent(e, *v, c, mask, tile);
    // A page table or row list of its own may hang on an index that does not exist.
    if (v->ids && v->ids->valid) mask = both(e, mask, v->ids->valid);
  }
  Address a;
  a.base = v->base;
  a.offset = lanes(v->origin);
  for (std::size_t d = 0; d < c.size(); ++d) a.offset = idx_add(e, a.offset, times(e, c[d], v->strides[d], v->unit[d]));
  a.mask = mask;
  return a;
}

std::optional<Walk> walk_along(const View& view, std::size_t axis) {
  const View* v = &view;
  for (; !v->affine(); v = v->parent.get()) {
    switch (v->kind) {
      case View::Kind::Affine: break;
      case View::Kind::Index:
        if (axis >= v->axis) ++axis;
        break;
      case View::Kind::Span: break;
      case View::Kind::Permute: axis = static_cast<std::size_t>(v->perm[axis]); break;
      case View::Kind::Merge:
        if (axis == v->axis) return std::nullopt;
        if (axis > v->axis) axis += v->last - v->axis;
        break;
      case View::Kind::Split:
        if (axis == v->axis) return std::nullopt;
        if (axis > v->axis) --axis;
        break;
      case View::Kind::Paged:
        if (axis == 0) return std::nullopt;
        ++axis;
        break;
      case View::Kind::Take:
        if (axis == 0) return std::nullopt;
        break;
    }
  }
  return Walk{v->strides[axis], v->unit[axis]};
}

}  // namespace tessera::cpu
