// Constants and ops that move elements without changing them.
#include "dsl/interpret_value.h"

namespace tessera::interp {

using ir::Attr;
using ir::Op;

namespace {

const ir::TileType& result_type(const Op& op) { return ir::tile(op.result()->type); }

template <class F>
void for_both(const Tile& from, Tile& to, F&& f) {
  if (to.floats()) {
    f(from.f, to.f);
  } else {
    f(from.i, to.i);
  }
}

}  // namespace

TilePtr eval_const(const Op& op, const Mode& mode) {
  auto y = make_tile(result_type(op));
  const ir::AttrValue& value = op.attrs.at(Attr::Value);
  const auto* as_int = std::get_if<std::int64_t>(&value);
  if (y->floats()) {
    std::fill(y->f.begin(), y->f.end(), op.float_attr(Attr::Value));
    round_tile(*y, mode);
  } else {
    const std::int64_t v = as_int != nullptr ? wrap_int(y->dtype, *as_int) : float_to_int(y->dtype, std::get<double>(value));
    std::fill(y->i.begin(), y->i.end(), v);
  }
  return y;
}

TilePtr eval_reshape(const Op& op, const Tiles& x) {
  auto y = std::make_shared<Tile>(*x[0]);
  y->dims = result_type(op).dims;
  return y;
}

TilePtr eval_permute(const Op& op, const Tiles& x) {
  const Dims strides = row_major_strides(x[0]->dims);
  Dims step;
  for (const std::int64_t axis : op.dims_attr(Attr::Perm)) step.push_back(strides[static_cast<std::size_t>(axis)]);
  return gather(*x[0], result_type(op).dims, step);
}

TilePtr eval_slice(const Op& op, const Tiles& x) {
  auto y = make_tile(result_type(op));
  const std::int64_t axis = op.int_attr(Attr::Axis);
  const std::int64_t offset = op.int_attr(Attr::Offset);
  const AxisSplit from(x[0]->dims, axis);
  const AxisSplit to(y->dims, axis);
  for_both(*x[0], *y, [&](const auto& in, auto& out) {
    for (std::int64_t o = 0; o < to.outer; ++o) {
      const auto begin = in.begin() + from.at(o, offset, 0);
      std::copy(begin, begin + to.n * to.inner, out.begin() + to.at(o, 0, 0));
    }
  });
  return y;
}

TilePtr eval_concat(const Op& op, const Tiles& x) {
  auto y = make_tile(result_type(op));
  const std::int64_t axis = op.int_attr(Attr::Axis);
  const AxisSplit to(y->dims, axis);
  std::int64_t offset = 0;
  for (const TilePtr& part : x) {
    const AxisSplit from(part->dims, axis);
    for_both(*part, *y, [&](const auto& in, auto& out) {
      for (std::int64_t o = 0; o < to.outer; ++o) {
        const auto begin = in.begin() + from.at(o, 0, 0);
        std::copy(begin, begin + from.n * from.inner, out.begin() + to.at(o, offset, 0));
      }
    });
    offset += from.n;
  }
  return y;
}

TilePtr eval_pick(const Op& op, const Tiles& x) {
  auto y = make_tile(result_type(op));
  const AxisSplit from(x[0]->dims, op.int_attr(Attr::Axis));
  const std::int64_t at = x[1]->i[0];
  if (at < 0 || at >= from.n) return y;
  for_both(*x[0], *y, [&](const auto& in, auto& out) {
    for (std::int64_t o = 0; o < from.outer; ++o) {
      const auto begin = in.begin() + from.at(o, at, 0);
      std::copy(begin, begin + from.inner, out.begin() + o * from.inner);
    }
  });
  return y;
}

}  // namespace tessera::interp
