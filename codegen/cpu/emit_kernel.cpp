// Entries, parameters and grid indices.
#include <llvm/IR/IntrinsicsX86.h>

#include "codegen/cpu/emit.h"
#include "dsl/diagnostic.h"

namespace tessera::cpu {

using LV = llvm::Value;

LV* KernelEmitter::frame_word(LV* frame, std::size_t word) {
  auto* load = llvm::cast<llvm::LoadInst>(e_.load(e_.i64(), e_.at(e_.i64(), frame, e_.idx(static_cast<std::int64_t>(word))), 8));
  // Nothing that a kernel writes is the frame: loads of it may move anywhere.
  load->setMetadata(llvm::LLVMContext::MD_invariant_load, llvm::MDNode::get(e_.context, {}));
  return load;
}

void KernelEmitter::bind_parameters(LV* frame, LV* instance, LV* grid) {
  const ir::Kernel& k = analysis_.kernel();
  const FrameLayout layout = frame_layout(k);
  for (std::size_t s = 0; s < k.symbols.size(); ++s) ev_->bind_symbol(k.symbols[s], frame_word(frame, layout.symbols[s]));
  std::size_t arg = 0;
  for (std::size_t p = 0; p < k.params.size(); ++p) {
    const ir::Param& param = k.params[p];
    if (!param.present) continue;
    const ir::Value* v = k.body.args[arg++].get();
    const FrameSlot& slot = layout.params[p];
    if (!param.is_view) {
      LV* word = frame_word(frame, slot.base);
      llvm::Type* t = register_type(e_, param.dtype);
      LV* x;
      if (param.dtype == DType::I4) {
        x = e_.b.CreateAShr(e_.b.CreateShl(e_.b.CreateTrunc(word, t), e_.integer(t, 4)), e_.integer(t, 4));
      } else if (is_bool(param.dtype)) {
        x = e_.b.CreateICmpNE(e_.b.CreateAnd(word, e_.idx(0xff)), e_.idx(0));
      } else {
        x = e_.b.CreateTrunc(word, e_.b.getIntNTy(t->getPrimitiveSizeInBits()));
        if (bits(param.dtype) == 4) x = e_.b.CreateAnd(x, e_.integer(t, 15));
        x = e_.b.CreateBitCast(x, t);
      }
      ev_->bind_unit(v, lanes(x));
      continue;
    }
    Values extents, strides;
    for (std::size_t a = 0; a < param.dims.size(); ++a) {
      const auto known = param.dims[a].as_constant();
      extents.push_back(known ? static_cast<LV*>(e_.idx(*known)) : frame_word(frame, slot.extents + a));
      const bool unit = a + 1 == param.dims.size() && !param.strided;
      strides.push_back(unit ? static_cast<LV*>(e_.idx(1)) : frame_word(frame, slot.strides + a));
    }
    LV* base = e_.b.CreateIntToPtr(frame_word(frame, slot.base), e_.ptr());
    ev_->bind_view(v, parameter_view(e_, param.dtype, base, std::move(extents), std::move(strides), !param.strided));
  }
  LV* rest = instance;
  for (std::size_t a = 0; a < k.grid.size(); ++a) {
    LV* n = e_.load(e_.i64(), e_.at(e_.i64(), grid, e_.idx(static_cast<std::int64_t>(a))), 8);
    grid_.push_back(n);
    const bool last = a + 1 == k.grid.size();
    ev_->bind_unit(k.body.args[arg++].get(), lanes(last ? rest : e_.b.CreateURem(rest, n)));
    if (!last) rest = e_.b.CreateUDiv(rest, n);
  }
}

namespace {

/// Bytes from which on an output would push everything else out of the caches: about half of what a core may call its own of them.
constexpr std::int64_t kStreamed = std::int64_t{16} << 20;

}  // namespace

LV* KernelEmitter::streams(const ir::Value* view) {
  const auto known = streams_.find(analysis_.param_of(view));
  return known == streams_.end() ? nullptr : known->second;
}

/// Kernels without products move memory: what they only write need not pass through the caches, which would read it first.
void KernelEmitter::find_streams() {
  const ir::Kernel& k = analysis_.kernel();
  std::set<std::size_t> read, written;
  ir::walk(k.body, [&](const ir::Op& op) {
    products_ = products_ || op.kind == ir::OpKind::Dot || op.kind == ir::OpKind::DotScaled;
    for (std::size_t i = 0; i < op.operands.size(); ++i) {
      if (!ir::is_view(op.operands[i]->type)) continue;
      const std::size_t param = analysis_.param_of(op.operands[i]);
      const bool store = op.kind == ir::OpKind::Store && i == 0;
      if (store) written.insert(param);
      if (!store && !(ir::has(op.kind, ir::OnView) && i == 0 && ir::is_view(op.result()->type))) read.insert(param);
    }
  });
  if (products_ || !e_.target.avx512) return;
  for (const auto& v : k.body.args)
    if (ir::is_view(v->type)) {
      const std::size_t param = analysis_.param_of(v.get());
      if (written.count(param) == 0 || read.count(param) != 0) continue;
      const ViewPtr view = ev_->view(v.get());
      if (bits(view->dtype) < 8) continue;
      LV* bytes = e_.idx(bits(view->dtype) / 8);
      for (LV* extent : view->extents) bytes = e_.mul(bytes, extent);
      streams_[param] = e_.b.CreateICmpSGE(bytes, e_.idx(kStreamed));
    }
}

/// Stores that bypassed the caches become visible in order before the launch says that it is done.
void KernelEmitter::close_stores() {
  if (!streams_.empty()) e_.b.CreateIntrinsic(e_.b.getVoidTy(), llvm::Intrinsic::x86_sse_sfence, llvm::ArrayRef<LV*>{});
}

void KernelEmitter::emit(const std::string& entry, const std::string& range_entry) {
  auto* inner = llvm::FunctionType::get(e_.b.getVoidTy(), {e_.ptr(), e_.i64(), e_.ptr(), e_.ptr(), e_.b.getInt1Ty()}, false);
  llvm::Function* f = llvm::Function::Create(inner, llvm::Function::InternalLinkage, entry + ".instance", e_.module);
  f->addParamAttr(0, llvm::Attribute::NoAlias);
  f->addParamAttr(2, llvm::Attribute::NoAlias);
  f->addParamAttr(3, llvm::Attribute::NoAlias);
  f->addParamAttr(3, llvm::Attribute::getWithAlignment(e_.context, llvm::Align(64)));
  e_.b.SetInsertPoint(llvm::BasicBlock::Create(e_.context, "entry", f));
  instance_ = f->getArg(1);
  follows_ = f->getArg(4);
  ev_ = std::make_unique<Evaluator>(analysis_, e_, analysis_.kernel().strict, f->getArg(3));
  bind_parameters(f->getArg(0), f->getArg(1), f->getArg(2));
  keep_gemm_scratch();
  find_streams();
  emit_block(analysis_.kernel().body);
  e_.b.CreateRetVoid();

  auto* type = llvm::FunctionType::get(e_.b.getVoidTy(), {e_.ptr(), e_.i64(), e_.ptr(), e_.ptr()}, false);
  llvm::Function* single = llvm::Function::Create(type, llvm::Function::ExternalLinkage, entry, e_.module);
  e_.b.SetInsertPoint(llvm::BasicBlock::Create(e_.context, "entry", single));
  e_.b.CreateCall(f, {single->getArg(0), single->getArg(1), single->getArg(2), single->getArg(3), e_.b.getFalse()});
  close_stores();
  e_.b.CreateRetVoid();

  auto* range_type = llvm::FunctionType::get(e_.b.getVoidTy(), {e_.ptr(), e_.i64(), e_.i64(), e_.ptr(), e_.ptr()}, false);
  llvm::Function* r = llvm::Function::Create(range_type, llvm::Function::ExternalLinkage, range_entry, e_.module);
  e_.b.SetInsertPoint(llvm::BasicBlock::Create(e_.context, "entry", r));
  LV* end = e_.add(r->getArg(1), r->getArg(2));
  e_.loop(r->getArg(1), end, e_.idx(1), false,
          [&](LV* i) { e_.b.CreateCall(f, {r->getArg(0), i, r->getArg(3), r->getArg(4), e_.b.CreateICmpNE(i, r->getArg(1))}); });
  close_stores();
  e_.b.CreateRetVoid();
}

}  // namespace tessera::cpu
