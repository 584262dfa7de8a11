#include "codegen/passes/coverage.h"

#include <gtest/gtest.h>

#include "codegen/passes/fold.h"
#include "tests/passes/kernels.h"
#include "tests/passes/support.h"

namespace tessera::test {
namespace {

/// Codes reported for the kernel after folding.
std::vector<Code> codes(std::unique_ptr<Kernel> kernel) {
  ir::fold(*kernel);
  expect_sound(*kernel);
  Diagnostics ds;
  ir::coverage(*kernel, ds);
  std::vector<Code> out;
  for (const Diagnostic& d : ds.list()) {
    out.push_back(d.code);
    EXPECT_NE(d.help.find("scatter"), std::string::npos);
  }
  return out;
}

using Codes = std::vector<Code>;
const Sym M = Sym::symbol("M"), N = Sym::symbol("N");

/// y[M, N] stored by `body`; grid axis i runs over `count`.
std::unique_ptr<Kernel> stores(const Sym& count, const std::function<void(KernelBuilder&, Value* y, Value* i)>& body) {
  KernelBuilder k("stores", {"M", "N"});
  Value* y = k.view("y", DType::F32, {M, N}, ir::Mode::Out);
  Value* i = k.grid("i", count);
  body(k, y, i);
  return k.finish();
}
void columns(KernelBuilder& k, Value* y, Value* i, std::int64_t size = 8) {
  k.loop(k.idx(0), k.sym("N"), k.idx(size), {}, [&](Value* j, const auto&) -> std::vector<Value*> {
    k.b.op(OpKind::Store, {y, k.fill(1, {size}), i, k.b.range(j, k.idx(0), k.sym("N"), size)});
    return {};
  });
}

TEST(Coverage, WholeKernelsPass) {
  EXPECT_EQ(codes(attention({})), Codes{});
  EXPECT_EQ(codes(gemm(8, 16, 8)), Codes{});
  EXPECT_EQ(codes(stores(M, [](auto& k, Value* y, Value* i) { columns(k, y, i); })), Codes{});
}

TEST(Coverage, NeverStored) {
  EXPECT_EQ(codes(stores(M, [](auto&, Value*, Value*) {})), Codes{Code::E0501});
}

TEST(Coverage, TilesThatLeaveGaps) {
  auto tiles = [](std::int64_t distance, std::int64_t size) {
    return stores(ceil_div(M, distance), [=](KernelBuilder& k, Value* y, Value* i) {
      Value* mi = k.b.range(k.mul(i, k.idx(distance)), k.idx(0), k.sym("M"), size);
      k.loop(k.idx(0), k.sym("N"), k.idx(4), {}, [&](Value* j, const auto&) -> std::vector<Value*> {
        k.b.op(OpKind::Store, {y, k.fill(1, {size, 4}), mi, k.b.range(j, k.idx(0), k.sym("N"), 4)});
        return {};
      });
    });
  };
  EXPECT_EQ(codes(tiles(8, 8)), Codes{});
  EXPECT_EQ(codes(tiles(8, 4)), Codes{Code::E0502}) << "gaps";
  EXPECT_EQ(codes(tiles(4, 8)), Codes{Code::E0502}) << "overlap";
}

TEST(Coverage, TooFewInstances) {
  EXPECT_EQ(codes(stores(M - 1, [](auto& k, Value* y, Value* i) { columns(k, y, i); })), Codes{Code::E0502});
  EXPECT_EQ(codes(stores(M + 3, [](auto& k, Value* y, Value* i) { columns(k, y, i); })), Codes{}) << "indices beyond the axis write nothing";
}

TEST(Coverage, GridAxisThatDoesNotMatter) {
  KernelBuilder k("twice", {"M", "N"});
  Value* y = k.view("y", DType::F32, {M, N}, ir::Mode::Out);
  Value* i = k.grid("i", M);
  k.grid("j", N);
  columns(k, y, i);
  EXPECT_EQ(codes(k.finish()), Codes{Code::E0503});
}

TEST(Coverage, SameStoreInEveryTrip) {
  EXPECT_EQ(codes(stores(M,
                         [](KernelBuilder& k, Value* y, Value* i) {
                           k.loop(k.idx(0), k.sym("N"), k.idx(1), {}, [&](Value*, const auto&) -> std::vector<Value*> {
                             columns(k, y, i);
                             return {};
                           });
                         })),
            Codes{Code::E0503});
}

TEST(Coverage, ArmsOfAnIf) {
  auto branch = [](bool both) {
    return stores(M, [=](KernelBuilder& k, Value* y, Value* i) {
      Op* op = k.b.if_else(k.op(OpKind::Lt, {i, k.idx(3)}), {});
      Block& outer = k.b.block();
      for (std::size_t arm : {0U, 1U}) {
        k.b.set_block(op->region(arm));
        if (both || arm == 0) columns(k, y, i);
        k.b.yield({});
      }
      k.b.set_block(outer);
    });
  };
  EXPECT_EQ(codes(branch(true)), Codes{});
  EXPECT_EQ(codes(branch(false)), Codes{Code::E0502}) << "as after an early return";
}

TEST(Coverage, StoresSideBySideAreOne) {
  auto halves = [](std::int64_t second) {
    KernelBuilder k("halves", {"M"});
    Value* y = k.view("y", DType::F32, {M, 8}, ir::Mode::Out);
    Value* i = k.grid("i", M);
    for (std::int64_t at : {second, std::int64_t{0}}) {
      Value* r = k.b.range(k.idx(at), k.idx(at), k.idx(at + 4), 4);
      k.b.op(OpKind::Store, {y, k.fill(1, {4}), i, r});
    }
    return k.finish();
  };
  EXPECT_EQ(codes(halves(4)), Codes{});
  EXPECT_EQ(codes(halves(3)), Codes{Code::E0502});
  EXPECT_EQ(codes(halves(0)), Codes{Code::E0502});
}

TEST(Coverage, UnrolledStoresOfColumns) {
  KernelBuilder k("unrolled", {"M"});
  Value* y = k.view("y", DType::F32, {M, 3}, ir::Mode::Out);
  Value* i = k.grid("i", ceil_div(M, 4));
  Value* mi = k.b.range(k.mul(i, k.idx(4)), k.idx(0), k.sym("M"), 4);
  for (std::int64_t c = 0; c < 3; ++c) k.b.op(OpKind::Store, {y, k.fill(1, {4}), mi, k.idx(c)});
  EXPECT_EQ(codes(k.finish()), Codes{});
}

TEST(Coverage, DigitsOfOneGridIndex) {
  KernelBuilder k("digits", {"M", "N"});
  Value* y = k.view("y", DType::F32, {M, N}, ir::Mode::Out);
  Value* i = k.grid("i", M * N);
  k.b.op(OpKind::Store, {y, k.f32(1), k.op(OpKind::Div, {i, k.sym("N")}), k.op(OpKind::Mod, {i, k.sym("N")})});
  EXPECT_EQ(codes(k.finish()), Codes{});
}

TEST(Coverage, MergedAndSlicedHeads) {
  // o[b, :, g*R .. (g+1)*R, :] merged to rows, as packed GQA stores it.
  const Sym B = Sym::symbol("B"), S = Sym::symbol("S"), H = Sym::symbol("H"), G = Sym::symbol("G");
  auto packed = [&](std::int64_t width) {
    KernelBuilder k("packed", {"B", "S", "H", "G"});
    k.kernel->where.push_back({Compare::Eq, H, {G * 4}});
    Value* o = k.view("o", DType::F32, {B, S, H, 8}, ir::Mode::Out);
    Value* t = k.grid("t", ceil_div(S * 4, 16));
    Value* g = k.grid("g", G);
    Value* b = k.grid("b", B);
    Value* v = k.op(OpKind::ViewIndex, {o, b}, {{Attr::Axis, std::int64_t{0}}});
    Value* lo = k.mul(g, k.idx(4));
    v = k.op(OpKind::ViewSpan, {v, lo, k.add(lo, k.idx(width))}, {{Attr::Axis, std::int64_t{1}}});
    v = k.op(OpKind::ViewMerge, {v}, {{Attr::Axis, std::int64_t{0}}, {Attr::Last, std::int64_t{1}}});
    Value* n = k.op(OpKind::Extent, {v}, {{Attr::Axis, std::int64_t{0}}});
    Value* r = k.b.range(k.mul(t, k.idx(16)), k.idx(0), n, 16);
    k.b.op(OpKind::Store, {v, k.fill(1, {16, 8}), r, k.whole(8)});
    return k.finish();
  };
  EXPECT_EQ(codes(packed(4)), Codes{});
  EXPECT_EQ(codes(packed(3)), Codes{Code::E0502});
}

TEST(Coverage, RoundedUpScales) {
  // One scale a tile: sf[ceil(M / 8)], and per 32 of a tile of 64.
  const Sym K = Sym::symbol("K");
  KernelBuilder k("scales", {"M", "K"});
  Value* sf = k.view("sf", DType::F32, {ceil_div(M, 8), floor_div(K, 32)}, ir::Mode::Out);
  Value* i = k.grid("i", ceil_div(M, 8));
  Value* j = k.grid("j", ceil_div(K, 64));
  Value* hi = k.op(OpKind::Div, {k.sym("K"), k.idx(32)});
  Value* start = k.op(OpKind::Div, {k.mul(j, k.idx(64)), k.idx(32)});
  Value* block = k.op(OpKind::Div, {k.mul(i, k.idx(8)), k.idx(8)});
  k.b.op(OpKind::Store, {sf, k.fill(1, {2}), block, k.b.range(start, k.idx(0), hi, 2)});
  EXPECT_EQ(codes(k.finish()), Codes{});
}

TEST(Coverage, MaskedStores) {
  auto masked = [](bool same_axis) {
    KernelBuilder k("masked", {"M", "N"});
    Value* y = k.view("y", DType::F32, {M}, ir::Mode::Out);
    Value* i = k.grid("i", ceil_div(M, 8));
    Value* start = k.mul(i, k.idx(8));
    Value* mi = k.b.range(start, k.idx(0), k.sym("M"), 8);
    Value* other = k.b.range(start, k.idx(0), k.sym(same_axis ? "M" : "N"), 8);
    k.b.op(OpKind::Store, {y, k.fill(1, {8}), mi, k.op(OpKind::Inside, {other})}, {{Attr::Masked, std::int64_t{1}}});
    return k.finish();
  };
  EXPECT_EQ(codes(masked(true)), Codes{});
  EXPECT_EQ(codes(masked(false)), Codes{Code::E0502});
}

TEST(Coverage, IndicesFromMemory) {
  KernelBuilder k("scattered", {"M"});
  Value* at = k.view("at", DType::I32, {M});
  Value* y = k.view("y", DType::F32, {M}, ir::Mode::Out);
  Value* i = k.grid("i", M);
  k.b.op(OpKind::Store, {y, k.f32(1), k.b.cast(k.op(OpKind::Load, {at, i}), DType::Idx)});
  EXPECT_EQ(codes(k.finish()), Codes{Code::E0502});
}

using Pairs = std::vector<std::pair<std::string, std::string>>;

/// y = f(x) row by row; `reread` loads x again after the store, `shift` reads other rows.
Pairs in_place(bool reread, std::int64_t shift) {
  KernelBuilder k("rows", {"M", "N"});
  Value* x = k.view("x", DType::F32, {M, N});
  Value* y = k.view("y", DType::F32, {M, N}, ir::Mode::Out);
  Value* s = k.view("s", DType::F32, {M}, ir::Mode::Out);
  Value* i = k.grid("i", M);
  auto row = [&](Value* j) { return k.op(OpKind::Load, {x, shift ? k.add(i, k.idx(shift)) : i, k.b.range(j, k.idx(0), k.sym("N"), 8)}); };
  auto sum = k.loop(k.idx(0), k.sym("N"), k.idx(8), {k.fill(0, {8})},
                    [&](Value* j, const auto& st) -> std::vector<Value*> { return {k.add(st[0], row(j))}; });
  k.loop(k.idx(0), k.sym("N"), k.idx(8), {}, [&](Value* j, const auto&) -> std::vector<Value*> {
    k.b.op(OpKind::Store, {y, k.add(row(j), sum[0]), i, k.b.range(j, k.idx(0), k.sym("N"), 8)});
    return {};
  });
  auto last = k.fill(0, {8});
  if (reread)
    last = k.loop(k.idx(0), k.sym("N"), k.idx(8), {last}, [&](Value* j, const auto& st) -> std::vector<Value*> { return {k.add(st[0], row(j))}; })[0];
  k.b.op(OpKind::Store, {s, k.b.reshape(k.b.reduce(ReduceKind::Sum, last, 0), {}), i});
  auto kernel = k.finish();
  EXPECT_EQ(codes(kernel->clone()), Codes{});
  ir::fold(*kernel);
  Diagnostics ds;
  ir::coverage(*kernel, ds);
  return kernel->in_place;
}

TEST(Coverage, InPlacePairs) {
  EXPECT_EQ(in_place(false, 0), (Pairs{{"y", "x"}}));
  EXPECT_EQ(in_place(true, 0), Pairs{}) << "read again after it was written";
  EXPECT_EQ(in_place(false, 1), Pairs{}) << "another instance's row";
}

}  // namespace
}  // namespace tessera::test
