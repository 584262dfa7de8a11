#include <gmock/gmock.h>

#include <limits>

#include "tests/dsl/interpret_support.h"

namespace tessera::test {
namespace {

using ir::Attr;
using ir::Attrs;
using ir::Mode;
using ir::OpKind;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t kPoison32 = 0x5a5a5a5a;
const Attrs kZero = {{Attr::Zero, std::int64_t{1}}};
const Attrs kAdd = {{Attr::Add, std::int64_t{1}}};
const Attrs kMasked = {{Attr::Masked, std::int64_t{1}}};

/// A maker with an input and an output view, and the means to run it.
struct Bench : KernelMaker {
  std::vector<std::pair<std::string, Buffer*>> bound;

  ir::Value* in(const std::string& name, Buffer& data) { return bind(name, data, Mode::In); }
  ir::Value* out(const std::string& name, Buffer& data) { return bind(name, data, Mode::InOut); }
  ir::Value* bind(const std::string& name, Buffer& data, Mode mode) {
    bound.emplace_back(name, &data);
    return view(name, data, mode);
  }
  ir::Value* range(std::int64_t start, std::int64_t lo, std::int64_t hi, std::int64_t size) {
    return b.range(b.idx(start), b.idx(lo), b.idx(hi), size);
  }
  ir::Value* load(const Values& operands, Attrs attrs = {}) { return b.value(OpKind::Load, operands, std::move(attrs)); }
  void store(const Values& operands, Attrs attrs = {}) { b.op(OpKind::Store, operands, std::move(attrs)); }
  /// Stores a tile whole into a view of its dims.
  void keep(ir::Value* tile, ir::Value* view) {
    Values operands = all(view, ir::tile(tile->type).dims);
    operands.insert(operands.begin() + 1, tile);
    store(operands);
  }
  void run(const InterpretOptions& options = {}) {
    b.yield({});
    Launch launch(kernel);
    for (const auto& [name, data] : bound) launch.view(name, *data);
    interpret(kernel, launch.frame(), options);
  }
};

Buffer grid23() { return floats(DType::F32, {2, 3}, {0, 1, 2, 10, 11, 12}); }

void partial_loads() {
  Buffer x = ints(DType::I32, {5}, {1, 2, 3, 4, 5});
  Buffer f = floats(DType::BF16, {5}, {1, 2, 3, 4, 5});
  for (const bool poison : {true, false}) {
    Buffer dirty(DType::I32, {4}), clean(DType::I32, {4}), floating(DType::BF16, {4}), inner(DType::I32, {4});
    Bench t;
    ir::Value* v = t.in("x", x);
    ir::Value* w = t.in("f", f);
    ir::Value* r = t.range(3, 0, 5, 4);
    t.keep(t.load({v, r}), t.out("dirty", dirty));
    t.keep(t.load({v, r}, kZero), t.out("clean", clean));
    t.keep(t.load({w, r}), t.out("floating", floating));
    t.keep(t.load({v, t.range(1, 2, 4, 4)}), t.out("inner", inner));
    InterpretOptions options;
    options.poison = poison;
    t.run(options);
    const std::int64_t p = poison ? kPoison32 : 0;
    expect_ints(dirty, {4, 5, p, p}, "beyond hi");
    expect_ints(clean, {4, 5, 0, 0}, "zero");
    expect_values(floating, {4, 5, poison ? kNaN : 0, poison ? kNaN : 0}, "floats");
    expect_ints(inner, {p, 3, 4, p}, "below lo and beyond hi");
  }
}

void scalar_and_tile_indices() {
  Buffer x = grid23();
  Buffer ids = ints(DType::I32, {2, 2}, {1, -1, 0, 5});
  Buffer rows = ints(DType::I32, {3}, {1, 7, 0});
  Buffer one(DType::F32, {}), none(DType::F32, {}), row(DType::F32, {3}), points(DType::F32, {2, 2}), gathered(DType::F32, {3, 2}),
      last(DType::F32, {2, 3});
  Bench t;
  ir::Value* v = t.in("x", x);
  ir::Value* i = t.load(t.all(t.in("ids", ids), ids.dims));
  ir::Value* r = t.load(t.all(t.in("rows", rows), rows.dims));
  t.keep(t.load({v, t.b.idx(1), t.b.idx(2)}), t.out("one", one));
  t.keep(t.load({v, t.b.idx(1), t.b.idx(3)}), t.out("none", none));
  t.keep(t.load({v, t.b.idx(1), t.all(3)}), t.out("row", row));
  t.keep(t.load({v, i, t.b.idx(1)}), t.out("points", points));
  t.keep(t.load({v, r, t.range(1, 0, 3, 2)}), t.out("gathered", gathered));
  t.keep(t.load({v, t.all(2), r}), t.out("last", last));
  t.run();
  expect_values(one, {12}, "scalars");
  expect_values(none, {0}, "outside");
  expect_values(row, {10, 11, 12}, "scalar and range");
  expect_values(points, {11, 0, 1, 0}, "pointwise");
  expect_values(gathered, {11, 12, 0, 0, 1, 2}, "row gather");
  expect_values(last, {1, 0, 0, 11, 0, 10}, "gather on the last axis");
}

void pointwise_broadcast() {
  Buffer x = grid23();
  Buffer rows = ints(DType::Idx, {2, 1}, {1, 0});
  Buffer cols = ints(DType::Idx, {1, 2}, {2, 0});
  Buffer got(DType::F32, {2, 2});
  Bench t;
  ir::Value* v = t.in("x", x);
  ir::Value* r = t.load(t.all(t.in("rows", rows), rows.dims));
  ir::Value* c = t.load(t.all(t.in("cols", cols), cols.dims));
  t.keep(t.load({v, r, c}), t.out("got", got));
  t.run();
  expect_values(got, {12, 10, 2, 0}, "rows by columns");
}

void stores() {
  Buffer y = floats(DType::F32, {6}, {9, 9, 9, 9, 9, 9});
  Buffer masked = y, added = y, scattered = y;
  Buffer x = floats(DType::F32, {4}, {1, 2, 3, 4});
  Buffer when = ints(DType::Bool, {4}, {1, 0, 1, 0});
  Buffer ids = ints(DType::I32, {4}, {2, -1, 2, 6});
  Bench t;
  ir::Value* v = t.load(t.all(t.in("x", x), x.dims));
  ir::Value* w = t.load(t.all(t.in("when", when), when.dims));
  ir::Value* i = t.load(t.all(t.in("ids", ids), ids.dims));
  t.store({t.out("y", y), v, t.range(4, 0, 6, 4)});
  t.store({t.out("masked", masked), v, t.range(0, 0, 6, 4), w}, kMasked);
  ir::Value* a = t.out("added", added);
  t.store({a, v, i}, kAdd);
  t.store({a, v, t.range(3, 0, 5, 4)}, kAdd);
  t.store({t.out("scattered", scattered), v, i});
  t.run();
  expect_values(y, {9, 9, 9, 9, 1, 2}, "partial");
  expect_values(masked, {1, 9, 3, 9, 9, 9}, "masked");
  expect_values(added, {9, 9, 13, 10, 11, 9}, "add, twice at 2");
  expect_values(scattered, {9, 9, 3, 9, 9, 9}, "outside writes nothing, the last wins");
}

void fetch_adds() {
  Buffer y = ints(DType::I32, {3}, {10, 20, 30});
  Buffer ids = ints(DType::I32, {5}, {0, 0, -1, 2, 0});
  Buffer x = ints(DType::I32, {5}, {1, 2, 4, 8, 16});
  Buffer old(DType::I32, {5});
  Bench t;
  ir::Value* i = t.load(t.all(t.in("ids", ids), ids.dims));
  ir::Value* v = t.load(t.all(t.in("x", x), x.dims));
  ir::Value* got = t.b.value(OpKind::FetchAdd, {t.out("y", y), v, i});
  t.keep(got, t.out("old", old));
  t.run();
  expect_ints(old, {10, 11, 0, 30, 13}, "old values in order");
  expect_ints(y, {29, 20, 38}, "sums");
}

void nibbles() {
  Buffer x = ints(DType::I4, {5}, {1, -2, 3, -4, 5});
  Buffer y = ints(DType::I4, {6}, {7, 7, 7, 7, 7, 7});
  Buffer f = floats(DType::E2M1, {4}, {0.5, -6, 1.5, 3});
  Buffer g(DType::E2M1, {4});
  EXPECT_EQ(x.bytes[0], 0xe1);  // the low nibble is the even element
  Bench t;
  ir::Value* v = t.load({t.in("x", x), t.range(1, 0, 5, 3)});
  t.store({t.out("y", y), v, t.range(1, 0, 6, 3)});
  t.keep(t.load(t.all(t.in("f", f), f.dims)), t.out("g", g));
  t.run();
  expect_ints(y, {7, -2, 3, -4, 7, 7}, "neighbours stay");
  expect_values(g, {0.5, -6, 1.5, 3}, "e2m1");
}

void ranges() {
  Buffer c(DType::Idx, {4}), i(DType::Bool, {4}), full(DType::Bool, {4});
  Bench t;
  ir::Value* r = t.range(-1, 0, 2, 4);
  t.keep(t.b.value(OpKind::Coords, {r}), t.out("c", c));
  t.keep(t.b.value(OpKind::Inside, {r}), t.out("i", i));
  ir::Value* f = t.b.value(OpKind::Range, {t.b.idx(0), t.b.idx(0), t.b.idx(0)}, {{Attr::Size, std::int64_t{4}}, {Attr::Full, std::int64_t{1}}});
  t.keep(t.b.value(OpKind::Inside, {f}), t.out("full", full));
  t.run();
  expect_ints(c, {-1, 0, 1, 2}, "coords");
  expect_ints(i, {0, 1, 1, 0}, "inside");
  expect_ints(full, {1, 1, 1, 1}, "full");
}

void range_beyond_axis() {
  Buffer x = grid23();
  Buffer y(DType::F32, {2, 4});
  Bench t;
  t.keep(t.load({t.in("x", x), t.all(2), t.range(0, 0, 4, 4)}), t.out("y", y));
  try {
    t.run();
    FAIL() << "a range beyond its axis went unnoticed";
  } catch (const InterpretError& e) {
    EXPECT_THAT(e.what(), testing::AllOf(testing::HasSubstr("load"), testing::HasSubstr("axis 1"), testing::HasSubstr("3")));
  }
}

/// Loads the whole of what `make` turns the input into.
Buffer through(Buffer x, ir::Dims dims, const std::function<ir::Value*(Bench&, ir::Value*)>& make) {
  Buffer y(x.dtype, dims);
  Bench t;
  ir::Value* v = make(t, t.in("x", x));
  t.keep(t.load(t.all(v, dims)), t.out("y", y));
  t.run();
  return y;
}

Attrs axis(std::int64_t a) { return {{Attr::Axis, a}}; }

void view_index() {
  expect_values(through(grid23(), {3}, [](Bench& t, ir::Value* v) { return t.b.value(OpKind::ViewIndex, {v, t.b.idx(1)}, axis(0)); }), {10, 11, 12},
                "row");
  expect_values(through(grid23(), {2}, [](Bench& t, ir::Value* v) { return t.b.value(OpKind::ViewIndex, {v, t.b.idx(2)}, axis(1)); }), {2, 12},
                "column");
  expect_values(through(grid23(), {3}, [](Bench& t, ir::Value* v) { return t.b.value(OpKind::ViewIndex, {v, t.b.idx(2)}, axis(0)); }), {0, 0, 0},
                "outside");
}

void view_span() {
  const auto span = [](std::int64_t lo, std::int64_t hi, std::int64_t n) {
    return through(floats(DType::F32, {5}, {0, 1, 2, 3, 4}), {n}, [&](Bench& t, ir::Value* v) {
      ir::Value* s = t.b.value(OpKind::ViewSpan, {v, t.b.idx(lo), t.b.idx(hi)}, axis(0));
      return s;
    });
  };
  expect_values(span(1, 4, 3), {1, 2, 3}, "inside");
  expect_values(span(3, 9, 2), {3, 4}, "clipped");
  expect_values(span(-2, 2, 2), {0, 1}, "clipped below");
  EXPECT_THROW(span(3, 9, 3), InterpretError);
  EXPECT_THROW(span(4, 2, 1), InterpretError);
  Buffer x(DType::F32, {5}), e = ints(DType::Idx, {}, {7});
  Bench t;
  ir::Value* empty = t.b.value(OpKind::ViewSpan, {t.in("x", x), t.b.idx(4), t.b.idx(2)}, axis(0));
  t.keep(t.b.value(OpKind::Extent, {empty}, axis(0)), t.out("e", e));
  t.run();
  expect_ints(e, {0}, "hi below lo");
}

void view_permute() {
  const auto y = through(floats(DType::F32, {1, 2, 3}, {0, 1, 2, 10, 11, 12}), {3, 1, 2},
                         [](Bench& t, ir::Value* v) { return t.b.value(OpKind::ViewPermute, {v}, {{Attr::Perm, ir::Dims{2, 0, 1}}}); });
  expect_values(y, {0, 10, 1, 11, 2, 12}, "permuted");
}

void view_merge_and_split() {
  Buffer x(DType::F32, {2, 3, 2});
  for (int k = 0; k < 12; ++k) x.set(k, k);
  const Buffer merged = through(x, {2, 6}, [](Bench& t, ir::Value* v) {
    return t.b.value(OpKind::ViewMerge, {v}, {{Attr::Axis, std::int64_t{1}}, {Attr::Last, std::int64_t{2}}});
  });
  expect_values(merged, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, "merge");
  // Merging axes that do not lie next to one another in memory: the map is mixed-radix.
  const Buffer swapped = through(x, {6, 2}, [](Bench& t, ir::Value* v) {
    ir::Value* p = t.b.value(OpKind::ViewPermute, {v}, {{Attr::Perm, ir::Dims{2, 1, 0}}});
    return t.b.value(OpKind::ViewMerge, {p}, {{Attr::Axis, std::int64_t{0}}, {Attr::Last, std::int64_t{1}}});
  });
  expect_values(swapped, {0, 6, 2, 8, 4, 10, 1, 7, 3, 9, 5, 11}, "merge of permuted axes");
  const Buffer split = through(floats(DType::F32, {7}, {0, 1, 2, 3, 4, 5, 6}), {3, 2}, [](Bench& t, ir::Value* v) {
    return t.b.value(OpKind::ViewSplit, {v}, {{Attr::Axis, std::int64_t{0}}, {Attr::Size, std::int64_t{2}}});
  });
  expect_values(split, {0, 1, 2, 3, 4, 5}, "split leaves the tail out");
  const Buffer both = through(x, {2, 3, 2}, [](Bench& t, ir::Value* v) {
    ir::Value* m = t.b.value(OpKind::ViewMerge, {v}, {{Attr::Axis, std::int64_t{0}}, {Attr::Last, std::int64_t{2}}});
    ir::Value* s = t.b.value(OpKind::ViewSplit, {m}, {{Attr::Axis, std::int64_t{0}}, {Attr::Size, std::int64_t{6}}});
    return t.b.value(OpKind::ViewSplit, {s}, {{Attr::Axis, std::int64_t{1}}, {Attr::Size, std::int64_t{2}}});
  });
  expect_values(both, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, "there and back");
}

void view_paged() {
  Buffer pool(DType::F32, {3, 2, 2});  // 3 pages of 2 rows of 2
  for (int k = 0; k < 12; ++k) pool.set(k, k);
  Buffer table = ints(DType::I32, {4}, {2, 0, 9, -1});
  Buffer got(DType::F32, {8, 2}), extent(DType::Idx, {});
  Buffer written = pool;
  Bench t;
  ir::Value* tab = t.in("table", table);
  ir::Value* v = t.b.value(OpKind::ViewPaged, {t.in("pool", pool), tab, t.b.idx(8)});
  ir::Value* x = t.load(t.all(v, {8, 2}));
  t.keep(x, t.out("got", got));
  t.keep(t.b.value(OpKind::Extent, {v}, axis(0)), t.out("extent", extent));
  ir::Value* w = t.b.value(OpKind::ViewPaged, {t.out("written", written), tab, t.b.idx(7)});
  Values operands = {w, t.b.constant({DType::F32, {4, 2}}, 99.0), t.range(3, 0, 7, 4), t.all(2)};
  t.store(operands);
  t.run();
  expect_values(got, {8, 9, 10, 11, 0, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0}, "pages in table order; pages that do not exist read as zero");
  expect_ints(extent, {8}, "n");
  expect_values(written, {0, 1, 99, 99, 4, 5, 6, 7, 8, 9, 10, 11}, "rows 3 .. 6; rows 4 and up have no page");
}

void view_take() {
  Buffer ids = ints(DType::I32, {3}, {1, -1, 0});
  const auto want = {10., 11., 12., 0., 0., 0., 0., 1., 2.};
  Buffer x = grid23();
  Buffer by_view(DType::F32, {3, 3}), by_tile(DType::F32, {3, 3}), extent(DType::Idx, {});
  Bench t;
  ir::Value* v = t.in("x", x);
  ir::Value* i = t.in("ids", ids);
  ir::Value* taken = t.b.value(OpKind::ViewTake, {v, i});
  t.keep(t.load(t.all(taken, {3, 3})), t.out("by_view", by_view));
  t.keep(t.load(t.all(t.b.value(OpKind::ViewTake, {v, t.load(t.all(i, {3}))}), {3, 3})), t.out("by_tile", by_tile));
  t.keep(t.b.value(OpKind::Extent, {taken}, axis(0)), t.out("extent", extent));
  t.run();
  expect_values(by_view, want, "view of ids");
  expect_values(by_tile, want, "tile of ids");
  expect_ints(extent, {3}, "extent");
}

void view_peer() {
  Buffer a = floats(DType::F32, {2}, {1, 2});
  Buffer b = floats(DType::F32, {2}, {3, 4});
  Buffer got(DType::F32, {2}), none(DType::F32, {2});
  Bench t;
  ir::Value* v = t.in("x", a);
  t.kernel.params[0].peers = 2;
  t.keep(t.load(t.all(t.b.value(OpKind::ViewPeer, {v, t.b.idx(1)}), {2})), t.out("got", got));
  t.keep(t.load(t.all(t.b.value(OpKind::ViewPeer, {v, t.b.idx(2)}), {2})), t.out("none", none));
  t.b.yield({});
  Launch launch(t.kernel);
  for (const auto& [name, data] : t.bound) launch.view(name, *data);
  launch.peer("x", 0, a.bytes.data()).peer("x", 1, b.bytes.data());
  interpret(t.kernel, launch.frame());
  expect_values(got, {3, 4}, "rank 1");
  expect_values(none, {0, 0}, "no such rank");
}

void extents_and_symbols() {
  Buffer x = grid23();
  Buffer e(DType::Idx, {}), n(DType::Idx, {});
  KernelMaker t;
  ir::Value* v = t.view("x", DType::F32, {Sym(2), Sym::symbol("N")}, Mode::In);
  ir::Value* ve = t.view("e", e, Mode::Out);
  ir::Value* vn = t.view("n", n, Mode::Out);
  ir::Value* span = t.b.value(OpKind::ViewSpan, {v, t.b.idx(1), t.b.idx(9)}, axis(1));
  t.b.op(OpKind::Store, {ve, t.b.value(OpKind::Extent, {span}, axis(1))});
  t.b.op(OpKind::Store, {vn, t.b.sym("N")});
  t.b.yield({});
  Launch launch(t.kernel);
  launch.view("x", x).view("e", e).view("n", n);
  interpret(t.kernel, launch.frame());
  expect_ints(e, {2}, "clipped extent");
  expect_ints(n, {3}, "N");
}

void strided_memory() {
  Buffer memory = floats(DType::F32, {8}, {0, 1, 2, 3, 4, 5, 6, 7});
  Buffer y(DType::F32, {2, 2});
  Bench t;
  ir::Value* v = t.view("x", DType::F32, {2, 2}, Mode::In);
  t.keep(t.load(t.all(v, {2, 2})), t.out("y", y));
  t.b.yield({});
  Launch launch(t.kernel);
  launch.view("x", memory.bytes.data(), {2, 2}, {5, 2}).view("y", y);
  interpret(t.kernel, launch.frame());
  expect_values(y, {0, 2, 5, 7}, "strides in elements");
}

void signals() {
  Buffer flag = ints(DType::U32, {3}, {0, 0, 0});
  Buffer got(DType::U32, {});
  for (const std::int64_t want : {5, 6}) {
    Bench t;
    ir::Value* v = t.out("flag", flag);
    t.b.op(OpKind::Signal, {v, t.b.constant(ir::scalar(DType::U32), std::int64_t{5}), t.b.idx(1)});
    ir::Op* wait = t.b.op(OpKind::Wait, {v, t.b.idx(1)});
    ir::Block& region = wait->region();
    region.add_arg(ir::scalar(DType::U32));
    ir::Builder r(region);
    r.yield({r.value(OpKind::Eq, {region.args[0].get(), r.constant(ir::scalar(DType::U32), want)})});
    t.keep(wait->result(), t.out("got", got));
    if (want == 5) {
      t.run();
      expect_ints(got, {5}, "seen");
    } else {
      EXPECT_THROW(t.run(), InterpretError);
    }
  }
}

}  // namespace

std::vector<Case> memory_cases() {
  return {
      {OpKind::Load, "partial ranges", partial_loads},
      {OpKind::Load, "scalar and tile indices", scalar_and_tile_indices},
      {OpKind::Load, "pointwise broadcast", pointwise_broadcast},
      {OpKind::Load, "nibbles", nibbles},
      {OpKind::Load, "strides", strided_memory},
      {OpKind::Store, "partial, masked, added, scattered", stores},
      {OpKind::FetchAdd, "one after the other", fetch_adds},
      {OpKind::Range, "coordinates and validity", ranges},
      {OpKind::Range, "beyond its axis", range_beyond_axis},
      {OpKind::Coords, "", ranges},
      {OpKind::Inside, "", ranges},
      {OpKind::ViewIndex, "", view_index},
      {OpKind::ViewSpan, "clips", view_span},
      {OpKind::ViewPermute, "", view_permute},
      {OpKind::ViewMerge, "", view_merge_and_split},
      {OpKind::ViewSplit, "", view_merge_and_split},
      {OpKind::ViewPaged, "", view_paged},
      {OpKind::ViewTake, "", view_take},
      {OpKind::ViewPeer, "", view_peer},
      {OpKind::Extent, "", extents_and_symbols},
      {OpKind::Sym, "", extents_and_symbols},
      {OpKind::Signal, "", signals},
      {OpKind::Wait, "", signals},
  };
}

}  // namespace tessera::test
