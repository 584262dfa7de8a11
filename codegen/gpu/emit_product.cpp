// Products: mma.sync on fragments from registers or shared memory, multiply-adds for everything else.
//
// Fragments (PTX ISA, "Matrix Fragments for mma.m16n8k*"), with g = lane / 4, t = lane mod 4 and e elements of an operand in a 32-bit register:
//   A register i: row g + 8 (i mod 2), k = e t + 4 e (i / 2) ..;  B register i: column g, k = e t + 4 e i ..
// ldmatrix gives lane i the elements (row g, 16 bytes t ..) of each 8 x 16-byte matrix, which is both of these where k runs along the rows.
#include <fmt/format.h>

#include "codegen/cpu/arith.h"
#include "codegen/cpu/convert.h"
#include "codegen/gpu/emit.h"
#include "dsl/diagnostic.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;

void ThreadEmitter::emit_dot(const Op& op) {
  const DotPlan& d = plan_.dot(op);
  const DType t = dtype(op.result());
  const Op* sum = plan_.sum_of(op);
  Summand acc;
  if (sum) {
    const ir::Value* other = sum->operands[0] == op.result() ? sum->operands[1] : sum->operands[0];
    const std::optional<ScaledRows> scaled = plan_.scaled_summand(op, other);
    acc.regs = get(scaled ? scaled->tile : other, d.result);
    if (scaled) {
      const Layout narrow = operand_layout(scaled->factor, d.result);
      const Elements factor = get(scaled->factor, narrow);
      for (std::int64_t r = 0; r < d.result.registers(); ++r) acc.factor.push_back(factor[register_in(d.result, narrow, r)]);
    }
  }
  const ir::Value* v = sum ? sum->result() : op.result();
  if (sum) skipped_.insert(sum);
  Tile natural{d.result, {}};
  if (d.warpgroup) {
    Issued issued = warpgroup_dot(op, acc);
    natural.regs = std::move(issued.regs);
    tiles_[v] = natural;
    pending_.push_back({v, groups_, std::move(issued.summand)});
    if (natural.layout != layout_of(v)) {
      settle(v);
      natural = tiles_.at(v);
    }
  } else {
    const Elements zeros(static_cast<std::size_t>(d.result.registers()), Element{e_.zero(cpu::register_type(e_, t))});
    const bool apart = !acc.regs.empty() && plan_.promoted(op);
    Elements from = acc.regs.empty() || apart ? zeros : acc.regs;
    natural.regs = d.mma ? mma_dot(op, std::move(from)) : fma_dot(op, std::move(from));
    for (std::size_t i = 0; i < natural.regs.size() && apart; ++i) natural.regs[i].v = added(acc, i, natural.regs[i].v);
    tiles_[v] = natural;
  }
  if (natural.layout != layout_of(v)) set(v, layout_of(v), convert(natural, t, dims(v), layout_of(v)));
  if (!sum) return;
  stage_defined(v);
}

Elements ThreadEmitter::mma_dot(const Op& op, Elements acc) {
  const DotPlan& d = plan_.dot(op);
  const std::int64_t k = dims(op.operands[0])[1], steps = (k + d.k_step - 1) / d.k_step;
  const std::int64_t rows = d.result.axes[0].count(Source::Register) / 2, cols = d.result.axes[1].count(Source::Register) / 2;
  const std::int64_t k_bytes = d.k_step * cell_bytes(dtype(op.operands[0]));  // 16 or 32 a step
  const bool half_step = k_bytes == 16;
  const auto note_read = [&](const OperandHome& h) {
    if (h.stage < 0) return;
    const Stage& s = plan_.stages()[static_cast<std::size_t>(h.stage)];
    if (slots_.count(h.stage) == 0) read_shared(s.offset, s.offset + s.slot_bytes());
  };
  stage_lazy(d.a);
  stage_lazy(d.b);
  note_read(d.a);
  note_read(d.b);

  Elements a_regs;
  std::int64_t a_columns = 0;
  if (d.a.stage < 0) {
    const Layout& l = layout_of(op.operands[0]);
    a_regs = get(op.operands[0], l);
    a_columns = l.axes[1].count(Source::Register);
  }
  // Addresses: what lane and warp add, then constants.
  struct FragmentSource {
    LV* base = nullptr;
    std::int64_t pitch = 0;
    bool k_inner = true;
    const Stage* swizzled = nullptr;          ///< the base is then that of the lane's row in the first panel
    LV *row = nullptr, *bytes = nullptr;      ///< of the lane
    LV *slot = nullptr, *in_panel = nullptr;  ///< where the stage begins; the lane's place in a panel's row, if no warp adds to it
  };
  const auto source = [&](const OperandHome& h, const AxisPart& part, bool is_a) {
    FragmentSource s;
    if (h.stage < 0) return s;
    const Stage& st = plan_.stages()[static_cast<std::size_t>(h.stage)];
    s.pitch = st.pitch;
    s.k_inner = h.k_inner;
    const std::int64_t cell = cell_bytes(st.dtype);
    LV *low = e_.b.CreateAnd(lane_, i32(7)), *one = e_.b.CreateAnd(e_.b.CreateLShr(lane_, i32(3)), i32(1)), *two = e_.b.CreateLShr(lane_, i32(4));
    // Matrix number 2 two + one: A has (row half, k half) = (one, two), B (column pair, k half) = (two, one).
    LV *outer = is_a ? one : two, *inner = is_a ? two : one;
    LV *row, *bytes;
    if (h.k_inner) {
      row = e_.b.CreateAdd(low, e_.b.CreateMul(outer, i32(8)));
      bytes = e_.b.CreateMul(inner, i32(16));
      if (LV* w = part_base(part, true)) row = e_.b.CreateAdd(row, w);
    } else {
      row = e_.b.CreateAdd(low, e_.b.CreateMul(inner, i32(8)));
      bytes = e_.b.CreateMul(outer, i32(16));
      if (LV* w = part_base(part, true)) bytes = e_.b.CreateAdd(bytes, e_.b.CreateMul(w, i32(cell)));
    }
    if (st.swizzled) {
      s.swizzled = &st;
      s.row = row;
      s.bytes = bytes;
      s.slot = stage_address(h.stage);
      s.base = e_.b.CreateAdd(s.slot, e_.b.CreateMul(row, i32(kPanelBytes)));
      // Rows that constants add are whole eights.
      if (h.k_inner || !part_base(part, true)) s.in_panel = e_.b.CreateXor(bytes, e_.b.CreateMul(low, i32(16)));
      return s;
    }
    s.base = e_.b.CreateAdd(stage_address(h.stage), e_.b.CreateAdd(e_.b.CreateMul(row, i32(s.pitch)), bytes));
    return s;
  };
  const FragmentSource a = source(d.a, d.result.axes[0], true), b = source(d.b, d.result.axes[1], false);
  const std::int64_t cell = cell_bytes(dtype(op.operands[1]));
  const auto matrices = [&](const FragmentSource& s, std::int64_t outer, std::int64_t step, int count) {
    const std::int64_t row = s.k_inner ? outer : step * d.k_step, byte = s.k_inner ? step * k_bytes : outer * cell;
    LV* place = nullptr;
    if (!s.swizzled) {
      place = e_.b.CreateAdd(s.base, i32(row * s.pitch + byte));
    } else if (s.in_panel && byte % 32 == 0 && row % 8 == 0) {
      LV* chunk = e_.b.CreateXor(s.in_panel, i32(byte % kPanelBytes));
      place = e_.b.CreateAdd(e_.b.CreateAdd(s.base, chunk), i32(byte / kPanelBytes * s.swizzled->panel_bytes() + row * kPanelBytes));
    } else {
      place = stage_place(*s.swizzled, s.slot, e_.b.CreateAdd(s.row, i32(row)), e_.b.CreateAdd(s.bytes, i32(byte)));
    }
    using enum Primitive;
    const Primitive p = count == 4   ? (s.k_inner ? LdmatrixX4 : LdmatrixX4Trans)
                        : count == 2 ? (s.k_inner ? LdmatrixX2 : LdmatrixX2Trans)
                                     : (s.k_inner ? LdmatrixX1 : LdmatrixX1Trans);
    std::vector<LV*> words = call(e_.b, e_.module, p, {place}, {}, count, e_.i32());
    if (*d.mma == MmaTf32K8) {
      for (LV*& w : words) w = round_tf32(e_, w);
    }
    return words;
  };
  const std::vector<std::int64_t> row_offsets = d.result.axes[0].offsets(), col_offsets = d.result.axes[1].offsets();
  llvm::Type* acc_type = acc[0].v->getType();

  const auto fragment_a = [&](std::int64_t m, std::int64_t step) {
    std::vector<LV*> f;
    if (d.a.stage >= 0) {
      // A step of 8 elements of 16 bits, or 4 of 32: matrices 0 and 1 alone. ldmatrix x2 reads the addresses of lanes 0 to 15, which are theirs.
      f = matrices(a, row_offsets[static_cast<std::size_t>(2 * m)], step, half_step ? 2 : 4);
      return f;
    }
    const auto at = [&](std::int64_t row, std::int64_t col) -> LV* {
      if (col >= a_columns) return e_.zero(cpu::register_type(e_, dtype(op.operands[0])));
      return a_regs[static_cast<std::size_t>(row * a_columns + col)].v;
    };
    const std::int64_t per_step = d.k_step / 4, per = d.per_register;  // registers along k of one step, and of one word
    for (std::int64_t i = 0; i < (half_step ? 2 : 4); ++i) {
      std::vector<LV*> parts;
      for (std::int64_t col = step * per_step + i / 2 * per; col < step * per_step + (i / 2 + 1) * per; ++col)
        parts.push_back(at(2 * m + i % 2, col));
      f.push_back(pack_word(e_, parts));
    }
    return f;
  };
  const std::int64_t k_pad = steps * d.k_step;
  if (d.a.stage < 0 && k_pad != k) zero_beyond(op.operands[0], a_regs, k);

  // B's matrices of one step: two column blocks by one ldmatrix, as (block n, k half 0), (n, 1), (n + 1, 0), (n + 1, 1).
  const auto fragments_b = [&](std::int64_t n, std::int64_t step) {
    const bool both = n + 1 < cols;
    std::vector<LV*> f;
    if (!half_step) return matrices(b, col_offsets[static_cast<std::size_t>(2 * n)], step, both ? 4 : 2);
    for (std::int64_t i = 0; i < (both ? 2 : 1); ++i) f.push_back(matrices(b, col_offsets[static_cast<std::size_t>(2 * (n + i))], step, 1)[0]);
    return f;
  };
  for (std::int64_t step = 0; step < steps; ++step) {
    std::vector<std::vector<LV*>> a_fragments;
    for (std::int64_t m = 0; m < rows; ++m) a_fragments.push_back(fragment_a(m, step));
    for (std::int64_t n = 0; n < cols; n += 2) {
      const std::vector<LV*> fb = fragments_b(n, step);
      for (std::int64_t m = 0; m < rows; ++m) {
        for (std::int64_t i = 0; i < (n + 1 < cols ? 2 : 1); ++i) {
          const auto c = [&](std::int64_t row, std::int64_t col) -> LV*& {
            return acc[static_cast<std::size_t>((2 * m + row) * 2 * cols + 2 * (n + i) + col)].v;
          };
          std::vector<LV*> regs = {c(0, 0), c(0, 1), c(1, 0), c(1, 1)};
          const std::vector<LV*>& fa = a_fragments[static_cast<std::size_t>(m)];
          regs.insert(regs.end(), fa.begin(), fa.end());
          const std::int64_t halves = half_step ? 1 : 2;
          for (std::int64_t h = 0; h < halves; ++h) regs.push_back(fb[static_cast<std::size_t>(halves * i + h)]);
          const std::vector<LV*> r = call(e_.b, e_.module, *d.mma, {}, regs, 4, acc_type);
          c(0, 0) = r[0];
          c(0, 1) = r[1];
          c(1, 0) = r[2];
          c(1, 1) = r[3];
        }
      }
    }
  }
  return acc;
}

void ThreadEmitter::zero_beyond(const ir::Value* v, Elements& regs, std::int64_t k) {
  const Layout& l = layout_of(v);
  for (std::size_t r = 0; r < regs.size(); ++r) {
    const Position p = positions(l, static_cast<std::int64_t>(r))[1];
    if (l.axes[1].extent() == k) return;
    regs[r].v = e_.b.CreateSelect(e_.b.CreateICmpSLT(position(p), i32(k)), regs[r].v, e_.zero(regs[r].v->getType()));
  }
}

void ThreadEmitter::stage_lazy(const OperandHome& home) {
  if (home.stage < 0) return;
  const Stage& s = plan_.stages()[static_cast<std::size_t>(home.stage)];
  if (!plan_.uses().lazy(s.source)) return;
  stage_registers(home.stage, s.source);
}

Elements ThreadEmitter::fma_dot(const Op& op, Elements acc) {
  const DotPlan& d = plan_.dot(op);
  const DType ta = dtype(op.operands[0]), tb = dtype(op.operands[1]), t = dtype(op.result());
  const std::int64_t k = dims(op.operands[0])[1];
  for (const OperandHome& home : {d.a, d.b}) {
    stage_lazy(home);
    const Stage& s = plan_.stages()[static_cast<std::size_t>(home.stage)];
    if (slots_.count(home.stage) == 0) read_shared(s.offset, s.offset + s.slot_bytes());
  }
  // In the accumulator's type: f64 for f64, f32 for other floats, the result's own for integers.
  const auto widen = [&](DType from, LV* x) { return cpu::convert(e_, from, t, x, false, Rounding::Nearest, true); };
  const auto lines = [&](const OperandHome& h, const AxisPart& part, DType from, LV* kk) {
    const Stage& s = plan_.stages()[static_cast<std::size_t>(h.stage)];
    const std::int64_t cell = cell_bytes(s.dtype);
    LV* base = stage_address(h.stage);
    LV* mine = part_base(part);
    const std::int64_t outer_step = h.k_inner ? s.pitch : cell, k_bytes = h.k_inner ? cell : s.pitch;
    base = e_.b.CreateAdd(base, e_.b.CreateMul(kk, i32(k_bytes)));
    if (mine) base = e_.b.CreateAdd(base, e_.b.CreateMul(mine, i32(outer_step)));
    std::vector<LV*> out;
    for (const std::int64_t o : part.offsets()) out.push_back(widen(from, load_cell(s.dtype, e_.b.CreateAdd(base, i32(o * outer_step)))));
    return out;
  };
  Values carried;
  for (const Element& x : acc) carried.push_back(x.v);
  const Values out = e_.loop(i32(0), i32(k), i32(1), carried, true, [&](LV* kk, llvm::ArrayRef<LV*> inside) {
    const std::vector<LV*> x = lines(d.a, d.result.axes[0], ta, kk), y = lines(d.b, d.result.axes[1], tb, kk);
    Values next;
    for (std::size_t i = 0; i < x.size(); ++i) {
      for (std::size_t j = 0; j < y.size(); ++j) {
        LV* c = inside[i * y.size() + j];
        next.push_back(is_float(t) ? e_.fma(x[i], y[j], c) : e_.b.CreateAdd(e_.b.CreateMul(x[i], y[j]), c));
      }
    }
    return next;
  });
  Elements result;
  for (LV* v : out) result.push_back({v});
  return result;
}

}  // namespace tessera::gpu
