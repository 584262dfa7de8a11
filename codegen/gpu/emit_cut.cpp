// Rows of a bulk copy that lie in the tensor but behind the valid part of their tile (BulkCopy::cut): zeros before anything reads them.
#include "codegen/gpu/emit.h"
#include "codegen/gpu/ring_loop.h"

namespace tessera::gpu {

using ir::Op;

/// Of the tiles in `slot` that come `behind` so many trips, which are those of `trip`. By all threads that compute.
void ThreadEmitter::cut_tiles(const RingPart& part, LV* trip, LV* slot, int behind) {
  const KeepsValues keeps(*this);
  for (const int i : part.stages) {
    const Stage& s = plan_.stages()[static_cast<std::size_t>(i)];
    if (!s.bulk || !s.bulk->cut || s.behind != behind) continue;
    set(part.op.region().args[0].get(), {}, {{trip}});
    for (const Op* a : plan_.address_ops(part.op, behind)) emit_op(*a);
    const ir::Value* rows = nullptr;
    for (std::size_t k = 1; k < s.source->def->operands.size() && !rows; ++k) {
      if (ir::is_range(s.source->def->operands[k]->type)) rows = s.source->def->operands[k];
    }
    LV* valid = ranges_.at(rows).end;
    e_.if_then(e_.b.CreateICmpSLT(valid, i32(s.rows)), [&] {
      LV* base = e_.b.CreateAdd(shared_address(s.offset), e_.b.CreateMul(slot, i32(s.slot_bytes())));
      const std::int64_t chunks = s.panel_bytes() / s.rows / 16 * s.panels();  // of a row
      LV* zero = llvm::Constant::getNullValue(llvm::FixedVectorType::get(e_.i32(), 4));
      LV* all = e_.b.CreateMul(e_.b.CreateSub(i32(s.rows), valid), i32(chunks));
      e_.loop(tid_, all, i32(plan_.threads()), false, [&](LV* n) {
        LV *row = e_.b.CreateAdd(valid, e_.b.CreateUDiv(n, i32(chunks))), *byte = e_.b.CreateMul(e_.b.CreateURem(n, i32(chunks)), i32(16));
        shared_store(zero, stage_place(s, base, row, byte), 16);
      });
      call(e_.b, e_.module, Primitive::FenceProxyAsync, {});
      // Not `barrier`, whose promise would hold on the other path too.
      wait_for_all();
    });
  }
}

}  // namespace tessera::gpu
