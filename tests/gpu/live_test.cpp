// Which instances the plan knows to do nothing, and which it may not think so of.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codegen/gpu/plan.h"
#include "dsl/text.h"
#include "tests/gpu/warpgroup_text.h"
#include "tests/ir/kernels.h"

namespace tessera::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// Rows ptr[b] .. ptr[b + 1] of x go to y, eight an instance; `start` and `end` of the rows, and what else the instance does.
struct Form {
  std::string start = "%t8", end = "%n", more, stores = "store %yb, %x8, %rows, %cols";
};
std::unique_ptr<ir::Kernel> packed(const Form& f) {
  return parsed(fmt::format(R"(kernel k(
  %ptr: view i32[B + 1],
  %slots: view i32[MT],
  %x: view f32[N, 8],
  %y: scatter view f32[N, 8],
  %z: scatter view f32[N],
  %sums: add view f32[N],
  %flag: bool
)
symbols(B, MT, N)
grid(%t < MT, %h < 2, %b < B)
{{
  %c0 = const {{value = 0}} : idx
  %c1 = const {{value = 1}} : idx
  %c8 = const {{value = 8}} : idx
  %one = const {{value = 1.0}} : f32
  %next = add %b, %c1 : idx
  %lo32 = load %ptr, %b : i32
  %hi32 = load %ptr, %next : i32
  %lo = cast %lo32 : idx
  %hi = cast %hi32 : idx
  %n = sub %hi, %lo : idx
  %t8 = mul %t, %c8 : idx
  {}
  %cols = range %c0, %c0, %c8 {{size = 8, full}} : range<8>
  %rows = range {}, %c0, {} {{size = 8}} : range<8>
  %xb = view.span %x, %lo, %hi {{axis = 0}} : view<f32, 2, in>
  %yb = view.span %y, %lo, %hi {{axis = 0}} : view<f32, 2, scatter>
  %x8 = load %xb, %rows, %cols : f32[8, 8]
  {}
  yield
}}
)",
                            f.more, f.start, f.end, f.stores));
}

std::optional<gpu::Live> live(const ir::Kernel& kernel) { return gpu::Plan(kernel, {80}, {}).live(); }

TEST(LiveInstances, RowsBehindARequestAreNone) {
  const auto kernel = packed({});
  const std::optional<gpu::Live> l = live(*kernel);
  ASSERT_TRUE(l);
  ASSERT_EQ(l->effects.size(), 1u);
  ASSERT_EQ(l->effects[0].size(), 1u);
  EXPECT_EQ(l->effects[0][0].low->def->kind, ir::OpKind::Mul);
  EXPECT_EQ(l->effects[0][0].high->def->kind, ir::OpKind::Sub);
  EXPECT_EQ(l->counted, std::size_t{0});
  EXPECT_THAT(l->keys, ElementsAre(std::size_t{2}));
  EXPECT_FALSE(l->alike.empty());
  ASSERT_EQ(l->along.size(), 1u);  // where the rows begin
  EXPECT_EQ(l->along[0], l->effects[0][0].low->def);
}

TEST(LiveInstances, AnotherEffectKeepsThemAlive) {
  for (const char* more : {"store %z, %one, %t", "store %sums, %one, %t {add}", "%old = fetch_add %sums, %one, %t : f32"}) {
    SCOPED_TRACE(more);
    EXPECT_FALSE(live(*packed({.stores = std::string("store %yb, %x8, %rows, %cols\n  ") + more})));
  }
  // Only debug runs see it.
  EXPECT_TRUE(live(*packed({.stores = "store %yb, %x8, %rows, %cols\n  assert %flag {message = \"set\"}"})));
}

TEST(LiveInstances, AllEffectsMustBeNone) {
  const auto two = packed({.more = "%rest = sub %n, %c8 : idx\n  %less = range %t8, %c0, %rest {size = 8} : range<8>",
                           .stores = "store %yb, %x8, %rows, %cols\n  store %yb, %x8, %less, %cols"});
  const std::optional<gpu::Live> l = live(*two);
  ASSERT_TRUE(l);
  EXPECT_EQ(l->effects.size(), 2u);
  EXPECT_EQ(l->counted, std::size_t{0});
}

TEST(LiveInstances, BranchesThatAreNotTaken) {
  const auto branch =
      packed({.more = "%any = lt %t8, %n : bool", .stores = "if %any () {\n    store %z, %one, %t\n    yield\n  } () {\n    yield\n  }"});
  const std::optional<gpu::Live> l = live(*branch);
  ASSERT_TRUE(l);
  ASSERT_EQ(l->effects.size(), 1u);
  EXPECT_TRUE(l->effects[0][0].flag && l->effects[0][0].wanted);
  EXPECT_FALSE(l->counted);
  EXPECT_THAT(l->keys, ElementsAre(std::size_t{0}, std::size_t{2}));
  const auto other =
      packed({.more = "%any = lt %t8, %n : bool", .stores = "if %any () {\n    yield\n  } () {\n    store %z, %one, %t\n    yield\n  }"});
  ASSERT_TRUE(live(*other));
  EXPECT_FALSE(live(*other)->effects[0][0].wanted);
  // The same in all instances: nothing to choose.
  EXPECT_FALSE(live(*packed({.stores = "if %flag () {\n    store %z, %one, %t\n    yield\n  } () {\n    yield\n  }"})));
}

// Counting along an axis takes a proof that there is nothing behind the first that is none.
TEST(LiveInstances, CountedWhereNothingComesBehind) {
  const auto counted = [](const Form& f) {
    const auto kernel = packed(f);
    const std::optional<gpu::Live> l = live(*kernel);
    EXPECT_TRUE(l) << f.more;
    return l ? l->counted : std::nullopt;
  };
  EXPECT_EQ(counted({.start = "%from", .more = "%from = sub %t8, %c1 : idx"}), std::size_t{0});
  EXPECT_EQ(counted({.end = "%to", .more = "%to = sub %n, %t8 : idx"}), std::size_t{0});
  // Begins earlier the larger t is; ends later.
  EXPECT_EQ(counted({.start = "%from", .more = "%from = sub %n, %t8 : idx"}), std::nullopt);
  EXPECT_EQ(counted({.end = "%to", .more = "%to = add %n, %t8 : idx"}), std::nullopt);
  // By a number that memory holds and that may be negative.
  EXPECT_EQ(counted({.start = "%from", .more = "%from = mul %t, %lo : idx"}), std::nullopt);
  EXPECT_EQ(counted({.start = "%from", .more = "%size = max %lo, %c1 : idx\n  %from = mul %t, %size : idx"}), std::size_t{0});
}

TEST(LiveInstances, DenseKernelsHaveNone) {
  EXPECT_FALSE(live(*load_kernel("copy")));
  EXPECT_FALSE(live(*parsed(gemm_text({}))));
  EXPECT_FALSE(live(*parsed(attention_text({}))));
}

}  // namespace
}  // namespace tessera::test
