// Loads, stores and address maps against the interpreter: ragged ends, gathers, pages, packed nibbles, atomics. Guard pages catch every access
// beyond a tensor.
#include "tests/cpu/kernel_maker.h"

namespace tessera::test {
namespace {

TEST(CpuMemory, ragged_tiles_of_every_dtype) {
  for (const DType t : all_dtypes())
    for (const auto& [m, n] : {std::pair<std::int64_t, std::int64_t>{1, 1}, {7, 19}, {16, 32}, {21, 70}}) {
      SCOPED_TRACE(testing::Message() << name(t) << " " << m << " x " << n);
      KernelMaker k;
      Value* x = k.view("x", t, {Sym::symbol("M"), Sym::symbol("N")});
      Value* y = k.view("y", t, {Sym::symbol("M"), Sym::symbol("N")}, Mode::Out);
      Value* i = k.grid("i", ceil_div(Sym::symbol("M"), 8));
      Value* j = k.grid("j", ceil_div(Sym::symbol("N"), 32));
      Value* rows = k.part(k.b.value(OpKind::Mul, {i, k.b.idx(8)}), k.b.sym("M"), 8);
      Value* cols = k.part(k.b.value(OpKind::Mul, {j, k.b.idx(32)}), k.b.sym("N"), 32);
      k.store(y, k.load(x, {rows, cols}), {rows, cols});
      Differential d(k.take());
      d.tensor("x", random_bits(t, {m, n}, 1));
      d.tensor("y", Buffer(t, {m, n}));
      d.check();
    }
}

TEST(CpuMemory, transposed_reads_and_writes) {
  for (const DType t : {DType::F32, DType::BF16, DType::U8, DType::F64, DType::I4}) {
    SCOPED_TRACE(name(t));
    const std::int64_t m = 45, n = 38;
    KernelMaker k;
    Value* x = k.view("x", t, {Sym::symbol("M"), Sym::symbol("N")});
    Value* y = k.view("y", t, {Sym::symbol("N"), Sym::symbol("M")}, Mode::Out);
    Value* z = k.view("z", t, {Sym::symbol("N"), Sym::symbol("M")}, Mode::Out);
    Value* rows = k.part(k.b.idx(0), k.b.sym("M"), 48);
    Value* cols = k.part(k.b.idx(0), k.b.sym("N"), 40);
    Value* tile = k.load(x, {rows, cols});
    k.store(y, k.b.permute(tile, {1, 0}), {cols, rows});
    Value* zt = k.b.value(OpKind::ViewPermute, {z}, {{Attr::Perm, Dims{1, 0}}});
    k.store(zt, tile, {rows, cols});
    Differential d(k.take());
    d.tensor("x", random_bits(t, {m, n}, 1));
    d.tensor("y", Buffer(t, {n, m}));
    d.tensor("z", Buffer(t, {n, m}));
    d.check();
  }
}

TEST(CpuMemory, gathers_and_scatters) {
  for (const DType t : {DType::F32, DType::BF16, DType::I8, DType::F64, DType::U4}) {
    SCOPED_TRACE(name(t));
    KernelMaker k;
    Value* x = k.view("x", t, {9, 21});
    Value* ids = k.view("ids", DType::I32, {13});
    Value* jds = k.view("jds", DType::I64, {1, 7});
    Value* y = k.view("y", t, {13, 21}, Mode::Out);
    Value* z = k.view("z", t, {13, 7}, Mode::Out);
    Value* w = k.view("w", t, {20, 21}, Mode::InOut);
    Value* one = k.view("one", t, {1}, Mode::Out);
    Value* id = k.load_whole(ids, {13});
    Value* col = k.b.reshape(id, {13, 1});
    k.store_whole(y, k.load(x, {id, k.whole(21)}));
    k.store_whole(z, k.load(x, {col, k.load_whole(jds, {1, 7})}));
    k.store(w, k.load(x, {id, k.whole(21)}), {k.b.cast(id, DType::Idx), k.whole(21)});
    k.store(one, k.b.reshape(k.load(x, {k.b.idx(8), k.b.idx(20)}), {1}), {k.whole(1)});
    Differential d(k.take());
    d.tensor("x", random_bits(t, {9, 21}, 1));
    Buffer& a = d.tensor("ids", Buffer(DType::I32, {13}));
    for (std::int64_t i = 0; i < 13; ++i) a.set_int(i, i * 5 % 14 - 2);
    Buffer& b = d.tensor("jds", Buffer(DType::I64, {1, 7}));
    for (std::int64_t i = 0; i < 7; ++i) b.set_int(i, i * 6 - 3);
    d.tensor("y", Buffer(t, {13, 21}));
    d.tensor("z", Buffer(t, {13, 7}));
    d.tensor("w", random_bits(t, {20, 21}, 2));
    d.tensor("one", Buffer(t, {1}));
    d.check();
  }
}

TEST(CpuMemory, scalar_index_outside_reads_zero_and_writes_nothing) {
  for (const std::int64_t at : {-1, 0, 4, 5}) {
    KernelMaker k;
    Value* x = k.view("x", DType::F32, {5, 20});
    Value* y = k.view("y", DType::F32, {5, 20}, Mode::InOut);
    Value* z = k.view("z", DType::F32, {20}, Mode::Out);
    Value* i = k.scalar("at", DType::I32);
    Value* row = k.load(x, {i, k.whole(20)});
    k.store(y, row, {i, k.whole(20)});
    Value* fixed = k.b.value(OpKind::ViewIndex, {x, k.b.cast(i, DType::Idx)}, {{Attr::Axis, std::int64_t{0}}});
    k.store_whole(z, k.load(fixed, {k.whole(20)}));
    Differential d(k.take());
    d.scalar("at", static_cast<double>(at));
    d.tensor("x", random_bits(DType::F32, {5, 20}, 1));
    d.tensor("y", random_bits(DType::F32, {5, 20}, 2));
    d.tensor("z", Buffer(DType::F32, {20}));
    d.check();
  }
}

TEST(CpuMemory, masked_and_adding_stores) {
  for (const DType t : {DType::F32, DType::F16, DType::BF16, DType::I32, DType::U8, DType::I64}) {
    SCOPED_TRACE(name(t));
    KernelMaker k;
    Value* x = k.view("x", t, {6, 23});
    Value* m = k.view("m", DType::Bool, {6, 23});
    Value* r = k.view("r", DType::Bool, {6, 1});
    Value* ids = k.view("ids", DType::I32, {23});
    Value* y = k.view("y", t, {6, 23}, Mode::InOut);
    Value* z = k.view("z", t, {6, 23}, Mode::InOut);
    Value* sums = k.view("sums", t, {5}, Mode::Add);
    Value* old = k.view("old", t, {23}, Mode::Out);
    Value* count = k.view("count", t, {5}, Mode::Add);
    Value* tile = k.load_whole(x, {6, 23});
    const Attrs masked = {{Attr::Masked, std::int64_t{1}}};
    k.store(y, tile, {k.whole(6), k.whole(23), k.load_whole(m, {6, 23})}, masked);
    k.store(z, tile, {k.whole(6), k.whole(23), k.load_whole(r, {6, 1})}, masked);
    Value* id = k.load_whole(ids, {23});
    Value* first = k.b.reshape(
        k.b.value(OpKind::Slice, {tile}, {{Attr::Axis, std::int64_t{0}}, {Attr::Offset, std::int64_t{1}}, {Attr::Size, std::int64_t{1}}}), {23});
    k.store(sums, first, {id}, {{Attr::Add, std::int64_t{1}}});
    k.store_whole(old, k.b.value(OpKind::FetchAdd, {count, k.b.constant(TileType{t, {23}}, std::int64_t{1}), id}));
    Differential d(k.take());
    d.tensor("x", Buffer(t, {6, 23}).fill_integers(1, 3));
    d.tensor("m", random_bits(DType::Bool, {6, 23}, 2));
    d.tensor("r", random_bits(DType::Bool, {6, 1}, 3));
    Buffer& a = d.tensor("ids", Buffer(DType::I32, {23}));
    for (std::int64_t i = 0; i < 23; ++i) a.set_int(i, i % 7 - 1);
    d.tensor("y", random_bits(t, {6, 23}, 4));
    d.tensor("z", random_bits(t, {6, 23}, 5));
    d.tensor("sums", Buffer(t, {5}));
    d.tensor("old", Buffer(t, {23}));
    d.tensor("count", Buffer(t, {5}));
    d.check();
  }
}

TEST(CpuMemory, merged_split_and_spanned_views) {
  KernelMaker k;
  const Dims dims = {3, 5, 4, 6};
  Value* x = k.view("x", DType::F32, syms(dims));
  Value* y = k.view("y", DType::F32, {15, 24}, Mode::Out);
  Value* z = k.view("z", DType::F32, {20, 18}, Mode::Out);
  Value* w = k.view("w", DType::F32, {2, 3, 15}, Mode::Out);
  Value* back = k.view("back", DType::F32, syms(dims), Mode::InOut);
  auto op = [&](OpKind kind, Value* v, Attrs a) { return k.b.value(kind, {v}, std::move(a)); };
  auto n = [](std::int64_t v) { return v; };
  Value* rows = op(OpKind::ViewMerge, op(OpKind::ViewMerge, x, {{Attr::Axis, n(2)}, {Attr::Last, n(3)}}), {{Attr::Axis, n(0)}, {Attr::Last, n(1)}});
  Value* r15 = k.whole(15);
  Value* c24 = k.whole(24);
  k.store(y, k.load(rows, {r15, c24}), {r15, c24});
  Value* inner = op(OpKind::ViewMerge, op(OpKind::ViewPermute, x, {{Attr::Perm, Dims{1, 2, 0, 3}}}), {{Attr::Axis, n(0)}, {Attr::Last, n(1)}});
  inner = op(OpKind::ViewMerge, inner, {{Attr::Axis, n(1)}, {Attr::Last, n(2)}});
  k.store_whole(z, k.load(inner, {k.whole(20), k.whole(18)}));
  Value* split = op(OpKind::ViewSplit, rows, {{Attr::Axis, n(1)}, {Attr::Size, n(3)}});
  Value* span = k.b.value(OpKind::ViewSpan, {split, k.b.idx(2), k.b.idx(4)}, {{Attr::Axis, n(1)}});
  k.store_whole(w, k.b.permute(k.load(span, {k.whole(15), k.whole(2), k.whole(3)}), {1, 2, 0}));
  Value* target = op(OpKind::ViewMerge, back, {{Attr::Axis, n(0)}, {Attr::Last, n(3)}});
  k.store(target, k.b.reshape(k.load(rows, {r15, c24}), {360}), {k.whole(360)});
  Differential d(k.take());
  d.tensor("x", random_bits(DType::F32, dims, 1));
  d.tensor("y", Buffer(DType::F32, {15, 24}));
  d.tensor("z", Buffer(DType::F32, {20, 18}));
  d.tensor("w", Buffer(DType::F32, {2, 3, 15}));
  d.tensor("back", Buffer(DType::F32, dims));
  d.check();
}

TEST(CpuMemory, taken_rows_and_pages_that_do_not_exist) {
  KernelMaker k;
  Value* pool = k.view("pool", DType::BF16, {4, 8, 20});
  Value* table = k.view("table", DType::I32, {3});
  Value* x = k.view("x", DType::F32, {6, 20});
  Value* ids = k.view("ids", DType::I32, {10});
  Value* len = k.scalar("len", DType::Idx);
  Value* y = k.view("y", DType::BF16, {24, 20}, Mode::Out);
  Value* z = k.view("z", DType::F32, {10, 20}, Mode::Out);
  Value* w = k.view("w", DType::F32, {10, 20}, Mode::Out);
  Value* paged = k.b.value(OpKind::ViewPaged, {pool, table, len});
  Value* rows = k.part(k.b.idx(0), len, 24);
  k.store_whole(y, k.load(paged, {rows, k.whole(20)}, {{Attr::Zero, std::int64_t{1}}}));
  k.store_whole(z, k.load(k.b.value(OpKind::ViewTake, {x, ids}), {k.whole(10), k.whole(20)}));
  k.store_whole(w, k.load(k.b.value(OpKind::ViewTake, {x, k.load_whole(ids, {10})}), {k.whole(10), k.whole(20)}));
  auto kernel = k.take();
  for (const std::int64_t n : {0, 1, 9, 24}) {
    Differential d(kernel->clone());
    d.tensor("pool", random_bits(DType::BF16, {4, 8, 20}, 1));
    Buffer& t = d.tensor("table", Buffer(DType::I32, {3}));
    t.set_int(0, 3);
    t.set_int(1, -1);
    t.set_int(2, 7);
    d.tensor("x", random_bits(DType::F32, {6, 20}, 2));
    Buffer& a = d.tensor("ids", Buffer(DType::I32, {10}));
    for (std::int64_t i = 0; i < 10; ++i) a.set_int(i, i - 2);
    d.scalar("len", static_cast<double>(n));
    d.tensor("y", Buffer(DType::BF16, {24, 20}));
    d.tensor("z", Buffer(DType::F32, {10, 20}));
    d.tensor("w", Buffer(DType::F32, {10, 20}));
    d.check();
  }
}

TEST(CpuMemory, stores_and_loads_of_one_view_keep_their_order) {
  KernelMaker k;
  Value* x = k.view("x", DType::F32, {8, 20}, Mode::InOut);
  Value* y = k.view("y", DType::F32, {8, 20}, Mode::Out);
  Value* r = k.whole(8);
  Value* c = k.whole(20);
  Value* before = k.load(x, {r, c});
  Value* up = k.b.value(OpKind::Add, {before, k.b.constant(ir::scalar(DType::F32), 1.0)});
  k.store(x, up, {r, c});
  Value* after = k.load(x, {r, c});
  Value* second = k.b.value(OpKind::Mul, {after, k.b.constant(ir::scalar(DType::F32), 2.0)});
  // Rows in reverse order: reads elements that the store is about to replace.
  Value* back = k.b.cast(k.b.value(OpKind::Sub, {k.b.idx(7), k.b.op(OpKind::Iota, {}, {}, {TileType{DType::Idx, {8}}})->result()}), DType::I32);
  k.store(x, k.load(x, {back, c}), {r, c});
  k.store(y, k.b.value(OpKind::Add, {k.b.value(OpKind::Add, {second, before}), k.load(x, {k.b.idx(3), k.b.idx(5)})}), {r, c});
  Differential d(k.take());
  d.tensor("x", Buffer(DType::F32, {8, 20}).fill_integers(1, 20));
  d.tensor("y", Buffer(DType::F32, {8, 20}));
  d.check();
}

}  // namespace
}  // namespace tessera::test
