// Ops that move, fold and multiply tiles, against the interpreter, on shapes that fill no vector.
#include "tests/cpu/kernel_maker.h"

namespace tessera::test {
namespace {

using Make = std::function<std::vector<Value*>(KernelMaker&, std::vector<Value*>)>;

struct Input {
  DType dtype;
  Dims dims;
  bool integers = true;
};

/// Loads the inputs whole, stores what `make` makes of them.
void run(const std::vector<Input>& inputs, const std::vector<TileType>& outputs, const Make& make, const Tolerance& tolerance = {}) {
  KernelMaker k;
  std::vector<Value*> views, outs, x;
  for (std::size_t i = 0; i < inputs.size(); ++i) views.push_back(k.view("x" + std::to_string(i), inputs[i].dtype, syms(inputs[i].dims)));
  for (std::size_t i = 0; i < outputs.size(); ++i)
    outs.push_back(k.view("y" + std::to_string(i), outputs[i].dtype, syms(outputs[i].dims), Mode::Out));
  for (std::size_t i = 0; i < inputs.size(); ++i) x.push_back(k.load_whole(views[i], inputs[i].dims));
  const std::vector<Value*> y = make(k, x);
  ASSERT_EQ(y.size(), outs.size());
  for (std::size_t i = 0; i < y.size(); ++i) k.store_whole(outs[i], y[i]);
  Differential d(k.take());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const auto seed = static_cast<unsigned>(i + 3);
    Buffer b = inputs[i].integers && is_float(inputs[i].dtype) ? Buffer(inputs[i].dtype, inputs[i].dims).fill_integers(seed, 3)
                                                               : random_bits(inputs[i].dtype, inputs[i].dims, seed);
    d.tensor("x" + std::to_string(i), std::move(b));
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) d.tensor("y" + std::to_string(i), Buffer(outputs[i].dtype, outputs[i].dims));
  d.check(tolerance);
}

std::int64_t n(ReduceKind k) { return static_cast<std::int64_t>(k); }

TEST(CpuTileOps, reshape_permute_slice_concat_pick) {
  for (const DType t : {DType::F32, DType::BF16, DType::I8, DType::Idx, DType::Bool, DType::E2M1, DType::I4}) {
    SCOPED_TRACE(name(t));
    const Dims from = {6, 40};
    run({{t, from}}, {{t, {40, 6}}, {t, {6, 5, 8}}, {t, {2, 3, 40}}, {t, {15, 16}}, {t, {240}}}, [&](KernelMaker& k, std::vector<Value*> x) {
      std::vector<Value*> y = {k.b.permute(x[0], {1, 0})};
      for (const Dims& d : {Dims{6, 5, 8}, Dims{2, 3, 40}, Dims{15, 16}, Dims{240}}) y.push_back(k.b.reshape(x[0], d));
      return y;
    });
    run({{t, from}, {t, {6, 9}}}, {{t, {6, 33}}, {t, {4, 40}}, {t, {6, 49}}, {t, {6, 1}}, {t, {1, 40}}, {t, {1, 40}}, {t, {12, 40}}},
        [&](KernelMaker& k, std::vector<Value*> x) {
          auto slice = [&](std::int64_t axis, std::int64_t offset, std::int64_t size) {
            return k.b.value(OpKind::Slice, {x[0]}, {{Attr::Axis, axis}, {Attr::Offset, offset}, {Attr::Size, size}});
          };
          auto pick = [&](std::int64_t axis, std::int64_t i) { return k.b.value(OpKind::Pick, {x[0], k.b.idx(i)}, {{Attr::Axis, axis}}); };
          return std::vector<Value*>{
              slice(1, 5, 33), slice(0, 2, 4), k.b.value(OpKind::Concat, {x[0], x[1]}, {{Attr::Axis, std::int64_t{1}}}), pick(1, 17),
              pick(0, 5),      pick(0, 6),     k.b.value(OpKind::Concat, {x[0], x[0]}, {{Attr::Axis, std::int64_t{0}}})};
        });
  }
}

TEST(CpuTileOps, unit_axes_and_broadcasts) {
  run({{DType::F32, {1, 37}}, {DType::F32, {19, 1}}, {DType::F32, {1, 1}}},
      {{DType::F32, {19, 37}}, {DType::F32, {19, 37}}, {DType::F32, {37, 19, 1}}}, [&](KernelMaker& k, std::vector<Value*> x) {
        Value* sum = k.b.value(OpKind::Add, {k.b.value(OpKind::Add, {x[0], x[1]}), x[2]});
        Value* scalar = k.b.reshape(x[2], {});
        return std::vector<Value*>{sum, k.b.broadcast(x[1], {19, 37}),
                                   k.b.reshape(k.b.permute(k.b.value(OpKind::Mul, {sum, scalar}), {1, 0}), {37, 19, 1})};
      });
}

TEST(CpuTileOps, reductions) {
  for (const DType t : {DType::F32, DType::F64, DType::F16, DType::BF16, DType::I32, DType::U8, DType::I64, DType::Idx})
    for (const ReduceKind kind : {ReduceKind::Sum, ReduceKind::Prod, ReduceKind::Max, ReduceKind::Min, ReduceKind::ArgMax, ReduceKind::ArgMin}) {
      SCOPED_TRACE(testing::Message() << name(t) << " " << ir::name(kind));
      const bool arg = kind == ReduceKind::ArgMax || kind == ReduceKind::ArgMin;
      const DType out = arg ? DType::Idx : t;
      // Products of small integers stay exact in half types along short axes only.
      const Dims dims = kind == ReduceKind::Prod ? Dims{5, 4, 3} : Dims{7, 21, 35};
      auto without = [&](std::size_t axis) {
        Dims d = dims;
        d[axis] = 1;
        return d;
      };
      run({{t, dims}}, {{out, without(0)}, {out, without(1)}, {out, without(2)}}, [&](KernelMaker& k, std::vector<Value*> x) {
        return std::vector<Value*>{k.b.reduce(kind, x[0], 0), k.b.reduce(kind, x[0], 1), k.b.reduce(kind, x[0], 2)};
      });
    }
  for (const ReduceKind kind : {ReduceKind::Any, ReduceKind::All})
    run({{DType::Bool, {9, 3}}}, {{DType::Bool, {1, 3}}, {DType::Bool, {9, 1}}},
        [&](KernelMaker& k, std::vector<Value*> x) { return std::vector<Value*>{k.b.reduce(kind, x[0], 0), k.b.reduce(kind, x[0], 1)}; });
}

TEST(CpuTileOps, nan_loses_in_max_and_min) {
  for (const std::int64_t rows : {3, 20}) {
    KernelMaker k;
    const Dims dims = {rows, 37};
    Value* x = k.view("x", DType::F32, syms(dims));
    std::vector<Value*> y;
    const std::vector<ReduceKind> kinds = {ReduceKind::Max, ReduceKind::Min, ReduceKind::ArgMax, ReduceKind::ArgMin};
    for (std::size_t i = 0; i < 8; ++i)
      y.push_back(k.view("y" + std::to_string(i), i % 4 < 2 ? DType::F32 : DType::Idx, syms(i < 4 ? Dims{rows, 1} : Dims{1, 37}), Mode::Out));
    Value* t = k.load_whole(x, dims);
    for (std::size_t i = 0; i < 8; ++i) k.store_whole(y[i], k.b.reduce(kinds[i % 4], t, i < 4 ? 1 : 0));
    Differential d(k.take());
    Buffer& b = d.tensor("x", random_bits(DType::F32, dims, 8));
    for (std::int64_t j = 0; j < 37; ++j) b.set(37 + j, std::nan(""));
    for (std::int64_t j = 0; j < 37; j += 2) b.set(2 * 37 + j, std::nan(""));
    for (std::int64_t i = 0; i < rows; ++i) b.set(i * 37 + 5, std::nan(""));
    for (std::size_t i = 0; i < 8; ++i)
      d.tensor("y" + std::to_string(i), Buffer(i % 4 < 2 ? DType::F32 : DType::Idx, i < 4 ? Dims{rows, 1} : Dims{1, 37}));
    d.check();
  }
}

TEST(CpuTileOps, scans) {
  for (const DType t : {DType::F32, DType::I32, DType::BF16})
    for (const ReduceKind kind : {ReduceKind::Sum, ReduceKind::Max, ReduceKind::Min})
      for (int flags = 0; flags < 4; ++flags) {
        SCOPED_TRACE(testing::Message() << name(t) << " " << ir::name(kind) << " " << flags);
        run({{t, {5, 21}}, {t, {40}}}, {{t, {5, 21}}, {t, {5, 21}}, {t, {40}}}, [&](KernelMaker& k, std::vector<Value*> x) {
          auto scan = [&](Value* v, std::int64_t axis) {
            Attrs a = {{Attr::Axis, axis}, {Attr::Kind, n(kind)}};
            if (flags & 1) a[Attr::Exclusive] = std::int64_t{1};
            if (flags & 2) a[Attr::Reverse] = std::int64_t{1};
            return k.b.value(OpKind::Scan, {v}, a);
          };
          return std::vector<Value*>{scan(x[0], 0), scan(x[0], 1), scan(x[1], 0)};
        });
      }
}

/// (sum, product by a branch) folded along an axis: a region with and without control flow.
void folds(bool branch) {
  for (const OpKind kind : {OpKind::ReduceWith, OpKind::ScanWith}) {
    const Dims out = kind == OpKind::ReduceWith ? Dims{6, 1} : Dims{6, 19};
    run({{DType::F32, {6, 19}}, {DType::I32, {6, 19}}}, {{DType::F32, out}, {DType::I32, out}}, [&](KernelMaker& k, std::vector<Value*> x) {
      Builder& b = k.b;
      auto op = std::make_unique<ir::Op>();
      Value* zero = b.constant(ir::scalar(DType::F32), 0.0);
      Value* none = b.constant(ir::scalar(DType::I32), std::int64_t{-1000});
      op->kind = kind;
      op->operands = {x[0], x[1], zero, none};
      op->attrs[Attr::Axis] = std::int64_t{1};
      op->regions.push_back(std::make_unique<ir::Block>());
      ir::Block& body = op->region();
      body.parent = op.get();
      std::vector<Value*> a;
      for (int i = 0; i < 4; ++i) a.push_back(body.add_arg(ir::scalar(i % 2 == 0 ? DType::F32 : DType::I32)));
      Builder inner(body);
      Value* sum = inner.value(OpKind::Add, {a[0], a[2]});
      Value* top;
      if (branch) {
        Value* c = inner.value(OpKind::Gt, {a[1], a[3]});
        auto choice = std::make_unique<ir::Op>();
        choice->kind = OpKind::If;
        choice->operands = {c};
        for (int r = 0; r < 2; ++r) {
          choice->regions.push_back(std::make_unique<ir::Block>());
          choice->region(static_cast<std::size_t>(r)).parent = choice.get();
          Builder arm(choice->region(static_cast<std::size_t>(r)));
          arm.yield({a[r == 0 ? 1 : 3]});
        }
        choice->parent = &body;
        auto v = std::make_unique<Value>();
        v->type = ir::scalar(DType::I32);
        v->def = choice.get();
        choice->results.push_back(std::move(v));
        top = choice->result();
        body.ops.push_back(std::move(choice));
      } else {
        top = inner.value(OpKind::Max, {a[1], a[3]});
      }
      inner.yield({sum, top});
      op->parent = &b.block();
      for (std::size_t i = 0; i < 2; ++i) {
        auto v = std::make_unique<Value>();
        v->type = TileType{i == 0 ? DType::F32 : DType::I32, out};
        v->def = op.get();
        v->index = i;
        op->results.push_back(std::move(v));
      }
      b.block().ops.push_back(std::move(op));
      ir::Op* made = b.block().ops.back().get();
      return std::vector<Value*>{made->result(0), made->result(1)};
    });
  }
}

TEST(CpuTileOps, folds_by_a_region) { folds(false); }
TEST(CpuTileOps, folds_by_a_region_with_a_branch) { folds(true); }

TEST(CpuTileOps, sort_and_top_k) {
  for (const DType t : {DType::F32, DType::F16, DType::I32, DType::U8, DType::Idx})
    for (const bool down : {false, true}) {
      SCOPED_TRACE(name(t));
      run({{t, {4, 33}, false}}, {{t, {4, 33}}, {t, {4, 33}}, {t, {4, 5}}, {DType::Idx, {4, 5}}, {t, {1, 33}}, {DType::Idx, {1, 33}}},
          [&](KernelMaker& k, std::vector<Value*> x) {
            auto sort = [&](std::int64_t axis) {
              Attrs a = {{Attr::Axis, axis}};
              if (down) a[Attr::Descending] = std::int64_t{1};
              return k.b.value(OpKind::Sort, {x[0]}, a);
            };
            ir::Op* top = k.b.op(OpKind::TopK, {x[0]}, {{Attr::Axis, std::int64_t{1}}, {Attr::K, std::int64_t{5}}});
            ir::Op* one = k.b.op(OpKind::TopK, {x[0]}, {{Attr::Axis, std::int64_t{0}}, {Attr::K, std::int64_t{1}}});
            return std::vector<Value*>{sort(0), sort(1), top->result(0), top->result(1), one->result(0), one->result(1)};
          });
    }
}

TEST(CpuTileOps, histogram) {
  run({{DType::I32, {70}}, {DType::Bool, {70}}}, {{DType::I32, {9}}, {DType::I32, {1}}}, [&](KernelMaker& k, std::vector<Value*> x) {
    return std::vector<Value*>{k.b.value(OpKind::Histogram, {x[0], x[1]}, {{Attr::Size, std::int64_t{9}}}),
                               k.b.value(OpKind::Histogram, {x[0], x[1]}, {{Attr::Size, std::int64_t{1}}})};
  });
}

TEST(CpuTileOps, solve_lower) {
  for (const DType t : {DType::F32, DType::F64}) {
    run({{t, {12, 12}}, {t, {12, 21}}, {t, {12, 1}}}, {{t, {12, 21}}, {t, {12, 1}}},
        [&](KernelMaker& k, std::vector<Value*> x) {
          // Small off-diagonal entries keep the solution small.
          Value* a = k.b.value(OpKind::Mul, {x[0], k.b.constant(ir::scalar(t), 0.0625)});
          return std::vector<Value*>{k.b.value(OpKind::SolveLower, {a, x[1]}), k.b.value(OpKind::SolveLower, {a, x[2]})};
        },
        {1e-5, 1e-5});
  }
}

TEST(CpuTileOps, products_of_every_dtype) {
  struct Pair {
    DType a, b, out;
  };
  const std::vector<Pair> pairs = {
      {DType::F32, DType::F32, DType::F32},   {DType::F64, DType::F64, DType::F64},   {DType::F16, DType::F16, DType::F32},
      {DType::BF16, DType::BF16, DType::F32}, {DType::I32, DType::I32, DType::I32},   {DType::I8, DType::I8, DType::I32},
      {DType::U8, DType::I8, DType::I32},     {DType::E4M3, DType::E4M3, DType::F32}, {DType::E4M3, DType::E5M2, DType::F32}};
  for (const Pair& p : pairs)
    for (const auto& [m, kk, nn] :
         {std::tuple<std::int64_t, std::int64_t, std::int64_t>{1, 1, 1}, {5, 7, 3}, {33, 40, 70}, {4, 64, 128}, {1, 33, 100}, {50, 31, 1}}) {
      SCOPED_TRACE(testing::Message() << name(p.a) << " " << name(p.b) << " " << m << " " << kk << " " << nn);
      run({{p.a, {m, kk}}, {p.b, {kk, nn}}, {p.b, {nn, kk}}}, {{p.out, {m, nn}}, {p.out, {m, nn}}}, [&](KernelMaker& k, std::vector<Value*> x) {
        return std::vector<Value*>{k.b.value(OpKind::Dot, {x[0], x[1]}), k.b.value(OpKind::Dot, {x[0], k.b.permute(x[2], {1, 0})})};
      });
    }
}

TEST(CpuTileOps, scaled_product) {
  run({{DType::E2M1, {19, 64}}, {DType::E8M0, {19, 4}}, {DType::E4M3, {64, 35}}, {DType::E4M3, {4, 35}}}, {{DType::F32, {19, 35}}},
      [&](KernelMaker& k, std::vector<Value*> x) {
        Value* one = k.b.cast(k.b.constant(TileType{DType::F32, {19, 4}}, 2.0), DType::E8M0);
        return std::vector<Value*>{k.b.value(OpKind::DotScaled, {x[0], one, x[2], x[3]})};
      },
      {1e-3, 1e-5});
}

}  // namespace
}  // namespace tessera::test
