#include "codegen/cpu/operand.h"

#include <algorithm>

namespace tessera::cpu {

using ir::Attr;
using ir::Op;
using ir::OpKind;
using LV = llvm::Value;

namespace {

bool is_zero(const ir::Value* v) {
  if (is_float(dtype(v))) return ir::constant_float(v) == 0.0;
  return ir::constant_int(v) == 0;
}

/// A conjunction of `inside` of ranges that the load runs along: where it fails, the load gives zero by itself.
bool masks_load(const ir::Value* mask, const Op& load) {
  if (!mask->def) return false;
  const Op& op = *mask->def;
  switch (op.kind) {
    case OpKind::Reshape:
    case OpKind::Broadcast:
    case OpKind::Permute: return masks_load(op.operands[0], load);
    case OpKind::And: return masks_load(op.operands[0], load) && masks_load(op.operands[1], load);
    case OpKind::Inside: return std::find(load.operands.begin(), load.operands.end(), op.operands[0]) != load.operands.end();
    default: return false;
  }
}

/// An `inside` names a range, not an axis: with two different ranges of one size it must lie along the right one.
bool along_right_axes(const ir::Value* mask, const Op& load) {
  // Ranges of a load are told apart by value, and the select's shapes fix the axis unless both axes have one size and one range.
  std::vector<const ir::Value*> ranges;
  for (const ir::Value* o : load.operands)
    if (ir::is_range(o->type)) ranges.push_back(o);
  (void)mask;
  return ranges.size() == 2 && ranges[0] != ranges[1] && ir::range(ranges[0]->type).size != ir::range(ranges[1]->type).size;
}

}  // namespace

std::optional<LoadedTile> loaded_tile(const Analysis& analysis, const ir::Value* v) {
  LoadedTile t;
  int axes[2] = {0, 1};
  std::vector<const ir::Value*> masks;
  for (;;) {
    if (!v->def || !analysis.lazy(v) || dims(v).size() != 2) return std::nullopt;
    const Op& op = *v->def;
    if (op.kind == OpKind::Permute) {
      const ir::Dims& perm = op.dims_attr(Attr::Perm);
      for (int& a : axes) a = static_cast<int>(perm[static_cast<std::size_t>(a)]);
      v = op.operands[0];
    } else if (op.kind == OpKind::Select && dims(op.operands[1]) == dims(v) && is_zero(op.operands[2])) {
      masks.push_back(op.operands[0]);
      v = op.operands[1];
    } else if (op.kind == OpKind::Load) {
      break;
    } else {
      return std::nullopt;
    }
  }
  const Op& load = *v->def;
  t.changing = analysis.changes(load.operands[0]);
  for (const ir::Value* m : masks)
    if (!masks_load(m, load) || !along_right_axes(m, load)) return std::nullopt;
  t.load = &load;
  std::vector<std::size_t> ranges;
  for (std::size_t i = 1; i < load.operands.size(); ++i) {
    if (ir::is_range(load.operands[i]->type))
      ranges.push_back(i);
    else if (!is_unit(load.operands[i]))
      return std::nullopt;
    else if (!dims(load.operands[i]).empty())
      return std::nullopt;
  }
  if (ranges.size() != 2) return std::nullopt;
  for (std::size_t a = 0; a < 2; ++a) {
    t.load_axis[a] = axes[a];
    t.index[a] = ranges[static_cast<std::size_t>(axes[a])];
  }
  return t;
}

LV* valid_count(Evaluator& ev, const ir::Value* range) { return ev.range(range).count; }

namespace {

/// The load's scalar indices lie within the view, and the view exists: null if there is nothing to check.
LV* indices_valid(Evaluator& ev, const LoadedTile& t) {
  Emitter& e = ev.emitter();
  const ViewPtr view = ev.view(t.load->operands[0]);
  LV* ok = view->valid;
  for (std::size_t i = 1; i < t.load->operands.size(); ++i) {
    const ir::Value* o = t.load->operands[i];
    if (ir::is_range(o->type)) continue;
    LV* index = ev.scalar(o);
    LV* wide = index->getType()->isIntegerTy(64) ? index : is_signed(dtype(o)) ? e.b.CreateSExt(index, e.i64()) : e.b.CreateZExt(index, e.i64());
    ok = both(e, ok, e.b.CreateICmpULT(wide, view->extents[view_axis(i)]));
  }
  return ok;
}

}  // namespace

LV* whole_condition(Evaluator& ev, const LoadedTile& t) {
  Emitter& e = ev.emitter();
  LV* ok = indices_valid(ev, t);
  for (std::size_t a = 0; a < 2; ++a) {
    const RangeRef& r = ev.range(t.load->operands[t.index[a]]);
    if (r.full) continue;
    if (!r.starts_inside) ok = both(e, ok, e.b.CreateICmpSGE(r.start, r.lo));
    ok = both(e, ok, e.b.CreateICmpSLE(e.add(r.start, e.idx(r.size)), r.hi));
  }
  return ok;
}

PackSource pack_source(Evaluator& ev, const LoadedTile& t, int slow) {
  Emitter& e = ev.emitter();
  const Op& load = *t.load;
  const auto s = static_cast<std::size_t>(slow);
  const std::size_t f = 1 - s;
  const ViewPtr view = ev.view(load.operands[0]);
  PackSource source;
  source.dtype = dtype(load.result());
  auto address = [&ev, &load, t, s](LV* at) {
    Coords c(2, lanes(ev.emitter().idx(0)));
    c[static_cast<std::size_t>(t.load_axis[s])] = lanes(at);
    return ev.address_of(load, 1, c);
  };
  source.row = [address, &e, type = memory_type(e, source.dtype)](LV* at) {
    const Address a = address(at);
    return e.at(type, a.base, a.offset.v);
  };
  // Maps that may lack rows (page tables, row lists) say so row by row; affine ones have all that the range counts.
  if (!view->affine())
    source.row_exists = [address, &e](LV* at) {
      const Address a = address(at);
      return a.mask ? a.mask : static_cast<LV*>(e.b.getTrue());
    };
  const auto walk = walk_along(*view, view_axis(t.index[f]));
  if (walk && !walk->unit) source.fast_stride = walk->stride;
  LV* ok = indices_valid(ev, t);
  LV* slow_count = valid_count(ev, load.operands[t.index[s]]);
  LV* fast_count = valid_count(ev, load.operands[t.index[f]]);
  source.full = !ok && !slow_count && !fast_count && view->affine();
  auto size = [&](std::size_t a) { return e.idx(ir::range(load.operands[t.index[a]]->type).size); };
  source.slow_count = slow_count ? slow_count : size(s);
  source.fast_count = fast_count ? fast_count : size(f);
  if (ok) source.slow_count = e.b.CreateSelect(ok, source.slow_count, e.idx(0));
  return source;
}

}  // namespace tessera::cpu
