// Products of warpgroups: operands from swizzled shared memory or registers, results that arrive later.
//
// A descriptor's low word holds address / 16 in bits 0 .. 13 and the leading offset / 16 in bits 16 .. 29; its high word the stride / 16 in bits 0 ..
// 13 and 1 << 30 for swizzles of 128 bytes (PTX ISA, "Matrix descriptor"). With panels of [row][128 bytes]:
//   k inside (rows are m or n): 8 rows are 1024 bytes apart, a step of k is 32 bytes, four steps a panel;
//   k outside (rows are k): 8 rows of k are 1024 bytes apart, a step of 16 rows is 2048 bytes, 64 columns more are the next panel: the leading
//   offset.
#include "codegen/gpu/emit.h"
#include "dsl/diagnostic.h"

namespace tessera::gpu {

using ir::Op;

namespace {

constexpr std::int64_t kUnit = 16;  ///< of addresses and offsets in a descriptor
constexpr std::int64_t kAtomBytes = 8 * kPanelBytes;
constexpr std::int64_t kHigh = kAtomBytes / kUnit | std::int64_t{1} << 30;
constexpr std::int64_t kMostColumns = 256;  ///< of one instruction

}  // namespace

LV* ThreadEmitter::stage_place(const Stage& s, LV* base, LV* row, LV* byte) {
  if (s.in_register_order) {
    // stage_column
    LV* outer = e_.b.CreateOr(e_.b.CreateAnd(byte, i32(~std::int64_t{15})), e_.b.CreateAnd(byte, i32(1)));
    LV* inner = e_.b.CreateOr(e_.b.CreateShl(e_.b.CreateAnd(byte, i32(6)), i32(1)), e_.b.CreateLShr(e_.b.CreateAnd(byte, i32(8)), i32(2)));
    byte = e_.b.CreateOr(outer, inner);
  }
  if (!s.swizzled) return e_.b.CreateAdd(base, e_.b.CreateAdd(e_.b.CreateMul(row, i32(s.pitch)), byte));
  LV* panel = e_.b.CreateMul(e_.b.CreateLShr(byte, i32(7)), i32(s.panel_bytes()));
  LV* inside = e_.b.CreateXor(e_.b.CreateAnd(byte, i32(kPanelBytes - 1)), e_.b.CreateShl(e_.b.CreateAnd(row, i32(7)), i32(4)));
  return e_.b.CreateAdd(base, e_.b.CreateAdd(e_.b.CreateAdd(panel, inside), e_.b.CreateMul(row, i32(kPanelBytes))));
}

ThreadEmitter::Issued ThreadEmitter::warpgroup_dot(const Op& op, const Summand& acc) {
  const DotPlan& d = plan_.dot(op);
  const std::int64_t steps = (dims(op.operands[0])[1] + d.k_step - 1) / d.k_step;
  const Layout& l = d.result;
  const std::int64_t atoms = l.axes[0].count(Source::Register) / 2, columns = l.axes[1].count(Source::Register) / 2 * 8;
  const std::vector<std::int64_t> row_offsets = l.axes[0].offsets();

  // Before the first read: what the operand still needs, then one fence for both.
  stage_lazy(d.a);
  stage_lazy(d.b);
  const auto waits = [&](const OperandHome& h) {
    if (h.stage < 0) return false;
    const Stage& s = plan_.stages()[static_cast<std::size_t>(h.stage)];
    return slots_.count(h.stage) == 0 && state_.needs_fence(s.offset, s.offset + s.slot_bytes());
  };
  Elements a_regs;
  if (d.a.stage < 0) {
    a_regs = get(op.operands[0], layout_of(op.operands[0]));
    const std::int64_t k = dims(op.operands[0])[1];
    if (steps * d.k_step != k) zero_beyond(op.operands[0], a_regs, k);
  }
  if (waits(d.a) || waits(d.b)) {
    call(e_.b, e_.module, Primitive::CpAsyncWait, {i32(0)});
    state_.waited();
    call(e_.b, e_.module, Primitive::FenceProxyAsync, {});
    state_.fence();
    barrier();
  }
  for (const OperandHome& h : {d.a, d.b}) {
    if (h.stage < 0 || slots_.count(h.stage) != 0) continue;
    const Stage& s = plan_.stages()[static_cast<std::size_t>(h.stage)];
    state_.read(0, s.offset, s.offset + s.slot_bytes());
  }

  struct Source {
    LV* low = nullptr;
    std::int64_t step = 0, panel = 0;  ///< from step to step, and after every fourth
    const Stage* stage = nullptr;
    bool outer = false;
  };
  // What the warpgroup adds along the operand's own axis.
  const auto source = [&](const OperandHome& h, const AxisPart& part, bool rows) {
    Source s;
    if (h.stage < 0) {
      s.low = i32(0);
      return s;
    }
    s.stage = &plan_.stages()[static_cast<std::size_t>(h.stage)];
    s.outer = !h.k_inner;
    LV* address = stage_address(h.stage);
    AxisPart groups = part;
    for (Digit& digit : groups.digits) {
      // Rows: a warp's place within its group is the instruction's own matter.
      if (digit.source == gpu::Source::Warp && rows && digit.divisor == 1) {
        digit.divisor = 4;
        digit.stride *= 4;
        digit.size /= 4;
      }
    }
    groups = gpu::part(groups.digits);
    if (LV* first = part_base(groups, true)) {
      LV* offset = s.outer ? e_.b.CreateMul(e_.b.CreateLShr(first, i32(6)), i32(s.stage->panel_bytes())) : e_.b.CreateMul(first, i32(kPanelBytes));
      address = e_.b.CreateAdd(address, offset);
    }
    const std::int64_t leading = s.outer ? s.stage->panel_bytes() / kUnit : 1;
    s.low = e_.b.CreateOr(e_.b.CreateLShr(e_.b.CreateAnd(address, i32(0x3ffff)), i32(4)), i32(leading << 16));
    s.step = s.outer ? 2 * kAtomBytes / kUnit : 32 / kUnit;
    s.panel = s.outer ? 4 * s.step : s.stage->panel_bytes() / kUnit;
    return s;
  };
  const Source a = source(d.a, l.axes[0], true), b = source(d.b, l.axes[1], false);
  const auto moved = [&](const Source& s, std::int64_t by) {
    if (!s.stage || by == 0) return s.low;
    return e_.b.CreateAdd(s.low, i32((s.outer ? by / 64 * s.stage->panel_bytes() : by * kPanelBytes) / kUnit));
  };

  Elements out(static_cast<std::size_t>(l.registers()));
  const std::int64_t all = columns / 4;  // registers of one row of accumulators: two for each 8 columns
  const std::int64_t a_columns = d.a.stage < 0 ? layout_of(op.operands[0]).axes[1].count(gpu::Source::Register) : 0;
  const int per = d.per_register;
  const auto words_of_a = [&](std::int64_t m, std::int64_t from, std::int64_t to) {
    std::vector<LV*> words;
    for (std::int64_t s = from; s < to && d.a.stage < 0; ++s) {
      for (std::int64_t i = 0; i < 4; ++i) {
        std::vector<LV*> parts;
        for (std::int64_t col = (s * 2 + i / 2) * per; col < (s * 2 + i / 2 + 1) * per; ++col) {
          parts.push_back(col >= a_columns ? e_.zero(cpu::register_type(e_, dtype(op.operands[0])))
                                           : a_regs[static_cast<std::size_t>((2 * m + i % 2) * a_columns + col)].v);
        }
        words.push_back(pack_word(e_, parts));
      }
    }
    return words;
  };
  const auto stepped = [&](const Source& s, LV* low, std::int64_t steps) {
    return s.stage && steps > 0 ? e_.b.CreateAdd(low, i32(steps % 4 * s.step + steps / 4 * s.panel)) : low;
  };
  // Sums that a tensor core must not add up alone come in pieces: what each gives is added in f32 once the next one is under way.
  const bool promoted = plan_.promoted(op);
  const std::int64_t most_steps = promoted ? kPromotedSteps : steps;
  const bool one_piece = !promoted || (steps <= most_steps && atoms * columns <= 2 * kPromotedRegisters);
  const std::int64_t most_columns = one_piece ? kMostColumns : kPromotedRegisters;  // two pieces are there at a time
  struct Piece {
    std::vector<std::size_t> registers;
    std::vector<LV*> values;
    int group = 0;
  };
  std::optional<Piece> under_way;
  Elements sum(out.size());
  for (std::size_t i = 0; i < acc.regs.size() && !one_piece; ++i)
    sum[i].v = acc.factor.empty() ? acc.regs[i].v : e_.b.CreateFMul(acc.regs[i].v, acc.factor[i].v);
  const auto add_up = [&](const Piece& p) {
    const std::vector<LV*> r =
        call(e_.b, e_.module, Primitive::WgmmaWait, {i32(groups_ - p.group)}, p.values, static_cast<int>(p.values.size()), e_.f32());
    for (std::size_t i = 0; i < r.size(); ++i) {
      LV*& before = sum[p.registers[i]].v;
      before = before ? e_.b.CreateFAdd(before, r[i]) : r[i];
    }
  };
  for (std::int64_t first = 0; first < steps; first += most_steps) {
    const std::int64_t count = std::min(most_steps, steps - first);
    for (std::int64_t m = 0; m < atoms; ++m) {
      const std::vector<LV*> a_words = words_of_a(m, first, first + count);
      for (std::int64_t from = 0; from < columns; from += most_columns) {
        const std::int64_t n = std::min(most_columns, columns - from);
        Piece piece;
        for (std::int64_t j = 0; j < n / 2; ++j) {
          // Registers of an instruction: for each 8 columns two of row g, two of row g + 8.
          piece.registers.push_back(static_cast<std::size_t>((2 * m + j / 2 % 2) * all + from / 4 + j / 4 * 2 + j % 2));
        }
        const bool goes_on = !acc.regs.empty() && !promoted;
        std::vector<LV*> registers;
        for (const std::size_t i : piece.registers) {
          if (goes_on) registers.push_back(acc.regs[i].v);
        }
        registers.insert(registers.end(), a_words.begin(), a_words.end());
        piece.values = call(e_.b, e_.module, *d.mma,
                            {stepped(a, moved(a, row_offsets[static_cast<std::size_t>(2 * m)]), first), stepped(b, moved(b, from), first), i32(count),
                             i32(goes_on ? 1 : 0), i32(kHigh), i32(kHigh), i32(a.outer), i32(b.outer), i32(a.step), i32(a.panel), i32(b.step),
                             i32(b.panel), done_ ? done_ : i32(1)},
                            registers, static_cast<int>(n / 2), e_.f32());
        for (std::size_t j = 0; j < piece.values.size(); ++j) out[piece.registers[j]] = {piece.values[j]};
        piece.group = ++groups_;
        if (one_piece) continue;
        if (under_way) add_up(*under_way);
        under_way = std::move(piece);
      }
    }
  }
  if (!promoted) return {std::move(out), {}};
  if (one_piece) return {std::move(out), acc};
  add_up(*under_way);
  return {std::move(sum), {}};
}

LV* ThreadEmitter::added(const Summand& s, std::size_t reg, LV* product) {
  if (s.regs.empty()) return product;
  return s.factor.empty() ? e_.b.CreateFAdd(s.regs[reg].v, product) : e_.fma(s.regs[reg].v, s.factor[reg].v, product);
}

void ThreadEmitter::settle(const ir::Value* v) {
  const auto at = std::find_if(pending_.begin(), pending_.end(), [&](const Pending& p) { return p.value == v; });
  if (at == pending_.end()) return;
  // Groups end in order: all results up to this one are tied to one wait.
  const auto end = at + 1;
  std::vector<LV*> registers;
  for (auto p = pending_.begin(); p != end; ++p) {
    for (const Element& x : tiles_.at(p->value).regs) registers.push_back(x.v);
  }
  const std::vector<LV*> done =
      call(e_.b, e_.module, Primitive::WgmmaWait, {i32(groups_ - at->group)}, registers, static_cast<int>(registers.size()), e_.f32());
  std::size_t next = 0;
  for (auto p = pending_.begin(); p != end; ++p) {
    Elements& regs = tiles_.at(p->value).regs;
    for (std::size_t i = 0; i < regs.size(); ++i) {
      regs[i].v = done[next++];
      regs[i].v = added(p->summand, i, regs[i].v);
    }
  }
  pending_.erase(pending_.begin(), end);
}

void ThreadEmitter::settle_all() {
  if (!pending_.empty()) settle(pending_.back().value);
}

}  // namespace tessera::gpu
