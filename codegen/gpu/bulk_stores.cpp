// Which stores are bulk copies (TMA): of accumulators of 16 bits, once an instance, by warpgroups that compute beside one that asks for tiles, to
// where boxes reach. Pieces of them go through shared memory; the next instance begins while they are on their way.
#include <algorithm>

#include "codegen/gpu/plan.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;
using ir::Value;

namespace {

/// What rings keep: below that, tiles would come when they are needed.
constexpr int kLeastSlots = 2;

}  // namespace

std::map<const Op*, BulkCopy> Plan::bulk_stores() {
  std::map<const Op*, BulkCopy> out;
  for (const auto& op : kernel_.body.ops) {
    if (op->kind != OpKind::Store || op->has(ir::Attr::Masked) || op->has(ir::Attr::Add)) continue;
    const Value* v = op->operands[1];
    if (!is_real_tile(v) || uses_.lazy(v) || uses_.computed(v) || !is_half(dtype(v)) || dims(v).size() != 2) continue;
    const std::int64_t groups = warps_ / 4, rows = dims(v)[0], cols = dims(v)[1], a_panel = kPanelBytes / cell_bytes(dtype(v));
    if (rows % (kPieceRows * groups) != 0 || cols % 8 != 0 || layout(v) != Layout{{warpgroup_rows(rows, groups), mma_cols(cols)}}) continue;
    const std::size_t p = parameter_index(kernel_, op->operands[0]);
    if (kernel_.params[p].mode != ir::Mode::Out || uses_.reads(p) || wishes_.direct_stores.count(kernel_.params[p].name) != 0) continue;
    const std::span<Value* const> indices = std::span(op->operands).subspan(2);
    if (std::count_if(indices.begin(), indices.end(), [](const Value* i) { return ir::is_range(i->type); }) != 2) continue;
    const std::int64_t whole = (cols + a_panel - 1) / a_panel * a_panel;
    std::optional<BulkCopy> copy = boxes_of(op->operands[0], indices, kPieceRows, cols, whole, true);
    if (copy && copy->rows_a_box == kPieceRows) out.emplace(op.get(), std::move(*copy));
  }
  return out;
}

bool Plan::shrink_rings() {
  bool any = false;
  for (Stage& s : stages_) {
    if (!s.loop || s.slots <= kLeastSlots) continue;
    --s.slots;
    any = true;
  }
  return any;
}

}  // namespace tessera::gpu
