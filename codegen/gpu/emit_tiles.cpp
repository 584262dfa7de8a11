// Values in registers: layouts met, lazy tiles, elementwise ops, changes of shape.
#include <fmt/format.h>

#include <array>

#include "codegen/gpu/emit.h"
#include "dsl/diagnostic.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;

const Layout& ThreadEmitter::layout_of(const ir::Value* v) const {
  static const Layout scalar_layout;
  if (is_scalar(v)) return scalar_layout;
  const auto piece = piece_layouts_.find(v);
  return piece == piece_layouts_.end() ? plan_.layout(v) : piece->second;
}

void ThreadEmitter::set(const ir::Value* v, Layout layout, Elements regs) {
  handed_.erase(v);
  tiles_[v] = {std::move(layout), std::move(regs)};
}

LV* ThreadEmitter::part_base(const AxisPart& p, bool warps_only) {
  std::string key = warps_only ? "w" : "";
  for (const Digit& d : p.digits) {
    if (d.source == Source::Register || (warps_only && d.source == Source::Lane)) continue;
    key += fmt::format("{}/{}%{}*{}+", d.source == Source::Lane ? "l" : "w", d.divisor, d.size, d.stride);
  }
  if (key.empty() || key == "w") return nullptr;
  if (const auto at = bases_.find(key); at != bases_.end()) return at->second;
  // In the entry block, so that it dominates every use.
  llvm::IRBuilder<>::InsertPointGuard guard(e_.b);
  e_.b.SetInsertPoint(entry_->getTerminator());
  LV* sum = nullptr;
  for (const Digit& d : p.digits) {
    if (d.source == Source::Register || (warps_only && d.source == Source::Lane)) continue;
    LV* x = d.source == Source::Lane ? lane_ : warp_;
    const std::int64_t all = d.source == Source::Lane ? kWarpLanes : plan_.warps();
    if (d.divisor > 1) x = e_.b.CreateUDiv(x, i32(d.divisor));
    if (d.divisor * d.size < all) x = e_.b.CreateURem(x, i32(d.size));
    if (d.stride > 1) x = e_.b.CreateMul(x, i32(d.stride));
    sum = sum ? e_.b.CreateAdd(sum, x) : x;
  }
  return bases_[key] = sum;
}

LV* ThreadEmitter::position(const Position& p) {
  if (!p.base) return i32(p.offset);
  return p.offset == 0 ? p.base : e_.b.CreateAdd(p.base, i32(p.offset));
}

std::vector<Position> ThreadEmitter::positions(const Layout& layout, std::int64_t reg) {
  std::vector<Position> out(layout.axes.size());
  for (std::size_t a = layout.axes.size(); a-- > 0;) {
    const std::int64_t n = layout.axes[a].count(Source::Register);
    out[a] = {part_base(layout.axes[a]), layout.axes[a].offsets()[static_cast<std::size_t>(reg % n)]};
    if (piece_ && a + 1 == layout.axes.size() && layout.axes[a] == piece_->part) out[a].offset += piece_->number * piece_->whole.digits.back().stride;
    reg /= n;
  }
  return out;
}

LV* ThreadEmitter::owner(const Layout& layout) {
  std::int64_t lanes = 1, warps = 1;
  for (const AxisPart& a : layout.axes) {
    lanes *= a.count(Source::Lane);
    warps *= a.count(Source::Warp);
  }
  if (lanes == kWarpLanes && warps == plan_.warps()) return nullptr;
  // The thread whose unread digits are 0 is the sum of its read digits.
  const auto spelled = [&](Source s, LV* x) {
    LV* sum = i32(0);
    for (const AxisPart& a : layout.axes) {
      for (const Digit& d : a.digits) {
        if (d.source != s) continue;
        LV* y = e_.b.CreateURem(e_.b.CreateUDiv(x, i32(d.divisor)), i32(d.size));
        sum = e_.b.CreateAdd(sum, e_.b.CreateMul(y, i32(d.divisor)));
      }
    }
    return e_.b.CreateICmpEQ(sum, x);
  };
  LV* mine = lanes == kWarpLanes ? nullptr : spelled(Source::Lane, lane_);
  if (warps != plan_.warps()) mine = cpu::both(e_, mine, spelled(Source::Warp, warp_));
  return mine;
}

LV* ThreadEmitter::within(const Layout& layout, const ir::Dims& dims, const std::vector<Position>& at) {
  LV* in = nullptr;
  for (std::size_t a = 0; a < dims.size(); ++a) {
    if (layout.axes[a].digits.empty() || layout.axes[a].extent() == dims[a]) continue;
    in = cpu::both(e_, in, e_.b.CreateICmpSLT(position(at[a]), i32(dims[a])));
  }
  return in;
}

Element ThreadEmitter::lazy(const ir::Value* v, const std::vector<Position>& at) {
  if (is_scalar(v) && tiles_.count(v)) return tiles_.at(v).regs[0];
  const Op& op = *v->def;
  const auto operand_at = [&](const ir::Value* o) {
    std::vector<Position> p;
    if (!is_scalar(o)) {
      p = at;
      for (std::size_t a = 0; a < p.size(); ++a) {
        if (dims(o)[a] == 1) p[a] = {};
      }
    }
    return lazy(o, p);
  };
  const auto short_idx = [&](LV* base, const Position& p, std::int64_t bound) { return Element{base, p.base ? p.base : i32(0), p.offset, bound}; };
  switch (op.kind) {
    case OpKind::Const: {
      const DType t = dtype(v);
      if (is_float(t)) {
        const double x = op.float_attr(ir::Attr::Value);
        return {cpu::register_constant(e_, t, encode_float(t, x))};
      }
      return {cpu::register_constant(e_, t, encode_int(t, op.int_attr(ir::Attr::Value)))};
    }
    case OpKind::Iota: return short_idx(e_.idx(0), at[0], dims(v)[0]);
    case OpKind::Coords: {
      const RangeValue& r = ranges_.at(op.operands[0]);
      return short_idx(r.start, at[0], r.size);
    }
    case OpKind::Inside: {
      const RangeValue& r = ranges_.at(op.operands[0]);
      if (r.full) return {e_.b.getTrue()};
      LV* thread = at[0].base ? at[0].base : i32(0);
      if (const auto* first = llvm::dyn_cast<llvm::ConstantInt>(r.first); first && first->isZero()) {
        return between(e_, nullptr, at[0].offset, e_.b.CreateSub(r.end, thread));
      }
      return between(e_, e_.b.CreateSub(r.first, thread), at[0].offset, e_.b.CreateSub(r.end, thread));
    }
    case OpKind::Broadcast: return operand_at(op.operands[0]);
    case OpKind::Permute: {
      std::vector<Position> p(at.size());
      const ir::Dims& perm = op.dims_attr(ir::Attr::Perm);
      for (std::size_t a = 0; a < at.size(); ++a) p[static_cast<std::size_t>(perm[a])] = at[a];
      return lazy(op.operands[0], p);
    }
    case OpKind::Slice: {
      std::vector<Position> p = at;
      p[static_cast<std::size_t>(op.int_attr(ir::Attr::Axis))].offset += op.int_attr(ir::Attr::Offset);
      return lazy(op.operands[0], p);
    }
    case OpKind::Reshape: {
      const ir::Value* o = op.operands[0];
      if (is_scalar(o)) return lazy(o, {});
      // Row-major number, then the other shape's digits; unit axes need neither.
      std::vector<Position> wide, p(dims(o).size());
      ir::Dims from, to;
      for (std::size_t a = 0; a < at.size(); ++a) {
        if (dims(v)[a] > 1) {
          wide.push_back(at[a]);
          from.push_back(dims(v)[a]);
        }
      }
      for (const std::int64_t n : dims(o)) {
        if (n > 1) to.push_back(n);
      }
      if (from == to) {
        for (std::size_t a = 0, i = 0; a < p.size(); ++a) {
          if (dims(o)[a] > 1) p[a] = wide[i++];
        }
        return lazy(o, p);
      }
      LV* number = i32(0);
      for (std::size_t i = 0; i < wide.size(); ++i) number = e_.b.CreateAdd(e_.b.CreateMul(number, i32(from[i])), position(wide[i]));
      for (std::size_t a = p.size(); a-- > 0;) {
        p[a] = {e_.b.CreateURem(number, i32(dims(o)[a])), 0};
        number = e_.b.CreateUDiv(number, i32(dims(o)[a]));
      }
      return lazy(o, p);
    }
    default: break;
  }
  TESSERA_ASSERT(ir::has(op.kind, ir::Elementwise), fmt::format("{} is not lazy", ir::info(op.kind).name));
  Elements x;
  for (const ir::Value* o : op.operands) x.push_back(operand_at(o));
  return emit_elementwise(e_, op, x, kernel_.strict, target_.sm);
}

Elements ThreadEmitter::get(const ir::Value* v, const Layout& layout) {
  if (is_scalar(v)) return tiles_.at(v).regs;
  if (plan_.uses().lazy(v)) {
    Elements out;
    for (std::int64_t r = 0; r < layout.registers(); ++r) out.push_back(lazy(v, positions(layout, r)));
    return out;
  }
  settle(v);
  const auto at = tiles_.find(v);
  TESSERA_ASSERT(at != tiles_.end(), fmt::format("a tile is read that is not in registers: {}", v->hint));
  if (at->second.layout == layout) return at->second.regs;
  if (piece_ && layout.axes.back() == piece_->part) {
    Layout whole = layout;
    whole.axes.back() = piece_->whole;
    if (at->second.layout == whole) {
      const std::int64_t n = piece_->part.count(Source::Register), all = piece_->whole.count(Source::Register);
      Elements out;
      for (std::int64_t r = 0; r < layout.registers(); ++r) {
        out.push_back(at->second.regs[static_cast<std::size_t>(r / n * all + piece_->number * n + r % n)]);
      }
      return out;
    }
  }
  // What is handed to several users of one block moves once.
  if (!plan_.uses().computed(v)) return convert(at->second, dtype(v), dims(v), layout);
  const auto known = handed_.find(v);
  if (known != handed_.end() && known->second.block == block_ && known->second.tile.layout == layout) return known->second.tile.regs;
  Elements regs = convert(at->second, dtype(v), dims(v), layout);
  handed_[v] = {block_, {layout, regs}};
  return regs;
}

/// Columns of accumulators of 16 bits, eight neighbours a thread: the four lanes of a row have 32 columns between them either way.
static AxisPart quad_cols(std::int64_t extent) {
  return part({{Source::Register, 8, 1}, {Source::Lane, 4, 8, 1}, {Source::Register, extent / 32, 32}});
}

/// From pairs of columns to eight neighbours, by a transposition of words among the four lanes of a row.
Elements ThreadEmitter::turn_quads(const Elements& regs, DType t) {
  Elements out;
  LV* bit[] = {e_.b.CreateICmpNE(e_.b.CreateAnd(lane_, i32(1)), i32(0)), e_.b.CreateICmpNE(e_.b.CreateAnd(lane_, i32(2)), i32(0))};
  for (std::size_t at = 0; at < regs.size(); at += 8) {
    // Word a of lane l: columns of 8-column block a. Each step swaps one bit of the word's number with one of the lane's.
    std::array<LV*, 4> w{};
    for (std::size_t a = 0; a < 4; ++a) w[a] = pack_word(e_, {regs[at + 2 * a].v, regs[at + 2 * a + 1].v});
    for (const std::size_t step : {1, 2}) {
      LV* high = bit[step - 1];
      for (std::size_t a = 0; a < 4; ++a) {
        if (a & step) continue;
        LV *&low_word = w[a], *&high_word = w[a + step];
        LV* other = call(e_.b, e_.module, Primitive::ShflBfly, {e_.b.CreateSelect(high, low_word, high_word), i32(static_cast<std::int64_t>(step))});
        LV* kept = e_.b.CreateSelect(high, high_word, low_word);
        low_word = e_.b.CreateSelect(high, other, kept);
        high_word = e_.b.CreateSelect(high, kept, other);
      }
    }
    for (LV* word : w) {
      for (int i = 0; i < 2; ++i) out.push_back({unpack_word(e_, t, word, i)});
    }
  }
  return out;
}

Elements ThreadEmitter::convert(const Tile& tile, DType t, const ir::Dims& dims, const Layout& to) {
  if (is_half(t) && dims.size() == 2 && to.axes[0] == tile.layout.axes[0] && tile.layout.axes[1] == mma_cols(dims[1]) &&
      to.axes[1] == quad_cols(dims[1]))
    return turn_quads(tile.regs, t);
  // Row-major in shared memory, rows one bank apart from multiples of all banks.
  const std::int64_t cell = cell_bytes(t);
  std::int64_t count = 1;
  for (const std::int64_t n : dims) count *= n;
  const std::int64_t inner = dims.back(), write = run_of(tile.layout, dims, t), read = run_of(to, dims, t);
  std::int64_t pitch = count == inner ? inner : inner + std::max<std::int64_t>(1, 4 / cell);
  // What moves in pieces of more than a bank: rows of an odd number of 16-byte chunks.
  if (count != inner && std::max(write, read) * cell > 4) pitch = ((inner * cell + 15) / 16 | 1) * 16 / cell;
  const auto address = [&](LV* base, const std::vector<Position>& at) {
    LV* row = nullptr;
    std::int64_t fixed = 0;
    for (std::size_t a = 0; a + 1 < at.size(); ++a) {
      row = row ? e_.b.CreateMul(row, i32(dims[a])) : nullptr;
      fixed *= dims[a];
      if (at[a].base) row = row ? e_.b.CreateAdd(row, at[a].base) : at[a].base;
      fixed += at[a].offset;
    }
    LV* x = row ? e_.b.CreateMul(row, i32(pitch)) : nullptr;
    if (at.back().base) x = x ? e_.b.CreateAdd(x, at.back().base) : at.back().base;
    LV* where = x ? e_.b.CreateAdd(base, e_.b.CreateMul(x, i32(cell))) : base;
    return e_.b.CreateAdd(where, i32((fixed * pitch + at.back().offset) * cell));
  };
  const std::int64_t bytes = count / inner * pitch * cell;
  LV* base = scratch(bytes, true);
  each_owned(tile.layout, dims, [&](std::size_t r, const std::vector<Position>& at) {
    if (write == 1) return store_cell(t, plain(e_, tile.regs[r]), address(base, at));
    if (static_cast<std::int64_t>(r) % write != 0) return;
    std::vector<LV*> cells;
    for (std::int64_t i = 0; i < write; ++i) cells.push_back(plain(e_, tile.regs[r + static_cast<std::size_t>(i)]));
    shared_store(join_cells(t, cells), address(base, at), static_cast<int>(write * cell));
  });
  base = scratch(bytes, false);
  Elements out;
  llvm::Type* wide = read * cell > 4 ? static_cast<llvm::Type*>(e_.vec(e_.i32(), static_cast<int>(read * cell / 4)))
                                     : e_.b.getIntNTy(static_cast<unsigned>(read * cell * 8));
  for (std::int64_t r = 0; r < to.registers(); r += read) {
    const std::vector<Position> at = positions(to, r);
    const auto one = [&]() -> Values {
      if (read == 1) return {load_cell(t, address(base, at))};
      const std::vector<LV*> cells = split_cells(t, shared_load(wide, address(base, at), static_cast<int>(read * cell)), read);
      return {cells.begin(), cells.end()};
    };
    LV* in = within(to, dims, at);
    const auto none = [&] { return Values(static_cast<std::size_t>(read), e_.zero(cpu::register_type(e_, t))); };
    for (LV* v : in ? e_.choose(in, one, none) : one()) out.push_back({v});
  }
  return out;
}

std::int64_t ThreadEmitter::run_of(const Layout& layout, const ir::Dims& dims, DType t) {
  if (layout.axes.empty() || is_bool(t) || bits(t) < 8) return 1;
  const AxisPart& p = layout.axes.back();
  if (p.digits.empty() || p.digits[0].source != Source::Register || p.digits[0].stride != 1) return 1;
  const std::int64_t n = dims.back();
  std::int64_t run = 1;
  while (p.digits[0].size % (run * 2) == 0 && run * 2 * cell_bytes(t) <= 16 && (p.extent() == n || n % (run * 2) == 0)) run *= 2;
  return run;
}

Layout ThreadEmitter::store_layout(const Op& store, bool contiguous) const {
  const ir::Value* value = store.operands[1];
  const Layout& own = layout_of(value);
  const DType t = dtype(value);
  const ir::Dims& d = dims(value);
  const std::int64_t cell = cell_bytes(t), vector = 16 / cell;
  if (!contiguous || d.size() != 2 || is_bool(t) || bits(t) < 8 || d[1] % vector != 0 || run_of(own, d, t) * cell >= 16) return own;
  // Rows of whole groups of four lanes need no shared memory.
  if (is_half(t) && d[1] % 32 == 0 && own.axes[1] == mma_cols(d[1])) return {{own.axes[0], quad_cols(d[1])}};
  // Where bulk copies store it if they can, this is the rare way: it exchanges nothing through shared memory.
  if (plan_.roles() && plan_.roles()->stores.count(&store) != 0) return own;
  // Products' results alone: other layouts were chosen for their accesses.
  if (own.axes[1].count(Source::Lane) != 4 || own.axes[0].count(Source::Lane) != 8) return own;
  const std::int64_t bytes = d[0] * ((d[1] * cell + 15) / 16 | 1) * 16;
  if (scratch_place(bytes) + bytes > plan_.stage_end()) return own;
  std::int64_t lanes = 1;
  while (lanes * 2 <= std::min<std::int64_t>(kWarpLanes, d[1] / vector)) lanes *= 2;
  return {{strided(d[0], 1, kWarpLanes / lanes, lanes, plan_.warps(), 1), strided(d[1], vector, lanes, 1, 1, 1)}};
}

/// How many of `n` f32 one word of the result takes by rounding instructions; 1: there is none for this cast.
std::int64_t ThreadEmitter::rounded_together(const Op& op, std::int64_t n) const {
  if (op.kind != OpKind::Cast || dtype(op.operands[0]) != DType::F32 || op.int_attr(ir::Attr::Rounding) != 0) return 1;
  const DType t = dtype(op.result());
  const bool saturates = op.int_attr(ir::Attr::Saturate) != 0;
  if (is_half(t)) return n % 2 == 0 && !saturates && (target_.sm >= 80 || t == DType::F16) ? 2 : 1;
  if (t == DType::E4M3 || t == DType::E5M2) return n % 4 == 0 && saturates && info(Primitive::PackE4m3x4).on(target_) ? 4 : 1;
  return 1;
}

void ThreadEmitter::emit_elementwise_op(const Op& op, const Elements* condition) {
  const ir::Value* v = op.result();
  const Layout& l = layout_of(v);
  std::vector<Elements> x;
  std::vector<Layout> layouts;
  for (const ir::Value* o : op.operands) {
    layouts.push_back(operand_layout(o, l));
    x.push_back(condition && x.empty() ? *condition : get(o, layouts.back()));
  }
  if (op.kind == OpKind::Select && !condition) masks_in_words(e_, x[0]);
  const std::int64_t n = l.registers();
  const auto operands_of = [&](std::int64_t r) {
    Elements e;
    for (std::size_t i = 0; i < x.size(); ++i) e.push_back(x[i][register_in(l, layouts[i], r)]);
    return e;
  };
  Elements out;
  const std::int64_t together = rounded_together(op, n);
  for (std::int64_t r = 0; r < n; r += together) {
    if (together == 1) {
      const bool coarse = op.kind == OpKind::Tanh ? plan_.uses().coarse(op) : plan_.by_polynomial(op, r);
      out.push_back(emit_elementwise(e_, op, operands_of(r), kernel_.strict, target_.sm, coarse));
      continue;
    }
    std::vector<LV*> wide;
    for (std::int64_t i = 0; i < together; ++i) wide.push_back(plain(e_, operands_of(r + i)[0]));
    LV* word = together == 4 ? pack_codes(e_, dtype(v), wide) : pack_rounded(e_, dtype(v), wide[0], wide[1]);
    for (int i = 0; i < together; ++i) out.push_back({unpack_word(e_, dtype(v), word, i)});
  }
  set(v, l, std::move(out));
}

void ThreadEmitter::emit_broadcast(const Op& op) {
  const Layout& l = layout_of(op.result());
  const Layout from = operand_layout(op.operands[0], l);
  const Elements x = get(op.operands[0], from);
  Elements out;
  for (std::int64_t r = 0; r < l.registers(); ++r) out.push_back(x[register_in(l, from, r)]);
  set(op.result(), l, std::move(out));
}

void ThreadEmitter::emit_permute(const Op& op) {
  const ir::Value* v = op.result();
  if (!plan_.in_registers(v)) return;  // products read what stands behind it
  const ir::Dims& perm = op.dims_attr(ir::Attr::Perm);
  const Layout& l = layout_of(v);
  Layout from;
  from.axes.resize(perm.size());
  for (std::size_t a = 0; a < perm.size(); ++a) from.axes[static_cast<std::size_t>(perm[a])] = l.axes[a];
  const Elements x = get(op.operands[0], from);
  Elements out;
  for (std::int64_t r = 0; r < l.registers(); ++r) {
    // Registers are numbered row-major in both.
    std::vector<std::int64_t> digits(perm.size());
    std::int64_t rest = r;
    for (std::size_t a = perm.size(); a-- > 0;) {
      const std::int64_t n = l.axes[a].count(Source::Register);
      digits[static_cast<std::size_t>(perm[a])] = rest % n;
      rest /= n;
    }
    std::int64_t index = 0;
    for (std::size_t a = 0; a < perm.size(); ++a) index = index * from.axes[a].count(Source::Register) + digits[a];
    out.push_back(x[static_cast<std::size_t>(index)]);
  }
  set(v, l, std::move(out));
}

void ThreadEmitter::emit_reshape(const Op& op) {
  const ir::Value *v = op.result(), *o = op.operands[0];
  const Layout& l = layout_of(v);
  if (is_scalar(o) || is_scalar(v)) return set(v, l, get(o, operand_layout(o, Layout{std::vector<AxisPart>(is_scalar(o) ? 0 : dims(o).size())})));
  // Unit axes come and go; the others keep their parts.
  ir::Dims from, to;
  for (const std::int64_t n : dims(o)) {
    if (n > 1) from.push_back(n);
  }
  for (const std::int64_t n : dims(v)) {
    if (n > 1) to.push_back(n);
  }
  if (from == to) {
    Layout same;
    std::vector<AxisPart> parts;
    for (std::size_t a = 0; a < l.axes.size(); ++a) {
      if (dims(v)[a] > 1) parts.push_back(l.axes[a]);
    }
    for (std::size_t a = 0, i = 0; a < dims(o).size(); ++a) same.axes.push_back(dims(o)[a] > 1 ? parts[i++] : AxisPart{});
    return set(v, l, get(o, same));
  }
  emit_whole(op);
}

}  // namespace tessera::gpu
