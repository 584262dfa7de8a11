// Streams: a store or a fold of what is computed element by element, for it alone, is emitted piece by piece, from the loads on, so that few of its
// registers are alive at one time.
#include "codegen/gpu/stream.h"

#include <algorithm>

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;

namespace {

/// A reshape that unit axes come and go in.
bool keeps_axes(const ir::Value* x, const ir::Value* y) {
  const auto wide = [](const ir::Value* v) {
    ir::Dims out;
    for (const std::int64_t n : dims(v)) {
      if (n > 1) out.push_back(n);
    }
    return out;
  };
  return wide(x) == wide(y);
}

}  // namespace

std::optional<ThreadEmitter::Stream> ThreadEmitter::stream_into(const Op& target) const {
  const bool store = target.kind == OpKind::Store;
  const ir::Value* value = target.operands[store ? 1 : 0];
  if (!is_real_tile(value) || plan_.uses().lazy(value)) return std::nullopt;
  if (store) {
    if (target.has(ir::Attr::Masked) || target.has(ir::Attr::Add) || global_space(target.operands[0])) return std::nullopt;
    if (!ir::is_range(target.operands.back()->type)) return std::nullopt;
  } else {
    const auto kind = static_cast<ir::ReduceKind>(target.int_attr(ir::Attr::Kind));
    if (kind == ir::ReduceKind::ArgMax || kind == ir::ReduceKind::ArgMin) return std::nullopt;
    if (target.int_attr(ir::Attr::Axis) + 1 != static_cast<std::int64_t>(dims(value).size())) return std::nullopt;
  }
  const Layout& layout = plan_.layout(value);
  const AxisPart& whole = layout.axes.back();
  // The shape that is written is the value's, of which the last axis is cut at a register digit beside the run.
  if (whole.digits.empty() || whole.digits.back().source != Source::Register || whole.digits.back().stride == 1) return std::nullopt;
  if (whole.extent() != dims(value).back() || whole.count(Source::Register) == whole.digits.back().size) return std::nullopt;
  std::int64_t rank = 0;
  for (std::size_t i = 2; i < target.operands.size(); ++i) rank += is_scalar(target.operands[i]) ? 0 : 1;
  if (store && rank != static_cast<std::int64_t>(dims(value).size())) return std::nullopt;

  Stream out;
  out.piece.whole = out.piece.part = whole;
  out.piece.part.digits.pop_back();
  out.pieces = whole.digits.back().size;
  // Ops all of whose users are in the stream, from its end up.
  std::set<const Op*> members = {&target};
  const auto joins = [&](const Op& op) {
    if (op.results.size() != 1 || !is_real_tile(op.result()) || plan_.uses().lazy(op.result())) return false;
    const ir::Value* v = op.result();
    if (dims(v).back() != dims(value).back() || plan_.layout(v).axes.back() != whole || !plan_.stages_of(v).empty()) return false;
    const bool ours = std::all_of(plan_.uses().of(v).begin(), plan_.uses().of(v).end(), [&](const Op* use) { return members.count(use) != 0; });
    if (!ours) return false;
    if (op.kind == OpKind::Load) {
      const bool rows =
          std::all_of(op.operands.begin() + 1, op.operands.end(), [](const ir::Value* i) { return ir::is_range(i->type) || is_scalar(i); });
      // What is the instance's own is asked for at once, not piece by piece.
      return rows && ir::is_range(op.operands.back()->type) && !global_space(op.operands[0]) && !plan_.uses().own(op);
    }
    return ir::has(op.kind, ir::Elementwise) || op.kind == OpKind::Broadcast || (op.kind == OpKind::Reshape && keeps_axes(op.operands[0], v));
  };
  const std::vector<std::unique_ptr<Op>>& ops = target.parent->ops;
  std::size_t at = 0;
  while (ops[at].get() != &target) ++at;
  for (std::size_t i = at; i-- > 0;) {
    if (joins(*ops[i])) members.insert(ops[i].get());
  }
  // Whatever else they use is the same in all pieces, or lies in registers as they want it.
  for (std::size_t i = 0; i <= at; ++i) {
    const Op& op = *ops[i];
    if (members.count(&op) == 0) continue;
    if (op.kind != OpKind::Load && &op != &target) {
      for (const ir::Value* o : op.operands) {
        if (!is_real_tile(o) || plan_.uses().lazy(o) || (o->def && members.count(o->def) != 0)) continue;
        if (op.kind == OpKind::Reshape) return std::nullopt;
        if (plan_.layout(o) != operand_layout(o, plan_.layout(op.result()))) return std::nullopt;
      }
    }
    if (&op == &target) continue;
    out.ops.push_back(&op);
    out.piece.tiles.insert(op.result());
  }
  if (out.ops.empty()) return std::nullopt;
  return out;
}

std::map<const Op*, ThreadEmitter::Stream> ThreadEmitter::streams_of(const ir::Block& block) const {
  std::map<const Op*, Stream> out;
  if (plan_.has_products()) return out;
  for (const auto& op : block.ops) {
    if (op->kind != OpKind::Store && op->kind != OpKind::Reduce) continue;
    if (auto s = stream_into(*op)) out.emplace(op.get(), std::move(*s));
  }
  return out;
}

void ThreadEmitter::each_piece(const Stream& stream, const std::function<void()>& end) {
  llvm::MDNode* const source = source_;
  piece_ = stream.piece;
  for (const ir::Value* v : stream.piece.tiles) {
    Layout l = plan_.layout(v);
    l.axes.back() = stream.piece.part;
    piece_layouts_[v] = std::move(l);
  }
  for (std::int64_t k = 0; k < stream.pieces; ++k) {
    piece_->number = k;
    for (const Op* op : stream.ops) {
      if (options_.spans) mark_source(op->span);
      emit_op(*op);
    }
    if (options_.spans) mark_source(source);
    end();
  }
  piece_.reset();
  piece_layouts_.clear();
  for (const ir::Value* v : stream.piece.tiles) tiles_.erase(v);
}

}  // namespace tessera::gpu
