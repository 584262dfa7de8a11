// Tiles of bytes that products want transposed: the warps of the asking warpgroup that do not ask make each slot's transpose from what bulk copies
// brought, while the computing warps are at the trips before.
//
// A slot goes round: it is free, its tiles have come, its transposes are there, free again. Who waits for a later state knows of those before.
//
// 32 rows of 16 bytes at a time. ldmatrix.trans gives a lane pairs of bytes of two neighbouring rows, out of which two words of four rows each are
// picked; stmatrix stores them as rows. Of the eight rows of a stored matrix the first four are even columns of the source and the last four odd ones
// (or the other way round), so that no two lie in the same banks. Which source row a lane names for ldmatrix decides the order of k: as it is, or
// that of accumulators (stage_column).
#include "codegen/gpu/emit.h"
#include "codegen/gpu/ring_loop.h"

namespace tessera::gpu {

using ir::Op;

namespace {

constexpr std::int64_t kChunk = 16;
constexpr std::int64_t kBlocksTogether = 4;  ///< what the registers of an asking thread hold

}  // namespace

LV* ThreadEmitter::transposed_barrier(const Op& loop, LV* slot) {
  const std::int64_t at = plan_.stages()[static_cast<std::size_t>(plan_.transposed_of(loop)[0])].transposed_barriers;
  return e_.b.CreateAdd(shared_address(at), e_.b.CreateMul(slot, i32(8)));
}

void ThreadEmitter::await_transposed(const RingLoop& r, const Turn& turn) {
  const Op& loop = r.first().op;
  if (!plan_.transposed_of(loop).empty()) call(e_.b, e_.module, Primitive::MbarWait, {transposed_barrier(loop, turn.slot), turn.parity});
}

void ThreadEmitter::transpose_tile(int stage, LV* slot) {
  const Stage& to = plan_.stages()[static_cast<std::size_t>(stage)];
  const Stage& from = plan_.stages()[static_cast<std::size_t>(to.transposed_from)];
  const auto base = [&](const Stage& s) { return e_.b.CreateAdd(shared_address(s.offset), e_.b.CreateMul(slot, i32(s.slot_bytes()))); };
  const auto bit = [&](LV* x, std::int64_t n) { return e_.b.CreateAnd(e_.b.CreateLShr(x, i32(n)), i32(1)); };
  // Lane i names row i mod 8 of matrix i / 8.
  LV *row = e_.b.CreateAnd(lane_, i32(7)), *matrix = e_.b.CreateLShr(lane_, i32(3));
  LV* half = e_.b.CreateLShr(matrix, i32(1));
  LV* source_row = e_.b.CreateAdd(e_.b.CreateMul(matrix, i32(8)), row);
  if (!to.in_register_order) {
    LV* quad = e_.b.CreateAdd(e_.b.CreateMul(e_.b.CreateLShr(row, i32(1)), i32(4)), e_.b.CreateMul(bit(matrix, 0), i32(2)));
    source_row = e_.b.CreateAdd(e_.b.CreateMul(half, i32(16)), e_.b.CreateAdd(quad, bit(row, 0)));
  }
  LV* source = e_.b.CreateAdd(base(from), e_.b.CreateMul(source_row, i32(kPanelBytes)));
  LV* source_key = e_.b.CreateAnd(source_row, i32(7));
  LV* target_row = e_.b.CreateAdd(e_.b.CreateMul(row, i32(2)), e_.b.CreateXor(bit(matrix, 0), bit(row, 2)));
  LV* target = e_.b.CreateAdd(base(to), e_.b.CreateMul(target_row, i32(kPanelBytes)));
  LV* target_key = e_.b.CreateXor(half, e_.b.CreateAnd(target_row, i32(7)));
  LV* low_lanes = e_.b.CreateICmpULT(lane_, i32(kWarpLanes / 2));
  LV *even = i32(0x6420), *odd = i32(0x7531);
  LV *first = e_.b.CreateSelect(low_lanes, even, odd), *second = e_.b.CreateSelect(low_lanes, odd, even);
  const std::int64_t blocks = from.rows / kTransposedRows;
  e_.loop(e_.b.CreateSub(warp_, i32(plan_.warps() + 1)), i32(from.cols / kChunk), i32(kTransposingWarps), false, [&](LV* chunk) {
    LV* panel = e_.b.CreateMul(e_.b.CreateLShr(chunk, i32(3)), i32(from.panel_bytes()));
    LV* in_panel = e_.b.CreateShl(e_.b.CreateXor(e_.b.CreateAnd(chunk, i32(7)), source_key), i32(4));
    LV* read = e_.b.CreateAdd(e_.b.CreateAdd(source, panel), in_panel);
    LV* write = e_.b.CreateAdd(target, e_.b.CreateMul(chunk, i32(kChunk * kPanelBytes)));
    for (std::int64_t at = 0; at < blocks; at += kBlocksTogether) {
      const std::int64_t end = std::min(blocks, at + kBlocksTogether);
      std::vector<std::vector<LV*>> pairs;
      for (std::int64_t b = at; b < end; ++b)
        pairs.push_back(
            call(e_.b, e_.module, Primitive::LdmatrixX4Trans, {e_.b.CreateAdd(read, i32(b * kTransposedRows * kPanelBytes))}, {}, 4, e_.i32()));
      for (std::int64_t b = at; b < end; ++b) {
        const std::vector<LV*>& x = pairs[static_cast<std::size_t>(b - at)];
        std::vector<LV*> words;
        for (const std::size_t i : {0U, 2U}) {
          for (LV* which : {first, second}) words.push_back(call(e_.b, e_.module, Primitive::PickBytes, {x[i], x[i + 1], which}));
        }
        const std::int64_t chunks = b * kTransposedRows / kChunk;
        LV* place = e_.b.CreateAdd(write, e_.b.CreateShl(e_.b.CreateXor(target_key, i32(chunks % 8)), i32(4)));
        call(e_.b, e_.module, Primitive::StmatrixX4, {e_.b.CreateAdd(place, i32(chunks / 8 * to.panel_bytes()))}, words, 0, e_.i32());
      }
    }
  });
}

void ThreadEmitter::each_slot(const Op& op, const std::function<void(const RingLoop& r, const Turn& turn)>& work) {
  RingLoop r = ring_loop(op);
  r.fed = false;  // turns look at the trips as those who fill the slots do
  Turn turn = first_turn(r);
  auto& [slot, parity] = rings_stand_.at(&op);
  turn.slot = slot;
  turn.parity = parity;
  Values init;
  carry(turn, init);
  const auto goes_on = [&](llvm::ArrayRef<LV*> now) {
    LV *trip = nullptr, *any = exists(r, turn_of(r, now), 0, &trip);
    return r.behind > 0 ? e_.b.CreateOr(any, exists(r, turn_of(r, now), 1, &trip)) : any;
  };
  const auto one_trip = [&](llvm::ArrayRef<LV*> now) {
    Turn t = turn_of(r, now);
    work(r, t);
    look_further(r, t);
    go_on(r, t);
    Values out;
    carry(t, out);
    return out;
  };
  turn = turn_of(r, repeat(init, goes_on, one_trip));
  slot = turn.slot;
  parity = turn.parity;
}

/// One loop's slots of one instance.
void ThreadEmitter::transpose_loop(const Op& op) {
  each_slot(op, [&](const RingLoop& r, const Turn& t) {
    call(e_.b, e_.module, Primitive::MbarWait, {ring_barrier(r, t.slot, false), t.parity});
    for (const int s : plan_.transposed_of(op)) {
      LV* trip = nullptr;
      e_.if_then(exists(r, t, plan_.stages()[static_cast<std::size_t>(s)].behind, &trip), [&] { transpose_tile(s, t.slot); });
    }
    call(e_.b, e_.module, Primitive::FenceProxyAsync, {});
    call(e_.b, e_.module, Primitive::WarpSync, {});
    call(e_.b, e_.module, Primitive::MbarArrive, {transposed_barrier(op, t.slot), e_.b.CreateICmpEQ(lane_, i32(0))});
  });
}

void ThreadEmitter::transpose_slots() {
  const KeepsValues keeps(*this);
  each_instance([&] {
    for (const Op* op : plan_.roles()->slice) emit_op(*op);
    for (const Op* loop : plan_.roles()->chains) {
      if (!plan_.transposed_of(*loop).empty()) transpose_loop(*loop);
    }
  });
}

}  // namespace tessera::gpu
