// Loads and stores under a policy of the second-level cache. Those that move elements are emitted as any others, with a mark, and become primitives
// at the end.
#include <llvm/IR/InstIterator.h>

#include "codegen/gpu/emit.h"
#include "dsl/diagnostic.h"

namespace tessera::gpu {

namespace {

constexpr const char* kMark = "tessera.kept";

}  // namespace

ThreadEmitter::Marked::Marked(ThreadEmitter& of, const ir::Op& op) : of_(of), eviction_(of.plan_.eviction(op)) {
  if (eviction_) of_.mark_kept(eviction_);
}
ThreadEmitter::Marked::~Marked() {
  if (eviction_) of_.mark_kept({});
}

LV* ThreadEmitter::policy(Eviction eviction) {
  LV*& known = policies_[eviction];
  if (known) return known;
  // For the whole thread: who does not come to a use holds nothing.
  llvm::IRBuilder<> first(entry_, entry_->getFirstInsertionPt());
  return known = call(first, e_.module, Primitive::CachePolicy, {first.getInt32(eviction == Eviction::First ? 0 : 1)});
}

void ThreadEmitter::mark_kept(std::optional<Eviction> eviction) {
  any_kept_ = any_kept_ || eviction;
  copy_metadata(
      kMark, eviction ? llvm::MDNode::get(e_.context, llvm::ConstantAsMetadata::get(e_.b.getInt32(static_cast<std::uint32_t>(*eviction)))) : nullptr);
}

namespace {

/// A value of 4, 8 or 16 bytes as words, and back.
Values words_of(llvm::IRBuilder<>& b, LV* v, unsigned bytes) {
  if (bytes == 4) return {b.CreateBitCast(v, b.getInt32Ty())};
  LV* all = b.CreateBitCast(v, llvm::FixedVectorType::get(b.getInt32Ty(), bytes / 4));
  Values out;
  for (unsigned i = 0; i < bytes / 4; ++i) out.push_back(b.CreateExtractElement(all, i));
  return out;
}
LV* of_words(llvm::IRBuilder<>& b, const Values& words, llvm::Type* type) {
  if (words.size() == 1) return b.CreateBitCast(words[0], type);
  LV* all = llvm::PoisonValue::get(llvm::FixedVectorType::get(b.getInt32Ty(), static_cast<unsigned>(words.size())));
  for (std::size_t i = 0; i < words.size(); ++i) all = b.CreateInsertElement(all, words[i], i);
  return b.CreateBitCast(all, type);
}

}  // namespace

void ThreadEmitter::keep_marked(llvm::Function& f) {
  if (!any_kept_) return;
  const unsigned mark = e_.context.getMDKindID(kMark), span = e_.context.getMDKindID("tessera.span");
  for (llvm::Instruction& i : llvm::make_early_inc_range(llvm::instructions(f))) {
    llvm::MDNode* node = i.getMetadata(mark);
    if (!node) continue;
    i.setMetadata(mark, nullptr);
    LV* address = llvm::getLoadStorePointerOperand(&i);
    if (!address || address->getType()->getPointerAddressSpace() != 1) continue;
    LV* const policy = this->policy(static_cast<Eviction>(llvm::mdconst::extract<llvm::ConstantInt>(node->getOperand(0))->getZExtValue()));
    llvm::IRBuilder<> b(&i);
    b.CollectMetadataToCopy(&i, {span});
    llvm::Type* type = llvm::getLoadStoreType(&i);
    const auto bytes = static_cast<unsigned>(e_.module.getDataLayout().getTypeStoreSize(type).getFixedValue());
    TESSERA_ASSERT(llvm::getLoadStoreAlignment(&i).value() >= bytes, "an access under a policy is aligned as a whole");
    if (auto* store = llvm::dyn_cast<llvm::StoreInst>(&i)) {
      LV* v = store->getValueOperand();
      if (bytes < 4) {
        LV* word = b.CreateZExt(b.CreateBitCast(v, b.getIntNTy(bytes * 8)), b.getInt32Ty());
        call(b, e_.module, bytes == 1 ? Primitive::StoreKept8 : Primitive::StoreKept16, {address, policy, word});
      } else {
        call(b, e_.module, Primitive::StoreKept, {address, policy}, words_of(b, v, bytes), 0, b.getInt32Ty());
      }
    } else if (bytes < 4) {
      LV* word = call(b, e_.module, bytes == 1 ? Primitive::LoadKept8 : Primitive::LoadKept16, {address, policy});
      i.replaceAllUsesWith(b.CreateBitCast(b.CreateTrunc(word, b.getIntNTy(bytes * 8)), type));
    } else {
      i.replaceAllUsesWith(
          of_words(b, call(b, e_.module, Primitive::LoadKept, {address, policy}, {}, static_cast<int>(bytes / 4), b.getInt32Ty()), type));
    }
    i.eraseFromParent();
  }
}

}  // namespace tessera::gpu
