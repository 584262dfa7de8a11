// Warm loads: the same kernels, the same refusals, nothing compiled.
#include <gmock/gmock.h>

#include "tests/cache/support.h"

namespace tessera {
namespace {

using namespace tessera::test;
using ::testing::HasSubstr;

constexpr const char* optional_source = R"(
kernel k[N: int](x: view f32[M, N], y: out view f32[M, N], bias: view f32[N] ?, s: f32)
where M <= 1000
over (i in M)
{
    assert s > 0.0;
    var t = x[i, :] * s;
    if has(bias) { t = t + bias[:]; }
    y[i, :] = t;
}
)";

TEST(WarmCache, TheSecondLoadCompilesNothing) {
  const Folder folder;
  const Cache first = fresh(folder.path()), second = fresh(folder.path());
  EXPECT_TRUE(right(scale(first)));
  EXPECT_EQ(first.counts().compiled, 1u);
  EXPECT_EQ(first.counts().from_disk, 0u);
  EXPECT_TRUE(right(scale(second)));
  EXPECT_EQ(second.counts().compiled, 0u);
  EXPECT_EQ(second.counts().from_disk, 1u);
}

TEST(WarmCache, CodeInUseIsShared) {
  const Folder folder;
  const Cache cache = fresh(folder.path());
  const Scale a = scale(cache), b = scale(cache);
  EXPECT_EQ(cache.counts().compiled, 1u);
  EXPECT_EQ(cache.counts().from_memory, 1u);
  EXPECT_TRUE(right(a));
  EXPECT_TRUE(right(b));
}

TEST(WarmCache, OffKeepsNothing) {
  const Folder folder;
  EXPECT_TRUE(right(scale(Cache::off())));
  EXPECT_FALSE(Cache::off().on());
  EXPECT_EQ(Cache::off().folder(), "");
  EXPECT_EQ(Cache::off().info().files, 0u);
  EXPECT_EQ(Cache::off().clear(), 0u);
}

TEST(WarmCache, TheEnvironmentSaysWhere) {
  struct Restore {
    std::string tessera = ::getenv("TESSERA_CACHE") ? ::getenv("TESSERA_CACHE") : "",
                xdg = ::getenv("XDG_CACHE_HOME") ? ::getenv("XDG_CACHE_HOME") : "";
    ~Restore() {
      ::setenv("TESSERA_CACHE", tessera.c_str(), 1);
      xdg.empty() ? ::unsetenv("XDG_CACHE_HOME") : ::setenv("XDG_CACHE_HOME", xdg.c_str(), 1);
    }
  } restore;
  ::setenv("XDG_CACHE_HOME", "/some/where", 1);
  ::setenv("TESSERA_CACHE", "off", 1);
  EXPECT_FALSE(Cache::standard().on());
  ::setenv("TESSERA_CACHE", "/an/other", 1);
  EXPECT_EQ(Cache::standard().folder(), "/an/other");
  ::unsetenv("TESSERA_CACHE");
  EXPECT_EQ(Cache::standard().folder(), "/some/where/tessera");
  ::setenv("XDG_CACHE_HOME", "relative", 1);
  EXPECT_THAT(Cache::standard().folder(), ::testing::EndsWith("/.cache/tessera"));
}

TEST(WarmCache, FormsConstantsAndRefusalsAreTheSame) {
  const Folder folder;
  using K = Kernel<In<float, 2>, Out<float, 2>, std::optional<In<float, 1>>, float>;
  const Context cpu = Context::cpu(1);
  std::vector<std::string> told[2];
  for (int run = 0; run < 2; ++run) {
    const Cache cache = fresh(folder.path());
    const K k =
        load_source("k.tile", optional_source, cache).kernel<In<float, 2>, Out<float, 2>, std::optional<In<float, 1>>, float>("k", {{"N", 8}});
    std::vector<std::string>& out = told[run];
    for (const auto& [n, v] : k.any().constants()) out.push_back(n + "=" + v);
    for (const Parameter& p : k.any().parameters()) out.push_back(p.name + (p.optional ? "?" : ""));
    std::vector<float> x(8), y(8), bias(8, 1.0f);
    for (std::size_t i = 0; i < 8; ++i) x[i] = static_cast<float>(i);
    const View<const float, 2> xv(x.data(), {1, 8});
    const View<float, 2> yv(y.data(), {1, 8});
    k(cpu, xv, yv, In<float, 1>(View<const float, 1>(bias.data(), {8})), 2.0f);
    out.push_back(std::to_string(y[3]));
    k(cpu, xv, yv, std::nullopt, 2.0f);
    out.push_back(std::to_string(y[3]));
    const auto refused = [&](auto&& f) {
      try {
        f();
        out.push_back("taken");
      } catch (const Error& e) {
        out.push_back(e.rendered());
      }
    };
    refused([&] { k(cpu, xv, yv, std::nullopt, -1.0f); });
    refused([&] { k(cpu, View<const float, 2>(x.data(), {2, 4}), yv, std::nullopt, 1.0f); });
    refused([&] { k(cpu, xv, View<float, 2>(x.data(), {1, 8}), std::nullopt, 1.0f); });
    refused([&] { k.any().prepare({"nothing"}); });
    out.push_back(std::to_string(k.any().infer_extents({{"x", {5, 8}}}).at("y").at(0)));
    if (run == 1) {
      EXPECT_EQ(cache.counts().compiled, 0u);
      EXPECT_EQ(cache.counts().from_disk, 2u);
    }
  }
  EXPECT_EQ(told[0], told[1]);
  EXPECT_THAT(told[1][9], HasSubstr("k.tile:"));
}

TEST(WarmCache, MessagesFollowAnEditedComment) {
  // The code comes from the cache, the places in messages from the text at hand.
  const Folder folder;
  scale(fresh(folder.path()));
  const Cache cache = fresh(folder.path());
  const Scale moved = scale(cache, 8, {}, "// one line more\n" + std::string(scale_source));
  EXPECT_EQ(cache.counts().compiled, 0u);
  for (const Scale& k : {moved, scale(fresh(folder.path()), 8, {}, "// one line more\n" + std::string(scale_source))}) {
    try {
      k(Context::cpu(1), View<const float, 2>(nullptr, {1, 8}), View<float, 2>(nullptr, {1, 8}), 1.0f);
      FAIL();
    } catch (const Error& e) {
      EXPECT_EQ(e.place().line, 3);
    }
  }
}

TEST(WarmCache, ErrorsOfTheSourceAreToldEveryTime) {
  const Folder folder;
  for (int i = 0; i < 2; ++i) {
    const Cache cache = fresh(folder.path());
    EXPECT_THROW(load_source("bad.tile", "kernel k(", cache), Error);
    const Module m = load_source("k.tile", scale_source, cache);
    EXPECT_THROW(m.kernel("none"), Error);
    EXPECT_THROW(m.kernel("scale"), Error);
    EXPECT_THROW(m.kernel("scale", {{"N", 8}, {"Q", 1}}), Error);
    EXPECT_EQ(m.kernels().size(), 1u);
  }
}

TEST(WarmCache, AChangedImportIsSeen) {
  const Folder folder, sources;
  write(sources / "k.tile",
        "import helper;\nkernel scale[N: int](x: view f32[M, N], y: out view f32[M, N], s: f32) over (i in M) "
        "{ y[i, :] = helper.f(x[i, :]) * s; }\n");
  const auto loaded = [&] { return load(sources / "k.tile", fresh(folder.path())).kernel<In<float, 2>, Out<float, 2>, float>("scale", {{"N", 8}}); };
  const std::string same = "fn f[N: int](x: f32[N]) -> f32[N] { return x; }\n", twice = "fn f[N: int](x: f32[N]) -> f32[N] { return x + x; }\n";
  for (const bool is_right : {true, false, true, true}) {
    write(sources / "helper.tile", is_right ? same : twice);
    EXPECT_EQ(right(loaded()), is_right);
  }
  std::filesystem::remove(sources / "helper.tile");
  EXPECT_THROW(loaded(), Error);
}

TEST(WarmCache, AFileThatHidesAStandardModuleIsSeen) {
  const Folder folder, sources;
  write(sources / "k.tile", "import std.attention as att;\nkernel fwd = att.fwd[X: att.None];\n");
  const auto outlines = [&] { return load(sources / "k.tile", fresh(folder.path())).kernels(); };
  EXPECT_EQ(outlines().size(), 1u);
  EXPECT_EQ(outlines().size(), 1u);
  std::filesystem::create_directory(sources / "std");
  write(sources / "std/attention.tile", "fn none() -> i32 { return 1; }\n");
  EXPECT_THROW(outlines(), Error);
}

TEST(WarmCache, InPlaceWorksWarmToo) {
  const Folder folder;
  const Context cpu = Context::cpu(1);
  const std::string source =
      "kernel twice[BM: int = 4, BN: int = 8](x: view f32[M, N], y: out view f32[M, N])\n"
      "over (j in tiles(N, BN), i in tiles(M, BM)) { y[i, j] = x[i, j] * 2.0; }\n";
  for (int i = 0; i < 3; ++i) {
    std::vector<float> x(8, 3.0f);
    // The third comes by way of the code alone, as its text differs by a comment.
    const auto k = load_source("k.tile", source + (i == 2 ? "// more\n" : ""), fresh(folder.path())).kernel<In<float, 2>, Out<float, 2>>("twice");
    k(cpu, View<const float, 2>(x.data(), {1, 8}), View<float, 2>(x.data(), {1, 8}));
    EXPECT_EQ(x[7], 6.0f) << i;
  }
}

TEST(WarmCache, DebugCodeTellsItsPlaces) {
  const Folder folder;
  const std::string source = "kernel g(x: view f32[M], y: out view f32[M])\nover (i in M)\n{\n    assert(i < 2);\n    y[i] = x[i];\n}\n";
  std::vector<float> x(4), y(4);
  std::string told[2];
  for (std::string& t : told) {
    const auto k = load_source("g.tile", source, fresh(folder.path())).kernel<In<float, 1>, Out<float, 1>>("g", {}, {.debug = true});
    try {
      k(Context::cpu(1), View<const float, 1>(x.data(), {4}), View<float, 1>(y.data(), {4}));
      FAIL();
    } catch (const Error& e) {
      t = e.rendered();
    }
  }
  EXPECT_EQ(told[0], told[1]);
  EXPECT_THAT(told[1], HasSubstr("g.tile:4"));
}

TEST(WarmCache, InfoClearAndVerify) {
  const Folder folder;
  const Cache cache = fresh(folder.path());
  scale(cache);
  scale(cache, 16);
  const CacheInfo info = cache.info();
  EXPECT_EQ(info.folder, folder.path());
  EXPECT_EQ(info.kernels, 2u);
  EXPECT_EQ(info.files, 7u) << "a module, two signatures, two forms, two kernels";
  EXPECT_GT(info.bytes, 1000u);
  EXPECT_TRUE(cache.verify().empty());
  const std::string name = *folder.files(".kernel").begin();
  std::string bytes = read(folder / name);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] + 1);
  write(folder / name, bytes);
  const std::string other = *folder.files(".form").begin();
  std::filesystem::rename(folder / other, folder / ((other[0] == '0' ? "1" : "0") + other.substr(1)));
  const std::vector<std::string> broken = cache.verify();
  EXPECT_EQ(broken.size(), 2u) << "one is damaged, one lies under a name that is not its own";
  EXPECT_TRUE(cache.verify().empty());
  EXPECT_EQ(cache.clear(), 5u);
  EXPECT_EQ(cache.info().files, 0u);
  EXPECT_TRUE(right(scale(fresh(folder.path()))));
}

TEST(WarmCache, TwoBuildsNeverShare) {
  // Another build has other keys; what it leaves under ours by force is another key inside.
  const Folder folder;
  scale(fresh(folder.path()));
  for (const std::string& f : folder.files(".kernel")) {
    std::optional<cache::Entry> e = cache::decode(read(folder / f));
    ASSERT_TRUE(e);
    e->key = cache::hash("another build");
    write(folder / f, cache::encode(*e));
  }
  const Cache cache = fresh(folder.path());
  EXPECT_TRUE(right(scale(cache)));
  EXPECT_EQ(cache.counts().broken, 1u);
  EXPECT_EQ(cache.counts().compiled, 1u);
}

}  // namespace
}  // namespace tessera
