#include "codegen/cpu/emitter.h"

#include <llvm/IR/Verifier.h>
#include <llvm/TargetParser/Host.h>

namespace tessera::cpu {

using llvm::Value;

VectorTarget VectorTarget::from(const llvm::StringMap<bool>& features, bool x86) {
  auto has = [&](llvm::StringRef name) { return features.lookup(name); };
  VectorTarget t;
  t.x86 = x86;
  if (!x86) {
    t.fma = true;
    return t;
  }
  t.fma = has("fma");
  t.f16c = has("f16c");
  t.avx2 = has("avx2");
  t.avx512 = t.avx2 && t.fma && has("avx512f") && has("avx512bw") && has("avx512dq") && has("avx512vl");
  t.avx512_bf16 = t.avx512 && has("avx512bf16");
  t.register_lanes = t.avx512 ? 16 : t.avx2 ? 8 : 4;
  return t;
}

VectorTarget VectorTarget::host() {
#if defined(__x86_64__)
  return from(llvm::sys::getHostCPUFeatures(), true);
#else
  return from(llvm::sys::getHostCPUFeatures(), false);
#endif
}

Emitter::Emitter(llvm::Module& m, VectorTarget t) : module(m), context(m.getContext()), b(m.getContext()), target(t) {
  llvm::FastMathFlags flags;
  flags.setAllowContract();
  flags.setNoSignedZeros();
  b.setFastMathFlags(flags);
}

llvm::Constant* Emitter::real(llvm::Type* like, double x) { return llvm::ConstantFP::get(like, x); }

llvm::Constant* Emitter::integer(llvm::Type* like, std::int64_t x) { return llvm::ConstantInt::getSigned(like, x); }

llvm::Constant* Emitter::iota(llvm::Type* element, int lanes) {
  std::vector<llvm::Constant*> elements;
  for (int i = 0; i < lanes; ++i) elements.push_back(llvm::ConstantInt::get(element, static_cast<std::uint64_t>(i)));
  return llvm::ConstantVector::get(elements);
}

Value* Emitter::min(Value* x, Value* y) { return b.CreateSelect(b.CreateICmpSLT(x, y), x, y); }
Value* Emitter::max(Value* x, Value* y) { return b.CreateSelect(b.CreateICmpSGT(x, y), x, y); }
Value* Emitter::div_up(Value* x, std::int64_t d) { return b.CreateUDiv(add(x, idx(d - 1)), idx(d)); }

Value* Emitter::masked_load(llvm::Type* t, Value* p, int align, Value* mask) {
  if (!mask) return load(t, p, align);
  return b.CreateMaskedLoad(t, p, llvm::Align(static_cast<std::uint64_t>(align)), mask, zero(t));
}

Value* Emitter::stack(llvm::Type* element, int count) {
  llvm::BasicBlock& entry = b.GetInsertBlock()->getParent()->getEntryBlock();
  llvm::IRBuilder<> start(&entry, entry.begin());
  llvm::AllocaInst* place = start.CreateAlloca(llvm::ArrayType::get(element, static_cast<std::uint64_t>(count)));
  place->setAlignment(llvm::Align(64));
  return place;
}

void Emitter::prefetch(Value* p, std::int64_t bytes) {
  constexpr std::int64_t line = 64;
  for (std::int64_t i = 0; i < bytes; i += line)
    b.CreateIntrinsic(llvm::Intrinsic::prefetch, {ptr()}, {at(b.getInt8Ty(), p, idx(i)), b.getInt32(0), b.getInt32(2), b.getInt32(1)});
}

void Emitter::masked_store(Value* v, Value* p, int align, Value* mask) {
  if (!mask) return store(v, p, align);
  b.CreateMaskedStore(v, p, llvm::Align(static_cast<std::uint64_t>(align)), mask);
}

Value* Emitter::lanes_below(Value* count, int lanes) {
  // Clamped first: the comparison then fits 32-bit lanes, one instruction.
  Value* clamped = max(idx(0), min(idx(lanes), count));
  return b.CreateICmpSLT(iota(i32(), lanes), splat(b.CreateTrunc(clamped, i32()), lanes));
}

bool Emitter::has_masked_memory(llvm::Type* element) const { return target.avx512 || (target.avx2 && element->getScalarSizeInBits() >= 32); }

Value* Emitter::load_below(llvm::FixedVectorType* t, Value* p, int align, Value* count) {
  llvm::Type* element = t->getElementType();
  const int lanes = static_cast<int>(t->getNumElements());
  if (has_masked_memory(element)) return masked_load(t, p, align, lanes_below(count, lanes));
  // A masked load would become a branch for every lane at every place; this is one branch and a shared loop.
  const std::string name = "tessera.load_below." + std::to_string(lanes) + "x" + std::to_string(element->getScalarSizeInBits());
  llvm::FixedVectorType* bits = vec(b.getIntNTy(element->getScalarSizeInBits()), lanes);
  return choose(
      b.CreateICmpSGE(count, idx(lanes)), [&] { return Values{load(t, p, align)}; },
      [&] {
        auto* type = llvm::FunctionType::get(bits, {ptr(), i64()}, false);
        llvm::Function* f = shared(name, type, [&](llvm::Function* self) {
          llvm::Type* one = bits->getElementType();
          Values r = loop(idx(0), self->getArg(1), idx(1), {zero(bits)}, false, [&](Value* i, llvm::ArrayRef<Value*> so_far) {
            Value* x = load(one, at(one, self->getArg(0), i), align);
            return Values{b.CreateInsertElement(so_far[0], x, i)};
          });
          b.CreateRet(r[0]);
        });
        return Values{b.CreateBitCast(b.CreateCall(f, {p, count}), t)};
      })[0];
}

void Emitter::store_below(Value* v, Value* p, int align, Value* count) {
  auto* t = llvm::cast<llvm::FixedVectorType>(v->getType());
  const int lanes = static_cast<int>(t->getNumElements());
  if (has_masked_memory(t->getElementType())) return masked_store(v, p, align, lanes_below(count, lanes));
  llvm::FixedVectorType* bits = vec(b.getIntNTy(t->getScalarSizeInBits()), lanes);
  const std::string name = "tessera.store_below." + std::to_string(lanes) + "x" + std::to_string(t->getScalarSizeInBits());
  if_then(
      b.CreateICmpSGE(count, idx(lanes)), [&] { store(v, p, align); },
      [&] {
        auto* type = llvm::FunctionType::get(b.getVoidTy(), {bits, ptr(), i64()}, false);
        llvm::Function* f = shared(name, type, [&](llvm::Function* self) {
          llvm::Type* one = bits->getElementType();
          loop(idx(0), self->getArg(2), idx(1), false,
               [&](Value* i) { store(b.CreateExtractElement(self->getArg(0), i), at(one, self->getArg(1), i), align); });
          b.CreateRetVoid();
        });
        b.CreateCall(f, {b.CreateBitCast(v, bits), p, count});
      });
}

Value* Emitter::fma(Value* x, Value* y, Value* z) {
  // Where the hardware has none, llvm.fma is a library call for every lane.
  const auto id = target.fma ? llvm::Intrinsic::fma : llvm::Intrinsic::fmuladd;
  return b.CreateIntrinsic(id, {x->getType()}, {x, y, z});
}

Values Emitter::loop(Value* lo, Value* hi, Value* step, Values carried, bool nonempty, const LoopBody& body) {
  llvm::BasicBlock* before = b.GetInsertBlock();
  llvm::Function* function = before->getParent();
  llvm::BasicBlock* head = llvm::BasicBlock::Create(context, "loop", function);
  llvm::BasicBlock* after = llvm::BasicBlock::Create(context, "done", function);
  if (nonempty)
    b.CreateBr(head);
  else
    b.CreateCondBr(b.CreateICmpSLT(lo, hi), head, after);
  b.SetInsertPoint(head);
  llvm::PHINode* iv = b.CreatePHI(lo->getType(), 2);
  iv->addIncoming(lo, before);
  std::vector<llvm::PHINode*> phis;
  Values inside;
  for (Value* v : carried) {
    llvm::PHINode* phi = b.CreatePHI(v->getType(), 2);
    phi->addIncoming(v, before);
    phis.push_back(phi);
    inside.push_back(phi);
  }
  Values next = body(iv, inside);
  Value* iv_next = add(iv, step);
  llvm::BasicBlock* latch = b.GetInsertBlock();
  iv->addIncoming(iv_next, latch);
  for (std::size_t i = 0; i < phis.size(); ++i) phis[i]->addIncoming(next[i], latch);
  b.CreateCondBr(b.CreateICmpSLT(iv_next, hi), head, after);
  b.SetInsertPoint(after);
  if (nonempty) return next;
  Values results;
  for (std::size_t i = 0; i < phis.size(); ++i) {
    llvm::PHINode* phi = b.CreatePHI(carried[i]->getType(), 2);
    phi->addIncoming(carried[i], before);
    phi->addIncoming(next[i], latch);
    results.push_back(phi);
  }
  return results;
}

Values Emitter::unrolled(int count, Value* lo, Value* hi, Value* step, Values carried, const LoopBody& body, const std::function<void()>& between) {
  if (count == 1) return loop(lo, hi, step, std::move(carried), false, body);
  Value *last = sub(hi, mul(step, idx(count - 1))), *far = mul(step, idx(count));
  carried.push_back(lo);
  carried = loop(lo, last, far, carried, false, [&](Value* iv, llvm::ArrayRef<Value*> inside) {
    Values now = inside.drop_back().vec();
    for (int i = 0; i < count; ++i) now = body(i == 0 ? iv : add(iv, mul(step, idx(i))), now);
    now.push_back(add(iv, far));
    return now;
  });
  Value* rest = carried.back();
  carried.pop_back();
  if (between) between();
  return loop(rest, hi, step, std::move(carried), false, body);
}

void Emitter::loop(Value* lo, Value* hi, Value* step, bool nonempty, const std::function<void(Value*)>& body) {
  loop(lo, hi, step, {}, nonempty, [&](Value* iv, llvm::ArrayRef<Value*>) {
    body(iv);
    return Values{};
  });
}

void Emitter::if_then(Value* condition, const std::function<void()>& then, const std::function<void()>& otherwise) {
  llvm::Function* function = b.GetInsertBlock()->getParent();
  llvm::BasicBlock* yes = llvm::BasicBlock::Create(context, "then", function);
  llvm::BasicBlock* no = otherwise ? llvm::BasicBlock::Create(context, "else", function) : nullptr;
  llvm::BasicBlock* join = llvm::BasicBlock::Create(context, "join", function);
  b.CreateCondBr(condition, yes, no ? no : join);
  b.SetInsertPoint(yes);
  then();
  b.CreateBr(join);
  if (no) {
    b.SetInsertPoint(no);
    otherwise();
    b.CreateBr(join);
  }
  b.SetInsertPoint(join);
}

Values Emitter::choose(Value* condition, const std::function<Values()>& then, const std::function<Values()>& otherwise) {
  Values yes, no;
  llvm::BasicBlock *yes_end = nullptr, *no_end = nullptr;
  if_then(
      condition,
      [&] {
        yes = then();
        yes_end = b.GetInsertBlock();
      },
      [&] {
        no = otherwise();
        no_end = b.GetInsertBlock();
      });
  Values results;
  for (std::size_t i = 0; i < yes.size(); ++i) {
    llvm::PHINode* phi = b.CreatePHI(yes[i]->getType(), 2);
    phi->addIncoming(yes[i], yes_end);
    phi->addIncoming(no[i], no_end);
    results.push_back(phi);
  }
  return results;
}

llvm::Function* Emitter::shared(const std::string& name, llvm::FunctionType* type, const std::function<void(llvm::Function*)>& define) {
  if (llvm::Function* known = module.getFunction(name)) return known;
  llvm::Function* f = llvm::Function::Create(type, llvm::Function::InternalLinkage, name, module);
  f->addFnAttr(llvm::Attribute::NoInline);
  f->addFnAttr(llvm::Attribute::NoUnwind);
  llvm::IRBuilder<>::InsertPointGuard guard(b);
  b.SetInsertPoint(llvm::BasicBlock::Create(context, "entry", f));
  define(f);
  return f;
}

void set_vector_attributes(llvm::Module& module, llvm::StringRef cpu, llvm::StringRef features) {
  for (llvm::Function& f : module) {
    if (f.isDeclaration()) continue;
    f.addFnAttr("target-cpu", cpu);
    f.addFnAttr("target-features", features);
    // Without these, Intel targets halve the vectors and pass 512-bit arguments in memory.
    f.addFnAttr("prefer-vector-width", "512");
    f.addFnAttr("min-legal-vector-width", "512");
    f.addFnAttr(llvm::Attribute::NoUnwind);
  }
}

}  // namespace tessera::cpu
