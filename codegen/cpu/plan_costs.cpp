// What a sink costs with one axis or another in lanes, in rough cycles: enough to tell a vector load from a gather.
#include <algorithm>

#include "codegen/cpu/plan_block.h"

namespace tessera::cpu {

using ir::Attr;
using ir::Op;
using ir::OpKind;
using ir::Value;

std::optional<std::size_t> BlockPlanner::unit_axis(const Value* view) const {
  if (!view->def) {
    const ir::Param& p = analysis_.kernel().params[analysis_.param_of(view)];
    if (p.strided || p.dims.empty()) return std::nullopt;
    return p.dims.size() - 1;
  }
  const Op& op = *view->def;
  const auto below = unit_axis(op.operands[0]);
  if (!below) return std::nullopt;
  const std::size_t u = *below;
  const auto axis = static_cast<std::size_t>(op.int_attr(Attr::Axis));
  switch (op.kind) {
    case OpKind::ViewIndex: return u == axis ? std::nullopt : std::optional(u > axis ? u - 1 : u);
    case OpKind::ViewPermute: {
      const ir::Dims& perm = op.dims_attr(Attr::Perm);
      return static_cast<std::size_t>(std::find(perm.begin(), perm.end(), static_cast<std::int64_t>(u)) - perm.begin());
    }
    case OpKind::ViewMerge: {
      const auto last = static_cast<std::size_t>(op.int_attr(Attr::Last));
      if (u >= axis && u <= last) return std::nullopt;
      return u > last ? u - (last - axis) : u;
    }
    case OpKind::ViewSplit: return u >= axis ? u + 1 : u;
    case OpKind::ViewPaged: return u < 2 ? std::nullopt : std::optional(u - 1);
    case OpKind::ViewTake: return u == 0 ? std::nullopt : std::optional(u);
    default: return u;
  }
}

namespace {

double count(const ir::Dims& space) {
  double n = 1;
  for (const std::int64_t d : space) n *= static_cast<double>(d);
  return n;
}

/// The axis of a load's result (or a stored value) that an index operand makes; -1: none.
int value_axis(const Op& op, std::size_t first, std::size_t view_axis) {
  int at = 0;
  for (std::size_t i = first; i < op.operands.size(); ++i) {
    const bool range = ir::is_range(op.operands[i]->type);
    if (i == first + view_axis) return range ? at : -1;
    if (range || !dims(op.operands[i]).empty()) ++at;
  }
  return -1;
}

}  // namespace

/// Reading what expression `v` needs at every point of `space`.
double BlockPlanner::read_cost(const Value* v, const AxisMap& map, const ir::Dims& space, int lane) const {
  const double n = count(space);
  const double vectors = lane < 0 ? n
                                  : n / static_cast<double>(space[static_cast<std::size_t>(lane)]) *
                                        static_cast<double>((space[static_cast<std::size_t>(lane)] + kLanes - 1) / kLanes);
  auto position = [&](const AxisMap& m) { return static_cast<int>(std::find(m.begin(), m.end(), lane) - m.begin()); };
  if (!ir::is_tile(v->type) || is_unit(v)) return 0;
  if (!analysis_.lazy(v)) {
    const Layout* l = plan_.layout(v);
    const int at = position(map);
    if (lane < 0 || at == static_cast<int>(map.size())) return vectors;
    return !l || l->lane == at ? vectors : n;
  }
  const Op& op = *v->def;
  double total = 0;
  if (op.kind == OpKind::Load) {
    const int at = position(map);
    if (lane < 0 || at == static_cast<int>(map.size())) {
      total = vectors;
    } else {
      const auto unit = unit_axis(op.operands[0]);
      total = unit && value_axis(op, 1, *unit) == at ? vectors : n;
    }
  } else if (ir::has(op.kind, ir::ElementwiseBit)) {
    total = vectors * (analysis_.costly(v) ? 4 : 0.5);
  }
  const auto maps = Analysis::operand_maps(op, map);
  for (std::size_t i = 0; i < op.operands.size(); ++i)
    if (ir::is_tile(op.operands[i]->type)) total += read_cost(op.operands[i], maps[i], space, lane);
  return total;
}

/// The axis that a store with `lane` in lanes writes along after a transpose in registers; -1: it scatters.
int BlockPlanner::across_axis(const Sink& s, int lane) const {
  if (s.kind != SinkKind::Store || s.ordered || s.op->int_attr(Attr::Add) != 0 || lane < 0) return -1;
  const int width = bits(dtype(s.value));
  if ((width != 16 && width != 32) || s.space[static_cast<std::size_t>(lane)] < 4) return -1;
  const auto unit = unit_axis(s.op->operands[0]);
  const int axis = unit ? value_axis(*s.op, 2, *unit) : -1;
  return axis >= 0 && axis != lane && s.space[static_cast<std::size_t>(axis)] >= 8 ? axis : -1;
}

double BlockPlanner::cost(const Sink& s, int lane) const {
  const double n = count(s.space);
  const double vectors = lane < 0 ? n
                                  : n / static_cast<double>(s.space[static_cast<std::size_t>(lane)]) *
                                        static_cast<double>((s.space[static_cast<std::size_t>(lane)] + kLanes - 1) / kLanes);
  double total = 0;
  if (s.value) total += read_cost(s.value, Analysis::identity(s.space.size()), s.space, lane);
  switch (s.kind) {
    case SinkKind::Store:
    case SinkKind::FetchAdd: {
      const auto unit = unit_axis(s.op->operands[0]);
      if (unit && value_axis(*s.op, 2, *unit) == lane)
        total += vectors;
      else
        total += across_axis(s, lane) >= 0 ? 0.4 * n : 1.2 * n;
      break;
    }
    case SinkKind::Reduce:
      if (lane == s.axis && lane >= 0) total += 20 * n / static_cast<double>(s.space[static_cast<std::size_t>(lane)]);
      break;
    default: total += vectors; break;
  }
  return total;
}

std::optional<std::size_t> BlockPlanner::contiguous_axis(const Value* v) const {
  if (!v->def || !analysis_.lazy(v)) return std::nullopt;
  const Op& op = *v->def;
  switch (op.kind) {
    case OpKind::Permute: {
      const auto below = contiguous_axis(op.operands[0]);
      if (!below) return std::nullopt;
      const ir::Dims& perm = op.dims_attr(Attr::Perm);
      return static_cast<std::size_t>(std::find(perm.begin(), perm.end(), static_cast<std::int64_t>(*below)) - perm.begin());
    }
    case OpKind::Cast: return contiguous_axis(op.operands[0]);
    case OpKind::Select: return dims(op.operands[1]) == dims(v) ? contiguous_axis(op.operands[1]) : std::nullopt;
    case OpKind::Load: {
      const auto unit = unit_axis(op.operands[0]);
      const int axis = unit ? value_axis(op, 1, *unit) : -1;
      return axis < 0 ? std::nullopt : std::optional(static_cast<std::size_t>(axis));
    }
    default: return std::nullopt;
  }
}

int BlockPlanner::best_lane(const Sink& s) const {
  int best = -1;
  double least = 0;
  for (int a = static_cast<int>(s.space.size()); a-- > 0;) {
    if (s.space[static_cast<std::size_t>(a)] == 1) continue;
    const double c = cost(s, a);
    if (best < 0 || c < least) {
      best = a;
      least = c;
    }
  }
  return best;
}

}  // namespace tessera::cpu
