// Accumulation loops as one blocked product.
#include <algorithm>

#include "codegen/cpu/emit.h"
#include "codegen/cpu/gemm.h"
#include "dsl/diagnostic.h"

namespace tessera::cpu {

using ir::Op;
using LV = llvm::Value;

namespace {

/// Cache blocks of k whose packed operands are kept from one instance to the next.
constexpr std::int64_t kKeptBlocks = 4;

/// Grid axes on which `v` depends, added to `axes`; false if it depends on something that is not the same in every instance for certain.
bool grid_axes(const Analysis& analysis, const ir::Value* v, std::set<std::size_t>& axes, std::set<const ir::Value*>& seen) {
  if (!seen.insert(v).second) return true;
  const ir::Kernel& k = analysis.kernel();
  if (!v->def) {
    if (v->block != &k.body) return false;
    const std::size_t parameters = k.body.args.size() - k.grid.size();
    const auto at = static_cast<std::size_t>(v->index);
    if (at >= parameters) axes.insert(at - parameters);
    return true;
  }
  const Op& op = *v->def;
  const bool pure = Analysis::lazy_op(op) || ir::has(op.kind, ir::OnView) || op.kind == ir::OpKind::Range;
  if (!pure || analysis.stored(v) || (op.kind == ir::OpKind::Load && analysis.changes(op.operands[0]))) return false;
  return std::all_of(op.operands.begin(), op.operands.end(), [&](const ir::Value* o) { return grid_axes(analysis, o, axes, seen); });
}

}  // namespace

void KernelEmitter::keep_gemm_scratch() {
  for (const auto& op : analysis_.kernel().body.ops) {
    if (op->kind != ir::OpKind::For || !plan_.gemm_loop(*op)) continue;
    const Op& dot = *plan_.gemm_loop(*op)->dot;
    const ir::Dims& tile = dims(op->region().args[1].get());
    const Product p = product_for(dtype(dot.operands[0]), dtype(dot.operands[1]), e_.target);
    gemm_scratch_[op.get()] = arena_.take(gemm_scratch_bytes(p, tile[0], tile[1], kKeptBlocks));
  }
}

LV* KernelEmitter::as_before(const std::vector<const ir::Value*>& values) {
  std::set<std::size_t> axes;
  std::set<const ir::Value*> seen;
  for (const ir::Value* v : values)
    if (!grid_axes(analysis_, v, axes, seen)) return nullptr;
  LV* same = follows_;
  LV* here = instance_;
  LV* before = e_.sub(instance_, e_.idx(1));
  for (std::size_t a = 0; a < grid_.size(); ++a) {
    if (axes.count(a) != 0) same = e_.b.CreateAnd(same, e_.b.CreateICmpEQ(e_.b.CreateURem(here, grid_[a]), e_.b.CreateURem(before, grid_[a])));
    here = e_.b.CreateUDiv(here, grid_[a]);
    before = e_.b.CreateUDiv(before, grid_[a]);
  }
  return same;
}

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
  // Rows of a that are units already are read once for every strip: hardly more often than a copy of them would take.
  const ViewPtr a_view = ev_->view(tiles[0].load->operands[0]);
  const bool pairs = unit_k(g.product) == 2;
  if (g.a.k_is_fast && a_view->affine() && g.a.source.dtype == (pairs ? DType::BF16 : DType::F32) &&
      (g.product == Product::BF16Pair || g.product == Product::F32)) {
    LV* stride = a_view->strides[view_axis(tiles[0].index[0])];
    g.a.in_place = e_.b.getTrue();
    if (pairs) g.a.in_place = e_.b.CreateICmpEQ(e_.b.CreateAnd(e_.b.CreateOr(stride, g.k), e_.idx(1)), e_.idx(0));
    g.a.row_stride = pairs ? e_.b.CreateAShr(stride, e_.idx(1)) : stride;
  }
  g.m = dims(acc)[0];
  g.n = dims(acc)[1];
  g.c = ev_->address(c);
  g.c_row = e_.idx(c.layout.strip);
  g.accumulate = !plan_.gemm_loop(op)->from_zero;
  const std::int64_t mark = arena_.mark();
  const auto kept = gemm_scratch_.find(&op);
  LV* scratch = nullptr;
  if (kept != gemm_scratch_.end()) {
    // Neighbours in the grid share rows of a or columns of b: one of the two is packed already.
    scratch = ev_->address(kept->second);
    g.k_blocks = kKeptBlocks;
    for (std::size_t i = 0; i < 2; ++i) {
      std::vector<const ir::Value*> depends = {op.operands[0], op.operands[1]};
      for (std::size_t t = 0; t < 2; ++t) {
        // The range along k starts at the loop's variable: its bounds are what counts, those of the other operand too.
        const ir::Value* along = tiles[t].load->operands[tiles[t].index[t == 0 ? 1 : 0]];
        depends.insert(depends.end(), {along->def->operands[1], along->def->operands[2]});
        for (const ir::Value* o : tiles[t].load->operands)
          if (t == i && o != along) depends.push_back(o);
      }
      (i == 0 ? g.a_packed : g.b_packed) = as_before(depends);
    }
  } else {
    scratch = ev_->address(arena_.take(gemm_scratch_bytes(g.product, g.m, g.n)));
  }
  emit_gemm(e_, g, scratch);
  arena_.release(mark);
  ev_->pop();
}

}  // namespace tessera::cpu
