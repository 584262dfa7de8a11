// Which axis of a segment's products lies in lanes, and how their operands get there.
//
// Either one axis class runs in strips through the whole segment (a reduction over j in the loop then puts the other axis in lanes, so that
// row maxima and sums are vertical), or every sink takes the lanes that suit it alone.
#include <algorithm>

#include "codegen/cpu/operand.h"
#include "codegen/cpu/plan_block.h"
#include "dsl/diagnostic.h"

namespace tessera::cpu {

using ir::Op;
using ir::OpKind;
using ir::Value;

namespace {

const Value* operand_value(const Op& dot, std::size_t i) { return dot.operands[i == 0 ? 0 : dot.kind == OpKind::Dot ? 1 : 2]; }

Product product_of(const Op& dot, const VectorTarget& t) {
  if (dot.kind == OpKind::DotScaled) return Product::F32;
  const DType a = dtype(dot.operands[0]);
  // A product over a single k has no second element to pair with: it is computed in f32.
  if (is_float(a) && a != DType::F64 && dims(dot.operands[0])[1] == 1) return Product::F32;
  return product_for(a, dtype(dot.operands[1]), t);
}

/// The register block of a product with so few rows: what rows leave free, vectors take.
RegisterBlock block_for(Product p, const VectorTarget& target, std::int64_t rows) {
  RegisterBlock b = register_block(p, target);
  if (2 * rows <= b.rows) b = {b.rows / 2, b.vectors * 2};
  return b;
}

/// Lane vectors of a strip: as many as the register block holds, evenly shared among the strips.
int strip_vectors(std::int64_t extent, RegisterBlock block) {
  const std::int64_t vectors = (extent + kLanes - 1) / kLanes;
  const std::int64_t strips = (vectors + block.vectors - 1) / block.vectors;
  return static_cast<int>((vectors + strips - 1) / strips);
}

}  // namespace

/// Few rows against a tile that lies along k: dot products with k in lanes read the tile once, as it lies.
bool BlockPlanner::is_inner(const Work& w, const Sink& s) const {
  if (s.op->kind != OpKind::Dot || s.space[0] > kInnerRows) return false;
  const Product p = product_of(*s.op, plan_.target_);
  const Value* b = s.op->operands[1];
  const DType t = dtype(b);
  if (!(p == Product::F32 && t == DType::F32) && !(p == Product::BF16Pair && t == DType::BF16)) return false;
  const std::int64_t k = dims(b)[0];
  if (k % (kLanes * unit_k(p)) != 0 || dims(b)[1] < kLanes || hoisted_to(b) != w.block) return false;
  const auto unit = contiguous_axis(b);
  const auto tile = loaded_tile(analysis_, b);
  return tile && !tile->changing && unit && *unit == 0;
}

double BlockPlanner::product_cost(const Work& w, const Sink& s, int lane) const {
  const Product p = product_of(*s.op, plan_.target_);
  const auto l = static_cast<std::size_t>(lane);
  const RegisterBlock block = block_for(p, plan_.target_, s.space[1 - l]);
  const double k = static_cast<double>(dims(s.op->operands[0])[1]);
  const double rows = static_cast<double>(s.space[1 - l]);
  const double extent = static_cast<double>(s.space[l]);
  const int vectors = strip_vectors(s.space[l], block);
  const double strips = (extent + vectors * kLanes - 1) / (vectors * kLanes);
  // Few vectors a row leave the multipliers waiting for broadcasts.
  const double waiting = vectors >= std::min(3, block.vectors) ? 1 : vectors == 2 ? 1.15 : 1.6;
  double total = rows * k / unit_k(p) * static_cast<std::int64_t>(strips) * vectors * waiting;
  if (lane == 1 && is_inner(w, s)) return rows * k * extent / kLanes / unit_k(p) * 1.1 + 3 * rows * extent;
  auto in_this_block = [&](const Value* v) { return hoisted_to(v) == w.block; };
  const Value* along = operand_value(*s.op, l);
  if (in_this_block(along)) {
    const auto unit = contiguous_axis(along);
    // contiguous: row copies; across: transposes; computed: it is written where it is wanted.
    total += k * extent / kLanes * (!unit ? 1 : *unit == l ? 1.5 : 8);
  }
  const Value* across = operand_value(*s.op, 1 - l);
  if (in_this_block(across)) {
    const auto unit = contiguous_axis(across);
    const std::size_t k_axis = 1 - l == 0 ? 1 : 0;
    const bool as_it_is = unit && (unit_k(p) == 1 || *unit == k_axis);
    if (!as_it_is) total += k * rows / kLanes * 1.5;
  }
  return total;
}

double BlockPlanner::segment_cost(const Work& w, int strip_class) const {
  double total = 0;
  for (const Sink* s : w.pending) {
    const int axis = strip_axis(*s, strip_class);
    if (s->kind == SinkKind::Product)
      total += axis >= 0 ? product_cost(w, *s, axis) : std::min(product_cost(w, *s, 0), product_cost(w, *s, 1));
    else if (s->value)
      total += cost(*s, axis >= 0 ? axis : best_lane(*s));
  }
  return total;
}

int BlockPlanner::choose_strip_class(const Work& w) const {
  std::set<int> classes;
  for (const Sink* s : w.pending) {
    if (s->kind != SinkKind::Product) continue;
    for (std::size_t a = 0; a < 2; ++a)
      if (s->space[a] > 1) classes.insert(analysis_.axis_class(s->target, a));
  }
  int best = -1;
  double least = segment_cost(w, -1);
  for (const int c : classes) {
    const double total = segment_cost(w, c);
    if (total <= least) {
      least = total;
      best = c;
    }
  }
  return best;
}

/// The innermost block whose loops change `v`: an operand may be packed there, once for all that is inside.
const ir::Block* BlockPlanner::hoisted_to(const Value* v) const {
  auto depth = [](const ir::Block* b) {
    int d = 0;
    for (; b->parent; b = b->parent->parent) ++d;
    return d;
  };
  const ir::Block* home = Analysis::home_block(v);
  const bool passes =
      v->def && (!ir::is_tile(v->type) || analysis_.lazy(v)) && !(v->def->kind == OpKind::Load && analysis_.changes(v->def->operands[0]));
  if (!passes) return home;
  const ir::Block* deepest = &analysis_.kernel().body;
  for (const Value* o : v->def->operands) {
    const ir::Block* b = hoisted_to(o);
    if (depth(b) > depth(deepest)) deepest = b;
  }
  return deepest;
}

const Sink* BlockPlanner::packed_before(const Sink& sink, const ProductPlan& p, const ir::Block* home) const {
  for (const auto& [block, other] : packed_) {
    if (block != home || other->value != sink.value || other->operand != sink.operand) continue;
    const ProductPlan& q = plan_.products_.at(other->op);
    const bool same_strips = q.transposed == p.transposed && q.block.vectors == p.block.vectors;
    if (q.product == p.product && same_strips && q.operand[sink.operand] == p.operand[sink.operand]) return other;
  }
  return nullptr;
}

void BlockPlanner::plan_operands(Work& w, const Sink& s, std::vector<Sink*>& before) {
  ProductPlan p;
  p.product = product_of(*s.op, plan_.target_);
  p.transposed = s.lane == 0;
  const auto l = static_cast<std::size_t>(s.lane);
  p.block = block_for(p.product, plan_.target_, s.space[1 - l]);
  p.block.vectors = strip_vectors(s.space[l], p.block);
  p.inner = s.lane == 1 && is_inner(w, s);
  if (p.inner) p.block.vectors = 1;
  for (std::size_t i = 0; i < 2; ++i) {
    const Value* v = operand_value(*s.op, i);
    if (p.inner && i == 1) continue;  // read as it lies
    OperandPlan& o = p.operand[i];
    const int row_axis = i == 0 ? 0 : 1;
    o.k_axis = 1 - row_axis;
    if (i == l) {
      o.lane_axis = row_axis;
      o.layout = whole_layout(dims(v), o.lane_axis);
      o.layout.strip = static_cast<std::int64_t>(p.block.vectors) * kLanes;
    } else {
      // Broadcast: along k where memory is, so that pairs are there already; else along the rows.
      const auto unit = contiguous_axis(v);
      const bool by_rows = unit && static_cast<int>(*unit) == row_axis && dims(v)[*unit] > 1;
      o.lane_axis = by_rows ? row_axis : o.k_axis;
      o.layout = whole_layout(dims(v), o.lane_axis);
      // Packing writes whole vectors of units.
      if (!by_rows) o.layout.strip = round_up(dims(v)[static_cast<std::size_t>(o.k_axis)], static_cast<std::int64_t>(kLanes) * unit_k(p.product));
    }
    auto sink = std::make_unique<Sink>();
    sink->kind = SinkKind::Operand;
    sink->op = s.op;
    sink->value = v;
    sink->operand = i;
    sink->space = dims(v);
    sink->lane = o.lane_axis;
    sink->position = s.position;
    const ir::Block* home = hoisted_to(v);
    if (s.op->kind == OpKind::DotScaled && home != w.block) home = w.block;
    if (home != w.block) {
      if (const Sink* other = packed_before(*sink, p, home)) {
        plan_.shared_operands_[{s.op, i}] = {other->op, other->operand};
        continue;
      }
      packed_.emplace_back(home, sink.get());
      hoisted_.emplace_back(home, std::move(sink));
    } else {
      before.push_back(sink.get());
      w.plan->sinks.push_back(std::move(sink));
    }
  }
  plan_.products_[s.op] = p;
}

void BlockPlanner::plan_products(Work& w, int strip_class) {
  std::vector<Sink*> all;
  for (Sink* s : w.pending) {
    if (s->kind == SinkKind::Product) {
      s->lane = strip_axis(*s, strip_class);
      if (s->lane < 0) s->lane = product_cost(w, *s, 0) < product_cost(w, *s, 1) ? 0 : 1;
      plan_operands(w, *s, all);
    }
    all.push_back(s);
  }
  w.pending = std::move(all);
}

}  // namespace tessera::cpu
