// Sinks into nests and regions.
#include <algorithm>

#include "codegen/cpu/plan_block.h"
#include "dsl/diagnostic.h"

namespace tessera::cpu {

Nest BlockPlanner::single_nest(Sink& s) const {
  Nest nest;
  std::vector<int> loop_of(s.space.size(), -1);
  for (std::size_t a = 0; a < s.space.size(); ++a) {
    if (s.space[a] == 1) continue;
    loop_of[a] = static_cast<int>(nest.loops.size());
    const int axis = static_cast<int>(a);
    nest.loops.push_back({s.space[a], axis == s.lane ? Role::Lane : axis == s.axis ? Role::Folded : Role::Outer});
  }
  if (s.kind == SinkKind::Operand) {
    const ProductPlan& p = plan_.products_.at(s.op);
    const OperandPlan& o = p.operand[s.operand];
    nest.pairs = unit_k(p.product) == 2 && o.lane_axis != o.k_axis;
    if (nest.pairs) nest.pair_loop = loop_of[static_cast<std::size_t>(o.k_axis)];
  }
  nest.loop_of[&s] = std::move(loop_of);
  nest.sinks.push_back(&s);
  return nest;
}

void BlockPlanner::place(const Sink& s, const Nest&, const Region&) {
  if (!s.target || is_unit(s.target)) return;
  switch (s.kind) {
    case SinkKind::Tile:
    case SinkKind::Carried:
    case SinkKind::FetchAdd:
    case SinkKind::Product: plan_.layouts_.try_emplace(s.target, whole_layout(dims(s.target), s.lane)); return;
    case SinkKind::Reduce: {
      // Lanes that are folded away leave a tile without them.
      const int lane = s.lane == s.axis ? -1 : s.lane;
      plan_.layouts_.try_emplace(s.target, lane < 0 ? row_major_layout(dims(s.target)) : whole_layout(dims(s.target), lane));
      return;
    }
    case SinkKind::Fold:
    case SinkKind::Whole:
      for (const auto& r : s.op->results)
        if (!is_unit(r.get())) plan_.layouts_.try_emplace(r.get(), row_major_layout(dims(r.get())));
      return;
    case SinkKind::Initial:
    case SinkKind::Store:
    case SinkKind::Operand:
    case SinkKind::Unit:
    case SinkKind::Assert: return;
  }
}

void BlockPlanner::make_regions(Work& w, Segment& segment) {
  for (Sink* s : w.pending) {
    if (s->kind == SinkKind::Initial) {
      // The loop inside has settled how its tile lies; a tile that the loop never writes lies as it is made.
      const auto known = plan_.layouts_.find(s->target);
      if (known == plan_.layouts_.end()) {
        s->lane = best_lane(*s);
        plan_.layouts_[s->target] = whole_layout(s->space, s->lane);
      } else {
        s->lane = known->second.lane;
      }
    } else if (s->ordered) {
      for (std::size_t a = 0; a < s->space.size(); ++a)
        if (s->space[a] != 1) s->lane = static_cast<int>(a);
    } else if (s->lane < 0 && s->value) {
      s->lane = best_lane(*s);
    }
    Region r;
    r.nests.push_back(single_nest(*s));
    place(*s, r.nests.back(), r);
    segment.regions.push_back(std::move(r));
  }
}

}  // namespace tessera::cpu
