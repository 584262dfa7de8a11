#include "codegen/cpu/analysis.h"

#include <algorithm>

#include "dsl/diagnostic.h"

namespace tessera::cpu {

using ir::Attr;
using ir::Op;
using ir::OpKind;
using ir::Value;

AxisMap Analysis::identity(std::size_t rank) {
  AxisMap m(rank);
  for (std::size_t i = 0; i < rank; ++i) m[i] = static_cast<int>(i);
  return m;
}

bool Analysis::lazy_op(const Op& op) {
  switch (op.kind) {
    case OpKind::Const:
    case OpKind::Iota:
    case OpKind::Sym:
    case OpKind::Coords:
    case OpKind::Inside:
    case OpKind::Broadcast:
    case OpKind::Reshape:
    case OpKind::Permute:
    case OpKind::Slice:
    case OpKind::Concat:
    case OpKind::Pick:
    case OpKind::Load:
    case OpKind::Extent: return true;
    default: return ir::has(op.kind, ir::ElementwiseBit);
  }
}

namespace {

/// The axes of `from` and `to` that correspond one to one: equal sequences of dims that are not 1. Empty if the reshape does more.
std::optional<std::vector<std::pair<std::size_t, std::size_t>>> matched_axes(const ir::Dims& from, const ir::Dims& to) {
  std::vector<std::pair<std::size_t, std::size_t>> pairs;
  std::size_t j = 0;
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (from[i] == 1) continue;
    while (j < to.size() && to[j] == 1) ++j;
    if (j == to.size() || to[j] != from[i]) return std::nullopt;
    pairs.emplace_back(i, j++);
  }
  while (j < to.size())
    if (to[j++] != 1) return std::nullopt;
  return pairs;
}

/// Leading dims that a general reshape leaves alone: both sides agree on them, and the rest has equal sizes.
std::size_t common_prefix(const ir::Dims& from, const ir::Dims& to) {
  std::size_t n = 0;
  while (n < from.size() && n < to.size() && from[n] == to[n]) ++n;
  return n;
}

AxisMap elementwise_map(const ir::Dims& operand, const AxisMap& map) {
  AxisMap m(operand.size(), kNoAxis);
  if (operand.size() != map.size()) return m;  // a scalar
  for (std::size_t i = 0; i < m.size(); ++i)
    if (operand[i] != 1) m[i] = map[i];
  return m;
}

}  // namespace

std::vector<AxisMap> Analysis::operand_maps(const Op& op, const AxisMap& map) {
  std::vector<AxisMap> maps(op.operands.size());
  auto rank = [&](std::size_t i) { return dims(op.operands[i]).size(); };
  switch (op.kind) {
    case OpKind::Reshape: {
      const ir::Dims& from = dims(op.operands[0]);
      const ir::Dims& to = dims(op.result());
      maps[0].assign(from.size(), kNoAxis);
      if (const auto pairs = matched_axes(from, to)) {
        for (const auto& [i, j] : *pairs) maps[0][i] = map[j];
        return maps;
      }
      const std::size_t same = common_prefix(from, to);
      for (std::size_t i = 0; i < from.size(); ++i)
        if (from[i] != 1) maps[0][i] = i < same ? map[i] : kMisaligned;
      return maps;
    }
    case OpKind::Permute: {
      maps[0].assign(rank(0), kNoAxis);
      const ir::Dims& perm = op.dims_attr(Attr::Perm);
      for (std::size_t i = 0; i < perm.size(); ++i) maps[0][static_cast<std::size_t>(perm[i])] = map[i];
      return maps;
    }
    case OpKind::Slice:
    case OpKind::Concat:
    case OpKind::Pick: {
      const auto axis = static_cast<std::size_t>(op.int_attr(Attr::Axis));
      for (std::size_t o = 0; o < op.operands.size(); ++o) {
        if (op.kind == OpKind::Pick && o == 1) continue;
        const ir::Dims& from = dims(op.operands[o]);
        maps[o] = elementwise_map(from, map);
        const bool same = op.kind == OpKind::Slice && op.int_attr(Attr::Offset) == 0 && from[axis] == dims(op.result())[axis];
        if (from[axis] != 1 && !same) maps[o][axis] = kMisaligned;
      }
      return maps;
    }
    case OpKind::Load: {
      int ranges = 0;
      for (std::size_t i = 1; i < op.operands.size(); ++i) ranges += ir::is_range(op.operands[i]->type) ? 1 : 0;
      std::size_t result_axis = 0;
      for (std::size_t i = 1; i < op.operands.size(); ++i) {
        const Value* index = op.operands[i];
        if (ir::is_range(index->type)) {
          ++result_axis;
        } else if (rank(i) > 0) {
          maps[i] = ranges == 0 ? elementwise_map(dims(index), map) : AxisMap{dims(index)[0] == 1 ? kNoAxis : map[result_axis]};
          if (ranges != 0) ++result_axis;
        }
      }
      return maps;
    }
    default:
      for (std::size_t i = 0; i < op.operands.size(); ++i)
        if (ir::is_tile(op.operands[i]->type)) maps[i] = elementwise_map(dims(op.operands[i]), map);
      return maps;
  }
}

// --- axis classes: union-find over (value, axis)

struct Analysis::Classes {
  std::vector<int> parent;
  std::map<const Value*, std::vector<int>> nodes;

  std::vector<int>& of(const Value* v) {
    std::vector<int>& n = nodes[v];
    if (n.empty()) {
      for (std::size_t i = 0; i < dims(v).size(); ++i) {
        n.push_back(static_cast<int>(parent.size()));
        parent.push_back(static_cast<int>(parent.size()));
      }
    }
    return n;
  }
  int find(int x) {
    while (parent[static_cast<std::size_t>(x)] != x)
      x = parent[static_cast<std::size_t>(x)] = parent[static_cast<std::size_t>(parent[static_cast<std::size_t>(x)])];
    return x;
  }
  void join(const Value* a, std::size_t i, const Value* b, std::size_t j) {
    if (dims(a)[i] != dims(b)[j] || dims(a)[i] == 1) return;
    const int x = find(of(a)[i]);
    const int y = find(of(b)[j]);
    parent[static_cast<std::size_t>(x)] = y;
  }
  void join_all(const Value* a, const Value* b) {
    for (std::size_t i = 0; i < dims(a).size(); ++i) join(a, i, b, i);
  }
};

void Analysis::unify(const Op& op, Classes& c) {
  auto x = [&](std::size_t i) { return static_cast<const Value*>(op.operands[i]); };
  switch (op.kind) {
    case OpKind::Dot:
      c.join(x(0), 0, op.result(), 0);
      c.join(x(1), 1, op.result(), 1);
      c.join(x(0), 1, x(1), 0);
      return;
    case OpKind::DotScaled:
      c.join(x(0), 0, op.result(), 0);
      c.join(x(2), 1, op.result(), 1);
      c.join(x(1), 0, x(0), 0);
      c.join(x(3), 1, x(2), 1);
      c.join(x(0), 1, x(2), 0);
      return;
    case OpKind::SolveLower: c.join_all(x(1), op.result()); return;
    case OpKind::Reduce:
    case OpKind::Scan:
    case OpKind::Sort:
    case OpKind::TopK:
      for (const auto& r : op.results) c.join_all(x(0), r.get());
      return;
    case OpKind::ReduceWith:
    case OpKind::ScanWith:
      for (std::size_t i = 0; i < op.operands.size() / 2; ++i) {
        c.join_all(x(0), x(i));
        c.join_all(x(0), op.result(i));
      }
      return;
    case OpKind::For: {
      const ir::Block& body = op.region();
      for (std::size_t i = 0; i < op.results.size(); ++i) {
        c.join_all(op.result(i), x(3 + i));
        c.join_all(op.result(i), body.args[1 + i].get());
        c.join_all(op.result(i), body.yielded()[i]);
      }
      return;
    }
    case OpKind::While:
      for (std::size_t i = 0; i < op.results.size(); ++i) {
        c.join_all(op.result(i), x(i));
        c.join_all(op.result(i), op.region(0).args[i].get());
        c.join_all(op.result(i), op.region(1).args[i].get());
        c.join_all(op.result(i), op.region(1).yielded()[i]);
      }
      return;
    case OpKind::If:
      for (std::size_t i = 0; i < op.results.size(); ++i)
        for (std::size_t r = 0; r < 2; ++r) c.join_all(op.result(i), op.region(r).yielded()[i]);
      return;
    case OpKind::Store:
      if (op.int_attr(Attr::Masked) != 0 && !dims(op.operands.back()).empty()) c.join_all(x(1), op.operands.back());
      return;
    case OpKind::FetchAdd: c.join_all(x(1), op.result()); return;
    default: break;
  }
  if (!lazy_op(op) || op.results.empty() || !ir::is_tile(op.result()->type) || dims(op.result()).empty()) return;
  const auto maps = operand_maps(op, identity(dims(op.result()).size()));
  for (std::size_t i = 0; i < maps.size(); ++i)
    for (std::size_t a = 0; a < maps[i].size(); ++a)
      if (maps[i][a] >= 0) c.join(x(i), a, op.result(), static_cast<std::size_t>(maps[i][a]));
}

namespace {

// Planning and evaluation walk lazy expressions from their users down, some of them as trees: these bound the stack and the time. Expressions
// that people write are far smaller.
constexpr std::int64_t kMostDepth = 128, kMostNodes = 1 << 14;

}  // namespace

/// A value at the end of too long a chain, or on top of too large a tree, is kept: to its users it is a leaf.
void Analysis::limit_reach(const Op& op) {
  if (op.results.empty()) return;
  const Value* v = op.result();
  const bool tile = ir::is_tile(v->type);
  if (tile && !lazy_op(op)) return;
  Reach r;
  for (const Value* o : op.operands) {
    const auto below = reach_.find(o);
    if (below == reach_.end()) continue;
    r.depth = std::max(r.depth, below->second.depth + 1);
    r.size = std::min(r.size + below->second.size, 2 * kMostNodes);
  }
  if (tile && (r.depth > kMostDepth || r.size > kMostNodes))
    stored_.insert(v);
  else
    reach_[v] = r;
}

void Analysis::collect(const ir::Block& block, Classes& classes) {
  for (const auto& arg : block.args)
    if (ir::is_tile(arg->type)) classes.of(arg.get());
  for (const auto& op : block.ops) {
    for (const Value* v : op->operands) uses_[v].push_back(op.get());
    for (const auto& r : op->results)
      if (ir::is_tile(r->type)) classes.of(r.get());
    for (const auto& region : op->regions) collect(*region, classes);
    limit_reach(*op);
    unify(*op, classes);
    const bool writes = op->kind == OpKind::Store || op->kind == OpKind::FetchAdd;
    if (writes) changing_.insert(param_of(op->operands[0]));
  }
}

Analysis::Analysis(const ir::Kernel& kernel) : kernel_(kernel) {
  std::size_t arg = 0;
  for (std::size_t p = 0; p < kernel.params.size(); ++p) {
    if (!kernel.params[p].present) continue;
    param_index_[kernel.body.args[arg++].get()] = p;
  }
  Classes classes;
  collect(kernel.body, classes);
  for (const auto& [written, read] : kernel.in_place) {
    for (std::size_t p = 0; p < kernel.params.size(); ++p)
      if (kernel.params[p].name == read) changing_.insert(p);
  }
  for (auto& [v, nodes] : classes.nodes) {
    std::vector<int>& out = axis_classes_[v];
    for (std::size_t i = 0; i < nodes.size(); ++i) out.push_back(dims(v)[i] == 1 ? -1 : classes.find(nodes[i]));
  }
}

const std::vector<const Op*>& Analysis::uses(const Value* v) const {
  static const std::vector<const Op*> none;
  const auto it = uses_.find(v);
  return it == uses_.end() ? none : it->second;
}

int Analysis::axis_class(const Value* v, std::size_t axis) const {
  const auto it = axis_classes_.find(v);
  TESSERA_ASSERT(it != axis_classes_.end(), "a value without axis classes");
  return it->second.at(axis);
}

std::size_t Analysis::param_of(const Value* view) const {
  while (view->def) view = view->def->operands[0];
  return param_index_.at(view);
}

bool Analysis::may_alias(const Value* a, const Value* b) const {
  const std::size_t p = param_of(a);
  const std::size_t q = param_of(b);
  if (p == q) return true;
  const std::string& x = kernel_.params[p].name;
  const std::string& y = kernel_.params[q].name;
  return std::any_of(kernel_.in_place.begin(), kernel_.in_place.end(),
                     [&](const auto& pair) { return (pair.first == x && pair.second == y) || (pair.first == y && pair.second == x); });
}

void Analysis::leaves(const Value* v, const AxisMap& map, const LeafVisitor& visit) const {
  Visited visited;
  walk_leaves(v, map, visit, visited);
}

void Analysis::walk_leaves(const Value* v, const AxisMap& map, const LeafVisitor& visit, Visited& visited) const {
  if (!visited.emplace(v, map).second) return;
  if (!ir::is_tile(v->type)) {
    // Ranges and views: their scalars and index tiles are read too.
    if (v->def)
      for (const Value* o : v->def->operands) walk_leaves(o, ir::is_tile(o->type) ? AxisMap(dims(o).size(), kMisaligned) : AxisMap{}, visit, visited);
    return;
  }
  if (!lazy(v)) return visit(v, map);
  const Op& op = *v->def;
  if (op.kind == OpKind::Load && changes(op.operands[0])) visit(v, map);
  if (op.operands.empty()) return;
  const auto maps = operand_maps(op, map);
  for (std::size_t i = 0; i < op.operands.size(); ++i) walk_leaves(op.operands[i], maps[i], visit, visited);
}

void Analysis::leaves(const Value* v, const LeafVisitor& visit) const {
  leaves(v, ir::is_tile(v->type) ? identity(dims(v).size()) : AxisMap{}, visit);
}

bool Analysis::non_negative(const Value* v) const {
  if (!ir::is_tile(v->type)) return false;
  if (!v->def) {
    const ir::Block& block = *v->block;
    if (!block.parent) return param_index_.count(v) == 0;  // a grid index
    if (block.parent->kind == OpKind::For && v->index == 0) return non_negative(block.parent->operands[0]);
    return false;
  }
  if (stored(v)) return false;
  const Op& op = *v->def;
  switch (op.kind) {
    case OpKind::Const: return ir::constant_int(v).value_or(-1) >= 0;
    case OpKind::Sym:
    case OpKind::Extent:
    case OpKind::Iota: return true;
    case OpKind::Add:
    case OpKind::Mul:
    case OpKind::Div:
    case OpKind::Mod:
    case OpKind::Min: return dtype(v) == DType::Idx && non_negative(op.operands[0]) && non_negative(op.operands[1]);
    case OpKind::Max: return non_negative(op.operands[0]) || non_negative(op.operands[1]);
    case OpKind::Reshape:
    case OpKind::Broadcast: return non_negative(op.operands[0]);
    default: return false;
  }
}

bool Analysis::starts_inside(const Op& range) const {
  const Value* start = range.operands[0];
  const Value* lo = range.operands[1];
  if (start == lo) return true;
  if (!start->def && start->block->parent && start->block->parent->kind == OpKind::For && start->index == 0 &&
      start->block->parent->operands[0] == lo)
    return true;
  const auto a = ir::constant_int(start);
  const auto b = ir::constant_int(lo);
  if (a && b) return *a >= *b;
  return b && *b <= 0 && non_negative(start);
}

bool Analysis::costly(const Value* v) const {
  if (!ir::is_tile(v->type) || !lazy(v)) return false;
  if (const auto it = costly_.find(v); it != costly_.end()) return it->second;
  bool& result = costly_[v];
  const Op& op = *v->def;
  switch (op.kind) {
    case OpKind::Exp:
    case OpKind::Exp2:
    case OpKind::Ln:
    case OpKind::Log2:
    case OpKind::Sqrt:
    case OpKind::Rsqrt:
    case OpKind::Rcp:
    case OpKind::Tanh:
    case OpKind::Sigmoid:
    case OpKind::Sin:
    case OpKind::Cos:
    case OpKind::Erf:
    case OpKind::Div:
    case OpKind::Mod: return result = elements(v) > 1;
    default: break;
  }
  bool any = false;
  for (const Value* o : op.operands) any = any || costly(o);
  return costly_[v] = any;
}

}  // namespace tessera::cpu
