#include "codegen/nvptx/pressure.h"

#include <llvm/ADT/BitVector.h>
#include <llvm/ADT/DenseMap.h>
#include <llvm/IR/CFG.h>
#include <llvm/IR/Constants.h>
#include <llvm/IR/DataLayout.h>
#include <llvm/IR/Instructions.h>
#include <llvm/IR/Module.h>

#include <algorithm>
#include <vector>

namespace tessera::nvptx {
namespace {

/// What a value is made of by adding constants and widening an index; most often the value itself.
const llvm::Value* origin(const llvm::Value* v) {
  for (;;) {
    const auto* i = llvm::dyn_cast<llvm::Instruction>(v);
    if (!i) return v;
    const bool widened =
        llvm::isa<llvm::SExtInst, llvm::ZExtInst>(i) && i->getType()->isIntegerTy(64) && i->getOperand(0)->getType()->isIntegerTy(32);
    const bool moved = i->getOpcode() == llvm::Instruction::Add && llvm::isa<llvm::ConstantInt>(i->getOperand(1));
    if (!widened && !moved) return v;
    v = i->getOperand(0);
  }
}

class Liveness {
 public:
  explicit Liveness(const llvm::Function& f) : f_(f) {
    for (const llvm::BasicBlock& b : f) {
      for (const llvm::Instruction& i : b) {
        if (const unsigned n = origin(&i) == &i ? halves(i.getType()) : 0) {
          number_[&i] = static_cast<unsigned>(halves_.size());
          halves_.push_back(n);
        }
      }
    }
    for (const llvm::BasicBlock& b : f) at_end_[&b].resize(static_cast<unsigned>(halves_.size()));
    // What is alive where a block ends, until nothing changes.
    for (bool changed = true; changed;) {
      changed = false;
      for (auto b = f.end(); b != f.begin();) {
        --b;
        const llvm::BitVector start = walk(*b, nullptr);
        for (const llvm::BasicBlock* from : llvm::predecessors(&*b)) {
          llvm::BitVector& end = at_end_[from];
          const unsigned before = end.count();
          end |= start;
          for (const llvm::PHINode& phi : b->phis()) use(phi.getIncomingValueForBlock(from), end);
          changed = changed || end.count() != before;
        }
      }
    }
  }

  int most() {
    int most = 0;
    for (const llvm::BasicBlock& b : f_) walk(b, &most);
    return (most + 1) / 2;
  }

 private:
  /// Of a word: what has 16 bits shares one with its neighbour until it is widened.
  unsigned halves(llvm::Type* t) const {
    if (t->isVoidTy() || t->isIntegerTy(1) || t->isLabelTy()) return 0;
    if (auto* s = llvm::dyn_cast<llvm::StructType>(t)) {
      unsigned n = 0;
      for (llvm::Type* field : s->elements()) n += halves(field);
      return n;
    }
    const auto bits = static_cast<unsigned>(f_.getParent()->getDataLayout().getTypeSizeInBits(t).getFixedValue());
    return bits <= 16 ? 1 : (bits + 31) / 32 * 2;
  }

  void use(const llvm::Value* v, llvm::BitVector& alive) const {
    const auto at = number_.find(origin(v));
    if (at != number_.end()) alive.set(at->second);
  }

  /// From the end of a block to behind its phis. `most` is raised to what is alive at one point.
  llvm::BitVector walk(const llvm::BasicBlock& b, int* most) {
    llvm::BitVector alive = at_end_[&b];
    int sum = 0;
    const auto note = [&] {
      if (most) *most = std::max(*most, sum);
    };
    for (const unsigned i : alive.set_bits()) sum += static_cast<int>(halves_[i]);
    note();
    for (auto i = b.rbegin(); i != b.rend(); ++i) {
      if (const auto at = number_.find(&*i); at != number_.end() && alive.test(at->second)) {
        alive.reset(at->second);
        sum -= static_cast<int>(halves_[at->second]);
      }
      if (llvm::isa<llvm::PHINode>(*i)) continue;
      for (const llvm::Use& u : i->operands()) {
        const auto at = number_.find(origin(u.get()));
        if (at == number_.end() || alive.test(at->second)) continue;
        alive.set(at->second);
        sum += static_cast<int>(halves_[at->second]);
      }
      note();
    }
    return alive;
  }

  const llvm::Function& f_;
  llvm::DenseMap<const llvm::Value*, unsigned> number_;
  std::vector<unsigned> halves_;
  llvm::DenseMap<const llvm::BasicBlock*, llvm::BitVector> at_end_;
};

}  // namespace

int live_words(const llvm::Function& f) { return Liveness(f).most(); }

}  // namespace tessera::nvptx
