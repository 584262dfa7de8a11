// Bundles: launches from one file, nothing compiled; and every file that is not one of this library and machine is refused.
#include <gmock/gmock.h>

#include "runtime/bundle.h"
#include "runtime/kernel_impl.h"
#include "tests/cache/support.h"

namespace tessera {
namespace {

using namespace tessera::test;
using ::testing::HasSubstr;

constexpr const char* affine_source = R"(
kernel affine[N: int](x: view f32[M, N], y: out view f32[M, N], bias: view f32[N] ?, s: f32)
where M <= 1000
over (i in M)
{
    var t = x[i, :] * s;
    if has(bias) { t = t + bias[:]; }
    y[i, :] = t;
}
)";
using Affine = Kernel<In<float, 2>, Out<float, 2>, std::optional<In<float, 1>>, float>;

std::string told(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.rendered();
  }
  return "nothing was refused";
}

class Bundles : public ::testing::Test {
 protected:
  /// Two kernels, one in two sizes, the other in two forms.
  cache::BundleFile make(const std::string& target = "cpu", std::vector<std::vector<std::string>> forms = {}) {
    write(folder_ / "scale.tile", scale_source);
    write(folder_ / "affine.tile", affine_source);
    return make_bundle({{folder_ / "scale.tile", "scale", {{"N", 8}}, "", {}, {}},
                        {folder_ / "scale.tile", "scale", {{"N", 16}}, "", {}, {}},
                        {folder_ / "affine.tile", "affine", {{"N", 8}}, "", {}, std::move(forms)}},
                       target);
  }
  Bundle loaded(const cache::BundleFile& file) {
    write(folder_ / "a.bundle", cache::encode(file));
    return load_bundle(folder_ / "a.bundle");
  }
  Folder folder_;
};

Scale scale_of(const Bundle& b, std::int64_t n) { return b.kernel<In<float, 2>, Out<float, 2>, float>("scale", {{"N", n}}); }

TEST_F(Bundles, LaunchWithoutSourcesOrCompiler) {
  const cache::BundleFile file = make();
  std::filesystem::remove(folder_ / "scale.tile");
  std::filesystem::remove(folder_ / "affine.tile");
  const Bundle b = loaded(file);
  EXPECT_EQ(b.target(), "cpu");
  ASSERT_EQ(b.kernels().size(), 3u);
  EXPECT_EQ(b.kernels()[1].constants, (std::vector<std::pair<std::string, std::string>>{{"N", "16"}}));
  EXPECT_EQ(b.kernels()[2].forms, (std::vector<std::vector<std::string>>{{}, {"bias"}}));
  EXPECT_TRUE(right(scale_of(b, 8), 8));
  EXPECT_TRUE(right(scale_of(b, 16), 16));
  const AnyKernel k = scale_of(b, 8).any();
  EXPECT_EQ(k.impl().link().store->counts.compiled, 0u);
  EXPECT_GT(k.impl().link().store->counts.from_disk, 0u);
  EXPECT_FALSE(k.impl().form(0).source) << "no Tile IR was made";
}

TEST_F(Bundles, FormsThatAreThere) {
  std::vector<float> x(8, 2.0f), y(8), bias(8, 1.0f);
  const View<const float, 2> xv(x.data(), {1, 8});
  const View<float, 2> yv(y.data(), {1, 8});
  const Context cpu = Context::cpu(1);
  const Bundle both = loaded(make());
  const Affine k = both.kernel<In<float, 2>, Out<float, 2>, std::optional<In<float, 1>>, float>("affine");
  k(cpu, xv, yv, In<float, 1>(View<const float, 1>(bias.data(), {8})), 3.0f);
  EXPECT_EQ(y[7], 7.0f);
  k(cpu, xv, yv, std::nullopt, 3.0f);
  EXPECT_EQ(y[7], 6.0f);
  EXPECT_THAT(told([&] { k(cpu, View<const float, 2>(x.data(), {2, 4}), yv, std::nullopt, 1.0f); }), HasSubstr("E0704"));
  EXPECT_THAT(told([&] { k(cpu, xv, View<float, 2>(x.data(), {1, 8}), std::nullopt, 1.0f); }), HasSubstr("E0707"));
  const Bundle one = loaded(make("cpu", {{"bias"}}));
  const Affine without = one.kernel<In<float, 2>, Out<float, 2>, std::optional<In<float, 1>>, float>("affine");
  without(cpu, xv, yv, std::nullopt, 2.0f);
  EXPECT_EQ(y[7], 4.0f);
  const std::string refused = told([&] { without(cpu, xv, yv, In<float, 1>(View<const float, 1>(bias.data(), {8})), 3.0f); });
  EXPECT_THAT(refused, HasSubstr("E0708"));
  EXPECT_THAT(refused, HasSubstr("the bundle has no form of `affine`"));
  EXPECT_THAT(refused, HasSubstr("all but bias"));
}

TEST_F(Bundles, WhatIsNotThereIsSaid) {
  const Bundle b = loaded(make());
  EXPECT_THAT(told([&] { b.kernel("none"); }), ::testing::AllOf(HasSubstr("E0519"), HasSubstr("it has scale, affine")));
  EXPECT_THAT(told([&] { b.kernel("scale"); }), ::testing::AllOf(HasSubstr("E0519"), HasSubstr("N=8; N=16")));
  EXPECT_THAT(told([&] { b.kernel("scale", {{"N", 9}}); }), HasSubstr("no `scale` with these constants"));
  EXPECT_THAT(told([&] { b.kernel("scale", {{"Q", 8}}); }), HasSubstr("no `scale` with these constants"));
  EXPECT_THAT(told([&] { b.kernel("scale", {{"N", 8}}, {.debug = true}); }), HasSubstr("E0804"));
  EXPECT_THAT(told([&] { b.kernel("scale", {{"N", 8}}, {.target = "sm_80"}); }), HasSubstr("made for cpu, not for sm_80"));
  EXPECT_THAT(told([&] { b.kernel<In<float, 2>, Out<float, 2>>("scale", {{"N", 8}}); }), HasSubstr("E0701"));
  EXPECT_THAT(told([&] { make("interp"); }), HasSubstr("E0802"));
  EXPECT_THAT(told([&] { make("simt:sm_80"); }), HasSubstr("E0802"));
}

TEST_F(Bundles, ReadBack) {
  const cache::BundleFile file = make();
  std::string why = "?";
  EXPECT_EQ(cache::decode_bundle(cache::encode(file), why), file);
  EXPECT_EQ(why, "");
}

TEST_F(Bundles, CutOrChangedAnywhereIsDamaged) {
  const std::string whole = cache::encode(make("cpu", {{"bias"}}));
  std::string why;
  for (std::size_t n = 0; n < whole.size(); n += 1 + n / 64) {
    ASSERT_FALSE(cache::decode_bundle(whole.substr(0, n), why)) << n;
    std::string bad = whole;
    bad[n] = static_cast<char>(bad[n] ^ 1);
    ASSERT_FALSE(cache::decode_bundle(bad, why)) << n;
  }
  // Lengths that lie under a checksum that is right.
  const std::string body = whole.substr(0, whole.size() - 32);
  for (std::size_t n = 12; n < std::min<std::size_t>(body.size(), 1500); ++n) {
    for (const char c : {'\xff', '\x01', '\x80'}) {
      std::string bad = body;
      bad[n] = c;
      const cache::Key sum = cache::hash(bad);
      cache::decode_bundle(bad + std::string(sum.bytes.begin(), sum.bytes.end()), why);
    }
  }
  write(folder_ / "cut.bundle", whole.substr(0, whole.size() / 2));
  EXPECT_THAT(told([&] { load_bundle(folder_ / "cut.bundle"); }), HasSubstr("it is damaged"));
  write(folder_ / "text.bundle", "no bundle at all");
  EXPECT_THAT(told([&] { load_bundle(folder_ / "text.bundle"); }), HasSubstr("it is no bundle"));
  std::string newer = whole;
  newer[8] = 2;
  write(folder_ / "newer.bundle", newer);
  EXPECT_THAT(told([&] { load_bundle(folder_ / "newer.bundle"); }), HasSubstr("another version of the form"));
  EXPECT_THAT(told([&] { load_bundle(folder_ / "missing.bundle"); }), HasSubstr("missing.bundle"));
}

TEST_F(Bundles, OfAnotherLibraryOrMachineAreRefused) {
  cache::BundleFile file = make();
  file.from[0] = file.from[0] == '0' ? '1' : '0';
  EXPECT_THAT(told([&] { loaded(file); }), HasSubstr("another version of Tessera: make it again"));
  file = make();
  file.llvm = "1.0";
  EXPECT_THAT(told([&] { loaded(file); }), HasSubstr("another version of Tessera"));
  file = make();
  file.machine = "x86_64/znver9/+future";
  EXPECT_THAT(told([&] { loaded(file); }), ::testing::AllOf(HasSubstr("E0804"), HasSubstr("znver9")));
}

TEST_F(Bundles, OfAGpuHoldTheTextThatIsCompiledForIt) {
  const WithPtxas ptxas("13.0");
  const cache::BundleFile file = make("sm_90a");
  for (const cache::Entry& e : file.entries) {
    if (e.kind != cache::Kind::Kernel) continue;
    ASSERT_TRUE(e.find("cubn"));
    EXPECT_EQ(*e.find("cubn"), "\177ELF" + *e.find("ptx "));
  }
  EXPECT_EQ(file.machine, "");
  const Bundle b = loaded(file);
  EXPECT_EQ(b.target(), "sm_90a");
  const Cache memory = fresh(folder_ / "cache");
  scale(memory, 8, {.target = "sm_90a"});
  const std::set<std::string> names = Folder().files();
  std::string compiled;
  for (const auto& f : std::filesystem::directory_iterator(folder_ / "cache")) {
    if (f.path().extension() == ".kernel") compiled = *cache::decode(read(f.path()))->find("ptx ");
  }
  EXPECT_THAT(compiled, HasSubstr(".target sm_90a"));
  bool found = false;
  for (const cache::Entry& e : file.entries) found |= e.kind == cache::Kind::Kernel && *e.find("ptx ") == compiled;
  EXPECT_TRUE(found);
  const Scale k = scale_of(b, 8);
  EXPECT_EQ(k.any().constants(), (std::vector<std::pair<std::string, std::string>>{{"N", "8"}}));
  std::vector<float> x(8);
  EXPECT_THAT(told([&] { k(Context::cpu(1), View<const float, 2>(x.data(), {1, 8}), View<float, 2>(x.data(), {1, 8}), 1.0f); }), HasSubstr("E0"));
}

}  // namespace
}  // namespace tessera
