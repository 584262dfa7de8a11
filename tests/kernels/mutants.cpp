#include "tests/kernels/mutants.h"

#include <fmt/format.h>
#include <llvm/IR/IRBuilder.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>

#include "codegen/gpu/primitives.h"

namespace tessera::test {
namespace {

using gpu::Primitive;
using Kind = Mutant::Kind;

constexpr unsigned shared_space = 3;

const char* name(Kind kind) {
  switch (kind) {
    case Kind::Drop: return "drop";
    case Kind::Repeat: return "repeat";
    case Kind::Bump: return "bump";
    case Kind::Fragment: return "fragment";
    case Kind::Swizzle: return "swizzle";
    case Kind::Stride: return "stride";
    case Kind::OffByOne: return "off by one";
    case Kind::When: return "when";
    case Kind::Map: return "map";
    case Kind::Atomic: return "atomic";
    case Kind::Trips: return "trips";
    case Kind::Unmasked: return "unmasked";
  }
  return "";
}

/// The operand that is an address in shared memory; none: -1.
int shared_address(const llvm::Instruction& i) {
  if (const auto p = gpu::primitive_of(i)) {
    const std::string_view n = gpu::info(*p).name;
    const bool commits = n.starts_with("cp_async_");
    const bool copies = (n.starts_with("cp_async") && !commits) || n.starts_with("tma_");
    return n.starts_with("ldmatrix") || n.starts_with("stmatrix") || copies || n.starts_with("mbar_") || n == "store_async" ? 0 : -1;
  }
  const int operand = llvm::isa<llvm::LoadInst>(i) ? 0 : llvm::isa<llvm::StoreInst>(i) ? 1 : -1;
  if (operand < 0) return -1;
  return i.getOperand(static_cast<unsigned>(operand))->getType()->getPointerAddressSpace() == shared_space ? operand : -1;
}

bool touches_memory(const llvm::Instruction& i) {
  const auto p = gpu::primitive_of(i);
  if (p) return shared_address(i) >= 0;
  const llvm::Value* pointer = llvm::getLoadStorePointerOperand(&i);
  return pointer && pointer->getType()->getPointerAddressSpace() != 0;
}

/// The instructions that a mutant changes, one but for unrolled siblings, and the block in which the change takes effect.
struct Place {
  std::vector<llvm::Instruction*> instructions;
  llvm::BasicBlock* effect;
};

/// Collects what `root` is computed from by instructions that `through` lets pass, as far as `wanted` says.
template <class Through, class Wanted>
void trace(llvm::Value* root, const Through& through, const Wanted& wanted, const std::function<void(llvm::Instruction*)>& found) {
  llvm::SmallPtrSet<llvm::Value*, 32> seen;
  llvm::SmallVector<llvm::Value*> work{root};
  while (!work.empty()) {
    auto* i = llvm::dyn_cast<llvm::Instruction>(work.pop_back_val());
    if (!i || !seen.insert(i).second) continue;
    if (wanted(*i)) found(i);
    if (!through(*i)) continue;
    for (llvm::Value* o : i->operands()) work.push_back(o);
  }
}

/// Instructions by what makes them one place, each in the first place that it is found in.
class Places {
 public:
  void add(llvm::Instruction* i, llvm::BasicBlock* effect, const void* group) {
    if (!seen_.insert(i).second) return;
    const auto [at, isnew] = index_.try_emplace(group, list_.size());
    if (isnew) list_.push_back({{}, effect});
    list_[at->second].instructions.push_back(i);
  }
  std::vector<Place> list() && { return std::move(list_); }

 private:
  llvm::SmallPtrSet<llvm::Instruction*, 32> seen_;
  std::map<const void*, std::size_t> index_;
  std::vector<Place> list_;
};

/// Integer products in the addresses of global memory: strides, and numbers of rows and tiles.
void strides(llvm::Instruction& i, Places& out) {
  llvm::Value* address = llvm::getLoadStorePointerOperand(&i);
  const auto p = gpu::primitive_of(i);
  if (p && (*p == Primitive::CpAsync16 || *p == Primitive::CpAsync8 || *p == Primitive::CpAsync4)) address = i.getOperand(1);
  if (!address || address->getType()->getPointerAddressSpace() != 1) return;
  const auto arithmetic = [](const llvm::Instruction& x) {
    return llvm::isa<llvm::GetElementPtrInst>(x) || llvm::isa<llvm::CastInst>(x) || x.getOpcode() == llvm::Instruction::Add ||
           x.getOpcode() == llvm::Instruction::Sub || x.getOpcode() == llvm::Instruction::Shl || x.getOpcode() == llvm::Instruction::Mul;
  };
  trace(
      address, arithmetic, [](const llvm::Instruction& x) { return x.getOpcode() == llvm::Instruction::Mul; },
      [&](llvm::Instruction* x) { out.add(x, i.getParent(), x); });
}

/// A select between a value and what pads it: a constant float, or how many bytes of a copy are read. What is chosen by another float is no padding
/// but a guard against it.
bool pads(const llvm::Instruction& i) {
  if (llvm::isa<llvm::SelectInst>(i) && llvm::isa<llvm::FCmpInst>(i.getOperand(0))) return false;
  if (!llvm::isa<llvm::SelectInst>(i) || llvm::isa<llvm::Constant>(i.getOperand(1)) == llvm::isa<llvm::Constant>(i.getOperand(2))) return false;
  return i.getType()->isFloatingPointTy();
}
/// The bytes of an asynchronous copy that may be fewer than all.
bool reads_some(const llvm::Instruction& i) {
  const auto p = gpu::primitive_of(i);
  return p && (*p == Primitive::CpAsync16 || *p == Primitive::CpAsync8 || *p == Primitive::CpAsync4) && !llvm::isa<llvm::Constant>(i.getOperand(2));
}

/// A comparison that is the minimum or maximum of what it compares: at the tie, both sides are the same.
bool is_min_or_max(const llvm::Instruction& comparison) {
  return std::any_of(comparison.user_begin(), comparison.user_end(), [&](const llvm::User* u) {
    const auto* s = llvm::dyn_cast<llvm::SelectInst>(u);
    const llvm::Value *a = comparison.getOperand(0), *b = comparison.getOperand(1);
    return s && ((s->getTrueValue() == a && s->getFalseValue() == b) || (s->getTrueValue() == b && s->getFalseValue() == a));
  });
}

/// A number that threads compute differently. Those that all have in common are numbers of the grid and of trips, which stay within their axes.
bool of_thread(llvm::Value* v) {
  bool found = false;
  const auto through = [](const llvm::Instruction& x) { return !llvm::isa<llvm::LoadInst>(x); };
  const auto by_thread = [](const llvm::Instruction& x) {
    const auto p = gpu::primitive_of(x);
    return p && (*p == Primitive::Tid || *p == Primitive::ShflIdx);
  };
  trace(v, through, by_thread, [&](llvm::Instruction*) { found = true; });
  return found;
}

/// Comparisons that decide what is masked, what a copy reads, and whether a global access happens; those with one bound are one place, since of an
/// unrolled tile one register alone lies on it.
void comparisons(llvm::Instruction& i, Places& out) {
  const auto logic = [](const llvm::Instruction& x) {
    return x.getType()->isIntegerTy(1) && (x.isBitwiseLogicOp() || llvm::isa<llvm::SelectInst>(x) || llvm::isa<llvm::FreezeInst>(x));
  };
  const auto compares = [](const llvm::Instruction& x) {
    const auto* c = llvm::dyn_cast<llvm::ICmpInst>(&x);
    // Nothing reaches the largest number of 31 bits.
    const auto* known = c ? llvm::dyn_cast<llvm::ConstantInt>(c->getOperand(1)) : nullptr;
    if (known && known->getSExtValue() == INT32_MAX) return false;
    return c && c->isRelational() && c->getOperand(1)->getType()->isIntegerTy() && !is_min_or_max(x) && of_thread(c->getOperand(0));
  };
  const auto found = [&](llvm::Instruction* x) {
    const llvm::Value* bound = x->getOperand(1);
    out.add(x, i.getParent(), llvm::isa<llvm::Constant>(bound) ? static_cast<const llvm::Value*>(x) : bound);
  };
  if (pads(i)) trace(i.getOperand(0), logic, compares, found);
  if (reads_some(i)) {
    // The number of bytes is itself selected.
    trace(i.getOperand(2), [&](const llvm::Instruction& x) { return logic(x) || llvm::isa<llvm::SelectInst>(x); }, compares, found);
  }
  if (!touches_memory(i) || shared_address(i) >= 0) return;
  const llvm::BasicBlock* before = i.getParent()->getSinglePredecessor();
  const auto* branch = before ? llvm::dyn_cast<llvm::BranchInst>(before->getTerminator()) : nullptr;
  if (branch && branch->isConditional()) trace(branch->getCondition(), logic, compares, found);
}

/// The operand of a primitive of this kind in the table; none: -1.
int operand_of_kind(Primitive p, char kind) {
  const std::string_view fixed = gpu::info(p).fixed;
  const std::size_t at = fixed.find(kind);
  return at == std::string_view::npos ? -1 : static_cast<int>(at);
}

/// A condition that not all threads meet.
bool some_lanes(const llvm::Instruction& i) {
  const auto p = gpu::primitive_of(i);
  const int at = p ? operand_of_kind(*p, 'b') : -1;
  return at >= 0 && !llvm::isa<llvm::Constant>(i.getOperand(static_cast<unsigned>(at)));
}

/// The tensor map of a bulk copy that has others beside it.
llvm::Argument* map_of(const llvm::Instruction& i) {
  const auto p = gpu::primitive_of(i);
  const int at = p ? operand_of_kind(*p, 'm') : -1;
  return at < 0 ? nullptr : llvm::dyn_cast<llvm::Argument>(i.getOperand(static_cast<unsigned>(at)));
}
llvm::Argument* next_map(const llvm::Argument& map) {
  llvm::Function& f = *const_cast<llvm::Function*>(map.getParent());
  for (unsigned step = 1; step < f.arg_size(); ++step) {
    llvm::Argument* a = f.getArg((map.getArgNo() + step) % static_cast<unsigned>(f.arg_size()));
    if (a != &map && a->hasByValAttr()) return a;
  }
  return nullptr;
}

/// The comparison that a loop goes on by, against a number that is not known.
llvm::ICmpInst* trips_of(llvm::Instruction& i) {
  auto* branch = llvm::dyn_cast<llvm::BranchInst>(&i);
  auto* c = branch && branch->isConditional() ? llvm::dyn_cast<llvm::ICmpInst>(branch->getCondition()) : nullptr;
  if (!c || (c->getPredicate() != llvm::ICmpInst::ICMP_SLT && c->getPredicate() != llvm::ICmpInst::ICMP_ULT)) return nullptr;
  // At the head the count itself, at the end the next one.
  const auto* next = llvm::dyn_cast<llvm::BinaryOperator>(c->getOperand(0));
  const bool at_head = i.getParent()->getName().starts_with("while") && llvm::isa<llvm::PHINode>(c->getOperand(0));
  const bool at_end = branch->getSuccessor(0)->getName().starts_with("loop") && next && llvm::isa<llvm::PHINode>(next->getOperand(0));
  return (at_head || at_end) && !llvm::isa<llvm::Constant>(c->getOperand(1)) ? c : nullptr;
}

std::vector<Place> places(llvm::Module& module, Kind kind) {
  Places out;
  for (llvm::Function& f : module) {
    // Elementary functions are helpers with linkage of their own; what they compute is other tests' matter.
    if (f.hasInternalLinkage()) continue;
    for (llvm::BasicBlock& b : f) {
      for (llvm::Instruction& i : b) {
        switch (kind) {
          case Kind::Drop:
          case Kind::Repeat:
          case Kind::Bump:
          case Kind::Fragment:
            // The assembler's matter: the simulated GPU asks for products' ends where the code does.
            if (const auto p = gpu::primitive_of(i); p && *p != Primitive::KeepAbove) out.add(&i, &b, &i);
            break;
          case Kind::Swizzle:
            // What nobody reads is no load.
            if (shared_address(i) >= 0 && !(llvm::isa<llvm::LoadInst>(i) && i.use_empty())) out.add(&i, &b, &i);
            break;
          case Kind::Stride: strides(i, out); break;
          case Kind::OffByOne: comparisons(i, out); break;
          case Kind::When:
            if (some_lanes(i)) out.add(&i, &b, &i);
            break;
          case Kind::Map:
            if (llvm::Argument* map = map_of(i); map && next_map(*map)) out.add(&i, &b, &i);
            break;
          case Kind::Atomic:
            if (llvm::isa<llvm::AtomicRMWInst>(i)) out.add(&i, &b, &i);
            break;
          case Kind::Trips:
            if (llvm::ICmpInst* c = trips_of(i)) out.add(c, &b, c);
            break;
          case Kind::Unmasked:
            // What is unrolled in a block is padded by one rule.
            if (pads(i) || reads_some(i)) out.add(&i, &b, &b);
            break;
        }
      }
    }
  }
  return std::move(out).list();
}

/// Whether running it twice in a row is no fault. A second commit makes an empty group: who waits for all groups but some then waits for more.
bool idempotent(Primitive p) {
  switch (p) {
    case Primitive::CpAsync16:
    case Primitive::CpAsync8:
    case Primitive::CpAsync4:
    case Primitive::BarArrive:
    case Primitive::MbarExpect:
    case Primitive::MbarArrive:
    case Primitive::TmaLoad2:
    case Primitive::TmaLoad3:
    case Primitive::TmaLoad4:
    case Primitive::TmaLoad5:
    case Primitive::CpAsync16Kept:
    case Primitive::TmaLoadKept2:
    case Primitive::TmaLoadKept3:
    case Primitive::TmaLoadKept4:
    case Primitive::TmaLoadKept5:
    case Primitive::TmaMulticastKept2:
    case Primitive::TmaMulticastKept3:
    case Primitive::TmaMulticastKept4:
    case Primitive::TmaMulticastKept5:
    case Primitive::MbarArriveAt:
    case Primitive::StoreAsync:
    case Primitive::TmaMulticast2:
    case Primitive::TmaMulticast3:
    case Primitive::TmaMulticast4:
    case Primitive::TmaMulticast5: return false;
    default: return true;
  }
}

unsigned fixed_of(Primitive p) { return static_cast<unsigned>(std::strlen(gpu::info(p).fixed)); }

/// Operands of a product of warpgroups, as the table lists them.
enum ProductOperand : unsigned { ALow, BLow, Steps, FromSums, AHigh, BHigh, AOuter, BOuter, AStep, APanel, BStep, BPanel, Done };

bool is_product(Primitive p) { return std::string_view(gpu::info(p).name).starts_with("wgmma_f32"); }

/// Whether the operand makes no difference by the primitive's own rules: what describes A, if that comes from registers; growth from step to step,
/// and after every fourth, of fewer steps.
bool unread(const llvm::CallInst& c, Primitive p, unsigned operand) {
  if (!is_product(p)) return false;
  const auto steps = llvm::cast<llvm::ConstantInt>(c.getArgOperand(Steps))->getSExtValue();
  const bool sums = !llvm::cast<llvm::ConstantInt>(c.getArgOperand(FromSums))->isZero();
  const std::size_t results = llvm::cast<llvm::StructType>(c.getType())->getNumElements(), given = c.arg_size() - fixed_of(p);
  const bool registers = given > (sums ? results : 0);
  const bool of_a = operand == ALow || operand == AHigh || operand == AOuter || operand == AStep || operand == APanel;
  return (registers && of_a) || (steps <= 4 && (operand == APanel || operand == BPanel)) || (steps == 1 && (operand == AStep || operand == BStep));
}

/// Addresses move by a row of 16 bytes, since a step of one is only ever misaligned, those of barriers to their neighbour. The mask of a butterfly is
/// doubled: one more leaves a butterfly of the same lanes. Data changes in the exponent: its last bit is lost when rounded. Parities and flags turn;
/// registers are given in eights.
llvm::Value* bumped(llvm::IRBuilder<>& b, const llvm::CallInst& c, Primitive p, unsigned operand) {
  llvm::Value* v = c.getArgOperand(operand);
  if (v->getType()->isPointerTy()) return b.CreateGEP(b.getInt8Ty(), v, b.getInt64(16));
  if (p == Primitive::ShflBfly && operand == 1) return b.CreateAdd(v, v);
  const std::string_view n = gpu::info(p).name;
  const bool flag = is_product(p) && (operand == FromSums || operand == AOuter || operand == BOuter || operand == Done);
  if (flag || (p == Primitive::MbarWait && operand == 1)) return b.CreateXor(v, b.getInt32(1));
  if (n.starts_with("registers_")) return b.CreateAdd(v, b.getInt32(8));
  if ((n.starts_with("mbar_") && operand == 0) || (n.starts_with("tma_") && operand == 1) || (p == Primitive::StoreAsync && operand == 2))
    return b.CreateAdd(v, b.getInt32(8));
  const bool data = operand == 0 && (p == Primitive::ShflBfly || p == Primitive::ShflIdx || p == Primitive::ShflUp);
  return b.CreateAdd(v, b.getInt32(data ? 1 << 24 : static_cast<int>(operand) == shared_address(c) ? 16 : 1));
}

/// What stands for the result of a primitive that is gone: operands of its types, the accumulator of a product, else zero.
void drop(llvm::CallInst* c, unsigned fixed) {
  llvm::IRBuilder<> b(c);
  if (auto* list = llvm::dyn_cast<llvm::StructType>(c->getType())) {
    llvm::Value* all = llvm::Constant::getNullValue(list);
    for (unsigned k = 0; k < list->getNumElements() && fixed + k < c->arg_size(); ++k) {
      if (c->getArgOperand(fixed + k)->getType() == list->getElementType(k)) all = b.CreateInsertValue(all, c->getArgOperand(fixed + k), k);
    }
    c->replaceAllUsesWith(all);
  } else if (!c->getType()->isVoidTy()) {
    llvm::Value* other = llvm::Constant::getNullValue(c->getType());
    if (c->arg_size() && c->getArgOperand(0)->getType() == c->getType()) other = c->getArgOperand(0);
    c->replaceAllUsesWith(other);
  }
  c->eraseFromParent();
}

void move_address(llvm::Instruction* i) {
  const auto operand = static_cast<unsigned>(shared_address(*i));
  llvm::IRBuilder<> b(i);
  llvm::Value* v = i->getOperand(operand);
  llvm::Type* type = v->getType();
  if (type->isPointerTy()) v = b.CreatePtrToInt(v, b.getInt32Ty());
  v = b.CreateXor(v, b.getInt32(16));
  i->setOperand(operand, type->isPointerTy() ? b.CreateIntToPtr(v, type) : v);
}

/// Results of a load change places, or inputs of a product.
void exchange(llvm::CallInst* c, unsigned operand, unsigned fixed) {
  if (c->arg_size() > fixed) {
    llvm::Value* first = c->getArgOperand(fixed + operand);
    c->setArgOperand(fixed + operand, c->getArgOperand(fixed + operand + 1));
    c->setArgOperand(fixed + operand + 1, first);
    return;
  }
  for (llvm::User* u : c->users()) {
    auto* e = llvm::dyn_cast<llvm::ExtractValueInst>(u);
    if (!e || e->getNumIndices() != 1) continue;
    const unsigned at = e->getIndices()[0];
    if (at != operand && at != operand + 1) continue;
    llvm::IRBuilder<> b(e);
    const unsigned other = at == operand ? operand + 1 : operand;
    e->replaceUsesWithIf(b.CreateExtractValue(c, {other}), [](const llvm::Use&) { return true; });
  }
}

/// Pairs of neighbouring registers that a product or a matrix load has, of one type and not the same value.
std::vector<unsigned> exchanges(const llvm::CallInst& c, unsigned fixed) {
  std::vector<unsigned> out;
  if (c.arg_size() > fixed) {
    for (unsigned k = 0; fixed + k + 1 < c.arg_size(); ++k) {
      const llvm::Value *a = c.getArgOperand(fixed + k), *b = c.getArgOperand(fixed + k + 1);
      if (a != b && a->getType() == b->getType()) out.push_back(k);
    }
  } else if (const auto* list = llvm::dyn_cast<llvm::StructType>(c.getType())) {
    for (unsigned k = 0; k + 1 < list->getNumElements(); ++k) out.push_back(k);
  }
  return out;
}

std::string what(Kind kind, const llvm::Instruction& i) {
  if (const auto p = gpu::primitive_of(i)) return gpu::info(*p).name;
  if (kind == Kind::Swizzle) return llvm::isa<llvm::LoadInst>(i) ? "shared load" : "shared store";
  return i.getOpcodeName();
}

}  // namespace

std::string Mutant::text() const {
  std::string out = fmt::format("{} {} #{}", name(kind), what, place);
  return kind == Kind::Bump || kind == Kind::Fragment ? out + fmt::format(" operand {}", operand) : out;
}

std::vector<Mutant> mutants(llvm::Module& module) {
  std::vector<Mutant> out;
  for (const Kind kind : {Kind::Drop, Kind::Repeat, Kind::Bump, Kind::Fragment, Kind::Swizzle, Kind::Stride, Kind::OffByOne, Kind::When, Kind::Map,
                          Kind::Atomic, Kind::Trips, Kind::Unmasked}) {
    const std::vector<Place> all = places(module, kind);
    for (std::size_t k = 0; k < all.size(); ++k) {
      const llvm::Instruction& i = *all[k].instructions.front();
      const auto add = [&](unsigned operand) { out.push_back({kind, k, operand, what(kind, i), all[k].effect->getName().str()}); };
      switch (kind) {
        case Kind::Drop:
        case Kind::Swizzle:
        case Kind::Stride:
        case Kind::OffByOne:
        case Kind::When:
        case Kind::Map:
        case Kind::Atomic:
        case Kind::Trips:
        case Kind::Unmasked: add(0); break;
        case Kind::Repeat:
          if (!idempotent(*gpu::primitive_of(i))) add(0);
          break;
        case Kind::Bump:
          for (unsigned o = 0; o < fixed_of(*gpu::primitive_of(i)); ++o) {
            const llvm::Type* t = i.getOperand(o)->getType();
            const bool map = gpu::info(*gpu::primitive_of(i)).fixed[o] == 'm';
            if (!map && !unread(llvm::cast<llvm::CallInst>(i), *gpu::primitive_of(i), o) && (t->isIntegerTy(32) || t->isPointerTy())) add(o);
          }
          break;
        case Kind::Fragment:
          for (const unsigned o : exchanges(llvm::cast<llvm::CallInst>(i), fixed_of(*gpu::primitive_of(i)))) add(o);
          break;
      }
    }
  }
  return out;
}

void apply(llvm::Module& module, const Mutant& m) {
  const std::vector<Place> all = places(module, m.kind);
  for (llvm::Instruction* i : all.at(m.place).instructions) {
    llvm::IRBuilder<> b(i);
    auto* c = llvm::dyn_cast<llvm::CallInst>(i);
    switch (m.kind) {
      case Kind::Drop: drop(c, fixed_of(*gpu::primitive_of(*c))); break;
      case Kind::Repeat: c->clone()->insertBefore(c->getIterator()); break;
      case Kind::Bump: c->setArgOperand(m.operand, bumped(b, *c, *gpu::primitive_of(*c), m.operand)); break;
      case Kind::Fragment: exchange(c, m.operand, fixed_of(*gpu::primitive_of(*c))); break;
      case Kind::Swizzle: move_address(i); break;
      case Kind::Stride:
      case Kind::OffByOne: i->setOperand(1, b.CreateAdd(i->getOperand(1), llvm::ConstantInt::get(i->getOperand(1)->getType(), 1))); break;
      case Kind::When: c->setArgOperand(static_cast<unsigned>(operand_of_kind(*gpu::primitive_of(*c), 'b')), b.getTrue()); break;
      case Kind::Map: c->setArgOperand(static_cast<unsigned>(operand_of_kind(*gpu::primitive_of(*c), 'm')), next_map(*map_of(*c))); break;
      case Kind::Atomic: i->setOperand(1, b.CreateAdd(i->getOperand(1), llvm::ConstantInt::get(i->getOperand(1)->getType(), 1))); break;
      case Kind::Trips: i->setOperand(1, b.CreateAdd(i->getOperand(1), llvm::ConstantInt::get(i->getOperand(1)->getType(), 1))); break;
      case Kind::Unmasked:
        if (c) {
          c->setArgOperand(2, b.getInt32(*gpu::primitive_of(*c) == Primitive::CpAsync16  ? 16
                                         : *gpu::primitive_of(*c) == Primitive::CpAsync8 ? 8
                                                                                         : 4));
        } else {
          i->replaceAllUsesWith(i->getOperand(llvm::isa<llvm::Constant>(i->getOperand(1)) ? 2 : 1));
          i->eraseFromParent();
        }
        break;
    }
  }
}

}  // namespace tessera::test
