// Blocks, loops and branches. Units are carried in SSA form, tiles in their buffers.
#include <algorithm>

#include "codegen/cpu/emit.h"
#include "codegen/cpu/plan_block.h"
#include "dsl/diagnostic.h"

namespace tessera::cpu {

using ir::Op;
using ir::OpKind;
using LV = llvm::Value;

void KernelEmitter::emit_block(const ir::Block& block) {
  const std::int64_t mark = arena_.mark();
  if (!products_) plan_fetches(block);
  for (const Segment& s : plan_.block(block).segments) {
    for (const Region& r : s.regions) emit_region(r);
    copy_staged(s);
    if (s.control) emit_control(*s.control);
  }
  arena_.release(mark);
}

void KernelEmitter::plan_fetches(const ir::Block& block) {
  std::map<const Op*, const Nest*> last;
  for (const Segment& segment : plan_.block(block).segments) {
    for (const Region& region : segment.regions) {
      for (const Nest& nest : region.nests) {
        std::set<const ir::Value*> seen;
        std::function<void(const ir::Value*)> visit = [&](const ir::Value* v) {
          if (!ir::is_tile(v->type) || !analysis_.lazy(v) || !seen.insert(v).second) return;
          if (v->def->kind == OpKind::Load && v->def->parent == &block) last[v->def] = &nest;
          for (const ir::Value* o : v->def->operands) visit(o);
        };
        for (const Sink* s : nest.sinks)
          for (const Input& input : inputs(*s)) visit(input.value);
      }
    }
  }
  // Unrolled bodies are emitted more than once.
  for (const auto& [load, nest] : last) {
    std::vector<const Op*>& loads = fetches_[nest];
    if (std::find(loads.begin(), loads.end(), load) == loads.end()) loads.push_back(load);
  }
}

Values KernelEmitter::yielded_units(const ir::Block& block) {
  Values units;
  for (const ir::Value* v : block.yielded())
    if (is_unit(v)) units.push_back(ev_->scalar(v));
  return units;
}

/// What regions use of the values outside is made before them, where it dominates them all.
void KernelEmitter::require_for(const Op& control) {
  std::vector<const ir::Block*> inside;
  for (const auto& r : control.regions) {
    inside.push_back(r.get());
    ir::walk(*r, [&](const Op& op) {
      for (const auto& n : op.regions) inside.push_back(n.get());
    });
  }
  for (const auto& r : control.regions) {
    ir::walk(*r, [&](const Op& op) {
      for (const ir::Value* v : op.operands)
        if (std::find(inside.begin(), inside.end(), Analysis::home_block(v)) == inside.end()) ev_->require(v);
    });
  }
}

void KernelEmitter::emit_control(const Op& op) {
  require_for(op);
  switch (op.kind) {
    case OpKind::For: return plan_.gemm_loop(op) ? emit_gemm_loop(op) : emit_for(op);
    case OpKind::While: return emit_while(op);
    case OpKind::If: return emit_if(op);
    default: TESSERA_UNREACHABLE("not a control op");
  }
}

namespace {

/// Operands from `first` on that are units, and the block arguments that receive them.
void bind_units(Evaluator& ev, const std::vector<const ir::Value*>& args, llvm::ArrayRef<LV*> values) {
  std::size_t i = 0;
  for (const ir::Value* a : args)
    if (is_unit(a)) ev.bind_unit(a, lanes(values[i++]));
}

std::vector<const ir::Value*> arguments(const ir::Block& block, std::size_t first) {
  std::vector<const ir::Value*> v;
  for (std::size_t i = first; i < block.args.size(); ++i) v.push_back(block.args[i].get());
  return v;
}

std::vector<const ir::Value*> results(const Op& op) {
  std::vector<const ir::Value*> v;
  for (const auto& r : op.results) v.push_back(r.get());
  return v;
}

}  // namespace

void KernelEmitter::emit_for(const Op& op) {
  LV* lo = ev_->scalar(op.operands[0]);
  LV* hi = ev_->scalar(op.operands[1]);
  LV* step = ev_->scalar(op.operands[2]);
  if (!llvm::isa<llvm::ConstantInt>(step)) step = e_.max(step, e_.idx(1));
  const ir::Block& body = op.region();
  const auto args = arguments(body, 1);
  Values init;
  for (std::size_t i = 0; i < args.size(); ++i) {
    if (is_unit(args[i]))
      init.push_back(ev_->scalar(op.operands[3 + i]));
    else
      ev_->bind_buffer(op.result(i), ensure_buffer(args[i]));
  }
  // The induction variable starts as a multiple of what both its start and its step are multiples of.
  const auto wish = wishes_.unrolls.find(&op);
  const int bodies = wish == wishes_.unrolls.end() ? 1 : wish->second.count;
  const auto outside = bodies > 1 ? ev_->buffers() : std::map<const ir::Value*, Buffer>();
  const Values out = e_.unrolled(bodies, lo, hi, step, init, [&](LV* iv, llvm::ArrayRef<LV*> carried) {
    if (bodies > 1) ev_->bind_buffers_alone(outside);
    ev_->push();
    ev_->bind_unit(body.args[0].get(), lanes(iv));
    bind_units(*ev_, args, carried);
    emit_block(body);
    Values next = yielded_units(body);
    ev_->pop();
    return next;
  });
  bind_units(*ev_, results(op), out);
}

void KernelEmitter::emit_while(const Op& op) {
  const ir::Block& test = op.region(0);
  const ir::Block& body = op.region(1);
  const auto test_args = arguments(test, 0);
  const auto args = arguments(body, 0);
  Values init;
  for (std::size_t i = 0; i < args.size(); ++i) {
    if (is_unit(args[i])) {
      init.push_back(ev_->scalar(op.operands[i]));
    } else {
      const Buffer& b = ensure_buffer(args[i]);
      ev_->bind_buffer(test_args[i], b);
      ev_->bind_buffer(op.result(i), b);
    }
  }
  llvm::Function* function = e_.b.GetInsertBlock()->getParent();
  llvm::BasicBlock* before = e_.b.GetInsertBlock();
  auto* head = llvm::BasicBlock::Create(e_.context, "while", function);
  auto* inside = llvm::BasicBlock::Create(e_.context, "body", function);
  auto* after = llvm::BasicBlock::Create(e_.context, "done", function);
  e_.b.CreateBr(head);
  e_.b.SetInsertPoint(head);
  std::vector<llvm::PHINode*> phis;
  Values carried;
  for (LV* v : init) {
    phis.push_back(e_.b.CreatePHI(v->getType(), 2));
    phis.back()->addIncoming(v, before);
    carried.push_back(phis.back());
  }
  ev_->push();
  bind_units(*ev_, test_args, carried);
  emit_block(test);
  LV* go = ev_->scalar(test.yielded()[0]);
  ev_->pop();
  e_.b.CreateCondBr(go, inside, after);
  e_.b.SetInsertPoint(inside);
  ev_->push();
  bind_units(*ev_, args, carried);
  emit_block(body);
  const Values next = yielded_units(body);
  ev_->pop();
  for (std::size_t i = 0; i < phis.size(); ++i) phis[i]->addIncoming(next[i], e_.b.GetInsertBlock());
  e_.b.CreateBr(head);
  e_.b.SetInsertPoint(after);
  bind_units(*ev_, results(op), carried);
}

void KernelEmitter::emit_if(const Op& op) {
  for (const auto& r : op.results)
    if (!is_unit(r.get())) ensure_buffer(r.get());
  auto arm = [&](std::size_t i) {
    return [this, &op, i] {
      ev_->push();
      emit_block(op.region(i));
      Values units = yielded_units(op.region(i));
      ev_->pop();
      return units;
    };
  };
  bind_units(*ev_, results(op), e_.choose(ev_->scalar(op.operands[0]), arm(0), arm(1)));
}

}  // namespace tessera::cpu
