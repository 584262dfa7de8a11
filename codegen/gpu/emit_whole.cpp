// Ops that see a whole axis at once, or move elements between registers: through shared memory.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "codegen/cpu/arith.h"
#include "codegen/cpu/convert.h"
#include "codegen/gpu/emit.h"
#include "dsl/diagnostic.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;

Layout ThreadEmitter::any_layout(const ir::Value* v) const {
  if (plan_.has_layout(v)) return plan_.layout(v);
  Layout l;
  for (std::size_t a = 0; a < dims(v).size(); ++a) {
    const std::int64_t n = dims(v)[a];
    const bool inner = a + 1 == dims(v).size(), outer = a == 0 && !inner;
    l.axes.push_back(n == 1 ? AxisPart{} : strided(n, 1, inner ? kWarpLanes : 1, 1, outer ? plan_.warps() : 1, 1));
  }
  return l;
}

void ThreadEmitter::each_owned(const Layout& l, const ir::Dims& shape, const std::function<void(std::size_t, const std::vector<Position>&)>& f) {
  const auto all = [&] {
    for (std::int64_t r = 0; r < l.registers(); ++r) {
      const std::vector<Position> at = positions(l, r);
      LV* in = within(l, shape, at);
      const auto one = [&] { f(static_cast<std::size_t>(r), at); };
      in ? e_.if_then(in, one) : one();
    }
  };
  LV* mine = owner(l);
  mine ? e_.if_then(mine, all) : all();
}

LV* ThreadEmitter::linear(const ir::Dims& shape, const std::vector<Position>& at) {
  LV* number = nullptr;
  std::int64_t fixed = 0;
  for (std::size_t a = 0; a < shape.size(); ++a) {
    fixed = fixed * shape[a] + at[a].offset;
    if (number) number = e_.b.CreateMul(number, i32(shape[a]));
    if (at[a].base) number = number ? e_.b.CreateAdd(number, at[a].base) : at[a].base;
  }
  if (!number) return i32(fixed);
  return fixed == 0 ? number : e_.b.CreateAdd(number, i32(fixed));
}

void ThreadEmitter::put(const ir::Value* v, LV* base) {
  const Layout l = any_layout(v);
  const Elements regs = get(v, l);
  const std::int64_t cell = cell_bytes(dtype(v));
  each_owned(l, dims(v), [&](std::size_t r, const std::vector<Position>& at) {
    store_cell(dtype(v), plain(e_, regs[r]), e_.b.CreateAdd(base, e_.b.CreateMul(linear(dims(v), at), i32(cell))));
  });
}

void ThreadEmitter::take(const ir::Value* result, const std::function<LV*(const std::vector<Position>&)>& address) {
  const Layout& l = layout_of(result);
  const DType t = dtype(result);
  Elements out;
  for (std::int64_t r = 0; r < l.registers(); ++r) {
    std::vector<Position> at = positions(l, r);
    const auto read = [&] { return Values{load_cell(t, address(at))}; };
    LV* in = within(l, dims(result), at);
    out.push_back({in ? e_.choose(in, read, [&] { return Values{e_.zero(cpu::register_type(e_, t))}; })[0] : read()[0]});
  }
  set(result, l, std::move(out));
}

void ThreadEmitter::emit_whole(const Op& op) {
  switch (op.kind) {
    case OpKind::Slice:
    case OpKind::Pick:
    case OpKind::Concat:
    case OpKind::Reshape: return emit_moved(op);
    case OpKind::Histogram: return emit_histogram(op);
    case OpKind::SolveLower: return emit_solve(op);
    case OpKind::Sort:
    case OpKind::TopK: return emit_sorted(op);
    case OpKind::DotScaled: return emit_dot_scaled(op);
    default: unsupported(op, fmt::format("`{}`", ir::info(op.kind).name));
  }
}

namespace {

/// The lane and warp digits of a part, and how far they reach together.
std::vector<Digit> thread_digits(const AxisPart& p, std::int64_t& reach) {
  std::vector<Digit> out;
  reach = 0;
  for (const Digit& d : p.digits) {
    if (d.source == Source::Register) continue;
    out.push_back(d);
    reach += (d.size - 1) * d.stride;
  }
  return out;
}

/// Register `reg` of a layout, with another number along an axis of another layout that differs there alone.
std::size_t with_number(const Layout& l, std::int64_t reg, std::size_t axis, const AxisPart& other, std::int64_t number) {
  std::vector<std::int64_t> digits(l.axes.size());
  for (std::size_t a = l.axes.size(); a-- > 0;) {
    const std::int64_t n = l.axes[a].count(Source::Register);
    digits[a] = reg % n;
    reg /= n;
  }
  std::int64_t index = 0;
  for (std::size_t a = 0; a < l.axes.size(); ++a) {
    const AxisPart& p = a == axis ? other : l.axes[a];
    index = index * p.count(Source::Register) + (a == axis ? number : digits[a]);
  }
  return static_cast<std::size_t>(index);
}

}  // namespace

bool ThreadEmitter::emit_renumbered(const Op& op) {
  if (op.kind != OpKind::Slice && op.kind != OpKind::Concat) return false;
  const ir::Value* v = op.result();
  const auto axis = static_cast<std::size_t>(op.int_attr(ir::Attr::Axis));
  const Layout& to = layout_of(v);
  std::int64_t reach = 0;
  const std::vector<Digit> digits = thread_digits(to.axes[axis], reach);
  if (to.axes[axis].extent() != dims(v)[axis]) return false;
  struct Piece {
    const ir::Value* tile;
    std::int64_t first, size;  ///< in coordinates of the result
  };
  std::vector<Piece> pieces;
  std::int64_t first = op.kind == OpKind::Slice ? -op.int_attr(ir::Attr::Offset) : 0;
  for (const ir::Value* o : op.operands) {
    if (!plan_.has_layout(o)) return false;
    Layout own = plan_.layout(o);
    std::int64_t same = 0;
    if (own.axes[axis].extent() != dims(o)[axis] || thread_digits(own.axes[axis], same) != digits) return false;
    own.axes[axis] = to.axes[axis];
    if (own != to) return false;
    pieces.push_back({o, first, dims(o)[axis]});
    first += dims(o)[axis];
  }
  const std::vector<std::int64_t> offsets = to.axes[axis].offsets();
  struct Origin {
    std::size_t piece;
    std::int64_t number;
  };
  std::vector<Origin> sources;
  for (const std::int64_t o : offsets) {
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const Piece& p = pieces[i];
      if (o < p.first || o + reach >= p.first + p.size) continue;
      const std::vector<std::int64_t> own = plan_.layout(p.tile).axes[axis].offsets();
      const auto at = std::lower_bound(own.begin(), own.end(), o - p.first);
      if (at != own.end() && *at == o - p.first) sources.push_back({i, at - own.begin()});
    }
  }
  if (sources.size() != offsets.size()) return false;
  std::vector<Elements> held;
  for (const Piece& p : pieces) held.push_back(get(p.tile, plan_.layout(p.tile)));
  std::int64_t inner = 1;
  for (std::size_t a = axis + 1; a < to.axes.size(); ++a) inner *= to.axes[a].count(Source::Register);
  const auto along = static_cast<std::int64_t>(offsets.size());
  Elements out;
  for (std::int64_t r = 0; r < to.registers(); ++r) {
    const Origin& s = sources[static_cast<std::size_t>(r / inner % along)];
    out.push_back(held[s.piece][with_number(to, r, axis, plan_.layout(pieces[s.piece].tile).axes[axis], s.number)]);
  }
  set(v, to, std::move(out));
  return true;
}

void ThreadEmitter::emit_moved(const Op& op) {
  if (emit_renumbered(op)) return;
  const ir::Value* v = op.result();
  const std::int64_t cell = cell_bytes(dtype(v));
  std::int64_t bytes = 0;
  std::vector<std::int64_t> offsets;
  for (const ir::Value* o : op.operands) {
    if (!is_real_tile(o)) continue;
    offsets.push_back(bytes);
    bytes += elements(o) * cell;
  }
  LV* base = scratch(bytes, true);
  for (std::size_t i = 0; i < offsets.size(); ++i) put(op.operands[i], e_.b.CreateAdd(base, i32(offsets[i])));
  base = scratch(bytes, false);
  const auto axis = static_cast<std::size_t>(op.int_attr(ir::Attr::Axis));
  if (op.kind == OpKind::Pick) {
    // Outside: zero, from a place that exists.
    LV* i = scalar(op.operands[1]);
    LV* inside = e_.b.CreateICmpULT(i, e_.idx(dims(op.operands[0])[axis]));
    LV* row = e_.b.CreateTrunc(e_.b.CreateSelect(inside, i, e_.idx(0)), e_.i32());
    take(v, [&](std::vector<Position> at) {
      at[axis] = {row, 0};
      return e_.b.CreateAdd(base, e_.b.CreateMul(linear(dims(op.operands[0]), at), i32(cell)));
    });
    for (Element& x : tiles_.at(v).regs) x.v = e_.b.CreateSelect(inside, x.v, e_.zero(x.v->getType()));
    return;
  }
  take(v, [&](std::vector<Position> at) {
    LV* number = nullptr;
    if (op.kind == OpKind::Slice) {
      at[axis].offset += op.int_attr(ir::Attr::Offset);
      number = linear(dims(op.operands[0]), at);
    } else if (op.kind == OpKind::Reshape) {
      number = linear(dims(v), at);
    } else {
      LV* c = position(at[axis]);
      std::int64_t first = 0;
      for (std::size_t i = 0; i < op.operands.size(); ++i) {
        std::vector<Position> there = at;
        there[axis] = {e_.b.CreateSub(c, i32(first)), 0};
        LV* n = e_.b.CreateAdd(linear(dims(op.operands[i]), there), i32(offsets[i] / cell));
        number = number ? e_.b.CreateSelect(e_.b.CreateICmpSGE(c, i32(first)), n, number) : n;
        first += dims(op.operands[i])[axis];
      }
    }
    return e_.b.CreateAdd(base, e_.b.CreateMul(number, i32(cell)));
  });
}

void ThreadEmitter::emit_histogram(const Op& op) {
  const ir::Value *x = op.operands[0], *when = op.operands[1], *v = op.result();
  const std::int64_t size = dims(v)[0];
  LV* base = scratch(size * 4, true);
  e_.loop(tid_, i32(size), i32(plan_.threads()), false, [&](LV* i) { shared_store(i32(0), e_.b.CreateAdd(base, e_.b.CreateMul(i, i32(4))), 4); });
  barrier();
  const Layout l = any_layout(x);
  const Elements values = get(x, l), counted = get(when, l);
  each_owned(l, dims(x), [&](std::size_t r, const std::vector<Position>&) {
    LV* bin = plain(e_, values[r]);
    LV* in = e_.b.CreateAnd(counted[r].v, e_.b.CreateICmpULT(bin, e_.integer(bin->getType(), size)));
    e_.if_then(in, [&] {
      LV* to = shared_pointer(e_.b.CreateAdd(base, e_.b.CreateMul(e_.b.CreateZExtOrTrunc(bin, e_.i32()), i32(4))));
      e_.b.CreateAtomicRMW(llvm::AtomicRMWInst::Add, to, i32(1), llvm::Align(4), llvm::AtomicOrdering::Monotonic);
    });
  });
  barrier();
  base = scratch(size * 4, false);
  take(v, [&](const std::vector<Position>& at) { return e_.b.CreateAdd(base, e_.b.CreateMul(position(at[0]), i32(4))); });
}

void ThreadEmitter::emit_solve(const Op& op) {
  const ir::Value *a = op.operands[0], *r = op.operands[1], *v = op.result();
  const DType t = dtype(v);
  const std::int64_t m = dims(r)[0], n = dims(r)[1], cell = cell_bytes(t), at_r = m * m * cell;
  LV* base = scratch(at_r + m * n * cell, true);
  put(a, base);
  put(r, e_.b.CreateAdd(base, i32(at_r)));
  barrier();
  // Columns are independent: a thread solves some of them, in place.
  e_.loop(tid_, i32(n), i32(plan_.threads()), false, [&](LV* col) {
    const auto x_at = [&](LV* row) {
      return e_.b.CreateAdd(base, e_.b.CreateAdd(i32(at_r), e_.b.CreateMul(e_.b.CreateAdd(e_.b.CreateMul(row, i32(n)), col), i32(cell))));
    };
    e_.loop(i32(1), i32(m), i32(1), false, [&](LV* row) {
      const Values sum =
          e_.loop(i32(0), row, i32(1), {cpu::to_accumulator(e_, t, load_cell(t, x_at(row)))}, true, [&](LV* j, llvm::ArrayRef<LV*> so_far) {
            LV* f = load_cell(t, e_.b.CreateAdd(base, e_.b.CreateMul(e_.b.CreateAdd(e_.b.CreateMul(row, i32(m)), j), i32(cell))));
            LV* x = cpu::to_accumulator(e_, t, load_cell(t, x_at(j)));
            return Values{e_.fma(e_.b.CreateFNeg(cpu::to_accumulator(e_, t, f)), x, so_far[0])};
          });
      store_cell(t, cpu::from_accumulator(e_, t, sum[0]), x_at(row));
    });
  });
  barrier();
  base = scratch(at_r + m * n * cell, false);
  take(v, [&](const std::vector<Position>& at) {
    return e_.b.CreateAdd(base, e_.b.CreateAdd(i32(at_r), e_.b.CreateMul(linear(dims(v), at), i32(cell))));
  });
}

void ThreadEmitter::emit_dot_scaled(const Op& op) {
  const ir::Value* v = op.result();
  const std::int64_t k = dims(op.operands[0])[1], group_a = k / dims(op.operands[1])[1], group_b = k / dims(op.operands[3])[0];
  std::int64_t bytes = 0;
  std::vector<std::int64_t> offsets;
  for (const ir::Value* o : op.operands) {
    offsets.push_back(bytes);
    bytes += (elements(o) * cell_bytes(dtype(o)) + 15) / 16 * 16;
  }
  LV* base = scratch(bytes, true);
  for (std::size_t i = 0; i < 4; ++i) put(op.operands[i], e_.b.CreateAdd(base, i32(offsets[i])));
  base = scratch(bytes, false);
  const Layout& l = layout_of(v);
  Values carried(static_cast<std::size_t>(l.registers()), e_.zero(e_.f32()));
  const auto cell_of = [&](std::size_t i, LV* row, LV* col) {
    const DType t = dtype(op.operands[i]);
    LV* number = e_.b.CreateAdd(e_.b.CreateMul(row, i32(dims(op.operands[i])[1])), col);
    LV* x = load_cell(t, e_.b.CreateAdd(base, e_.b.CreateAdd(i32(offsets[i]), e_.b.CreateMul(number, i32(cell_bytes(t))))));
    return cpu::convert(e_, t, DType::F32, x, false, Rounding::Nearest, true);
  };
  const std::vector<std::int64_t> rows = l.axes[0].offsets(), cols = l.axes[1].offsets();
  LV *row_base = part_base(l.axes[0]), *col_base = part_base(l.axes[1]);
  const auto clipped = [&](LV* b, std::int64_t o, std::int64_t n) {
    LV* p = position({b, o});
    return e_.min(p, i32(n - 1));  // padding computes something of its own
  };
  const Values sums = e_.loop(i32(0), i32(k), i32(1), carried, true, [&](LV* kk, llvm::ArrayRef<LV*> inside) {
    Values x, y, next;
    for (const std::int64_t o : rows) {
      LV* r = clipped(row_base, o, dims(v)[0]);
      x.push_back(e_.b.CreateFMul(cell_of(0, r, kk), cell_of(1, r, e_.b.CreateUDiv(kk, i32(group_a)))));
    }
    for (const std::int64_t o : cols) {
      LV* c = clipped(col_base, o, dims(v)[1]);
      y.push_back(e_.b.CreateFMul(cell_of(2, kk, c), cell_of(3, e_.b.CreateUDiv(kk, i32(group_b)), c)));
    }
    for (std::size_t i = 0; i < x.size(); ++i) {
      for (std::size_t j = 0; j < y.size(); ++j) next.push_back(e_.fma(x[i], y[j], inside[i * y.size() + j]));
    }
    return next;
  });
  Elements out;
  for (LV* s : sums) out.push_back({s});
  set(v, l, std::move(out));
}

/// Bitonic sorting network (Batcher 1968) over keys and their numbers in shared memory, one line after the other. The number decides between
/// equal keys, so the order is total and stable.
void ThreadEmitter::emit_sorted(const Op& op) {
  const ir::Value *x = op.operands[0], *v = op.result();
  const DType t = dtype(x);
  const bool top = op.kind == OpKind::TopK, descending = top || op.int_attr(ir::Attr::Descending) != 0;
  const auto axis = static_cast<std::size_t>(op.int_attr(ir::Attr::Axis));
  const std::int64_t n = dims(x)[axis], lines = elements(x) / n, cell = cell_bytes(t);
  std::int64_t size = 1;
  while (size < n) size *= 2;
  const std::int64_t at_numbers = (lines * size * cell + 15) / 16 * 16, bytes = at_numbers + lines * size * 4;
  LV* base = scratch(bytes, true);
  const auto key_at = [&](LV* i) { return e_.b.CreateAdd(base, e_.b.CreateMul(i, i32(cell))); };
  const auto number_at = [&](LV* i) { return e_.b.CreateAdd(base, e_.b.CreateAdd(i32(at_numbers), e_.b.CreateMul(i, i32(4)))); };
  // A line is [outer, inner] with the axis taken out; key i of line l stands at l * size + i.
  const auto line_of = [&](const std::vector<Position>& at) {
    std::vector<Position> rest = at;
    ir::Dims shape = dims(x);
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(axis));
    shape.erase(shape.begin() + static_cast<std::ptrdiff_t>(axis));
    return e_.b.CreateMul(linear(shape, rest), i32(size));
  };
  // Numbers from n on mark padding, which goes last.
  e_.loop(tid_, i32(lines * size), i32(plan_.threads()), false, [&](LV* i) {
    shared_store(e_.b.CreateURem(i, i32(size)), number_at(i), 4);
    if (size > n) store_cell(t, e_.zero(cpu::register_type(e_, t)), key_at(i));
  });
  if (size > n) barrier();
  const Layout l = any_layout(x);
  const Elements regs = get(x, l);
  if (!plan_.has_layout(x) || l == layout_of(x)) {
    each_owned(l, dims(x), [&](std::size_t r, const std::vector<Position>& at) {
      store_cell(t, plain(e_, regs[r]), key_at(e_.b.CreateAdd(line_of(at), position(at[axis]))));
    });
  }
  barrier();
  // Whether (a, i) comes before (b, j).
  const auto before = [&](LV* a, LV* i, LV* b, LV* j) {
    LV *less, *equal;
    if (is_float(t)) {
      LV *wa = cpu::widen_float(e_, t, a), *wb = cpu::widen_float(e_, t, b);
      LV *na = e_.b.CreateFCmpUNO(wa, wa), *nb = e_.b.CreateFCmpUNO(wb, wb);
      less = descending ? e_.b.CreateFCmpOGT(wa, wb) : e_.b.CreateFCmpOLT(wa, wb);
      less = e_.b.CreateOr(less, e_.b.CreateAnd(nb, e_.b.CreateNot(na)));
      equal = e_.b.CreateOr(e_.b.CreateFCmpOEQ(wa, wb), e_.b.CreateAnd(na, nb));
    } else if (is_bool(t) || !is_signed(t)) {
      less = descending ? e_.b.CreateICmpUGT(a, b) : e_.b.CreateICmpULT(a, b);
      equal = e_.b.CreateICmpEQ(a, b);
    } else {
      less = descending ? e_.b.CreateICmpSGT(a, b) : e_.b.CreateICmpSLT(a, b);
      equal = e_.b.CreateICmpEQ(a, b);
    }
    LV* first = e_.b.CreateOr(less, e_.b.CreateAnd(equal, e_.b.CreateICmpULT(i, j)));
    if (size == n) return first;
    LV *pad_i = e_.b.CreateICmpUGE(i, i32(n)), *pad_j = e_.b.CreateICmpUGE(j, i32(n));
    LV* both = e_.b.CreateICmpULT(i, j);
    return e_.b.CreateSelect(pad_i, e_.b.CreateAnd(pad_j, both), e_.b.CreateOr(pad_j, first));
  };
  const std::int64_t pairs = lines * size / 2;
  for (std::int64_t k = 2; k <= size; k *= 2) {
    for (std::int64_t j = k / 2; j > 0; j /= 2) {
      e_.loop(tid_, i32(pairs), i32(plan_.threads()), false, [&](LV* q) {
        // The q-th pair whose members differ in bit j.
        LV* low = e_.b.CreateAnd(q, i32(j - 1));
        LV* a = e_.b.CreateOr(e_.b.CreateShl(e_.b.CreateSub(q, low), i32(1)), low);
        LV* b = e_.b.CreateOr(a, i32(j));
        LV *ka = load_cell(t, key_at(a)), *kb = load_cell(t, key_at(b));
        LV *na = shared_load(e_.i32(), number_at(a), 4), *nb = shared_load(e_.i32(), number_at(b), 4);
        LV* up = e_.b.CreateICmpEQ(e_.b.CreateAnd(e_.b.CreateURem(a, i32(size)), i32(k)), i32(0));
        LV* swap = e_.b.CreateSelect(up, before(kb, nb, ka, na), before(ka, na, kb, nb));
        e_.if_then(swap, [&] {
          store_cell(t, kb, key_at(a));
          store_cell(t, ka, key_at(b));
          shared_store(nb, number_at(a), 4);
          shared_store(na, number_at(b), 4);
        });
      });
      barrier();
    }
  }
  base = scratch(bytes, false);
  take(v, [&](const std::vector<Position>& at) { return key_at(e_.b.CreateAdd(line_of(at), position(at[axis]))); });
  if (!top) return;
  const ir::Value* numbers = op.result(1);
  const Layout& nl = layout_of(numbers);
  Elements out;
  for (std::int64_t r = 0; r < nl.registers(); ++r) {
    std::vector<Position> at = positions(nl, r);
    LV* c = position(at[axis]);
    if (within(nl, dims(numbers), at)) c = e_.min(c, i32(n - 1));
    std::vector<Position> line = at;
    for (std::size_t a = 0; a < line.size(); ++a) {
      if (a != axis && within(nl, dims(numbers), at)) line[a] = {e_.min(position(at[a]), i32(dims(numbers)[a] - 1)), 0};
    }
    out.push_back({e_.b.CreateZExt(shared_load(e_.i32(), number_at(e_.b.CreateAdd(line_of(line), c)), 4), e_.i64())});
  }
  set(numbers, nl, std::move(out));
}

}  // namespace tessera::gpu
