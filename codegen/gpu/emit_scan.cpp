// Scans and folds by a region, in order along the axis: each thread has a run of neighbours, then lanes, then warps.
#include <fmt/format.h>

#include "codegen/cpu/arith.h"
#include "codegen/gpu/emit.h"
#include "dsl/diagnostic.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;
using ir::ReduceKind;

void ThreadEmitter::scan_tiles(const Op& op, const std::vector<const ir::Value*>& tiles, const Values& identity, const Combine& combine,
                               bool exclusive, bool reverse, bool total_only) {
  const auto axis = static_cast<std::size_t>(op.int_attr(ir::Attr::Axis));
  const ir::Dims& shape = dims(tiles[0]);
  const std::int64_t n = shape[axis];
  const std::size_t count = tiles.size();
  // Other axes by warps as far as they go; the rest of the warps divide the axis.
  std::int64_t lanes = 1;
  while (lanes < kWarpLanes && lanes < n) lanes *= 2;
  std::int64_t left = 1;
  while (left * 2 <= plan_.warps()) left *= 2;
  Layout l;
  std::int64_t divisor = 1;
  for (std::size_t a = 0; a < shape.size(); ++a) {
    if (a == axis || shape[a] == 1) {
      l.axes.emplace_back();
      continue;
    }
    std::int64_t w = 1;
    while (w * 2 <= left && w < shape[a]) w *= 2;
    l.axes.push_back(strided(shape[a], 1, 1, 1, w, divisor));
    left /= w;
    divisor *= w;
  }
  std::int64_t warps = 1;
  while (warps * 2 <= left && lanes * warps * 4 <= n) warps *= 2;
  const std::int64_t run = (n + lanes * warps - 1) / (lanes * warps);
  l.axes[axis] = part({{Source::Register, run, 1}, {Source::Lane, lanes, run, 1}, {Source::Warp, warps, run * lanes, divisor}});
  LV* lane_digit = e_.b.CreateURem(lane_, i32(lanes));
  LV* warp_digit = warps > 1 ? e_.b.CreateURem(e_.b.CreateUDiv(warp_, i32(divisor)), i32(warps)) : i32(0);

  std::vector<Elements> x;
  for (const ir::Value* v : tiles) x.push_back(get(v, l));
  const std::int64_t registers = l.registers();
  const auto item = [&](std::int64_t r) {
    Values out;
    for (std::size_t i = 0; i < count; ++i) out.push_back(plain(e_, x[i][static_cast<std::size_t>(r)]));
    const Position p = positions(l, r)[axis];
    if (l.axes[axis].extent() == n) return out;
    LV* in = e_.b.CreateICmpSLT(position(p), i32(n));
    for (std::size_t i = 0; i < count; ++i) out[i] = e_.b.CreateSelect(in, out[i], identity[i]);
    return out;
  };
  const auto chosen = [&](LV* c, const Values& a, const Values& b) {
    Values out;
    for (std::size_t i = 0; i < count; ++i) out.push_back(e_.b.CreateSelect(c, a[i], b[i]));
    return out;
  };
  const auto from_lane = [&](const Values& v, LV* lane) {
    Values out;
    for (LV* y : v) out.push_back(shuffle(e_, Primitive::ShflIdx, y, lane));
    return out;
  };
  // In scan order: `earlier` combined with `later`.
  const auto in_order = [&](const Values& earlier, const Values& later) { return combine(earlier, later); };

  // Registers of one line along the axis.
  std::int64_t inner = 1;
  for (std::size_t a = axis + 1; a < l.axes.size(); ++a) inner *= l.axes[a].count(Source::Register);
  const std::int64_t along = l.axes[axis].count(Source::Register), line_count = registers / along;
  std::vector<Values> result(static_cast<std::size_t>(registers));
  for (std::int64_t line = 0; line < line_count; ++line) {
    const auto reg = [&](std::int64_t i) { return (line / inner * along + i) * inner + line % inner; };
    std::vector<Values> prefix;  // inclusive, in scan order
    for (std::int64_t i = 0; i < along; ++i) {
      const Values v = item(reg(reverse ? along - 1 - i : i));
      prefix.push_back(i == 0 ? v : in_order(prefix.back(), v));
    }
    // Lanes: totals of runs, inclusive.
    Values total = prefix.back();
    LV* lane_rank = reverse ? e_.b.CreateSub(i32(lanes - 1), lane_digit) : lane_digit;
    for (std::int64_t step = 1; step < lanes; step *= 2) {
      LV* from = reverse ? e_.b.CreateAdd(lane_, i32(step)) : e_.b.CreateSub(lane_, i32(step));
      const Values earlier = from_lane(total, from);
      total = chosen(e_.b.CreateICmpSGE(lane_rank, i32(step)), in_order(earlier, total), total);
    }
    Values before = identity;
    if (lanes > 1) {
      before = from_lane(total, reverse ? e_.b.CreateAdd(lane_, i32(1)) : e_.b.CreateSub(lane_, i32(1)));
      before = chosen(e_.b.CreateICmpEQ(lane_rank, i32(0)), identity, before);
    }
    Values all = total;
    if (lanes > 1) {
      LV* first = e_.b.CreateSub(lane_, lane_digit);
      all = from_lane(total, reverse ? first : e_.b.CreateAdd(first, i32(lanes - 1)));
    }
    if (warps > 1) {
      std::int64_t bytes = 0;
      std::vector<std::int64_t> offsets;
      for (std::size_t i = 0; i < count; ++i) {
        offsets.push_back(bytes);
        bytes += (plan_.warps() * 8 + 15) / 16 * 16;
      }
      LV* base = scratch(bytes, true);
      const auto place = [&](LV* w, std::size_t i) { return e_.b.CreateAdd(base, e_.b.CreateAdd(e_.b.CreateMul(w, i32(8)), i32(offsets[i]))); };
      e_.if_then(e_.b.CreateICmpEQ(lane_, i32(0)), [&] {
        for (std::size_t i = 0; i < count; ++i) store_cell(dtype(tiles[i]), all[i], place(warp_, i));
      });
      base = scratch(bytes, false);
      LV* first = e_.b.CreateSub(warp_, e_.b.CreateMul(warp_digit, i32(divisor)));
      Values ahead = identity;
      for (std::int64_t w = 0; w < warps; ++w) {
        const std::int64_t digit = reverse ? warps - 1 - w : w;
        Values theirs;
        for (std::size_t i = 0; i < count; ++i) theirs.push_back(load_cell(dtype(tiles[i]), place(e_.b.CreateAdd(first, i32(digit * divisor)), i)));
        LV* earlier = reverse ? e_.b.CreateICmpSGT(i32(digit), warp_digit) : e_.b.CreateICmpSLT(i32(digit), warp_digit);
        const Values with = in_order(ahead, theirs);
        if (w == 0) {
          all = theirs;
        } else {
          all = in_order(all, theirs);
        }
        ahead = chosen(earlier, with, ahead);
      }
      before = in_order(ahead, before);
    }
    for (std::int64_t i = 0; i < along; ++i) {
      Values& out = result[static_cast<std::size_t>(reg(reverse ? along - 1 - i : i))];
      if (total_only) {
        out = all;
      } else if (exclusive) {
        out = i == 0 ? before : in_order(before, prefix[static_cast<std::size_t>(i - 1)]);
      } else {
        out = in_order(before, prefix[static_cast<std::size_t>(i)]);
      }
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    const ir::Value* v = op.result(i);
    Tile natural;
    natural.layout = total_only ? l.collapsed(axis) : l;
    for (std::int64_t r = 0; r < natural.layout.registers(); ++r) {
      const std::int64_t from = total_only ? r / inner * along * inner + r % inner : r;
      natural.regs.push_back({result[static_cast<std::size_t>(from)][i]});
    }
    set(v, layout_of(v), natural.layout == layout_of(v) ? natural.regs : convert(natural, dtype(v), dims(v), layout_of(v)));
  }
}

void ThreadEmitter::emit_scan(const Op& op) {
  const DType t = dtype(op.operands[0]);
  const auto kind = static_cast<ReduceKind>(op.int_attr(ir::Attr::Kind));
  // In the tile's own type: every partial result is one that the op would show.
  const auto combine = [&](const Values& a, const Values& b) {
    LV* r = fold_step(e_, kind, t, cpu::to_accumulator(e_, t, a[0]), cpu::to_accumulator(e_, t, b[0]));
    return Values{cpu::from_accumulator(e_, t, r)};
  };
  LV* identity = cpu::from_accumulator(e_, t, cpu::fold_identity(e_, kind, t));
  scan_tiles(op, {op.operands[0]}, {identity}, combine, op.int_attr(ir::Attr::Exclusive) != 0, op.int_attr(ir::Attr::Reverse) != 0, false);
}

void ThreadEmitter::emit_region_fold(const Op& op) {
  const std::size_t n = op.operands.size() / 2;
  std::vector<const ir::Value*> tiles(op.operands.begin(), op.operands.begin() + static_cast<std::ptrdiff_t>(n));
  Values identity;
  for (std::size_t i = 0; i < n; ++i) identity.push_back(scalar(op.operands[n + i]));
  const ir::Block& body = op.region();
  const auto combine = [&](const Values& a, const Values& b) {
    for (std::size_t i = 0; i < n; ++i) {
      set(body.args[i].get(), {}, {{a[i]}});
      set(body.args[n + i].get(), {}, {{b[i]}});
    }
    emit_block(body);
    Values out;
    for (const ir::Value* y : body.yielded()) out.push_back(scalar(y));
    return out;
  };
  scan_tiles(op, tiles, identity, combine, false, false, op.kind == OpKind::ReduceWith);
}

}  // namespace tessera::gpu
