#include "codegen/passes/skip_proof.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "codegen/passes/rewrite.h"
#include "dsl/diagnostic.h"

namespace tessera::ir {

namespace {

/// What is known of all elements of a tile, and the value they equal element by element, if there is one.
struct Known {
  Abstract what;
  const Value* same_as = nullptr;
};

using Env = std::map<const Value*, Known>;

bool is(const Known& k, double f) {
  return k.what.value && (k.what.value->floats() ? k.what.value->f == f : static_cast<double>(k.what.value->i) == f);
}

/// Evaluates a body under assumptions about some of its values.
class Trip {
 public:
  Trip(const ValueClasses& outside, Env assumed) : outside_(outside), env_(std::move(assumed)), assumed_(env_) {}

  void run(const Block& block) {
    for (const auto& op : block.ops) run(*op);
  }
  /// No op with an effect was met.
  bool quiet() const { return quiet_; }

  Known of(const Value* v) const {
    if (auto it = env_.find(v); it != env_.end()) return it->second;
    if (!is_tile(v->type)) return {};
    return {outside_.of(v), v};
  }

 private:
  void set(const Value* v, Known k) {
    if (assumed_.count(v)) return;
    if (!k.same_as) k.same_as = v;
    env_[v] = k;
  }

  void run(const Op& op) {
    if (has(op.kind, Trait::Elementwise)) return set(op.result(), elementwise(op, [&](std::size_t i) { return of(op.operands[i]); }));
    if (op.kind == OpKind::For) return run_for(op);
    if (op.kind == OpKind::If) return run_if(op);
    if (op.kind == OpKind::Store) {
      const Access a = access(op);
      const bool adds_zero = op.int_attr(Attr::Add) != 0 && of(a.value).what.within(kZero);
      quiet_ = quiet_ && (adds_zero || (a.when && is(of(a.when), 0)));
      return;
    }
    if (has(op.kind, Trait::Writes) || op.kind == OpKind::While) quiet_ = false;
    for (const auto& r : op.results)
      if (is_tile(r->type)) set(r.get(), {structured(op, tile(r->type).dtype), nullptr});
  }

  template <class F>
  Known elementwise(const Op& op, F&& operand) {
    std::vector<Known> x;
    for (std::size_t i = 0; i < op.operands.size(); ++i) x.push_back(operand(i));
    auto finite_at = [&](std::size_t i) { return x[i].what.within(kFinite); };
    switch (op.kind) {
      case OpKind::Add:
        for (std::size_t i : {0U, 1U})
          if (is(x[i], 0) || x[i].what.within(kZero)) return x[1 - i];
        break;
      case OpKind::Sub:
        if (x[1].what.within(kZero)) return x[0];
        if (x[0].same_as && x[0].same_as == x[1].same_as && finite_at(0)) return {exactly(zero(op)), nullptr};
        break;
      case OpKind::Mul:
        for (std::size_t i : {0U, 1U})
          if (is(x[i], 1)) return x[1 - i];
        break;
      case OpKind::Div:
        if (is(x[1], 1)) return x[0];
        break;
      case OpKind::Fma:
        if ((x[0].what.within(kZero) && finite_at(1)) || (x[1].what.within(kZero) && finite_at(0))) return x[2];
        break;
      case OpKind::Max:
      case OpKind::Min:
        if (x[0].same_as && x[0].same_as == x[1].same_as) return x[0];
        for (std::size_t i : {0U, 1U})
          if (is(x[i], op.kind == OpKind::Max ? -INFINITY : INFINITY) && !(x[1 - i].what.kinds & kNaN)) return x[1 - i];
        break;
      case OpKind::Select:
        if (x[0].what.value) return x[x[0].what.value->i != 0 ? 1 : 2];
        for (std::size_t i : {1U, 2U}) x[i] = under(op.operands[0], i == 1, op.operands[i], 3);
        if (x[1].same_as && x[1].same_as == x[2].same_as) return x[1];
        if (x[1].what.within(kZero) && x[2].what.within(kZero)) return {exactly(zero(op)), nullptr};
        break;
      default: break;
    }
    std::vector<Abstract> a;
    for (const Known& k : x) a.push_back(k.what);
    Abstract y = transfer(op, a, /*tame=*/true);
    if (y.within(kZero) && y.kinds) y = exactly(zero(op));
    return {y, nullptr};
  }

  /// What `v` is where `condition` is `truth`: a quotient by what is known not to be zero there.
  Known under(const Value* condition, bool truth, const Value* v, int depth) {
    Known k = of(v);
    k.what = refine(condition, truth, v, k.what);
    const Op* op = v->def;
    if (depth == 0 || !op || assumed_.count(v) || !env_.count(v) || !has(op->kind, Trait::Elementwise)) return k;
    Known again = elementwise(*op, [&](std::size_t i) { return under(condition, truth, op->operands[i], depth - 1); });
    again.what.kinds &= k.what.kinds;
    if (!again.same_as) again.same_as = k.same_as;
    return again;
  }

  static Number zero(const Op& op) { return {tile(op.result()->type).dtype, 0.0, 0}; }

  Abstract structured(const Op& op, DType t) const {
    auto x = [&](std::size_t i) { return of(op.operands[i]).what; };
    bool all_finite = true;
    for (const Value* v : op.operands)
      if (is_tile(v->type)) all_finite = all_finite && of(v).what.within(kFinite);
    const Abstract otherwise = all_finite ? finite(t) : anything(t);
    switch (op.kind) {
      case OpKind::Const: return exactly(*constant(op.result()));
      case OpKind::Broadcast:
      case OpKind::Reshape:
      case OpKind::Permute:
      case OpKind::Slice:
      case OpKind::Sort: return x(0);
      case OpKind::Concat: {
        Abstract j = x(0);
        for (std::size_t i = 1; i < op.operands.size(); ++i) j = join(j, x(i));
        return j;
      }
      case OpKind::Reduce: return fold_of(static_cast<ReduceKind>(op.int_attr(Attr::Kind)), x(0), t, true);
      case OpKind::Scan:
        if (op.int_attr(Attr::Exclusive) == 0 || x(0).within(kZero)) return fold_of(static_cast<ReduceKind>(op.int_attr(Attr::Kind)), x(0), t, true);
        return otherwise;
      case OpKind::Dot:
        if (all_finite && (x(0).within(kZero) || x(1).within(kZero) || is_zero(x(0)) || is_zero(x(1)))) return exactly({t, 0.0, 0});
        return otherwise;
      default: return otherwise;
    }
  }
  static bool is_zero(const Abstract& a) { return a.value && !a.value->floats() && a.value->i == 0; }

  void run_if(const Op& op) {
    Known c = of(op.operands[0]);
    for (std::size_t arm : {0U, 1U}) {
      if (c.what.value && (c.what.value->i != 0) != (arm == 0)) continue;
      run(op.region(arm));
    }
    for (std::size_t i = 0; i < op.results.size(); ++i) {
      if (c.what.value) {
        set(op.result(i), of(op.region(c.what.value->i != 0 ? 0 : 1).yielded()[i]));
        continue;
      }
      Known a = of(op.region(0).yielded()[i]), b = of(op.region(1).yielded()[i]);
      set(op.result(i), {join(a.what, b.what), a.same_as == b.same_as ? a.same_as : nullptr});
    }
  }

  /// An inner loop: values that a trip leaves alone are what they started as.
  void run_for(const Op& op) {
    const Block& body = op.region();
    std::vector<Known> in;
    for (std::size_t i = 3; i < op.operands.size(); ++i) in.push_back(of(op.operands[i]));
    std::vector<bool> kept(in.size(), true);
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t i = 0; i < in.size(); ++i) {
        const Value* arg = body.args[1 + i].get();
        env_[arg] = kept[i] ? in[i] : Known{in[i].what, arg};
      }
      run(body);
      for (std::size_t i = 0; i < in.size(); ++i) {
        Known out = of(body.yielded()[i]);
        if (kept[i] && out.same_as != in[i].same_as) {
          kept[i] = false;
          changed = true;
        }
        if (kept[i]) continue;
        Abstract j = join(in[i].what, out.what);
        if (j == in[i].what) continue;
        in[i].what = j;
        changed = true;
      }
    }
    for (std::size_t i = 0; i < in.size(); ++i) set(op.result(i), kept[i] ? in[i] : Known{in[i].what, nullptr});
  }

  const ValueClasses& outside_;
  Env env_;
  const Env assumed_;
  bool quiet_ = true;
};

class Proof {
 public:
  Proof(const Op& loop, const std::map<const Value*, bool>& conditions, const ValueClasses& classes)
      : loop_(loop), body_(loop.region()), conditions_(conditions), classes_(classes) {}

  bool run() {
    const std::size_t n = loop_.results.size();
    std::vector<std::size_t> pivots;
    for (std::size_t i = 0; i < n; ++i) {
      auto c = constant(init(i));
      if (c && c->floats() && std::isinf(c->f)) {
        pivots.push_back(i);
      } else if (!classes_.of(init(i)).within(kFinite)) {
        return false;
      }
    }
    // Everything carried is some finite number.
    if (!unchanged(conditions_, {}, all())) return false;
    for (std::size_t p : pivots) {
      const std::set<std::size_t> group = component(p);
      for (std::size_t other : pivots)
        if (other != p && group.count(other)) return false;
      if (!rows_stay_apart(p, group) || !stays_at_start(p, group)) return false;
      if (!unchanged(conditions_, group, group)) return false;
    }
    return true;
  }

 private:
  const Value* init(std::size_t i) const { return loop_.operands[3 + i]; }
  const Value* arg(std::size_t i) const { return body_.args[1 + i].get(); }

  std::set<std::size_t> all() const {
    std::set<std::size_t> s;
    for (std::size_t i = 0; i < loop_.results.size(); ++i) s.insert(i);
    return s;
  }

  Env assumptions(const std::map<const Value*, bool>& conditions, const std::set<std::size_t>& at_start) const {
    Env env;
    for (const auto& [v, truth] : conditions) env[v] = {exactly({DType::Bool, 0, truth ? 1 : 0}), nullptr};
    for (std::size_t i = 0; i < loop_.results.size(); ++i) {
      auto c = at_start.count(i) ? constant(init(i)) : std::nullopt;
      env[arg(i)] = {c ? exactly(*c) : finite(tile(arg(i)->type).dtype), arg(i)};
    }
    return env;
  }

  /// With these conditions, and the group `at_start` at its inits, a trip has no effect and leaves `checked` alone.
  bool unchanged(const std::map<const Value*, bool>& conditions, const std::set<std::size_t>& at_start, const std::set<std::size_t>& checked,
                 const Env& also = {}) const {
    Env env = assumptions(conditions, at_start);
    env.insert(also.begin(), also.end());
    Trip trip(classes_, env);
    trip.run(body_);
    if (!trip.quiet() && also.empty()) return false;  // an invariant may hold of trips with effects
    for (std::size_t i : checked) {
      const Known out = trip.of(body_.yielded()[i]), in = trip.of(arg(i));
      const bool same_value = out.same_as == arg(i);
      const bool same_number = in.what.value && (is(out, in.what.value->floats() ? in.what.value->f : static_cast<double>(in.what.value->i)) ||
                                                 (in.what.within(kZero) && out.what.within(kZero)));
      if (!same_value && !same_number) return false;
    }
    return true;
  }

  /// Values a carried value depends on, and that depend on it: they start together.
  std::set<std::size_t> component(std::size_t p) const {
    const std::size_t n = loop_.results.size();
    std::vector<std::set<std::size_t>> near(n);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j : reached_args(body_.yielded()[i])) {
        near[i].insert(j);
        near[j].insert(i);
      }
    std::set<std::size_t> group{p};
    for (std::vector<std::size_t> work{p}; !work.empty();) {
      const std::size_t i = work.back();
      work.pop_back();
      for (std::size_t j : near[i])
        if (group.insert(j).second) work.push_back(j);
    }
    return group;
  }

  std::set<std::size_t> reached_args(const Value* from) const {
    std::set<std::size_t> out;
    std::set<const Value*> seen;
    std::vector<const Value*> work{from};
    while (!work.empty()) {
      const Value* v = work.back();
      work.pop_back();
      if (!seen.insert(v).second) continue;
      if (v->block == &body_ && v->index > 0) out.insert(v->index - 1);
      const Op* op = v->def ? v->def : v->block ? v->block->parent : nullptr;
      if (!op || op == &loop_ || !inside_block(*op, body_)) continue;
      for (const Value* o : op->operands) work.push_back(o);
      for (const auto& r : op->regions)
        walk(static_cast<const Block&>(*r), [&](const Op& inner) {
          for (const Value* o : inner.operands) work.push_back(o);
        });
    }
    return out;
  }

  /// What depends on the group keeps to its own row: no op mixes elements along an axis on which the pivot varies.
  bool rows_stay_apart(std::size_t p, const std::set<std::size_t>& group) const {
    const Dims& dims = tile(arg(p)->type).dims;
    std::set<int> axes;
    for (std::size_t a = 0; a < dims.size(); ++a)
      if (dims[a] != 1) axes.insert(static_cast<int>(a));
    if (axes.empty()) return true;
    std::set<const Value*> depend;
    for (std::size_t i : group) depend.insert(arg(i));
    for (const auto& op : body_.ops) {
      std::vector<std::size_t> from;
      for (std::size_t i = 0; i < op->operands.size(); ++i)
        if (depend.count(op->operands[i])) from.push_back(i);
      if (!op->regions.empty() || op->kind == OpKind::Yield) {
        bool inner = !from.empty();
        for (const auto& r : op->regions)
          walk(static_cast<const Block&>(*r), [&](const Op& o) {
            inner = inner || std::any_of(o.operands.begin(), o.operands.end(), [&](const Value* v) { return depend.count(v) != 0; });
          });
        if (inner && op->kind != OpKind::Yield) return false;
        continue;
      }
      if (from.empty()) continue;
      for (std::size_t i : from) {
        if (tile(op->operands[i]->type).rank() != static_cast<int>(dims.size())) return false;
        if (has(op->kind, Trait::Elementwise) || op->kind == OpKind::Broadcast) continue;
        const bool along = axes.count(static_cast<int>(op->int_attr(Attr::Axis))) != 0;
        if ((op->kind == OpKind::Reduce || op->kind == OpKind::Scan) && !along) continue;
        if (op->kind == OpKind::Dot && !axes.count(i == 0 ? 1 : 0)) continue;
        return false;
      }
      for (const auto& r : op->results) depend.insert(r.get());
    }
    return true;
  }

  /// Invariant: where the running extremum is still at its infinite start, all of its group is at its start. A trip that leaves it there saw
  /// nothing but infinities, and with those the group does not move.
  bool stays_at_start(std::size_t p, const std::set<std::size_t>& group) const {
    const double start = constant(init(p))->f;
    const Op* next = body_.yielded()[p]->def;
    if (!next || next->kind != (start < 0 ? OpKind::Max : OpKind::Min)) return false;
    const Value* seen = nullptr;
    for (std::size_t i : {0U, 1U})
      if (next->operands[i] == arg(p)) seen = next->operands[1 - i];
    if (!seen) return false;
    const auto kind = start < 0 ? ReduceKind::Max : ReduceKind::Min;
    if (const Op* r = seen->def; r && r->kind == OpKind::Reduce && static_cast<ReduceKind>(r->int_attr(Attr::Kind)) == kind) seen = r->operands[0];
    Env also;
    // A select between finite numbers and that infinity chose the infinity everywhere.
    const Op* s = seen->def;
    Trip general(classes_, assumptions({}, {}));
    general.run(body_);
    if (s && s->kind == OpKind::Select)
      for (std::size_t i : {1U, 2U})
        if (auto c = constant(s->operands[i]); c && c->f == start && general.of(s->operands[3 - i]).what.within(kFinite))
          also[s->operands[0]] = {exactly({DType::Bool, 0, i == 1 ? 1 : 0}), nullptr};
    Number n{tile(seen->type).dtype};
    n.f = start;
    also[seen] = {exactly(n), nullptr};
    return unchanged({}, group, group, also);
  }

  const Op& loop_;
  const Block& body_;
  const std::map<const Value*, bool>& conditions_;
  const ValueClasses& classes_;
};

}  // namespace

bool trip_changes_nothing(const Op& loop, const std::map<const Value*, bool>& conditions, const ValueClasses& classes) {
  return Proof(loop, conditions, classes).run();
}

}  // namespace tessera::ir
