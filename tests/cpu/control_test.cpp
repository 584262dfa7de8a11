// Loops and branches that carry scalars and tiles.
#include <pthread.h>

#include "tests/cpu/kernel_maker.h"

namespace tessera::test {
namespace {

/// Appends a control op with stated results; the caller fills its regions.
ir::Op* control(Builder& b, OpKind kind, std::vector<Value*> operands, const std::vector<ir::Type>& results, std::size_t regions) {
  auto op = std::make_unique<ir::Op>();
  op->kind = kind;
  op->operands = std::move(operands);
  op->parent = &b.block();
  for (std::size_t r = 0; r < regions; ++r) {
    op->regions.push_back(std::make_unique<ir::Block>());
    op->region(r).parent = op.get();
  }
  for (std::size_t i = 0; i < results.size(); ++i) {
    auto v = std::make_unique<Value>();
    v->type = results[i];
    v->def = op.get();
    v->index = i;
    op->results.push_back(std::move(v));
  }
  b.block().ops.push_back(std::move(op));
  return b.block().ops.back().get();
}

ir::Op* make_for(Builder& b, Value* lo, Value* hi, Value* step, const std::vector<Value*>& init,
                 const std::function<std::vector<Value*>(Builder&, Value* iv, std::vector<Value*>)>& body) {
  std::vector<Value*> operands = {lo, hi, step};
  std::vector<ir::Type> types;
  for (Value* v : init) operands.push_back(v), types.push_back(v->type);
  ir::Op* op = control(b, OpKind::For, operands, types, 1);
  Value* iv = op->region().add_arg(ir::scalar(DType::Idx));
  std::vector<Value*> carried;
  for (const ir::Type& t : types) carried.push_back(op->region().add_arg(t));
  Builder inner(op->region());
  inner.yield(body(inner, iv, carried));
  return op;
}

TEST(CpuControl, loops_carry_tiles_and_scalars_that_depend_on_each_other) {
  for (const std::int64_t trips : {0, 1, 2, 7}) {
    KernelMaker k;
    Value* x = k.view("x", DType::F32, {9, 20});
    Value* n = k.scalar("n", DType::Idx);
    std::vector<Value*> y;
    for (int i = 0; i < 3; ++i) y.push_back(k.view("y" + std::to_string(i), DType::F32, {9, 20}, Mode::Out));
    Value* s = k.view("s", DType::Idx, {1}, Mode::Out);
    Value* t = k.load_whole(x, {9, 20});
    Value* two = k.b.constant(TileType{DType::F32, {9, 20}}, 2.0);
    ir::Op* loop = make_for(k.b, k.b.idx(0), n, k.b.idx(1), {t, two, t, k.b.idx(1)}, [&](Builder& b, Value* iv, std::vector<Value*> c) {
      // (a, b, c) -> (b, a, rows of c reversed + a): swapped tiles, and one that reads itself at other elements.
      Value* tail = b.value(OpKind::Slice, {c[2]}, {{Attr::Axis, std::int64_t{0}}, {Attr::Offset, std::int64_t{1}}, {Attr::Size, std::int64_t{8}}});
      Value* head = b.value(OpKind::Slice, {c[2]}, {{Attr::Axis, std::int64_t{0}}, {Attr::Offset, std::int64_t{0}}, {Attr::Size, std::int64_t{1}}});
      Value* turned = b.value(OpKind::Concat, {tail, head}, {{Attr::Axis, std::int64_t{0}}});
      return std::vector<Value*>{c[1], c[0], b.value(OpKind::Add, {turned, c[0]}),
                                 b.value(OpKind::Add, {b.value(OpKind::Mul, {c[3], b.idx(3)}), iv})};
    });
    for (std::size_t i = 0; i < 3; ++i) k.store_whole(y[i], loop->result(i));
    k.store_whole(s, k.b.reshape(loop->result(3), {1}));
    Differential d(k.take());
    d.tensor("x", Buffer(DType::F32, {9, 20}).fill_integers(1, 5));
    d.scalar("n", static_cast<double>(trips));
    for (int i = 0; i < 3; ++i) d.tensor("y" + std::to_string(i), Buffer(DType::F32, {9, 20}));
    d.tensor("s", Buffer(DType::Idx, {1}));
    d.check();
  }
}

TEST(CpuControl, branches_yield_tiles_and_scalars) {
  for (const double c : {0.0, 1.0}) {
    KernelMaker k;
    Value* x = k.view("x", DType::F32, {5, 18});
    Value* flag = k.scalar("flag", DType::Bool);
    Value* y = k.view("y", DType::F32, {5, 18}, Mode::Out);
    Value* z = k.view("z", DType::F32, {5, 1}, Mode::Out);
    Value* t = k.load_whole(x, {5, 18});
    const ir::Type tile = TileType{DType::F32, {5, 18}};
    ir::Op* branch = control(k.b, OpKind::If, {flag}, {tile, ir::scalar(DType::F32), TileType{DType::F32, {5, 1}}}, 2);
    for (std::size_t r = 0; r < 2; ++r) {
      Builder b(branch->region(r));
      Value* f = b.constant(ir::scalar(DType::F32), r == 0 ? 3.0 : -1.0);
      b.yield({b.value(OpKind::Mul, {t, f}), f, b.reduce(r == 0 ? ReduceKind::Max : ReduceKind::Sum, t, 1)});
    }
    k.store_whole(y, k.b.value(OpKind::Add, {branch->result(0), branch->result(1)}));
    k.store_whole(z, branch->result(2));
    Differential d(k.take());
    d.tensor("x", Buffer(DType::F32, {5, 18}).fill_integers(1, 5));
    d.scalar("flag", c);
    d.tensor("y", Buffer(DType::F32, {5, 18}));
    d.tensor("z", Buffer(DType::F32, {5, 1}));
    d.check();
  }
}

TEST(CpuControl, while_runs_as_long_as_its_condition_holds) {
  KernelMaker k;
  Value* x = k.view("x", DType::F32, {21});
  Value* y = k.view("y", DType::F32, {21}, Mode::Out);
  Value* s = k.view("s", DType::I32, {1}, Mode::Out);
  Value* t = k.load_whole(x, {21});
  Value* zero = k.b.constant(ir::scalar(DType::I32), std::int64_t{0});
  const std::vector<ir::Type> types = {TileType{DType::F32, {21}}, ir::scalar(DType::I32)};
  ir::Op* loop = control(k.b, OpKind::While, {t, zero}, types, 2);
  for (std::size_t r = 0; r < 2; ++r)
    for (const ir::Type& type : types) loop->region(r).add_arg(type);
  Builder test(loop->region(0));
  Value* top = test.reshape(test.reduce(ReduceKind::Max, loop->region(0).args[0].get(), 0), {});
  test.yield({test.value(OpKind::Lt, {top, test.constant(ir::scalar(DType::F32), 1000.0)})});
  Builder body(loop->region(1));
  Value* a = loop->region(1).args[0].get();
  body.yield({body.value(OpKind::Add, {a, a}),
              body.value(OpKind::Add, {loop->region(1).args[1].get(), body.constant(ir::scalar(DType::I32), std::int64_t{1})})});
  k.store_whole(y, loop->result(0));
  k.store_whole(s, k.b.reshape(loop->result(1), {1}));
  Differential d(k.take());
  d.tensor("x", Buffer(DType::F32, {21}).fill_integers(1, 5));
  d.tensor("y", Buffer(DType::F32, {21}));
  d.tensor("s", Buffer(DType::I32, {1}));
  d.check();
}

TEST(CpuControl, nested_loops_share_an_accumulator) {
  KernelMaker k;
  Value* x = k.view("x", DType::F32, {6, 40});
  Value* y = k.view("y", DType::F32, {6, 20}, Mode::Out);
  Value* zero = k.b.constant(TileType{DType::F32, {6, 20}}, 0.0);
  ir::Op* outer = make_for(k.b, k.b.idx(0), k.b.idx(3), k.b.idx(1), {zero}, [&](Builder& b, Value*, std::vector<Value*> c) {
    ir::Op* inner = make_for(b, b.idx(0), b.idx(40), b.idx(20), {c[0]}, [&](Builder& in, Value* iv, std::vector<Value*> d) {
      Value* cols = in.range(iv, in.idx(0), in.idx(40), 20);
      Value* rows = in.range(in.idx(0), in.idx(0), in.idx(6), 6);
      Value* t = in.value(OpKind::Load, {x, rows, cols});
      return std::vector<Value*>{in.value(OpKind::Add, {in.value(OpKind::Mul, {d[0], in.constant(ir::scalar(DType::F32), 2.0)}), t})};
    });
    return std::vector<Value*>{b.value(OpKind::Add, {inner->result(0), c[0]})};
  });
  k.store_whole(y, outer->result(0));
  Differential d(k.take());
  d.tensor("x", Buffer(DType::F32, {6, 40}).fill_integers(1, 5));
  d.tensor("y", Buffer(DType::F32, {6, 20}));
  d.check();
}

TEST(CpuControl, asserts_report_the_first_failure_and_its_instance) {
  KernelMaker k;
  Value* x = k.view("x", DType::I32, {Sym::symbol("N")});
  Value* i = k.grid("i", ceil_div(Sym::symbol("N"), 16));
  Value* r = k.part(k.b.value(OpKind::Mul, {i, k.b.idx(16)}), k.b.sym("N"), 16);
  Value* t = k.load(x, {r}, {{Attr::Zero, std::int64_t{1}}});
  k.b.op(OpKind::Assert, {k.b.value(OpKind::Ge, {t, k.b.constant(ir::scalar(DType::I32), std::int64_t{0})})},
         {{Attr::Message, std::string("not negative")}});
  auto kernel = k.take();
  for (const bool bad : {false, true}) {
    Differential d(kernel->clone());
    d.options.checks = true;
    Buffer& b = d.tensor("x", Buffer(DType::I32, {50}));
    if (bad) b.set_int(37, -1);
    d.run_compiled();
    EXPECT_EQ(d.report.failed_check, bad ? 1 : 0);
    if (!bad) continue;
    EXPECT_EQ(d.report.instance, 2);
    ASSERT_EQ(d.checks.size(), 1u);
    EXPECT_EQ(d.checks[0].message, "not negative");
  }
}

/// x = f(x) `length` times, from the view's element or its whole tile.
void check_chain(const Dims& shape, int length, const std::function<Value*(Builder&, Value* x, Value* first)>& f) {
  KernelMaker k;
  Value* x = k.view("x", DType::I32, syms(shape));
  Value* y = k.view("y", DType::I32, syms(shape), Mode::Out);
  Value* first = k.load_whole(x, shape);
  Value* t = first;
  for (int i = 0; i < length; ++i) t = f(k.b, t, first);
  k.store_whole(y, t);
  Differential d(k.take());
  d.options.codegen_level = 0;  // LLVM's time for one long block grows with its square at the others
  d.tensor("x", random_bits(DType::I32, shape, 3));
  d.tensor("y", Buffer(DType::I32, shape));
  d.check();
}

/// Runs `f` on a stack of so many bytes.
void with_stack(std::size_t bytes, const std::function<void()>& f) {
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, bytes), 0);
  pthread_t thread;
  const auto run = [](void* g) -> void* {
    (*static_cast<const std::function<void()>*>(g))();
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, run, const_cast<std::function<void()>*>(&f)), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

TEST(CpuControl, long_chains_need_no_deep_stack) {
  const auto step = [](Builder& b, Value* x, Value* first) { return b.value(OpKind::Add, {b.value(OpKind::Mul, {x, first}), first}); };
  with_stack(std::size_t{1} << 20, [&] {
    check_chain({1}, 4'000, step);
    check_chain({5, 20}, 1'000, step);
  });
}

TEST(CpuControl, expressions_that_double_at_every_step_stay_small) {
  const auto step = [](Builder& b, Value* x, Value*) { return b.value(OpKind::Sub, {b.value(OpKind::Mul, {x, x}), x}); };
  check_chain({1}, 90, step);
  check_chain({5, 20}, 90, step);
}

TEST(CpuControl, one_instance_at_a_time_gives_the_same_bits) {
  auto kernel = load_kernel("attention");
  std::vector<std::vector<unsigned char>> results;
  for (const std::int64_t by : {0, 1}) {
    Differential d(kernel->clone());
    d.tensor("q", Buffer(DType::BF16, {1, 70, 2, 64}).fill_random(8));
    d.tensor("k", Buffer(DType::BF16, {1, 90, 1, 64}).fill_random(9));
    d.tensor("v", Buffer(DType::BF16, {1, 90, 1, 64}).fill_random(10));
    d.tensor("o", Buffer(DType::BF16, {1, 70, 2, 64}));
    d.tensor("lse", Buffer(DType::F32, {1, 2, 70}));
    d.scalar("scale", 0.125);
    d.symbol("R", 2);
    d.run_compiled(by);
    results.push_back(d.result("o").bytes);
  }
  EXPECT_EQ(results[0], results[1]);
}

}  // namespace
}  // namespace tessera::test
