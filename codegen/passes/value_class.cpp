#include "codegen/passes/value_class.h"

#include <cmath>
#include <limits>

#include "dsl/diagnostic.h"

namespace tessera::ir {

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

double largest(DType t) { return round_to_float(t, kInf, /*saturate=*/true); }
/// The smallest positive number of the type.
double smallest(DType t) { return decode_float(t, 1); }

/// Numbers that stand for a set of kinds. The finite ones are extreme, so that every kind of result an op can have shows up: overflow, underflow,
/// both signs, order. `tame` leaves the extremes out.
std::vector<Number> representatives(DType t, const Abstract& a, bool tame) {
  if (a.value) return {*a.value};
  std::vector<Number> out;
  auto add = [&](double v) {
    Number n{t};
    n.f = v;
    out.push_back(n);
  };
  auto add_int = [&](std::int64_t v) {
    Number n{t};
    n.i = v;
    out.push_back(n);
  };
  if (!is_float(t)) {
    if (a.kinds & kZero) add_int(0);
    if (!(a.kinds & kOther)) return out;
    if (is_bool(t)) {
      add_int(1);
    } else {
      for (std::int64_t v : {std::int64_t{1}, std::int64_t{2}, std::int64_t{-1}, int_min(t), int_max(t)}) add_int(wrap_int(t, v));
    }
    return out;
  }
  if (a.kinds & kNaN) add(std::numeric_limits<double>::quiet_NaN());
  if (a.kinds & kNegInf) add(-kInf);
  if (a.kinds & kPosInf) add(kInf);
  if (a.kinds & kPosZero) add(0.0);
  if (a.kinds & kNegZero) add(-0.0);
  if (a.kinds & kOther) {
    for (double v : {0.5, 1.0, 2.0})
      for (double s : {-1.0, 1.0}) add(s * v);
    if (!tame)
      for (double v : {smallest(t), largest(t)})
        for (double s : {-1.0, 1.0}) add(s * v);
  }
  return out;
}

/// Results that are numbers of integer ops on anything but constants say little: only the rules below are used.
bool absorbs_zero(OpKind k) { return k == OpKind::Mul || k == OpKind::And; }

}  // namespace

unsigned class_of(const Number& n) {
  if (!n.floats()) return n.i == 0 ? kPosZero : kOther;
  if (std::isnan(n.f)) return kNaN;
  if (std::isinf(n.f)) return n.f < 0 ? kNegInf : kPosInf;
  if (n.f == 0) return std::signbit(n.f) ? kNegZero : kPosZero;
  return kOther;
}

Abstract exactly(const Number& n) { return {class_of(n), n}; }
Abstract anything(DType t) { return {is_float(t) ? kAnything : kPosZero | kOther, std::nullopt}; }
Abstract finite(DType t) { return {is_float(t) ? kFinite : kPosZero | kOther, std::nullopt}; }

Abstract join(const Abstract& a, const Abstract& b) {
  Abstract j{a.kinds | b.kinds, std::nullopt};
  if (a.value && b.value && same(*a.value, *b.value)) j.value = a.value;
  return j;
}

Abstract transfer(const Op& op, const std::vector<Abstract>& x, bool tame) {
  const DType t = tile(op.result()->type).dtype;
  if (op.kind == OpKind::Select) {
    if (x[0].value) return x[0].value->i != 0 ? x[1] : x[2];
    return join(x[1], x[2]);
  }
  bool constants = true, small = true;
  for (std::size_t i = 0; i < x.size(); ++i) {
    constants = constants && x[i].value;
    const DType from = tile(op.operands[i]->type).dtype;
    small = small && (is_float(from) || is_bool(from) || x[i].value);
  }
  if (!constants && !is_float(t) && !is_bool(t)) {  // integers: no kinds worth tracking
    if (absorbs_zero(op.kind))
      for (const Abstract& a : x)
        if (a.value && a.value->i == 0) return a;
    return anything(t);
  }
  // An integer's magnitude or bits are not represented by a few samples.
  if (!small && (op.kind == OpKind::Cast || op.kind == OpKind::Bitcast || is_bool(t)))
    return op.kind == OpKind::Cast && is_float(t) && bits(t) >= 32 ? Abstract{kPosZero | kOther, std::nullopt} : anything(t);
  if (!constants && op.kind == OpKind::Bitcast) return anything(t);
  std::vector<std::vector<Number>> samples;
  for (std::size_t i = 0; i < x.size(); ++i) {
    samples.push_back(representatives(tile(op.operands[i]->type).dtype, x[i], tame));
    if (samples.back().empty()) return {0, std::nullopt};
  }
  Abstract out{0, std::nullopt};
  bool first = true, one = true;
  for (const Number& n : evaluate_all(op, samples)) {
    out.kinds |= class_of(n);
    if (first) {
      out.value = n;
    } else if (!same(*out.value, n)) {
      one = false;
    }
    first = false;
  }
  // One finite value out of several samples may be chance; an infinity, a NaN or a zero is a kind of its own.
  if (!one || (!constants && (out.kinds & kOther))) {
    if (is_bool(t) && one) return out;
    out.value.reset();
  }
  return out;
}

Abstract refine(const Value* condition, bool truth, const Value* v, const Abstract& x) {
  const Op* c = condition->def;
  if (!c) return x;
  if (c->kind == OpKind::Not) return refine(c->operands[0], !truth, v, x);
  if (c->kind == (truth ? OpKind::And : OpKind::Or)) return refine(c->operands[1], truth, v, refine(c->operands[0], truth, v, x));
  if (info(c->kind).rule != TypeRule::Compare || x.value) return x;
  for (std::size_t i : {0U, 1U}) {
    auto bound = constant(c->operands[1 - i]);
    if (c->operands[i] != v || !bound || !bound->floats()) continue;
    Abstract out{0, std::nullopt};
    for (unsigned kind = 1; kind <= kOther; kind <<= 1) {
      if (!(x.kinds & kind)) continue;
      std::vector<std::vector<Number>> samples(2);
      samples[i] = representatives(bound->dtype, {kind, std::nullopt}, false);
      samples[1 - i] = {*bound};
      // Equality with a finite number leaves nothing out but what is of another kind.
      bool possible = kind == kOther && (c->kind == OpKind::Eq ? truth : c->kind == OpKind::Ne && !truth) && class_of(*bound) == kOther;
      for (const Number& r : evaluate_all(*c, samples)) possible = possible || (r.i != 0) == truth;
      if (possible) out.kinds |= kind;
    }
    return out;
  }
  return x;
}

Abstract fold_of(ReduceKind kind, const Abstract& x, DType t, bool tame) {
  switch (kind) {
    case ReduceKind::Max:
    case ReduceKind::Min:
    case ReduceKind::Any:
    case ReduceKind::All: return x;
    case ReduceKind::Sum:
      if (!is_float(t)) return x.value && x.value->i == 0 ? x : anything(t);
      if (x.within(kZero)) return exactly({t, 0.0, 0});
      break;
    case ReduceKind::Prod:
      if (x.value && (x.value->floats() ? x.value->f == 1 : x.value->i == 1)) return x;
      break;
    case ReduceKind::ArgMax:
    case ReduceKind::ArgMin: return anything(DType::Idx);
  }
  if (tame && x.within(kFinite)) return finite(t);
  return anything(t);
}

ValueClasses::ValueClasses(const Block& body, std::map<const Value*, Abstract> also, bool tame) : also_(std::move(also)), tame_(tame) {
  for (const auto& a : body.args)
    if (is_tile(a->type)) set(a.get(), unknown(tile(a->type).dtype));
  run(body);
}

const Abstract& ValueClasses::of(const Value* v) const {
  auto it = known_.find(v);
  TESSERA_ASSERT(it != known_.end(), "the class of every tile is known");
  return it->second;
}

void ValueClasses::set(const Value* v, Abstract a) {
  if (auto it = also_.find(v); it != also_.end()) a = join(a, it->second);
  known_[v] = a;
}

void ValueClasses::run(const Block& block) {
  for (const auto& op : block.ops) run(*op);
}

/// Carried values: what they start as, and what one more trip makes of them, until nothing is new.
void ValueClasses::run_loop(const Op& op) {
  const bool is_for = op.kind == OpKind::For;
  const std::size_t first_init = is_for ? 3 : 0, first_arg = is_for ? 1 : 0;
  const Block& body = op.region(is_for ? 0 : 1);
  std::vector<Abstract> carried;
  for (std::size_t i = first_init; i < op.operands.size(); ++i) carried.push_back(of(op.operands[i]));
  for (bool changed = true; changed;) {
    changed = false;
    for (const auto& region : op.regions) {
      if (is_for) set(region->args[0].get(), unknown(DType::Idx));
      for (std::size_t i = 0; i < carried.size(); ++i) set(region->args[first_arg + i].get(), carried[i]);
      run(*region);
    }
    for (std::size_t i = 0; i < carried.size(); ++i) {
      Abstract j = join(carried[i], of(body.yielded()[i]));
      if (j == carried[i]) continue;
      carried[i] = j;
      changed = true;
    }
  }
  for (std::size_t i = 0; i < carried.size(); ++i) set(op.result(i), carried[i]);
}

void ValueClasses::run(const Op& op) {
  auto type = [&](std::size_t i = 0) { return tile(op.result(i)->type).dtype; };
  auto operand = [&](std::size_t i) -> const Abstract& { return of(op.operands[i]); };
  auto kind = [&] { return static_cast<ReduceKind>(op.int_attr(Attr::Kind)); };
  if (has(op.kind, Trait::Elementwise)) {
    if (auto c = constant(op.result())) return set(op.result(), exactly(*c));
    std::vector<Abstract> x;
    for (const Value* v : op.operands) x.push_back(of(v));
    if (op.kind == OpKind::Select && !x[0].value)
      for (std::size_t i : {1U, 2U}) x[i] = refine(op.operands[0], i == 1, op.operands[i], x[i]);
    return set(op.result(), transfer(op, x, tame_));
  }
  switch (op.kind) {
    case OpKind::Const: return set(op.result(), exactly(*constant(op.result())));
    case OpKind::Broadcast:
    case OpKind::Reshape:
    case OpKind::Permute:
    case OpKind::Slice: return set(op.result(), operand(0));
    case OpKind::Sort: return set(op.result(), operand(0));
    case OpKind::Concat: {
      Abstract j = operand(0);
      for (std::size_t i = 1; i < op.operands.size(); ++i) j = join(j, operand(i));
      return set(op.result(), j);
    }
    case OpKind::Pick: return set(op.result(), join(operand(0), exactly({type(), 0.0, 0})));
    case OpKind::Reduce: return set(op.result(), fold_of(kind(), operand(0), type(), tame_));
    case OpKind::Scan: {
      Abstract y = fold_of(kind(), operand(0), type(), tame_);
      // An exclusive scan starts from the identity.
      return set(op.result(), op.int_attr(Attr::Exclusive) != 0 ? join(y, anything(type())) : y);
    }
    case OpKind::Dot: {
      const Abstract &a = operand(0), &b = operand(1);
      if (!a.within(kFinite) || !b.within(kFinite)) return set(op.result(), anything(type()));
      const bool zero = a.within(kZero) || b.within(kZero);
      return set(op.result(), zero ? exactly({type(), 0.0, 0}) : unknown(type()));
    }
    case OpKind::TopK: set(op.result(0), operand(0)); return set(op.result(1), unknown(type(1)));
    case OpKind::For:
    case OpKind::While: return run_loop(op);
    case OpKind::If:
      for (const auto& r : op.regions) run(*r);
      for (std::size_t i = 0; i < op.results.size(); ++i) set(op.result(i), join(of(op.region(0).yielded()[i]), of(op.region(1).yielded()[i])));
      return;
    default:
      for (const auto& r : op.regions) {  // combining functions
        for (const auto& a : r->args)
          if (is_tile(a->type)) set(a.get(), unknown(tile(a->type).dtype));
        run(*r);
      }
      for (const auto& r : op.results)
        if (is_tile(r->type)) set(r.get(), unknown(tile(r->type).dtype));
      return;
  }
}

}  // namespace tessera::ir
