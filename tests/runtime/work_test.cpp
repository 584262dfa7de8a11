// Counted products and bytes, winners files, shapes from symbols.
#include "runtime/work.h"

#include <gtest/gtest.h>

#include "runtime/winners.h"
#include "tests/ir/kernels.h"
#include "tests/runtime/signatures.h"

namespace tessera {
namespace {

using test::code_of;
using test::dims;

TEST(Work, GemmCountsMultiplyAdds) {
  const auto k = test::load_kernel("gemm");
  // The kernel's tiles are 32 x 48 x 16; what sticks out is counted too.
  SymbolValues symbols{{"M", 64}, {"N", 96}, {"K", 64}};
  const Work w = count_work(*k, symbols);
  EXPECT_EQ(w.flops, 2.0 * 64 * 96 * 64);
  EXPECT_EQ(count_work(*k, {{"M", 33}, {"N", 49}, {"K", 49}}).flops, 2.0 * 64 * 96 * 64);
  EXPECT_GT(w.bytes, 0);
  for (auto& [n, v] : symbols) v = 0;
  EXPECT_EQ(count_work(*k, symbols).flops, 0.0);
  EXPECT_EQ(count_work(*k, symbols).bytes, 0);
}

TEST(Work, KernelsWithoutProductsHaveNone) {
  const auto k = test::load_kernel("softmax");
  SymbolValues symbols;
  for (const std::string& s : k->symbols) symbols[s] = 100;
  EXPECT_EQ(count_work(*k, symbols).flops, 0.0);
}

TEST(Shapes, FollowFromSymbolsAndWhere) {
  auto k = test::signature(
      "k",
      {test::view_param("q", DType::F32, ir::Mode::In, dims({"H", "2*S + 1"})), test::view_param("k", DType::F32, ir::Mode::In, dims({"G"})),
       test::view_param("o", DType::F32, ir::Mode::Out, dims({"H", "S", "4"})), test::view_param("p", DType::F32, ir::Mode::Out, dims({"X"}))},
      {"H", "S", "G", "X"});
  k->where.push_back({Compare::Eq, Sym::symbol("H"), {Sym(3) * Sym::symbol("G")}});
  const SymbolValues s = infer_symbols(*k, {{"q", {6, 11}}});
  EXPECT_EQ(s, (SymbolValues{{"G", 2}, {"H", 6}, {"S", 5}}));
  EXPECT_EQ(extents(k->params[2], s), (std::vector<std::int64_t>{6, 5, 4}));
  EXPECT_EQ(extents(k->params[1], s), (std::vector<std::int64_t>{2}));
  EXPECT_FALSE(extents(k->params[3], s));
  // 2*S + 1 cannot be 10: S stays unknown, and the launch will say why.
  EXPECT_FALSE(infer_symbols(*k, {{"q", {6, 10}}}).contains("S"));
  EXPECT_EQ(infer_symbols(*k, {}, {{"G", 4}}).at("H"), 12);
}

TEST(Winners, RoundTripAndMalformedLines) {
  const std::string text = "# kernel target keys : tuned constants\nfwd cpu D=128 T=bf16 bucket(Sq)=1024 : BM=64 BN=128\n";
  const std::vector<Winner> w = parse_winners(text, "w");
  ASSERT_EQ(w.size(), 1u);
  EXPECT_EQ(w[0].kernel, "fwd");
  EXPECT_EQ(w[0].keys.at("bucket(Sq)"), "1024");
  EXPECT_EQ(w[0].choices.at("BN"), "128");
  EXPECT_EQ(print_winners(w), text);
  EXPECT_TRUE(parse_winners("\n  # comment\n\n", "w").empty());
  for (const char* bad : {"fwd", "fwd cpu", "fwd cpu :", "fwd cpu BM=64", "fwd cpu : BM", "fwd cpu : =4", "fwd cpu : BM=", "fwd cpu : BM=1 BM=2",
                          "fwd cpu : BM=1 : BN=2"}) {
    EXPECT_EQ(code_of([&] { parse_winners(bad, "w"); }), "E0802") << bad;
  }
}

// A kernel's own line, then its skeleton's, then std's for the skeleton, then the first candidate.
TEST(Winners, SkeletonsServeTheirInstances) {
  const LoadResult file = load_program("mine.tile",
                                       "import std.attention as att;\n"
                                       "import std.variants as var_;\n"
                                       "kernel mine = att.fwd[X: att.None, variant: att.nothing];\n"
                                       "kernel heavy = att.fwd[X: var_.Drop, variant: var_.dropout];\n",
                                       {});
  ASSERT_TRUE(file.program);
  const auto tiles = [&](const std::string& winners, std::int64_t d, const char* kernel = "mine") {
    Diagnostics diagnostics;
    const Constants all = choose_tuned(*file.program, kernel, "sm_90a", {{"T", DType::BF16}, {"D", d}}, parse_winners(winners, "w"), {}, diagnostics);
    EXPECT_FALSE(diagnostics.any());
    return str(all.at("BM")) + "x" + str(all.at("BN"));
  };
  EXPECT_EQ(tiles("", 128), "128x128");
  EXPECT_EQ(tiles("", 40), "64x64") << "std has no line for heads of 40";
  EXPECT_EQ(tiles("", 128, "heavy"), "64x64") << "random numbers for every weight";
  EXPECT_EQ(tiles("std.attention.fwd sm_90a : BM=64 BN=96\n", 128, "heavy"), "64x96") << "what the file itself says";
  EXPECT_EQ(tiles("std.attention.fwd sm_90a : BM=64 BN=96\n", 128), "64x96");
  EXPECT_EQ(tiles("std.attention.fwd sm_90a T=bf16 D=128 : BM=64 BN=96\nmine sm_90a : BM=192 BN=80\n", 128), "192x80");
  EXPECT_EQ(tiles("fwd sm_90a : BM=64 BN=96\nother sm_90a : BM=64 BN=80\nmine sm_80 : BM=64 BN=80\n", 128), "128x128") << "lines of others";
}

TEST(Winners, ALineIsReplacedOrAdded) {
  const Winner w{"fwd", "cpu", {{"D", "64"}}, {{"BM", "8"}}};
  EXPECT_EQ(with_winner("", w, "w"), "# kernel target keys : tuned constants\nfwd cpu D=64 : BM=8\n");
  EXPECT_EQ(with_winner("# a\nfwd sm_80 D=64 : BM=1\nfwd cpu D=64 : BM=2\n\nfwd cpu : BM=3\nfwd cpu D=64 : BM=4", w, "w"),
            "# a\nfwd sm_80 D=64 : BM=1\nfwd cpu D=64 : BM=8\n\nfwd cpu : BM=3\n");
  EXPECT_EQ(code_of([&] { with_winner("fwd cpu", w, "w"); }), "E0802");
}

TEST(Winners, ConstantsFromText) {
  EXPECT_EQ(std::get<std::int64_t>(parse_constant("-12")), -12);
  EXPECT_EQ(std::get<bool>(parse_constant("true")), true);
  EXPECT_EQ(std::get<DType>(parse_constant("bf16")), DType::BF16);
  EXPECT_EQ(std::get<std::string>(parse_constant("gemma")), "gemma");
}

}  // namespace
}  // namespace tessera
