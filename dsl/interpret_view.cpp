#include "dsl/interpret_view.h"

#include <algorithm>
#include <cstring>

namespace tessera::interp {

using ir::Attr;
using ir::Op;
using ir::OpKind;

namespace {

/// An element of a rank-1 integer view; empty if outside.
std::optional<std::int64_t> read_id(const View& ids, std::int64_t at) {
  if (at < 0 || at >= ids.extents[0]) return std::nullopt;
  Coords c;
  c.rank = 1;
  c.at[0] = at;
  const auto address = locate(ids, c);
  if (!address) return std::nullopt;
  return decode_int(ids.dtype, read_raw(ids.dtype, *address));
}

void erase(Coords& c, std::size_t from, std::size_t n) {
  for (std::size_t d = from; d + n < c.rank; ++d) c.at[d] = c.at[d + n];
  c.rank -= n;
}

void insert(Coords& c, std::size_t at, std::size_t n) {
  TESSERA_ASSERT(c.rank + n <= Coords::limit, "a view has too many axes");
  c.rank += n;
  for (std::size_t d = c.rank; d-- > at + n;) c.at[d] = c.at[d - n];
}

bool within(std::int64_t i, std::int64_t extent) { return i >= 0 && i < extent; }

/// Coordinates of `v` turned into those of its parent. False: there is no such element.
bool to_parent(const View& v, Coords& c) {
  switch (v.kind) {
    case View::Kind::Index:
      if (!within(v.number, v.parent->extents[v.axis])) return false;
      insert(c, v.axis, 1);
      c.at[v.axis] = v.number;
      return true;
    case View::Kind::Span: c.at[v.axis] += v.number; return true;
    case View::Kind::Permute: {
      const Coords from = c;
      for (std::size_t d = 0; d < c.rank; ++d) c.at[static_cast<std::size_t>(v.perm[d])] = from.at[d];
      return true;
    }
    case View::Kind::Merge: {
      std::int64_t rest = c.at[v.axis];
      insert(c, v.axis, v.last - v.axis);
      for (std::size_t d = v.last + 1; d-- > v.axis;) {
        const std::int64_t extent = v.parent->extents[d];
        if (extent <= 0) return false;
        c.at[d] = rest % extent;
        rest /= extent;
      }
      return true;
    }
    case View::Kind::Split:
      c.at[v.axis] = c.at[v.axis] * v.number + c.at[v.axis + 1];
      erase(c, v.axis + 1, 1);
      return true;
    case View::Kind::Paged: {
      if (v.number <= 0) return false;
      const std::int64_t row = c.at[0];
      const auto page = read_id(*v.ids_view, row / v.number);
      if (!page || !within(*page, v.parent->extents[0])) return false;
      insert(c, 0, 1);
      c.at[0] = *page;
      c.at[1] = row % v.number;
      return true;
    }
    case View::Kind::Take: {
      std::optional<std::int64_t> id;
      if (v.ids_view) {
        id = read_id(*v.ids_view, c.at[0]);
      } else if (within(c.at[0], v.ids_tile->elements())) {
        id = v.ids_tile->i[static_cast<std::size_t>(c.at[0])];
      }
      if (!id || !within(*id, v.parent->extents[0])) return false;
      c.at[0] = *id;
      return true;
    }
    case View::Kind::Peer:
    case View::Kind::Base: return true;
  }
  TESSERA_UNREACHABLE("view kind");
}

}  // namespace

std::optional<Address> locate(const View& view, Coords c) {
  std::int64_t rank = 0;
  const View* v = &view;
  for (; v->kind != View::Kind::Base; v = v->parent.get()) {
    if (v->kind == View::Kind::Peer) rank = v->number;
    if (!to_parent(*v, c)) return std::nullopt;
  }
  if (!within(rank, static_cast<std::int64_t>(v->bases.size()))) return std::nullopt;
  Address a{v->bases[static_cast<std::size_t>(rank)], 0};
  for (std::size_t d = 0; d < c.rank; ++d) {
    if (!within(c.at[d], v->extents[d])) return std::nullopt;
    a.element += c.at[d] * v->strides[d];
  }
  return a;
}

std::uint64_t read_raw(DType t, Address a) {
  const int n = bits(t);
  std::uint64_t raw = 0;
  if (n >= 8) {
    // NOLINTNEXTLINE: addresses travel as words in the launch frame
    std::memcpy(&raw, reinterpret_cast<const char*>(a.base) + a.element * (n / 8), static_cast<std::size_t>(n / 8));
    return raw;
  }
  // NOLINTNEXTLINE: as above
  std::memcpy(&raw, reinterpret_cast<const char*>(a.base) + (a.element >> 1), 1);
  return (a.element & 1) != 0 ? raw >> 4 : raw & 0xf;
}

void write_raw(DType t, Address a, std::uint64_t raw) {
  const int n = bits(t);
  if (n >= 8) {
    // NOLINTNEXTLINE: as above
    std::memcpy(reinterpret_cast<char*>(a.base) + a.element * (n / 8), &raw, static_cast<std::size_t>(n / 8));
    return;
  }
  // NOLINTNEXTLINE: as above
  auto* byte = reinterpret_cast<unsigned char*>(a.base) + (a.element >> 1);
  const bool high = (a.element & 1) != 0;
  *byte = static_cast<unsigned char>(high ? (*byte & 0x0f) | (raw << 4) : (*byte & 0xf0) | (raw & 0xf));
}

ViewPtr apply_view_op(const Op& op, const std::vector<const Slot*>& operands) {
  const auto number = [&](std::size_t i) { return std::get<TilePtr>(*operands[i])->i[0]; };
  auto v = std::make_shared<View>();
  v->parent = std::get<ViewPtr>(*operands[0]);
  v->dtype = v->parent->dtype;
  v->extents = v->parent->extents;
  v->axis = static_cast<std::size_t>(op.int_attr(Attr::Axis));
  Dims& e = v->extents;
  const auto at = e.begin() + static_cast<std::ptrdiff_t>(v->axis);
  if (op.kind == OpKind::ViewIndex) {
    v->kind = View::Kind::Index;
    v->number = number(1);
    e.erase(at);
  } else if (op.kind == OpKind::ViewSpan) {
    v->kind = View::Kind::Span;
    v->number = std::clamp<std::int64_t>(number(1), 0, *at);
    *at = std::clamp(number(2), v->number, *at) - v->number;
  } else if (op.kind == OpKind::ViewPermute) {
    v->kind = View::Kind::Permute;
    v->perm = op.dims_attr(Attr::Perm);
    for (std::size_t d = 0; d < e.size(); ++d) e[d] = v->parent->extents[static_cast<std::size_t>(v->perm[d])];
  } else if (op.kind == OpKind::ViewMerge) {
    v->kind = View::Kind::Merge;
    v->last = static_cast<std::size_t>(op.int_attr(Attr::Last));
    const auto end = e.begin() + static_cast<std::ptrdiff_t>(v->last) + 1;
    *at = count(Dims(at, end));
    e.erase(at + 1, end);
  } else if (op.kind == OpKind::ViewSplit) {
    v->kind = View::Kind::Split;
    v->number = op.int_attr(Attr::Size);
    *at = *at / v->number;
    e.insert(at + 1, v->number);
  } else if (op.kind == OpKind::ViewPaged) {
    v->kind = View::Kind::Paged;
    v->ids_view = std::get<ViewPtr>(*operands[1]);
    v->number = e[1];
    e.erase(e.begin());
    e[0] = std::max<std::int64_t>(number(2), 0);
  } else if (op.kind == OpKind::ViewTake) {
    v->kind = View::Kind::Take;
    if (const auto* view = std::get_if<ViewPtr>(operands[1])) v->ids_view = *view;
    if (const auto* tile = std::get_if<TilePtr>(operands[1])) v->ids_tile = *tile;
    e[0] = v->ids_view ? v->ids_view->extents[0] : v->ids_tile->elements();
  } else if (op.kind == OpKind::ViewPeer) {
    v->kind = View::Kind::Peer;
    v->number = number(1);
  } else {
    TESSERA_UNREACHABLE("not a view op");
  }
  return v;
}

}  // namespace tessera::interp
