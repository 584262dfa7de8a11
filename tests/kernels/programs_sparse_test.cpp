// Block-sparse, cascade and fp8 programs of tests/programs, at tiny shapes.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/attention_oracle.h"
#include "tests/kernels/harness.h"

namespace tessera::test {
namespace {

constexpr On kTargets[] = {On::Interp, On::Exact, On::Cpu};
constexpr DType kT = DType::BF16;
constexpr double kScale = 0.125;
const double kInf = std::numeric_limits<double>::infinity();

Buffer random(DType t, ir::Dims dims, unsigned seed) { return Buffer(t, std::move(dims)).fill_random(seed); }

// Three block rows: two blocks out of order, none, three blocks. With and without a bit mask in the blocks, with and without a causal mask on top.
TEST(Programs, BlockSparseRows) {
  const int rb = 16;
  const int cb = 8;
  const int blocks = 5;
  const std::vector<std::int64_t> ptr = {0, 2, 2, 5};
  const std::vector<std::int64_t> ind = {3, 0, 1, 2, 4};
  for (const bool masked : {false, true}) {
    for (const std::string variant : {"att.nothing", "att.bottom_right"}) {
      Call c{.file = "tests/programs/sparse.tile",
             .kernel = "bsr",
             .constants = {{"T", kT}, {"D", 64}, {"RB", rb}, {"CB", cb}, {"BN", 16}, {"X", "att.None"}, {"variant", variant}}};
      c.tensors = {{"q", random(kT, {3 * rb, 2, 64}, 1)}, {"k", random(kT, {blocks * cb, 1, 64}, 2)}, {"v", random(kT, {blocks * cb, 1, 64}, 3)},
                   {"ptr", ints(DType::I32, {4}, ptr)},   {"ind", ints(DType::I32, {5}, ind)},        {"o", unwritten(kT, {3 * rb, 2, 64})}};
      Buffer bits(DType::U8, {5 * rb * cb / 8});
      for (std::int64_t i = 0; i < bits.size(); ++i) bits.set_int(i, i * 91 % 255);
      if (masked) c.tensors.emplace("bits", bits);
      c.scalars["scale"] = kScale;
      Attention a{.lq = 3 * rb,
                  .lk = blocks * cb,
                  .heads = 2,
                  .kv_heads = 1,
                  .d = 64,
                  .e = 64,
                  .scale = kScale,
                  .q = values(c.tensors.at("q")),
                  .k = values(c.tensors.at("k")),
                  .v = values(c.tensors.at("v"))};
      a.keep = [&](int, int i, int j) {
        for (std::int64_t n = ptr[i / rb]; n < ptr[i / rb + 1]; ++n) {
          if (ind[n] != j / cb) continue;
          const std::int64_t bit = n * rb * cb + i % rb * cb + j % cb;
          return (!masked || (bits.get_int(bit / 8) >> bit % 8 & 1) != 0) && (variant == "att.nothing" || j <= i + blocks * cb - 3 * rb);
        }
        return false;
      };
      for (const On on : kTargets) {
        expect_attention(values(run(c, on).at("o")), {}, a, kT, on == On::Exact, fmt::format("{} mask {} on {}", variant, masked, name(on)));
      }
    }
  }
}

TEST(Programs, VariableBlockSparse) {
  // Two tiles of rows, 0..10 and 10..24, with their own lists of single keys; one list is empty for the second key head.
  const int l = 24;
  const int s = 40;
  Call c{.file = "tests/programs/sparse.tile", .kernel = "vbsr", .constants = {{"T", kT}, {"D", 64}, {"BM", 16}, {"BN", 16}}};
  const std::vector<std::int64_t> tptr = {0, 3, 21, 21, 21, 24};
  std::vector<std::int64_t> idxs = {39, 0, 7};
  for (int j = 0; j < 18; ++j) idxs.push_back(j * 2);
  idxs.insert(idxs.end(), {5, 6, 11});
  c.tensors = {{"q", random(kT, {4, l, 64}, 1)},
               {"k", random(kT, {2, s, 64}, 2)},
               {"v", random(kT, {2, s, 64}, 3)},
               {"tptr", ints(DType::I32, {2, 3}, {tptr[0], tptr[1], tptr[2], tptr[3], tptr[4], tptr[5]})},
               {"trow", ints(DType::I32, {2, 3}, {0, 10, 24, 0, 10, 24})},
               {"idxs", ints(DType::I32, {24}, idxs)},
               {"o", unwritten(kT, {4, l, 64})}};
  c.scalars["scale"] = kScale;
  for (const On on : kTargets) {
    const Buffer o = run(c, on).at("o");
    for (int h = 0; h < 4; ++h) {
      const int g = h / 2;
      const auto rows = [](const Buffer& b, int at, int n) {
        const std::vector<double> all = values(b);
        return std::vector<double>(all.begin() + static_cast<std::ptrdiff_t>(at) * n * 64,
                                   all.begin() + static_cast<std::ptrdiff_t>(at + 1) * n * 64);
      };
      Attention a{.lq = l,
                  .lk = s,
                  .d = 64,
                  .e = 64,
                  .scale = kScale,
                  .q = rows(c.tensors.at("q"), h, l),
                  .k = rows(c.tensors.at("k"), g, s),
                  .v = rows(c.tensors.at("v"), g, s)};
      a.keep = [&](int, int i, int j) {
        const int t = g * 3 + (i < 10 ? 0 : 1);
        const auto* first = idxs.data() + tptr[t];
        const auto* last = idxs.data() + tptr[t + 1];
        return std::find(first, last, j) != last;
      };
      expect_attention(rows(o, h, l), {}, a, kT, on == On::Exact, fmt::format("vbsr head {} on {}", h, name(on)));
    }
  }
}

/// Base-2 merge of states (v, s).
void merge2(std::vector<double>& v, double& s, const std::vector<double>& w, double t) {
  const double m = std::max(s, t);
  if (m == -kInf) {
    std::fill(v.begin(), v.end(), 0);
    return;
  }
  const double a = std::exp2(s - m);
  const double b = std::exp2(t - m);
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = (a * v[i] + b * w[i]) / (a + b);
  s = m + std::log2(a + b);
}

TEST(Programs, MergeInPlace) {
  for (const bool masked : {false, true}) {
    Call c{.file = "tests/programs/cascade.tile", .kernel = "merge_state_in_place", .constants = {{"T", DType::F32}, {"E", 64}, {"BM", 16}}};
    const int n = 21;
    Buffer s = random(DType::F32, {n, 2}, 2);
    Buffer t = random(DType::F32, {n, 2}, 4);
    Buffer v = random(DType::F32, {n, 2, 64}, 1);
    s.set(6, -kInf);  // an empty state is the identity
    t.set(8, -kInf);
    for (const int row : {10, 11}) {
      s.set(row, -kInf);
      t.set(row, -kInf);
      for (int x = 0; x < 64; ++x) v.set(row * 64 + x, 0);
    }
    c.tensors = {{"v", v}, {"s", s}, {"w", random(DType::F32, {n, 2, 64}, 3)}, {"t", t}};
    Buffer mask(DType::Bool, {n});
    for (int i = 0; i < n; ++i) mask.set_int(i, i % 3 != 0);
    if (masked) c.tensors.emplace("mask", mask);
    for (const On on : kTargets) {
      const auto out = run(c, on);
      for (int row = 0; row < 2 * n; ++row) {
        std::vector<double> x;
        std::vector<double> w;
        for (int i = 0; i < 64; ++i) x.push_back(v.get(row * 64 + i)), w.push_back(c.tensors.at("w").get(row * 64 + i));
        double z = s.get(row);
        if (!masked || mask.get_int(row / 2) != 0) merge2(x, z, w, t.get(row));
        for (int i = 0; i < 64; ++i) ASSERT_NEAR(out.at("v").get(row * 64 + i), x[static_cast<std::size_t>(i)], 3e-6) << name(on) << ", row " << row;
        ASSERT_TRUE(out.at("s").get(row) == z || std::fabs(out.at("s").get(row) - z) < 2e-6) << name(on) << ", row " << row;
      }
    }
  }
}

TEST(Programs, MergeStates) {
  Call c{.file = "tests/programs/cascade.tile", .kernel = "merge_states", .constants = {{"T", kT}, {"E", 64}, {"BN", 16}}};
  const std::vector<std::int64_t> first = {0, 1, 1, 20, 24};  // one, none, nineteen and four partial results
  Buffer stat = random(DType::F32, {24, 2}, 2);
  for (int row = 40; row < 48; ++row) stat.set(row, -kInf);
  c.tensors = {{"part", random(DType::F32, {24, 2, 64}, 1)},
               {"stat", stat},
               {"first", ints(DType::I32, {5}, first)},
               {"o", unwritten(kT, {4, 2, 64})},
               {"lse", unwritten(DType::F32, {4, 2})}};
  for (const On on : kTargets) {
    const auto out = run(c, on);
    for (int row = 0; row < 8; ++row) {
      std::vector<double> v(64);
      double z = -kInf;
      for (std::int64_t p = first[row / 2]; p < first[row / 2 + 1]; ++p) {
        std::vector<double> w;
        for (int x = 0; x < 64; ++x) w.push_back(c.tensors.at("part").get((p * 2 + row % 2) * 64 + x));
        merge2(v, z, w, stat.get(p * 2 + row % 2));
      }
      for (int x = 0; x < 64; ++x)
        ASSERT_NEAR(out.at("o").get(row * 64 + x), v[static_cast<std::size_t>(x)], 3e-6 + 0.005 * std::fabs(v[static_cast<std::size_t>(x)]))
            << name(on) << ", row " << row;
      ASSERT_TRUE(out.at("lse").get(row) == z || std::fabs(out.at("lse").get(row) - z) < 4e-6) << name(on) << ", row " << row;
    }
  }
}

TEST(Programs, HadamardQuantisation) {
  const int n = 37;
  Call c{.file = "tests/programs/fp8.tile", .kernel = "hadamard_quant", .constants = {{"T", kT}, {"D", 64}, {"BM", 16}}};
  Buffer sign(kT, {64});
  for (int i = 0; i < 64; ++i) sign.set(i, i * 7 % 5 < 2 ? -1 : 1);
  Buffer x = random(kT, {n, 2, 64}, 1);
  for (int i = 0; i < 16 * 2 * 64; ++i) x.set(i, 0);  // a block of zeros has scale 1
  c.tensors = {{"x", x}, {"sign", sign}, {"y", unwritten(DType::E4M3, {n, 2, 64})}, {"sc", unwritten(DType::F32, {3, 2})}};
  for (const On on : kTargets) {
    const auto out = run(c, on);
    for (int h = 0; h < 2; ++h) {
      for (int block = 0; block < 3; ++block) {
        double largest = 0;
        const double s = out.at("sc").get(block * 2 + h);
        for (int i = block * 16; i < std::min(n, block * 16 + 16); ++i) {
          for (int j = 0; j < 64; ++j) {
            double t = 0;
            for (int k = 0; k < 64; ++k) t += x.get((i * 2 + h) * 64 + k) * sign.get(k) * (__builtin_popcount(k & j) % 2 == 0 ? 1 : -1);
            t /= 8;
            largest = std::max(largest, std::fabs(t));
            ASSERT_NEAR(out.at("y").get((i * 2 + h) * 64 + j) * s, t, 0.0626 * std::fabs(t) + s * 0x1p-10) << name(on);
          }
        }
        ASSERT_NEAR(s, largest > 0 ? largest / 448 : 1, 1e-5 * s) << name(on);
      }
    }
  }
}

TEST(Programs, Fp8Attention) {
  const int lq = 20;
  const int lk = 37;
  const int qb = 16;
  Call c{.file = "tests/programs/fp8.tile", .kernel = "attn_fp8", .constants = {{"O", kT}, {"D", 64}, {"QB", qb}, {"BM", 16}, {"BN", 16}}};
  const auto scales = [](std::int64_t h, std::int64_t n, unsigned seed) {
    Buffer b = random(DType::F32, {1, h, n}, seed);
    for (std::int64_t i = 0; i < b.size(); ++i) b.set(i, 0.5 + std::fabs(b.get(i)));
    return b;
  };
  c.tensors = {{"q", random(DType::E4M3, {1, 2, lq, 64}, 1)},
               {"k", random(DType::E4M3, {1, 1, lk, 64}, 2)},
               {"v", random(DType::E4M3, {1, 1, lk, 64}, 3)},
               {"sq", scales(2, 2, 4)},
               {"sk", scales(1, 3, 5)},
               {"sv", scales(1, 3, 6)},
               {"o", unwritten(kT, {1, 2, lq, 64})}};
  c.scalars["scale"] = 0.0625;
  for (int h = 0; h < 2; ++h) {
    Attention a{.lq = lq, .lk = lk, .d = 64, .e = 64, .scale = 0.0625};
    for (int i = 0; i < lq * 64; ++i) a.q.push_back(c.tensors.at("q").get(h * lq * 64 + i) * c.tensors.at("sq").get(h * 2 + i / 64 / qb));
    for (int i = 0; i < lk * 64; ++i) {
      a.k.push_back(c.tensors.at("k").get(i) * c.tensors.at("sk").get(i / 64 / qb));
      a.v.push_back(c.tensors.at("v").get(i) * c.tensors.at("sv").get(i / 64 / qb));
    }
    a.keep = [](int, int i, int j) { return j <= i + lk - lq; };
    const std::vector<double> want = attend(a).o;
    for (double& v : a.v) v = std::fabs(v);
    const std::vector<double> size = attend(a).o;  // sum of p |v|
    for (const On on : kTargets) {
      const Buffer o = run(c, on).at("o");
      for (int i = 0; i < lq * 64; ++i) {
        // Weights are e4m3: four bits of precision. Exact runs do not round them.
        const double bound =
            (on == On::Exact ? 1e-6 : 0.0626) * size[static_cast<std::size_t>(i)] + 0.004 * std::fabs(want[static_cast<std::size_t>(i)]) + 1e-6;
        ASSERT_NEAR(o.get(h * lq * 64 + i), want[static_cast<std::size_t>(i)], bound) << name(on) << ", head " << h << ", element " << i;
      }
    }
  }
}

}  // namespace
}  // namespace tessera::test
