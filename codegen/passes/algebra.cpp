#include "codegen/passes/algebra.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>

#include "codegen/passes/rewrite.h"
#include "codegen/passes/scalar.h"

namespace tessera::ir {

namespace {

const TileType& type_of(const Value* v) { return tile(v->type); }
bool wide(const Value* v) { return is_tile(v->type) && (type_of(v).dtype == DType::F32 || type_of(v).dtype == DType::F64); }
bool is_op(const Value* v, OpKind k) { return v->def && v->def->kind == k; }

/// One number for the whole tile.
bool uniform(const Value* v) { return type_of(v).elements() == 1 || constant(v).has_value(); }
/// Stretched when combined with something of dims like `like`.
bool smaller(const Value* v, const Value* like) { return type_of(v).elements() < type_of(like).elements() || constant(v).has_value(); }

/// The two factors of a product with a uniform one, which comes second.
struct Scaled {
  Value *x, *k;
};
std::optional<Scaled> scaled(const Value* v) {
  if (!is_op(v, OpKind::Mul)) return std::nullopt;
  for (std::size_t i : {1U, 0U}) {
    Value *k = v->def->operands[i], *x = v->def->operands[1 - i];
    if (uniform(k) && type_of(x).dims == type_of(v).dims && !uniform(x)) return Scaled{x, k};
  }
  return std::nullopt;
}

class Algebra {
 public:
  explicit Algebra(Kernel& kernel) : kernel_(kernel) {
    walk(kernel_.body, [&](Op& op) {
      if (op.kind == OpKind::Assert) note_assert(op);
    });
  }

  void run() {
    each([&](Op& op) { distance(op); });
    each([&](Op& op) { quotient(op); });
    each([&](Op& op) { merge_scales(op); });
    each([&](Op& op) { sink_scale(op); });
    each([&](Op& op) { scale_after_maximum(op); });
    each([&](Op& op) { tanh_after_maximum(op); });
    each([&](Op& op) { exponential(op); });
    each([&](Op& op) { logarithm(op); });
    remove_dead(kernel_.body);
    uses_ = count_uses(kernel_.body);
    each([&](Op& op) { contract(op); });
    remove_dead(kernel_.body);
  }

 private:
  template <class F>
  void each(F&& f) {
    std::vector<Op*> ops;
    walk(kernel_.body, [&](Op& op) { ops.push_back(&op); });
    for (Op* op : ops) {
      for (Value*& v : op->operands)
        if (const auto it = replaced_.find(v); it != replaced_.end()) v = it->second;
      if (op->results.size() == 1 && wide(op->result())) f(*op);
    }
    catch_up();
  }

  /// Uses of what has been replaced change as `each` comes by, which a walk over all of them for each would make slow; here they all do.
  void catch_up() {
    replace_uses(kernel_.body, replaced_);
    replaced_.clear();
  }

  /// What `build` makes takes the place of the op's result. The op itself stays, without uses.
  template <class F>
  void replace(Op& op, F&& build) {
    Value* from = op.result();
    Value* to = insert_before(op, build);
    if (to->hint.empty()) to->hint = from->hint;
    replaced_[from] = to;
  }

  // --- positive scales

  /// An assert of the kernel's body, `k > c` with c >= 0, alone or in a conjunction.
  void note_assert(const Op& op) {
    if (op.parent != &kernel_.body) return;
    std::vector<const Value*> work{op.operands[0]};
    while (!work.empty()) {
      const Op* c = work.back()->def;
      work.pop_back();
      if (!c) continue;
      if (c->kind == OpKind::And) work.insert(work.end(), c->operands.begin(), c->operands.end());
      const bool greater = c->kind == OpKind::Gt, less = c->kind == OpKind::Lt;
      if (!greater && !less) continue;
      auto bound = constant(c->operands[greater ? 1 : 0]);
      if (bound && bound->floats() && bound->f >= 0) asserted_.insert(c->operands[greater ? 0 : 1]);
    }
  }

  bool positive(const Value* v) const {
    if (auto c = constant(v)) return c->floats() && c->f > 0 && std::isfinite(c->f);
    if (asserted_.count(v)) return true;
    const Op* op = v->def;
    if (!op) return false;
    switch (op->kind) {
      case OpKind::Mul:
      case OpKind::Div: return positive(op->operands[0]) && positive(op->operands[1]);
      case OpKind::Rcp:
      case OpKind::Sqrt:
      case OpKind::Rsqrt:
      case OpKind::Broadcast:
      case OpKind::Reshape: return positive(op->operands[0]);
      case OpKind::Cast: return is_float(type_of(op->operands[0]).dtype) && positive(op->operands[0]);
      default: return false;
    }
  }

  // --- coordinates

  /// The float of a distance is the distance of floats: converting coordinates is cheap where they stand, an absolute value of floats costs nothing.
  void distance(Op& op) {
    if (op.kind != OpKind::Cast || !is_op(op.operands[0], OpKind::Abs) || type_of(op.operands[0]).dtype != DType::Idx) return;
    replace(op, [&](Builder& b) {
      Value* x = op.operands[0]->def->operands[0];
      return b.value(OpKind::Abs, {b.op(OpKind::Cast, {x}, op.attrs, {op.result()->type})->result()});
    });
  }

  // --- scales

  /// (x * a) * b = x * (a * b) for one a and one b for the whole tile.
  void merge_scales(Op& op) {
    auto outer = op.kind == OpKind::Mul ? scaled(op.result()) : std::nullopt;
    auto inner = outer ? scaled(outer->x) : std::nullopt;
    if (!inner || type_of(inner->k).elements() != 1 || type_of(outer->k).elements() != 1) return;
    replace(op, [&](Builder& b) { return b.value(OpKind::Mul, {inner->x, b.value(OpKind::Mul, {inner->k, outer->k})}); });
  }

  void sink_scale(Op& op) {
    if (op.kind != OpKind::Select) return;
    for (std::size_t i : {1U, 2U}) {
      auto s = scaled(op.operands[i]);
      auto other = constant(op.operands[3 - i]);
      if (!s || !other || !std::isinf(other->f) || !positive(s->k) || type_of(op.operands[i]) != type_of(op.result()) ||
          !scale_can_vanish(op.result()))
        continue;
      replace(op, [&](Builder& b) {
        Value* x[] = {op.operands[1], op.operands[2]};
        x[i - 1] = s->x;
        return b.value(OpKind::Mul, {b.value(OpKind::Select, {op.operands[0], x[0], x[1]}), s->k});
      });
      return;
    }
  }

  /// Only if that leaves the scaled tile without uses but those that `exponential` takes in.
  void scale_after_maximum(Op& op) {
    if (op.kind != OpKind::Reduce) return;
    const auto kind = static_cast<ReduceKind>(op.int_attr(Attr::Kind));
    if (kind != ReduceKind::Max && kind != ReduceKind::Min) return;
    auto s = scaled(op.operands[0]);
    if (!s || !positive(s->k) || !scale_can_vanish(op.operands[0])) return;
    replace(op, [&](Builder& b) {
      Value* r = b.value(OpKind::Reduce, {s->x}, op.attrs);
      return b.value(OpKind::Mul, {r, s->k});
    });
  }

  /// tanh grows: the maximum of its values is that of its argument's. All of them are computed either way, but nothing waits for the last one.
  void tanh_after_maximum(Op& op) {
    if (op.kind != OpKind::Reduce || !is_op(op.operands[0], OpKind::Tanh)) return;
    const auto kind = static_cast<ReduceKind>(op.int_attr(Attr::Kind));
    if (kind != ReduceKind::Max && kind != ReduceKind::Min) return;
    replace(op, [&](Builder& b) { return b.value(OpKind::Tanh, {b.value(OpKind::Reduce, {op.operands[0]->def->operands[0]}, op.attrs)}); });
  }

  bool scale_can_vanish(const Value* v) {
    catch_up();
    bool ok = true;
    walk(kernel_.body, [&](Op& op) {
      if (std::find(op.operands.begin(), op.operands.end(), v) == op.operands.end()) return;
      const bool reduces = op.kind == OpKind::Reduce;
      const bool subtracts = op.kind == OpKind::Sub && op.operands[0] == v && smaller(op.operands[1], v);
      ok = ok && (reduces || subtracts || (op.kind == OpKind::Exp && scaled(v)));
    });
    return ok;
  }

  // --- transcendental functions

  void exponential(Op& op) {
    if (op.kind != OpKind::Exp) return;
    Value* x = op.operands[0];
    const TileType one = scalar(type_of(x).dtype);
    const double log2e = std::numbers::log2e;
    replace(op, [&](Builder& b) {
      auto times = [&](Value* k) {  // k * log2(e)
        if (auto c = constant(k)) return b.constant(TileType{one.dtype, type_of(k).dims}, c->f * log2e);
        return b.value(OpKind::Mul, {k, b.constant(one, log2e)});
      };
      auto argument = [&]() -> Value* {
        if (is_op(x, OpKind::Sub)) {
          Value *y = x->def->operands[0], *z = x->def->operands[1];
          if (smaller(z, x) && type_of(y).dims == type_of(x).dims) {
            auto s = scaled(y);
            const double lowest = round_to_float(one.dtype, -INFINITY, /*saturate=*/true);
            Value* zl = times(z);
            if (!constant(z)) zl = b.value(OpKind::Max, {zl, b.constant(one, lowest)});
            return b.value(OpKind::Fma, {s ? s->x : y, s ? times(s->k) : b.constant(one, log2e), b.value(OpKind::Neg, {zl})});
          }
        }
        if (auto s = scaled(x)) return b.value(OpKind::Mul, {s->x, times(s->k)});
        return b.value(OpKind::Mul, {x, b.constant(one, log2e)});
      };
      return b.value(OpKind::Exp2, {argument()});
    });
  }

  void quotient(Op& op) {
    if (op.kind != OpKind::Div) return;
    Value* y = op.operands[1];
    if (type_of(y).elements() >= type_of(op.result()).elements() && !constant(y)) return;
    if (type_of(op.result()).elements() == 1 || constant(op.operands[0])) return;
    replace(op, [&](Builder& b) {
      auto c = constant(y);
      Value* r = c ? b.constant(scalar(c->dtype), 1 / c->f) : b.value(OpKind::Rcp, {y});
      return b.value(OpKind::Mul, {op.operands[0], r});
    });
  }

  void logarithm(Op& op) {
    if (op.kind != OpKind::Ln) return;
    replace(op, [&](Builder& b) {
      Value* l = b.value(OpKind::Log2, {op.operands[0]});
      return b.value(OpKind::Mul, {l, b.constant(scalar(type_of(l).dtype), std::numbers::ln2)});
    });
  }

  // --- contraction

  bool contractible(const Value* v) const {
    if (!is_op(v, OpKind::Mul)) return false;
    auto it = uses_.find(v);
    return it != uses_.end() && it->second == 1;
  }
  static bool product_of_tiles(const Value* v) { return is_op(v, OpKind::Dot) || is_op(v, OpKind::DotScaled); }

  void contract(Op& op) {
    if (op.kind != OpKind::Add && op.kind != OpKind::Sub) return;
    for (std::size_t i : {0U, 1U}) {
      Value *m = op.operands[i], *z = op.operands[1 - i];
      if (!contractible(m) || product_of_tiles(z) || type_of(m) != type_of(op.result())) continue;
      Value *x = m->def->operands[0], *y = m->def->operands[1];
      replace(op, [&](Builder& b) {
        if (op.kind == OpKind::Sub && i == 0) z = b.value(OpKind::Neg, {z});
        if (op.kind == OpKind::Sub && i == 1) {  // z - x * y
          Value*& less = type_of(x).elements() < type_of(y).elements() ? x : y;
          less = b.value(OpKind::Neg, {less});
        }
        return b.value(OpKind::Fma, {x, y, z});
      });
      return;
    }
  }

  Kernel& kernel_;
  std::set<const Value*> asserted_;
  std::map<const Value*, int> uses_;
  ValueMap replaced_;
};

}  // namespace

void algebra(Kernel& kernel) { Algebra(kernel).run(); }

}  // namespace tessera::ir
