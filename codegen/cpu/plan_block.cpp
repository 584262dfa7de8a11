#include "codegen/cpu/plan_block.h"

#include <algorithm>
#include <functional>

#include "dsl/diagnostic.h"

namespace tessera::cpu {

using ir::Attr;
using ir::Op;
using ir::OpKind;
using ir::Value;

std::vector<Input> inputs(const Sink& s) {
  std::vector<Input> v;
  auto add = [&](const Value* x, bool own) {
    v.push_back({x, !ir::is_tile(x->type) ? AxisMap{} : own ? Analysis::identity(dims(x).size()) : AxisMap(dims(x).size(), kMisaligned)});
  };
  switch (s.kind) {
    case SinkKind::Carried:
    case SinkKind::Initial: add(s.value, true); break;
    case SinkKind::Operand:
      add(s.value, true);
      if (s.op->kind == OpKind::DotScaled) add(s.op->operands[s.operand == 0 ? 1 : 3], false);
      break;
    case SinkKind::Product: break;  // its operands' sinks evaluate all there is
    case SinkKind::Tile: {
      // The value itself is kept, so what it reads is what its definition does.
      const auto maps = Analysis::operand_maps(*s.op, Analysis::identity(s.space.size()));
      for (std::size_t i = 0; i < s.op->operands.size(); ++i) v.push_back({s.op->operands[i], maps[i]});
      break;
    }
    case SinkKind::Store:
      for (const Value* o : s.op->operands)
        add(o, o == s.value || (ir::is_tile(o->type) && s.op->int_attr(Attr::Masked) != 0 && o == s.op->operands.back()));
      break;
    case SinkKind::FetchAdd:
    case SinkKind::Reduce:
    case SinkKind::Fold:
    case SinkKind::Unit:
    case SinkKind::Assert:
    case SinkKind::Whole:
      for (const Value* o : s.op->operands) add(o, o == s.value);
      break;
  }
  return v;
}

bool BlockPlanner::plan(const ir::Block& block) {
  plan_block(block);
  return changed_;
}

Sink& BlockPlanner::add(Work& w, SinkKind kind, const Op& op, const Value* value, const Value* target) {
  auto s = std::make_unique<Sink>();
  s->kind = kind;
  s->op = &op;
  s->value = value;
  s->target = target;
  s->position = w.position;
  if (value) s->space = dims(value);
  w.pending.push_back(s.get());
  w.plan->sinks.push_back(std::move(s));
  return *w.pending.back();
}

void BlockPlanner::plan_block(const ir::Block& block) {
  auto owned = std::make_unique<BlockPlan>();
  Work w;
  w.block = &block;
  w.plan = owned.get();
  plan_.blocks_[&block] = std::move(owned);
  for (const auto& op : block.ops) {
    plan_op(w, *op);
    ++w.position;
  }
  w.last = true;
  close_segment(w, nullptr);
  keep_shared(*w.plan, block);
}

void BlockPlanner::keep_shared(const BlockPlan& plan, const ir::Block& block) {
  std::map<const Value*, std::set<const Nest*>> seen;
  for (const Segment& segment : plan.segments) {
    for (const Region& region : segment.regions) {
      for (const Nest& nest : region.nests) {
        std::int64_t points = 1;
        for (const NestLoop& loop : nest.loops) points *= loop.extent;
        std::set<const Value*> visited;
        std::function<void(const Value*)> visit = [&](const Value* v) {
          if (!ir::is_tile(v->type) || !analysis_.costly(v) || !visited.insert(v).second) return;
          // What the strip alone determines is made once for all nests of a region.
          const bool along_strip = region.strip > 0 && elements(v) <= region.extent;
          if (!along_strip && !is_unit(v)) seen[v].insert(&nest);
          for (const Value* o : v->def->operands) visit(o);
        };
        for (const Sink* s : nest.sinks)
          for (const Input& input : inputs(*s)) visit(input.value);
      }
    }
  }
  // Of a shared expression the value nearest to its users is kept: nothing above it is shared.
  for (const auto& [v, nests] : seen) {
    if (nests.size() < 2 || Analysis::home_block(v) != &block) continue;
    bool inner = false;
    for (const Op* use : analysis_.uses(v)) {
      if (use->results.empty()) continue;
      const auto above = seen.find(use->result());
      inner = inner || (above != seen.end() && above->second.size() >= nests.size());
    }
    if (inner) continue;
    analysis_.store_value(v);
    changed_ = true;
  }
}

void BlockPlanner::plan_op(Work& w, const Op& op) {
  switch (op.kind) {
    case OpKind::Store: {
      Sink& s = add(w, SinkKind::Store, op, op.operands[1], nullptr);
      bool gathers = op.int_attr(Attr::Add) != 0;
      for (std::size_t i = 2; i < op.operands.size(); ++i) gathers = gathers || (ir::is_tile(op.operands[i]->type) && !dims(op.operands[i]).empty());
      s.ordered = gathers && !(op.int_attr(Attr::Masked) != 0 && op.int_attr(Attr::Add) == 0);
      return;
    }
    case OpKind::FetchAdd: add(w, SinkKind::FetchAdd, op, op.operands[1], op.result()).ordered = true; return;
    case OpKind::Reduce: add(w, SinkKind::Reduce, op, op.operands[0], op.result()).axis = static_cast<int>(op.int_attr(Attr::Axis)); return;
    case OpKind::Scan:
    case OpKind::ReduceWith:
    case OpKind::ScanWith:
      for (const auto& region : op.regions) plan_block(*region);
      add(w, SinkKind::Fold, op, op.operands[0], op.result()).axis = static_cast<int>(op.int_attr(Attr::Axis));
      return;
    case OpKind::Dot:
    case OpKind::DotScaled: {
      Sink& s = add(w, SinkKind::Product, op, nullptr, op.result());
      s.space = dims(op.result());
      return;
    }
    case OpKind::Sort:
    case OpKind::TopK:
    case OpKind::Histogram:
    case OpKind::SolveLower: add(w, SinkKind::Whole, op, nullptr, op.result()); return;
    case OpKind::Assert: add(w, SinkKind::Assert, op, op.operands[0], nullptr); return;
    case OpKind::For:
    case OpKind::While:
    case OpKind::If: plan_control(w, op); return;
    case OpKind::Yield: plan_yield(w, op); return;
    case OpKind::Print:
    case OpKind::Claim:
    case OpKind::Signal:
    case OpKind::Wait: return;
    default: break;
  }
  if (op.results.empty() || !ir::is_tile(op.result()->type)) return;
  const Value* v = op.result();
  if (op.kind == OpKind::Load && analysis_.changes(op.operands[0]) && is_unit(v)) analysis_.store_value(v);
  if (analysis_.stored(v)) add(w, is_unit(v) ? SinkKind::Unit : SinkKind::Tile, op, v, v);
}

/// Values of the block that a loop inside evaluates again and again are kept instead, unless they are no more than a memory access or a
/// coordinate.
void BlockPlanner::keep_values_used_inside(Work& w, const Op& control) {
  const bool loop = control.kind != OpKind::If;
  auto worth = [&](const Value* v) {
    const Op& op = *v->def;
    if (op.kind == OpKind::Load) return analysis_.changes(op.operands[0]);
    return loop && analysis_.costly(v);
  };
  for (const auto& region : control.regions) {
    ir::walk(*region, [&](const Op& inner) {
      // Operands of products are packed once in front of the loop instead.
      if (inner.kind == OpKind::Dot) return;
      for (const Value* v : inner.operands) {
        if (!ir::is_tile(v->type) || is_unit(v) || !analysis_.lazy(v)) continue;
        if (Analysis::home_block(v) != w.block || !worth(v)) continue;
        analysis_.store_value(v);
        changed_ = true;
      }
    });
  }
}

/// Loops that were split go on where the first part ended: with its tile, if that lies as the next part wants it and nobody else does.
bool BlockPlanner::continues(const Work& w, const Op& op, const Value* start, const Value* arg) {
  if (op.kind != OpKind::For || !start->def || start->def->kind != OpKind::For || start->def->parent != w.block) return false;
  if (analysis_.uses(start).size() != 1) return false;
  const auto there = plan_.layouts_.find(start), here = plan_.layouts_.find(arg);
  if (there == plan_.layouts_.end() || here == plan_.layouts_.end() || !(there->second == here->second)) return false;
  plan_.continued_[arg] = start;
  return true;
}

void BlockPlanner::plan_control(Work& w, const Op& op) {
  keep_values_used_inside(w, op);
  const bool gemm = plan_gemm_loop(op);
  if (!gemm)
    for (const auto& region : op.regions) plan_block(*region);
  for (auto& [block, sink] : hoisted_) {
    if (block != w.block) continue;
    sink->position = w.position;
    w.pending.push_back(sink.get());
    w.plan->sinks.push_back(std::move(sink));
  }
  std::erase_if(hoisted_, [](const auto& h) { return !h.second; });
  const std::size_t first = op.kind == OpKind::For ? 3 : 0;
  const bool fills = gemm && plan_.gemm_loops_.at(&op).from_zero;  // the product writes all of its tile
  if (op.kind != OpKind::If && !fills) {
    const ir::Block& body = op.region(op.regions.size() - 1);
    for (std::size_t i = 0; i < op.results.size(); ++i) {
      const Value* arg = body.args[i + (op.kind == OpKind::For ? 1 : 0)].get();
      const Value* start = op.operands[first + i];
      if (!is_unit(arg) && !continues(w, op, start, arg)) add(w, SinkKind::Initial, op, start, arg);
    }
  }
  close_segment(w, &op);
  // What the loop or the branch leaves lies as its tiles do inside.
  if (op.kind == OpKind::If) return;
  const ir::Block& body = op.region(op.regions.size() - 1);
  for (std::size_t i = 0; i < op.results.size(); ++i) {
    const auto known = plan_.layouts_.find(body.args[i + (op.kind == OpKind::For ? 1 : 0)].get());
    if (known != plan_.layouts_.end()) plan_.layouts_[op.result(i)] = Layout(known->second);
  }
}

namespace {

/// Every axis of the tile is the same axis of the sink: what an element becomes depends on that element alone.
bool in_place(const AxisMap& map, const ir::Dims& space) {
  for (std::size_t i = 0; i < map.size(); ++i)
    if (space[i] != 1 && map[i] != static_cast<int>(i)) return false;
  return true;
}

}  // namespace

void BlockPlanner::plan_yield(Work& w, const Op& op) {
  const Op* parent = w.block->parent;
  if (!parent) return;
  if (parent->kind == OpKind::While && w.block == &parent->region(0)) return;
  if (parent->kind != OpKind::For && parent->kind != OpKind::While && parent->kind != OpKind::If) return;
  for (std::size_t i = 0; i < op.operands.size(); ++i) {
    const Value* v = op.operands[i];
    if (is_unit(v)) continue;
    const Value* target = parent->kind == OpKind::If ? parent->result(i) : w.block->args[i + (parent->kind == OpKind::For ? 1 : 0)].get();
    if (v == target) continue;
    add(w, SinkKind::Carried, op, v, target);
  }
  order_carried(w);
}

/// The new tile may take the old one's place when nobody will read the old one any more: sinks that are read by others come after those.
/// Where tiles change places in a circle, or a tile reads itself at other elements, one goes through a second buffer.
void BlockPlanner::order_carried(Work& w) const {
  const auto first = std::find_if(w.pending.begin(), w.pending.end(), [](const Sink* s) { return s->kind == SinkKind::Carried; });
  std::vector<Sink*> rest(first, w.pending.end());
  w.pending.erase(first, w.pending.end());
  auto reads = [&](const Sink& s, const Value* tile, bool elsewhere) {
    bool any = false;
    analysis_.leaves(s.value, [&](const Value* leaf, const AxisMap& map) { any = any || (leaf == tile && (!elsewhere || !in_place(map, s.space))); });
    return any;
  };
  while (!rest.empty()) {
    auto next = std::find_if(rest.begin(), rest.end(), [&](const Sink* s) {
      return std::none_of(rest.begin(), rest.end(), [&](const Sink* other) { return other != s && reads(*other, s->target, false); });
    });
    if (next == rest.end()) {
      next = rest.begin();
      (*next)->staged = true;
    }
    if (reads(**next, (*next)->target, true)) (*next)->staged = true;
    w.pending.push_back(*next);
    rest.erase(next);
  }
}

namespace {

bool writes_memory(const Op& op) { return op.kind == OpKind::Store || op.kind == OpKind::FetchAdd; }

/// The op, or one inside it, may write the memory of `view`.
bool writes(const Analysis& analysis, const Op& op, const Value* view) {
  if (writes_memory(op)) return analysis.may_alias(op.operands[0], view);
  bool any = false;
  for (const auto& region : op.regions)
    ir::walk(*region, [&](const Op& inner) { any = any || (writes_memory(inner) && analysis.may_alias(inner.operands[0], view)); });
  return any;
}

/// The same view, or two parameters that lie in the same memory if they share any.
bool same_memory(const Analysis& analysis, const Value* a, const Value* b) { return a == b || (!a->def && !b->def && analysis.may_alias(a, b)); }

/// The store writes the very elements that the load reads, one for one.
bool same_elements(const Analysis& analysis, const Op& store, const Op& load) {
  if (store.kind != OpKind::Store || !same_memory(analysis, store.operands[0], load.operands[0])) return false;
  for (std::size_t i = 1; i < load.operands.size(); ++i) {
    const Value* index = load.operands[i];
    if (store.operands[i + 1] != index || !(ir::is_range(index->type) || is_unit(index))) return false;
  }
  return true;
}

}  // namespace

/// Loads of changing memory stay lazy only where every sink that evaluates them runs before memory changes.
void BlockPlanner::check_loads(const Work& w) {
  std::map<const Op*, std::size_t> position;
  for (const auto& op : w.block->ops) position.emplace(op.get(), position.size());
  auto keep = [&](const Value* load) {
    analysis_.store_value(load);
    changed_ = true;
  };
  for (const Sink* s : w.pending) {
    for (const Input& input : inputs(*s)) {
      analysis_.leaves(input.value, [&](const Value* leaf, const AxisMap&) {
        if (!analysis_.lazy(leaf)) return;
        const Value* view = leaf->def->operands[0];
        const auto at = position.find(leaf->def);
        if (at == position.end()) return keep(leaf);
        for (std::size_t p = at->second + 1; p < s->position; ++p)
          if (writes(analysis_, *w.block->ops[p], view)) return keep(leaf);
        if (writes_memory(*s->op) && analysis_.may_alias(s->op->operands[0], view) && !same_elements(analysis_, *s->op, *leaf->def)) keep(leaf);
      });
    }
  }
}

void BlockPlanner::close_segment(Work& w, const Op* control) {
  check_loads(w);
  Segment segment;
  segment.control = control;
  make_regions(w, segment);
  w.plan->segments.push_back(std::move(segment));
  w.pending.clear();
}

}  // namespace tessera::cpu
