// Tiles in shared memory: copies from global memory, stores from registers, and the barriers around them.
#include <fmt/format.h>

#include "codegen/gpu/emit.h"
#include "codegen/gpu/paged_rows.h"
#include "dsl/diagnostic.h"

namespace tessera::gpu {

using ir::Op;

void ThreadEmitter::meet(SharedState::Need need) {
  if (need == SharedState::Need::Nothing) return;
  if (need == SharedState::Need::WaitAndBarrier) {
    call(e_.b, e_.module, Primitive::CpAsyncWait, {i32(0)});
    state_.waited();
  }
  barrier();
}

void ThreadEmitter::read_shared(std::int64_t lo, std::int64_t hi) {
  meet(state_.before_read(0, lo, hi));
  state_.read(0, lo, hi);
}

void ThreadEmitter::write_shared(std::int64_t lo, std::int64_t hi) {
  meet(state_.before_write(0, lo, hi));
  state_.write(0, lo, hi);
}

std::int64_t ThreadEmitter::scratch_place(std::int64_t bytes) const {
  std::int64_t lo = 0;
  for (bool moved = true; moved;) {
    moved = false;
    for (const Stage& s : plan_.stages()) {
      const std::int64_t end = s.offset + s.slot_bytes() * s.slots;
      const bool used = Uses::inside(block_, s.block()) || (plan_.roles() && s.bulk);
      if (!used || lo >= end || lo + bytes <= s.offset) continue;
      lo = (end + 127) / 128 * 128;
      moved = true;
    }
  }
  // Above the stages lie barriers.
  return lo + bytes <= plan_.stage_end() ? lo : plan_.staged_bytes();
}

LV* ThreadEmitter::scratch(std::int64_t bytes, bool write) {
  bytes = (bytes + 15) / 16 * 16;
  const std::int64_t lo = scratch_place(bytes);
  scratch_end_ = std::max(scratch_end_, lo + bytes);
  write ? write_shared(lo, lo + bytes) : read_shared(lo, lo + bytes);
  return shared_address(lo);
}

LV* ThreadEmitter::shared_load(llvm::Type* t, LV* address, int align) { return e_.load(t, shared_pointer(address), align); }
void ThreadEmitter::shared_store(LV* v, LV* address, int align) { e_.store(v, shared_pointer(address), align); }

LV* ThreadEmitter::load_cell(DType t, LV* address) {
  LV* raw = shared_load(cell_type(t), address, static_cast<int>(cell_bytes(t)));
  return is_bool(t) ? e_.b.CreateICmpNE(raw, e_.b.getInt8(0)) : raw;
}

void ThreadEmitter::store_cell(DType t, LV* v, LV* address) {
  shared_store(is_bool(t) ? e_.b.CreateZExt(v, e_.b.getInt8Ty()) : v, address, static_cast<int>(cell_bytes(t)));
}

LV* ThreadEmitter::stage_address(int stage) {
  const Stage& s = plan_.stages()[static_cast<std::size_t>(stage)];
  LV* base = shared_address(s.offset);
  const auto slot = slots_.find(stage);
  return slot == slots_.end() ? base : e_.b.CreateAdd(base, e_.b.CreateMul(slot->second, i32(s.slot_bytes())));
}

/// Copies a tile in chunks of 16 bytes, by cp.async where there is one and the addresses allow it; zeros stand where nothing is valid.
void ThreadEmitter::stage_load(int stage, LV* slot) {
  const Stage& s = plan_.stages()[static_cast<std::size_t>(stage)];
  const Op& op = *s.source->def;
  const ir::Value* v = s.source;
  const std::int64_t cell = cell_bytes(s.dtype), per = 16 / cell, chunks = (s.cols + per - 1) / per, total = s.rows * chunks,
                     threads = plan_.threads();
  const bool ring = slot != nullptr;
  if (!ring) meet(state_.before_write(0, s.offset, s.offset + s.slot_bytes()));
  LV* base = shared_address(s.offset);
  if (ring) base = e_.b.CreateAdd(base, e_.b.CreateMul(slot, i32(s.slot_bytes())));
  const Matrix m = matrix_of(op);

  // Chunk q of the tile: row q / chunks, columns (q % chunks) * per ..; a thread has chunks tid, tid + threads, ..
  const auto chunk = [&](LV* q, const std::function<void(LV * row, LV * col, LV * to)>& f) {
    LV* row = e_.b.CreateUDiv(q, i32(chunks));
    LV* col = e_.b.CreateMul(e_.b.CreateURem(q, i32(chunks)), i32(per));
    f(row, col, stage_place(s, base, row, e_.b.CreateMul(col, i32(cell))));
  };
  const auto each_chunk = [&](const std::function<void(LV * row, LV * col, LV * to)>& f) {
    if (threads % chunks == 0) {
      // The column is the thread's own; only the row moves.
      LV *row0 = e_.b.CreateUDiv(tid_, i32(chunks)), *col = e_.b.CreateMul(e_.b.CreateURem(tid_, i32(chunks)), i32(per));
      LV* byte = e_.b.CreateMul(col, i32(cell));
      LV* to0 = stage_place(s, base, row0, byte);
      const std::int64_t step = threads / chunks;
      const bool even = !s.swizzled || step % 8 == 0;  // all rows of the thread have one swizzle
      // Else a row's differs from the first one's by a constant, if no bit carries.
      const bool by_bits = !even && 8 % step == 0 && !plan_.warpgroups();
      LV *line = nullptr, *in_panel = nullptr;
      if (by_bits) {
        LV* panel = e_.b.CreateMul(e_.b.CreateLShr(byte, i32(7)), i32(s.panel_bytes()));
        line = e_.b.CreateAdd(base, e_.b.CreateAdd(panel, e_.b.CreateMul(row0, i32(kPanelBytes))));
        in_panel = e_.b.CreateXor(e_.b.CreateAnd(byte, i32(kPanelBytes - 1)), e_.b.CreateShl(row0, i32(4)));
      }
      const auto place = [&](LV* row, std::int64_t r) {
        if (even) return e_.b.CreateAdd(to0, i32(r * (s.swizzled ? kPanelBytes : s.pitch)));
        if (!by_bits) return stage_place(s, base, row, byte);
        return e_.b.CreateAdd(e_.b.CreateAdd(line, e_.b.CreateXor(in_panel, i32(r % 8 * 16))), i32(r * kPanelBytes));
      };
      for (std::int64_t r = 0; r < s.rows; r += step) {
        LV* row = e_.b.CreateAdd(row0, i32(r));
        const auto one = [&] { f(row, col, place(row, r)); };
        r + step > s.rows ? e_.if_then(e_.b.CreateICmpSLT(row, i32(s.rows)), one) : one();
      }
      return;
    }
    for (std::int64_t first = 0; first < total; first += threads) {
      LV* q = e_.b.CreateAdd(tid_, i32(first));
      const auto one = [&] { chunk(q, f); };
      first + threads > total ? e_.if_then(e_.b.CreateICmpSLT(q, i32(total)), one) : one();
    }
  };
  const RangeValue &rows = *m.rows, &cols = *m.cols;
  const auto row_valid = [&](LV* row) -> LV* {
    LV* ok = m.valid;
    if (!rows.full) ok = cpu::both(e_, ok, inside(row, rows));
    if (rows.full && s.rows > dims(v)[0]) ok = cpu::both(e_, ok, e_.b.CreateICmpSLT(row, i32(dims(v)[0])));
    return ok;
  };
  const auto slow = [&] {
    // Element by element, in loops: rare, so short.
    e_.loop(tid_, i32(total), i32(threads), false, [&](LV* q) {
      chunk(q, [&](LV* row, LV* col, LV* to) {
        e_.loop(i32(0), i32(per), i32(1), true, [&](LV* i) {
          LV* c = e_.b.CreateAdd(col, i);
          LV* ok = cpu::both(e_, row_valid(row), e_.b.CreateAnd(e_.b.CreateICmpSGE(c, cols.first), e_.b.CreateICmpSLT(c, cols.end)));
          if (cols.full && s.cols > dims(v)[1]) ok = cpu::both(e_, ok, e_.b.CreateICmpSLT(c, i32(dims(v)[1])));
          const cpu::Address a = locate(m, row, c, ok);
          const auto read = [&] {
            const Marked marked(*this, op);
            return cpu::load_elements(e_, cpu::view_cell(s.dtype), a.base, a.offset, a.mask, static_cast<int>(cell));
          };
          LV* x = read();
          store_cell(s.dtype, x, e_.b.CreateAdd(to, e_.b.CreateMul(i, i32(cell))));
        });
      });
    });
  };
  // From row to row of a thread the address grows by the same amount: one addition a chunk, and no register for each.
  LV *pointer = nullptr, *pointer_step = nullptr;
  const bool walks = m.view->affine() && threads % chunks == 0;
  std::optional<PagedRows> pages;
  const auto copy_chunk = [&](LV* row, LV* col, LV* to) {
    LV* ok = row_valid(row);
    LV* bytes = i32(16);
    if (s.cols > dims(v)[1] || !cols.full) {
      LV* end = cols.full ? static_cast<LV*>(i32(dims(v)[1])) : cols.end;
      LV* left = e_.b.CreateMul(e_.b.CreateSub(end, col), i32(cell));
      bytes = e_.max(i32(0), e_.min(i32(16), left));
    }
    LV* from;
    if (pages) {
      from = paged_row(*pages, col, ok);
    } else if (walks && pointer) {
      from = pointer = e_.at(e_.b.getInt8Ty(), pointer, pointer_step);
    } else {
      const cpu::Address a = locate(m, row, col, ok);
      ok = a.mask;
      from = e_.at(cell_type(s.dtype), a.base, a.offset.v);
      if (walks) {
        pointer = from;
        pointer_step = e_.b.CreateMul(m.row_stride, e_.idx(threads / chunks * cell));
      }
    }
    if (ok && !cpu::is_true(ok)) bytes = e_.b.CreateSelect(ok, bytes, i32(0));
    if (target_.has_cp_async()) {
      const auto eviction = plan_.eviction(op);
      eviction ? call(e_.b, e_.module, Primitive::CpAsync16Kept, {to, from, bytes, policy(*eviction)})
               : call(e_.b, e_.module, Primitive::CpAsync16, {to, from, bytes});
      return;
    }
    llvm::Type* wide = e_.vec(e_.i32(), 4);
    const auto read = [&] { return Values{e_.load(wide, from, 16)}; };
    LV* all = e_.b.CreateICmpEQ(bytes, i32(16));
    LV* x = llvm::isa<llvm::Constant>(bytes) ? read()[0] : e_.choose(all, read, [&] { return Values{e_.zero(wide)}; })[0];
    shared_store(x, to, 16);
  };
  const auto fast = [&] {
    if (pages) look_up(*pages);
    each_chunk(copy_chunk);
  };
  // Without cp.async a chunk is read whole or not at all.
  const bool ragged_columns = !target_.has_cp_async() && (!cols.full || dims(v)[1] % per != 0);
  if (!m.contiguous || ragged_columns || element_copies_) {
    slow();
    state_.write(0, s.offset, s.offset + s.slot_bytes());
    return;
  }
  LV* aligned = e_.b.CreateICmpEQ(e_.b.CreateAnd(m.alignment, e_.idx(15)), e_.idx(0));
  if (!cols.full) aligned = e_.b.CreateAnd(aligned, e_.b.CreateICmpEQ(cols.first, i32(0)));
  if (threads % chunks == 0) pages = paged_rows(m, s.rows, e_.b.CreateUDiv(tid_, i32(chunks)), threads / chunks);
  const auto paged = [&] {
    const PagedRows found = *pages;
    e_.if_then(found.whole_blocks, fast, [&] {
      // A tile that begins within a page: rare, so short.
      pages.reset();
      e_.loop(tid_, i32(total), i32(threads), false, [&](LV* q) { chunk(q, copy_chunk); });
    });
  };
  pages && pages->block > 1 ? e_.if_then(aligned, paged, slow) : e_.if_then(aligned, fast, slow);
  if (ring) return;
  if (target_.has_cp_async()) call(e_.b, e_.module, Primitive::CpAsyncCommit, {});
  state_.write(0, s.offset, s.offset + s.slot_bytes(), target_.has_cp_async());
}

void ThreadEmitter::stage_registers(int stage, const ir::Value* v) {
  const Stage& s = plan_.stages()[static_cast<std::size_t>(stage)];
  const std::int64_t cell = cell_bytes(s.dtype);
  if (dims(v).size() == 1) {
    write_shared(s.offset, s.offset + s.slot_bytes());
    return put(v, shared_address(s.offset));
  }
  const Layout l =
      plan_.has_layout(v) ? plan_.layout(v) : Layout{{strided(dims(v)[0], 1, 1, 1, plan_.warps(), 1), strided(dims(v)[1], 1, kWarpLanes, 1, 1, 1)}};
  const Elements regs = get(v, l);
  write_shared(s.offset, s.offset + s.slot_bytes());
  LV* base = shared_address(s.offset);
  // Padding first: it is disjoint from what follows.
  const std::int64_t rows = dims(v)[s.transposed ? 1 : 0], cols = dims(v)[s.transposed ? 0 : 1];
  const auto zeros = [&](std::int64_t row0, std::int64_t row1, std::int64_t col0, std::int64_t col1) {
    const std::int64_t width = col1 - col0, count = (row1 - row0) * width;
    if (count <= 0) return;
    e_.loop(tid_, i32(count), i32(plan_.threads()), false, [&](LV* q) {
      LV* row = e_.b.CreateAdd(e_.b.CreateUDiv(q, i32(width)), i32(row0));
      LV* col = e_.b.CreateAdd(e_.b.CreateURem(q, i32(width)), i32(col0));
      store_cell(s.dtype, e_.zero(cpu::register_type(e_, s.dtype)), stage_place(s, base, row, e_.b.CreateMul(col, i32(cell))));
    });
  };
  zeros(0, rows, cols, s.cols);
  zeros(rows, s.rows, 0, s.cols);
  const std::size_t row_axis = s.transposed ? 1 : 0, col_axis = 1 - row_axis;
  const auto write_all = [&] {
    LV *row = part_base(l.axes[row_axis]), *col = part_base(l.axes[col_axis]);
    LV* start = base;
    const bool by_element = s.swizzled || s.in_register_order;
    if (row && !by_element) start = e_.b.CreateAdd(start, e_.b.CreateMul(row, i32(s.pitch)));
    if (col && !by_element) start = e_.b.CreateAdd(start, e_.b.CreateMul(col, i32(cell)));
    const std::vector<std::int64_t> inner = l.axes[1].offsets();
    const bool pairs = !s.transposed && cell == 2 && inner.size() % 2 == 0 && dims(v)[1] % 2 == 0 && inner[1] == 1;
    for (std::size_t r = 0; r < regs.size(); r += pairs ? 2 : 1) {
      const std::vector<Position> at = positions(l, static_cast<std::int64_t>(r));
      LV* to = by_element ? stage_place(s, base, position(at[row_axis]), e_.b.CreateMul(position(at[col_axis]), i32(cell)))
                          : e_.b.CreateAdd(start, i32(at[row_axis].offset * s.pitch + at[col_axis].offset * cell));
      const auto write = [&] {
        if (pairs)
          shared_store(pack_word(e_, {regs[r].v, regs[r + 1].v}), to, 4);
        else
          store_cell(s.dtype, plain(e_, regs[r]), to);
      };
      LV* in = within(l, dims(v), at);
      in ? e_.if_then(in, write) : write();
    }
  };
  LV* mine = owner(l);
  mine ? e_.if_then(mine, write_all) : write_all();
}

}  // namespace tessera::gpu
