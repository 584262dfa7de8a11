// diff(f, x) = (f(x), df/dx): forward-mode differentiation of the ops that f emitted, for f elementwise in x.
#include <fmt/format.h>

#include <numbers>

#include "frontend/builtins.h"

namespace tessera {

using ir::OpKind;

namespace {

/// Tangents of values with respect to x; a value that is not in the map does not depend on x.
class Tangents {
 public:
  Tangents(ir::Builder& b, ir::Value* x) : b_(b) { of_[x] = constant(x, 1.0); }

  ir::Value* of(const ir::Value* v) const {
    auto it = of_.find(v);
    return it == of_.end() ? nullptr : it->second;
  }

  /// The tangent of an op's result. False if the op is not elementwise in x or has no derivative.
  bool visit(const ir::Op& op) {
    bool depends = false;
    for (const ir::Value* v : op.operands) depends |= of(v) != nullptr;
    if (!depends || op.results.empty()) return !depends;
    ir::Value* y = op.result();
    auto x = [&](std::size_t i) { return op.operands[i]; };
    auto d = [&](std::size_t i) { return of(op.operands[i]); };
    auto e = [&](OpKind k, std::initializer_list<ir::Value*> v) { return b_.value(k, v); };
    auto c = [&](double v) { return constant(y, v); };
    ir::Value* out = nullptr;
    switch (op.kind) {
      case OpKind::Neg: out = e(OpKind::Neg, {d(0)}); break;
      case OpKind::Abs: out = e(OpKind::Select, {e(OpKind::Lt, {x(0), c(0)}), e(OpKind::Neg, {d(0)}), d(0)}); break;
      case OpKind::Exp: out = e(OpKind::Mul, {y, d(0)}); break;
      case OpKind::Exp2: out = e(OpKind::Mul, {e(OpKind::Mul, {y, c(std::numbers::ln2)}), d(0)}); break;
      case OpKind::Ln: out = e(OpKind::Div, {d(0), x(0)}); break;
      case OpKind::Log2: out = e(OpKind::Div, {d(0), e(OpKind::Mul, {x(0), c(std::numbers::ln2)})}); break;
      case OpKind::Sqrt: out = e(OpKind::Div, {d(0), e(OpKind::Mul, {y, c(2)})}); break;
      case OpKind::Rsqrt: out = e(OpKind::Mul, {e(OpKind::Mul, {c(-0.5), e(OpKind::Div, {y, x(0)})}), d(0)}); break;
      case OpKind::Rcp: out = e(OpKind::Neg, {e(OpKind::Mul, {e(OpKind::Mul, {y, y}), d(0)})}); break;
      case OpKind::Tanh: out = e(OpKind::Mul, {e(OpKind::Sub, {c(1), e(OpKind::Mul, {y, y})}), d(0)}); break;
      case OpKind::Sigmoid: out = e(OpKind::Mul, {e(OpKind::Mul, {y, e(OpKind::Sub, {c(1), y})}), d(0)}); break;
      case OpKind::Sin: out = e(OpKind::Mul, {e(OpKind::Cos, {x(0)}), d(0)}); break;
      case OpKind::Cos: out = e(OpKind::Neg, {e(OpKind::Mul, {e(OpKind::Sin, {x(0)}), d(0)})}); break;
      case OpKind::Erf:
        out = e(OpKind::Mul,
                {e(OpKind::Mul, {c(2 * std::numbers::inv_sqrtpi), e(OpKind::Exp, {e(OpKind::Neg, {e(OpKind::Mul, {x(0), x(0)})})})}), d(0)});
        break;
      case OpKind::Add: out = d(0) && d(1) ? e(OpKind::Add, {d(0), d(1)}) : (d(0) ? d(0) : d(1)); break;
      case OpKind::Sub: out = d(0) && d(1) ? e(OpKind::Sub, {d(0), d(1)}) : (d(0) ? d(0) : e(OpKind::Neg, {d(1)})); break;
      case OpKind::Mul:
        if (d(0)) out = e(OpKind::Mul, {d(0), x(1)});
        if (d(1)) out = out ? e(OpKind::Add, {out, e(OpKind::Mul, {x(0), d(1)})}) : e(OpKind::Mul, {x(0), d(1)});
        break;
      case OpKind::Div:
        if (d(0)) out = e(OpKind::Div, {d(0), x(1)});
        if (d(1)) {
          ir::Value* t = e(OpKind::Neg, {e(OpKind::Div, {e(OpKind::Mul, {y, d(1)}), x(1)})});
          out = out ? e(OpKind::Add, {out, t}) : t;
        }
        break;
      case OpKind::Min: out = e(OpKind::Select, {e(OpKind::Le, {x(0), x(1)}), zero_if_null(d(0), y), zero_if_null(d(1), y)}); break;
      case OpKind::Max: out = e(OpKind::Select, {e(OpKind::Ge, {x(0), x(1)}), zero_if_null(d(0), y), zero_if_null(d(1), y)}); break;
      case OpKind::Select:
        if (d(0)) return false;
        out = e(OpKind::Select, {x(0), zero_if_null(d(1), y), zero_if_null(d(2), y)});
        break;
      case OpKind::Fma:
        if (d(0)) out = e(OpKind::Mul, {d(0), x(1)});
        if (d(1)) out = out ? e(OpKind::Add, {out, e(OpKind::Mul, {x(0), d(1)})}) : e(OpKind::Mul, {x(0), d(1)});
        if (d(2)) out = out ? e(OpKind::Add, {out, d(2)}) : d(2);
        break;
      case OpKind::Broadcast: out = b_.broadcast(d(0), ir::tile(y->type).dims); break;
      case OpKind::Cast:
        if (!is_float(ir::tile(y->type).dtype)) return false;
        out = b_.cast(d(0), ir::tile(y->type).dtype);
        break;
      // A comparison with x has derivative zero almost everywhere: it may steer a select.
      case OpKind::Eq:
      case OpKind::Ne:
      case OpKind::Lt:
      case OpKind::Le:
      case OpKind::Gt:
      case OpKind::Ge: return true;
      // Steps: the derivative is zero almost everywhere.
      case OpKind::Floor:
      case OpKind::Ceil:
      case OpKind::Round: return true;
      default: return false;
    }
    of_[y] = out;
    return true;
  }

 private:
  ir::Value* constant(const ir::Value* like, double v) { return b_.constant(ir::scalar(ir::tile(like->type).dtype), v); }
  ir::Value* zero_if_null(ir::Value* v, const ir::Value* like) { return v ? v : constant(like, 0.0); }

  ir::Builder& b_;
  std::map<const ir::Value*, ir::Value*> of_;
};

}  // namespace

Val Builtins::diff() {
  expect(2, 2);
  auto* f = arg(0, "a function").value.as<FnVal>();
  if (!f) e.fail(Code::E0302, arg(0, "").span, fmt::format("`diff` differentiates a function, not {}", describe(arg(0, "").value)));
  TileVal x = float_operand(1, "the operand");
  std::vector<ArgVal> one(1);
  one[0].value = {x};
  one[0].span = arg(1, "").span;
  ir::Block* block = e.builder_ ? &e.builder_->block() : nullptr;
  // A value of its own for x, so that only what f does with it counts.
  if (block) one[0].value.as<TileVal>()->v = e.builder_->broadcast(x.v, ir::tile(x.v->type).dims);
  std::size_t first = block ? block->ops.size() : 0;
  TileVal y = e.tile(e.call_value(*f, one, span), span, "the result");
  if (!is_float(y.elem)) e.fail(Code::E0308, span, fmt::format("`diff` needs a float result, not {}", describe(Val{y})));
  y = e.broadcast_to(y, e.broadcast_dims(x, y, span), span);
  if (!block) return {TupleVal{{Val{y}, Val{e.make(y.elem, y.dims, nullptr, y.valid)}}}};
  Tangents t(*e.builder_, one[0].value.as<TileVal>()->v);
  std::size_t end = block->ops.size();
  for (std::size_t i = first; i < end; ++i) {
    const ir::Op& op = *block->ops[i];
    if (!t.visit(op)) {
      e.trail_.push_back({span, "in the call of `diff`"});
      e.fail(Code::E0308, op.span.known() ? op.span : span, fmt::format("`{}` has no elementwise derivative", ir::info(op.kind).name));
    }
  }
  ir::Value* d = t.of(y.v);
  TileVal dy = d ? e.make(y.elem, {}, d, y.valid) : e.constant(y.elem, y.dims, 0);
  if (d) {
    dy.dims.clear();
    for (std::int64_t n : ir::tile(d->type).dims) dy.dims.push_back(Sym(n));
    dy = e.broadcast_to(dy, y.dims, span);
  }
  return {TupleVal{{Val{y}, Val{dy}}}};
}

}  // namespace tessera
