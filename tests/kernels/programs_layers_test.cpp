// Programs of tests/programs for the layers around attention: norms, RoPE with append, state-space and delta-rule layers, and what is only lowered.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "dsl/text.h"
#include "tests/kernels/harness.h"

namespace tessera::test {
namespace {

constexpr On kTargets[] = {On::Interp, On::Exact, On::Cpu};
constexpr DType kT = DType::BF16;

Buffer random(DType t, ir::Dims dims, unsigned seed, double scale = 1) { return Buffer(t, std::move(dims)).fill_random(seed, scale); }

/// One rounding to the output's dtype, and `inner` before it (times 1e-9 in exact runs).
void expect_rounded(const Buffer& got, const std::vector<double>& want, double inner, On on, const std::string& what) {
  const double slack = on == On::Exact ? 1e-7 : inner;
  expect_near(values(got), want, slack, 1.01 * roundoff(got.dtype) + slack, what + " on " + name(on));
}

TEST(Programs, RmsNorm) {
  const int m = 3;
  const int n = 150;
  Call c{.file = "tests/programs/norm.tile", .kernel = "rms_norm", .constants = {{"T", kT}, {"BN", 64}}};
  const Buffer x = random(kT, {m, n}, 1);
  const Buffer res = random(kT, {m, n}, 2);
  const Buffer w = random(kT, {n}, 3);
  c.tensors = {{"x", x}, {"res", res}, {"w", w}, {"y", unwritten(kT, {m, n})}};
  c.scalars["eps"] = 0x1p-20;
  for (const On on : {On::Interp, On::Cpu}) {
    const auto out = run(c, on);
    std::vector<double> want;
    for (int i = 0; i < m; ++i) {
      double squares = 0;
      for (int j = 0; j < n; ++j) squares += std::pow(x.get(i * n + j) + res.get(i * n + j), 2);
      for (int j = 0; j < n; ++j) {
        const double sum = round_to_float(kT, x.get(i * n + j) + res.get(i * n + j));  // what is stored is what is normalised
        ASSERT_EQ(out.at("res").get(i * n + j), sum);
        want.push_back(sum / std::sqrt(squares / n + 0x1p-20) * w.get(j));
      }
    }
    expect_rounded(out.at("y"), want, 2e-6, on, "y");
  }
}

TEST(Programs, LayerNorm) {
  const int m = 3;
  const int n = 150;
  Call c{.file = "tests/programs/rope_append.tile", .kernel = "layer_norm", .constants = {{"T", DType::F32}, {"BN", 64}}};
  const Buffer x = random(DType::F32, {m, n}, 1);
  const Buffer g = random(DType::F32, {n}, 2);
  const Buffer b = random(DType::F32, {n}, 3);
  c.tensors = {{"x", x}, {"g", g}, {"b", b}, {"y", unwritten(DType::F32, {m, n})}};
  c.scalars["eps"] = 0x1p-17;
  std::vector<double> want;
  for (int i = 0; i < m; ++i) {
    double mean = 0;
    double squares = 0;
    for (int j = 0; j < n; ++j) mean += x.get(i * n + j) / n;
    for (int j = 0; j < n; ++j) squares += std::pow(x.get(i * n + j) - mean, 2);
    for (int j = 0; j < n; ++j) want.push_back((x.get(i * n + j) - mean) / std::sqrt(squares / n + 0x1p-17) * g.get(j) + b.get(j));
  }
  for (const On on : kTargets) expect_rounded(run(c, on).at("y"), want, 4e-6, on, "y");
}

// The quantised value times its scale is the normalised sum, within half a step of e4m3; the largest element is 448.
TEST(Programs, AddRmsNormFp8) {
  for (const bool gemma : {false, true}) {
    const int m = 3;
    const int n = 50;
    Call c{.file = "tests/programs/rope_append.tile", .kernel = "add_rms_fp8", .constants = {{"T", kT}, {"BN", 64}, {"GEMMA", gemma}}};
    const Buffer x = random(kT, {m, n}, 1);
    const Buffer res = random(kT, {m, n}, 2);
    const Buffer w = random(kT, {n}, 3);
    c.tensors = {{"x", x}, {"res", res}, {"w", w}, {"y", unwritten(DType::E4M3, {m, n})}, {"sc", unwritten(DType::F32, {m})}};
    c.scalars["eps"] = 0x1p-20;
    for (const On on : {On::Interp, On::Cpu}) {
      const auto out = run(c, on);
      for (int i = 0; i < m; ++i) {
        double squares = 0;
        double largest = 0;
        for (int j = 0; j < n; ++j) squares += std::pow(x.get(i * n + j) + res.get(i * n + j), 2);
        const double s = out.at("sc").get(i);
        for (int j = 0; j < n; ++j) {
          const double sum = x.get(i * n + j) + res.get(i * n + j);
          ASSERT_EQ(out.at("res").get(i * n + j), round_to_float(kT, sum));
          const double z = sum / std::sqrt(squares / n + 0x1p-20) * (w.get(j) + (gemma ? 1 : 0));
          largest = std::max(largest, std::fabs(z));
          ASSERT_NEAR(out.at("y").get(i * n + j) * s, z, 0.0626 * std::fabs(z) + s * 0x1p-10) << name(on);
        }
        ASSERT_NEAR(s * 448, largest, 1e-5 * largest) << name(on);
      }
    }
  }
}

// Rotated q; rotated k and v in the pages of their requests, quantised. Token 2 is padding: it writes nothing.
TEST(Programs, RopeAppend) {
  struct Form {
    DType cache;
    int r;
    bool neox;
  };
  for (const Form& f : {Form{DType::E4M3, 32, true}, {DType::BF16, 64, false}}) {
    const int d = 64;
    const int page = 16;
    Call c{.file = "tests/programs/rope_append.tile",
           .kernel = "rope_append",
           .constants = {{"T", kT}, {"C", f.cache}, {"D", d}, {"R", f.r}, {"PAGE", page}, {"NEOX", f.neox}}};
    const std::vector<std::int64_t> pptr = {0, 2, 3};
    const std::vector<std::int64_t> pages = {3, 1, 0};
    const std::vector<std::int64_t> req = {0, 0, -1, 1};
    const std::vector<std::int64_t> pos = {15, 16, 0, 4};
    const Buffer q = random(kT, {4, 4, d}, 1);
    const Buffer k = random(kT, {4, 2, d}, 2);
    const Buffer v = random(kT, {4, 2, d}, 3);
    const Buffer pool = Buffer(f.cache, {4, page, 2, d}).fill(7);
    c.tensors = {{"q", q},
                 {"k", k},
                 {"v", v},
                 {"qo", unwritten(kT, {4, 4, d})},
                 {"kpool", pool},
                 {"vpool", pool},
                 {"pptr", ints(DType::I32, {3}, pptr)},
                 {"pages", ints(DType::I32, {3}, pages)},
                 {"req", ints(DType::I32, {4}, req)},
                 {"pos", ints(DType::I32, {4}, pos)}};
    c.scalars = {{"f.theta", 10000}, {"f.scale", 1}, {"f.low", 1}, {"f.high", 1}, {"f.old", 8192}, {"ks", 0.5}, {"vs", 0.25}};
    const auto rotated = [&](const Buffer& x, std::int64_t row, std::int64_t position, int i) {
      if (i >= f.r) return x.get(row * d + i);
      const int pair = f.neox ? i % (f.r / 2) : i / 2;
      const bool second = f.neox ? i >= f.r / 2 : i % 2 == 1;
      const double angle = static_cast<double>(position) * std::pow(10000.0, -2.0 * pair / f.r);
      const double other = x.get(row * d + (f.neox ? (i + f.r / 2) % f.r : i ^ 1));
      return x.get(row * d + i) * std::cos(angle) + (second ? other : -other) * std::sin(angle);
    };
    for (const On on : {On::Interp, On::Cpu}) {
      const auto out = run(c, on);
      std::vector<double> keys = values(pool);
      std::vector<double> vals = values(pool);
      for (std::int64_t t = 0; t < 4; ++t) {
        for (int i = 0; i < d; ++i) {
          for (std::int64_t h = 0; h < 4; ++h) {
            const double want = rotated(q, t * 4 + h, pos[t], i);
            ASSERT_NEAR(out.at("qo").get((t * 4 + h) * d + i), want, 2e-5 + 1.01 * roundoff(kT) * std::fabs(want)) << name(on);
          }
          if (req[t] < 0) continue;
          const std::int64_t slot = pages[pptr[req[t]] + pos[t] / page] * page + pos[t] % page;
          for (std::int64_t h = 0; h < 2; ++h) {
            keys[static_cast<std::size_t>((slot * 2 + h) * d + i)] = rotated(k, t * 2 + h, pos[t], i) / 0.5;
            vals[static_cast<std::size_t>((slot * 2 + h) * d + i)] = v.get((t * 2 + h) * d + i) / 0.25;
          }
        }
      }
      const double step = roundoff(f.cache) + roundoff(kT);  // k is rounded to T first
      expect_near(values(out.at("kpool")), keys, 0x1p-9, 1.05 * step, fmt::format("kpool on {}", name(on)));
      expect_near(values(out.at("vpool")), vals, 0x1p-9, 1.01 * roundoff(f.cache), fmt::format("vpool on {}", name(on)));
    }
  }
}

TEST(Programs, CausalConvolution) {
  for (const bool biased : {false, true}) {
    const int s = 37;
    const int ch = 20;
    Call c{.file = "tests/programs/ssm.tile", .kernel = "causal_conv", .constants = {{"T", kT}, {"K", 4}, {"BT", 16}, {"BC", 16}}};
    const Buffer x = random(kT, {2, s, ch}, 1);
    const Buffer w = random(kT, {4, ch}, 2);
    const Buffer bias = random(kT, {ch}, 3);
    c.tensors = {{"x", x}, {"w", w}, {"y", unwritten(kT, {2, s, ch})}};
    if (biased) c.tensors.emplace("bias", bias);
    std::vector<double> want;
    for (int row = 0; row < 2 * s; ++row) {
      for (int i = 0; i < ch; ++i) {
        double sum = biased ? bias.get(i) : 0;
        for (int j = 0; j < 4; ++j) {
          if (row % s - 3 + j >= 0) sum += x.get((row - 3 + j) * ch + i) * w.get(j * ch + i);
        }
        want.push_back(sum / (1 + std::exp(-sum)));
      }
    }
    for (const On on : kTargets) expect_rounded(run(c, on).at("y"), want, 4e-6, on, "y");
  }
}

TEST(Programs, SelectiveScan) {
  const int s = 37;
  const int d = 3;
  const int n = 16;
  Call c{.file = "tests/programs/ssm.tile", .kernel = "selective_scan", .constants = {{"T", kT}, {"N", n}, {"BT", 16}}};
  const Buffer u = random(kT, {2, s, d}, 1);
  const Buffer dt = random(kT, {2, s, d}, 2);
  Buffer a = random(DType::F32, {d, n}, 3);
  for (std::int64_t i = 0; i < a.size(); ++i) a.set(i, -std::fabs(a.get(i)));
  const Buffer bm = random(kT, {2, s, n}, 4);
  const Buffer cm = random(kT, {2, s, n}, 5);
  const Buffer skip = random(DType::F32, {d}, 6);
  c.tensors = {{"u", u}, {"dt", dt}, {"a", a}, {"bm", bm}, {"cm", cm}, {"skip", skip}, {"y", unwritten(kT, {2, s, d})}};
  std::vector<double> want(static_cast<std::size_t>(2 * s * d));
  for (int b = 0; b < 2; ++b) {
    for (int x = 0; x < d; ++x) {
      std::vector<double> h(n);
      for (int t = 0; t < s; ++t) {
        const int at = (b * s + t) * d + x;
        const double step = std::log1p(std::exp(dt.get(at)));
        double sum = u.get(at) * skip.get(x);
        for (int i = 0; i < n; ++i) {
          h[i] = std::exp(step * a.get(x * n + i)) * h[i] + step * u.get(at) * bm.get((b * s + t) * n + i);
          sum += h[i] * cm.get((b * s + t) * n + i);
        }
        want[static_cast<std::size_t>(at)] = sum;
      }
    }
  }
  for (const On on : kTargets) expect_rounded(run(c, on).at("y"), want, 2e-5, on, "y");
}

// The recurrence S = e^g (I - beta k k^T) S + beta k v^T, o = scale q S, one token at a time.
TEST(Programs, GatedDeltaRule) {
  const int s = 37;
  const int dk = 32;
  const int dv = 32;
  for (const bool initial : {false, true}) {
    Call c{.file = "tests/programs/delta.tile", .kernel = "gated_delta", .constants = {{"T", kT}, {"DK", dk}, {"DV", dv}, {"BV", 16}, {"C", 16}}};
    const Buffer q = random(kT, {1, s, 2, dk}, 1, 0.3);
    const Buffer k = random(kT, {1, s, 2, dk}, 2, 0.17);  // about unit length
    const Buffer v = random(kT, {1, s, 2, dv}, 3);
    Buffer g = random(DType::F32, {1, s, 2}, 4, 0.2);
    Buffer beta(DType::F32, {1, s, 2});
    for (std::int64_t i = 0; i < g.size(); ++i) {
      g.set(i, -std::fabs(g.get(i)));
      beta.set(i, 0.5 + 0.4 * std::sin(static_cast<double>(i)));
    }
    const Buffer s0 = random(DType::F32, {1, 2, dk, dv}, 5);
    c.tensors = {
        {"q", q}, {"k", k}, {"v", v}, {"g", g}, {"beta", beta}, {"o", unwritten(kT, {1, s, 2, dv})}, {"s1", unwritten(DType::F32, {1, 2, dk, dv})}};
    if (initial) c.tensors.emplace("s0", s0);
    c.scalars["scale"] = 0.5;
    std::vector<double> state(static_cast<std::size_t>(2 * dk * dv));
    if (initial) state = values(s0);
    std::vector<double> want(static_cast<std::size_t>(s * 2 * dv));
    for (int t = 0; t < s; ++t) {
      for (int h = 0; h < 2; ++h) {
        const int row = t * 2 + h;
        for (int x = 0; x < dv; ++x) {
          double* column = &state[static_cast<std::size_t>(h * dk * dv + x)];
          double seen = 0;
          for (int i = 0; i < dk; ++i) column[i * dv] *= std::exp(g.get(row)), seen += k.get(row * dk + i) * column[i * dv];
          double o = 0;
          for (int i = 0; i < dk; ++i) {
            column[i * dv] += beta.get(row) * k.get(row * dk + i) * (v.get(row * dv + x) - seen);
            o += q.get(row * dk + i) * column[i * dv];
          }
          want[static_cast<std::size_t>(row * dv + x)] = 0.5 * o;
        }
      }
    }
    for (const On on : kTargets) {
      const auto out = run(c, on);
      expect_rounded(out.at("o"), want, 1e-2, on, "o");  // u and the scores of a chunk are rounded to T
      expect_rounded(out.at("s1"), state, 2e-5, on, "s1");
    }
  }
}

// What waits for other instances is checked, lowered and verified here; running it is another matter.
TEST(Programs, SynchronisedKernelsLower) {
  const Call calls[] = {
      {.file = "allreduce", .kernel = "ar_one_shot_norm", .constants = {{"T", kT}, {"W", 2}, {"BN", 64}}},
      {.file = "allreduce", .kernel = "ar_two_shot", .constants = {{"T", kT}, {"W", 4}, {"BN", 64}}},
      {.file = "allreduce", .kernel = "ar_lamport", .constants = {{"T", kT}, {"W", 2}, {"BN", 64}, {"C", 4}}},
      {.file = "streamk", .kernel = "gemm_streamk", .constants = {{"T", kT}, {"BM", 16}, {"BN", 16}, {"BK", 16}}},
  };
  for (Call c : calls) {
    c.file = "tests/programs/" + c.file + ".tile";
    const auto kernel = lower(c);  // throws if it does not verify
    EXPECT_TRUE(kernel->resident) << c.kernel;
    const std::string text = ir::print(*kernel);
    EXPECT_NE(text.find("wait"), std::string::npos) << c.kernel;
    EXPECT_EQ(text.find("signal") == std::string::npos, c.kernel == "ar_lamport") << c.kernel << ": the payload is the flag only there";
  }
}

}  // namespace
}  // namespace tessera::test
