// Loops without rings.
#include "codegen/gpu/emit.h"
#include "dsl/diagnostic.h"

namespace tessera::gpu {

using ir::Op;

void ThreadEmitter::emit_for(const Op& op) { plan_.rings_of(op).empty() ? emit_plain_for(op) : emit_ring_for(op); }

void ThreadEmitter::forget(const Op& loop) {
  state_.forget();
  for (const auto& region : loop.regions) {
    ir::walk(*region, [&](const Op& op) {
      const bool stores = op.kind == ir::OpKind::Store || op.kind == ir::OpKind::FetchAdd;
      if (!stores && op.kind != ir::OpKind::Load) return;
      if (const auto space = global_space(op.operands[0])) stores ? state_.write(*space, 0, 1) : state_.read(*space, 0, 1);
    });
  }
}

void ThreadEmitter::emit_plain_for(const Op& op) {
  const ir::Block& body = op.region();
  std::vector<const ir::Value*> results;
  Values carried;
  for (std::size_t i = 0; i < op.results.size(); ++i) {
    results.push_back(op.result(i));
    flatten(op.operands[3 + i], layout_of(op.result(i)), carried);
  }
  settle_all();
  SharedState before = state_;
  forget(op);
  const Values end =
      trips(op, scalar(op.operands[0]), scalar(op.operands[1]), scalar(op.operands[2]), carried, false, [&](LV* iv, llvm::ArrayRef<LV*> inside) {
        set(body.args[0].get(), {}, {{iv}});
        std::size_t at = 0;
        for (std::size_t i = 0; i < results.size(); ++i) bind_flat(body.args[1 + i].get(), layout_of(results[i]), inside, at);
        emit_block(body);
        Values next = yielded(body, results);
        settle_all();
        return next;
      });
  state_.join(before);
  std::size_t at = 0;
  for (const ir::Value* r : results) bind_flat(r, layout_of(r), end, at);
}

Values ThreadEmitter::trips(const Op& loop, LV* lo, LV* hi, LV* step, Values carried, bool quiet, const cpu::Emitter::LoopBody& body) {
  const SharedState head = state_;
  return e_.unrolled(plan_.unrolled(loop), lo, hi, step, std::move(carried), body, [&] {
    state_.join(head);
    if (!quiet) forget(loop);
  });
}

Values ThreadEmitter::repeat(const Values& init, const std::function<LV*(llvm::ArrayRef<LV*>)>& goes_on,
                             const std::function<Values(llvm::ArrayRef<LV*>)>& body) {
  llvm::Function* f = e_.b.GetInsertBlock()->getParent();
  auto* head = llvm::BasicBlock::Create(e_.context, "while", f);
  auto* inside = llvm::BasicBlock::Create(e_.context, "do", f);
  auto* after = llvm::BasicBlock::Create(e_.context, "done", f);
  llvm::BasicBlock* from = e_.b.GetInsertBlock();
  e_.b.CreateBr(head);
  e_.b.SetInsertPoint(head);
  std::vector<llvm::PHINode*> phis;
  Values now;
  for (LV* v : init) {
    phis.push_back(e_.b.CreatePHI(v->getType(), 2));
    phis.back()->addIncoming(v, from);
    now.push_back(phis.back());
  }
  e_.b.CreateCondBr(goes_on(now), inside, after);
  e_.b.SetInsertPoint(inside);
  const Values next = body(now);
  for (std::size_t i = 0; i < phis.size(); ++i) phis[i]->addIncoming(next[i], e_.b.GetInsertBlock());
  e_.b.CreateBr(head);
  e_.b.SetInsertPoint(after);
  return now;
}

void ThreadEmitter::emit_while(const Op& op) {
  std::vector<const ir::Value*> results;
  Values init;
  for (std::size_t i = 0; i < op.results.size(); ++i) {
    results.push_back(op.result(i));
    flatten(op.operands[i], layout_of(op.result(i)), init);
  }
  settle_all();
  SharedState before = state_;
  forget(op);
  const auto bind = [&](const ir::Block& block, llvm::ArrayRef<LV*> now) {
    std::size_t at = 0;
    for (std::size_t i = 0; i < results.size(); ++i) bind_flat(block.args[i].get(), layout_of(results[i]), now, at);
  };
  const auto goes_on = [&](llvm::ArrayRef<LV*> now) {
    bind(op.region(0), now);
    emit_block(op.region(0));
    return scalar(op.region(0).yielded()[0]);
  };
  const auto body = [&](llvm::ArrayRef<LV*> now) {
    bind(op.region(1), now);
    emit_block(op.region(1));
    return yielded(op.region(1), results);
  };
  const Values end = repeat(init, goes_on, body);
  state_.join(before);
  std::size_t at = 0;
  for (const ir::Value* r : results) bind_flat(r, layout_of(r), end, at);
}

}  // namespace tessera::gpu
