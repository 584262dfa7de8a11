#include "codegen/simt/lower.h"

#include <fmt/format.h>
#include <llvm/Analysis/ValueTracking.h>
#include <llvm/IR/Constants.h>
#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/InstIterator.h>
#include <llvm/IR/IntrinsicInst.h>
#include <llvm/IR/ReplaceConstant.h>
#include <llvm/Support/raw_ostream.h>

#include <cstring>

#include "codegen/simt/hooks.h"

namespace tessera::simt {
namespace {

std::string text_of(const llvm::Value& v) {
  std::string text;
  llvm::raw_string_ostream out(text);
  v.print(out);
  return text;
}

/// `!tessera.span !{i32 begin, i32 end, i32 file}`.
Span span_of(const llvm::Instruction& i) {
  const llvm::MDNode* node = i.getMetadata("tessera.span");
  if (!node || node->getNumOperands() != 3) return {};
  const auto number = [&](unsigned k) {
    const auto* c = llvm::mdconst::dyn_extract<llvm::ConstantInt>(node->getOperand(k));
    return c ? static_cast<std::uint32_t>(c->getZExtValue()) : 0;
  };
  return {number(2), number(0), number(1)};
}

class Lowering {
 public:
  Lowering(llvm::Module& module, const std::string& entry) : module_(module), b_(module.getContext()), source_(module.getFunction(entry)) {
    TESSERA_ASSERT(source_ && !source_->isDeclaration(), "no kernel " + entry);
    for (llvm::Function& f : module) {
      if (&f == source_ || f.isDeclaration()) continue;
      TESSERA_ASSERT(f.hasInternalLinkage(), "a second kernel: " + f.getName().str());
      check_helper(f);
    }
  }

  std::vector<SimtSite> run() {
    make_entry();
    replace_shared_window();
    for (llvm::Function& f : module_) forbid_contraction(f);
    std::vector<llvm::Instruction*> work;
    for (llvm::BasicBlock& block : *entry_) {
      // Those that take a value out of a list go with the call that gives the list.
      for (llvm::Instruction& i : block) {
        if (!llvm::isa<llvm::ExtractValueInst>(i)) work.push_back(&i);
      }
    }
    make_register_array(work);
    for (llvm::Instruction* i : work) lower(*i);
    for (llvm::Function& f : llvm::make_early_inc_range(module_)) {
      if (&f == source_ || (gpu::primitive_of(f) && f.use_empty())) f.eraseFromParent();
    }
    return std::move(sites_);
  }

 private:
  /// The same address without an address space. Not by addrspacecast: fast instruction selection knows none and leaves the block to the slow one.
  llvm::Value* plain(llvm::Value* p) { return b_.CreateIntToPtr(b_.CreatePtrToInt(p, b_.getInt64Ty()), pointer()); }
  llvm::Type* i32() { return b_.getInt32Ty(); }
  llvm::Type* pointer() { return b_.getPtrTy(); }

  /// The host's two instruction selectors would fuse products and sums in some blocks and not in others; here none are.
  static void forbid_contraction(llvm::Function& f) {
    for (llvm::Instruction& i : llvm::instructions(f)) {
      if (llvm::isa<llvm::FPMathOperator>(i)) i.setFastMathFlags(llvm::FastMathFlags());
    }
  }

  /// Helpers (elementary functions) stay as they are: they touch constants and their own variables alone.
  static void check_helper(llvm::Function& f) {
    for (llvm::Instruction& i : llvm::instructions(f)) {
      const llvm::Value* p = llvm::getLoadStorePointerOperand(&i);
      const llvm::Value* root = p ? llvm::getUnderlyingObject(p, 0) : nullptr;
      const auto* constant = llvm::dyn_cast_or_null<llvm::GlobalVariable>(root);
      TESSERA_ASSERT(!root || llvm::isa<llvm::AllocaInst>(root) || (constant && constant->isConstant()),
                     "a helper that touches memory: " + text_of(i));
      const auto* c = llvm::dyn_cast<llvm::CallInst>(&i);
      const llvm::Function* callee = c ? c->getCalledFunction() : nullptr;
      TESSERA_ASSERT(!c || (callee && (callee->hasInternalLinkage() || callee->isIntrinsic())), "a helper that calls: " + text_of(i));
    }
  }

  void make_entry() {
    entry_ = llvm::Function::Create(llvm::FunctionType::get(b_.getVoidTy(), {pointer(), pointer()}, false), llvm::GlobalValue::ExternalLinkage,
                                    entry_name, module_);
    entry_->addFnAttr(llvm::Attribute::NoUnwind);
    entry_->splice(entry_->begin(), source_);
    self_ = entry_->getArg(0);
    llvm::BasicBlock& first = entry_->getEntryBlock();
    b_.SetInsertPoint(&first, first.getFirstInsertionPt());
    for (llvm::Argument& a : source_->args()) {
      TESSERA_ASSERT(a.getType()->isIntegerTy(64) || a.getType()->isPointerTy(), "kernel parameters are i64 or tensor maps");
      llvm::Value* word = b_.CreateLoad(b_.getInt64Ty(), b_.CreateConstInBoundsGEP1_32(b_.getInt64Ty(), entry_->getArg(1), a.getArgNo()));
      a.replaceAllUsesWith(a.getType()->isPointerTy() ? b_.CreateIntToPtr(word, pointer()) : word);
    }
    for (auto i = first.begin(); i != b_.GetInsertPoint(); ++i) own_.insert(&*i);
  }

  /// @smem becomes the CTA's own window; it is at home in constant expressions too.
  void replace_shared_window() {
    llvm::SmallVector<llvm::Constant*> windows;
    for (llvm::GlobalVariable& g : module_.globals()) {
      if (g.getAddressSpace() == 3) windows.push_back(&g);
    }
    if (windows.empty()) return;
    TESSERA_ASSERT(windows.size() == 1, "one window of shared memory");
    llvm::convertUsersOfConstantsToInstructions(windows);
    llvm::BasicBlock& first = entry_->getEntryBlock();
    b_.SetInsertPoint(&first, first.getFirstInsertionPt());
    auto f = module_.getOrInsertFunction(shared_base_name, llvm::FunctionType::get(i32(), {pointer()}, false));
    llvm::Instruction* base = b_.CreateCall(f, {self_});
    own_.insert(base);
    llvm::Value* window = b_.CreateIntToPtr(base, b_.getPtrTy(3));
    windows[0]->replaceAllUsesWith(window);
    llvm::cast<llvm::GlobalVariable>(windows[0])->eraseFromParent();
  }

  /// One array for all register lists: the call is the only reader and writer.
  void make_register_array(const std::vector<llvm::Instruction*>& work) {
    unsigned most = 0;
    for (const llvm::Instruction* i : work) {
      const auto p = gpu::primitive_of(*i);
      if (!p || !gpu::info(*p).registers) continue;
      most = std::max(most, llvm::cast<llvm::CallInst>(i)->arg_size());
      if (const auto* s = llvm::dyn_cast<llvm::StructType>(i->getType())) most = std::max(most, s->getNumElements());
    }
    if (!most) return;
    b_.SetInsertPoint(&entry_->getEntryBlock(), entry_->getEntryBlock().begin());
    registers_ = b_.CreateAlloca(llvm::ArrayType::get(i32(), most));
  }

  llvm::Value* site(const std::string& what, const llvm::Instruction& i) {
    sites_.push_back({what, i.getParent()->getName().str(), span_of(i)});
    return b_.getInt32(static_cast<std::uint32_t>(sites_.size() - 1));
  }

  void lower(llvm::Instruction& i) {
    if (own_.contains(&i)) return;
    if (auto* l = llvm::dyn_cast<llvm::LoadInst>(&i)) {
      access(i, 0, l->getType(), l->getAlign(), Touch::Read);
    } else if (auto* s = llvm::dyn_cast<llvm::StoreInst>(&i)) {
      access(i, 1, s->getValueOperand()->getType(), s->getAlign(), Touch::Write);
    } else if (auto* a = llvm::dyn_cast<llvm::AtomicRMWInst>(&i)) {
      access(i, 0, a->getType(), a->getAlign(), Touch::Atomic);
    } else if (auto* x = llvm::dyn_cast<llvm::AtomicCmpXchgInst>(&i)) {
      access(i, 0, x->getNewValOperand()->getType(), x->getAlign(), Touch::Atomic);
    } else if (auto* c = llvm::dyn_cast<llvm::CallInst>(&i)) {
      call(*c);
    } else {
      TESSERA_ASSERT(!llvm::isa<llvm::InvokeInst>(i) && !llvm::isa<llvm::FenceInst>(i), "not allowed in a kernel: " + text_of(i));
    }
  }

  void access(llvm::Instruction& i, unsigned operand, llvm::Type* type, llvm::Align align, Touch touch) {
    llvm::Value* p = i.getOperand(operand);
    const unsigned space = p->getType()->getPointerAddressSpace();
    const llvm::Value* root = llvm::getUnderlyingObject(p, 0);
    if (llvm::isa<llvm::AllocaInst>(root)) return;
    if (const auto* g = llvm::dyn_cast<llvm::GlobalVariable>(root)) {
      TESSERA_ASSERT(g->isConstant() && touch == Touch::Read, "a global variable that changes: " + text_of(i));
      return;
    }
    if (space == 4) return;  // constants
    TESSERA_ASSERT(space == 1 || space == 3, "memory of address space " + std::to_string(space) + ": " + text_of(i));
    b_.SetInsertPoint(&i);
    const char* verb = touch == Touch::Read ? "load" : touch == Touch::Write ? "store" : "atomic";
    llvm::Value* where = site(fmt::format("{} {}", space == 3 ? "shared" : "global", verb), i);
    llvm::Value* bytes = b_.getInt32(static_cast<std::uint32_t>(module_.getDataLayout().getTypeStoreSize(type).getFixedValue()));
    llvm::Value* alignment = b_.getInt32(static_cast<std::uint32_t>(align.value()));
    llvm::Type* place = space == 3 ? i32() : pointer();
    auto f = module_.getOrInsertFunction(space == 3 ? shared_access_name : global_access_name,
                                         llvm::FunctionType::get(pointer(), {pointer(), i32(), place, i32(), i32(), i32()}, false));
    llvm::Value* address = space == 3 ? b_.CreatePtrToInt(p, i32()) : plain(p);
    i.setOperand(operand, b_.CreateCall(f, {self_, where, address, bytes, alignment, b_.getInt32(code(touch))}));
  }

  void call(llvm::CallInst& c) {
    TESSERA_ASSERT(!c.isInlineAsm(), "inline asm in a kernel: " + text_of(c));
    const llvm::Function* f = c.getCalledFunction();
    TESSERA_ASSERT(f, "an indirect call in a kernel: " + text_of(c));
    if (const auto p = gpu::primitive_of(*f)) {
      primitive(c, *p);
      return;
    }
    if (f->hasInternalLinkage()) return;
    TESSERA_ASSERT(f->isIntrinsic() && !f->getName().starts_with("llvm.nvvm."), "a call that is no primitive: " + text_of(c));
    if (const auto* m = llvm::dyn_cast<llvm::MemIntrinsic>(&c)) {
      TESSERA_ASSERT(m->getDestAddressSpace() == 0, "a memory intrinsic on device memory: " + text_of(c));
    }
  }

  void primitive(llvm::CallInst& c, gpu::Primitive p) {
    const gpu::PrimitiveInfo& row = gpu::info(p);
    b_.SetInsertPoint(&c);
    const auto fixed = static_cast<unsigned>(std::strlen(row.fixed));
    std::vector<llvm::Value*> values{self_, site(row.name, c)};
    for (unsigned k = 0; k < fixed; ++k) {
      llvm::Value* v = c.getArgOperand(k);
      if (v->getType()->isIntegerTy(1)) v = b_.CreateZExt(v, i32());
      if (v->getType()->isPointerTy()) v = plain(v);
      values.push_back(v);
    }
    auto* list = llvm::dyn_cast<llvm::StructType>(c.getType());
    const unsigned outputs = list ? list->getNumElements() : 0, inputs = c.arg_size() - fixed;
    if (row.registers) {
      for (unsigned k = 0; k < inputs; ++k) b_.CreateStore(c.getArgOperand(fixed + k), slot(k));
      values.push_back(registers_);
      values.push_back(b_.getInt32(inputs | outputs << 16));
    }
    std::vector<llvm::Type*> types;
    for (const llvm::Value* v : values) types.push_back(v->getType());
    llvm::Type* result = row.result == 'R' ? b_.getVoidTy() : row.result == 'b' ? i32() : c.getType();
    llvm::Value* r = b_.CreateCall(module_.getOrInsertFunction(hook_name(p), llvm::FunctionType::get(result, types, false)), values);
    if (row.result == 'b') r = b_.CreateICmpNE(r, b_.getInt32(0));
    if (list) {
      r = llvm::PoisonValue::get(list);
      std::vector<llvm::Value*> loaded;
      for (unsigned k = 0; k < outputs; ++k) loaded.push_back(b_.CreateLoad(list->getElementType(k), slot(k)));
      for (llvm::User* u : llvm::make_early_inc_range(c.users())) {
        auto* e = llvm::dyn_cast<llvm::ExtractValueInst>(u);
        if (!e) continue;
        e->replaceAllUsesWith(loaded[e->getIndices()[0]]);
        e->eraseFromParent();
      }
      if (!c.use_empty()) {
        for (unsigned k = 0; k < outputs; ++k) r = b_.CreateInsertValue(r, loaded[k], k);
      }
    }
    if (!c.use_empty()) c.replaceAllUsesWith(r);
    c.eraseFromParent();
  }

  llvm::Value* slot(unsigned k) { return b_.CreateConstInBoundsGEP1_32(i32(), registers_, k); }

  llvm::Module& module_;
  llvm::IRBuilder<> b_;
  llvm::Function* source_;
  llvm::Function* entry_ = nullptr;
  llvm::Value* self_ = nullptr;
  llvm::AllocaInst* registers_ = nullptr;
  llvm::SmallPtrSet<const llvm::Instruction*, 16> own_;  ///< instructions of the lowering itself
  std::vector<SimtSite> sites_;
};

}  // namespace

std::vector<SimtSite> lower_for_host(llvm::Module& module, const std::string& entry) { return Lowering(module, entry).run(); }

}  // namespace tessera::simt
