// Partial tiles: which elements are valid, and the selects that keep padding out of results (TILE_IR.md, 1).
#include "frontend/elaborate.h"

namespace tessera {

using ir::OpKind;

std::vector<Mask> Elaborator::join(const std::vector<Mask>& a, const std::vector<Mask>& b) {
  std::vector<Mask> out = a;
  for (const Mask& m : b) {
    bool known = false;
    for (const Mask& k : out) known |= m.range_id ? (k.range_id == m.range_id && k.axis == m.axis) : (m.tile && k.tile == m.tile);
    if (!known) out.push_back(m);
  }
  return out;
}

bool Elaborator::partial(const TileVal& t, int axis) const {
  for (const Mask& m : t.valid) {
    if (m.range_id ? m.axis == axis : !(m.dims[static_cast<std::size_t>(axis)] == Sym(1))) return true;
  }
  return false;
}

/// One bool tile of the given rank that is true where all masks hold. Broadcasts over axes that no mask limits.
ir::Value* Elaborator::mask_value(const std::vector<Mask>& masks, std::size_t rank, const std::vector<Sym>& dims, int only_axis, int range_skip) {
  if (!builder_) return nullptr;
  ir::Value* all = nullptr;
  for (const Mask& m : masks) {
    if (m.range_id && m.range_id == range_skip) continue;
    ir::Value* one = m.tile;
    if (m.range_id) {
      if (only_axis >= 0 && m.axis != only_axis) continue;
      one = emit(OpKind::Inside, {m.range});
      if (rank != 1) {
        ir::Dims shape(rank, 1);
        shape[static_cast<std::size_t>(m.axis)] = ir::tile(one->type).dims[0];
        one = builder_->reshape(one, shape);
      }
    } else if (only_axis >= 0 && m.dims[static_cast<std::size_t>(only_axis)] == Sym(1)) {
      continue;
    }
    all = all ? emit(OpKind::And, {all, one}) : one;
  }
  (void)dims;
  return all;
}

/// The tile with `identity` in the elements that are not valid along `axis` (-1: along any axis).
TileVal Elaborator::guard(const TileVal& t, double identity, int axis) {
  TileVal out = t;
  out.valid.clear();
  bool any = false;
  for (const Mask& m : t.valid) {
    bool concerned = axis < 0 || (m.range_id ? m.axis == axis : !(m.dims[static_cast<std::size_t>(axis)] == Sym(1)));
    if (concerned)
      any = true;
    else
      out.valid.push_back(m);
  }
  if (!any || !builder_) return out;
  ir::Value* mask = mask_value(t.valid, t.dims.size(), t.dims, axis);
  ir::TileType scalar = ir::scalar(t.elem.dtype);
  ir::Value* fill = is_float(t.elem) ? builder_->constant(scalar, identity)
                                     : builder_->constant(scalar, identity <= -1e300  ? int_min(t.elem.dtype)
                                                                  : identity >= 1e300 ? int_max(t.elem.dtype)
                                                                                      : static_cast<std::int64_t>(identity));
  if (is_bool(t.elem)) fill = builder_->constant(scalar, static_cast<std::int64_t>(identity));
  out.v = emit(OpKind::Select, {mask, t.v, fill});
  return out;
}

}  // namespace tessera
