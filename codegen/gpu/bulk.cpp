// Which rings are filled by bulk copies (TMA): all tiles of a loop must be boxes of parameters, and the loop must not need barriers of its own.
//
// A box is zero outside the tensor, as a stage is outside the valid part of a tile. Where a valid part ends before the tensor does, those who read
// the tile overwrite the rest with zeros first, if the load wants zeros there (BulkCopy::cut).
#include <algorithm>

#include "codegen/gpu/plan.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;
using ir::Value;

namespace {

constexpr std::int64_t kMostBoxRows = 256;

/// An axis of a view as axes of a parameter.
struct ViewAxis {
  std::size_t axis = 0;  ///< the parameter's
  Sym extent;
  const Value* offset = nullptr;     ///< where the view's axis begins
  bool inside = true;                ///< the view's axis certainly lies within the parameter's
  std::optional<std::size_t> inner;  ///< merged with this axis of the parameter, which varies faster, `group` positions from `inner_offset` on
  const Value* inner_offset = nullptr;
  std::int64_t group = 1;
};

struct ViewAxes {
  std::vector<ViewAxis> axes;         ///< by axis of the view
  std::vector<const Value*> numbers;  ///< by axis of the parameter: what it is fixed at
};

/// A view that fixes, permutes and shortens axes of a parameter, and merges two of them.
std::optional<ViewAxes> axes_of(const Value* v, const ir::Kernel& kernel, ir::Affine& affine) {
  if (!v->def) {
    ViewAxes out;
    const ir::Param& p = kernel.params[parameter_index(kernel, v)];
    for (std::size_t a = 0; a < p.dims.size(); ++a) out.axes.push_back({.axis = a, .extent = p.dims[a]});
    out.numbers.resize(out.axes.size());
    return out;
  }
  const Op& op = *v->def;
  std::optional<ViewAxes> out = axes_of(op.operands[0], kernel, affine);
  if (!out) return out;
  const auto at = [&] { return static_cast<std::size_t>(op.int_attr(ir::Attr::Axis)); };
  if (op.kind == OpKind::ViewPermute) {
    std::vector<ViewAxis> moved;
    for (const std::int64_t from : op.dims_attr(ir::Attr::Perm)) moved.push_back(out->axes[static_cast<std::size_t>(from)]);
    out->axes = std::move(moved);
    return out;
  }
  if (op.kind != OpKind::ViewIndex && op.kind != OpKind::ViewSpan && op.kind != OpKind::ViewMerge) return std::nullopt;
  ViewAxis& x = out->axes[at()];
  if (x.inner || (x.offset && op.kind != OpKind::ViewMerge)) return std::nullopt;
  if (op.kind == OpKind::ViewIndex) {
    out->numbers[x.axis] = op.operands[1];
    out->axes.erase(out->axes.begin() + static_cast<std::ptrdiff_t>(at()));
  } else if (op.kind == OpKind::ViewSpan) {
    const Sym lo = affine.scalar(op.operands[1]), hi = affine.scalar(op.operands[2]);
    x.inside = affine.nonnegative(lo) && affine.nonnegative(hi - lo) && affine.nonnegative(x.extent - hi);
    x.offset = op.operands[1];
    x.extent = hi - lo;
  } else {
    const ViewAxis& faster = out->axes[at() + 1];
    const std::optional<std::int64_t> group = faster.extent.as_constant();
    if (op.int_attr(ir::Attr::Last) != op.int_attr(ir::Attr::Axis) + 1 || faster.inner || !faster.inside || !group || *group < 1) return std::nullopt;
    x.inner = faster.axis;
    x.inner_offset = faster.offset;
    x.group = *group;
    x.extent = x.extent * faster.extent;
    out->axes.erase(out->axes.begin() + static_cast<std::ptrdiff_t>(at()) + 1);
  }
  return out;
}

/// The valid part of a range is what lies within an axis of this extent.
bool ends_with(ir::Affine& affine, const Value* range, const Sym& extent) {
  const ir::Affine::Span r = affine.range(range);
  return r.full || (r.lo == Sym(0) && affine.equal(r.hi, extent));
}

/// The range is the whole axis.
bool covers(ir::Affine& affine, const Value* range, const Sym& extent) {
  return affine.range(range).start == Sym(0) && extent.as_constant() && *extent.as_constant() == ir::range(range->type).size;
}

/// The range begins at its first valid coordinate or behind it, wherever it is read at all.
bool begins_inside(ir::Affine& affine, const Value* range) {
  const ir::Affine::Span r = affine.range(range);
  if (r.full || affine.nonnegative(r.start - r.lo)) return true;
  // The trips of a loop from min(x, y), where it ends at x at the latest, are from y on: there are none if x is the smaller.
  const Value* start = range->def->operands[0];
  const Op* loop = !start->def && start->index == 0 && start->block ? start->block->parent : nullptr;
  const Op* from = loop && loop->kind == OpKind::For ? loop->operands[0]->def : nullptr;
  if (!from || from->kind != OpKind::Min) return false;
  const Sym end = affine.scalar(loop->operands[1]), x = affine.scalar(from->operands[0]), y = affine.scalar(from->operands[1]);
  const auto begins_at = [&](const Sym& other, const Sym& first) { return affine.nonnegative(other - end) && affine.nonnegative(first - r.lo); };
  return affine.positive(affine.scalar(loop->operands[2])) && (begins_at(x, y) || begins_at(y, x));
}

/// Every value of `e` is a multiple of `n`, as its form shows.
bool multiple_of(const Sym& e, std::int64_t n) {
  return std::all_of(e.terms().begin(), e.terms().end(), [&](const auto& term) { return term.second % n == 0; });
}

}  // namespace

std::optional<BulkCopy> Plan::boxes_of(const Value* of, std::span<Value* const> indices, std::int64_t box_rows, std::int64_t tile_cols,
                                       std::int64_t cols, bool certain) {
  BulkCopy out;
  out.param = parameter_index(kernel_, of);
  const ir::Param& p = kernel_.params[out.param];
  if (p.strided || p.peers || p.dims.size() < 2 || p.dims.size() > 5) return std::nullopt;
  const std::optional<ViewAxes> view = axes_of(of, kernel_, affine_);
  if (!view) return std::nullopt;
  out.rows_a_box = box_rows;
  out.axes.resize(p.dims.size());
  for (std::size_t a = 0; a < out.axes.size(); ++a) out.axes[a].number = view->numbers[a];
  bool rows = true;  // the first range is the rows
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const Value* index = indices[i];
    const ViewAxis& axis = view->axes[i];
    BulkCopy::Axis& a = out.axes[axis.axis];
    if (!ir::is_range(index->type)) {
      if (axis.inner || axis.offset) return std::nullopt;
      a.number = index;
      continue;
    }
    if (!index->def || index->def->kind != OpKind::Range) return std::nullopt;
    if (axis.offset || !ends_with(affine_, index, axis.extent)) {
      const ir::Affine::Span r = affine_.range(index);
      if (!rows || !begins_inside(affine_, index)) return std::nullopt;
      out.cut = !r.full && certain;
    }
    (rows ? a.rows : a.cols) = true;
    a.number = axis.offset;
    if (axis.inner) {
      if (!rows) return std::nullopt;
      out.axes[*axis.inner] = {.number = axis.inner_offset, .inner_rows = true};
      out.group = axis.group;
      if (box_rows % axis.group != 0 || !multiple_of(affine_.range(index).start, axis.group)) out.rows_a_box = 1;
    }
    // Columns between the tile's and those in shared memory are zero, or not written, only if the tensor ends there.
    if (!rows && tile_cols != cols && !covers(affine_, index, axis.extent)) return std::nullopt;
    rows = false;
  }
  if (!out.axes.back().cols) return std::nullopt;
  for (const BulkCopy::Axis& a : out.axes) {
    if (!a.rows && !a.cols && !a.inner_rows && (!a.number || dtype(a.number) != DType::Idx)) return std::nullopt;
  }
  return out;
}

std::optional<BulkCopy> Plan::bulk_copy(const Stage& s) {
  if (!warpgroups_ || !s.swizzled || !s.from_load || s.rows != dims(s.source)[0] || s.rows > kMostBoxRows) return std::nullopt;
  const Op& load = *s.source->def;
  return boxes_of(load.operands[0], std::span(load.operands).subspan(1), s.rows, dims(s.source)[1], s.cols, load.int_attr(ir::Attr::Zero) != 0);
}

/// Nothing in the body touches shared memory but products and the rings.
bool Plan::quiet(const ir::Block& body, const Op& loop) const {
  const auto plain = [&](const Op& op) {
    for (const Value* o : op.operands) {
      if (is_real_tile(o) && !uses_.lazy(o) && layout(o) != operand_layout(o, layout(op.result()))) return false;
    }
    return true;
  };
  const auto outside = [&](int stage) {
    if (stage < 0) return true;
    const Stage& s = stages_[static_cast<std::size_t>(stage)];
    return s.loop == &loop || (!s.loop && !uses_.lazy(s.source) && !Uses::inside(s.block(), &body));
  };
  for (const auto& op : body.ops) {
    if (!op->results.empty() && (ir::is_view(op->result()->type) || ir::is_range(op->result()->type))) {
      if (op->kind == OpKind::ViewTake && is_real_tile(op->operands[1])) return false;
      continue;
    }
    for (const auto& r : op->results) {
      // A stage that is filled within the loop has its barriers there.
      for (const int s : stages_of(r.get())) {
        if (stages_[static_cast<std::size_t>(s)].loop != &loop) return false;
      }
    }
    if (op->results.size() == 1 && uses_.lazy(op->result())) continue;
    if (ir::has(op->kind, ir::Elementwise) || op->kind == OpKind::Broadcast) {
      if (is_real_tile(op->result()) && !plain(*op)) return false;
      continue;
    }
    switch (op->kind) {
      case OpKind::Const:
      case OpKind::Iota:
      case OpKind::Coords:
      case OpKind::Inside:
      case OpKind::Sym:
      case OpKind::Extent:
      case OpKind::Yield: continue;
      case OpKind::Permute:
        if (in_registers(op->result())) return false;
        continue;
      case OpKind::Load:
        if (ir::view(op->operands[0]->type).mode != ir::Mode::In) return false;
        continue;
      case OpKind::Reduce: {
        const auto axis = static_cast<std::size_t>(op->int_attr(ir::Attr::Axis));
        const Value* x = op->operands[0];
        if (uses_.lazy(x) || layout(x).axes[axis].count(Source::Warp) > 1 || layout(op->result()) != layout(x).collapsed(axis)) return false;
        continue;
      }
      case OpKind::Dot: {
        const DotPlan& d = dots_.at(op.get());
        if (!d.warpgroup || !outside(d.a.stage) || !outside(d.b.stage)) return false;
        const Op* sum = sum_of(*op);
        const Value* v = sum ? sum->result() : op->result();
        if (layout(v) != d.result || (sum && !plain(*sum))) return false;
        continue;
      }
      default: return false;
    }
  }
  const std::vector<Value*>& y = body.yielded();
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (is_real_tile(y[i]) && !uses_.lazy(y[i]) && layout(y[i]) != layout(loop.result(i))) return false;
  }
  return true;
}

void Plan::choose_bulk_copies() {
  stage_end_ = staged_bytes_;
  if (!info(Primitive::TmaLoad2).on(target_)) return;
  std::vector<const Op*> loops;  // in the program's order: the same kernel gets the same code in every process
  for (const Stage& s : stages_) {
    if (s.loop && std::find(loops.begin(), loops.end(), s.loop) == loops.end()) loops.push_back(s.loop);
  }
  for (const Op* loop : loops) {
    const std::vector<int> rings = rings_of(*loop);
    std::vector<std::optional<BulkCopy>> copies;
    for (const int i : rings) {
      // What is made of another stage comes as that does.
      const int from = stages_[static_cast<std::size_t>(i)].transposed_from;
      const Stage& s = stages_[static_cast<std::size_t>(from < 0 ? i : from)];
      copies.push_back(in_registers(s.source) ? std::nullopt : bulk_copy(s));
      if (from >= 0 && copies.back() && copies.back()->cut) copies.back().reset();  // zeros would come behind the transposing
    }
    if (std::any_of(copies.begin(), copies.end(), [](const auto& c) { return !c; }) || !quiet(loop->region(), *loop)) continue;
    for (std::size_t i = 0; i < rings.size(); ++i) stages_[static_cast<std::size_t>(rings[i])].bulk = std::move(copies[i]);
    bulk_barriers_[loop] = staged_bytes_;
    staged_bytes_ += (16 * stages_[static_cast<std::size_t>(rings[0])].slots + 127) / 128 * 128;
  }
}

std::optional<std::int64_t> Plan::bulk_barriers(const Op& loop) const {
  const auto at = bulk_barriers_.find(&loop);
  return at == bulk_barriers_.end() ? std::nullopt : std::optional(at->second);
}

}  // namespace tessera::gpu
