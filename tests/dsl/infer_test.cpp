// The type rules, as the builder applies them: what each accepts and gives, what it refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dsl/builder.h"
#include "dsl/diagnostic.h"

namespace tessera::ir {
namespace {

using ::testing::HasSubstr;

class Infer : public ::testing::Test {
 protected:
  Value* tile(DType t, Dims dims) { return body_.add_arg(TileType{t, std::move(dims)}); }
  Value* f32(Dims dims) { return tile(DType::F32, std::move(dims)); }
  Value* idx() { return tile(DType::Idx, {}); }
  Value* range(std::int64_t n) { return body_.add_arg(RangeType{n}); }
  Value* view(DType t, int rank, Mode m = Mode::InOut) { return body_.add_arg(ViewType{t, rank, m}); }

  static Attrs axis(std::int64_t a) { return {{Attr::Axis, a}}; }
  static Attrs reduce(ReduceKind k, std::int64_t a) { return {{Attr::Kind, static_cast<std::int64_t>(k)}, {Attr::Axis, a}}; }

  std::string type(OpKind k, std::vector<Value*> operands, Attrs attrs = {}, std::vector<Type> stated = {}) {
    Op* op = b_.op(k, std::move(operands), std::move(attrs), std::move(stated));
    std::string s;
    for (const auto& r : op->results) s += (s.empty() ? "" : " ") + str(r->type);
    return s;
  }
  void refuses(const std::string& why, OpKind k, std::vector<Value*> operands, Attrs attrs = {}, std::vector<Type> stated = {}) {
    try {
      b_.op(k, std::move(operands), std::move(attrs), std::move(stated));
      ADD_FAILURE() << "accepted: " << info(k).name << ", expected: " << why;
    } catch (const InternalError& e) {
      EXPECT_THAT(e.what(), HasSubstr(why));
    }
  }

  Block body_;
  Builder b_{body_};
};

TEST_F(Infer, ElementwiseBroadcasts) {
  EXPECT_EQ(type(OpKind::Add, {f32({4, 8}), f32({})}), "f32[4, 8]");
  EXPECT_EQ(type(OpKind::Add, {f32({}), f32({4, 8})}), "f32[4, 8]");
  EXPECT_EQ(type(OpKind::Mul, {f32({4, 1}), f32({1, 8})}), "f32[4, 8]");
  EXPECT_EQ(type(OpKind::Fma, {f32({4, 1}), f32({}), f32({1, 8})}), "f32[4, 8]");
  EXPECT_EQ(type(OpKind::Div, {idx(), idx()}), "idx");
  refuses("does not broadcast", OpKind::Add, {f32({4}), f32({4, 8})});
  refuses("does not broadcast", OpKind::Add, {f32({4, 2}), f32({4, 8})});
  refuses("different dtypes: f32 and bf16", OpKind::Add, {f32({4}), tile(DType::BF16, {4})});
  refuses("no arithmetic on bool", OpKind::Add, {tile(DType::Bool, {}), tile(DType::Bool, {})});
  refuses("not a tile", OpKind::Neg, {range(4)});
  refuses("e4m3 is a storage type", OpKind::Neg, {tile(DType::E4M3, {4})});
}

TEST_F(Infer, DtypeClasses) {
  EXPECT_EQ(type(OpKind::Exp, {tile(DType::F16, {2})}), "f16[2]");
  refuses("needs a float, not i32", OpKind::Exp, {tile(DType::I32, {})});
  refuses("needs an integer, not f32", OpKind::Mod, {f32({}), f32({})});
  refuses("needs an integer, not bool", OpKind::Shl, {tile(DType::Bool, {}), tile(DType::Bool, {})});
  EXPECT_EQ(type(OpKind::And, {tile(DType::Bool, {2}), tile(DType::Bool, {})}), "bool[2]");
  refuses("needs an integer or bool", OpKind::And, {f32({}), f32({})});
  EXPECT_EQ(type(OpKind::Not, {tile(DType::Bool, {2})}), "bool[2]");
  refuses("no bits to complement", OpKind::Not, {f32({})});
  EXPECT_EQ(type(OpKind::Le, {idx(), tile(DType::Idx, {4, 1})}), "bool[4, 1]");
  EXPECT_EQ(type(OpKind::Ne, {tile(DType::Bool, {}), tile(DType::Bool, {})}), "bool");
  refuses("bools have no order", OpKind::Lt, {tile(DType::Bool, {}), tile(DType::Bool, {})});
}

TEST_F(Infer, SelectAndConversions) {
  EXPECT_EQ(type(OpKind::Select, {tile(DType::Bool, {1, 8}), f32({4, 8}), f32({})}), "f32[4, 8]");
  EXPECT_EQ(type(OpKind::Select, {tile(DType::Bool, {4, 8}), tile(DType::E4M3, {}), tile(DType::E4M3, {})}), "e4m3[4, 8]");
  refuses("not a bool", OpKind::Select, {f32({}), f32({}), f32({})});
  refuses("different dtypes", OpKind::Select, {tile(DType::Bool, {}), f32({}), idx()});
  EXPECT_EQ(type(OpKind::Cast, {f32({4})}, {}, {TileType{DType::E2M1, {4}}}), "e2m1[4]");
  refuses("changes the dims", OpKind::Cast, {f32({4})}, {}, {TileType{DType::F16, {2, 2}}});
  refuses("must be stated", OpKind::Cast, {f32({4})});
  refuses("attribute `rounding` = 4", OpKind::Cast, {f32({4})}, {{Attr::Rounding, std::int64_t{4}}}, {TileType{DType::F16, {4}}});
  EXPECT_EQ(type(OpKind::Bitcast, {f32({4})}, {}, {TileType{DType::I32, {4}}}), "i32[4]");
  refuses("different widths", OpKind::Bitcast, {f32({4})}, {}, {TileType{DType::I16, {4}}});
  refuses("no bits to reinterpret", OpKind::Bitcast, {tile(DType::Bool, {4})}, {}, {TileType{DType::I8, {4}}});
}

TEST_F(Infer, Shapes) {
  EXPECT_EQ(type(OpKind::Permute, {f32({2, 3, 4})}, {{Attr::Perm, Dims{2, 0, 1}}}), "f32[4, 2, 3]");
  refuses("not a permutation", OpKind::Permute, {f32({2, 3})}, {{Attr::Perm, Dims{0}}});
  EXPECT_EQ(type(OpKind::Broadcast, {f32({4, 1})}, {}, {TileType{DType::F32, {4, 8}}}), "f32[4, 8]");
  refuses("does not stretch", OpKind::Broadcast, {f32({4, 8})}, {}, {TileType{DType::F32, {4, 1}}});
  refuses("does not stretch", OpKind::Broadcast, {f32({4})}, {}, {TileType{DType::F32, {4, 4}}});
  EXPECT_EQ(type(OpKind::Reshape, {f32({4, 6})}, {}, {TileType{DType::F32, {3, 8}}}), "f32[3, 8]");
  refuses("changes the number of elements", OpKind::Reshape, {f32({4, 6})}, {}, {TileType{DType::F32, {5}}});
  EXPECT_EQ(type(OpKind::Slice, {f32({4, 6})}, {{Attr::Axis, std::int64_t{1}}, {Attr::Offset, std::int64_t{2}}, {Attr::Size, std::int64_t{4}}}),
            "f32[4, 4]");
  refuses("attribute `size` = 5", OpKind::Slice, {f32({4, 6})},
          {{Attr::Axis, std::int64_t{1}}, {Attr::Offset, std::int64_t{2}}, {Attr::Size, std::int64_t{5}}});
  EXPECT_EQ(type(OpKind::Concat, {f32({4, 6}), f32({4, 2})}, axis(1)), "f32[4, 8]");
  refuses("dims other than the axis differ", OpKind::Concat, {f32({4, 6}), f32({3, 2})}, axis(1));
  refuses("ranks differ", OpKind::Concat, {f32({4, 6}), f32({4})}, axis(1));
  EXPECT_EQ(type(OpKind::Pick, {f32({4, 6}), idx()}, axis(0)), "f32[1, 6]");
  refuses("not an idx scalar", OpKind::Pick, {f32({4, 6}), tile(DType::I32, {})}, axis(0));
  refuses("is not in 0 .. 0", OpKind::Pick, {f32({}), idx()}, axis(0));
}

TEST_F(Infer, Products) {
  auto dot = [&](DType a, DType b) { return type(OpKind::Dot, {tile(a, {4, 8}), tile(b, {8, 2})}); };
  EXPECT_EQ(dot(DType::BF16, DType::BF16), "f32[4, 2]");
  EXPECT_EQ(dot(DType::F32, DType::F32), "f32[4, 2]");
  EXPECT_EQ(dot(DType::F64, DType::F64), "f64[4, 2]");
  EXPECT_EQ(dot(DType::E4M3, DType::E5M2), "f32[4, 2]");
  EXPECT_EQ(dot(DType::I8, DType::I8), "i32[4, 2]");
  EXPECT_EQ(dot(DType::U8, DType::I8), "i32[4, 2]");
  refuses("different dtypes", OpKind::Dot, {tile(DType::F16, {4, 8}), tile(DType::BF16, {8, 2})});
  refuses("the inner dims differ", OpKind::Dot, {f32({4, 8}), f32({4, 8})});
  refuses("rank 2 is needed", OpKind::Dot, {f32({8}), f32({8, 2})});
  refuses("no product of bool tiles", OpKind::Dot, {tile(DType::Bool, {4, 8}), tile(DType::Bool, {8, 2})});
  refuses("`prec` other than ieee", OpKind::Dot, {tile(DType::F16, {4, 8}), tile(DType::F16, {8, 2})}, {{Attr::Prec, std::int64_t{1}}});
  EXPECT_EQ(type(OpKind::DotScaled, {tile(DType::E4M3, {4, 64}), tile(DType::E8M0, {4, 2}), tile(DType::E2M1, {64, 8}), tile(DType::E8M0, {2, 8})}),
            "f32[4, 8]");
  refuses("do not fit", OpKind::DotScaled,
          {tile(DType::E4M3, {4, 64}), tile(DType::E8M0, {4, 3}), tile(DType::E4M3, {64, 8}), tile(DType::E8M0, {3, 8})});
  EXPECT_EQ(type(OpKind::SolveLower, {f32({4, 4}), f32({4, 9})}), "f32[4, 9]");
  refuses("[M, M] and [M, N] are needed", OpKind::SolveLower, {f32({4, 5}), f32({4, 9})});
}

TEST_F(Infer, WholeAxis) {
  EXPECT_EQ(type(OpKind::Reduce, {f32({4, 8})}, reduce(ReduceKind::Sum, 0)), "f32[1, 8]");
  EXPECT_EQ(type(OpKind::Reduce, {f32({4, 8})}, reduce(ReduceKind::ArgMin, 1)), "idx[4, 1]");
  EXPECT_EQ(type(OpKind::Reduce, {tile(DType::Bool, {4})}, reduce(ReduceKind::Any, 0)), "bool[1]");
  refuses("no `all` of f32", OpKind::Reduce, {f32({4})}, reduce(ReduceKind::All, 0));
  refuses("no `sum` of bool", OpKind::Reduce, {tile(DType::Bool, {4})}, reduce(ReduceKind::Sum, 0));
  EXPECT_EQ(type(OpKind::Scan, {f32({4, 8})}, reduce(ReduceKind::Max, 1)), "f32[4, 8]");
  refuses("no scan of kind argmax", OpKind::Scan, {f32({4, 8})}, reduce(ReduceKind::ArgMax, 1));
  EXPECT_EQ(type(OpKind::TopK, {f32({4, 8})}, {{Attr::Axis, std::int64_t{1}}, {Attr::K, std::int64_t{3}}}), "f32[4, 3] idx[4, 3]");
  refuses("attribute `k` = 9", OpKind::TopK, {f32({4, 8})}, {{Attr::Axis, std::int64_t{1}}, {Attr::K, std::int64_t{9}}});
  EXPECT_EQ(type(OpKind::Histogram, {tile(DType::I32, {9}), tile(DType::Bool, {9})}, {{Attr::Size, std::int64_t{16}}}), "i32[16]");
  refuses("not a bool[9]", OpKind::Histogram, {tile(DType::I32, {9}), tile(DType::Bool, {8})}, {{Attr::Size, std::int64_t{16}}});
}

TEST_F(Infer, FoldsTakeTilesThenIdentities) {
  Value* x = f32({4, 8});
  Value* n = tile(DType::I32, {4, 8});
  EXPECT_EQ(type(OpKind::ReduceWith, {x, n, f32({}), tile(DType::I32, {})}, axis(1)), "f32[4, 1] i32[4, 1]");
  EXPECT_EQ(type(OpKind::ScanWith, {x, n, f32({}), tile(DType::I32, {})}, axis(1)), "f32[4, 8] i32[4, 8]");
  refuses("identity 1 is a f32, not a i32", OpKind::ReduceWith, {x, n, f32({}), f32({})}, axis(1));
  refuses("3 operands", OpKind::ReduceWith, {x, n, f32({})}, axis(1));
  refuses("all tiles have the same dims", OpKind::ReduceWith, {x, f32({4, 1}), f32({}), f32({})}, axis(1));
}

TEST_F(Infer, LoadsByRangesScalarsAndTiles) {
  Value* v = view(DType::BF16, 3);
  auto ints = [&](Dims d) { return tile(DType::I32, std::move(d)); };
  EXPECT_EQ(type(OpKind::Load, {v, idx(), range(4), range(8)}), "bf16[4, 8]");
  EXPECT_EQ(type(OpKind::Load, {v, idx(), idx(), idx()}), "bf16");
  EXPECT_EQ(type(OpKind::Load, {v, ints({4, 1}), ints({1, 8}), idx()}), "bf16[4, 8]");
  EXPECT_EQ(type(OpKind::Load, {v, ints({16}), idx(), range(8)}), "bf16[16, 8]");
  EXPECT_EQ(type(OpKind::Load, {v, range(8), ints({16}), idx()}), "bf16[8, 16]");
  EXPECT_EQ(type(OpKind::Load, {view(DType::F32, 0)}), "f32");
  refuses("at most one index tile, of rank 1", OpKind::Load, {v, ints({4, 1}), range(8), idx()});
  refuses("at most one index tile, of rank 1", OpKind::Load, {v, ints({16}), ints({16}), range(8)});
  refuses("do not broadcast", OpKind::Load, {v, ints({4}), ints({8}), idx()});
  refuses("an integer scalar, a range or an integer tile is needed", OpKind::Load, {v, f32({}), idx(), idx()});
  refuses("3 operands for a view of rank 3: 4 are needed", OpKind::Load, {v, idx(), idx()});
  refuses("not a view", OpKind::Load, {f32({4}), idx()});
}

TEST_F(Infer, StoresTakeWhatTheIndicesSelect) {
  Value* v = view(DType::F32, 2);
  EXPECT_EQ(type(OpKind::Store, {v, f32({4, 8}), range(4), range(8)}), "");
  EXPECT_EQ(type(OpKind::Store, {v, f32({8}), idx(), range(8)}), "");
  EXPECT_EQ(type(OpKind::Store, {v, f32({4, 8}), range(4), range(8), tile(DType::Bool, {4, 1})}, {{Attr::Masked, std::int64_t{1}}}), "");
  refuses("5 operands for a view of rank 2: 4 are needed", OpKind::Store, {v, f32({4, 8}), range(4), range(8), tile(DType::Bool, {4, 1})});
  refuses("does not stretch", OpKind::Store, {v, f32({4, 8}), range(4), range(8), tile(DType::Bool, {4})}, {{Attr::Masked, std::int64_t{1}}});
  refuses("the value is a f32[1, 8], the indices select a f32[8]", OpKind::Store, {v, f32({1, 8}), idx(), range(8)});
  refuses("the value is a f16", OpKind::Store, {v, tile(DType::F16, {8}), idx(), range(8)});
  EXPECT_EQ(type(OpKind::FetchAdd, {v, f32({8}), idx(), range(8)}), "f32[8]");
  refuses("e4m3 is a storage type", OpKind::FetchAdd, {view(DType::E4M3, 1), tile(DType::E4M3, {8}), range(8)});
}

TEST_F(Infer, ViewsChangeTheirRank) {
  Value* v = view(DType::F16, 4, Mode::Out);
  EXPECT_EQ(type(OpKind::ViewIndex, {v, idx()}, axis(3)), "view<f16, 3, out>");
  EXPECT_EQ(type(OpKind::ViewSpan, {v, idx(), idx()}, axis(0)), "view<f16, 4, out>");
  EXPECT_EQ(type(OpKind::ViewMerge, {v}, {{Attr::Axis, std::int64_t{1}}, {Attr::Last, std::int64_t{3}}}), "view<f16, 2, out>");
  EXPECT_EQ(type(OpKind::ViewSplit, {v}, {{Attr::Axis, std::int64_t{1}}, {Attr::Size, std::int64_t{8}}}), "view<f16, 5, out>");
  refuses("attribute `last` = 4", OpKind::ViewMerge, {v}, {{Attr::Axis, std::int64_t{1}}, {Attr::Last, std::int64_t{4}}});
  refuses("attribute `last` = 0", OpKind::ViewMerge, {v}, {{Attr::Axis, std::int64_t{1}}, {Attr::Last, std::int64_t{0}}});
  refuses("attribute `axis` = 4", OpKind::ViewIndex, {v, idx()}, axis(4));
  Value* table = view(DType::I32, 1, Mode::In);
  EXPECT_EQ(type(OpKind::ViewPaged, {v, table, idx()}), "view<f16, 3, out>");
  refuses("rank-1 integer view", OpKind::ViewPaged, {v, view(DType::F32, 1), idx()});
  refuses("a pool has rank 2 or more", OpKind::ViewPaged, {view(DType::F32, 1), table, idx()});
  EXPECT_EQ(type(OpKind::ViewTake, {v, table}), "view<f16, 4, out>");
  EXPECT_EQ(type(OpKind::ViewTake, {v, tile(DType::I64, {16})}), "view<f16, 4, out>");
  refuses("rank-1 integer view or tile", OpKind::ViewTake, {v, tile(DType::I32, {16, 1})});
  EXPECT_EQ(type(OpKind::Extent, {v}, axis(2)), "idx");
}

TEST_F(Infer, ControlCarriesTiles) {
  Op* loop = b_.for_loop(idx(), idx(), idx(), {f32({4}), idx()});
  ASSERT_EQ(loop->region().args.size(), 3u);
  EXPECT_EQ(str(loop->region().args[0]->type), "idx");
  EXPECT_EQ(str(loop->region().args[1]->type), "f32[4]");
  EXPECT_EQ(str(loop->result(1)->type), "idx");
  refuses("not an idx scalar", OpKind::For, {idx(), idx(), f32({})});
  refuses("not a tile", OpKind::For, {idx(), idx(), idx(), range(4)});
  EXPECT_EQ(b_.while_loop({f32({})})->region(1).args.size(), 1u);
  EXPECT_EQ(b_.if_else(tile(DType::Bool, {}), {TileType{DType::F32, {2}}})->results.size(), 1u);
  refuses("not a bool", OpKind::If, {f32({})});
  refuses("a result is a range<4>, not a tile", OpKind::If, {tile(DType::Bool, {})}, {}, {RangeType{4}});
}

TEST_F(Infer, Constants) {
  EXPECT_EQ(str(b_.constant(TileType{DType::F16, {2}}, 1.5)->type), "f16[2]");
  EXPECT_EQ(b_.constant(scalar(DType::F32), std::int64_t{2})->def->float_attr(Attr::Value), 2.0);
  refuses("`value` does not fit i32", OpKind::Const, {}, {{Attr::Value, 1.5}}, {scalar(DType::I32)});
  refuses("attribute `value` = 2", OpKind::Const, {}, {{Attr::Value, std::int64_t{2}}}, {scalar(DType::Bool)});
  refuses("iota is an idx[N]", OpKind::Iota, {}, {}, {TileType{DType::I32, {4}}});
  refuses("too many elements", OpKind::Iota, {}, {}, {TileType{DType::Idx, {kMaxTileElements + 1}}});
  EXPECT_EQ(type(OpKind::Coords, {range(7)}), "idx[7]");
  EXPECT_EQ(type(OpKind::Inside, {range(7)}), "bool[7]");
  refuses("not a range", OpKind::Inside, {idx()});
}

}  // namespace
}  // namespace tessera::ir
