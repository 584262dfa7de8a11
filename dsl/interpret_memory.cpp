// load, store, fetch_add, signal and wait: which elements the indices select, and what happens where there are none.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "dsl/interpret_view.h"

namespace tessera::interp {

using ir::Attr;
using ir::Op;

namespace {

using Operands = std::vector<const Slot*>;

enum class State : std::uint8_t {
  Good,
  Invalid,  ///< a range sticks out of its axis here
  Outside,  ///< a scalar, tile or address map points beyond the axis
};

/// The coordinates along one view axis, looked up by a position in one dim of the selection or by the whole linear position.
struct AxisIndex {
  static constexpr int scalar = -1;
  static constexpr int pointwise = -2;
  int dim = scalar;
  std::vector<std::int64_t> coords;
  std::vector<State> states;
};

/// What the indices of a memory op select: the dims of the value and where each of its elements lies.
class Selection {
 public:
  Selection(const Op& op, const Operands& operands, std::size_t first) : view_(*std::get<ViewPtr>(*operands[0])) {
    const std::size_t rank = view_.extents.size();
    bool ranges = false;
    for (std::size_t a = 0; a < rank; ++a) ranges = ranges || std::holds_alternative<RangeValue>(*operands[first + a]);
    if (!ranges) {
      for (std::size_t a = 0; a < rank; ++a) ir::broadcast(dims, std::get<TilePtr>(*operands[first + a])->dims, dims);
    }
    for (std::size_t a = 0; a < rank; ++a) {
      AxisIndex axis;
      const std::int64_t extent = view_.extents[a];
      if (const auto* range = std::get_if<RangeValue>(operands[first + a])) {
        axis.dim = static_cast<int>(dims.size());
        dims.push_back(range->size);
        add_range(op, *range, extent, a, axis);
      } else {
        const TilePtr& tile = std::get<TilePtr>(*operands[first + a]);
        if (!tile->dims.empty()) axis.dim = ranges ? static_cast<int>(dims.size()) : AxisIndex::pointwise;
        if (!tile->dims.empty() && ranges) dims.push_back(tile->elements());
        axis.coords = axis.dim == AxisIndex::pointwise ? expand(tile, dims)->i : tile->i;
        for (const std::int64_t c : axis.coords) axis.states.push_back(c >= 0 && c < extent ? State::Good : State::Outside);
      }
      axes_.push_back(std::move(axis));
    }
  }

  Dims dims;

  /// Calls f(linear position, state, address) for all elements in row-major order; the address counts only if the state is Good.
  template <class F>
  void for_each(F&& f) const {
    Dims pos(dims.size(), 0);
    const std::int64_t n = count(dims);
    for (std::int64_t e = 0; e < n; ++e) {
      Coords c;
      c.rank = axes_.size();
      State state = State::Good;
      for (std::size_t a = 0; a < axes_.size(); ++a) {
        const AxisIndex& axis = axes_[a];
        const std::int64_t k = axis.dim >= 0 ? pos[static_cast<std::size_t>(axis.dim)] : axis.dim == AxisIndex::pointwise ? e : 0;
        c.at[a] = axis.coords[static_cast<std::size_t>(k)];
        const State s = axis.states[static_cast<std::size_t>(k)];
        if (s != State::Good && state != State::Invalid) state = s;
      }
      Address address;
      if (state == State::Good) {
        const auto found = locate(view_, c);
        if (found) {
          address = *found;
        } else {
          state = State::Outside;
        }
      }
      f(e, state, address);
      for (std::size_t d = dims.size(); d-- > 0;) {
        if (++pos[d] < dims[d]) break;
        pos[d] = 0;
      }
    }
  }

 private:
  static void add_range(const Op& op, const RangeValue& r, std::int64_t extent, std::size_t a, AxisIndex& axis) {
    for (std::int64_t k = 0; k < r.size; ++k) {
      const std::int64_t c = r.coord(k);
      const bool valid = r.valid(k);
      if (valid && (c < 0 || c >= extent)) {
        fail(op, fmt::format("the valid part of a range ({} .. {}, size {}{}) reaches coordinate {} of axis {}, whose extent is {}", r.lo, r.hi,
                             r.size, r.full ? ", full" : "", c, a, extent));
      }
      axis.coords.push_back(c);
      axis.states.push_back(valid ? State::Good : State::Invalid);
    }
  }

  const View& view_;
  std::vector<AxisIndex> axes_;
};

void read_element(Tile& y, std::int64_t e, Address address) {
  const auto at = static_cast<std::size_t>(e);
  const std::uint64_t raw = read_raw(y.dtype, address);
  if (y.floats()) {
    y.f[at] = decode_float(y.dtype, raw);
  } else {
    y.i[at] = decode_int(y.dtype, raw);
  }
}

void write_element(const Tile& x, std::int64_t e, Address address) {
  const auto at = static_cast<std::size_t>(e);
  write_raw(x.dtype, address, x.floats() ? encode_float(x.dtype, x.f[at]) : encode_int(x.dtype, x.i[at]));
}

void add_element(const Tile& x, std::int64_t e, Address address) {
  const auto at = static_cast<std::size_t>(e);
  const std::uint64_t raw = read_raw(x.dtype, address);
  write_raw(x.dtype, address,
            x.floats() ? encode_float(x.dtype, decode_float(x.dtype, raw) + x.f[at])
                       : encode_int(x.dtype, wrap_add(x.dtype, decode_int(x.dtype, raw), x.i[at])));
}

void poison_element(Tile& y, std::int64_t e) {
  const auto at = static_cast<std::size_t>(e);
  if (y.floats()) {
    y.f[at] = std::numeric_limits<double>::quiet_NaN();
  } else {
    y.i[at] = wrap_int(y.dtype, 0x5a5a5a5a5a5a5a5a);
  }
}

std::shared_ptr<Tile> result_tile(const Op& op, const Selection& s) {
  auto y = make_tile(ir::tile(op.result()->type));
  TESSERA_ASSERT(y->dims == s.dims, std::string("the indices of ") + ir::info(op.kind).name + " do not select what its type says");
  return y;
}

}  // namespace

TilePtr eval_load(const Op& op, const Operands& operands, const Mode& mode) {
  const Selection s(op, operands, 1);
  auto y = result_tile(op, s);
  const bool poison = mode.poison && op.int_attr(Attr::Zero) == 0;
  s.for_each([&](std::int64_t e, State state, Address address) {
    if (state == State::Good) read_element(*y, e, address);
    if (state == State::Invalid && poison) poison_element(*y, e);
  });
  return y;
}

void eval_store(const Op& op, const Operands& operands, const Mode&) {
  const Selection s(op, operands, 2);
  const TilePtr& value = std::get<TilePtr>(*operands[1]);
  TESSERA_ASSERT(value->dims == s.dims, std::string("the indices of ") + ir::info(op.kind).name + " do not select the dims of the value");
  const TilePtr when = op.int_attr(Attr::Masked) != 0 ? expand(std::get<TilePtr>(*operands.back()), s.dims) : nullptr;
  const bool add = op.int_attr(Attr::Add) != 0;
  s.for_each([&](std::int64_t e, State state, Address address) {
    if (state != State::Good || (when && when->i[static_cast<std::size_t>(e)] == 0)) return;
    if (add) {
      add_element(*value, e, address);
    } else {
      write_element(*value, e, address);
    }
  });
}

TilePtr eval_fetch_add(const Op& op, const Operands& operands, const Mode&) {
  const Selection s(op, operands, 2);
  const TilePtr& value = std::get<TilePtr>(*operands[1]);
  auto y = result_tile(op, s);
  s.for_each([&](std::int64_t e, State state, Address address) {
    if (state != State::Good) return;
    read_element(*y, e, address);
    add_element(*value, e, address);
  });
  return y;
}

TilePtr eval_wait(const Op& op, const Operands& operands, const Mode& mode, const RegionFn& holds) {
  const Selection s(op, operands, 1);
  auto y = result_tile(op, s);
  s.for_each([&](std::int64_t e, State state, Address address) {
    if (state == State::Invalid && mode.poison) poison_element(*y, e);
    if (state != State::Good) return;
    read_element(*y, e, address);
    if (holds({element(*y, e)})[0]->i[0] == 0) {
      fail(op, fmt::format("element {} is {}, which the predicate refuses; instances run one after another, so it will not change", e,
                           print_tile(*element(*y, e))));
    }
  });
  return y;
}

}  // namespace tessera::interp
