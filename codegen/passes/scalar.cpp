#include "codegen/passes/scalar.h"

#include <bit>
#include <cmath>

#include "dsl/builder.h"
#include "dsl/diagnostic.h"
#include "dsl/interpret_value.h"

namespace tessera::ir {

namespace {

interp::TilePtr operand_tile(const std::vector<Number>& values, std::size_t rank, std::size_t axis) {
  Dims dims(rank, 1);
  dims[axis] = static_cast<std::int64_t>(values.size());
  auto t = interp::make_tile(values.front().dtype, dims);
  for (std::size_t k = 0; k < values.size(); ++k) {
    if (t->floats()) {
      t->f[k] = values[k].f;
    } else {
      t->i[k] = values[k].i;
    }
  }
  return t;
}

interp::TilePtr run(const Op& op, const interp::Tiles& x) {
  interp::Mode mode;
  switch (info(op.kind).rule) {
    case TypeRule::Compare: return interp::eval_compare(op, x);
    case TypeRule::Select: return interp::eval_select(op, x);
    case TypeRule::Cast: return op.kind == OpKind::Cast ? interp::eval_cast(op, x, mode) : interp::eval_bitcast(op, x);
    default: break;
  }
  if (op.kind == OpKind::Fma) return interp::eval_fma(op, x, mode);
  return x.size() == 1 ? interp::eval_unary(op, x, mode) : interp::eval_binary(op, x, mode);
}

}  // namespace

bool same(const Number& a, const Number& b) {
  if (a.dtype != b.dtype) return false;
  if (!a.floats()) return a.i == b.i;
  return (std::isnan(a.f) && std::isnan(b.f)) || std::bit_cast<std::uint64_t>(a.f) == std::bit_cast<std::uint64_t>(b.f);
}

std::optional<Number> constant(const Value* v) {
  if (!is_tile(v->type)) return std::nullopt;
  Number n{tile(v->type).dtype};
  if (n.floats()) {
    auto f = constant_float(v);
    if (!f) return std::nullopt;
    n.f = round_to_float(n.dtype, *f);
  } else {
    auto i = constant_int(v);
    if (!i) return std::nullopt;
    n.i = wrap_int(n.dtype, *i);
  }
  return n;
}

std::vector<Number> evaluate_all(const Op& op, const std::vector<std::vector<Number>>& operands) {
  TESSERA_ASSERT(has(op.kind, Trait::Elementwise), "not elementwise");
  const std::size_t rank = operands.size();
  interp::Tiles x;
  Op small;  // the same op on small tiles
  small.kind = op.kind;
  small.attrs = op.attrs;
  Dims dims(rank, 1);
  for (std::size_t i = 0; i < rank; ++i) {
    x.push_back(operand_tile(operands[i], rank, i));
    dims[i] = static_cast<std::int64_t>(operands[i].size());
  }
  auto result = std::make_unique<Value>();
  result->type = TileType{tile(op.result()->type).dtype, dims};
  result->def = &small;
  small.results.push_back(std::move(result));
  interp::TilePtr y = run(small, x);
  std::vector<Number> out;
  for (std::int64_t k = 0; k < y->elements(); ++k) {
    Number n{y->dtype};
    if (y->floats()) {
      n.f = y->f[static_cast<std::size_t>(k)];
    } else {
      n.i = y->i[static_cast<std::size_t>(k)];
    }
    out.push_back(n);
  }
  return out;
}

Number evaluate(const Op& op, const std::vector<Number>& operands) {
  std::vector<std::vector<Number>> lists;
  for (const Number& n : operands) lists.push_back({n});
  return evaluate_all(op, lists).front();
}

}  // namespace tessera::ir
