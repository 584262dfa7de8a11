#include "dsl/ir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "dsl/builder.h"
#include "dsl/diagnostic.h"
#include "dsl/frame.h"
#include "dsl/schedule.h"
#include "dsl/text.h"
#include "dsl/verify.h"
#include "tests/dsl/op_samples.h"

namespace tessera::ir {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::unique_ptr<Kernel> parse(const std::string& text) {
  SourceMap sources;
  Diagnostics ds;
  FileId file = sources.add("k.ir", text);
  auto k = parse_kernel(sources, file, ds);
  EXPECT_NE(k, nullptr) << render(ds, sources);
  return k;
}
std::vector<std::string> op_names(const Block& b) {
  std::vector<std::string> names;
  walk(b, [&](const Op& op) { names.emplace_back(info(op.kind).name); });
  return names;
}

TEST(Tables, NamesAreUniqueAndFound) {
  std::set<std::string> names;
  for (OpKind k : all_ops()) {
    EXPECT_TRUE(names.insert(info(k).name).second);
    EXPECT_EQ(op_from_name(info(k).name), k);
  }
  EXPECT_EQ(op_from_name("nothing"), std::nullopt);
  for (auto a = Attr::Value; a <= Attr::Scope; a = static_cast<Attr>(static_cast<int>(a) + 1)) EXPECT_EQ(attr_from_name(name(a)), a);
  EXPECT_EQ(attr_from_name("nothing"), std::nullopt);
  for (DirectiveKind k : all_directives()) EXPECT_EQ(directive_from_name(info(k).name), k);
  EXPECT_EQ(directive_from_name("nothing"), std::nullopt);
}

TEST(Tables, TraitsAreWhatTheTableSays) {
  EXPECT_TRUE(has(OpKind::Add, Trait::Commutative));
  EXPECT_TRUE(has(OpKind::Add, Trait::Pure));
  EXPECT_TRUE(has(OpKind::Add, Trait::Elementwise));
  EXPECT_FALSE(has(OpKind::Sub, Trait::Commutative));
  EXPECT_FALSE(has(OpKind::Reshape, Trait::Elementwise));
  EXPECT_TRUE(has(OpKind::FetchAdd, Trait::Reads));
  EXPECT_TRUE(has(OpKind::FetchAdd, Trait::Writes));
  EXPECT_FALSE(has(OpKind::Load, Trait::Pure));
  EXPECT_TRUE(has(OpKind::Yield, Trait::Terminator));
}

TEST(Types, Broadcast) {
  Dims out;
  EXPECT_TRUE(broadcast({}, {}, out));
  EXPECT_THAT(out, IsEmpty());
  EXPECT_TRUE(broadcast({4, 1}, {1, 8}, out));
  EXPECT_THAT(out, ElementsAre(4, 8));
  EXPECT_TRUE(broadcast({}, {3}, out));
  EXPECT_THAT(out, ElementsAre(3));
  EXPECT_FALSE(broadcast({4}, {4, 1}, out));
  EXPECT_FALSE(broadcast({4}, {3}, out));
  EXPECT_TRUE(broadcast(out, {1}, out)) << "the result may be an operand";
}

TEST(Types, Text) {
  EXPECT_EQ(str(Type(TileType{DType::BF16, {64, 128}})), "bf16[64, 128]");
  EXPECT_EQ(str(Type(scalar(DType::Idx))), "idx");
  EXPECT_EQ(str(Type(RangeType{64})), "range<64>");
  EXPECT_EQ(str(Type(ViewType{DType::F32, 3, Mode::In})), "view<f32, 3>");
  EXPECT_EQ(str(Type(ViewType{DType::F32, 3, Mode::Scatter})), "view<f32, 3, scatter>");
  EXPECT_EQ((TileType{DType::F32, {3, 4}}.elements()), 12);
  EXPECT_EQ((TileType{DType::F32, {}}.elements()), 1);
  EXPECT_EQ((TileType{DType::F32, {std::int64_t{1} << 40, std::int64_t{1} << 40}}.elements()), std::numeric_limits<std::int64_t>::max());
}

TEST(Ir, AttributesThatAreNotThere) {
  Op op;
  EXPECT_EQ(op.int_attr(Attr::Axis, 7), 7);
  EXPECT_EQ(op.string_attr(Attr::Name), "");
  EXPECT_THROW(op.dims_attr(Attr::Perm), InternalError);
  EXPECT_THROW(op.float_attr(Attr::Value), InternalError);
  op.attrs[Attr::Value] = std::int64_t{3};
  EXPECT_EQ(op.float_attr(Attr::Value), 3.0);
  op.attrs[Attr::Axis] = std::string("x");
  EXPECT_THROW(op.int_attr(Attr::Axis), InternalError);
}

TEST(Ir, BuilderGivesSpansAndRefusesIllTypedOps) {
  Block body;
  Builder b(body);
  b.set_span({3, 5, 9});
  Value* x = b.constant(scalar(DType::F32), 1.0);
  EXPECT_EQ(x->def->span, (Span{3, 5, 9}));
  EXPECT_EQ(x->def->parent, &body);
  EXPECT_THROW(b.value(OpKind::Add, {x, b.idx(1)}), InternalError);
  EXPECT_EQ(body.ops.size(), 2u) << "a refused op is not appended";
  EXPECT_EQ(b.cast(x, DType::I8, true, Rounding::Up)->def->int_attr(Attr::Rounding), 2);
}

TEST(Ir, WalkIsPreOrder) {
  auto k = parse("kernel k(%c: bool, %a: f32) { %x = if %c : f32 () { %y = neg %a : f32 yield %y } () { yield %a } yield }");
  EXPECT_THAT(op_names(k->body), ElementsAre("if", "neg", "yield", "yield", "yield"));
}

TEST(Ir, UsesAreCountedInRegionsToo) {
  auto k = parse("kernel k(%c: bool, %a: f32) { %x = if %c : f32 () { %y = add %a, %a : f32 yield %y } () { yield %a } yield }");
  auto uses = count_uses(k->body);
  EXPECT_EQ(uses[k->body.args[1].get()], 3);
  EXPECT_EQ(uses[k->body.args[0].get()], 1);
  EXPECT_EQ(uses[k->body.ops[0]->result()], 0);
}

TEST(Ir, ReplacementsFollowChains) {
  auto k =
      parse("kernel k(%c: bool, %a: f32, %b: f32) { %x = neg %a : f32 %y = neg %b : f32 if %c () { print %x yield } () { yield } print %y yield }");
  Value *x = k->body.ops[0]->result(), *y = k->body.ops[1]->result(), *a = k->body.args[1].get();
  replace_uses(k->body, {{x, y}, {y, a}});
  EXPECT_EQ(k->body.ops[2]->region(0).ops[0]->operands[0], a);
  EXPECT_EQ(k->body.ops[3]->operands[0], a);
  replace_uses(k->body, {{a, a}});  // a value that maps to itself is no cycle
  EXPECT_THAT(verify(*k), IsEmpty());
}

TEST(Ir, ClonesAreIndependent) {
  auto k = parse("kernel k(%n: idx, %a: f32) { %x = for %n, %n, %n, %a : f32 (%i: idx, %v: f32) { %w = neg %v : f32 yield %w } yield }");
  const Op& loop = *k->body.ops[0];
  Block target;
  ValueMap map;
  Value* other = target.add_arg(scalar(DType::F32));
  map[k->body.args[1].get()] = other;
  auto copy = clone(loop, map);
  EXPECT_EQ(copy->operands[3], other);
  EXPECT_EQ(copy->operands[0], k->body.args[0].get()) << "unmapped operands stay";
  EXPECT_EQ(map.at(loop.result()), copy->result());
  EXPECT_EQ(copy->result()->def, copy.get());
  const Block& r = copy->region();
  EXPECT_EQ(r.parent, copy.get());
  EXPECT_EQ(r.args[1]->block, &r);
  EXPECT_EQ(r.ops[0]->operands[0], r.args[1].get());
  EXPECT_EQ(r.ops[0]->parent, &r);
  clone_ops(loop.region(), target, map, false);
  EXPECT_THAT(op_names(target), ElementsAre("neg"));
  EXPECT_EQ(target.ops[0]->parent, &target);
}

TEST(Ir, DeadOpsGoBottomUp) {
  auto k = parse(R"(kernel k(%x: view f32[8], %c: bool, %n: idx, %a: f32) {
    %r = range %n, %n, %n {size = 8} : range<8>
    %t = load %x, %r : f32[8]
    %u = neg %t : f32[8]
    %d = for %n, %n, %n, %a : f32 (%i: idx, %v: f32) {
      %w = neg %v : f32
      yield %w
    }
    %e = if %c : f32 () { yield %d } () { yield %a }
    %f = if %c : f32 () { print %a yield %a } () { %dead = neg %a : f32 yield %a }
    %g = while %a : f32 (%p: f32) { yield %c } (%q: f32) { yield %q }
    print %a
    yield
  })");
  remove_dead(k->body);
  EXPECT_THAT(verify(*k), IsEmpty());
  EXPECT_THAT(op_names(k->body), ElementsAre("if", "print", "yield", "yield", "while", "yield", "yield", "print", "yield"));
}

TEST(Ir, ConstantsAreSeenThroughShapes) {
  Block body;
  Builder b(body);
  Value* f = b.broadcast(b.reshape(b.constant(TileType{DType::F32, {1}}, -0.5), {1, 1}), {4, 8});
  EXPECT_EQ(constant_float(f), -0.5);
  EXPECT_EQ(constant_int(f), std::nullopt);
  Value* i = b.broadcast(b.idx(7), {4});
  EXPECT_EQ(constant_int(i), 7);
  EXPECT_EQ(constant_float(i), std::nullopt);
  EXPECT_EQ(constant_int(b.constant(scalar(DType::Bool), std::int64_t{1})), 1);
  EXPECT_EQ(constant_int(b.value(OpKind::Add, {b.idx(1), b.idx(2)})), std::nullopt);
  EXPECT_EQ(constant_float(body.add_arg(scalar(DType::F32))), std::nullopt);
}

TEST(Ir, KernelsCloneWhole) {
  auto k = OpSamples().take();
  k->where.push_back({Compare::Eq, Sym::symbol("M"), {8}});
  k->strict = k->deterministic = k->resident = true;
  k->constants = {{"BM", "64"}};
  k->in_place = {{"y", "x"}};
  k->span = {1, 2, 3};
  auto copy = k->clone();
  EXPECT_EQ(print(*copy), print(*k));
  EXPECT_EQ(copy->span, k->span);
  EXPECT_THAT(verify(*copy), IsEmpty());
}

TEST(Frame, LayoutFollowsTheParameters) {
  auto k = parse(R"(kernel k(
    %n: i32,
    %q: view bf16[B, S],
    gone: view f32[S] absent,
    %p: peer[4] view f32[S, 8, 8],
    %a: f32
  ) symbols(B, S) grid(%i < ceil(S, 64), %j < B - 1) { yield })");
  FrameLayout l = frame_layout(*k);
  EXPECT_EQ(l.params[1].base, 0u);
  EXPECT_EQ(l.params[1].extents, 1u);
  EXPECT_EQ(l.params[1].strides, 3u);
  EXPECT_EQ(l.params[3].base, 5u);
  EXPECT_EQ(l.params[3].extents, 9u);
  EXPECT_EQ(l.params[3].strides, 12u);
  EXPECT_EQ(l.params[0].base, 15u);
  EXPECT_EQ(l.params[4].base, 16u);
  EXPECT_THAT(l.symbols, ElementsAre(17u, 18u));
  EXPECT_EQ(l.words, 19u);
  std::vector<std::uint64_t> frame(l.words);
  frame[l.symbols[0]] = 3;
  frame[l.symbols[1]] = 65;
  EXPECT_THAT(grid_counts(*k, l, frame), ElementsAre(2, 2));
  frame[l.symbols[0]] = 0;
  EXPECT_THAT(grid_counts(*k, l, frame), ElementsAre(2, 0)) << "a grid is never negative";
}

}  // namespace
}  // namespace tessera::ir
