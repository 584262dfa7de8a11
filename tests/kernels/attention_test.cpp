// Dense attention of kernels/attention against the float64 oracle: every variant, length, head dim and tile size.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/attention_oracle.h"
#include "tests/kernels/harness.h"

namespace tessera::test {
namespace {

struct Shape {
  int lq, lk;
  int b = 1, g = 1, r = 1, d = 32;
  DType t = DType::BF16;
  int bm = 32, bn = 32;
};

std::string str(const Shape& s) {
  return fmt::format("b {} lq {} lk {} g {} r {} d {} {} tiles {}x{}", s.b, s.lq, s.lk, s.g, s.r, s.d, name(s.t), s.bm, s.bn);
}

float scale_of(const Shape& s) { return 1.0F / std::sqrt(static_cast<float>(s.d)); }

Call dense(const std::string& kernel, const Shape& s) {
  const int h = s.g * s.r;
  Call c{.file = "kernels/attention/flash.tile", .kernel = kernel};
  c.constants = {{"T", s.t}, {"D", s.d}, {"R", s.r}, {"BM", s.bm}, {"BN", s.bn}};
  c.tensors.emplace("q", Buffer(s.t, {s.b, s.lq, h, s.d}).fill_random(1));
  c.tensors.emplace("k", Buffer(s.t, {s.b, s.lk, s.g, s.d}).fill_random(2));
  c.tensors.emplace("v", Buffer(s.t, {s.b, s.lk, s.g, s.d}).fill_random(3));
  c.tensors.emplace("o", unwritten(s.t, {s.b, s.lq, h, s.d}));
  c.tensors.emplace("lse", unwritten(DType::F32, {s.b, s.lq, h}));
  c.scalars["scale"] = scale_of(s);
  return c;
}

std::vector<double> part(const Buffer& b, int i) {
  const std::vector<double> all = values(b);
  const std::size_t n = all.size() / static_cast<std::size_t>(b.dims[0]);
  return {all.begin() + static_cast<std::ptrdiff_t>(n * i), all.begin() + static_cast<std::ptrdiff_t>(n * (i + 1))};
}

Attention problem(const Call& c, const Shape& s, int b) {
  Attention a{.lq = s.lq, .lk = s.lk, .heads = s.g * s.r, .kv_heads = s.g, .d = s.d, .e = s.d, .scale = scale_of(s)};
  a.q = part(c.tensors.at("q"), b);
  a.k = part(c.tensors.at("k"), b);
  a.v = part(c.tensors.at("v"), b);
  return a;
}

using Define = std::function<void(Attention&, int b)>;  ///< the variant of batch entry b

/// One launch on every target against the oracle.
void check(const Call& c, const Shape& s, const Define& define, const std::vector<On>& targets = {On::Interp, On::Exact, On::Cpu}) {
  for (const On on : targets) {
    const auto out = run(c, on);
    for (int b = 0; b < s.b; ++b) {
      Attention a = problem(c, s, b);
      define(a, b);
      const bool has_lse = out.contains("lse");
      const std::string what = fmt::format("{} on {}, {}, batch {}", c.kernel, name(on), str(s), b);
      expect_attention(part(out.at("o"), b), has_lse ? part(out.at("lse"), b) : std::vector<double>{}, a, s.t, on == On::Exact, what);
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
}

void plain(Attention&, int) {}
void causal(Attention& a, int) {
  a.keep = [lq = a.lq, lk = a.lk](int, int i, int j) { return j <= i + lk - lq; };
}

constexpr Shape kLengths[] = {
    {1, 147}, {113, 203}, {128, 217, 1, 1, 2}, {203, 113}, {64, 64, 2, 2, 2}, {65, 33, 1, 2, 1}, {33, 65, 1, 1, 4}, {1, 1}, {3, 250, 1, 2, 3},
    {5, 0},   {0, 5},
};

TEST(Attention, LengthsAndGroupsPlain) {
  for (const Shape& s : kLengths) check(dense("flash", s), s, plain);
}

// Covers rows that see no key: Lq > Lk.
TEST(Attention, LengthsAndGroupsCausal) {
  for (const Shape& s : kLengths) check(dense("flash_causal", s), s, causal);
}

TEST(Attention, ElementTypes) {
  for (const DType t : {DType::F16, DType::BF16, DType::F32}) {
    const Shape s{.lq = 70, .lk = 90, .g = 2, .r = 2, .d = 64, .t = t};
    check(dense("flash_causal", s), s, causal);
  }
}

TEST(Attention, HeadDims) {
  for (const int d : {32, 40, 64, 80, 96, 128, 160, 192, 224, 256}) {
    const Shape s{.lq = 33, .lk = 49, .d = d};
    check(dense("flash_causal", s), s, causal, {On::Interp, On::Cpu});
  }
}

TEST(Attention, ValueHeadDimDiffers) {
  const Shape s{.lq = 17, .lk = 40, .d = 48};
  Call c = dense("flash", s);
  c.constants["E"] = std::int64_t{32};
  c.tensors.at("v") = Buffer(s.t, {1, s.lk, 1, 32}).fill_random(3);
  c.tensors.at("o") = unwritten(s.t, {1, s.lq, 1, 32});
  for (const On on : {On::Interp, On::Cpu}) {
    const auto out = run(c, on);
    Attention a = problem(c, s, 0);
    a.e = 32;
    expect_attention(values(out.at("o")), values(out.at("lse")), a, s.t, false, name(on));
  }
}

TEST(Attention, HeadDimsThatAreRefused) {
  const struct {
    int d;
    const char *clause, *nearest;
  } cases[] = {
      {36, "D % 8 == 0", "the nearest `D` that fits is 40"}, {260, "D % 8 == 0", "is 256"}, {264, "D <= 256", "the nearest `D` that fits is 256"}};
  for (const auto& x : cases) {
    const Shape s{.lq = 4, .lk = 4, .d = x.d};
    const std::string text = refusal(dense("flash", s));
    EXPECT_NE(text.find("E0509"), std::string::npos) << text;
    EXPECT_NE(text.find(fmt::format("`flash` needs `{}`", x.clause)), std::string::npos) << text;
    EXPECT_NE(text.find(x.nearest), std::string::npos) << text;
  }
}

// --- variants

constexpr Shape kVariantLengths[] = {{33, 70, 2, 1, 2}, {70, 33, 1, 2, 1}, {40, 40, 1, 1, 3}};

TEST(Attention, SoftCap) {
  for (const Shape& s : kVariantLengths) {
    Call c = dense("flash_soft_cap", s);
    for (std::int64_t i = 0; i < c.tensors.at("q").size(); ++i) c.tensors.at("q").set(i, c.tensors.at("q").get(i) * 4);  // so that the cap bites
    c.scalars["x.cap"] = 2;
    check(c, s, [](Attention& a, int b) {
      causal(a, b);
      a.score = [](double x, int, int, int) { return 2 * std::tanh(x / 2); };
    });
  }
}

TEST(Attention, Window) {
  for (const Shape& s : kVariantLengths) {
    for (const int right : {0, 3}) {
      Call c = dense("flash_window", s);
      c.scalars["x.left"] = 11;
      c.scalars["x.right"] = right;
      check(c, s, [right](Attention& a, int) { a.keep = [a, right](int, int i, int j) { return a.at(i) - 11 <= j && j <= a.at(i) + right; }; });
    }
  }
}

TEST(Attention, Alibi) {
  for (const Shape& s : kVariantLengths) {
    Call c = dense("flash_alibi", s);
    Buffer slopes(DType::F32, {s.g * s.r});
    for (std::int64_t h = 0; h < slopes.size(); ++h) slopes.set(h, std::exp2(-1.0 - static_cast<double>(h)));
    c.tensors.emplace("x.slopes", slopes);
    check(c, s, [](Attention& a, int b) {
      causal(a, b);
      a.score = [lq = a.lq, lk = a.lk](double x, int h, int i, int j) { return x - std::exp2(-1.0 - h) * std::abs(i + lk - lq - j); };
    });
  }
}

TEST(Attention, PackedMask) {
  for (const Shape& s : kVariantLengths) {
    Call c = dense("flash_mask_bits", s);
    const int bytes = (s.lq * s.lk + 7) / 8;
    std::mt19937 random(5);
    Buffer bits(DType::U8, {s.b * bytes});
    for (std::int64_t i = 0; i < bits.size(); ++i) bits.set_int(i, static_cast<std::int64_t>(random() % 256));
    for (int i = 0; i < s.lk; ++i) bits.set_int(i / 8, bits.get_int(i / 8) & ~(1 << i % 8));  // the first query of the first entry sees nothing
    Buffer off(DType::I32, {s.b});
    for (int b = 0; b < s.b; ++b) off.set_int(b, b * bytes);
    c.tensors.emplace("x.bits", bits);
    c.tensors.emplace("x.off", off);
    check(c, s, [&](Attention& a, int b) {
      a.keep = [&bits, lk = a.lk, first = b * bytes](int, int i, int j) {
        const int e = i * lk + j;
        return (bits.get_int(first + e / 8) >> e % 8 & 1) != 0;
      };
    });
  }
}

TEST(Attention, Documents) {
  for (const Shape& s : kVariantLengths) {
    Call c = dense("flash_document", s);
    const auto document = [](int b, int p) { return (p + 5 * b) / 13; };
    Buffer doc(DType::I32, {s.b, s.lk});
    for (int b = 0; b < s.b; ++b) {
      for (int p = 0; p < s.lk; ++p) doc.set_int(b * s.lk + p, document(b, p));
    }
    c.tensors.emplace("x.doc", doc);
    check(c, s, [document](Attention& a, int b) {
      a.keep = [a, b, document](int, int i, int j) { return a.at(i) >= 0 && document(b, a.at(i)) == document(b, j) && j <= a.at(i); };
    });
  }
}

TEST(Attention, Chunks) {
  for (const Shape& s : kVariantLengths) {
    Call c = dense("flash_chunked", s);
    c.scalars["x.chunk"] = 12;
    check(c, s, [](Attention& a, int) { a.keep = [a](int, int i, int j) { return a.at(i) >= 0 && j / 12 == a.at(i) / 12 && j <= a.at(i); }; });
  }
}

TEST(Attention, Prefix) {
  for (const Shape& s : kVariantLengths) {
    Call c = dense("flash_prefix", s);
    c.scalars["x.prefix"] = 9;
    check(c, s, [](Attention& a, int) { a.keep = [a](int, int i, int j) { return j < 9 || j <= a.at(i); }; });
  }
}

TEST(Attention, SinkAndNoLse) {
  for (const Shape& s : {Shape{20, 50, 1, 2, 2}, Shape{40, 20, 1, 1, 2}}) {
    Call c = dense("flash_causal", s);
    Buffer sink(DType::F32, {s.g * s.r});
    sink.fill_random(8);
    sink.set(0, -std::numeric_limits<double>::infinity());  // no sink: rows without keys stay without
    c.tensors.emplace("sink", sink);
    const auto define = [&](Attention& a, int b) {
      causal(a, b);
      a.sink = [&sink](int h) { return sink.get(h); };
    };
    check(c, s, define);
    c.tensors.erase("lse");
    check(c, s, define, {On::Interp, On::Cpu});
  }
}

// Dropout keeps a share keep_p of the weights, decides by position alone, and leaves lse as it is.
TEST(Attention, Dropout) {
  const Shape s{.lq = 24, .lk = 96, .b = 2, .g = 2, .r = 1, .t = DType::F32};
  Call c = dense("flash_dropout", s);
  c.scalars["x.seed"] = 1234;
  c.scalars["x.keep_p"] = 0.75;
  // v = identity in blocks of D keys gives the dropped weights themselves.
  std::vector<bool> kept;
  std::map<std::string, Buffer> outs[3];
  for (int block = 0; block < 3; ++block) {
    Buffer& v = c.tensors.at("v");
    for (std::int64_t i = 0; i < v.size(); ++i) v.set(i, (i / s.d / s.g) % s.lk == block * s.d + i % s.d ? 1 : 0);
    outs[block] = run(c, On::Interp);
    c.kernel = "flash";
    Call other = c;
    other.scalars.erase("x.seed");
    other.scalars.erase("x.keep_p");
    const auto whole = run(other, On::Interp);
    c.kernel = "flash_dropout";
    expect_same(outs[block].at("lse"), whole.at("lse"), "lse");
    for (std::int64_t i = 0; i < whole.at("o").size(); ++i) {
      const double p = whole.at("o").get(i);
      const double dropped = outs[block].at("o").get(i);
      kept.push_back(dropped != 0);
      if (dropped != 0) {
        ASSERT_NEAR(dropped, p / 0.75, 1e-6 * p) << i;
      }
    }
    for (const auto& [bm, bn] : {std::pair{16, 48}, {8, 96}}) {
      Call tiles = c;
      tiles.constants["BM"] = std::int64_t{bm};
      tiles.constants["BN"] = std::int64_t{bn};
      for (const On on : {On::Interp, On::Cpu}) {
        expect_near(values(run(tiles, on).at("o")), values(outs[block].at("o")), 1e-7, 1e-5, fmt::format("tiles {}x{} on {}", bm, bn, name(on)));
      }
    }
  }
  const double share = static_cast<double>(std::count(kept.begin(), kept.end(), true)) / static_cast<double>(kept.size());
  EXPECT_NEAR(share, 0.75, 0.01);
}

// --- tile sizes change at most rounding, and nothing where arithmetic is exact

TEST(Attention, TileSizes) {
  Shape s{.lq = 61, .lk = 83, .g = 1, .r = 2};
  for (const auto& [bm, bn] : {std::pair{8, 16}, {16, 96}, {64, 64}, {48, 80}, {192, 176}}) {
    s.bm = bm;
    s.bn = bn;
    check(dense("flash_causal", s), s, causal, {On::Interp, On::Cpu});
  }
}

TEST(Attention, TileSizesOfSeveralWarpgroups) {
  // Heads that share a key head are rows of one tile; 128 rows are no multiple of 3 of them.
  for (const int r : {1, 2, 3}) {
    for (const int bm : {128, 192}) {
      const Shape s{.lq = 150, .lk = 170, .r = r, .bm = bm, .bn = 64};
      check(dense("flash_causal", s), s, causal, {On::Cpu});
    }
  }
}

TEST(Attention, TileSizesGiveEqualBitsOnIntegers) {
  // q = 0 makes every weight 1, so that sums are exact; the number of keys is a power of two, so that the quotient is.
  Shape s{.lq = 30, .lk = 64, .g = 1, .r = 2};
  Call c = dense("flash", s);
  c.tensors.at("q").fill(0);
  c.tensors.at("v").fill_integers(4, 3);
  const auto first = run(c, On::Interp);
  for (const auto& [bm, bn] : {std::pair{8, 16}, {64, 48}, {16, 64}}) {
    c.constants["BM"] = std::int64_t{bm};
    c.constants["BN"] = std::int64_t{bn};
    for (const On on : {On::Interp, On::Cpu}) expect_same(run(c, on).at("o"), first.at("o"), fmt::format("tiles {}x{} on {}", bm, bn, name(on)));
  }
}

// --- the older algorithms

TEST(Attention, MaterialisedScores) {
  for (const DType w : {DType::F32, DType::BF16}) {
    for (const Shape& s : {Shape{33, 70, 2, 2, 2}, Shape{70, 33, 1, 1, 2}, Shape{1, 100}, Shape{4, 0}}) {
      for (const On on : {On::Interp, On::Cpu}) {
        const Call flash = dense("flash_causal", s);
        const int h = s.g * s.r;
        const std::string file = "kernels/attention/standard.tile";
        Call scores{.file = file, .kernel = "scores", .constants = {{"T", s.t}, {"D", s.d}, {"W", w}, {"CAUSAL", true}, {"BM", 32}, {"BN", 32}}};
        scores.tensors = {{"q", flash.tensors.at("q")}, {"k", flash.tensors.at("k")}, {"s", unwritten(w, {s.b, h, s.lq, s.lk})}};
        scores.scalars = flash.scalars;
        Call weights{.file = file, .kernel = "weights", .constants = {{"W", w}, {"BM", 4}, {"BN", 32}}};
        weights.tensors = {{"s", run(scores, on).at("s")}, {"p", unwritten(w, {s.b, h, s.lq, s.lk})}, {"lse", unwritten(DType::F32, {s.b, h, s.lq})}};
        const auto p = run(weights, on);
        Call sum{.file = file, .kernel = "weighted_sum", .constants = {{"T", s.t}, {"E", s.d}, {"W", w}, {"BM", 32}, {"BN", 32}}};
        sum.tensors = {{"p", p.at("p")}, {"v", flash.tensors.at("v")}, {"o", unwritten(s.t, {s.b, s.lq, h, s.d})}};
        const auto out = run(sum, on);
        for (int b = 0; b < s.b; ++b) {
          Attention a = problem(flash, s, b);
          causal(a, b);
          expect_attention(part(out.at("o"), b), {}, a, s.t, false, fmt::format("standard, {} on {}", str(s), name(on)));
        }
      }
    }
  }
}

TEST(Attention, FlashAttention1) {
  for (const bool masked : {false, true}) {
    for (const Shape& s : {Shape{33, 70, 2, 2, 2}, Shape{70, 33, 1, 1, 2}, Shape{1, 100}, Shape{4, 0}}) {
      const int h = s.g * s.r;
      Call c = dense(masked ? "flash_causal" : "flash", s);
      c.file = "kernels/attention/fa1.tile";
      c.kernel = "fa1";
      c.constants = {{"T", s.t}, {"D", s.d}, {"CAUSAL", masked}, {"BM", 16}, {"BN", 32}};
      c.tensors.erase("lse");
      c.tensors.at("o") = unwritten(DType::F32, {s.b, s.lq, h, s.d});
      c.tensors.emplace("m", unwritten(DType::F32, {s.b, s.lq, h}));
      c.tensors.emplace("l", unwritten(DType::F32, {s.b, s.lq, h}));
      for (const On on : {On::Interp, On::Cpu}) {
        const auto out = run(c, on);
        for (int b = 0; b < s.b; ++b) {
          Attention a = problem(c, s, b);
          if (masked) causal(a, b);
          std::vector<double> lse = part(out.at("m"), b);
          const std::vector<double> l = part(out.at("l"), b);
          for (std::size_t i = 0; i < lse.size(); ++i) lse[i] += std::log(l[i]);
          expect_attention(part(out.at("o"), b), lse, a, s.t, false, fmt::format("fa1, {} on {}", str(s), name(on)));
        }
      }
    }
  }
}

}  // namespace
}  // namespace tessera::test
