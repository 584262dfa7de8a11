// Accumulation loops as one blocked product.
#include "codegen/cpu/emit.h"
#include "codegen/cpu/gemm.h"
#include "dsl/diagnostic.h"

namespace tessera::cpu {

using ir::Op;
using LV = llvm::Value;

void KernelEmitter::emit_gemm_loop(const Op& op) {
  const Op& dot = *plan_.gemm_loop(op)->dot;
  const ir::Value* acc = op.region().args[1].get();
  const Buffer& c = ensure_buffer(acc);
  ev_->bind_buffer(op.result(), c);
  LV* lo = ev_->scalar(op.operands[0]);
  LV* hi = ev_->scalar(op.operands[1]);
  const std::int64_t step = *ir::constant_int(op.operands[2]);
  // Trips times step: the last tile of k may stick out of the loop's range, but not of its own.
  LV* trips = e_.b.CreateUDiv(e_.add(e_.max(e_.idx(0), e_.sub(hi, lo)), e_.idx(step - 1)), e_.idx(step));
  LV* end = e_.add(lo, e_.mul(trips, e_.idx(step)));
  ev_->push();
  ev_->bind_unit(op.region().args[0].get(), lanes(lo));
  Gemm g;
  g.product = product_for(dtype(dot.operands[0]), dtype(dot.operands[1]), e_.target);
  LoadedTile tiles[2];
  for (std::size_t i = 0; i < 2; ++i) {
    tiles[i] = *loaded_tile(analysis_, dot.operands[i]);
    const RangeRef& along = ev_->range(tiles[i].load->operands[tiles[i].index[i == 0 ? 1 : 0]]);
    if (!along.full) end = e_.min(end, along.hi);
  }
  g.k = e_.max(e_.idx(0), e_.sub(end, lo));
  for (std::size_t i = 0; i < 2; ++i) {
    const std::size_t k_axis = i == 0 ? 1 : 0;
    const ViewPtr view = ev_->view(tiles[i].load->operands[0]);
    const auto walk = walk_along(*view, view_axis(tiles[i].index[k_axis]));
    GemmOperand& o = i == 0 ? g.a : g.b;
    o.k_is_fast = walk && walk->unit;
    o.source = pack_source(*ev_, tiles[i], static_cast<int>(o.k_is_fast ? 1 - k_axis : k_axis));
    // One tile of k stands for the whole range.
    if (o.k_is_fast)
      o.source.fast_count = g.k;
    else
      o.source.slow_count = e_.b.CreateSelect(e_.b.CreateICmpSGT(o.source.slow_count, e_.idx(0)), g.k, e_.idx(0));
    o.source.full = false;
  }
  g.m = dims(acc)[0];
  g.n = dims(acc)[1];
  g.c = ev_->address(c);
  g.c_row = e_.idx(c.layout.strip);
  g.accumulate = true;
  const std::int64_t mark = arena_.mark();
  LV* scratch = ev_->address(arena_.take(gemm_scratch_bytes(g.product, g.m, g.n)));
  emit_gemm(e_, g, scratch);
  arena_.release(mark);
  ev_->pop();
}

}  // namespace tessera::cpu
