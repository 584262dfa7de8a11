// Which exponentials are computed by multiply-adds. The unit for transcendental functions takes a warp's instruction every 8 cycles, the scheduler
// issues one in each: in a loop of products where that unit has more to do than the scheduler and than the tensor cores, some of its exponentials are
// polynomials instead, until it is no busier than one of these. While the tensor cores set the pace, they would only cost power (RESULTS.md).
//
// Which ones depends on their columns alone, and how many on the kernel alone: schedules, which deal out rows to warps, change no bit.
#include <algorithm>

#include "codegen/gpu/plan.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;

namespace {

constexpr std::int64_t kUnitCycles = 8;       ///< 32 lanes, 4 results a cycle in each quarter of a multiprocessor
constexpr std::int64_t kPolynomialSlots = 9;  ///< instructions more than the one it replaces
constexpr std::int64_t kBlockColumns = 8;     ///< of accumulators
constexpr std::int64_t kTripSlots = 60;       ///< barriers, addresses, descriptors

/// Instructions for one element: of the unit, and all.
struct Work {
  std::int64_t unit = 0, slots = 0;
};

Work work_of(const Op& op, bool coarse) {
  switch (op.kind) {
    case OpKind::Exp2:
    case OpKind::Rcp:
    case OpKind::Rsqrt: return {1, 1};
    case OpKind::Sqrt: return {1, 3};
    case OpKind::Exp:
    case OpKind::Ln:
    case OpKind::Log2: return {1, 7};
    case OpKind::Sigmoid: return {2, 4};
    case OpKind::Tanh: return coarse ? Work{1, 1} : Work{2, 12};
    case OpKind::Neg:
    case OpKind::Bitcast: return {};
    default: return ir::has(op.kind, ir::Elementwise) ? Work{0, 1} : Work{};
  }
}

/// Of a quarter of the tensor cores, 16 rows of a warpgroup's 64: 1024 multiplications a cycle of 8-bit numbers, half as many of 16 bits, and so on.
std::int64_t product_cycles(const Op& dot) {
  constexpr std::int64_t kBytesACycle = 1024, kRows = 16;
  const ir::Dims &a = dims(dot.operands[0]), &b = dims(dot.operands[1]);
  return kRows * a[1] * b[1] * cell_bytes(dtype(dot.operands[0])) / kBytesACycle;
}

}  // namespace

void Plan::balance_units() {
  ir::walk(kernel_.body, [&](const Op& loop) {
    if (loop.kind != OpKind::For) return;
    std::int64_t products = 0;
    Work all{0, kTripSlots};
    std::int64_t exponentials = 0;
    std::vector<const Op*> movable;
    for (const auto& op : loop.region().ops) {
      if (op->kind == OpKind::Dot && dots_.at(op.get()).warpgroup) products += product_cycles(*op);
      const bool reduces = op->kind == OpKind::Reduce;
      if (op->results.size() != 1 || !(reduces || ir::has(op->kind, ir::Elementwise))) continue;
      const ir::Value* counted = reduces ? op->operands[0] : op->result();
      if (!has_layout(counted) || uses_.lazy(op->result())) continue;
      // A thread's registers where a warpgroup has 64 rows.
      const std::int64_t n = elements(counted) / (2 * dims(counted)[0]);
      const Work w = reduces ? Work{0, 1} : work_of(*op, uses_.coarse(*op));
      all.unit += n * w.unit;
      // Two f32 are rounded by one instruction.
      all.slots += op->kind == OpKind::Cast && is_half(dtype(op->result())) ? n / 2 : n * w.slots;
      if ((op->kind != OpKind::Exp2 && op->kind != OpKind::Sigmoid) || !uses_.coarse(*op) || layout(op->result()).axes.back().count(Source::Warp) > 1)
        continue;
      exponentials += n;
      movable.push_back(op.get());
    }
    const std::int64_t unit = kUnitCycles * all.unit;
    if (products == 0 || exponentials == 0 || unit <= std::max(all.slots, products)) return;
    const std::int64_t moved = std::min({(unit - all.slots) / (kUnitCycles + kPolynomialSlots), (unit - products) / kUnitCycles, exponentials});
    for (const Op* op : movable) polynomial_[op] = moved * kShares / exponentials;
  });
}

bool Plan::by_polynomial(const Op& op, std::int64_t i) const {
  const auto at = polynomial_.find(&op);
  if (at == polynomial_.end()) return false;
  const AxisPart& columns = layout(op.result()).axes.back();
  const std::int64_t block = columns.offsets()[static_cast<std::size_t>(i % columns.count(Source::Register))] / kBlockColumns;
  return (block + 1) * at->second / kShares != block * at->second / kShares;
}

}  // namespace tessera::gpu
