// What the keys of entries depend on: all that code depends on, and nothing else.
#include <gmock/gmock.h>

#include <algorithm>

#include "runtime/cache/head.h"
#include "runtime/cache/kernel_key.h"
#include "runtime/kernel_impl.h"
#include "tests/cache/support.h"

namespace tessera {
namespace {

using namespace tessera::test;
using cache::Fields;
using cache::KernelInputs;
using cache::Key;

TEST(CacheKey, EveryInputChangesIt) {
  // The rows of inputs.def, one test each: a changed value, an empty one, and the value of another row give other keys.
  KernelInputs all;
  std::size_t rows = 0;
#define TESSERA_KEY_INPUT(name, doc) all.name = "value of " #name, ++rows;
#include "runtime/cache/inputs.def"
  const Key key = all.key();
  EXPECT_EQ(KernelInputs(all).key(), key);
  std::set<Key> seen{key};
#define TESSERA_KEY_INPUT(name, doc)                                 \
  for (const char* value : {"", "another", "value of " #name " "}) { \
    KernelInputs changed = all;                                      \
    changed.name = value;                                            \
    EXPECT_TRUE(seen.insert(changed.key()).second) << #name;         \
  }
#include "runtime/cache/inputs.def"
  EXPECT_EQ(seen.size(), 1 + 3 * rows);
  EXPECT_GE(rows, 9u);
}

TEST(CacheKey, NoBytesMoveFromOneInputToTheNext) {
  // All ways to cut one text into names and values.
  const std::string text = "abcdefgh";
  std::set<Key> seen;
  std::size_t made = 0;
  for (std::size_t a = 0; a <= text.size(); ++a) {
    for (std::size_t b = a; b <= text.size(); ++b) {
      for (std::size_t c = b; c <= text.size(); ++c) {
        seen.insert(Fields({{text.substr(0, a), text.substr(a, b - a)}, {text.substr(b, c - b), text.substr(c)}}).key());
        ++made;
      }
    }
    seen.insert(Fields({{text.substr(0, a), text.substr(a)}}).key());
    ++made;
  }
  EXPECT_EQ(seen.size(), made);
  EXPECT_NE(Fields().key(), Fields().add("", "").key());
}

TEST(CacheKey, TheLibraryKnowsItsBuild) {
  EXPECT_GE(cache::build_id().size(), 16u);
  EXPECT_EQ(cache::llvm_version().substr(0, 3), "22.");
}

/// The names of the machine code that these sources make, as a folder has them.
class Named {
 public:
  /// True if the kernel makes code that no kernel before has made.
  bool fresh_code(const std::string& source, const std::string& kernel, const Consts& constants, const Options& options = {}) {
    const std::size_t before = folder_.files(".kernel").size();
    load_source("k.tile", source, fresh(folder_.path())).kernel(kernel, constants, options);
    return folder_.files(".kernel").size() > before;
  }

 private:
  Folder folder_;
};

constexpr const char* base = R"(
kernel k[N: int, S: int = 2](x: view f32[M, N], y: out view f32[M, N], s: f32)
where M <= 1000
over (i in M)
{
    let t = x[i, :] * s;
    var u = t;
    for const j in 0..S { u = u + t; }
    y[i, :] = u;
}
)";

std::string with(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) text.replace(at, from.size(), to);
  return text;
}

TEST(CacheKey, CommentsMakeNoDifference) {
  Named code;
  EXPECT_TRUE(code.fresh_code(base, "k", {{"N", 8}}));
  EXPECT_FALSE(code.fresh_code(base, "k", {{"N", 8}}));
  EXPECT_FALSE(code.fresh_code(with(base, "let t = x[i, :] * s;", "// a word\n    let t = x[i, :] * s;  // another"), "k", {{"N", 8}}));
}

TEST(CacheKey, ARenamedLocal) {
  Named code;
  const std::string renamed =
      with(with(with(with(base, "let t ", "let row "), "var u = t", "var sum = row"), "u = u + t", "sum = sum + row"), "= u;", "= sum;");
  EXPECT_TRUE(code.fresh_code(base, "k", {{"N", 8}}));
  EXPECT_FALSE(code.fresh_code(renamed, "k", {{"N", 8}}));
  EXPECT_FALSE(code.fresh_code(with(with(base, "over (i in M)", "over (row in M)"), "[i, :]", "[row, :]"), "k", {{"N", 8}}));
  EXPECT_FALSE(code.fresh_code(with(base, "\n", "\n\n   "), "k", {{"N", 8}}));
}

TEST(CacheKey, WhatChangesTheCodeIsSeen) {
  Named code;
  EXPECT_TRUE(code.fresh_code(base, "k", {{"N", 8}}));
  EXPECT_TRUE(code.fresh_code(base, "k", {{"N", 16}}));
  EXPECT_TRUE(code.fresh_code(base, "k", {{"N", 8}, {"S", 3}}));
  EXPECT_FALSE(code.fresh_code(base, "k", {{"N", 8}, {"S", 2}})) << "the default, spelled out";
  EXPECT_TRUE(code.fresh_code(base, "k", {{"N", 8}}, {.debug = true}));
  EXPECT_TRUE(code.fresh_code(base, "k", {{"N", 8}}, {.target = "sm_80"}));
  EXPECT_TRUE(code.fresh_code(base, "k", {{"N", 8}}, {.target = "sm_90a"}));
  EXPECT_FALSE(code.fresh_code(base, "k", {{"N", 8}}, {.target = "sm_80"}));
  EXPECT_TRUE(code.fresh_code(with(base, "* s", "+ s"), "k", {{"N", 8}}));
  EXPECT_TRUE(code.fresh_code(with(base, "M <= 1000", "M <= 1001"), "k", {{"N", 8}}));
  EXPECT_TRUE(code.fresh_code(std::string(base) + "schedule k on cpu { vector 16; }\n", "k", {{"N", 8}}));
  EXPECT_FALSE(code.fresh_code(base, "k", {{"N", 8}}, {.target = "interp"})) << "nothing to keep";
  EXPECT_FALSE(code.fresh_code(base, "k", {{"N", 8}}, {.target = "simt:sm_80"}));
}

TEST(CacheKey, CanonicalTextKeepsTheNamesThatSchedulesUse) {
  const auto text = [](const std::string& source, const std::string& family) {
    const LoadResult loaded = load_program("k.tile", source, {});
    Diagnostics ds;
    const auto kernel = instantiate(*loaded.program, "k", {{"N", std::int64_t{8}}}, {}, ds);
    return cache::canonical_text(*kernel, schedule_for(*loaded.program, "k", family));
  };
  const std::string scheduled = std::string(base) + "schedule k on sm80 { home t: smem; }\n";
  EXPECT_THAT(text(scheduled, "sm80"), ::testing::HasSubstr(".t = "));
  EXPECT_THAT(text(scheduled, "cpu"), ::testing::Not(::testing::HasSubstr(".t = ")));
}

TEST(CacheKey, WinnersAndSourcesOfOneKernelDoNotMix) {
  // The same question with another answer: an imported module that changes, and a winners file that changes.
  Folder folder;
  const std::string root = R"(
import helper;
kernel k[N: int, BM: int = 1](x: view f32[M, N], y: out view f32[M, N], s: f32) over (i in M) { y[i, :] = helper.twice(x[i, :]) * s; }
)";
  const auto loaded = [&](const std::string& helper) {
    return load_source("k.tile", root, {{"helper", helper}}, fresh(folder.path())).kernel<In<float, 2>, Out<float, 2>, float>("k", {{"N", 8}});
  };
  const std::string once = "fn twice[N: int](x: f32[N]) -> f32[N] { return x; }\n",
                    twice = "fn twice[N: int](x: f32[N]) -> f32[N] { return x + x; }\n";
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(right(loaded(once)));
    EXPECT_FALSE(right(loaded(twice)));
  }
}

}  // namespace
}  // namespace tessera
