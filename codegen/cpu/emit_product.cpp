// Products: operands in the product's units, register blocks, and sinks that take the results from registers.
#include <llvm/IR/IntrinsicsX86.h>

#include "codegen/cpu/arith.h"
#include "codegen/cpu/convert.h"
#include "codegen/cpu/emit_nest.h"
#include "codegen/cpu/pack.h"
#include "codegen/cpu/plan_block.h"
#include "codegen/cpu/prefetch.h"
#include "dsl/diagnostic.h"

namespace tessera::cpu {

using LV = llvm::Value;
using NE = KernelEmitter::NestEmitter;

namespace {

bool in_pairs(Product p) { return unit_k(p) == 2; }

LV* pair_up(Emitter& e, LV* even, LV* odd) {
  if (even->getType()->isVectorTy()) return emit_pair16(e, even, odd);
  return e.b.CreateOr(e.b.CreateZExt(even, e.i32()), e.b.CreateShl(e.b.CreateZExt(odd, e.i32()), e.b.getInt32(16)));
}

}  // namespace

void NE::store_operand(const Sink& s, const Taken& first, const Taken* second) {
  const ProductPlan& p = k_.plan_.product(*s.op);
  const OperandPlan& o = p.operand[s.operand];
  const Buffer& b = k_.operand_buffer(*s.op, s.operand);
  const bool vector = first.at[static_cast<std::size_t>(o.lane_axis)].is_short();
  auto spread = [&](LV* v) { return vector && !v->getType()->isVectorTy() ? e_.splat(v) : v; };
  LV* x = spread(first.x.v);
  // Beyond the operand's k there must be zeros, since pairs reach there; lanes beyond its lanes are never looked at.
  if (ev_.active() && o.lane_axis == o.k_axis) x = e_.b.CreateSelect(ev_.active(), x, e_.zero(x->getType()));
  Coords at = first.at;
  if (in_pairs(p.product) && o.lane_axis != o.k_axis) {
    const auto k = static_cast<std::size_t>(o.k_axis);
    x = pair_up(e_, x, second ? spread(second->x.v) : static_cast<LV*>(e_.zero(x->getType())));
    at[k] = idx_div(e_, at[k], lanes(e_.idx(2)));
  }
  ev_.store_buffer(b, at, lanes(x));
}

void NE::product(const Chunk& c, Folds& folds, Folds& lane_folds) {
  const Sink& s = *nest_.sinks.front();
  const ProductPlan& p = k_.plan_.product(*s.op);
  if (p.inner) return inner_product(c, folds, lane_folds);
  const std::size_t row_axis = p.transposed ? 1 : 0;
  const int row_loop = nest_.loop_of.at(&s)[row_axis];
  const std::int64_t rows = s.space[row_axis];
  const auto& across = k_.operand_ref(*s.op, p.transposed ? 1 : 0);  // broadcast: one row of the block
  const auto& along = k_.operand_ref(*s.op, p.transposed ? 0 : 1);   // in lanes
  const std::int64_t k_units = (dims(s.op->operands[0])[1] + unit_k(p.product) - 1) / unit_k(p.product);
  ProductOperands o;
  o.a = across.base;
  o.a_row = across.row;
  o.a_k = across.k;
  LV* strip = c.base ? e_.b.CreateUDiv(c.base, e_.idx(static_cast<std::int64_t>(p.block.vectors) * kLanes)) : static_cast<LV*>(e_.idx(0));
  o.b = e_.at(unit_type(e_, p.product), along.base, e_.mul(strip, along.strip));
  o.b_k = along.k;
  o.b_align = along.align;
  o.b_ahead = along.ahead;
  o.k = e_.idx(k_units);
  RegisterBlock block = p.block;
  block.vectors = c.vectors;
  const Values out =
      emit_product(e_, p.product, block, o, rows, flatten(folds), [&](LV* row0, int count, llvm::ArrayRef<LV*> sums, llvm::ArrayRef<LV*> carried) {
        restore(folds, carried);
        ev_.push();
        std::vector<Lanes> row;
        for (int r = 0; r < count; ++r) {
          row.push_back(r == 0 ? lanes(row0) : idx_add(e_, lanes(row0), lanes(e_.idx(r))));
          if (row_loop >= 0) at_[static_cast<std::size_t>(row_loop)] = row.back();
          for (int v = 0; v < c.vectors; ++v) {
            set_lane(c, v);
            LV* sum = sums[static_cast<std::size_t>(r * c.vectors + v)];
            if (!c.base) sum = e_.b.CreateExtractElement(sum, std::uint64_t{0});
            ev_.bind_at(s.target, coords(s), lanes(sum));
          }
          no_lane();
        }
        const bool pairs = row_loop >= 0 && nest_.pair_loop == row_loop;
        for (int r = 0; r < count; r += pairs ? 2 : 1) {
          if (row_loop >= 0) at_[static_cast<std::size_t>(row_loop)] = row[static_cast<std::size_t>(r)];
          second_ = pairs && r + 1 < count ? row[static_cast<std::size_t>(r + 1)] : Lanes{};
          points(c, folds, lane_folds);
        }
        second_ = Lanes{};
        ev_.pop();
        if (row_loop >= 0) at_[static_cast<std::size_t>(row_loop)] = Lanes{};
        return flatten(folds);
      });
  restore(folds, out);
}

namespace {

/// Sums of the lanes of 16 vectors, as one vector: a tree that halves the number of vectors and mixes lanes at each step.
LV* lane_sums(Emitter& e, Values v) {
  for (int step = kLanes / 2; step >= 1; step /= 2) {
    llvm::SmallVector<int, kLanes> low, high;
    for (int l = 0; l < kLanes; ++l) {
      low.push_back((l & step) != 0 ? kLanes + l : l);
      high.push_back((l & step) != 0 ? kLanes + (l ^ step) : (l ^ step));
    }
    Values next;
    for (int i = 0; i < step; ++i) {
      LV* a = v[static_cast<std::size_t>(i)];
      LV* b = v[static_cast<std::size_t>(i + step)];
      next.push_back(e.b.CreateFAdd(e.b.CreateShuffleVector(a, b, low), e.b.CreateShuffleVector(a, b, high)));
    }
    v = std::move(next);
  }
  return v[0];
}

/// Lane vectors of a row that are multiplied before the next row is looked at.
constexpr std::int64_t kStretch = 8;

}  // namespace

/// Sixteen dot products of one row of a with rows first .. first + 16 of the loaded tile, k in lanes.
Values NE::inner_sums(const Sink& s, const PackSource& source, LV* first, std::int64_t row) {
  const ProductPlan& p = k_.plan_.product(*s.op);
  const std::int64_t depth = dims(s.op->operands[0])[1];
  const int per = kLanes * unit_k(p.product);
  const bool pairs = in_pairs(p.product);
  llvm::Type* element = memory_type(e_, source.dtype);
  llvm::Type* wide = pairs ? static_cast<llvm::Type*>(e_.vec(e_.b.getBFloatTy(), per)) : e_.vec(e_.f32());
  const auto& a = k_.operand_ref(*s.op, 0);
  LV* a_row = e_.at(unit_type(e_, p.product), a.base, e_.mul(e_.idx(row), a.row));
  // Rows that do not exist are read where another does; their sums are zeroed below.
  const bool all = source.full && dims(s.op->operands[1])[1] % kLanes == 0;
  LV* count = all ? nullptr : e_.max(e_.idx(0), e_.min(e_.idx(kLanes), e_.sub(source.slow_count, first)));
  auto sums = [&] {
    Values rows, exist;
    for (int r = 0; r < kLanes; ++r) {
      LV* at = count ? e_.min(e_.idx(r), e_.sub(count, e_.idx(1))) : static_cast<LV*>(e_.idx(r));
      at = e_.add(first, at);
      LV* here = source.row_exists ? source.row_exists(at) : nullptr;
      LV* address = source.row(at);
      // A row that a table lacks: the row of a itself is memory that is there.
      rows.push_back(here ? e_.b.CreateSelect(here, address, a_row) : address);
      exist.push_back(here);
    }
    Values acc(kLanes, e_.zero(e_.vec(e_.f32())));
    // A stretch of one row after the other, as long as the registers hold that of a: memory likes to be read in order.
    std::int64_t vectors = depth / per;
    for (std::int64_t n = kStretch; vectors > kStretch; --n)
      if (vectors % n == 0) vectors = n;
    acc = e_.loop(e_.idx(0), e_.idx(depth), e_.idx(vectors * per), acc, true, [&](LV* k, llvm::ArrayRef<LV*> so_far) {
      Values x;
      LV* a_place = e_.at(unit_type(e_, p.product), a_row, pairs ? e_.b.CreateLShr(k, e_.idx(1)) : k);
      for (int v = 0; v < vectors; ++v) x.push_back(e_.load(wide, e_.at(wide, a_place, e_.idx(v)), 4));
      Values next(so_far.begin(), so_far.end());
      for (int r = 0; r < kLanes; ++r) {
        LV* place = e_.at(element, rows[static_cast<std::size_t>(r)], k);
        if (source.ahead && row == 0) e_.prefetch(e_.at(element, place, source.ahead), vectors * per * bits(source.dtype) / 8);
        LV*& sum = next[static_cast<std::size_t>(r)];
        for (int v = 0; v < vectors; ++v) {
          LV* y = e_.load(wide, e_.at(wide, place, e_.idx(v)), pairs ? 2 : 4);
          LV* part = x[static_cast<std::size_t>(v)];
          sum = pairs ? e_.b.CreateIntrinsic(llvm::Intrinsic::x86_avx512bf16_dpbf16ps_512, {}, {sum, y, part}) : e_.fma(y, part, sum);
        }
      }
      return next;
    });
    for (int r = 0; r < kLanes; ++r)
      if (LV* here = exist[static_cast<std::size_t>(r)])
        acc[static_cast<std::size_t>(r)] = e_.b.CreateSelect(here, acc[static_cast<std::size_t>(r)], e_.zero(e_.vec(e_.f32())));
    LV* result = lane_sums(e_, acc);
    if (count) result = e_.b.CreateSelect(e_.lanes_below(count), result, e_.zero(result->getType()));
    return Values{result};
  };
  if (!count) return sums();
  return e_.choose(e_.b.CreateICmpSGT(count, e_.idx(0)), sums, [&] { return Values{e_.zero(e_.vec(e_.f32()))}; });
}

void NE::inner_product(const Chunk& c, Folds& folds, Folds& lane_folds) {
  const Sink& s = *nest_.sinks.front();
  const auto t = loaded_tile(k_.analysis_, s.op->operands[1]);
  PackSource source = pack_source(ev_, *t, 1);
  source.ahead = next_step(ev_, *t->load);
  const int row_loop = nest_.loop_of.at(&s)[0];
  for (std::int64_t row = 0; row < s.space[0]; ++row) {
    ev_.push();
    if (row_loop >= 0) at_[static_cast<std::size_t>(row_loop)] = lanes(e_.idx(row));
    for (int v = 0; v < c.vectors; ++v) {
      LV* sum = inner_sums(s, source, c.lane[static_cast<std::size_t>(v)].v, row)[0];
      set_lane(c, v);
      ev_.bind_at(s.target, coords(s), lanes(sum));
      no_lane();
    }
    points(c, folds, lane_folds);
    ev_.pop();
  }
  if (row_loop >= 0) at_[static_cast<std::size_t>(row_loop)] = Lanes{};
}

}  // namespace tessera::cpu
