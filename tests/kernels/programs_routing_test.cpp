// Mixture-of-experts and sampling programs of tests/programs at tiny shapes.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>

#include "tests/kernels/harness.h"
#include "tests/kernels/philox_oracle.h"

namespace tessera::test {
namespace {

constexpr On kTargets[] = {On::Interp, On::Cpu};
constexpr DType kT = DType::BF16;

Buffer random(DType t, ir::Dims dims, unsigned seed, double scale = 1) { return Buffer(t, std::move(dims)).fill_random(seed, scale); }

/// Indices of the n largest, the lowest index first among equals.
std::vector<int> best(const std::vector<double>& x, int n) {
  std::vector<int> order(x.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return x[static_cast<std::size_t>(a)] > x[static_cast<std::size_t>(b)]; });
  order.resize(static_cast<std::size_t>(n));
  return order;
}

TEST(Programs, RouteDeepSeekV3) {
  const int m = 21;
  const int e = 16;
  Call c{.file = "tests/programs/moe.tile", .kernel = "route_dsv3", .constants = {{"T", DType::F32}, {"E", e}, {"NG", 4}, {"TG", 2}, {"K", 4}}};
  const Buffer logit = random(DType::F32, {m, e}, 1);
  const Buffer bias = random(DType::F32, {e}, 2, 0.3);
  c.tensors = {{"logit", logit},
               {"bias", bias},
               {"ids", unwritten(DType::I32, {m, 4})},
               {"wt", unwritten(DType::F32, {m, 4})},
               {"count", Buffer(DType::I32, {e}).fill(0)}};
  c.scalars["scaling"] = 2.5;
  for (const On on : kTargets) {
    const auto out = run(c, on);
    std::vector<std::int64_t> count(e);
    for (int t = 0; t < m; ++t) {
      std::vector<double> s;
      std::vector<double> b;
      for (int x = 0; x < e; ++x) s.push_back(1 / (1 + std::exp(-logit.get(t * e + x)))), b.push_back(s.back() + bias.get(x));
      std::vector<double> group;
      for (int g = 0; g < 4; ++g) {
        const std::vector<double> in(b.begin() + g * 4, b.begin() + g * 4 + 4);
        const auto two = best(in, 2);
        group.push_back(in[static_cast<std::size_t>(two[0])] + in[static_cast<std::size_t>(two[1])]);
      }
      const auto live = best(group, 2);
      for (int x = 0; x < e; ++x) {
        if (x / 4 != live[0] && x / 4 != live[1]) b[static_cast<std::size_t>(x)] = -std::numeric_limits<double>::infinity();
      }
      const auto ids = best(b, 4);
      double total = 0;
      for (const int x : ids) total += s[static_cast<std::size_t>(x)];
      for (int n = 0; n < 4; ++n) {
        const int x = ids[static_cast<std::size_t>(n)];
        ++count[static_cast<std::size_t>(x)];
        ASSERT_EQ(out.at("ids").get_int(t * 4 + n), x) << name(on) << ", token " << t;
        ASSERT_NEAR(out.at("wt").get(t * 4 + n), s[static_cast<std::size_t>(x)] / total * 2.5, 2e-6) << name(on) << ", token " << t;
      }
    }
    for (int x = 0; x < e; ++x) ASSERT_EQ(out.at("count").get_int(x), count[static_cast<std::size_t>(x)]) << name(on);
  }
}

// layout, permute, fc1, fc2 and finalize together: what comes out is the sum of the experts' outputs. Expert -1 is not local.
TEST(Programs, MixtureOfExperts) {
  const int m = 23;
  const int e = 8;
  const int k = 2;
  const int h = 32;
  const int inner = 24;
  const int bm = 16;
  const std::string file = "tests/programs/moe.tile";
  Buffer ids(DType::I32, {m, k});
  Buffer count = Buffer(DType::I32, {e}).fill(0);
  for (int t = 0; t < m; ++t) {
    for (int n = 0; n < k; ++n) {
      const int x = t % 5 == 4 && n == 1 ? -1 : (t * t + n * 3) % 7;  // expert 7 has no token
      ids.set_int(t * k + n, x);
      if (x >= 0) count.set_int(x, count.get_int(x) + 1);
    }
  }
  const int nt = 12;
  const int np = nt * bm;
  const Buffer x = random(kT, {m, h}, 1);
  const Buffer w1 = random(kT, {e, 2, inner, h}, 2, 0.2);
  const Buffer w2 = random(kT, {e, h, inner}, 3, 0.2);
  const Buffer wt = random(DType::F32, {m, k}, 4);
  const Buffer shared = random(kT, {m, h}, 5);
  for (const On on : kTargets) {
    Call layout{.file = file, .kernel = "layout", .constants = {{"E", e}, {"BM", bm}}};
    layout.tensors = {
        {"count", count}, {"start", unwritten(DType::I32, {e})}, {"used", unwritten(DType::I32, {1})}, {"tile_e", unwritten(DType::I32, {nt})}};
    const auto plan = run(layout, on);
    std::int64_t start = 0;
    for (int i = 0; i < e; ++i) {
      ASSERT_EQ(plan.at("start").get_int(i), start) << name(on);
      for (std::int64_t t = start / bm; t < (start + count.get_int(i) + bm - 1) / bm; ++t) ASSERT_EQ(plan.at("tile_e").get_int(t), i) << name(on);
      start += (count.get_int(i) + bm - 1) / bm * bm;
    }
    ASSERT_EQ(plan.at("used").get_int(0), start) << name(on);

    Call permute{.file = file, .kernel = "permute", .constants = {{"K", k}, {"BT", 16}}};
    permute.tensors = {{"ids", ids},
                       {"start", plan.at("start")},
                       {"cursor", Buffer(DType::I32, {e}).fill(0)},
                       {"src", Buffer(DType::I32, {np}).fill(-1)},
                       {"inv", unwritten(DType::I32, {m, k})}};
    const auto order = run(permute, on);
    std::set<std::int64_t> places;
    for (int i = 0; i < m * k; ++i) {
      const std::int64_t p = order.at("inv").get_int(i);
      const std::int64_t to = ids.get_int(i);
      if (to < 0) {
        ASSERT_EQ(p, -1) << name(on);
        continue;
      }
      ASSERT_TRUE(places.insert(p).second) << name(on) << ": place " << p << " twice";
      ASSERT_TRUE(p >= plan.at("start").get_int(to) && p < plan.at("start").get_int(to) + count.get_int(to)) << name(on);
      ASSERT_EQ(order.at("src").get_int(p), i / k) << name(on);
    }
    for (std::int64_t p = 0; p < np; ++p) ASSERT_EQ(order.at("src").get_int(p) >= 0, places.contains(p)) << name(on);

    Call fc1{.file = file, .kernel = "fc1", .constants = {{"T", kT}, {"BM", bm}, {"BN", 16}, {"BK", 16}}};
    fc1.tensors = {{"x", x},   {"src", order.at("src")},         {"tile_e", plan.at("tile_e")}, {"used", plan.at("used")},
                   {"w1", w1}, {"a", unwritten(kT, {np, inner})}};
    fc1.scalars = {{"lim", 0.75}, {"alpha", 1.5}, {"beta", 1}};
    const Buffer a = run(fc1, on).at("a");
    Call fc2{.file = file, .kernel = "fc2", .constants = {{"T", kT}, {"BM", bm}, {"BN", 16}, {"BK", 16}}};
    fc2.tensors = {{"a", a}, {"tile_e", plan.at("tile_e")}, {"used", plan.at("used")}, {"w2", w2}, {"y", unwritten(kT, {np, h})}};
    const Buffer y = run(fc2, on).at("y");
    for (const bool with_shared : {false, true}) {
      Call finalize{.file = file, .kernel = "finalize", .constants = {{"T", kT}, {"K", k}, {"BN", 16}}};
      finalize.tensors = {{"y", y}, {"inv", order.at("inv")}, {"wt", wt}, {"o", unwritten(kT, {m, h})}};
      if (with_shared) finalize.tensors.emplace("shared_", shared);
      const Buffer o = run(finalize, on).at("o");
      for (int t = 0; t < m; ++t) {
        std::vector<double> want(h);
        double size = 0;
        for (int c = 0; c < h && with_shared; ++c) want[static_cast<std::size_t>(c)] = shared.get(t * h + c);
        for (int n = 0; n < k; ++n) {
          const std::int64_t to = ids.get_int(t * k + n);
          if (to < 0) continue;
          std::vector<double> act;
          for (int i = 0; i < inner; ++i) {
            double up = 0;
            double gate = 0;
            for (int c = 0; c < h; ++c) {
              up += x.get(t * h + c) * w1.get(((to * 2 + 0) * inner + i) * h + c);
              gate += x.get(t * h + c) * w1.get(((to * 2 + 1) * inner + i) * h + c);
            }
            gate = std::min(gate, 0.75);
            up = std::clamp(up, -0.75, 0.75);
            act.push_back(gate / (1 + std::exp(-1.5 * gate)) * (up + 1));
          }
          for (int c = 0; c < h; ++c) {
            double sum = 0;
            double magnitude = 0;
            for (int i = 0; i < inner; ++i) {
              sum += act[static_cast<std::size_t>(i)] * w2.get((to * h + c) * inner + i);
              magnitude += std::fabs(act[static_cast<std::size_t>(i)] * w2.get((to * h + c) * inner + i));
            }
            want[static_cast<std::size_t>(c)] += wt.get(t * k + n) * sum;
            size = std::max(size, std::fabs(wt.get(t * k + n)) * magnitude);
          }
        }
        for (int c = 0; c < h; ++c) {  // activations and outputs of experts are rounded to T
          ASSERT_NEAR(o.get(t * h + c), want[static_cast<std::size_t>(c)],
                      5 * roundoff(kT) * size + 1.01 * roundoff(kT) * std::fabs(want[static_cast<std::size_t>(c)]))
              << name(on) << ", token " << t << ", column " << c;
        }
      }
    }
  }
}

// --- sampling

constexpr std::uint64_t kSeed = 42;
constexpr std::uint64_t kOffset = 3;

/// Multiples of 2^-20, whose sums are exact in f32.
Buffer dyadic(ir::Dims dims, unsigned seed) {
  Buffer out(DType::F32, std::move(dims));
  std::mt19937 random(seed);
  std::exponential_distribution<double> e(1);
  const double v = static_cast<double>(out.dims.back());
  for (std::int64_t i = 0; i < out.size(); ++i) out.set(i, std::floor(e(random) / v * 0x1p20) * 0x1p-20);
  return out;
}

Call sampling(const std::string& kernel) {
  Call c{.file = "tests/programs/sampling.tile", .kernel = kernel, .constants = {{"BN", 64}}};
  c.tensors = {{"seed", ints(DType::U64, {1}, {static_cast<std::int64_t>(kSeed)})},
               {"offset", ints(DType::U64, {1}, {static_cast<std::int64_t>(kOffset)})}};
  return c;
}

TEST(Programs, JointTopKTopP) {
  const int v = 150;
  Buffer probs = dyadic({3, v}, 1);
  probs.set(2 * v + 7, std::numeric_limits<double>::quiet_NaN());
  Call c = sampling("top_k_top_p");
  Buffer rowof(DType::I32, {24});
  Buffer k(DType::I32, {24});
  Buffer p(DType::F32, {24});
  for (int b = 0; b < 24; ++b) {
    rowof.set_int(b, b % 3);
    k.set_int(b, b < 6 ? 1 : b);
    p.set(b, b < 12 ? 1 : 0.3);
  }
  c.tensors.insert(
      {{"probs", probs}, {"rowof", rowof}, {"k", k}, {"top_p", p}, {"token", unwritten(DType::I32, {24})}, {"valid", Buffer(DType::Bool, {24})}});
  for (const On on : kTargets) {
    const auto out = run(c, on);
    for (int b = 0; b < 24; ++b) {
      ASSERT_EQ(out.at("valid").get_int(b), b % 3 != 2) << name(on);
      const std::int64_t token = out.at("token").get_int(b);
      if (b % 3 == 2) {
        ASSERT_EQ(token, 0) << name(on);
        continue;
      }
      int larger = 0;
      double mass = 0;
      double total = 0;
      for (int x = 0; x < v; ++x) {
        const double q = probs.get(b % 3 * v + x);
        total += q;
        larger += q > probs.get(b % 3 * v + token);
        mass += q > probs.get(b % 3 * v + token) ? q : 0;
      }
      ASSERT_TRUE(larger < k.get_int(b) && mass < p.get(b) * total) << name(on) << ", draw " << b;
    }
  }
}

TEST(Programs, GumbelMax) {
  const int v = 150;
  Call c = sampling("gumbel");
  c.constants["T"] = DType::F32;
  const Buffer logits = random(DType::F32, {20, v}, 1);
  Buffer temp(DType::F32, {20});
  for (int b = 0; b < 20; ++b) temp.set(b, 0.5 + b * 0.125);
  c.tensors.insert({{"logits", logits}, {"temp", temp}, {"token", unwritten(DType::I32, {20})}});
  for (const On on : kTargets) {
    const Buffer token = run(c, on).at("token");
    for (int b = 0; b < 20; ++b) {
      std::vector<double> s;
      for (int x = 0; x < v; ++x)
        s.push_back(logits.get(b * v + x) / temp.get(b) -
                    std::log(-std::log(static_cast<double>(uniform(kSeed, b, kOffset + static_cast<std::uint64_t>(x))))));
      const double top = *std::max_element(s.begin(), s.end());
      ASSERT_GE(s.at(static_cast<std::size_t>(token.get_int(b))), top - 1e-5 * (1 + std::fabs(top))) << name(on) << ", row " << b;
    }
  }
}

TEST(Programs, MinP) {
  const int v = 150;
  Call c = sampling("min_p");
  const Buffer probs = dyadic({20, v}, 1);
  c.tensors.insert({{"probs", probs}, {"ratio", Buffer(DType::F32, {20}).fill(0.25)}, {"token", unwritten(DType::I32, {20})}});
  for (const On on : kTargets) {
    const Buffer token = run(c, on).at("token");
    for (int b = 0; b < 20; ++b) {
      double top = 0;
      double mass = 0;
      for (int x = 0; x < v; ++x) top = std::max(top, probs.get(b * v + x));
      for (int x = 0; x < v; ++x) mass += probs.get(b * v + x) >= 0.25 * top ? probs.get(b * v + x) : 0;
      const float want = uniform(kSeed, b, kOffset) * static_cast<float>(mass);
      double seen = 0;
      int at = 0;
      while (seen += probs.get(b * v + at) >= 0.25 * top ? probs.get(b * v + at) : 0, !(seen > want)) ++at;
      ASSERT_EQ(token.get_int(b), at) << name(on) << ", row " << b;
    }
  }
}

TEST(Programs, ChainSpeculative) {
  const int n = 3;
  const int v = 70;
  const int rows = 40;
  Call c = sampling("chain_speculative");
  const Buffer dp = dyadic({rows, n, v}, 1);
  const Buffer tp = dyadic({rows, n + 1, v}, 2);
  Buffer id(DType::I32, {rows, n});
  for (int i = 0; i < rows * n; ++i) id.set_int(i, i * 11 % v);
  c.tensors.insert({{"dp", dp},
                    {"id", id},
                    {"tp", tp},
                    {"o", unwritten(DType::I32, {rows, n + 1})},
                    {"accepted", Buffer(DType::I32, {rows}).fill(100)},
                    {"emitted", Buffer(DType::I32, {rows}).fill(200)}});
  for (const On on : kTargets) {
    const auto out = run(c, on);
    for (int b = 0; b < rows; ++b) {
      int pos = 0;
      int hits = 0;
      bool run = true;
      for (int i = 0; i < n; ++i) {
        const std::int64_t t = id.get_int(b * n + i);
        const bool a = uniform(kSeed, b, kOffset + static_cast<std::uint64_t>(i)) * static_cast<float>(dp.get((b * n + i) * v + t)) <
                       tp.get((b * (n + 1) + i) * v + t);
        run = run && a;
        pos += run;
        hits += a;
      }
      const auto excess = [&](int x) { return std::max(tp.get((b * (n + 1) + pos) * v + x) - (pos < n ? dp.get((b * n + pos) * v + x) : 0), 0.0); };
      double mass = 0;
      for (int x = 0; x < v; ++x) mass += excess(x);
      const float want = uniform(kSeed, b, kOffset + n) * static_cast<float>(mass);
      double seen = 0;
      int at = 0;
      while (seen += excess(at), !(seen > want)) ++at;
      const std::string what = fmt::format("{}, row {}", name(on), b);
      for (int i = 0; i <= n; ++i) ASSERT_EQ(out.at("o").get_int(b * (n + 1) + i), i < pos ? id.get_int(b * n + i) : i == pos ? at : -1) << what;
      ASSERT_EQ(out.at("accepted").get_int(b), 100 + hits) << what;
      ASSERT_EQ(out.at("emitted").get_int(b), 200 + pos) << what;
    }
  }
}

TEST(Programs, RadixTopK) {
  const int v = 150;
  const int k = 8;
  Call c{.file = "tests/programs/sampling.tile", .kernel = "radix_top_k", .constants = {{"K", k}, {"BN", 64}}};
  Buffer x = random(DType::F32, {4, v}, 1);
  for (int i = 0; i < v; ++i) x.set(v + i, i % 9);                 // ties beyond k
  for (int i = 0; i < v; ++i) x.set(2 * v + i, -1 - i % 20);       // all negative
  for (int i = 0; i < v; ++i) x.set(3 * v + i, i == 77 ? 2 : -3);  // one above a plateau
  c.tensors = {{"x", x}, {"val", unwritten(DType::F32, {4, k})}, {"ind", unwritten(DType::I32, {4, k})}};
  for (const On on : kTargets) {
    const auto out = run(c, on);
    for (int b = 0; b < 4; ++b) {
      const std::vector<double> all = values(x);
      std::vector<int> want = best({all.begin() + b * v, all.begin() + (b + 1) * v}, k);
      std::sort(want.begin(), want.end());  // the kernel compacts in order of index
      for (int i = 0; i < k; ++i) {
        ASSERT_EQ(out.at("ind").get_int(b * k + i), want[static_cast<std::size_t>(i)]) << name(on) << ", row " << b;
        ASSERT_EQ(out.at("val").get(b * k + i), x.get(b * v + want[static_cast<std::size_t>(i)])) << name(on) << ", row " << b;
      }
    }
  }
}

}  // namespace
}  // namespace tessera::test
