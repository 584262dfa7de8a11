#include <gmock/gmock.h>

#include "tests/dsl/interpret_support.h"

namespace tessera::test {
namespace {

using ir::Attr;
using ir::Attrs;
using ir::OpKind;

const ir::TileType kI32 = ir::scalar(DType::I32);

/// sum and product of iv over lo .. hi by step, as two carried values.
Values loop(ir::Builder& b, std::int64_t lo, std::int64_t hi, std::int64_t step) {
  ir::Op* op = b.for_loop(b.idx(lo), b.idx(hi), b.idx(step), {b.idx(0), b.idx(1)});
  ir::Block& body = op->region();
  ir::Builder r(body);
  r.yield({r.value(OpKind::Add, {body.args[1].get(), body.args[0].get()}), r.value(OpKind::Mul, {body.args[2].get(), body.args[0].get()})});
  return {op->result(0), op->result(1)};
}

void for_loops() {
  const auto run = [](std::int64_t lo, std::int64_t hi, std::int64_t step) {
    const auto got = compute({}, [&](ir::Builder& b, const Values&) { return loop(b, lo, hi, step); });
    return std::vector<std::int64_t>{got[0].get_int(0), got[1].get_int(0)};
  };
  EXPECT_EQ(run(1, 6, 2), (std::vector<std::int64_t>{9, 15}));
  EXPECT_EQ(run(3, 3, 1), (std::vector<std::int64_t>{0, 1}));
  EXPECT_EQ(run(5, 3, 1), (std::vector<std::int64_t>{0, 1}));
  EXPECT_EQ(run(5, 3, 0), (std::vector<std::int64_t>{0, 1}));
  EXPECT_THROW(run(0, 3, 0), InterpretError);
}

/// Carried values that swap places: the yield is read before any argument changes.
void loops_swap() {
  const auto got = compute({}, [](ir::Builder& b, const Values&) {
    ir::Op* op = b.for_loop(b.idx(0), b.idx(3), b.idx(1), {b.idx(7), b.idx(8)});
    ir::Block& body = op->region();
    ir::Builder(body).yield({body.args[2].get(), body.args[1].get()});
    return Values{op->result(0), op->result(1)};
  });
  expect_ints(got[0], {8}, "swapped");
  expect_ints(got[1], {7}, "swapped");
}

/// Euclid's algorithm.
Values gcd(ir::Builder& b, std::int64_t x, std::int64_t y) {
  ir::Op* op = b.while_loop({b.constant(kI32, x), b.constant(kI32, y)});
  ir::Block& cond = op->region(0);
  ir::Builder c(cond);
  c.yield({c.value(OpKind::Ne, {cond.args[1].get(), c.constant(kI32, std::int64_t{0})})});
  ir::Block& body = op->region(1);
  ir::Builder r(body);
  r.yield({body.args[1].get(), r.value(OpKind::Mod, {body.args[0].get(), body.args[1].get()})});
  return {op->result(0)};
}

void while_loops() {
  expect_ints(compute({}, [](ir::Builder& b, const Values&) { return gcd(b, 84, 36); })[0], {12}, "gcd");
  expect_ints(compute({}, [](ir::Builder& b, const Values&) { return gcd(b, 5, 0); })[0], {5}, "no trip");
}

void step_limit() {
  InterpretOptions options;
  options.max_steps = 1000;
  const Build forever = [](ir::Builder& b, const Values&) {
    ir::Op* op = b.while_loop({b.idx(0)});
    ir::Builder c(op->region(0));
    c.yield({c.constant(ir::scalar(DType::Bool), std::int64_t{1})});
    ir::Builder(op->region(1)).yield({op->region(1).args[0].get()});
    return Values{op->result()};
  };
  EXPECT_THROW(compute({}, forever, options), InterpretError);
  EXPECT_NO_THROW(compute({}, [](ir::Builder& b, const Values&) { return gcd(b, 84, 36); }, options));
}

void branches() {
  for (const std::int64_t which : {1, 0}) {
    const auto got = compute({ints(DType::Bool, {}, {which})}, [](ir::Builder& b, const Values& v) {
      ir::Op* op = b.if_else(v[0], {kI32});
      ir::Builder yes(op->region(0));
      yes.yield({yes.constant(kI32, std::int64_t{10})});
      ir::Builder no(op->region(1));
      no.yield({no.constant(kI32, std::int64_t{20})});
      return Values{op->result()};
    });
    expect_ints(got[0], {which != 0 ? 10 : 20}, "if");
  }
}

std::string failure(const std::function<void()>& f) {
  try {
    f();
  } catch (const InterpretError& e) {
    return e.what();
  }
  return "";
}

void asserts() {
  const auto run = [](std::vector<std::int64_t> x) {
    compute({ints(DType::Bool, {3}, x)}, [](ir::Builder& b, const Values& v) {
      b.op(OpKind::Assert, {v[0]}, {{Attr::Message, std::string("rows are sorted")}});
      return Values{};
    });
  };
  EXPECT_EQ(failure([&] { run({1, 1, 1}); }), "");
  EXPECT_THAT(failure([&] { run({1, 0, 1}); }), testing::HasSubstr("rows are sorted"));
}

void prints() {
  std::vector<std::string> lines;
  InterpretOptions options;
  options.print = [&](const std::string& s) { lines.push_back(s); };
  compute(
      {floats(DType::F32, {2, 2}, {1, 2.5, -3, 0}), ints(DType::Bool, {}, {1})},
      [](ir::Builder& b, const Values& v) {
        b.op(OpKind::Print, {v[0]}, {{Attr::Message, std::string("x")}});
        b.op(OpKind::Print, {v[1]}, {{Attr::Message, std::string("flag")}});
        return Values{};
      },
      options);
  EXPECT_THAT(lines, testing::ElementsAre("x: f32[2, 2] = [[1, 2.5], [-3, 0]]", "flag: bool = true"));
}

/// A kernel over N instances; instance i claims ids[i, :].
std::string claim(std::int64_t instances, std::int64_t per, const std::vector<std::int64_t>& ids, bool with_instance) {
  KernelMaker t;
  ir::Value* v = t.view("ids", DType::I32, {Sym(instances), Sym(per)}, ir::Mode::In);
  t.kernel.grid.push_back({"i", Sym(instances)});
  ir::Value* i = t.kernel.body.add_arg(ir::scalar(DType::Idx));
  ir::Value* x = t.b.value(OpKind::Load, {v, i, t.all(per)});
  Values operands = {x};
  if (with_instance) operands.push_back(i);
  t.b.op(OpKind::Claim, operands, {{Attr::Kind, std::string("unique")}, {Attr::Message, std::string("each once")}});
  t.b.yield({});
  Buffer data = ints(DType::I32, {instances, per}, ids);
  Launch launch(t.kernel);
  launch.view("ids", data);
  return failure([&] { interpret(t.kernel, launch.frame()); });
}

void claims() {
  EXPECT_EQ(claim(2, 3, {0, 2, 1, 5, 4, 3}, false), "");
  EXPECT_EQ(claim(2, 3, {0, -1, -1, 5, -1, 3}, false), "");
  EXPECT_THAT(claim(2, 2, {0, 1, 1, 2}, false), testing::HasSubstr("each once"));
  EXPECT_THAT(claim(1, 2, {4, 4}, false), testing::HasSubstr("(4)"));
  EXPECT_EQ(claim(2, 2, {0, 1, 1, 2}, true), "");
}

void claims_of_ranges_and_masks() {
  const auto run = [](std::int64_t second_start, std::vector<std::int64_t> when) {
    return failure([&] {
      KernelMaker t;
      Buffer mask = ints(DType::Bool, {4}, when);
      ir::Value* w = t.b.value(OpKind::Load, t.all(t.view("when", mask, ir::Mode::In), {4}));
      ir::Op* loop = t.b.for_loop(t.b.idx(0), t.b.idx(2), t.b.idx(1), {});
      ir::Builder r(loop->region());
      ir::Value* start = r.value(OpKind::Mul, {loop->region().args[0].get(), r.idx(second_start)});
      ir::Value* range = r.range(start, r.idx(0), r.idx(7), 4);
      r.op(OpKind::Claim, {range, w}, {{Attr::Kind, std::string("unique")}});
      r.yield({});
      t.b.yield({});
      Launch launch(t.kernel);
      launch.view("when", mask);
      interpret(t.kernel, launch.frame());
    });
  };
  EXPECT_EQ(run(4, {1, 1, 1, 1}), "");
  EXPECT_THAT(run(3, {1, 1, 1, 1}), testing::HasSubstr("(3)"));
  EXPECT_EQ(run(3, {1, 1, 1, 0}), "");
}

/// Grid order: the first axis varies fastest.
void instances() {
  Buffer order(DType::I32, {2, 3}), counter = ints(DType::I32, {1}, {0});
  KernelMaker t;
  ir::Value* out = t.view("order", order, ir::Mode::Out);
  ir::Value* next = t.view("counter", counter, ir::Mode::Add);
  t.kernel.symbols.push_back("N");
  t.kernel.grid = {{"x", Sym::symbol("N")}, {"y", Sym(2)}};
  ir::Value* x = t.kernel.body.add_arg(ir::scalar(DType::Idx));
  ir::Value* y = t.kernel.body.add_arg(ir::scalar(DType::Idx));
  ir::Value* n = t.b.value(OpKind::FetchAdd, {next, t.b.constant(kI32, std::int64_t{1}), t.b.idx(0)});
  t.b.op(OpKind::Store, {out, n, y, x});
  t.b.yield({});
  Launch launch(t.kernel);
  launch.view("order", order).view("counter", counter).symbol("N", 3);
  interpret(t.kernel, launch.frame());
  expect_ints(order, {0, 1, 2, 3, 4, 5}, "order");
}

TEST(InterpretLaunch, InstancesRunInGridOrder) { instances(); }

TEST(InterpretLaunch, ScalarsAreReadFromTheFrame) {
  Buffer f(DType::F32, {}), i(DType::I8, {}), h(DType::BF16, {});
  KernelMaker t;
  ir::Value* sf = t.scalar("sf", DType::F32);
  ir::Value* vf = t.view("f", f, ir::Mode::Out);
  ir::Value* si = t.scalar("si", DType::I8);
  ir::Value* vi = t.view("i", i, ir::Mode::Out);
  ir::Value* sh = t.scalar("sh", DType::BF16);
  ir::Value* vh = t.view("h", h, ir::Mode::Out);
  t.b.op(OpKind::Store, {vf, sf});
  t.b.op(OpKind::Store, {vi, si});
  t.b.op(OpKind::Store, {vh, sh});
  t.b.yield({});
  Launch launch(t.kernel);
  launch.view("f", f).view("i", i).view("h", h).scalar("sf", 1.5).scalar("si", -7).scalar("sh", 0.25);
  interpret(t.kernel, launch.frame());
  EXPECT_EQ(f.get(0), 1.5);
  EXPECT_EQ(i.get_int(0), -7);
  EXPECT_EQ(h.get(0), 0.25);
}

}  // namespace

std::vector<Case> control_cases() {
  return {
      {OpKind::For, "trips and carried values", for_loops}, {OpKind::For, "yielded values are read together", loops_swap},
      {OpKind::While, "runs while true", while_loops},      {OpKind::While, "step limit", step_limit},
      {OpKind::If, "takes one region", branches},           {OpKind::Yield, "hands values out of a region", branches},
      {OpKind::Assert, "false anywhere", asserts},          {OpKind::Print, "text form", prints},
      {OpKind::Claim, "unique over the launch", claims},    {OpKind::Claim, "ranges and masks", claims_of_ranges_and_masks},
  };
}

}  // namespace tessera::test
