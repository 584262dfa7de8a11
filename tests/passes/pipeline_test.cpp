#include "codegen/passes/pipeline.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/ir/kernels.h"
#include "tests/passes/kernels.h"
#include "tests/passes/support.h"

namespace tessera::test {
namespace {

TEST(Pipeline, PassesAreNamedOnce) {
  std::set<std::string> names;
  for (const PassInfo& p : target_free_passes()) {
    EXPECT_TRUE(names.insert(p.name).second) << p.name;
    EXPECT_EQ(find_pass(p.name), &p);
  }
  EXPECT_EQ(find_pass("no_such_pass"), nullptr);
}

TEST(Pipeline, PrintsOnlyWhatChanged) {
  auto kernel = gemm(8, 8, 8);
  Diagnostics ds;
  std::vector<std::string> printed, timed;
  PassOptions options;
  options.print_after = "all";
  options.print = [&](const std::string& pass, const std::string& text) {
    printed.push_back(pass);
    EXPECT_NE(text.find("kernel gemm"), std::string::npos);
  };
  options.timing = [&](const std::string& pass, double) { timed.push_back(pass); };
  ASSERT_TRUE(run_target_free_passes(*kernel, ds, options));
  EXPECT_LT(printed.size(), timed.size());
  EXPECT_EQ(std::count(printed.begin(), printed.end(), "coverage"), 0);
  EXPECT_EQ(std::count(printed.begin(), printed.end(), "split_masks"), 1);
}

/// Chains of integers are followed without recursion, and forms that grow too large are given up.
TEST(Pipeline, LongChains) {
  for (const auto& [step, length] : {std::pair{"mul", 8000}, {"add", 1500}, {"div", 1500}}) {
    SCOPED_TRACE(step);
    std::string text = "kernel chain(\n  %o: out view f32[M],\n  %n: idx\n)\nsymbols(M)\ngrid(%i < M)\n{\n  %a0 = add %i, %n : idx\n";
    for (int k = 0; k < length; ++k)
      text += fmt::format("  %a{} = {} %a{}, {} : idx\n", k + 1, step, k, k % 3 == 0 ? "%a0" : k % 3 == 1 ? "%n" : "%i");
    text += fmt::format("  %y = cast %a{} : f32\n  store %o, %y, %i\n  yield\n}}\n", length);
    auto kernel = parse_ir(text);
    ASSERT_TRUE(kernel);
    Diagnostics ds;
    EXPECT_TRUE(run_target_free_passes(*kernel, ds));
  }
}

TEST(Pipeline, RunsTwiceWithoutChange) {
  for (bool masked : {false, true}) {
    Attention a;
    if (masked) a.keep = causal;
    auto kernel = attention(a);
    Diagnostics ds;
    ASSERT_TRUE(run_target_free_passes(*kernel, ds));
    auto again = kernel->clone();
    for (const char* pass : {"fold", "pad_states", "drop_zeroing", "algebra"}) find_pass(pass)->run(*again, ds);
    EXPECT_EQ(ir::print(*again), ir::print(*kernel));
  }
}

TEST(Pipeline, StopsAtTheUsersMistake) {
  KernelBuilder k("empty", {"M"});
  k.view("y", DType::F32, {Sym::symbol("M")}, ir::Mode::Out);
  k.grid("i", Sym::symbol("M"));
  auto kernel = k.finish();
  Diagnostics ds;
  EXPECT_FALSE(run_target_free_passes(*kernel, ds));
  ASSERT_EQ(ds.list().size(), 1U);
  EXPECT_EQ(ds.list()[0].code, Code::E0501);
}

struct Text {
  const char* name;
  std::vector<Symbols> shapes;
};

/// Every kernel in tests/ir through all passes: strict, with equal results; else within rounding.
TEST(Pipeline, KernelTextsKeepTheirResults) {
  const std::vector<Text> all = {
      {"attention",
       {{{"B", 1}, {"Sq", 37}, {"H", 2}, {"Sk", 53}, {"G", 1}, {"R", 2}}, {{"B", 2}, {"Sq", 33}, {"H", 2}, {"Sk", 20}, {"G", 2}, {"R", 1}}}},
      {"copy", {}},
      {"gemm", {}},
      {"layer_norm", {}},
      {"row_sum", {}},
      {"softmax", {}},
  };
  for (const Text& t : all) {
    auto before = load_kernel(t.name);
    auto shapes = t.shapes;
    if (shapes.empty())  // ragged in every symbol, and whole
      for (std::int64_t base : {1, 37, 64, 131}) {
        Symbols s;
        for (std::size_t i = 0; i < before->symbols.size(); ++i) s[before->symbols[i]] = base + static_cast<std::int64_t>(base % 2 ? 3 * i : 0);
        shapes.push_back(s);
      }
    for (bool strict : {true, false}) {
      auto kernel = before->clone();
      Diagnostics ds;
      PassOptions options;
      options.strict = strict;
      ASSERT_TRUE(run_target_free_passes(*kernel, ds, options)) << t.name << ": " << ds.list()[0].message;
      for (const Symbols& s : shapes) expect_same(run(*before, s), run(*kernel, s), strict ? 0 : 5e-3);
    }
  }
}

}  // namespace
}  // namespace tessera::test
