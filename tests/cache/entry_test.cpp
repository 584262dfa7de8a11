// The form of a cache file: what is written reads back, and nothing else reads at all.
#include <gmock/gmock.h>

#include "codegen/nvptx/ptx.h"
#include "runtime/cache/head.h"
#include "runtime/cache/image.h"
#include "runtime/kernel_impl.h"
#include "tests/cache/support.h"

namespace tessera {
namespace {

using cache::Entry;
using cache::Kind;

Entry sample() {
  Entry e{Kind::Form, cache::hash("some key"), {{"head", "kernel"}, {"span", ""}, {"key ", std::string(300, '\0')}}};
  e.sections.push_back({"meta", cache::Writer().number(7).text("seven").take()});
  return e;
}

TEST(CacheEntry, ReadsBack) {
  for (const Kind k : cache::all_kinds()) {
    Entry e = sample();
    e.kind = k;
    EXPECT_EQ(cache::decode(cache::encode(e)), e);
  }
  EXPECT_EQ(cache::decode(cache::encode({Kind::Kernel, {}, {}})), (Entry{Kind::Kernel, {}, {}}));
}

TEST(CacheEntry, CutAnywhereIsNoEntry) {
  const std::string whole = cache::encode(sample());
  for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_FALSE(cache::decode(whole.substr(0, n))) << n;
  EXPECT_FALSE(cache::decode(whole + '\0'));
}

TEST(CacheEntry, AnyChangedBitIsSeen) {
  const std::string whole = cache::encode(sample());
  for (std::size_t n = 0; n < whole.size(); ++n) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = whole;
      bad[n] = static_cast<char>(bad[n] ^ (1 << bit));
      ASSERT_FALSE(cache::decode(bad)) << n;
    }
  }
}

/// Lengths that lie, under a checksum that is right: a program that writes such files has gone wrong, but reading them must not.
TEST(CacheEntry, LengthsThatLie) {
  const std::string whole = cache::encode(sample());
  const std::string body = whole.substr(0, whole.size() - 32);
  for (std::size_t n = 0; n < body.size(); ++n) {
    for (const char c : {'\xff', '\x01', '\x80'}) {
      std::string bad = body;
      bad[n] = c;
      const cache::Key sum = cache::hash(bad);
      cache::decode(bad + std::string(sum.bytes.begin(), sum.bytes.end()));
    }
  }
  for (const std::uint64_t lie : {std::uint64_t{1} << 63, ~std::uint64_t{0}, std::uint64_t{1000}}) {
    const std::string bytes = cache::Writer().number(lie).text("x").take();
    cache::Reader text(bytes), count(bytes);
    EXPECT_EQ(text.text(), "");
    EXPECT_FALSE(text.ok());
    EXPECT_EQ(count.count(), 0u);
    EXPECT_FALSE(count.done());
  }
}

TEST(CacheImage, CodeOfACpuReadsBack) {
  CpuObject o;
  o.object = std::string("\177ELF\0code", 9);
  o.entry = "k";
  o.range_entry = "k.range";
  o.arena_bytes = 4096;
  o.instructions = 77;
  o.checks = {{{1, 10, 20}, "first"}, {{}, ""}};
  const std::optional<CpuObject> back = cache::cpu_object({Kind::Kernel, {}, cache::sections_of(o)});
  ASSERT_TRUE(back);
  EXPECT_EQ(back->object, o.object);
  EXPECT_EQ(back->entry, o.entry);
  EXPECT_EQ(back->range_entry, o.range_entry);
  EXPECT_EQ(back->arena_bytes, o.arena_bytes);
  EXPECT_EQ(back->instructions, o.instructions);
  ASSERT_EQ(back->checks.size(), 2u);
  EXPECT_EQ(back->checks[0].span, o.checks[0].span);
  EXPECT_EQ(back->checks[0].message, "first");
  EXPECT_FALSE(cache::gpu_object({Kind::Kernel, {}, cache::sections_of(o)}));
}

TEST(CacheImage, CodeOfAGpuReadsBack) {
  GpuObject o{.ptx = ".version", .entry = "k", .target = *gpu_target_from_name("sm_90a"), .threads = 384, .shared_bytes = 200000};
  o.checks = {{{2, 3, 4}, "checked"}};
  o.maps = {GpuTensorMap{0, DType::BF16, {{3, 6, 64}, {2, 5, 1}}}, GpuTensorMap{9, DType::F32, {{1, 2, 32}, {3, 4, 8}, {5, 6, 1}}}};
  o.persistent = true;
  o.cluster = {2, 1};
  o.assembler_level = 1;
  o.cubin = std::string("\177ELF\0", 5);
  const std::optional<GpuObject> back = cache::gpu_object({Kind::Kernel, {}, cache::sections_of(o)});
  ASSERT_TRUE(back);
  EXPECT_EQ(back->ptx, o.ptx);
  EXPECT_EQ(back->entry, o.entry);
  EXPECT_EQ(back->target, o.target);
  EXPECT_EQ(back->threads, o.threads);
  EXPECT_EQ(back->shared_bytes, o.shared_bytes);
  ASSERT_EQ(back->checks.size(), 1u);
  EXPECT_EQ(back->checks[0].span, o.checks[0].span);
  EXPECT_EQ(back->maps, o.maps);
  EXPECT_TRUE(back->persistent);
  EXPECT_EQ(back->assembler_level, 1);
  EXPECT_EQ(back->cubin, o.cubin);
  EXPECT_EQ(back->cluster, o.cluster);
  EXPECT_FALSE(cache::cpu_object({Kind::Kernel, {}, cache::sections_of(o)}));
}

TEST(CacheHead, KeepsWhatLaunchesCheck) {
  const LoadResult loaded = load_program("k.tile", R"(
kernel k[N: int](x: view f32[M, N], y: out view f32[M, N], bias: view f32[N] ?, s: f32, n: idx)
where M <= 1000
over (i in M)
{
    assert s > 0.0;
    assert n >= 2 && n < 100;
    var t = x[i, :] * s;
    if has(bias) { t = t + bias[:]; }
    y[i, :] = t;
}
)",
                                         {});
  Diagnostics ds;
  const std::unique_ptr<ir::Kernel> kernel = instantiate(*loaded.program, "k", {{"N", std::int64_t{8}}}, {"bias"}, ds);
  ASSERT_TRUE(kernel);
  const cache::Head head = cache::head_of(*kernel);
  const std::unique_ptr<ir::Kernel> back = cache::read_head(head);
  ASSERT_TRUE(back);
  EXPECT_EQ(cache::head_of(*back).text, head.text);
  EXPECT_LT(back->body.ops.size(), kernel->body.ops.size());
  ASSERT_EQ(back->params.size(), kernel->params.size());
  for (std::size_t i = 0; i < back->params.size(); ++i) {
    EXPECT_EQ(back->params[i].name, kernel->params[i].name);
    EXPECT_EQ(back->params[i].present, kernel->params[i].present);
    EXPECT_EQ(back->params[i].span, kernel->params[i].span);
  }
  EXPECT_EQ(back->span, kernel->span);
  EXPECT_EQ(back->constants, kernel->constants);
  EXPECT_EQ(back->where.size(), 1u);
  EXPECT_EQ(back->grid.size(), 1u);
  // The same arguments are refused in the same words.
  const LaunchPlan a(*kernel, loaded.sources), b(*back, loaded.sources);
  std::vector<float> memory(64);
  const Context cpu = Context::cpu(1);
  const auto refusal = [&](const LaunchPlan& plan, std::int64_t rows, float s, std::int64_t n) -> std::string {
    const Tensor x(memory.data(), ElementType::F32, std::array<std::int64_t, 2>{rows, 8}), y = x;
    Tensor other = y;
    other.data = memory.data() + 32;
    const Argument arguments[] = {x, other, absent, s, n};
    try {
      plan.bind(arguments, cpu);
    } catch (const Error& e) {
      return e.rendered();
    }
    return "";
  };
  for (const auto& [rows, s, n] :
       {std::tuple<std::int64_t, float, std::int64_t>{4, 1.0f, 5}, {4, -1.0f, 5}, {4, 1.0f, 1}, {4, 1.0f, 100}, {1001, 1.0f, 5}}) {
    EXPECT_EQ(refusal(a, rows, s, n), refusal(b, rows, s, n));
    EXPECT_EQ(refusal(b, rows, s, n).empty(), rows == 4 && s > 0 && n == 5) << rows << " " << s << " " << n;
  }
  EXPECT_FALSE(cache::read_head({"kernel", {}}));
  EXPECT_FALSE(cache::read_head({head.text, {}}));
}

}  // namespace
}  // namespace tessera
