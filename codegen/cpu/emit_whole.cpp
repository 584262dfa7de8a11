// Ops on whole axes that follow no lane: sorting, counting, forward substitution. Scalar loops, except where rows lie in lanes.
#include "codegen/cpu/arith.h"
#include "codegen/cpu/convert.h"
#include "codegen/cpu/emit.h"
#include "dsl/diagnostic.h"

namespace tessera::cpu {

using ir::Attr;
using ir::Op;
using ir::OpKind;
using LV = llvm::Value;

void KernelEmitter::emit_whole(const Sink& s) {
  for (const auto& r : s.op->results)
    if (!is_unit(r.get())) ensure_buffer(r.get());
  switch (s.op->kind) {
    case OpKind::Sort:
    case OpKind::TopK: return emit_sort(*s.op);
    case OpKind::Histogram: return emit_histogram(*s.op);
    case OpKind::SolveLower: return emit_solve_lower(*s.op);
    default: TESSERA_UNREACHABLE("not a whole-axis op");
  }
}

namespace {

/// a comes before b: NaN last whichever way the order runs.
LV* comes_before(Emitter& e, DType t, bool descending, LV* a, LV* b) {
  if (is_float(t)) {
    a = widen_float(e, t, a);
    b = widen_float(e, t, b);
    LV* less = descending ? e.b.CreateFCmpOGT(a, b) : e.b.CreateFCmpOLT(a, b);
    return e.b.CreateOr(less, e.b.CreateAnd(e.b.CreateFCmpUNO(b, b), e.b.CreateFCmpORD(a, a)));
  }
  if (is_signed(t)) return descending ? e.b.CreateICmpSGT(a, b) : e.b.CreateICmpSLT(a, b);
  return descending ? e.b.CreateICmpUGT(a, b) : e.b.CreateICmpULT(a, b);
}

/// ptr sort(ptr keys, ptr places, ptr spare, i64 n): a stable merge sort, bottom up. Keys are in register form, places i32; `spare` has room
/// for both, the places at byte n * key size rounded up to 64. Returns where the sorted keys are: `keys` or `spare` (the places likewise).
llvm::Function* sort_function(Emitter& e, DType t, bool descending) {
  llvm::Type* key = register_type(e, t);
  auto* type = llvm::FunctionType::get(e.b.getInt1Ty(), {e.ptr(), e.ptr(), e.ptr(), e.ptr(), e.i64()}, false);
  return e.shared(std::string("tessera.sort.") + name(t) + (descending ? ".down" : ".up"), type, [&](llvm::Function* f) {
    LV* n = f->getArg(4);
    llvm::Type* place = e.i32();
    const Values start = {e.idx(1), f->getArg(0), f->getArg(1), f->getArg(2), f->getArg(3), e.b.getFalse()};
    llvm::BasicBlock* before = e.b.GetInsertBlock();
    auto* head = llvm::BasicBlock::Create(e.context, "width", f);
    auto* body = llvm::BasicBlock::Create(e.context, "merge", f);
    auto* after = llvm::BasicBlock::Create(e.context, "sorted", f);
    e.b.CreateBr(head);
    e.b.SetInsertPoint(head);
    std::vector<llvm::PHINode*> phi;
    for (LV* v : start) {
      phi.push_back(e.b.CreatePHI(v->getType(), 2));
      phi.back()->addIncoming(v, before);
    }
    LV *width = phi[0], *keys = phi[1], *places = phi[2], *to_keys = phi[3], *to_places = phi[4];
    e.b.CreateCondBr(e.b.CreateICmpSLT(width, n), body, after);
    e.b.SetInsertPoint(body);
    LV* two = e.mul(width, e.idx(2));
    e.loop(e.idx(0), n, two, false, [&](LV* lo) {
      LV* mid = e.min(n, e.add(lo, width));
      LV* hi = e.min(n, e.add(lo, two));
      e.loop(lo, hi, e.idx(1), {lo, mid}, true, [&](LV* k, llvm::ArrayRef<LV*> c) {
        LV* left_done = e.b.CreateICmpSGE(c[0], mid);
        LV* right_done = e.b.CreateICmpSGE(c[1], hi);
        // Finished sides are read at a place that exists; the choice does not look at them.
        LV* i = e.b.CreateSelect(left_done, lo, c[0]);
        LV* j = e.b.CreateSelect(right_done, lo, c[1]);
        LV* a = e.b.CreateLoad(key, e.at(key, keys, i));
        LV* b = e.b.CreateLoad(key, e.at(key, keys, j));
        LV* right_first = comes_before(e, t, descending, b, a);
        LV* right = e.b.CreateAnd(e.b.CreateNot(right_done), e.b.CreateOr(left_done, right_first));
        LV* from = e.b.CreateSelect(right, j, i);
        e.b.CreateStore(e.b.CreateSelect(right, b, a), e.at(key, to_keys, k));
        e.b.CreateStore(e.b.CreateLoad(place, e.at(place, places, from)), e.at(place, to_places, k));
        LV* one = e.b.CreateZExt(right, e.i64());
        return Values{e.add(c[0], e.sub(e.idx(1), one)), e.add(c[1], one)};
      });
    });
    const Values next = {two, to_keys, to_places, keys, places, e.b.CreateNot(phi[5])};
    for (std::size_t i = 0; i < phi.size(); ++i) phi[i]->addIncoming(next[i], e.b.GetInsertBlock());
    e.b.CreateBr(head);
    e.b.SetInsertPoint(after);
    e.b.CreateRet(phi[5]);
  });
}

}  // namespace

void KernelEmitter::emit_sort(const Op& op) {
  const ir::Value* x = op.operands[0];
  const DType t = dtype(x);
  const auto axis = static_cast<std::size_t>(op.int_attr(Attr::Axis));
  const bool top = op.kind == OpKind::TopK;
  const std::int64_t n = dims(x)[axis];
  llvm::Type* key = register_type(e_, t);
  const std::int64_t mark = arena_.mark();
  const std::int64_t key_bytes = n * arena_cell(t).bytes();
  LV* keys[2] = {ev_->address(arena_.take(key_bytes)), ev_->address(arena_.take(key_bytes))};
  LV* places[2] = {ev_->address(arena_.take(n * 4)), ev_->address(arena_.take(n * 4))};
  llvm::Function* sort = sort_function(e_, t, top || op.int_attr(Attr::Descending) != 0);
  std::vector<std::pair<const ir::Value*, Lanes>> units;
  Coords at(dims(x).size(), lanes(e_.idx(0)));
  auto line = [&] {
    e_.loop(e_.idx(0), e_.idx(n), e_.idx(1), true, [&](LV* k) {
      ev_->push();
      at[axis] = lanes(k);
      e_.b.CreateStore(plain(e_, ev_->eval(x, at)), e_.at(key, keys[0], k));
      e_.b.CreateStore(e_.b.CreateTrunc(k, e_.i32()), e_.at(e_.i32(), places[0], k));
      ev_->pop();
    });
    LV* moved = e_.b.CreateCall(sort, {keys[0], places[0], keys[1], places[1], e_.idx(n)});
    LV* sorted = e_.b.CreateSelect(moved, keys[1], keys[0]);
    LV* from = e_.b.CreateSelect(moved, places[1], places[0]);
    const std::int64_t kept = dims(op.result())[axis];
    e_.loop(e_.idx(0), e_.idx(kept), e_.idx(1), true, [&](LV* k) {
      at[axis] = lanes(k);
      for (std::size_t r = 0; r < op.results.size(); ++r) {
        LV* y = r == 0 ? e_.b.CreateLoad(key, e_.at(key, sorted, k)) : e_.b.CreateZExt(e_.b.CreateLoad(e_.i32(), e_.at(e_.i32(), from, k)), e_.i64());
        if (is_unit(op.result(r)))
          units.emplace_back(op.result(r), lanes(y));
        else
          ev_->store_buffer(ev_->buffer(op.result(r)), at, lanes(y));
      }
    });
    at[axis] = lanes(e_.idx(0));
  };
  std::function<void(std::size_t)> loops = [&](std::size_t a) {
    if (a == at.size()) return line();
    if (a == axis || dims(x)[a] == 1) return loops(a + 1);
    e_.loop(e_.idx(0), e_.idx(dims(x)[a]), e_.idx(1), true, [&](LV* iv) {
      at[a] = lanes(iv);
      loops(a + 1);
    });
  };
  ev_->push();
  loops(0);
  ev_->pop();
  for (const auto& [v, y] : units) ev_->bind_unit(v, y);
  arena_.release(mark);
}

void KernelEmitter::emit_histogram(const Op& op) {
  const ir::Value* counts = op.result();
  const std::int64_t n = dims(op.operands[0])[0];
  const std::int64_t size = dims(counts)[0];
  // Counts of one bin live in a buffer too while they are made.
  Buffer b;
  if (is_unit(counts)) {
    b.dtype = DType::I32;
    b.dims = {1};
    b.layout = row_major_layout(b.dims);
    b.offset = arena_.take(b.bytes());
  } else {
    b = ev_->buffer(counts);
  }
  e_.b.CreateMemSet(ev_->address(b), e_.b.getInt8(0), static_cast<std::uint64_t>(b.bytes()), llvm::Align(64));
  e_.loop(e_.idx(0), e_.idx(n), e_.idx(1), true, [&](LV* k) {
    ev_->push();
    const Coords at = {lanes(k)};
    LV* x = e_.b.CreateSExt(plain(e_, ev_->eval(op.operands[0], at)), e_.i64());
    LV* when = plain(e_, ev_->eval(op.operands[1], at));
    LV* counted = e_.b.CreateAnd(when, e_.b.CreateICmpULT(x, e_.idx(size)));
    e_.if_then(counted, [&] {
      LV* p = e_.at(e_.i32(), ev_->address(b), x);
      e_.store(e_.b.CreateAdd(e_.load(e_.i32(), p, 4), e_.b.getInt32(1)), p, 4);
    });
    ev_->pop();
  });
  if (is_unit(counts)) ev_->bind_unit(counts, lanes(e_.load(e_.i32(), ev_->address(b), 4)));
}

void KernelEmitter::emit_solve_lower(const Op& op) {
  // y[i] = r[i] - sum over l < i of a[i][l] y[l], row by row, columns in lanes.
  const ir::Value* a = op.operands[0];
  const ir::Value* r = op.operands[1];
  const ir::Value* y = op.result();
  const DType t = dtype(y);
  if (is_unit(y)) return ev_->bind_unit(y, ev_->eval_unit(r));
  const Buffer& out = ev_->buffer(y);
  const std::int64_t m = dims(r)[0];
  const std::int64_t n = dims(r)[1];
  auto columns = [&](const Lanes& column, LV* mask) {
    ev_->set_active(mask);
    const bool vector = column.is_short();
    e_.loop(e_.idx(0), e_.idx(m), e_.idx(1), true, [&](LV* i) {
      ev_->push();
      LV* first = widen_float(e_, t, plain(e_, ev_->eval(r, {lanes(i), column})));
      if (vector && !first->getType()->isVectorTy()) first = e_.splat(first);
      const Values sum = e_.loop(e_.idx(0), i, e_.idx(1), {first}, false, [&](LV* l, llvm::ArrayRef<LV*> acc) {
        ev_->push();
        LV* f = widen_float(e_, t, plain(e_, ev_->eval(a, {lanes(i), lanes(l)})));
        LV* above = widen_float(e_, t, plain(e_, ev_->load_buffer(out, {lanes(l), column})));
        if (above->getType()->isVectorTy()) f = e_.splat(f);
        ev_->pop();
        return Values{e_.fma(e_.b.CreateFNeg(f), above, acc[0])};
      });
      ev_->store_buffer(out, {lanes(i), column}, lanes(narrow_float(e_, t, sum[0], false, Rounding::Nearest, ev_->strict())));
      ev_->pop();
    });
    ev_->set_active(nullptr);
  };
  if (n == 1) return columns(lanes(e_.idx(0)), nullptr);
  const std::int64_t whole = n / kLanes * kLanes;
  if (whole > 0) e_.loop(e_.idx(0), e_.idx(whole), e_.idx(kLanes), true, [&](LV* base) { columns(linear_lanes(e_, base, 1, kLanes), nullptr); });
  if (whole < n) columns(linear_lanes(e_, e_.idx(whole), 1, kLanes), e_.lanes_below(e_.idx(n - whole)));
}

void KernelEmitter::emit_assert(const Op& op, LV* x) {
  if (!options_.checks) return;
  std::size_t number = 0;
  while (number < checks_.size() && checks_[number].span.begin != op.span.begin) ++number;
  checks_.push_back({op.span, op.string_attr(Attr::Message)});
  number = checks_.size() - 1;
  if (x->getType()->isVectorTy()) {
    if (ev_->active()) x = e_.b.CreateOr(x, e_.b.CreateNot(ev_->active()));
    x = e_.b.CreateAndReduce(x);
  }
  LV* report = ev_->address(std::int64_t{0});
  LV* first = e_.b.CreateICmpEQ(e_.load(e_.i64(), report, 8), e_.idx(0));
  e_.if_then(e_.b.CreateAnd(first, e_.b.CreateNot(x)), [&] {
    e_.store(e_.idx(static_cast<std::int64_t>(number) + 1), report, 8);
    e_.store(instance_, e_.at(e_.i64(), report, e_.idx(1)), 8);
  });
}

}  // namespace tessera::cpu
