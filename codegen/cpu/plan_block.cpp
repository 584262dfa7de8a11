#include "codegen/cpu/plan_block.h"

#include <algorithm>

#include "dsl/diagnostic.h"

namespace tessera::cpu {

using ir::Attr;
using ir::Op;
using ir::OpKind;
using ir::Value;

std::vector<const Value*> inputs(const Sink& s) {
  std::vector<const Value*> v;
  if (s.kind == SinkKind::Carried || s.kind == SinkKind::Initial || s.kind == SinkKind::Tile || s.kind == SinkKind::Operand) {
    v.push_back(s.value);
    return v;
  }
  for (const Value* o : s.op->operands) v.push_back(o);
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
  close_segment(w, nullptr);
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
      add(w, SinkKind::Fold, op, op.operands[0], op.result()).axis = static_cast<int>(op.int_attr(Attr::Axis)); return;
    case OpKind::Dot:
    case OpKind::DotScaled: plan_product(w, op); return;
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
  if (op.kind == OpKind::Load && analysis_.changes(op.operands[0])) {
    if (is_unit(v)) {
      analysis_.store_value(v);
      add(w, SinkKind::Unit, op, v, v);
      return;
    }
  }
  if (analysis_.stored(v)) add(w, SinkKind::Tile, op, v, v);
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
      for (const Value* v : inner.operands) {
        if (!ir::is_tile(v->type) || is_unit(v) || !analysis_.lazy(v)) continue;
        if (Analysis::home_block(v) != w.block || !worth(v)) continue;
        analysis_.store_value(v);
        changed_ = true;
      }
    });
  }
}

void BlockPlanner::plan_control(Work& w, const Op& op) {
  keep_values_used_inside(w, op);
  for (const auto& region : op.regions) plan_block(*region);
  const std::size_t first = op.kind == OpKind::For ? 3 : 0;
  if (op.kind != OpKind::If) {
    const ir::Block& body = op.region(op.regions.size() - 1);
    for (std::size_t i = 0; i < op.results.size(); ++i) {
      const Value* arg = body.args[i + (op.kind == OpKind::For ? 1 : 0)].get();
      if (!is_unit(arg)) add(w, SinkKind::Initial, op, op.operands[first + i], arg);
    }
  }
  close_segment(w, &op);
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
  // The new tile may take the old one's place only when nobody will read the old one: neither a later sink, nor its own at other elements.
  for (std::size_t i = 0; i < w.pending.size(); ++i) {
    Sink& s = *w.pending[i];
    if (s.kind != SinkKind::Carried) continue;
    for (std::size_t j = i; j < w.pending.size(); ++j)
      analysis_.leaves(w.pending[j]->value, [&](const Value* leaf, const AxisMap& map) {
        if (leaf == s.target && (j != i || std::find(map.begin(), map.end(), kMisaligned) != map.end() || !in_place(map, s.space))) s.staged = true;
      });
  }
}

void BlockPlanner::plan_product(Work& w, const Op& op) {
  ProductPlan p;
  const std::size_t bi = op.kind == OpKind::Dot ? 1 : 2;
  const Value* a = op.operands[0];
  const Value* b = op.operands[bi];
  // A product over a single k has no second element to pair with: it is computed in f32.
  const bool paired = dims(a)[1] > 1 || !is_float(dtype(a));
  p.product = op.kind == OpKind::Dot && (paired || dtype(a) == DType::F64) ? product_for(dtype(a), dtype(b), plan_.target_) : Product::F32;
  p.block = register_block(p.product, plan_.target_);
  const std::int64_t n = dims(b)[1];
  p.block.vectors = static_cast<int>(std::min<std::int64_t>(p.block.vectors, (n + kLanes - 1) / kLanes));
  p.operand[0].lane_axis = p.operand[0].k_axis = 1;
  p.operand[0].layout = whole_layout(dims(a), 1);
  p.operand[1].lane_axis = 1;
  p.operand[1].k_axis = 0;
  p.operand[1].layout = whole_layout(dims(b), 1);
  p.operand[1].layout.strip = static_cast<std::int64_t>(p.block.vectors) * kLanes;
  for (std::size_t i = 0; i < 2; ++i) {
    Sink& s = add(w, SinkKind::Operand, op, i == 0 ? a : b, nullptr);
    s.operand = i;
    s.lane = 1;
  }
  plan_.products_[&op] = p;
  Sink& s = add(w, SinkKind::Product, op, nullptr, op.result());
  s.space = dims(op.result());
  s.lane = 1;
}

/// Loads of changing memory stay lazy only where every sink that evaluates them runs before memory changes.
void BlockPlanner::check_loads(const Work& w) {
  std::map<const Value*, std::size_t> position;
  std::size_t n = 0;
  for (const auto& op : w.block->ops) {
    for (const auto& r : op->results) position[r.get()] = n;
    ++n;
  }
  auto keep = [&](const Value* load) {
    analysis_.store_value(load);
    changed_ = true;
  };
  for (const Sink* s : w.pending) {
    for (const Value* input : inputs(*s)) {
      analysis_.leaves(input, [&](const Value* leaf, const AxisMap&) {
        if (!analysis_.lazy(leaf) || leaf->def->kind != OpKind::Load) return;
        const auto at = position.find(leaf);
        if (at == position.end()) return keep(leaf);
        for (const auto& op : w.block->ops) {
          const std::size_t p = position.count(leaf) ? at->second : 0;
          (void)p;
          if (op.get() == s->op) break;
          bool writes = op->kind == OpKind::Store || op->kind == OpKind::FetchAdd;
          bool inside = false;
          for (const auto& region : op->regions)
            ir::walk(*region, [&](const Op& o) {
              if ((o.kind == OpKind::Store || o.kind == OpKind::FetchAdd) && analysis_.may_alias(o.operands[0], leaf->def->operands[0])) inside = true;
            });
          if (writes) writes = analysis_.may_alias(op->operands[0], leaf->def->operands[0]);
          if (!writes && !inside) continue;
          // Before the load: no matter.
          bool before = true;
          for (const auto& other : w.block->ops) {
            if (other.get() == op.get()) break;
            if (other.get() == leaf->def) before = false;
          }
          if (!before) return keep(leaf);
        }
        // A store that evaluates the load itself is safe only where it writes the very elements it reads.
        const bool writer = s->kind == SinkKind::Store || s->kind == SinkKind::FetchAdd;
        if (writer && analysis_.may_alias(s->op->operands[0], leaf->def->operands[0])) {
          const Op& load = *leaf->def;
          bool same = s->op->operands[0] == load.operands[0] && s->kind == SinkKind::Store;
          for (std::size_t i = 1; same && i < load.operands.size(); ++i)
            same = s->op->operands[i + 1] == load.operands[i] && (ir::is_range(load.operands[i]->type) || is_unit(load.operands[i]));
          if (!same) keep(leaf);
        }
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
