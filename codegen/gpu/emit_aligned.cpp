// Straight code that moves several tiles is emitted twice: as if all of them may move 16 bytes at a time, and with a test at each. One test before
// it chooses. A thread of the first form asks for all of its tiles before it waits for one of them; where every tile has its own test, code that
// works on what came first stands before what asks for the next.
#include <llvm/IR/IntrinsicInst.h>

#include "codegen/gpu/aligned.h"
#include "dsl/diagnostic.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;

namespace {

/// Of a block that is emitted twice. Where more is done with what comes, waiting matters less, and code costs time to make.
constexpr std::size_t kMostOps = 64;

}  // namespace

bool ThreadEmitter::has_aligned_form(const ir::Block& block) const {
  if (plan_.has_products() || plan_.roles() || aligned_ || !block.yielded().empty() || block.ops.size() > kMostOps) return false;
  int tiles = 0;
  for (const auto& op : block.ops) {
    if (!op->regions.empty() || (op->kind == OpKind::Assert && options_.checks)) return false;
    if (op->kind != OpKind::Load && op->kind != OpKind::Store && op->kind != OpKind::FetchAdd) continue;
    for (const ir::Value* v : op->operands) {
      if (!ir::is_range(v->type)) continue;
      // Masks make code long; once is enough then.
      if (!v->def->has(ir::Attr::Full)) return false;
      if (v == op->operands.back()) ++tiles;
    }
  }
  return tiles > 1;
}

LV* ThreadEmitter::Aligned::earlier(cpu::Emitter& e, LV* v) {
  auto* i = llvm::dyn_cast<llvm::Instruction>(v);
  if (!i || outside.count(i->getParent()) != 0) return v;
  if (const auto at = copies.find(v); at != copies.end()) return at->second;
  const bool plain = llvm::isa<llvm::BinaryOperator, llvm::CastInst, llvm::CmpInst, llvm::SelectInst, llvm::MinMaxIntrinsic>(i);
  if (!plain) return nullptr;
  std::vector<LV*> operands;
  for (LV* o : i->operands()) {
    LV* x = llvm::isa<llvm::Function>(o) ? o : earlier(e, o);
    if (!x) return nullptr;
    operands.push_back(x);
  }
  llvm::Instruction* copy = i->clone();
  for (std::size_t k = 0; k < operands.size(); ++k) copy->setOperand(static_cast<unsigned>(k), operands[k]);
  copy->insertInto(before, before->end());
  return copies[v] = copy;
}

LV* ThreadEmitter::unless_assumed(LV* together) {
  if (!aligned_) return together;
  if (aligned_->assumed) {
    aligned_->tests.push_back(aligned_->earlier(e_, together));
    return aligned_->tests.back() ? e_.b.getTrue() : together;
  }
  // The other form meets the same tests in the same order. It takes their outcomes: what they are made of need not be kept.
  TESSERA_ASSERT(aligned_->met < aligned_->tests.size(), "the forms of a block differ");
  LV* test = aligned_->tests[aligned_->met++];
  return test ? test : together;
}

void ThreadEmitter::emit_aligned(const ir::Block& block) {
  settle_all();
  const SharedState state = state_;
  const std::map<const ir::Value*, Handed> handed = handed_;
  Aligned form{.before = e_.b.GetInsertBlock()};
  llvm::Function* f = form.before->getParent();
  for (llvm::BasicBlock& b : *f) form.outside.insert(&b);
  auto* aligned = llvm::BasicBlock::Create(e_.context, "aligned", f);
  e_.b.SetInsertPoint(aligned);
  {
    const KeepsValues values(*this);
    aligned_ = &form;
    emit_straight(block);
    form.assumed = false;
  }
  const SharedState first = std::exchange(state_, state);
  handed_ = handed;
  auto* general = llvm::BasicBlock::Create(e_.context, "general", f);
  auto* join = llvm::BasicBlock::Create(e_.context, "join", f);
  e_.b.CreateBr(join);
  e_.b.SetInsertPoint(form.before);
  LV* all = e_.b.getTrue();
  for (LV* test : form.tests) all = test ? e_.b.CreateAnd(all, test) : all;
  e_.b.CreateCondBr(all, aligned, general);
  e_.b.SetInsertPoint(general);
  emit_straight(block);
  aligned_ = nullptr;
  e_.b.CreateBr(join);
  e_.b.SetInsertPoint(join);
  state_.join(first);
}

}  // namespace tessera::gpu
