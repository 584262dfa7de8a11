// Global memory and registers: loads, stores and atomic additions of tiles.
//
// Elements that lie side by side in memory and in a thread's registers move together, 16 bytes at a time, where the launch's addresses allow it:
// one uniform test a tile chooses between that and single elements.
#include <fmt/format.h>

#include <algorithm>

#include "codegen/cpu/arith.h"
#include "codegen/gpu/emit.h"
#include "dsl/diagnostic.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;

/// An access to a view: where each axis' coordinate comes from.
struct ThreadEmitter::Access {
  struct Axis {
    LV* fixed = nullptr;  ///< a scalar index
    const RangeValue* range = nullptr;
    const ir::Value* tile = nullptr;  ///< an integer tile
    std::size_t of = 0;               ///< the tile axis that a range gives
  };
  cpu::ViewPtr view;
  std::vector<Axis> axes;
  bool pointwise = false;            ///< tiles and scalars only
  std::optional<std::size_t> inner;  ///< the tile axis that lies side by side in memory, if any for certain
  LV* valid = nullptr;               ///< i1: fixed indices lie inside; null: certainly
};

ThreadEmitter::Access ThreadEmitter::access(const ir::Value* v, llvm::ArrayRef<ir::Value*> indices) {
  // Row numbers in shared memory are met here: later reads of them stand in branches, where no barrier may.
  for (const ir::Value* w = v; w->def; w = w->def->operands[0]) {
    if (w->def->kind != OpKind::ViewTake || !is_real_tile(w->def->operands[1])) continue;
    for (const int i : plan_.stages_of(w->def->operands[1])) {
      const Stage& s = plan_.stages()[static_cast<std::size_t>(i)];
      read_shared(s.offset, s.offset + s.slot_bytes());
    }
  }
  Access a;
  a.view = view(v);
  a.valid = a.view->valid;
  std::size_t tile_axis = 0;
  bool ranges = false;
  for (const ir::Value* i : indices) ranges = ranges || ir::is_range(i->type);
  a.pointwise = !ranges;
  for (std::size_t d = 0; d < indices.size(); ++d) {
    const ir::Value* i = indices[d];
    Access::Axis x;
    if (ir::is_range(i->type)) {
      x.range = &ranges_.at(i);
      x.of = tile_axis++;
      if (d + 1 == indices.size()) {
        const auto walk = cpu::walk_along(*a.view, d);
        if (walk && walk->unit) a.inner = x.of;
      }
    } else if (is_scalar(i)) {
      x.fixed = as_index(i, scalar(i));
      a.valid = cpu::both(e_, a.valid, e_.b.CreateICmpULT(x.fixed, a.view->extents[d]));
    } else {
      x.tile = i;
      x.of = tile_axis;
      if (ranges) ++tile_axis;
    }
    a.axes.push_back(x);
  }
  return a;
}

namespace {

/// Bits of an element of a view in memory.
std::int64_t memory_bits(DType t) { return bits(t) < 8 && !is_bool(t) ? bits(t) : 8 * cell_bytes(t); }

/// What decides whether vectors may be used along the inner axis of a view: a word, in bytes or in elements of 4 bits, whose low bits are all zero if
/// so.
LV* alignment_word(cpu::Emitter& e, const cpu::View& view, std::size_t axis, LV* start, DType t) {
  // Everything that adds to the inner coordinate on the way to memory.
  LV* inner = start;
  const cpu::View* v = &view;
  for (; !v->affine(); v = v->parent.get()) {
    switch (v->kind) {
      case cpu::View::Kind::Span:
        if (axis == v->axis) inner = e.b.CreateAdd(inner, v->number);
        break;
      case cpu::View::Kind::Index:
        if (axis >= v->axis) ++axis;
        break;
      case cpu::View::Kind::Permute: axis = static_cast<std::size_t>(v->perm[axis]); break;
      case cpu::View::Kind::Merge:
        if (axis > v->axis) axis += v->last - v->axis;
        break;
      case cpu::View::Kind::Split:
        if (axis > v->axis) --axis;
        break;
      case cpu::View::Kind::Paged: ++axis; break;
      case cpu::View::Kind::Take:
      case cpu::View::Kind::Affine: break;
    }
  }
  LV* word = e.b.CreateAdd(inner, v->origin);
  for (std::size_t a = 0; a < v->strides.size(); ++a) {
    if (a != axis) word = e.b.CreateOr(word, v->strides[a]);
  }
  LV* base = e.b.CreatePtrToInt(v->base, e.i64());
  if (memory_bits(t) == 4) return e.b.CreateOr(word, e.b.CreateShl(base, 1));
  return e.b.CreateOr(e.b.CreateMul(word, e.idx(cell_bytes(t))), base);
}

}  // namespace

/// An access of a whole tile in a layout: what its registers share.
struct ThreadEmitter::TileAccess {
  Access a;
  Layout layout;
  ir::Dims shape;
  DType t{};
  std::vector<Elements> index_tiles;  ///< by view axis
  std::vector<Layout> index_layouts;
  std::int64_t run = 1;    ///< registers that lie side by side in memory and can move together
  LV* together = nullptr;  ///< i1: this launch's addresses allow it
};

/// Where one register's element (or its run) lies, and whether it exists; a null mask stands for certainly.
struct ThreadEmitter::Place {
  LV *base = nullptr, *offset = nullptr, *mask = nullptr;
};

std::size_t ThreadEmitter::register_in(const Layout& whole, const Layout& narrow, std::int64_t reg) {
  if (narrow.axes.empty()) return 0;
  std::int64_t index = 0, scale = 1;
  for (std::size_t a = whole.axes.size(); a-- > 0;) {
    const std::int64_t n = whole.axes[a].count(Source::Register);
    if (!narrow.axes[a].digits.empty()) {
      index += reg % n * scale;
      scale *= n;
    }
    reg /= n;
  }
  return static_cast<std::size_t>(index);
}

LV* ThreadEmitter::as_index(const ir::Value* v, LV* x) {
  const DType t = dtype(v);
  return t == DType::Idx ? x : is_signed(t) ? e_.b.CreateSExt(x, e_.i64()) : e_.b.CreateZExt(x, e_.i64());
}

ThreadEmitter::TileAccess ThreadEmitter::tile_access(Access access, const Layout& layout, ir::Dims shape, DType t, bool vectors) {
  TileAccess x{std::move(access), layout, std::move(shape), t, {}, {}};
  x.index_tiles.resize(x.a.axes.size());
  x.index_layouts.resize(x.a.axes.size());
  for (std::size_t d = 0; d < x.a.axes.size(); ++d) {
    const ir::Value* tile = x.a.axes[d].tile;
    if (!tile) continue;
    // Pointwise index tiles broadcast as elementwise operands do; one among ranges has an axis of its own.
    Layout own = x.a.pointwise ? operand_layout(tile, layout) : Layout{{layout.axes[x.a.axes[d].of]}};
    if (!x.a.pointwise && dims(tile)[0] == 1) own.axes[0].digits.clear();
    x.index_tiles[d] = get(tile, own);
    if (!x.a.pointwise) {
      const AxisPart part = own.axes[0];
      own.axes.assign(layout.axes.size(), AxisPart{});
      own.axes[x.a.axes[d].of] = part;
    }
    x.index_layouts[d] = std::move(own);
  }
  if (!vectors || !x.a.inner || x.layout.axes.empty() || *x.a.inner + 1 != x.layout.axes.size() || is_bool(t) || x.a.pointwise) return x;
  const AxisPart& p = x.layout.axes.back();
  const std::int64_t n = x.shape.back(), width = memory_bits(t);
  if (p.digits.empty() || p.digits[0].source != Source::Register || p.digits[0].stride != 1) return x;
  const bool padded = p.extent() > n;
  while (p.digits[0].size % (x.run * 2) == 0 && x.run * 2 * width <= 128 && (!padded || n % (x.run * 2) == 0)) x.run *= 2;
  if (x.run == 1) return x;
  const RangeValue& inner = *x.a.axes.back().range;
  LV* word = alignment_word(e_, *x.a.view, x.a.axes.size() - 1, inner.start, t);
  x.together = e_.b.CreateICmpEQ(e_.b.CreateAnd(word, e_.idx(x.run * (width < 8 ? 1 : width / 8) - 1)), e_.idx(0));
  if (!inner.full) {
    // No run is cut: each lies inside or outside.
    LV* cut = e_.b.CreateAnd(e_.b.CreateOr(inner.first, inner.end), i32(x.run - 1));
    x.together = e_.b.CreateAnd(x.together, e_.b.CreateICmpEQ(cut, i32(0)));
  }
  x.together = unless_assumed(x.together);
  return x;
}

ThreadEmitter::Place ThreadEmitter::place(const TileAccess& x, std::int64_t reg) {
  const std::vector<Position> at = positions(x.layout, reg);
  LV* mask = x.a.valid;
  std::vector<cpu::Lanes> coords;
  for (std::size_t d = 0; d < x.a.axes.size(); ++d) {
    const Access::Axis& axis = x.a.axes[d];
    if (axis.fixed) {
      coords.push_back(cpu::lanes(axis.fixed));
    } else if (axis.range) {
      LV* p = position(at[axis.of]);
      coords.push_back(cpu::lanes(e_.add(axis.range->start, e_.b.CreateSExt(p, e_.i64()))));
      const AxisPart& part = x.layout.axes[axis.of];
      const bool padded = part.extent() > x.shape[axis.of] && !part.digits.empty();
      if (!axis.range->full) {
        mask = cpu::both(e_, mask, inside(p, *axis.range));
      } else if (padded) {
        mask = cpu::both(e_, mask, e_.b.CreateICmpSLT(p, i32(x.shape[axis.of])));
      }
    } else {
      LV* c = as_index(axis.tile, plain(e_, x.index_tiles[d][register_in(x.layout, x.index_layouts[d], reg)]));
      coords.push_back(cpu::lanes(c));
      mask = cpu::both(e_, mask, e_.b.CreateICmpULT(c, x.a.view->extents[d]));
      if (LV* in = within(x.layout, x.shape, at)) mask = cpu::both(e_, mask, in);
    }
  }
  const cpu::Address where =
      cpu::locate(e_, *x.a.view, coords, mask, [&](const ir::Value* tile, const cpu::Lanes& row) { return cpu::lanes(gather_id(tile, row.v)); });
  return {where.base, where.offset.v, cpu::is_true(where.mask) ? nullptr : where.mask};
}

/// The register behind `reg` and those after it whose elements exist where that of `reg` does, for one branch.
std::int64_t ThreadEmitter::exist_together(const TileAccess& x, std::int64_t reg) {
  const std::int64_t n = x.layout.registers();
  // What pages and row numbers name may be there or not, one by one.
  bool alike = std::none_of(x.a.axes.begin(), x.a.axes.end(), [](const Access::Axis& axis) { return axis.tile; });
  for (const cpu::View* v = x.a.view.get(); !v->affine(); v = v->parent.get())
    alike = alike && v->kind != cpu::View::Kind::Paged && v->kind != cpu::View::Kind::Take;
  if (!alike) return reg + 1;
  const auto bounded = [&](std::int64_t r) {
    std::vector<std::int64_t> out;
    const std::vector<Position> at = positions(x.layout, r);
    for (const Access::Axis& axis : x.a.axes) {
      if (!axis.range) continue;
      const AxisPart& part = x.layout.axes[axis.of];
      if (!axis.range->full || part.extent() > x.shape[axis.of]) out.push_back(at[axis.of].offset);
    }
    return out;
  };
  const std::vector<std::int64_t> first = bounded(reg);
  std::int64_t end = reg + 1;
  while (end < n && bounded(end) == first) ++end;
  return end;
}

Elements ThreadEmitter::load_tile(const Op& op, const Layout& layout) {
  const DType t = dtype(op.result());
  const llvm::ArrayRef<ir::Value*> indices(op.operands.data() + 1, op.operands.size() - 1);
  const TileAccess x = tile_access(access(op.operands[0], indices), layout, dims(op.result()), t, true);
  const bool nibbles = memory_bits(t) == 4;
  const std::int64_t n = layout.registers(), bytes = x.run * memory_bits(t) / 8;
  const auto single = [&](std::int64_t from, std::int64_t to) {
    Values out;
    for (std::int64_t r = from, end = 0; r < to; r = end) {
      end = std::min(to, exist_together(x, r));
      const auto read = [&] {
        Values cells;
        for (std::int64_t i = r; i < end; ++i) {
          const Place p = place(x, i);
          const Marked marked(*this, op);
          cells.push_back(cpu::load_elements(e_, cpu::view_cell(t), p.base, cpu::lanes(p.offset), nullptr, static_cast<int>(cell_bytes(t))));
        }
        return cells;
      };
      const auto zeros = [&] { return Values(static_cast<std::size_t>(end - r), e_.zero(cpu::register_type(e_, t))); };
      LV* mask = place(x, r).mask;
      for (LV* cell : mask ? e_.choose(mask, read, zeros) : read()) out.push_back(cell);
    }
    return out;
  };
  const auto together = [&] {
    Values out;
    llvm::Type* type =
        bytes > 4 ? static_cast<llvm::Type*>(e_.vec(e_.i32(), static_cast<int>(bytes / 4))) : e_.b.getIntNTy(static_cast<unsigned>(bytes * 8));
    for (std::int64_t r = 0, end = 0; r < n; r = end) {
      end = std::max(r + x.run, exist_together(x, r));
      const auto read = [&] {
        Values runs;
        for (std::int64_t i = r; i < end; i += x.run) {
          const Place p = place(x, i);
          const Marked marked(*this, op);
          LV* offset = nibbles ? e_.b.CreateAShr(p.offset, e_.idx(1)) : p.offset;
          runs.push_back(e_.load(type, e_.at(cell_type(t), p.base, offset), static_cast<int>(bytes)));
        }
        return runs;
      };
      const auto zeros = [&] { return Values(static_cast<std::size_t>((end - r) / x.run), e_.zero(type)); };
      LV* mask = place(x, r).mask;
      for (LV* run : mask ? e_.choose(mask, read, zeros) : read()) out.push_back(run);
    }
    return out;
  };
  Elements out;
  if (!x.together) {
    for (LV* v : single(0, n)) out.push_back({v});
    return out;
  }
  // Both ways meet in what moves together: half as many registers as elements of 16 bits.
  const auto joined = [&] {
    Values runs;
    for (std::int64_t r = 0; r < n; r += x.run) {
      const Values cells = single(r, r + x.run);
      runs.push_back(nibbles ? join_nibbles(cells) : join_cells(t, cells));
    }
    return runs;
  };
  for (LV* run : cpu::is_true(x.together) ? together() : e_.choose(x.together, together, joined)) {
    for (LV* v : nibbles ? split_nibbles(t, run, x.run) : split_cells(t, run, x.run)) out.push_back({v});
  }
  return out;
}

ThreadEmitter::Matrix ThreadEmitter::matrix_of(const Op& load) {
  const Access a = access(load.operands[0], llvm::ArrayRef<ir::Value*>(load.operands.data() + 1, load.operands.size() - 1));
  Matrix m;
  m.op = &load;
  m.view = a.view;
  m.valid = a.valid;
  m.contiguous = a.inner && *a.inner == 1;
  for (const Access::Axis& x : a.axes) {
    if (x.range) (x.of == 0 ? m.rows : m.cols) = x.range;
  }
  if (m.contiguous) m.alignment = alignment_word(e_, *a.view, a.axes.size() - 1, m.cols->start, dtype(load.result()));
  if (!a.view->affine()) return m;
  m.origin = a.view->origin;
  for (std::size_t d = 0; d < a.axes.size(); ++d) {
    const Access::Axis& x = a.axes[d];
    LV* stride = a.view->strides[d];
    m.origin = e_.b.CreateAdd(m.origin, e_.b.CreateMul(x.fixed ? x.fixed : x.range->start, stride));
    if (x.range) (x.of == 0 ? m.row_stride : m.col_stride) = stride;
  }
  return m;
}

cpu::Address ThreadEmitter::locate(const Matrix& m, LV* row, LV* col, LV* mask) {
  LV *r = e_.b.CreateSExt(row, e_.i64()), *c = e_.b.CreateSExt(col, e_.i64());
  if (m.view->affine()) {
    // What the thread adds does not change from trip to trip; it is kept apart from what does.
    LV* mine = e_.b.CreateAdd(e_.b.CreateMul(r, m.row_stride), e_.b.CreateMul(c, m.col_stride));
    return {m.view->base, cpu::lanes(e_.b.CreateAdd(m.origin, mine)), mask};
  }
  std::vector<cpu::Lanes> coords;
  for (std::size_t i = 1; i < m.op->operands.size(); ++i) {
    const ir::Value* index = m.op->operands[i];
    if (is_scalar(index)) {
      coords.push_back(cpu::lanes(as_index(index, scalar(index))));
    } else {
      const RangeValue& range = ranges_.at(index);
      coords.push_back(cpu::lanes(e_.add(range.start, &range == m.rows ? r : c)));
    }
  }
  return cpu::locate(e_, *m.view, coords, mask, [&](const ir::Value* tile, const cpu::Lanes& at) { return cpu::lanes(gather_id(tile, at.v)); });
}

LV* ThreadEmitter::gather_id(const ir::Value* tile, LV* row) {
  TESSERA_ASSERT(dims(tile).size() == 1, "row numbers have one axis");
  LV* at = e_.b.CreateTrunc(row, e_.i32());
  LV* x;
  if (plan_.uses().lazy(tile)) {
    x = plain(e_, lazy(tile, {{at, 0}}));
  } else {
    const std::vector<int> stages = plan_.stages_of(tile);
    const Stage& s = plan_.stages()[static_cast<std::size_t>(stages.at(0))];
    LV* held = e_.max(i32(0), e_.min(at, i32(dims(tile)[0] - 1)));
    x = load_cell(s.dtype, e_.b.CreateAdd(shared_address(s.offset), e_.b.CreateMul(held, i32(cell_bytes(s.dtype)))));
  }
  return as_index(tile, x);
}

std::optional<int> ThreadEmitter::global_space(const ir::Value* view) const {
  const std::size_t p = parameter_index(kernel_, view);
  const ir::Mode mode = kernel_.params[p].mode;
  if (mode == ir::Mode::In) return std::nullopt;
  if (mode == ir::Mode::Out && !plan_.uses().reads(p)) return std::nullopt;
  return 1 + static_cast<int>(p);
}

void ThreadEmitter::emit_load(const Op& op) {
  const ir::Value* v = op.result();
  if (const auto space = global_space(op.operands[0])) {
    meet(state_.before_read(*space, 0, 1));
    state_.read(*space, 0, 1);
  }
  if (is_scalar(v)) return set(v, {}, load_tile_scalar(op));
  for (const int s : plan_.stages_of(v)) {
    const Stage& stage = plan_.stages()[static_cast<std::size_t>(s)];
    if (stage.barriers >= 0) {
      take_tile(s);
    } else if (stage.from_load && slots_.count(s) == 0) {
      stage_load(s, nullptr);
    }
  }
  if (plan_.in_registers(v)) set(v, layout_of(v), load_tile(op, layout_of(v)));
}

Elements ThreadEmitter::load_tile_scalar(const Op& op) {
  const Access a = access(op.operands[0], llvm::ArrayRef<ir::Value*>(op.operands.data() + 1, op.operands.size() - 1));
  std::vector<cpu::Lanes> coords;
  for (const Access::Axis& x : a.axes) coords.push_back(cpu::lanes(x.fixed));
  const cpu::Address where =
      cpu::locate(e_, *a.view, coords, a.valid, [&](const ir::Value* tile, const cpu::Lanes& row) { return cpu::lanes(gather_id(tile, row.v)); });
  const Marked marked(*this, op);
  return {{cpu::load_elements(e_, cpu::view_cell(dtype(op.result())), where.base, where.offset, where.mask,
                              static_cast<int>(cell_bytes(dtype(op.result()))))}};
}

void ThreadEmitter::emit_store(const Op& op) {
  if (plan_.roles()) {
    if (const auto bulk = plan_.roles()->stores.find(&op); bulk != plan_.roles()->stores.end()) {
      get(op.operands[1], layout_of(op.operands[1]));  // what is under way has come before control divides
      e_.if_then(may_store(op, bulk->second), [&] { bulk_store(op, bulk->second); }, [&] { store_tile(op, false); });
      return;
    }
  }
  store_tile(op, false);
}
void ThreadEmitter::emit_fetch_add(const Op& op) { store_tile(op, true); }

void ThreadEmitter::store_tile(const Op& op, bool fetch) {
  const ir::Value* value = op.operands[1];
  const bool masked = op.has(ir::Attr::Masked), add = fetch || op.has(ir::Attr::Add);
  const llvm::ArrayRef<ir::Value*> indices(op.operands.data() + 2, op.operands.size() - 2 - (masked ? 1 : 0));
  const ir::Value* when = masked ? op.operands.back() : nullptr;
  const Access a = access(op.operands[0], indices);
  const DType t = ir::view(op.operands[0]->type).dtype;
  const std::optional<int> space = global_space(op.operands[0]);

  // The shape that is written: that of the value, or of the indices if the value is a scalar.
  ir::Dims shape = fetch ? dims(op.result()) : ir::Dims{};
  if (!fetch) {
    for (std::size_t d = 0; d < a.axes.size(); ++d) {
      if (a.axes[d].range) shape.push_back(a.axes[d].range->size);
      if (a.axes[d].tile && !a.pointwise) shape.push_back(dims(a.axes[d].tile)[0]);
    }
    if (a.pointwise) shape = dims(value);
    for (const Access::Axis& x : a.axes) {
      if (a.pointwise && x.tile && shape.size() < dims(x.tile).size()) shape = dims(x.tile);
    }
    for (const Access::Axis& x : a.axes) {
      if (!a.pointwise || !x.tile) continue;
      for (std::size_t i = 0; i < shape.size(); ++i) shape[i] = std::max(shape[i], dims(x.tile)[i]);
    }
  }
  Layout layout;
  if (fetch && !is_scalar(op.result())) {
    layout = layout_of(op.result());
  } else if (!is_scalar(value) && !plan_.uses().lazy(value) && dims(value) == shape) {
    layout = fetch || add || when ? layout_of(value) : store_layout(op, a.inner && *a.inner + 1 == shape.size() && !a.pointwise);
  } else {
    for (const std::int64_t n : shape) {
      layout.axes.push_back(n == 1 ? AxisPart{} : strided(n, 1, layout.axes.size() + 1 == shape.size() ? kWarpLanes : 1, 1, 1, 1));
    }
  }
  const Layout value_layout = operand_layout(value, layout), when_layout = when ? operand_layout(when, layout) : Layout{};
  const Elements values = get(value, value_layout), conditions = when ? get(when, when_layout) : Elements{};
  // Elements of 4 bits are stored by atomic updates.
  const TileAccess x = tile_access(a, layout, shape, t, !add && !when && bits(t) >= 8);
  if (space) meet(state_.before_write(*space, 0, 1));
  const std::int64_t n = layout.registers();
  const auto element = [&](std::int64_t r) { return plain(e_, values[register_in(layout, value_layout, r)]); };
  Elements old(static_cast<std::size_t>(fetch ? n : 0));
  LV* mine = owner(layout);
  const auto single = [&] {
    for (std::int64_t r = 0, end = 0; r < n; r = end) {
      end = add || when ? r + 1 : exist_together(x, r);
      const Place p = place(x, r);
      LV* mask = cpu::both(e_, p.mask, mine);
      if (when) mask = cpu::both(e_, mask, conditions[register_in(layout, when_layout, r)].v);
      if (!add) {
        const auto write = [&] {
          for (std::int64_t i = r; i < end; ++i) {
            const Place at = place(x, i);
            LV* value = element(i);
            const Marked marked(*this, op);
            cpu::store_elements(e_, cpu::view_cell(t), at.base, cpu::lanes(at.offset), value, nullptr, static_cast<int>(cell_bytes(t)));
          }
        };
        mask && !cpu::is_true(mask) ? e_.if_then(mask, write) : write();
        continue;
      }
      const auto update = [&] { return Values{cpu::add_element(e_, t, e_.at(cell_type(t), p.base, p.offset), element(r))}; };
      const auto nothing = [&] { return Values{e_.zero(cpu::register_type(e_, t))}; };
      LV* before = mask && !cpu::is_true(mask) ? e_.choose(mask, update, nothing)[0] : update()[0];
      if (fetch) old[static_cast<std::size_t>(r)] = {before};
    }
  };
  const auto together = [&] {
    for (std::int64_t r = 0, end = 0; r < n; r = end) {
      end = std::max(r + x.run, exist_together(x, r));
      Values runs;
      for (std::int64_t i = r; i < end; i += x.run) {
        std::vector<LV*> cells;
        for (std::int64_t k = i; k < i + x.run; ++k) cells.push_back(element(k));
        runs.push_back(join_cells(t, cells));
      }
      const auto write = [&] {
        for (std::int64_t i = r; i < end; i += x.run) {
          const Place p = place(x, i);
          const Marked marked(*this, op);
          e_.store(runs[static_cast<std::size_t>((i - r) / x.run)], e_.at(cell_type(t), p.base, p.offset), static_cast<int>(x.run * cell_bytes(t)));
        }
      };
      LV* mask = cpu::both(e_, place(x, r).mask, mine);
      mask ? e_.if_then(mask, write) : write();
    }
  };
  if (!x.together) {
    single();
  } else if (cpu::is_true(x.together)) {
    together();
  } else {
    e_.if_then(x.together, together, single);
  }
  if (space) state_.write(*space, 0, 1);
  if (!fetch) return;
  for (Element& x : old) {
    if (!x.v) x = {e_.zero(cpu::register_type(e_, t))};
  }
  // Threads with copies learn the old elements from those that asked for them.
  if (is_scalar(op.result())) return set(op.result(), {}, convert({{{AxisPart{}}}, old}, t, {1}, {{AxisPart{}}}));
  set(op.result(), layout, mine ? convert({layout, old}, t, shape, layout) : old);
}

llvm::Type* ThreadEmitter::cell_type(DType t) { return bits(t) <= 8 ? e_.b.getInt8Ty() : cpu::register_type(e_, t); }

std::vector<LV*> ThreadEmitter::split_cells(DType t, LV* wide, std::int64_t count) {
  const std::int64_t cell = cell_bytes(t);
  std::vector<LV*> out;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t byte = i * cell;
    const auto word = [&](std::int64_t w) {
      return wide->getType()->isVectorTy() ? e_.b.CreateExtractElement(wide, static_cast<std::uint64_t>(w)) : wide;
    };
    if (cell == 8) {
      LV* low = e_.b.CreateZExt(word(byte / 4), e_.i64());
      LV* high = e_.b.CreateShl(e_.b.CreateZExt(word(byte / 4 + 1), e_.i64()), e_.idx(32));
      out.push_back(e_.b.CreateBitCast(e_.b.CreateOr(low, high), cpu::register_type(e_, t)));
    } else if (is_bool(t)) {
      LV* w = word(byte / 4);
      LV* b = e_.b.CreateTrunc(e_.b.CreateLShr(w, e_.integer(w->getType(), byte % 4 * 8)), e_.b.getInt8Ty());
      out.push_back(e_.b.CreateICmpNE(b, e_.b.getInt8(0)));
    } else if (wide->getType()->getScalarSizeInBits() < 32) {
      llvm::Type* r = cpu::register_type(e_, t);
      LV* b = e_.b.CreateTrunc(e_.b.CreateLShr(wide, e_.integer(wide->getType(), byte * 8)), e_.b.getIntNTy(static_cast<unsigned>(cell * 8)));
      out.push_back(e_.b.CreateBitCast(b, r));
    } else {
      out.push_back(unpack_word(e_, t, word(byte / 4), static_cast<int>(byte % 4 / cell)));
    }
  }
  return out;
}

std::vector<LV*> ThreadEmitter::split_nibbles(DType t, LV* wide, std::int64_t count) {
  std::vector<LV*> out;
  for (std::int64_t i = 0; i < count; ++i) {
    LV* word = wide->getType()->isVectorTy() ? e_.b.CreateExtractElement(wide, static_cast<std::uint64_t>(i / 8)) : wide;
    word = e_.b.CreateZExtOrTrunc(word, e_.i32());
    const std::int64_t low = i % 8 * 4;
    LV* x = t == DType::I4 ? e_.b.CreateAShr(e_.b.CreateShl(word, e_.integer(word->getType(), 28 - low)), e_.integer(word->getType(), 28))
                           : e_.b.CreateAnd(e_.b.CreateLShr(word, e_.integer(word->getType(), low)), e_.integer(word->getType(), 15));
    out.push_back(e_.b.CreateTrunc(x, cpu::register_type(e_, t)));
  }
  return out;
}

LV* ThreadEmitter::join_nibbles(const std::vector<LV*>& cells) {
  const std::size_t in_word = std::min<std::size_t>(cells.size(), 8);
  llvm::Type* type = e_.b.getIntNTy(static_cast<unsigned>(4 * in_word));
  std::vector<LV*> words;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    LV* x = e_.b.CreateAnd(e_.b.CreateZExtOrTrunc(cells[i], type), e_.integer(type, 15));
    if (i % 8 == 0) {
      words.push_back(x);
    } else {
      words.back() = e_.b.CreateOr(words.back(), e_.b.CreateShl(x, e_.integer(type, static_cast<std::int64_t>(i % 8 * 4))));
    }
  }
  if (words.size() == 1) return words[0];
  LV* v = llvm::PoisonValue::get(e_.vec(e_.i32(), static_cast<int>(words.size())));
  for (std::size_t i = 0; i < words.size(); ++i) v = e_.b.CreateInsertElement(v, words[i], i);
  return v;
}

LV* ThreadEmitter::join_cells(DType t, const std::vector<LV*>& cells) {
  const std::int64_t cell = cell_bytes(t), bytes = cell * static_cast<std::int64_t>(cells.size());
  llvm::Type* whole = e_.b.getIntNTy(static_cast<unsigned>(std::min<std::int64_t>(bytes, 4) * 8));
  std::vector<LV*> words;
  const bool pairs = cell == 2 && bytes >= 4;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    LV* x = cells[i];
    if (pairs) {
      words.push_back(pack_word(e_, {x, cells[++i]}));
      continue;
    }
    if (is_bool(t)) x = e_.b.CreateZExt(x, e_.b.getInt8Ty());
    x = e_.b.CreateBitCast(x, e_.b.getIntNTy(static_cast<unsigned>(cell * 8)));
    if (cell == 8) {
      words.push_back(e_.b.CreateTrunc(x, e_.i32()));
      words.push_back(e_.b.CreateTrunc(e_.b.CreateLShr(x, e_.idx(32)), e_.i32()));
      continue;
    }
    const std::int64_t byte = static_cast<std::int64_t>(i) * cell;
    LV* wide = e_.b.CreateZExt(x, whole);
    if (byte % 4 == 0) {
      words.push_back(wide);
    } else {
      words.back() = e_.b.CreateOr(words.back(), e_.b.CreateShl(wide, e_.integer(whole, byte % 4 * 8)));
    }
  }
  if (words.size() == 1) return words[0];
  LV* v = llvm::PoisonValue::get(e_.vec(e_.i32(), static_cast<int>(words.size())));
  for (std::size_t i = 0; i < words.size(); ++i) v = e_.b.CreateInsertElement(v, words[i], i);
  return v;
}

}  // namespace tessera::gpu
