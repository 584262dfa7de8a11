// Counted products and bytes, winners files, shapes from symbols.
#include "runtime/work.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "runtime/files.h"
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
  const std::string text = "# kernel target keys : tuned constants\nfwd@0123456789abcdef cpu D=128 T=bf16 bucket(Sq)=1024 : BM=64 BN=128\n";
  const std::vector<Winner> w = parse_winners(text, "w");
  ASSERT_EQ(w.size(), 1u);
  EXPECT_EQ(w[0].kernel, "fwd");
  EXPECT_EQ(w[0].hash, "0123456789abcdef");
  EXPECT_EQ(w[0].keys.at("bucket(Sq)"), "1024");
  EXPECT_EQ(w[0].choices.at("BN"), "128");
  EXPECT_EQ(print_winners(w), text);
  EXPECT_TRUE(parse_winners("\n  # comment\n\n", "w").empty());
  for (const char* bad :
       {"fwd", "fwd cpu", "fwd cpu :", "fwd cpu BM=64", "fwd cpu : BM", "fwd cpu : =4", "fwd cpu : BM=", "fwd cpu : BM=1 BM=2",
        "fwd cpu : BM=1 : BN=2", "fwd@ cpu : BM=1", "fwd@123 cpu : BM=1", "@0123456789abcdef cpu : BM=1", "fwd@0123456789abcdeg cpu : BM=1"}) {
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
    const Constants all =
        choose_tuned(*file.program, kernel, "sm_90a", {{"T", DType::BF16}, {"D", d}}, parse_winners(winners, "w"), {}, diagnostics).constants;
    EXPECT_FALSE(diagnostics.any());
    return str(all.at("BM")) + "x" + str(all.at("BN"));
  };
  EXPECT_EQ(tiles("", 128), "128x128");
  EXPECT_EQ(tiles("", 48), "64x64") << "std has no line for heads of 48";
  EXPECT_EQ(tiles("", 128, "heavy"), "64x64") << "random numbers for every weight";
  EXPECT_EQ(tiles("std.attention.fwd sm_90a : BM=64 BN=96\n", 128, "heavy"), "64x96") << "what the file itself says";
  EXPECT_EQ(tiles("std.attention.fwd sm_90a : BM=64 BN=96\n", 128), "64x96");
  EXPECT_EQ(tiles("std.attention.fwd sm_90a T=bf16 D=128 : BM=64 BN=96\nmine sm_90a : BM=192 BN=80\n", 128), "192x80");
  EXPECT_EQ(tiles("fwd sm_90a : BM=64 BN=96\nother sm_90a : BM=64 BN=80\nmine sm_80 : BM=64 BN=80\n", 128), "128x128") << "lines of others";
}

constexpr const char* tuned_source = R"(// a kernel
const half_ = 1;
fn f(x: f32) -> f32 { return x + f32(half_); }
kernel k[T: float, BM: int](x: view T[R], y: out view T[R]) over (i in tiles(R, BM)) { y[i] = T(f32(x[i]) * 2.0); }
tune k { BM in {8, 16, 32, 64}; key T, bucket(R); }
kernel other(x: view f32[R], y: out view f32[R]) over (i in tiles(R, 8)) { y[i] = x[i]; }
)";

TEST(Winners, ExactThenNearestBucketThenDefault) {
  const LoadResult file = load_program("k.tile", tuned_source, {});
  ASSERT_TRUE(file.program);
  const auto choice = [&](const std::string& winners, std::int64_t r, const char* target = "sm_80") {
    Diagnostics diagnostics;
    const Choice c = choose_tuned(*file.program, "k", target, {{"T", DType::F32}}, parse_winners(winners, "w"), {{"R", r}}, diagnostics);
    return str(c.constants.at("BM")) + " " + name(c.how) + " " + c.line;
  };
  const std::string lines = "k sm_80 T=f32 bucket(R)=1024 : BM=16\nk sm_80 T=f32 bucket(R)=16384 : BM=32\nk sm_80 T=bf16 bucket(R)=4096 : BM=64\n";
  EXPECT_EQ(choice(lines, 1000), "16 exact k sm_80 T=f32 bucket(R)=1024 : BM=16");
  EXPECT_EQ(choice(lines, 2048), "16 nearest bucket k sm_80 T=f32 bucket(R)=1024 : BM=16");
  EXPECT_EQ(choice(lines, 1 << 20), "32 nearest bucket k sm_80 T=f32 bucket(R)=16384 : BM=32");
  EXPECT_EQ(choice("k sm_80 T=f32 : BM=64\n" + lines, 1 << 20), "64 exact k sm_80 T=f32 : BM=64") << "a line without the key serves every size";
  EXPECT_EQ(choice("k sm_80 T=f32 : BM=64\n" + lines, 1000), "16 exact k sm_80 T=f32 bucket(R)=1024 : BM=16");
  EXPECT_EQ(choice("k sm_80 T=bf16 : BM=64\n", 1000), "8 default ") << "another type is another kernel";
  EXPECT_EQ(choice("k sm_80 : BM=12\n", 1000), "8 default ") << "no candidate";
  const std::string here = winners_target("cpu");
  EXPECT_EQ(choice("k cpu : BM=16\nk " + here + " : BM=32\nk cpu:pentium : BM=64\n", 1000, "cpu"), "32 exact k " + here + " : BM=32");
  EXPECT_EQ(choice("k cpu : BM=16\nk cpu:pentium : BM=64\n", 1000, "cpu"), "16 exact k cpu : BM=16");
}

TEST(Winners, KeysOfSeveralWordsAreOne) {
  const LoadResult file =
      load_program("k.tile",
                   "kernel k[PAGE: int, BM: int](x: view f32[P, PAGE], y: out view f32[P, PAGE]) over (i in tiles(P, BM)) { y[i, :] = "
                   "x[i, :]; }\ntune k { BM in {8, 16}; key bucket(P * PAGE); }\n",
                   {});
  ASSERT_TRUE(file.program);
  const Constants given{{"PAGE", std::int64_t{16}}};
  const std::map<std::string, std::int64_t> sizes{{"P", 100}};
  const Winner w{"k", "cpu", "", winner_keys(*file.program, "k", given, sizes), {{"BM", "16"}}};
  const std::string text = with_winner("", w, "w");
  EXPECT_EQ(text, "# kernel target keys : tuned constants\nk cpu bucket(P*PAGE)=2048 : BM=16\n");
  Diagnostics diagnostics;
  EXPECT_EQ(choose_tuned(*file.program, "k", "cpu", given, parse_winners(text, "w"), sizes, diagnostics).how, Choice::How::Exact);
}

TEST(Winners, AChangedKernelMakesItsLinesStale) {
  const auto chosen = [](const std::string& source, const std::string& winners) {
    const LoadResult file = load_program("k.tile", source, {});
    EXPECT_TRUE(file.program);
    Diagnostics diagnostics;
    const Choice c = choose_tuned(*file.program, "k", "sm_80", {{"T", DType::F32}}, parse_winners(winners, "w"), {{"R", 100}}, diagnostics);
    return str(c.constants.at("BM")) + (c.stale.empty() ? "" : " stale " + c.stale[0]);
  };
  const LoadResult file = load_program("k.tile", tuned_source, {});
  const std::string line = "k@" + winner_hash(*file.program, "k", "sm_80") + " sm_80 : BM=32";
  const auto edited = [](const std::string& from, const std::string& to) {
    std::string text = tuned_source;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  EXPECT_EQ(chosen(tuned_source, line), "32");
  EXPECT_EQ(chosen(edited("// a kernel", "// the kernel\n\n"), line), "32") << "a comment";
  EXPECT_EQ(chosen(edited("BM in {8, 16,", "BM in {8, 16, 24,"), line), "32") << "more candidates";
  EXPECT_EQ(chosen(edited("= x[i]; }", "= x[i] + 1.0; }"), line), "32") << "another kernel of the file";
  EXPECT_EQ(chosen(edited("const half_ = 1", "const half_ = 2"), line), "32") << "what it does not name";
  EXPECT_EQ(chosen(edited("* 2.0", "* 3.0"), line), "8 stale " + line);
  EXPECT_EQ(chosen(tuned_source, "k@0000000000000000 sm_80 : BM=32\nk sm_80 : BM=16\n").substr(0, 8), "16 stale") << "the next line serves";
}

TEST(Winners, AKernelIsItsFunctionsConstantsImportsAndSchedulesToo) {
  const auto hash = [](const std::string& fn, const std::string& constant, const std::string& helper, const std::string& ring,
                       const char* target = "sm_80") {
    const ImportResolver import = [&](const std::string& path) -> std::optional<ModuleText> {
      if (path != "helper") return std::nullopt;
      return ModuleText{"helper.tile", "fn unused() -> i32 { return 1; }\nfn g(x: f32) -> f32 { return " + helper + "; }\n"};
    };
    const LoadResult file = load_program("k.tile",
                                         "import helper as h;\nconst c = " + constant + ";\nfn f(x: f32) -> f32 { return " + fn +
                                             "; }\nkernel k(x: view f32[R], y: out view f32[R], a: f32) over (i in tiles(R, 8)) { let t = x[i]; "
                                             "y[i] = t * (f(a) + h.g(a)); }\nschedule k on sm80 { ring t: " +
                                             ring + "; }\n",
                                         import);
    EXPECT_TRUE(file.program);
    return file.program ? winner_hash(*file.program, "k", target) : "";
  };
  const std::string first = hash("x + f32(c)", "1", "x", "2");
  EXPECT_EQ(hash("x + f32(c)", "1", "x", "2"), first);
  EXPECT_NE(hash("x - f32(c)", "1", "x", "2"), first);
  EXPECT_NE(hash("x + f32(c)", "2", "x", "2"), first);
  EXPECT_NE(hash("x + f32(c)", "1", "x + x", "2"), first);
  EXPECT_NE(hash("x + f32(c)", "1", "x", "3"), first);
  EXPECT_EQ(hash("x + f32(c)", "1", "x", "2", "cpu"), hash("x + f32(c)", "1", "x", "3", "cpu")) << "a schedule of another family";
  EXPECT_NE(hash("x + f32(c)", "2", "x", "2", "cpu"), hash("x + f32(c)", "1", "x", "2", "cpu"));
}

/// Every line beside a kernel of the library names one of its kernels, a candidate of it, and its present form.
TEST(Winners, ShippedLinesFitTheirKernels) {
  std::map<std::string, int> lines;  // by the kind of target
  for (const auto& f : std::filesystem::recursive_directory_iterator(TESSERA_SOURCE_DIR "/kernels")) {
    if (f.path().extension() != ".winners") continue;
    const std::string source = std::filesystem::path(f.path()).replace_extension(".tile").string();
    const LoadResult file = load_program(source, read_file(source), import_beside(source));
    ASSERT_TRUE(file.program) << source;
    for (const Winner& w : parse_winners(read_file(f.path().string()), f.path().string())) {
      SCOPED_TRACE(print_winners({w}));
      ++lines[w.target.substr(0, w.target.find(':'))];
      Diagnostics diagnostics;
      Constants given;
      std::map<std::string, std::int64_t> sizes;
      for (const auto& [key, value] : w.keys) {
        if (key.starts_with("bucket(")) {
          sizes[key.substr(7, key.size() - 8)] = std::stoll(value);
        } else {
          given[key] = parse_constant(value);
        }
      }
      const Choice c = choose_tuned(*file.program, w.kernel, w.target, given, {w}, sizes, diagnostics);
      EXPECT_FALSE(diagnostics.any());
      EXPECT_TRUE(c.stale.empty()) << "tune it again: the kernel has changed; its hash is " << winner_hash(*file.program, w.kernel, w.target);
      EXPECT_EQ(c.how, Choice::How::Exact);
    }
  }
  EXPECT_GE(lines["sm_90a"], 10);
  EXPECT_GE(lines["cpu"], 4);
}

TEST(Winners, ALineIsReplacedOrAdded) {
  const Winner w{"fwd", "cpu", "", {{"D", "64"}}, {{"BM", "8"}}};
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
