// Which rings are filled by bulk copies (TMA): all tiles of a loop must be boxes of parameters, and the loop must not need barriers of its own.
//
// A box is zero outside the tensor, as a stage is outside the valid part of a tile: so the valid part must end where the tensor does.
#include <algorithm>

#include "codegen/gpu/plan.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;
using ir::Value;

namespace {

constexpr std::int64_t kMostBoxRows = 256;

struct ViewAxes {
  std::vector<std::size_t> axes;      ///< by axis of the view: the parameter's
  std::vector<const Value*> numbers;  ///< by axis of the parameter: what it is fixed at
};

/// A view that only fixes and permutes axes of a parameter.
std::optional<ViewAxes> axes_of(const Value* v) {
  if (!v->def) {
    ViewAxes out;
    for (std::size_t a = 0; a < static_cast<std::size_t>(ir::view(v->type).rank); ++a) out.axes.push_back(a);
    out.numbers.resize(out.axes.size());
    return out;
  }
  const Op& op = *v->def;
  if (op.kind != OpKind::ViewIndex && op.kind != OpKind::ViewPermute) return std::nullopt;
  std::optional<ViewAxes> out = axes_of(op.operands[0]);
  if (!out) return out;
  if (op.kind == OpKind::ViewIndex) {
    const auto axis = static_cast<std::size_t>(op.int_attr(ir::Attr::Axis));
    out->numbers[out->axes[axis]] = op.operands[1];
    out->axes.erase(out->axes.begin() + static_cast<std::ptrdiff_t>(axis));
  } else {
    std::vector<std::size_t> moved;
    for (const std::int64_t from : op.dims_attr(ir::Attr::Perm)) moved.push_back(out->axes[static_cast<std::size_t>(from)]);
    out->axes = std::move(moved);
  }
  return out;
}

/// The extent that an idx scalar stands for, if it is one.
std::optional<Sym> extent_of(const ir::Kernel& kernel, const Value* v) {
  if (!v->def) return std::nullopt;
  const Op& op = *v->def;
  if (op.kind == OpKind::Const) return Sym(op.int_attr(ir::Attr::Value));
  if (op.kind == OpKind::Sym) return Sym::symbol(op.string_attr(ir::Attr::Name));
  if (op.kind != OpKind::Extent) return std::nullopt;
  const std::optional<ViewAxes> axes = axes_of(op.operands[0]);
  if (!axes) return std::nullopt;
  return kernel.params[parameter_index(kernel, op.operands[0])].dims[axes->axes[static_cast<std::size_t>(op.int_attr(ir::Attr::Axis))]];
}

bool is_zero(const Value* v) { return v->def && v->def->kind == OpKind::Const && v->def->int_attr(ir::Attr::Value) == 0; }

/// The valid part of a range is what lies within an axis of this extent.
bool ends_with(const ir::Kernel& kernel, const Value* range, const Sym& extent) {
  const Op& op = *range->def;
  if (op.has(ir::Attr::Full)) return true;
  const std::optional<Sym> hi = extent_of(kernel, op.operands[2]);
  return is_zero(op.operands[1]) && hi && *hi == extent;
}

/// The range is the whole axis.
bool covers(const Value* range, const Sym& extent) {
  const Op& op = *range->def;
  return is_zero(op.operands[0]) && extent.as_constant() && *extent.as_constant() == ir::range(range->type).size;
}

}  // namespace

std::optional<BulkCopy> Plan::bulk_copy(const Stage& s) const {
  if (!s.swizzled || !s.from_load || s.rows != dims(s.source)[0] || s.rows > kMostBoxRows) return std::nullopt;
  const Op& load = *s.source->def;
  const std::optional<ViewAxes> view = axes_of(load.operands[0]);
  if (!view) return std::nullopt;
  BulkCopy out;
  out.param = parameter_index(kernel_, load.operands[0]);
  const ir::Param& p = kernel_.params[out.param];
  if (p.strided || p.peers || p.dims.size() < 2 || p.dims.size() > 5) return std::nullopt;
  out.axes.resize(p.dims.size());
  for (std::size_t a = 0; a < out.axes.size(); ++a) out.axes[a].number = view->numbers[a];
  bool rows = true;  // the first range is the rows
  for (std::size_t i = 1; i < load.operands.size(); ++i) {
    const Value* index = load.operands[i];
    const std::size_t axis = view->axes[i - 1];
    BulkCopy::Axis& a = out.axes[axis];
    if (!ir::is_range(index->type)) {
      a.number = index;
      continue;
    }
    if (!index->def || index->def->kind != OpKind::Range || !ends_with(kernel_, index, p.dims[axis])) return std::nullopt;
    (rows ? a.rows : a.cols) = true;
    // Columns between the tile's and the stage's are zero only if the tensor ends there.
    if (!rows && dims(s.source)[1] != s.cols && !covers(index, p.dims[axis])) return std::nullopt;
    rows = false;
  }
  if (!out.axes.back().cols) return std::nullopt;
  for (const BulkCopy::Axis& a : out.axes) {
    if (!a.rows && !a.cols && (!a.number || dtype(a.number) != DType::Idx)) return std::nullopt;
  }
  return out;
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
      const Stage& s = stages_[static_cast<std::size_t>(i)];
      copies.push_back(in_registers(s.source) ? std::nullopt : bulk_copy(s));
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
