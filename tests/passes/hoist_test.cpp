#include "codegen/passes/hoist.h"

#include <gtest/gtest.h>

#include "tests/passes/support.h"

namespace tessera::test {
namespace {

/// Two loops in a row over s, the second with invariants: a scalar, a tile, and a scalar that needs the first loop's result.
constexpr const char* kTwoLoops = R"(kernel k(
  %x: view f32[N],
  %o: out view f32[4],
  %a: f32
)
symbols(N)
grid(%i < 1)
{
  %c0 = const {value = 0} : idx
  %c1 = const {value = 1} : idx
  %c4 = const {value = 4} : idx
  %n = sym {name = "N"} : idx
  %s0 = const {value = 0.0} : f32
  %all = range %c0, %c0, %c4 {size = 4, full} : range<4>
  %s = for %c0, %n, %c1, %s0 : f32 (%j: idx, %before: f32) {
    %e = load %x, %j : f32
    %t = add %before, %e : f32
    yield %t
  }
  %r = for %c0, %n, %c1, %s0 : f32 (%j: idx, %before: f32) {
    %aa = mul %a, %a : f32
    %sa = mul %s, %a : f32
    %tile = broadcast %a : f32[4]
    %red = reduce %tile {axis = 0, kind = sum} : f32[1]
    %sum = reshape %red : f32
    %e = load %x, %j : f32
    %y = fma %e, %aa, %sa : f32
    %z = add %y, %sum : f32
    %t = add %before, %z : f32
    yield %t
  }
  %rt = broadcast %r : f32[4]
  store %o, %rt, %all
  yield
}
)";

TEST(Hoist, ScalarsGoOnBeforeTheLoopsInFront) {
  const auto before = parse_ir(kTwoLoops);
  auto after = before->clone();
  EXPECT_TRUE(ir::hoist_invariants(*after));
  expect_sound(*after);
  for (const std::int64_t n : {0, 1, 5}) expect_same(run(*before, {{"N", n}}), run(*after, {{"N", n}}));
  std::vector<std::string> order;
  for (const auto& op : after->body.ops) {
    const bool made = !op->results.empty() && op->operands.size() > 0 && op->kind != ir::OpKind::Range;
    if (op->kind == ir::OpKind::For) {
      order.emplace_back("for");
    } else if (made) {
      order.push_back(op->result()->hint);
    }
  }
  // %sum is made of a tile, which stays where its loop is; %sa needs the first loop.
  EXPECT_EQ(order, (std::vector<std::string>{"aa", "for", "sa", "tile", "red", "sum", "for", "rt"})) << ir::print(*after);
}

}  // namespace
}  // namespace tessera::test
