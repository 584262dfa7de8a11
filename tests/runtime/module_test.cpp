// From text to results through the public API only.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <thread>

#include "tessera/tessera.h"
#include "tests/runtime/signatures.h"

namespace tessera {
namespace {

using test::code_of;

const char* const source = R"(type Lse = f32;
kernel norm[T: float, N: int, BM: int = 4](x: view T[R, N], w: view T[N] ?, y: out view T[R, N], lse: out view Lse[R] ?, eps: f32)
where N % 4 == 0
over (i in tiles(R, BM))
{
    var t = f32(x[i, :]) * eps;
    if has(w) { t = t * row(f32(w[:])); }
    y[i, :] = T(t);
    if has(lse) { lse[i] = Lse(sum(t, axis: 1)); }
}
tune norm { BM in {4, 8}; key T; }
)";

class ModuleTest : public ::testing::TestWithParam<const char*> {
 protected:
  Options options(std::vector<std::string> absent = {}) const {
    Options o;
    o.target = GetParam();
    o.absent = std::move(absent);
    return o;
  }
  const Context context = Context::cpu(2);
  const Module module = load_source("norm.tile", source);
  std::vector<float> x{1, 2, 3, 4, 5, 6, 7, 8}, w{1, 0, 1, 0}, y = std::vector<float>(8);
};

TEST_P(ModuleTest, OutlineNamesKernelsAndConstants) {
  const std::vector<KernelOutline> kernels = module.kernels();
  ASSERT_EQ(kernels.size(), 1u);
  EXPECT_EQ(kernels[0].name, "norm");
  ASSERT_EQ(kernels[0].constants.size(), 3u);
  EXPECT_EQ(kernels[0].constants[2].name, "BM");
  EXPECT_TRUE(kernels[0].constants[2].tuned);
  EXPECT_EQ(kernels[0].parameters[3].type, "out view Lse[R] ?");
}

TEST_P(ModuleTest, TypedKernelWithOptionalViews) {
  using Lse = Nominal<float, "Lse">;
  const auto norm = module.kernel<In<float, 2>, std::optional<In<float, 1>>, Out<float, 2>, std::optional<Out<Lse, 1>>, float>(
      "norm", {{"T", ElementType::F32}, {"N", 4}}, options({"w", "lse"}));
  const View<const float, 2> in(x, {2, 4});
  const View<float, 2> out(y, {2, 4});
  norm(context, in, std::nullopt, out, std::nullopt, 2.0f);
  EXPECT_EQ(y, (std::vector<float>{2, 4, 6, 8, 10, 12, 14, 16}));
  std::vector<Lse> lse(2);
  norm(context, in, View<float, 1>(w, {4}), out, View<Lse, 1>(lse, {2}), 1.0f);
  EXPECT_EQ(y, (std::vector<float>{1, 0, 3, 0, 5, 0, 7, 0}));
  EXPECT_EQ(lse[0].value, 4);
  EXPECT_EQ(lse[1].value, 12);
}

TEST_P(ModuleTest, AbsentInTheSignature) {
  const auto norm = module.kernel<In<float, 2>, Absent, Out<float, 2>, Absent, float>("norm", {{"T", ElementType::F32}, {"N", 4}}, options());
  norm(context, View<float, 2>(x, {2, 4}), absent, View<float, 2>(y, {2, 4}), absent, 3.0f);
  EXPECT_EQ(y[7], 24);
}

TEST_P(ModuleTest, NothingCompilesInALaunchUnlessAsked) {
  Options o = options({"lse"});
  o.on_miss = OnMiss::Fail;
  const AnyKernel k = module.kernel("norm", {{"T", ElementType::F32}, {"N", 4}}, o);
  const std::map<std::string, Argument> arguments{{"x", View<const float, 2>(x, {2, 4})}, {"y", View<float, 2>(y, {2, 4})}, {"eps", 1.0f}};
  EXPECT_EQ(code_of([&] { k.launch(context, arguments); }), "E0708");
  k.prepare({"w", "lse"});
  EXPECT_EQ(code_of([&] { k.launch(context, arguments); }), "");
  EXPECT_EQ(code_of([&] { k.prepare({"x"}); }), "E0708");
  EXPECT_EQ(code_of([&] { k.prepare({"nobody"}); }), "E0709");
}

TEST_P(ModuleTest, ConstantsAreChecked) {
  const auto code = [&](const Consts& c) { return code_of([&] { module.kernel("norm", c, options()); }); };
  EXPECT_EQ(code({{"T", ElementType::F32}}), "E0510");
  EXPECT_EQ(code({{"T", ElementType::F32}, {"N", 4}, {"M", 1}}), "E0511");
  EXPECT_EQ(code({{"T", ElementType::F32}, {"N", 6}}), "E0509");
  EXPECT_EQ(code({{"T", 3}, {"N", 4}}), "E0312");
  EXPECT_EQ(code({{"T", ElementType::I32}, {"N", 4}}), "E0312");
  EXPECT_EQ(code_of([&] { module.kernel("nrm", {}, options()); }), "E0519");
}

TEST_P(ModuleTest, TunedConstantsAreReported) {
  const AnyKernel k = module.kernel("norm", {{"T", ElementType::F32}, {"N", 4}}, options());
  const auto bm = [](const AnyKernel& k) {
    for (const auto& [n, v] : k.constants()) {
      if (n == "BM") return v;
    }
    return std::string();
  };
  EXPECT_EQ(bm(k), "4");
  Options o = options();
  o.winners = std::string("norm ") + GetParam() + " T=f32 : BM=8\n";
  EXPECT_EQ(bm(module.kernel("norm", {{"T", ElementType::F32}, {"N", 4}}, o)), "8");
}

TEST_P(ModuleTest, ShapesFollow) {
  const AnyKernel k = module.kernel("norm", {{"T", ElementType::F32}, {"N", 4}}, options());
  const auto shapes = k.infer_extents({{"x", {7, 4}}});
  EXPECT_EQ(shapes.at("y"), (std::vector<std::int64_t>{7, 4}));
  EXPECT_EQ(shapes.at("lse"), (std::vector<std::int64_t>{7}));
}

TEST_P(ModuleTest, ManyThreadsLoadCompileAndLaunch) {
  std::vector<std::thread> threads;
  std::vector<std::vector<float>> results(4, std::vector<float>(8));
  for (std::size_t t = 0; t < results.size(); ++t) {
    threads.emplace_back([&, t] {
      const Module m = load_source("norm.tile", source);
      const AnyKernel own = m.kernel("norm", {{"T", ElementType::F32}, {"N", 4}}, options({"w", "lse"}));
      const AnyKernel shared = module.kernel("norm", {{"T", ElementType::F32}, {"N", 4}}, options({"w", "lse"}));
      for (int repeat = 0; repeat < 5; ++repeat) {
        const AnyKernel& k = repeat % 2 ? own : shared;
        k.launch(context, {View<const float, 2>(x, {2, 4}), absent, View<float, 2>(results[t], {2, 4}), absent, static_cast<float>(t)});
      }
    });
  }
  for (std::thread& t : threads) t.join();
  for (std::size_t t = 0; t < results.size(); ++t) EXPECT_EQ(results[t][7], 8 * static_cast<float>(t));
}

INSTANTIATE_TEST_SUITE_P(Targets, ModuleTest, ::testing::Values("interp", "interp:exact", "cpu"), [](const auto& p) {
  std::string n = p.param;
  for (char& c : n) c = c == ':' ? '_' : c;
  return n;
});

TEST(ModuleErrors, TellPlaceAndCode) {
  try {
    load_source("bad.tile", "kernel k(x: view f32[R], y: out view f32[R])\nover (i in R)\n{\n    y[i] = q;\n}\n");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), Error::Kind::User);
    EXPECT_EQ(e.code(), "E0401");
    EXPECT_EQ(e.place().file, "bad.tile");
    EXPECT_EQ(e.place().line, 4u);
    EXPECT_EQ(e.place().column, 12u);
    EXPECT_NE(std::string(e.what()).find("bad.tile:4:12"), std::string::npos);
    const Error copy = e;
    EXPECT_EQ(copy.message(), e.message());
  }
  try {
    load("/no/such/file.tile");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), Error::Kind::Machine);
    EXPECT_EQ(e.code(), "machine");
  }
  EXPECT_EQ(code_of([] {
              load_source("k.tile", "kernel k(x: view f32[R], y: out view f32[R]) over (i in R) { y[i] = x[i]; }").kernel("k", {}, {.target = "tpu"});
            }),
            "E0802");
}

TEST(ModuleErrors, EmbeddedImportsComeFirst) {
  const Module m =
      load_source("a.tile", "import lib.half as h;\nkernel k(x: view f32[R], y: out view f32[R]) over (i in R) { y[i] = h.halve(x[i]); }",
                  {{"lib.half", "fn halve(x: f32) -> f32 { return x * 0.5; }"}});
  const AnyKernel k = m.kernel("k", {}, {.target = "interp"});
  std::vector<float> x{4}, y{0};
  k.launch(Context::cpu(1), {View<const float, 1>(x, {1}), View<float, 1>(y, {1})});
  EXPECT_EQ(y[0], 2);
}

TEST(Modules, WinnersBesideTheSourceChooseByThemselves) {
  char folder[] = "/tmp/tessera-winners-XXXXXX";
  ASSERT_TRUE(::mkdtemp(folder));
  const std::string path = std::string(folder) + "/k.tile";
  std::ofstream(path) << "kernel k[BM: int](x: view f32[R], y: out view f32[R]) over (i in tiles(R, BM)) { y[i] = x[i]; }\n"
                         "tune k { BM in {8, 16, 32}; key bucket(R); }\n";
  std::ofstream(std::string(folder) + "/k.winners") << "k cpu bucket(R)=1024 : BM=16\nk cpu bucket(R)=65536 : BM=32\nk interp : BM=16\n";
  const auto bm = [&](const Options& options) { return load(path, Cache::off()).kernel("k", {}, options).constants().front().second; };
  EXPECT_EQ(bm({.sizes = {{"R", 1000}}}), "16");
  EXPECT_EQ(bm({.sizes = {{"R", 60000}}}), "32");
  EXPECT_EQ(bm({.winners = "k cpu : BM=32\n"}), "32") << "what the caller gives comes instead";
  EXPECT_EQ(bm({.winners = "other cpu : BM=32\n"}), "8");
  EXPECT_EQ(bm({.target = "interp"}), "8") << "nothing is measured there";
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace tessera
