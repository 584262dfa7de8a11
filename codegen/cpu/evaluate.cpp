#include "codegen/cpu/evaluate.h"

#include "codegen/cpu/arith.h"
#include "codegen/cpu/convert.h"
#include "dsl/diagnostic.h"

namespace tessera::cpu {

using ir::Attr;
using ir::Op;
using ir::OpKind;
using LV = llvm::Value;

namespace {

Coords zeros(Emitter& e, std::size_t n) { return Coords(n, lanes(e.idx(0))); }

bool known(const Coords& c) {
  for (const Lanes& x : c)
    if (!x.v) return false;
  return true;
}

Lanes constant_tile(Emitter& e, const Op& op) {
  const DType t = dtype(op.result());
  std::uint64_t raw;
  if (is_float(t)) {
    raw = encode_float(t, op.float_attr(Attr::Value));
  } else {
    const ir::AttrValue& value = op.attrs.at(Attr::Value);
    const auto* n = std::get_if<std::int64_t>(&value);
    raw = encode_int(t, n ? *n : float_to_int(t, std::get<double>(value)));
  }
  return lanes(register_constant(e, t, raw));
}

}  // namespace

Evaluator::Key Evaluator::key(const ir::Value* v, const Coords& c) {
  Key k{v, {}};
  if (is_unit(v)) return k;
  for (const Lanes& x : c) {
    k.second.push_back(x.v);
    k.second.push_back(x.offset);
  }
  return k;
}

void Evaluator::bind_unit(const ir::Value* v, Lanes x) { scopes_.back().values[key(v, {})] = x; }
void Evaluator::bind_at(const ir::Value* v, const Coords& c, Lanes x) { scopes_.back().values[key(v, c)] = x; }

Lanes Evaluator::eval(const ir::Value* v, const Coords& c) {
  const Key k = key(v, c);
  for (auto s = scopes_.rbegin(); s != scopes_.rend(); ++s)
    if (const auto it = s->values.find(k); it != s->values.end()) return it->second;
  const Lanes r = compute(v, is_unit(v) ? zeros(e_, dims(v).size()) : c);
  TESSERA_ASSERT(r.v, "an expression without a value");
  scopes_.back().values[k] = r;
  return r;
}

const RangeRef& Evaluator::range(const ir::Value* v) {
  for (auto s = scopes_.rbegin(); s != scopes_.rend(); ++s)
    if (const auto it = s->ranges.find(v); it != s->ranges.end()) return it->second;
  const Op& op = *v->def;
  RangeRef r;
  r.start = scalar(op.operands[0]);
  r.lo = scalar(op.operands[1]);
  r.hi = scalar(op.operands[2]);
  r.size = ir::range(v->type).size;
  r.full = op.int_attr(Attr::Full) != 0;
  r.starts_inside = analysis_.starts_inside(op);
  if (!r.full) {
    LV* left = e_.b.CreateBinaryIntrinsic(llvm::Intrinsic::ssub_sat, r.hi, r.start);
    r.count = e_.max(e_.idx(0), e_.min(e_.idx(r.size), left));
  }
  return scopes_.back().ranges[v] = r;
}

LV* Evaluator::valid(const RangeRef& r, const Lanes& c, const Lanes& at) {
  if (r.full) return nullptr;
  // Single coordinates may lie beyond the range's size: an accumulation loop runs through all of its tiles from the first one.
  LV* below = c.is_short() ? idx_below(e_, c, r.count) : idx_within(e_, at, nullptr, r.hi);
  return r.starts_inside ? below : both(e_, idx_within(e_, at, r.lo, nullptr), below);
}

ViewPtr Evaluator::view(const ir::Value* v) {
  for (auto s = scopes_.rbegin(); s != scopes_.rend(); ++s)
    if (const auto it = s->views.find(v); it != s->views.end()) return it->second;
  TESSERA_ASSERT(v->def, "a view parameter is not bound");
  ViewPtr r = apply_view_op(e_, *v->def, [&](const ir::Value* x) { return scalar(x); }, [&](const ir::Value* x) { return view(x); });
  return scopes_.back().views[v] = r;
}

Lanes Evaluator::as_idx(DType t, const Lanes& x) {
  if (t == DType::Idx) return x;
  auto* wide = x.v->getType()->getWithNewType(e_.i64());
  return lanes(is_signed(t) ? e_.b.CreateSExt(x.v, wide) : e_.b.CreateZExt(x.v, wide));
}

TileReader Evaluator::tile_reader() {
  return [this](const ir::Value* tile, const Lanes& at) { return as_idx(dtype(tile), eval(tile, {at})); };
}

Coords Evaluator::reshape_coords(const ir::Dims& from, const ir::Dims& to, const Coords& c) {
  // Row-major position in `to`, taken apart again in the dims of `from`; axes of 1 have coordinate 0.
  Coords r = zeros(e_, from.size());
  std::size_t i = 0, j = 0;
  auto skip = [](const ir::Dims& d, std::size_t& k) {
    while (k < d.size() && d[k] == 1) ++k;
  };
  for (;;) {
    skip(from, i);
    skip(to, j);
    if (i == from.size()) return r;
    if (from[i] == to[j]) {
      r[i++] = c[j++];
      continue;
    }
    // The smallest groups of axes with equal products.
    std::size_t i1 = i, j1 = j;
    std::int64_t m = from[i1++], n = to[j1++];
    while (m != n) (m < n ? m : n) *= m < n ? from[i1++] : to[j1++];
    Lanes at = lanes(e_.idx(0));
    bool unknown = false;
    for (std::size_t k = j; k < j1; ++k) unknown = unknown || (to[k] != 1 && !c[k].v);
    if (!unknown)
      for (std::size_t k = j; k < j1; ++k)
        if (to[k] != 1) at = idx_add(e_, idx_mul(e_, at, lanes(e_.idx(to[k]))), c[k]);
    for (std::size_t k = i1; k-- > i;) {
      if (from[k] == 1) continue;
      if (unknown) {
        r[k] = Lanes{};
        continue;
      }
      const Lanes n_k = lanes(e_.idx(from[k]));
      r[k] = k == i ? at : idx_mod(e_, at, n_k);
      if (k != i) at = idx_div(e_, at, n_k);
    }
    i = i1;
    j = j1;
  }
}

/// Coordinates of an operand for the result's coordinates `c`; unknown ones stay unknown.
Coords Evaluator::operand_coords(const Op& op, std::size_t operand, const Coords& c) {
  const ir::Value* x = op.operands[operand];
  if (!ir::is_tile(x->type)) return {};
  const ir::Dims& from = dims(x);
  Coords r = zeros(e_, from.size());
  switch (op.kind) {
    case OpKind::Reshape: return reshape_coords(from, dims(op.result()), c);
    case OpKind::Permute: {
      const ir::Dims& perm = op.dims_attr(Attr::Perm);
      for (std::size_t i = 0; i < perm.size(); ++i) r[static_cast<std::size_t>(perm[i])] = c[i];
      return r;
    }
    case OpKind::Slice: {
      const auto axis = static_cast<std::size_t>(op.int_attr(Attr::Axis));
      r = c;
      if (r[axis].v) r[axis] = idx_add(e_, r[axis], lanes(e_.idx(op.int_attr(Attr::Offset))));
      return r;
    }
    case OpKind::Load: {
      const auto maps = Analysis::operand_maps(op, Analysis::identity(c.size()));
      for (std::size_t i = 0; i < from.size(); ++i)
        if (maps[operand][i] >= 0) r[i] = c[static_cast<std::size_t>(maps[operand][i])];
      return r;
    }
    default:
      if (from.size() == c.size())
        for (std::size_t i = 0; i < from.size(); ++i)
          if (from[i] != 1) r[i] = c[i];
      return r;
  }
}

Lanes Evaluator::compute_concat(const Op& op, const Coords& c) {
  const auto axis = static_cast<std::size_t>(op.int_attr(Attr::Axis));
  const Lanes at = c[axis];
  Lanes result;
  std::int64_t begin = 0;
  LV* outer = active_;
  for (const ir::Value* part : op.operands) {
    const std::int64_t n = dims(part)[axis];
    Coords inner = c;
    inner[axis] = idx_sub(e_, at, lanes(e_.idx(begin)));
    LV* here = idx_within(e_, inner[axis], e_.idx(0), e_.idx(n));
    // Outside of this part nothing may be read. What is evaluated under the narrower mask must not be taken for whole elsewhere.
    Lanes x;
    push();
    if (at.uniform()) {
      inner[axis] = lanes(e_.b.CreateSelect(here, inner[axis].v, e_.idx(0)));
      x = eval(part, inner);
    } else {
      active_ = both(e_, outer, here);
      const bool whole = dims(part)[axis] == 1;
      if (whole) inner[axis] = lanes(e_.idx(0));
      x = eval(part, inner);
      active_ = outer;
    }
    pop();
    if (!result.v) {
      result = x;
    } else if (here->getType()->isVectorTy() || !x.uniform() || !result.uniform()) {
      LV* a = as_vector(e_, x);
      LV* b = as_vector(e_, result);
      result = lanes(e_.b.CreateSelect(here, a, b));
    } else {
      result = lanes(e_.b.CreateSelect(here, x.v, result.v));
    }
    begin += n;
  }
  return result;
}

Address Evaluator::address_of(const Op& op, std::size_t first, const Coords& c) {
  const ViewPtr v = view(op.operands[0]);
  const auto rank = v->extents.size();
  bool ranges = false;
  for (std::size_t a = 0; a < rank; ++a) ranges = ranges || ir::is_range(op.operands[first + a]->type);
  std::vector<Lanes> at;
  LV* mask = nullptr;
  bool varies = false;
  std::size_t result_axis = 0;
  for (std::size_t a = 0; a < rank; ++a) {
    const ir::Value* index = op.operands[first + a];
    if (ir::is_range(index->type)) {
      const RangeRef& r = range(index);
      const Lanes& coord = r.size == 1 ? lanes(e_.idx(0)) : c[result_axis];
      ++result_axis;
      at.push_back(idx_add(e_, lanes(r.start), coord));
      mask = both(e_, mask, valid(r, coord, at.back()));
    } else {
      Coords inner = zeros(e_, dims(index).size());
      if (ranges && !inner.empty()) {
        if (dims(index)[0] != 1) inner[0] = c[result_axis];
        ++result_axis;
      } else {
        for (std::size_t i = 0; i < inner.size(); ++i)
          if (dims(index)[i] != 1) inner[i] = c[i];
      }
      at.push_back(as_idx(dtype(index), eval(index, inner)));
      mask = both(e_, mask, idx_within(e_, at.back(), e_.idx(0), v->extents[a]));
    }
    varies = varies || !at.back().uniform();
  }
  if (active_ && varies) mask = both(e_, mask, active_);
  return locate(e_, *v, std::move(at), mask, tile_reader());
}

Lanes Evaluator::compute_load(const Op& op, const Coords& c) {
  const Address a = address_of(op, 1, c);
  const DType t = dtype(op.result());
  const Cell cell = view_cell(t);
  if (const auto ahead = ahead_.find(&op);
      ahead != ahead_.end() && a.offset.is_short() && a.offset.linear && a.offset.step == 1 && bits(t) >= 8 && !is_bool(t))
    e_.prefetch(e_.at(register_type(e_, t), a.base, e_.add(a.offset.v, ahead->second)), kLanes * cell.bytes());
  return lanes(load_elements(e_, cell, a.base, a.offset, a.mask, static_cast<int>(cell.bytes())));
}

Lanes Evaluator::compute(const ir::Value* v, const Coords& c) {
  if (!analysis_.lazy(v)) {
    const auto it = buffers_.find(v);
    TESSERA_ASSERT(it != buffers_.end(),
                   "a tile is read that has no home: " + v->hint + (v->def ? std::string(" of ") + ir::info(v->def->kind).name : ""));
    return load_buffer(it->second, c);
  }
  return define(v, c);
}

Lanes Evaluator::define(const ir::Value* v, const Coords& c) {
  const Op& op = *v->def;
  switch (op.kind) {
    case OpKind::Const: return constant_tile(e_, op);
    case OpKind::Iota: return c[0];
    case OpKind::Sym: return lanes(symbols_.at(op.string_attr(Attr::Name)));
    case OpKind::Extent: return lanes(view(op.operands[0])->extents[static_cast<std::size_t>(op.int_attr(Attr::Axis))]);
    case OpKind::Coords: return idx_add(e_, lanes(range(op.operands[0]).start), c[0]);
    case OpKind::Inside: {
      const RangeRef& r = range(op.operands[0]);
      LV* inside = valid(r, c[0], idx_add(e_, lanes(r.start), c[0]));
      return lanes(inside ? inside : e_.b.getTrue());
    }
    case OpKind::Concat: return compute_concat(op, c);
    case OpKind::Load: return compute_load(op, c);
    case OpKind::Pick: {
      const auto axis = static_cast<std::size_t>(op.int_attr(Attr::Axis));
      LV* i = plain(e_, as_idx(dtype(op.operands[1]), eval_unit(op.operands[1])));
      LV* here = e_.b.CreateICmpULT(i, e_.idx(dims(op.operands[0])[axis]));
      Coords inner = operand_coords(op, 0, c);
      inner[axis] = lanes(e_.b.CreateSelect(here, i, e_.idx(0)));
      LV* x = plain(e_, eval(op.operands[0], inner));
      return lanes(e_.b.CreateSelect(here, x, e_.zero(x->getType())));
    }
    case OpKind::Broadcast:
    case OpKind::Reshape:
    case OpKind::Permute:
    case OpKind::Slice: return eval(op.operands[0], operand_coords(op, 0, c));
    default: {
      std::vector<Lanes> x;
      for (std::size_t i = 0; i < op.operands.size(); ++i) x.push_back(eval(op.operands[i], operand_coords(op, i, c)));
      return emit_elementwise(e_, op, x, strict_);
    }
  }
}

void Evaluator::require(const ir::Value* v, std::set<const ir::Value*>& seen) {
  if (!seen.insert(v).second) return;
  if (ir::is_range(v->type)) {
    range(v);
  } else if (ir::is_view(v->type)) {
    view(v);
    if (v->def)
      for (const ir::Value* o : v->def->operands) require(o, seen);
  } else if (analysis_.lazy(v)) {
    if (is_unit(v)) {
      eval_unit(v);
    } else {
      for (const ir::Value* o : v->def->operands) require(o, seen);
    }
  }
}

bool Evaluator::reads_unmade(const ir::Value* v) const {
  bool any = false;
  if (!unmade_.empty()) analysis_.leaves(v, [&](const ir::Value* leaf, const AxisMap&) { any = any || unmade_.count(leaf) != 0; });
  return any;
}

void Evaluator::prepare(const ir::Value* v, const Coords& c) {
  if (!ir::is_tile(v->type)) return;
  if ((is_unit(v) || known(c)) && !reads_unmade(v)) {
    eval(v, c);
    return;
  }
  if (analysis_.lazy(v)) prepare_definition(v, c);
}

void Evaluator::prepare_definition(const ir::Value* v, const Coords& c) {
  const Op& op = *v->def;
  if (op.kind == OpKind::Concat || !Analysis::lazy_op(op)) return;
  for (std::size_t i = 0; i < op.operands.size(); ++i) {
    const ir::Value* o = op.operands[i];
    if (!ir::is_tile(o->type)) continue;
    Coords inner = operand_coords(op, i, c);
    if (op.kind == OpKind::Pick && i == 0 && dims(o)[static_cast<std::size_t>(op.int_attr(Attr::Axis))] != 1) continue;
    prepare(o, inner);
  }
}

// --- buffers

const Evaluator::StripPlace* Evaluator::strip_place(const LV* base, std::int64_t size) const {
  for (auto s = scopes_.rbegin(); s != scopes_.rend(); ++s)
    if (const auto it = s->strips.find(base); it != s->strips.end() && it->second.size == size) return &it->second;
  return nullptr;
}

Lanes Evaluator::offset_in(const Buffer& b, const Coords& c) {
  Lanes other = lanes(e_.idx(0));
  for (std::size_t i = 0; i < b.dims.size(); ++i) {
    if (static_cast<int>(i) == b.layout.lane || static_cast<int>(i) == b.layout.fixed || b.dims[i] == 1) continue;
    other = idx_add(e_, idx_mul(e_, other, lanes(e_.idx(b.dims[i]))), c[i]);
  }
  if (b.layout.lane < 0) return other;
  const auto lane = static_cast<std::size_t>(b.layout.lane);
  const Lanes at = b.dims[lane] == 1 ? lanes(e_.idx(0)) : c[lane];
  const Lanes size = lanes(e_.idx(b.layout.strip));
  Lanes within = at;
  Lanes strip = lanes(e_.idx(0));
  if (b.dims[lane] > b.layout.strip || b.layout.local) {
    if (const StripPlace* p = strip_place(at.v, b.layout.strip)) {
      within.v = p->within;
      strip = lanes(p->strip);
    } else {
      within = idx_mod(e_, at, size);
      strip = idx_div(e_, at, size);
    }
  }
  Lanes row = other;
  if (!b.layout.local) row = idx_add(e_, idx_mul(e_, strip, lanes(e_.idx(b.others()))), other);
  return idx_add(e_, idx_mul(e_, row, size), within);
}

Lanes Evaluator::load_buffer(const Buffer& b, const Coords& c) {
  const Lanes offset = offset_in(b, c);
  const Cell cell = arena_cell(b.dtype);
  // Whole aligned vectors only: a lane coordinate that is shifted (slices) starts anywhere, one that is folded or spread (reshapes) gathers.
  const bool along = offset.is_short() && offset.linear && offset.step == 1;
  const bool aligned = b.layout.lane >= 0 && along && c[static_cast<std::size_t>(b.layout.lane)].multiple % kLanes == 0;
  const int align = static_cast<int>(cell.bytes()) * (aligned ? kLanes : 1);
  // Gathers and shifted reads may run past the end where lanes are not active.
  LV* mask = aligned || offset.uniform() ? nullptr : active_;
  return lanes(load_elements(e_, cell, address(b), offset, mask, align));
}

void Evaluator::store_buffer(const Buffer& b, const Coords& c, const Lanes& x) {
  const Lanes offset = offset_in(b, c);
  const Cell cell = arena_cell(b.dtype);
  LV* v = plain(e_, x);
  const bool along = offset.is_short() && offset.linear && offset.step == 1;
  const int align = static_cast<int>(cell.bytes()) * (along ? kLanes : 1);
  // Along the lane axis rows are padded to whole vectors; across it, inactive lanes would hit other elements.
  store_elements(e_, cell, address(b), offset, v, along || offset.uniform() ? nullptr : active_, align);
}

}  // namespace tessera::cpu
