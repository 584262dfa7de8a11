// Tiles of paged views: page numbers are read together and ahead of the copies, once for all rows of a thread that lie in one page.
#include <numeric>

#include "codegen/cpu/arith.h"
#include "codegen/gpu/paged_rows.h"

namespace tessera::gpu {

std::optional<ThreadEmitter::PagedRows> ThreadEmitter::paged_rows(const Matrix& m, std::int64_t rows, LV* first, std::int64_t step) {
  const std::vector<ir::Value*>& operands = m.op->operands;
  if (operands.size() != 3 || !ir::is_range(operands[1]->type) || !ir::is_range(operands[2]->type)) return std::nullopt;
  PagedRows p;
  p.start = m.rows->start;
  p.first = first;
  p.step = step;
  p.rows = rows;
  const cpu::View* v = m.view.get();
  for (; v->kind == cpu::View::Kind::Span && v->axis == 0; v = v->parent.get()) p.start = e_.b.CreateAdd(p.start, v->number);
  const auto* page = v->kind == cpu::View::Kind::Paged ? llvm::dyn_cast<llvm::ConstantInt>(v->number) : nullptr;
  if (!page || page->getSExtValue() <= 0 || !v->parent->affine() || !v->ids->affine()) return std::nullopt;
  p.view = v;
  p.page = page->getSExtValue();
  p.within = m.rows;
  p.readable = cpu::both(e_, m.valid, cpu::both(e_, v->valid, v->ids->valid));
  // Blocks of rows that a page holds whole if the tile begins with one.
  const std::int64_t block = std::gcd(p.page, rows);
  if (block % step == 0) {
    p.block = block;
    p.whole_blocks = e_.b.CreateICmpEQ(cpu::floor_remainder(e_, p.start, e_.idx(block), true), e_.idx(0));
  }
  return p;
}

void ThreadEmitter::look_up(PagedRows& p) {
  const cpu::View &pool = *p.view->parent, &ids = *p.view->ids;
  p.blocks.clear();
  p.next = 0;
  const std::int64_t cell = cell_bytes(pool.dtype);
  const auto bytes = [&](LV* element) { return e_.b.CreateMul(element, e_.idx(cell)); };
  LV* row_bytes = bytes(pool.strides[1]);
  const std::int64_t each = p.block == 1 ? p.step : p.block;
  for (std::int64_t r = 0; r < p.rows; r += each) {
    LV* in_tile = p.block == 1 ? e_.b.CreateAdd(p.first, i32(r)) : static_cast<LV*>(i32(r));
    LV* row = e_.b.CreateAdd(p.start, e_.b.CreateSExt(in_tile, e_.i64()));
    LV* number = cpu::floor_divide(e_, row, e_.idx(p.page), true);
    LV* found = cpu::both(e_, p.readable, e_.b.CreateICmpULT(number, ids.extents[0]));
    if (!p.within->full || p.rows > p.within->size || (p.block == 1 && p.rows % p.step != 0)) {
      // Page numbers of rows that are not there may be anything, or not there themselves.
      LV* begins = e_.b.CreateICmpSLT(in_tile, p.within->end);
      found = e_.b.CreateAnd(found, e_.b.CreateAnd(begins, e_.b.CreateICmpSGT(e_.b.CreateAdd(in_tile, i32(p.block)), p.within->first)));
    }
    const auto read = [&] {
      LV* at = e_.b.CreateAdd(ids.origin, e_.b.CreateMul(number, ids.strides[0]));
      LV* raw = e_.load(cell_type(ids.dtype), e_.at(cell_type(ids.dtype), ids.base, at), static_cast<int>(cell_bytes(ids.dtype)));
      return Values{is_signed(ids.dtype) ? e_.b.CreateSExt(raw, e_.i64()) : e_.b.CreateZExt(raw, e_.i64())};
    };
    LV* page = e_.choose(found, read, [&] { return Values{e_.idx(0)}; })[0];
    LV* exists = e_.b.CreateAnd(found, e_.b.CreateICmpULT(page, pool.extents[0]));
    page = e_.b.CreateSelect(exists, page, e_.idx(0));
    LV* start = e_.b.CreateAdd(bytes(pool.origin), e_.b.CreateMul(page, bytes(pool.strides[0])));
    start = e_.b.CreateAdd(start, e_.b.CreateMul(cpu::floor_remainder(e_, row, e_.idx(p.page), true), row_bytes));
    p.blocks.push_back({e_.at(e_.b.getInt8Ty(), pool.base, start), exists});
  }
}

LV* ThreadEmitter::paged_row(PagedRows& p, LV* col, LV*& ok) {
  const cpu::View& pool = *p.view->parent;
  const std::int64_t cell = cell_bytes(pool.dtype), row = static_cast<std::int64_t>(p.next++) * p.step;
  const PagedRows::Block& block = p.blocks[static_cast<std::size_t>(row / (p.block == 1 ? p.step : p.block))];
  ok = cpu::both(e_, ok, block.exists);
  // What the thread adds does not change from trip to trip; it is kept apart from what does.
  LV* mine = e_.b.CreateMul(e_.b.CreateSExt(col, e_.i64()), e_.b.CreateMul(pool.strides[2], e_.idx(cell)));
  LV* row_bytes = e_.b.CreateMul(pool.strides[1], e_.idx(cell));
  LV* there = block.row;
  if (p.block != 1) {
    mine = e_.b.CreateAdd(mine, e_.b.CreateMul(e_.b.CreateSExt(p.first, e_.i64()), row_bytes));
    if (const std::int64_t inside = row % p.block; inside != 0) there = e_.at(e_.b.getInt8Ty(), there, e_.b.CreateMul(row_bytes, e_.idx(inside)));
  }
  return e_.at(e_.b.getInt8Ty(), there, mine);
}

}  // namespace tessera::gpu
