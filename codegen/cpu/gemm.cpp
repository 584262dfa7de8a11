#include "codegen/cpu/gemm.h"

#include <algorithm>

namespace tessera::cpu {

using llvm::Type;
using llvm::Value;

namespace {

std::int64_t round_up(std::int64_t x, std::int64_t to) { return (x + to - 1) / to * to; }

/// Cache blocking in units. kc: a 4-row piece of A stays in L1 beside the passing panel; B's panel and A's block share L2.
struct Blocking {
  std::int64_t kc, mc, nc;
  std::int64_t a_row;         ///< units between rows of packed A
  std::int64_t a_block;       ///< units of one packed mc x kc block, in either orientation
  std::int64_t a_all, b_all;  ///< units of all of A's and B's blocks of one kc
};

Blocking blocking(Product p, std::int64_t m, std::int64_t n) {
  Blocking r{};
  r.kc = unit_k(p) == 2 || unit_bytes(p) == 8 ? 512 : 1024;
  r.mc = std::min<std::int64_t>(96, round_up(m, kLanes));
  r.nc = 1024;
  // kLanes units of padding: rows a whole multiple of 4 KB apart would fight for the same cache sets.
  r.a_row = r.kc + kLanes;
  r.a_block = r.mc * r.a_row;
  r.a_all = round_up(m, r.mc) / r.mc * r.a_block;
  r.b_all = (r.kc + kLanes) * round_up(n, kLanes);
  return r;
}

/// One width of B panel: `count` strips of `vectors` lane vectors from lane `first` on.
struct Strips {
  std::int64_t first, count;
  RegisterBlock block;
  std::int64_t lanes() const { return block.vectors * kLanes; }
};

/// The columns of a tile as whole strips and one narrower strip that takes the rest.
std::vector<Strips> strips_of(Product p, std::int64_t n, const VectorTarget& target) {
  const RegisterBlock block = register_block(p, target);
  const std::int64_t vectors = round_up(n, kLanes) / kLanes;
  std::vector<Strips> r;
  if (vectors >= block.vectors) r.push_back({0, vectors / block.vectors, block});
  const int rest = static_cast<int>(vectors % block.vectors);
  if (rest > 0) r.push_back({(vectors - rest) * kLanes, 1, {std::min(7, block.rows * block.vectors / rest), rest}});
  return r;
}

void pack_b(Emitter& e, const Gemm& g, Value* k0, Value* lane0, Value* k_units, int lanes, Value* dst) {
  if (g.b.k_is_fast)
    emit_pack_panel_transposed(e, g.product, shifted(e, g.b.source, lane0, k0), k_units, lanes, dst);
  else
    emit_pack_panel(e, g.product, shifted(e, g.b.source, k0, lane0), k_units, lanes, dst);
}

}  // namespace

std::int64_t gemm_block_k(Product p) { return blocking(p, 1, 1).kc * unit_k(p); }

std::int64_t gemm_scratch_bytes(Product p, std::int64_t m, std::int64_t n, std::int64_t k_blocks) {
  const Blocking size = blocking(p, m, n);
  return round_up((size.a_all + size.b_all) * k_blocks * unit_bytes(p), 64);
}

void emit_gemm(Emitter& e, const Gemm& g, Value* scratch) {
  const Product p = g.product;
  const Blocking size = blocking(p, g.m, g.n);
  Type* unit = unit_type(e, p);
  Type* element = accumulator_type(e, p);
  const std::int64_t n_round = round_up(g.n, kLanes);

  Value* valid_m = e.max(e.idx(0), e.min(e.idx(g.m), g.a.k_is_fast ? g.a.source.slow_count : g.a.source.fast_count));
  Value* valid_n = e.max(e.idx(0), e.min(e.idx(g.n), g.b.k_is_fast ? g.b.source.slow_count : g.b.source.fast_count));
  Value* units = e.div_up(g.k, unit_k(p));
  // The first block of k writes all of C, or what there is of C starts as zeros.
  Value* written = nullptr;
  if (!g.accumulate) {
    Value* all = e.b.CreateAnd(e.b.CreateICmpEQ(valid_m, e.idx(g.m)), e.b.CreateICmpEQ(valid_n, e.idx(g.n)));
    written = e.b.CreateAnd(all, e.b.CreateICmpSGT(units, e.idx(0)));
    e.if_then(e.b.CreateNot(written), [&] {
      e.loop(e.idx(0), e.idx(g.m), e.idx(1), true, [&](Value* r) {
        Value* row = e.at(element, g.c, e.mul(r, g.c_row));
        e.loop(e.idx(0), e.idx(n_round), e.idx(kLanes), true, [&](Value* j) { e.store(e.zero(e.vec(element)), e.at(element, row, j), 64); });
      });
    });
  }
  // Packed blocks of different k lie apart while all of them fit, so that they can be found again; else each overwrites the last.
  Value* fits = e.b.CreateICmpSLE(units, e.idx(g.k_blocks * size.kc));
  auto block_place = [&](Value* base, Value* k0, std::int64_t block_units) {
    Value* number = g.k_blocks == 1 ? e.idx(0) : e.b.CreateSelect(fits, e.b.CreateUDiv(k0, e.idx(size.kc)), e.idx(0));
    return e.at(unit, base, e.mul(number, e.idx(block_units)));
  };
  auto unless_packed = [&](Value* packed, const std::function<void()>& pack) {
    if (packed)
      e.if_then(e.b.CreateNot(e.b.CreateAnd(packed, fits)), pack);
    else
      pack();
  };
  auto limited = [&](std::int64_t block, Value* from, Value* end) { return e.min(e.idx(block), e.sub(end, from)); };

  e.loop(e.idx(0), units, e.idx(size.kc), false, [&](Value* k0) {
    Value* kc = limited(size.kc, k0, units);
    Value* k_element = e.mul(k0, e.idx(unit_k(p)));
    Value* add = g.c;
    if (written) {
      Value* first = e.b.CreateAnd(written, e.b.CreateICmpEQ(k0, e.idx(0)));
      add = e.b.CreateSelect(first, llvm::ConstantPointerNull::get(e.b.getPtrTy()), g.c);
    }
    Value* a_pack = block_place(scratch, k0, size.a_all);
    Value* b_pack = block_place(e.at(unit, scratch, e.idx(size.a_all * g.k_blocks)), k0, size.b_all);
    for (std::int64_t j0 = 0; j0 < n_round; j0 += size.nc) {
      const std::vector<Strips> groups = strips_of(p, std::min(size.nc, n_round - j0), e.target);
      // Every strip of every group that holds a valid lane.
      auto each_strip = [&](const std::function<void(Value * lane, Value * panel, RegisterBlock block)>& f) {
        for (const Strips& s : groups) {
          Value* end = e.min(e.idx(j0 + s.first + s.count * s.lanes()), valid_n);
          e.loop(e.idx(j0 + s.first), end, e.idx(s.lanes()), false,
                 [&](Value* lane) { f(lane, e.at(unit, b_pack, e.mul(lane, e.idx(size.kc + kLanes))), s.block); });
        }
      };
      unless_packed(g.b_packed, [&] {
        each_strip([&](Value* lane, Value* panel, RegisterBlock block) { pack_b(e, g, k_element, lane, kc, block.vectors * kLanes, panel); });
      });
      e.loop(e.idx(0), valid_m, e.idx(size.mc), false, [&](Value* i0) {
        Value* rows = limited(size.mc, i0, valid_m);
        Value* a_packed = e.at(unit, a_pack, e.mul(i0, e.idx(size.a_row)));
        Value* a_block = a_packed;
        Value* a_row = e.idx(g.a.k_is_fast ? size.a_row : 1);
        if (g.a.in_place) {
          a_block = e.b.CreateSelect(g.a.in_place, e.at(memory_type(e, g.a.source.dtype), g.a.source.row(i0), k_element), a_packed);
          a_row = e.b.CreateSelect(g.a.in_place, g.a.row_stride, a_row);
        }
        Value* a_k = e.idx(g.a.k_is_fast ? 1 : size.mc);
        auto pack_a = [&] {
          if (g.a.k_is_fast)
            emit_pack_rows(e, p, shifted(e, g.a.source, i0, k_element), rows, kc, a_packed, e.idx(size.a_row));
          else
            emit_pack_panel(e, p, shifted(e, g.a.source, k_element, i0), kc, static_cast<int>(size.mc), a_packed);
        };
        // The second and later column blocks find A as the first one left it.
        if (j0 == 0) {
          if (g.a.in_place)
            e.if_then(e.b.CreateNot(g.a.in_place), [&] { unless_packed(g.a_packed, pack_a); });
          else
            unless_packed(g.a_packed, pack_a);
        }
        each_strip([&](Value* lane, Value* panel, RegisterBlock block) {
          ProductOperands o{a_block, a_row, a_k, panel, e.idx(block.vectors * kLanes), kc};
          Value* c = e.at(element, g.c, e.add(e.mul(i0, g.c_row), lane));
          call_product(e, p, block, written ? Accumulate::SetOrAdd : Accumulate::Add, o, rows, c, g.c_row, add);
        });
      });
    }
  });
}

}  // namespace tessera::cpu
