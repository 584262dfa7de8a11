// Bulk copies from shared to global memory: each warpgroup writes pieces of 64 rows and 128 bytes into shared memory of its own, and one of its
// threads has them copied to where they belong while the warpgroup goes on.
#include "codegen/gpu/emit.h"

namespace tessera::gpu {

using ir::Op;

LV* ThreadEmitter::may_store(const Op& op, const BulkCopy& copy) {
  if (!copy.cut) return stores_encoded_;
  LV* may = stores_encoded_;
  for (const ir::Value* i : llvm::ArrayRef(op.operands).drop_front(2)) {
    if (!ir::is_range(i->type)) continue;
    const RangeValue& r = ranges_.at(i);
    may = e_.b.CreateAnd(may, e_.b.CreateAnd(e_.b.CreateICmpEQ(r.first, i32(0)), e_.b.CreateICmpEQ(r.end, i32(r.size))));
  }
  return may;
}

LV* ThreadEmitter::stores() { return e_.b.CreateICmpEQ(e_.b.CreateURem(tid_, i32(kGroupThreads)), i32(0)); }

void ThreadEmitter::await_pieces() {
  e_.if_then(stores(), [&] { call(e_.b, e_.module, Primitive::BulkWaitRead, {i32(0)}); });
}

void ThreadEmitter::end_stores() {
  if (!plan_.roles()->stores.empty()) await_pieces();
}

/// 16 rows of each warp, of `blocks` times 8 columns: what a piece has more is not written to the tensor, and is zero.
void ThreadEmitter::write_piece(LV* to, const Elements& regs, std::size_t row_registers, std::int64_t first_block, std::int64_t blocks) {
  // Registers lie as [row, row + 8][block][2]. Lane l gives the address of row l mod 8 of the matrix l / 8: rows, rows + 8, and these of the next
  // block.
  const auto word = [&](std::size_t half, std::int64_t block) -> LV* {
    if (block >= blocks) return i32(0);
    const std::size_t at = (half * static_cast<std::size_t>(blocks) + static_cast<std::size_t>(block)) * 2 + row_registers;
    return pack_word(e_, {regs[at].v, regs[at + 1].v});
  };
  LV *in_eight = e_.b.CreateAnd(lane_, i32(7)), *matrix = e_.b.CreateLShr(lane_, i32(3));
  LV* row = e_.b.CreateAdd(in_eight, e_.b.CreateMul(e_.b.CreateAnd(matrix, i32(1)), i32(8)));
  row = e_.b.CreateAdd(row, e_.b.CreateMul(e_.b.CreateURem(warp_, i32(4)), i32(16)));
  LV* chunk = e_.b.CreateXor(e_.b.CreateLShr(matrix, i32(1)), in_eight);
  LV* place = e_.b.CreateAdd(e_.b.CreateAdd(to, e_.b.CreateMul(row, i32(kPanelBytes))), e_.b.CreateMul(chunk, i32(16)));
  for (std::int64_t c = 0; c < 8 && first_block + c < blocks; c += 2) {
    const std::int64_t b = first_block + c;
    const Values words = {word(0, b), word(1, b), word(0, b + 1), word(1, b + 1)};
    call(e_.b, e_.module, Primitive::StmatrixX4, {e_.b.CreateXor(place, i32(16 * c))}, words, 0, e_.i32());
  }
}

void ThreadEmitter::bulk_store(const Op& op, const BulkCopy& copy) {
  using enum Primitive;
  constexpr Primitive kStores[] = {TmaStore2, TmaStore3, TmaStore4, TmaStore5};
  constexpr Primitive kKept[] = {TmaStoreKept2, TmaStoreKept3, TmaStoreKept4, TmaStoreKept5};
  const auto eviction = plan_.eviction(op);
  const Roles& roles = *plan_.roles();
  const ir::Value* v = op.operands[1];
  const Elements regs = get(v, layout_of(v));
  const std::int64_t groups = plan_.warps() / 4, atoms = dims(v)[0] / (kPieceRows * groups), blocks = dims(v)[1] / 8;
  const std::int64_t width = kPanelBytes / cell_bytes(dtype(v)), panels = (dims(v)[1] + width - 1) / width;
  LV* group = e_.b.CreateUDiv(warp_, i32(4));
  LV* base = e_.b.CreateAdd(shared_address(roles.pieces), e_.b.CreateMul(group, i32(roles.buffers * kPieceBytes)));
  const auto [rows, cols] = corner(llvm::ArrayRef(op.operands).drop_front(2));
  LV* row = e_.b.CreateAdd(rows, e_.b.CreateMul(group, i32(atoms * kPieceRows)));
  const auto meet_group = [&] { call(e_.b, e_.module, BarSync, {e_.b.CreateAdd(group, i32(kPieceBarrier)), i32(kGroupThreads)}); };
  // As many at a time as there are buffers: one fence and one meeting for all of them, once all that were stored before have been read.
  for (std::int64_t first = 0; first < atoms * panels; first += roles.buffers) {
    const std::int64_t end = std::min<std::int64_t>(first + roles.buffers, atoms * panels);
    const auto buffer = [&](std::int64_t piece) { return e_.b.CreateAdd(base, i32((piece - first) * kPieceBytes)); };
    await_pieces();
    meet_group();
    for (std::int64_t piece = first; piece < end; ++piece)
      write_piece(buffer(piece), regs, static_cast<std::size_t>(4 * (piece / panels) * blocks), 8 * (piece % panels), blocks);
    call(e_.b, e_.module, FenceProxyAsync, {});
    meet_group();
    e_.if_then(stores(), [&, cols = cols] {
      for (std::int64_t piece = first; piece < end; ++piece) {
        Values args = {buffer(piece), map_arguments_[map_of_store_.at(&op)], e_.b.getTrue()};
        add_box(copy, e_.b.CreateAdd(row, i32(piece / panels * kPieceRows)), e_.b.CreateAdd(cols, i32(piece % panels * width)), args);
        if (eviction) args.push_back(policy(*eviction));
        call(e_.b, e_.module, (eviction ? kKept : kStores)[copy.axes.size() - 2], args);
      }
      call(e_.b, e_.module, BulkCommit, {});
    });
  }
}

}  // namespace tessera::gpu
