#include "codegen/passes/pad_model.h"

#include <algorithm>

#include "dsl/diagnostic.h"

namespace tessera::ir {

namespace {

std::map<const Value*, Abstract> constants_of(const Guards& guards) {
  std::map<const Value*, Abstract> out;
  for (const auto& [v, list] : guards)
    for (const Guard& g : list) {
      auto [it, fresh] = out.emplace(v, exactly(g.value));
      if (!fresh) it->second = join(it->second, exactly(g.value));
    }
  return out;
}

/// Whether `v` varies along the axis; a dim of 1 is stretched.
bool spans(const Value* v, int axis) {
  const Dims& dims = tile(v->type).dims;
  return static_cast<std::size_t>(axis) < dims.size() && dims[static_cast<std::size_t>(axis)] != 1;
}

bool is_shape(OpKind k) { return k == OpKind::Reshape || k == OpKind::Permute || k == OpKind::Broadcast; }
bool along(const Op& op, int axis) { return op.int_attr(Attr::Axis) == axis; }

}  // namespace

std::optional<std::vector<Atom>> mask_atoms(const Value* mask) {
  const Op* op = mask->def;
  if (!op) return std::nullopt;
  if (op->kind == OpKind::Inside) {
    if (tile(mask->type).dims[0] == 1) return std::nullopt;
    return std::vector<Atom>{{op->operands[0], 0}};
  }
  if (op->kind == OpKind::And) {
    auto a = mask_atoms(op->operands[0]), b = mask_atoms(op->operands[1]);
    if (!a || !b) return std::nullopt;
    for (const Atom& x : *b)
      if (std::find(a->begin(), a->end(), x) == a->end()) a->push_back(x);
    return a;
  }
  if (!is_shape(op->kind)) return std::nullopt;
  auto a = mask_atoms(op->operands[0]);
  if (!a) return std::nullopt;
  for (Atom& x : *a) {
    x.axis = axis_in_result(*op, x.axis);
    if (x.axis < 0) return std::nullopt;
  }
  return a;
}

ValueClasses guarded_classes(const Block& body, const Guards& guards) { return ValueClasses(body, constants_of(guards)); }

Abstract PadModel::state(const Value* v, Atom atom) {
  if (!spans(v, atom.axis)) return classes_.of(v);
  if (auto it = guards_.find(v); it != guards_.end())
    for (const Guard& g : it->second)
      if (g.atom == atom) return exactly(g.value);
  auto it = known_.find({v, atom});
  if (it == known_.end()) it = known_.emplace(std::pair(v, atom), compute(v, atom)).first;
  return it->second;
}

Abstract PadModel::compute(const Value* v, Atom atom) {
  const Op* op = v->def;
  if (!op) return classes_.of(v);
  const DType t = tile(v->type).dtype;
  auto at = [&](int axis) { return Atom{atom.range, axis}; };
  auto operand = [&](std::size_t i, int axis) { return state(op->operands[i], at(axis)); };
  if (has(op->kind, Trait::Elementwise)) {
    std::vector<Abstract> x;
    for (const Value* o : op->operands) x.push_back(state(o, atom));
    if (op->kind == OpKind::Select && !x[0].value)
      for (std::size_t i : {1U, 2U}) x[i] = refine(op->operands[0], i == 1, op->operands[i], x[i]);
    return transfer(*op, x);
  }
  switch (op->kind) {
    case OpKind::Inside:
      if (op->operands[0] == atom.range) return exactly({DType::Bool, 0, 0});
      break;
    case OpKind::Broadcast:
    case OpKind::Reshape:
    case OpKind::Permute: {
      int axis = axis_in_operand(*op, atom.axis);
      if (axis >= 0) return operand(0, axis);
      break;
    }
    case OpKind::Slice:
    case OpKind::Sort:
      if (!along(*op, atom.axis)) return operand(0, atom.axis);
      break;
    case OpKind::Concat:
      if (!along(*op, atom.axis)) {
        Abstract j = operand(0, atom.axis);
        for (std::size_t i = 1; i < op->operands.size(); ++i) j = join(j, operand(i, atom.axis));
        return j;
      }
      break;
    case OpKind::Reduce: return fold_of(static_cast<ReduceKind>(op->int_attr(Attr::Kind)), operand(0, atom.axis), t);
    case OpKind::Scan:
      if (!along(*op, atom.axis) && op->int_attr(Attr::Exclusive) == 0)
        return fold_of(static_cast<ReduceKind>(op->int_attr(Attr::Kind)), operand(0, atom.axis), t);
      break;
    case OpKind::Dot: {
      // Rows of a and columns of b are those of the result.
      const std::size_t mine = atom.axis == 0 ? 0 : 1;
      const Abstract& other = classes_.of(op->operands[1 - mine]);
      if (operand(mine, atom.axis).within(kZero) && other.within(kFinite)) return exactly({t, 0.0, 0});
      break;
    }
    case OpKind::Load: {
      const auto ranges = axis_ranges(*op);
      if (ranges[static_cast<std::size_t>(atom.axis)] != atom.range) break;
      if (op->int_attr(Attr::Zero) != 0) return exactly({t, 0.0, 0});
      if (unspecified_.count(op)) return anything(t);
      zeroed_.insert(op);
      return exactly({t, 0.0, 0});
    }
    case OpKind::If: {
      const std::size_t i = v->index;
      return join(state(op->region(0).yielded()[i], atom), state(op->region(1).yielded()[i], atom));
    }
    default: break;
  }
  return classes_.of(v);
}

bool PadModel::observed(const Value* v, Atom atom) {
  std::set<std::pair<const Value*, int>> seen;
  std::vector<Place> work{{v, atom.axis}};
  while (!work.empty()) {
    Place p = work.back();
    work.pop_back();
    if (!seen.insert({p.value, p.axis}).second) continue;
    auto it = uses_.find(p.value);
    if (it == uses_.end()) continue;
    for (const Use& use : it->second)
      if (use_observes(use, p, atom, work)) return true;
  }
  return false;
}

/// Whether the use itself looks; else the places it passes the elements on to are added to `next`.
bool PadModel::use_observes(const Use& use, Place at, Atom atom, std::vector<Place>& next) {
  const Op& op = *use.op;
  auto pass = [&](int axis, std::size_t result = 0) {
    if (axis < 0) return true;
    next.push_back({op.result(result), axis});
    return false;
  };
  // A range made in a loop is another one in the next trip.
  auto carried = [&](const Op& loop, std::size_t i) {
    if (!visible(atom.range, loop)) return true;
    next.push_back({loop.result(i), at.axis});
    next.push_back({loop.region().args[1 + i].get(), at.axis});
    return false;
  };
  if (has(op.kind, Trait::Elementwise)) {
    if (op.kind == OpKind::Select && use.index > 0) {
      Abstract c = state(op.operands[0], {atom.range, at.axis});
      if (c.value && (c.value->i != 0) != (use.index == 1)) return false;
    }
    return pass(at.axis);
  }
  switch (op.kind) {
    case OpKind::Broadcast:
    case OpKind::Reshape:
    case OpKind::Permute: return pass(axis_in_result(op, at.axis));
    case OpKind::Slice:
    case OpKind::Concat:
    case OpKind::Reduce:
    case OpKind::Scan:
    case OpKind::Sort: return along(op, at.axis) || pass(at.axis);
    case OpKind::Pick: return use.index != 0 || along(op, at.axis) || pass(at.axis);
    case OpKind::Dot: return at.axis != static_cast<int>(use.index) || pass(at.axis);
    case OpKind::Store: {
      if (use.index != 1) return true;
      if (axis_ranges(op)[static_cast<std::size_t>(at.axis)] == atom.range) return false;
      const Value* when = access(op).when;
      if (!when) return true;
      Abstract w = state(when, {atom.range, at.axis});
      return !w.value || w.value->i != 0;
    }
    case OpKind::Yield: {
      const Op* parent = op.parent->parent;
      if (!parent) return true;
      if (parent->kind == OpKind::For) return carried(*parent, use.index);
      if (parent->kind != OpKind::If) return true;
      next.push_back({parent->result(use.index), at.axis});
      return false;
    }
    case OpKind::For: return use.index < 3 || carried(op, use.index - 3);
    default: return true;
  }
}

std::vector<Place> PadModel::sources(const Value* v, Atom atom) const {
  std::vector<Place> out;
  std::set<std::pair<const Value*, int>> seen;
  std::vector<Place> work{{v, atom.axis}};
  for (std::size_t k = 0; k < work.size(); ++k) {
    Place p = work[k];
    if (!spans(p.value, p.axis) || !seen.insert({p.value, p.axis}).second) continue;
    out.push_back(p);
    const Op* op = p.value->def;
    if (!op) continue;
    if (has(op->kind, Trait::Elementwise)) {
      for (const Value* o : op->operands) work.push_back({o, p.axis});
    } else if (is_shape(op->kind)) {
      if (int axis = axis_in_operand(*op, p.axis); axis >= 0) work.push_back({op->operands[0], axis});
    } else if (op->kind == OpKind::Reduce) {
      work.push_back({op->operands[0], p.axis});
    }
  }
  return out;
}

}  // namespace tessera::ir
