// Reductions: registers, then lanes by shuffles, then warps through shared memory. The order is fixed, so results do not vary from run to run.
#include <fmt/format.h>

#include <cmath>

#include "codegen/cpu/arith.h"
#include "codegen/gpu/emit.h"
#include "codegen/gpu/stream.h"
#include "dsl/diagnostic.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;
using ir::ReduceKind;

namespace {

/// Calls `f` on pairs until one value is left: a tree, whose depth is the logarithm.
template <class T, class F>
T fold_tree(std::vector<T> x, const F& f) {
  while (x.size() > 1) {
    std::vector<T> next;
    for (std::size_t i = 0; i + 1 < x.size(); i += 2) next.push_back(f(x[i], x[i + 1]));
    if (x.size() % 2 == 1) next.push_back(x.back());
    x = std::move(next);
  }
  return x[0];
}

}  // namespace

void ThreadEmitter::emit_reduce(const Op& op, const Stream* stream) {
  const ir::Value *v = op.operands[0], *result = op.result();
  const auto axis = static_cast<std::size_t>(op.int_attr(ir::Attr::Axis));
  const auto kind = static_cast<ReduceKind>(op.int_attr(ir::Attr::Kind));
  const bool arg = kind == ReduceKind::ArgMax || kind == ReduceKind::ArgMin;
  const DType t = dtype(v);
  Layout from = plan_.has_layout(v) ? plan_.layout(v) : layout_of(result);
  if (!plan_.has_layout(v)) {
    // A lazy operand: its other axes as the result wants them.
    const std::int64_t n = dims(v)[axis];
    from.axes[axis] = n == 1 ? AxisPart{} : part({{Source::Register, n, 1}});
  }
  const Layout to = from.collapsed(axis);
  const AxisPart& p = from.axes[axis];

  // One item: the folded value and, for arg kinds, its number.
  struct Item {
    LV *v = nullptr, *at = nullptr;
  };
  const ReduceKind base = kind == ReduceKind::ArgMax ? ReduceKind::Max : kind == ReduceKind::ArgMin ? ReduceKind::Min : kind;
  const auto fold = [&](const Item& a, const Item& b) -> Item {
    if (!arg) return {fold_step(e_, kind, t, a.v, b.v), nullptr};
    // b wins if it is better, or equal at a lower number; NaN loses to numbers.
    const bool max = kind == ReduceKind::ArgMax;
    LV *better, *equal, *a_nan = e_.b.getFalse(), *b_nan = e_.b.getFalse();
    if (is_float(t)) {
      better = max ? e_.b.CreateFCmpOGT(b.v, a.v) : e_.b.CreateFCmpOLT(b.v, a.v);
      a_nan = e_.b.CreateFCmpUNO(a.v, a.v);
      b_nan = e_.b.CreateFCmpUNO(b.v, b.v);
      equal = e_.b.CreateOr(e_.b.CreateFCmpOEQ(a.v, b.v), e_.b.CreateAnd(a_nan, b_nan));
      better = e_.b.CreateOr(better, e_.b.CreateAnd(a_nan, e_.b.CreateNot(b_nan)));
    } else {
      better = is_signed(t) ? (max ? e_.b.CreateICmpSGT(b.v, a.v) : e_.b.CreateICmpSLT(b.v, a.v))
                            : (max ? e_.b.CreateICmpUGT(b.v, a.v) : e_.b.CreateICmpULT(b.v, a.v));
      equal = e_.b.CreateICmpEQ(a.v, b.v);
    }
    LV* take = e_.b.CreateOr(better, e_.b.CreateAnd(equal, e_.b.CreateICmpSLT(b.at, a.at)));
    return {e_.b.CreateSelect(take, b.v, a.v), e_.b.CreateSelect(take, b.at, a.at)};
  };
  const auto shuffled = [&](const Item& a, std::int64_t mask) -> Item {
    return {shuffle(e_, Primitive::ShflBfly, a.v, i32(mask)), a.at ? shuffle(e_, Primitive::ShflBfly, a.at, i32(mask)) : nullptr};
  };

  // Registers along the axis, grouped by result register.
  using Groups = std::vector<std::vector<Item>>;
  const bool padded = !p.digits.empty() && p.extent() > dims(v)[axis];
  const auto gather = [&](const Layout& layout, Groups& groups) {
    const Elements x = get(v, layout);
    for (std::size_t r = 0; r < x.size(); ++r) {
      const std::vector<Position> at = positions(layout, static_cast<std::int64_t>(r));
      Item item{arg ? plain(e_, x[r]) : cpu::to_accumulator(e_, t, plain(e_, x[r])), nullptr};
      if (arg && is_half(t)) item.v = cpu::to_accumulator(e_, t, item.v);
      if (arg) item.at = position(at[axis]);
      if (padded) {
        LV* in = e_.b.CreateICmpSLT(position(at[axis]), i32(dims(v)[axis]));
        item.v = e_.b.CreateSelect(in, item.v, arg && is_float(t) ? e_.real(item.v->getType(), std::nan("")) : cpu::fold_start(e_, base, t));
        if (arg) item.at = e_.b.CreateSelect(in, item.at, i32(dims(v)[axis] + kWarpLanes));
      }
      groups[register_in(layout, to, static_cast<std::int64_t>(r))].push_back(item);
    }
  };
  Groups groups(static_cast<std::size_t>(to.registers()));
  if (!stream) {
    gather(from, groups);
  } else {
    each_piece(*stream, [&] {
      Groups part(groups.size());
      gather(layout_of(v), part);
      for (std::size_t g = 0; g < part.size(); ++g) groups[g].push_back(fold_tree(std::move(part[g]), fold));
    });
  }
  std::vector<Item> items;
  for (auto& g : groups) {
    Item i = fold_tree(std::move(g), fold);
    for (const Digit& d : p.digits) {
      if (d.source != Source::Lane) continue;
      for (std::int64_t step = 1; step < d.size; step *= 2) i = fold(i, shuffled(i, step * d.divisor));
    }
    items.push_back(i);
  }
  const std::int64_t across = p.count(Source::Warp);
  if (across > 1) {
    // Each warp leaves its part; all read all parts, in order.
    const DType kept = is_half(t) ? DType::F32 : t;
    const std::int64_t cell = cell_bytes(kept);
    std::int64_t places = kWarpLanes * plan_.warps();
    const std::int64_t n = static_cast<std::int64_t>(items.size());
    Digit digit;
    for (const Digit& d : p.digits) digit = d.source == Source::Warp ? d : digit;
    LV* part_number = e_.b.CreateURem(e_.b.CreateUDiv(warp_, i32(digit.divisor)), i32(digit.size));
    // The thread's own place among those with other elements: its number with the digit taken out.
    LV* other = e_.b.CreateSub(tid_, e_.b.CreateMul(part_number, i32(digit.divisor * kWarpLanes)));
    const std::int64_t bytes = n * places * cell, arg_bytes = arg ? n * places * 4 : 0;
    LV* base_address = scratch(bytes + arg_bytes + 16, true);
    const auto value_at = [&](LV* thread, std::int64_t i) {
      return e_.b.CreateAdd(base_address, e_.b.CreateMul(e_.b.CreateAdd(thread, i32(i * places)), i32(cell)));
    };
    const std::int64_t arg_offset = (bytes + 15) / 16 * 16;
    const auto number_at = [&](LV* thread, std::int64_t i) {
      return e_.b.CreateAdd(base_address, e_.b.CreateAdd(i32(arg_offset), e_.b.CreateMul(e_.b.CreateAdd(thread, i32(i * places)), i32(4))));
    };
    for (std::int64_t i = 0; i < n; ++i) {
      store_cell(kept, items[static_cast<std::size_t>(i)].v, value_at(tid_, i));
      if (arg) shared_store(items[static_cast<std::size_t>(i)].at, number_at(tid_, i), 4);
    }
    base_address = scratch(bytes + arg_bytes + 16, false);
    for (std::int64_t i = 0; i < n; ++i) {
      std::vector<Item> parts;
      for (std::int64_t w = 0; w < across; ++w) {
        LV* thread = e_.b.CreateAdd(other, i32(w * digit.divisor * kWarpLanes));
        parts.push_back({load_cell(kept, value_at(thread, i)), arg ? shared_load(e_.i32(), number_at(thread, i), 4) : nullptr});
      }
      items[static_cast<std::size_t>(i)] = fold_tree(std::move(parts), fold);
    }
  }
  Elements out;
  for (const Item& i : items) out.push_back({arg ? e_.b.CreateSExt(i.at, e_.i64()) : cpu::from_accumulator(e_, t, i.v)});
  const Tile natural{to, std::move(out)};
  const Layout& wanted = layout_of(result);
  set(result, wanted, natural.layout == wanted ? natural.regs : convert(natural, dtype(result), dims(result), wanted));
}

}  // namespace tessera::gpu
