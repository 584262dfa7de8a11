// Sinks into nests and regions.
#include <algorithm>

#include "codegen/cpu/operand.h"
#include "codegen/cpu/plan_block.h"
#include "dsl/diagnostic.h"

namespace tessera::cpu {

using ir::OpKind;
using ir::Value;

/// The axis of the sink's space that the strip loop may run over: the only one of its class, and independent element by element.
int BlockPlanner::strip_axis(const Sink& s, int strip_class) const {
  if (strip_class < 0) return -1;
  switch (s.kind) {
    case SinkKind::Tile:
    case SinkKind::Carried:
    case SinkKind::Reduce:
    case SinkKind::Product:
    case SinkKind::Operand: break;
    case SinkKind::Store:
      if (s.ordered) return -1;
      break;
    case SinkKind::Initial:
    case SinkKind::FetchAdd:
    case SinkKind::Fold:
    case SinkKind::Unit:
    case SinkKind::Assert:
    case SinkKind::Whole: return -1;
  }
  const Value* v = s.kind == SinkKind::Product ? s.target : s.value;
  int found = -1;
  for (std::size_t a = 0; a < s.space.size(); ++a) {
    if (s.space[a] == 1 || analysis_.axis_class(v, a) != strip_class) continue;
    if (found >= 0) return -1;
    found = static_cast<int>(a);
  }
  if (found >= 0 && found == s.axis) return -1;
  if (s.kind == SinkKind::Operand && found >= 0) {
    // Made strip by strip only for a product that runs in the same strips, and only if it is computed: what lies in memory is read or packed whole.
    const ProductPlan& p = plan_.products_.at(s.op);
    const std::size_t lane_operand = p.transposed ? 0 : 1;
    const std::size_t lane = p.transposed ? 0 : 1;
    const Value* result = s.op->result();
    if (s.operand != lane_operand || found != p.operand[s.operand].lane_axis || loaded_tile(analysis_, s.value)) return -1;
    if (analysis_.axis_class(result, lane) != strip_class || analysis_.axis_class(result, 1 - lane) == strip_class) return -1;
  }
  return found;
}

void BlockPlanner::choose_lane(Sink& s) {
  if (s.kind == SinkKind::Initial) {
    // The loop inside has settled how its tile lies; a tile that the loop never writes lies as it is made.
    const auto known = plan_.layouts_.find(s.target);
    if (known == plan_.layouts_.end()) {
      s.lane = best_lane(s);
      plan_.layouts_[s.target] = whole_layout(s.space, s.lane);
    } else {
      s.lane = known->second.lane;
    }
  } else if (s.ordered) {
    for (std::size_t a = 0; a < s.space.size(); ++a)
      if (s.space[a] != 1) s.lane = static_cast<int>(a);
  } else if (s.lane < 0 && s.value) {
    s.lane = best_lane(s);
    s.across = across_axis(s, s.lane);
  }
}

void BlockPlanner::place(const Sink& s) {
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

Nest operand_nest(Sink& s, const ProductPlan& p) {
  Nest nest;
  std::vector<int> loop_of(s.space.size(), kUnitAxis);
  for (std::size_t a = 0; a < s.space.size(); ++a) {
    if (s.space[a] == 1) continue;
    loop_of[a] = static_cast<int>(nest.loops.size());
    nest.loops.push_back({s.space[a], static_cast<int>(a) == s.lane ? Role::Lane : Role::Outer});
  }
  const OperandPlan& o = p.operand[s.operand];
  if (unit_k(p.product) == 2 && o.lane_axis != o.k_axis) nest.pair_loop = loop_of[static_cast<std::size_t>(o.k_axis)];
  nest.loop_of[&s] = std::move(loop_of);
  nest.sinks.push_back(&s);
  return nest;
}

Nest BlockPlanner::new_nest(Sink& s, int strip_class) const {
  Nest nest;
  const int strip = strip_axis(s, strip_class);
  std::vector<int> loop_of(s.space.size(), kUnitAxis);
  for (std::size_t a = 0; a < s.space.size(); ++a) {
    const int axis = static_cast<int>(a);
    if (s.space[a] == 1) continue;
    if (axis == strip) {
      loop_of[a] = kStripAxis;
      continue;
    }
    loop_of[a] = static_cast<int>(nest.loops.size());
    const bool lane = strip < 0 && axis == s.lane;
    nest.loops.push_back({s.space[a], lane ? Role::Lane : axis == s.axis ? Role::Folded : Role::Outer});
  }
  if (s.kind == SinkKind::Operand) {
    const ProductPlan& p = plan_.products_.at(s.op);
    const OperandPlan& o = p.operand[s.operand];
    if (unit_k(p.product) == 2 && o.lane_axis != o.k_axis) nest.pair_loop = loop_of[static_cast<std::size_t>(o.k_axis)];
  }
  nest.loop_of[&s] = std::move(loop_of);
  nest.sinks.push_back(&s);
  return nest;
}

void BlockPlanner::add_need(Needs& needs, const Work& w, std::size_t of, std::size_t on, const Value* tile, const AxisMap& map,
                            int strip_class) const {
  if (of == on) return;
  const Sink& s = *w.pending[of];
  const Value* space = s.kind == SinkKind::Product ? s.target : s.value;
  Need n{on, false, space != nullptr};
  std::size_t axes = 0;
  for (std::size_t a = 0; a < map.size(); ++a) {
    if (dims(tile)[a] == 1) continue;
    ++axes;
    const int c = analysis_.axis_class(tile, a);
    const bool same = space && map[a] >= 0 && analysis_.axis_class(space, static_cast<std::size_t>(map[a])) == c;
    if (c == strip_class && strip_class >= 0) n.strip = same;
    n.point = n.point && same;
  }
  std::size_t own = 0;
  for (const std::int64_t d : s.space) own += d != 1 ? 1 : 0;
  n.point = n.point && own == axes;
  needs[of].push_back(n);
}

BlockPlanner::Needs BlockPlanner::find_needs(const Work& w, int strip_class) const {
  const auto& sinks = w.pending;
  Needs needs(sinks.size());
  std::map<const Value*, std::size_t> maker;
  std::map<const Value*, std::vector<std::pair<std::size_t, AxisMap>>> readers;  // of tiles that a Carried sink replaces
  std::vector<std::vector<const Value*>> loads(sinks.size());
  for (std::size_t i = 0; i < sinks.size(); ++i) {
    const Sink& s = *sinks[i];
    for (const Input& input : inputs(s)) {
      analysis_.leaves(input.value, input.map, [&](const Value* leaf, const AxisMap& at) {
        if (analysis_.lazy(leaf)) {
          loads[i].push_back(leaf);
          return;
        }
        if (const auto m = maker.find(leaf); m != maker.end())
          add_need(needs, w, i, m->second, leaf, at, strip_class);
        else
          readers[leaf].emplace_back(i, at);
      });
    }
    if (s.kind == SinkKind::Product)
      for (std::size_t j = 0; j < i; ++j)
        if (sinks[j]->kind == SinkKind::Operand && sinks[j]->op == s.op) needs[i].push_back({j, strip_axis(*sinks[j], strip_class) >= 0, false});
    // Memory: stores after what reads it before them, and loads after stores.
    const bool writes = s.kind == SinkKind::Store || s.kind == SinkKind::FetchAdd;
    for (std::size_t j = 0; j < i; ++j) {
      const Sink& t = *sinks[j];
      const bool other_writes = t.kind == SinkKind::Store || t.kind == SinkKind::FetchAdd;
      bool clash = writes && other_writes && analysis_.may_alias(s.op->operands[0], t.op->operands[0]);
      auto touches = [&](const Sink& writer, std::size_t reader) {
        bool any = false;
        for (const Value* load : loads[reader]) any = any || analysis_.may_alias(writer.op->operands[0], load->def->operands[0]);
        const Sink& r = *sinks[reader];
        if ((r.kind == SinkKind::Tile || r.kind == SinkKind::Unit) && r.op->kind == OpKind::Load)
          any = any || analysis_.may_alias(writer.op->operands[0], r.op->operands[0]);
        return any;
      };
      clash = clash || (writes && touches(s, j)) || (other_writes && touches(t, i));
      if (clash) needs[i].push_back({j, false, false});
    }
    if (s.kind == SinkKind::Fold || s.kind == SinkKind::Whole)
      for (const auto& r : s.op->results) maker[r.get()] = i;
    else if (s.target && s.kind != SinkKind::Carried && s.kind != SinkKind::Initial)
      maker[s.target] = i;
  }
  for (std::size_t i = 0; i < sinks.size(); ++i) {
    if (sinks[i]->kind != SinkKind::Carried || sinks[i]->staged) continue;
    for (const auto& [reader, map] : readers[sinks[i]->target]) {
      if (reader >= i) continue;
      // Seen from the reader, but it is the replacing sink that waits.
      Needs seen(sinks.size());
      add_need(seen, w, reader, i, sinks[i]->target, map, strip_class);
      if (seen[reader].empty()) continue;
      needs[i].push_back({reader, seen[reader][0].strip, seen[reader][0].point});
    }
  }
  return needs;
}

bool BlockPlanner::joins(const Nest& nest, const Sink& s) const {
  const Sink& first = *nest.sinks.front();
  for (const Sink* t : {&s, &first})
    if (t->kind == SinkKind::Fold || t->kind == SinkKind::Unit || t->kind == SinkKind::Whole || t->kind == SinkKind::Assert) return false;
  if (s.kind == SinkKind::Product) return false;
  const Value* a = first.kind == SinkKind::Product ? first.target : first.value;
  std::set<int> theirs, ours;
  std::size_t their_axes = 0, our_axes = 0;
  for (std::size_t i = 0; i < first.space.size(); ++i)
    if (first.space[i] != 1) theirs.insert(analysis_.axis_class(a, i)), ++their_axes;
  for (std::size_t i = 0; i < s.space.size(); ++i)
    if (s.space[i] != 1) ours.insert(analysis_.axis_class(s.value, i)), ++our_axes;
  if (theirs != ours || theirs.size() != their_axes || ours.size() != our_axes) return false;
  // One folded loop a nest, and one loop in pairs.
  int folded = -1, paired = -1;
  auto folded_class = [&](const Sink& t) {
    return t.kind == SinkKind::Reduce ? analysis_.axis_class(t.value, static_cast<std::size_t>(t.axis)) : -1;
  };
  auto paired_class = [&](const Sink& t) {
    if (t.kind != SinkKind::Operand) return -1;
    const ProductPlan& p = plan_.products_.at(t.op);
    const OperandPlan& o = p.operand[t.operand];
    const auto k = static_cast<std::size_t>(o.k_axis);
    return unit_k(p.product) == 2 && o.lane_axis != o.k_axis && t.space[k] > 1 ? analysis_.axis_class(t.value, k) : -1;
  };
  for (const Sink* t : nest.sinks) {
    folded = std::max(folded, folded_class(*t));
    paired = std::max(paired, paired_class(*t));
  }
  const int f = folded_class(s);
  const int p = paired_class(s);
  if (folded >= 0 && f >= 0 && f != folded) return false;
  if (paired >= 0 && p >= 0 && p != paired) return false;
  return true;
}

void BlockPlanner::join(Nest& nest, Sink& s, int strip_class) {
  const Sink& first = *nest.sinks.front();
  const Value* a = first.kind == SinkKind::Product ? first.target : first.value;
  const std::vector<int> known = nest.loop_of.at(&first);
  std::vector<int> loop_of(s.space.size(), kUnitAxis);
  for (std::size_t i = 0; i < s.space.size(); ++i) {
    if (s.space[i] == 1) continue;
    for (std::size_t j = 0; j < first.space.size(); ++j)
      if (first.space[j] != 1 && analysis_.axis_class(a, j) == analysis_.axis_class(s.value, i)) loop_of[i] = known[j];
  }
  if (s.kind == SinkKind::Reduce) {
    NestLoop& loop = nest.loops[static_cast<std::size_t>(loop_of[static_cast<std::size_t>(s.axis)])];
    // A lane loop that is folded stays one: its sums are horizontal.
    if (first.kind != SinkKind::Product && loop.role == Role::Outer) loop.role = Role::Folded;
  }
  if (s.kind == SinkKind::Operand) {
    const Nest alone = new_nest(s, strip_class);
    if (alone.pair_loop >= 0) nest.pair_loop = loop_of[static_cast<std::size_t>(plan_.products_.at(s.op).operand[s.operand].k_axis)];
  }
  nest.loop_of[&s] = std::move(loop_of);
  nest.sinks.push_back(&s);
}

/// Whether `v` is read by anything but the sinks `inside`.
bool BlockPlanner::escapes(const Work& w, const Value* v, const std::set<const Sink*>& inside) const {
  for (const ir::Op* use : analysis_.uses(v)) {
    if (use->parent != w.block) return true;
    if (!use->results.empty() && ir::is_tile(use->result()->type) && Analysis::lazy_op(*use)) {
      if (!analysis_.stored(use->result())) {
        if (escapes(w, use->result(), inside)) return true;
        continue;
      }
    }
    if (use->kind == OpKind::For || use->kind == OpKind::While || use->kind == OpKind::If) return true;
    if (use->kind == OpKind::Yield && !w.last) return true;
    bool seen = false;
    for (const Sink* s : w.pending) {
      if (s->op != use) continue;
      // Of a yield only the sinks that take v count; of a product the operands, each by its value.
      if (s->kind == SinkKind::Product) continue;
      const bool takes = s->value == v || s->kind != SinkKind::Carried;
      if (!takes) continue;
      seen = true;
      const bool reads = s->kind != SinkKind::Operand || s->value == v || use->kind == OpKind::DotScaled;
      if (reads && inside.count(s) == 0) return true;
    }
    if (!seen && use->kind != OpKind::Yield && use->kind != OpKind::Claim && use->kind != OpKind::Print) return true;
  }
  return false;
}

void BlockPlanner::place_in_strip(const Work& w, Sink& s, const Region& region, const Nest& nest, int strip_class) {
  std::set<const Sink*> inside;
  for (const Nest& n : region.nests) inside.insert(n.sinks.begin(), n.sinks.end());
  const int axis = strip_axis(s, strip_class);
  if (s.kind == SinkKind::Operand) {
    OperandPlan& o = plan_.products_.at(s.op).operand[s.operand];
    o.layout = whole_layout(s.space, axis);
    o.layout.strip = region.strip;
    o.layout.local = true;
    return;
  }
  if (!s.target) return;
  Layout l;
  l.lane = axis;
  l.strip = region.strip;
  if (s.kind == SinkKind::Carried) {
    plan_.layouts_.try_emplace(s.target, l);
    return;
  }
  const bool out = escapes(w, s.target, inside);
  // Folded without further loops: a register a lane vector until the strip is done.
  bool loops = false;
  for (const NestLoop& loop : nest.loops) loops = loops || loop.role == Role::Outer;
  if (s.kind == SinkKind::Reduce && !out && (nest.sinks.front()->kind == SinkKind::Product || !loops)) {
    plan_.registers_.insert(s.target);
    return;
  }
  // A product that only its own nest reads stays in registers.
  if (s.kind == SinkKind::Product && !out && !escapes(w, s.target, {nest.sinks.begin(), nest.sinks.end()})) {
    plan_.registers_.insert(s.target);
    return;
  }
  l.local = !out;
  plan_.layouts_.try_emplace(s.target, l);
}

void BlockPlanner::strip_region(Work& w, Segment& segment, const std::vector<std::size_t>& members, const Needs& needs, int strip_class) {
  Region region;
  std::map<std::size_t, std::size_t> nest_of;
  for (const std::size_t i : members) {
    Sink& s = *w.pending[i];
    s.lane = strip_axis(s, strip_class);
    region.extent = s.space[static_cast<std::size_t>(s.lane)];
    if (s.kind == SinkKind::Product) region.strip = static_cast<std::int64_t>(plan_.products_.at(s.op).block.vectors) * kLanes;
    std::size_t first = 0;
    for (const Need& n : needs[i]) {
      const auto at = nest_of.find(n.on);
      if (at == nest_of.end()) continue;
      first = std::max(first, at->second + (shares_nest(w, i, n) ? 0 : 1));
    }
    std::size_t n = first;
    while (n < region.nests.size() && !joins(region.nests[n], s)) ++n;
    if (n == region.nests.size())
      region.nests.push_back(new_nest(s, strip_class));
    else
      join(region.nests[n], s, strip_class);
    nest_of[i] = n;
  }
  if (region.strip == 0) region.strip = std::min<std::int64_t>(4 * kLanes, round_up(region.extent, kLanes));
  for (const std::size_t i : members) place_in_strip(w, *w.pending[i], region, region.nests[nest_of.at(i)], strip_class);
  segment.regions.push_back(std::move(region));
}

void BlockPlanner::make_regions(Work& w, Segment& segment) {
  const int strip_class = choose_strip_class(w);
  plan_products(w, strip_class);
  const Needs needs = find_needs(w, strip_class);
  // Levels: even ones hold sinks of their own, odd ones strip regions. What a strip region needs at other coordinates comes a level before.
  std::vector<std::size_t> level(w.pending.size(), 0);
  std::size_t most = 0;
  for (std::size_t i = 0; i < w.pending.size(); ++i) {
    const bool strip = strip_axis(*w.pending[i], strip_class) >= 0;
    std::size_t l = strip ? 1 : 0;
    for (const Need& n : needs[i]) {
      const std::size_t d = level[n.on];
      const bool odd = d % 2 != 0;
      l = std::max(l, strip ? (odd ? (n.strip ? d : d + 2) : d + 1) : (odd ? d + 1 : d));
    }
    level[i] = l;
    most = std::max(most, l);
  }
  for (std::size_t l = 0; l <= most; ++l) {
    std::vector<std::size_t> members;
    for (std::size_t i = 0; i < w.pending.size(); ++i)
      if (level[i] == l) members.push_back(i);
    if (members.empty()) continue;
    if (l % 2 != 0) {
      strip_region(w, segment, members, needs, strip_class);
      continue;
    }
    Region region;
    std::map<std::size_t, std::size_t> nest_of;
    for (const std::size_t i : members) {
      Sink& s = *w.pending[i];
      choose_lane(s);
      // Every sink that is not in a region of strips comes after all sinks before it that it needs.
      std::size_t first = 0;
      for (const Need& n : needs[i])
        if (const auto at = nest_of.find(n.on); at != nest_of.end()) first = std::max(first, at->second + (shares_nest(w, i, n) ? 0 : 1));
      std::size_t n = first;
      while (n < region.nests.size() && !(joins(region.nests[n], s) && same_lane(region.nests[n], s))) ++n;
      if (n == region.nests.size())
        region.nests.push_back(new_nest(s, -1));
      else
        join(region.nests[n], s, -1);
      nest_of[i] = n;
      place(s);
    }
    segment.regions.push_back(std::move(region));
  }
}

/// What `i` needs is there at the same point of the nest.
bool BlockPlanner::shares_nest(const Work& w, std::size_t i, const Need& n) const {
  const SinkKind kind = w.pending[n.on]->kind;
  return n.point && (w.pending[i]->kind == SinkKind::Carried || kind == SinkKind::Tile || kind == SinkKind::Product);
}

/// The sink would have the nest's lane axis in lanes too, or loses little by it.
bool BlockPlanner::same_lane(const Nest& nest, const Sink& s) const {
  const Sink& first = *nest.sinks.front();
  if (first.kind == SinkKind::Product || first.ordered || s.ordered || first.lane < 0 || first.across >= 0 || s.across >= 0) return false;
  if (first.kind == SinkKind::Unit || first.kind == SinkKind::Fold || first.kind == SinkKind::Whole) return false;
  if (s.kind == SinkKind::Operand || first.kind == SinkKind::Operand || s.kind == SinkKind::Unit) return false;
  const int c = analysis_.axis_class(first.value, static_cast<std::size_t>(first.lane));
  for (std::size_t a = 0; a < s.space.size(); ++a)
    if (s.space[a] != 1 && analysis_.axis_class(s.value, a) == c) return static_cast<int>(a) == s.lane;
  return false;
}

}  // namespace tessera::cpu
