// kernels/sampling: which tokens may come, how often, for which rows, and that tile sizes and targets agree.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "tests/kernels/harness.h"
#include "tests/kernels/philox_oracle.h"

namespace tessera::test {
namespace {

constexpr std::uint64_t kSeed = 42;
constexpr std::uint64_t kOffset = 7;

/// What a row is filtered by; the names are those of the kernels.
struct Filter {
  std::string kernel;
  int k = 0;
  double p = 0;

  bool has_k() const { return kernel == "top_k" || kernel == "top_k_top_p"; }
  bool has_p() const { return kernel == "top_p" || kernel == "top_k_top_p"; }
};

/// Whether element x of a row is kept, by the definition: count and mass of the strictly larger ones.
std::vector<bool> kept(const std::vector<double>& row, const Filter& f) {
  const double total = std::accumulate(row.begin(), row.end(), 0.0);
  const double top = *std::max_element(row.begin(), row.end());
  std::vector<bool> out;
  for (const double x : row) {
    int larger = 0;
    double mass = 0;
    for (const double y : row) {
      larger += y > x;
      mass += y > x ? y : 0;
    }
    bool in = x > 0;
    if (f.kernel == "min_p") in = in && x >= f.p * top;
    if (f.has_k()) in = in && larger < std::max(f.k, 1);
    if (f.has_p()) in = in && (larger == 0 || mass < f.p * total);
    out.push_back(in);
  }
  return out;
}

/// `draws` tokens from the rows of `probs` [U, V]: draw b reads row b % U.
Call sample(const Filter& f, const Buffer& probs, std::int64_t draws, int bn) {
  Call c{.file = "kernels/sampling/" + f.kernel + ".tile", .kernel = f.kernel, .constants = {{"BN", bn}}};
  Buffer rowof(DType::I32, {draws});
  for (std::int64_t b = 0; b < draws; ++b) rowof.set_int(b, b % probs.dims[0]);
  c.tensors = {{"probs", probs},
               {"rowof", rowof},
               {"seed", ints(DType::U64, {1}, {static_cast<std::int64_t>(kSeed)})},
               {"offset", ints(DType::U64, {1}, {static_cast<std::int64_t>(kOffset)})},
               {"token", unwritten(DType::I32, {draws})},
               {"valid", Buffer(DType::Bool, {draws})}};
  if (f.has_k()) c.tensors.emplace("k", Buffer(DType::I32, {draws}).fill(f.k));
  if (f.has_p()) c.tensors.emplace("top_p", Buffer(DType::F32, {draws}).fill(f.p));
  if (f.kernel == "min_p") c.tensors.emplace("ratio", Buffer(DType::F32, {draws}).fill(f.p));
  return c;
}

/// Multiples of 2^-20 that need not sum to 1: their sums are exact in f32.
Buffer dyadic(std::int64_t rows, std::int64_t v, unsigned seed) {
  Buffer out(DType::F32, {rows, v});
  std::mt19937 random(seed);
  std::exponential_distribution<double> e(1);
  for (std::int64_t i = 0; i < out.size(); ++i) out.set(i, std::floor(e(random) / static_cast<double>(v) * 0x1p20) * 0x1p-20);
  return out;
}

const Filter kFilters[] = {{"top_k", 1},
                           {"top_k", 5},
                           {"top_k", 1000},
                           {"top_k", 0},
                           {"top_p", 0, 0.0},
                           {"top_p", 0, 0.4},
                           {"top_p", 0, 1.0},
                           {"min_p", 0, 0.3},
                           {"min_p", 0, 0},
                           {"top_k_top_p", 5, 0.5},
                           {"top_k_top_p", 3, 0.95}};

// 12 probabilities with a tie at the boundary of top-k 5, against the exact distribution.
TEST(Sampling, Distribution) {
  const std::vector<double> row = {1, 9, 4, 0, 2, 16, 4, 4, 3, 12, 0, 9};
  const Buffer probs = floats(DType::F32, {1, 12}, row);
  for (const Filter& f : kFilters) {
    const std::vector<bool> in = kept(row, f);
    double mass = 0;
    for (std::size_t i = 0; i < row.size(); ++i) mass += in[i] ? row[i] : 0;
    for (const On on : {On::Interp, On::Cpu}) {
      const int draws = on == On::Cpu ? 20000 : 1000;
      const Buffer token = run(sample(f, probs, draws, 16), on).at("token");
      std::vector<int> count(row.size());
      for (int b = 0; b < draws; ++b) ++count.at(static_cast<std::size_t>(token.get_int(b)));
      double chi2 = 0;
      int cells = 0;
      const std::string what = fmt::format("{} k {} p {} on {}", f.kernel, f.k, f.p, name(on));
      for (std::size_t i = 0; i < row.size(); ++i) {
        const double expected = in[i] ? draws * row[i] / mass : 0;
        if (expected == 0) {
          ASSERT_EQ(count[i], 0) << what << ": token " << i << " must not come";
          continue;
        }
        ++cells;
        chi2 += (count[i] - expected) * (count[i] - expected) / expected;
      }
      // Mean cells - 1, variance 2 (cells - 1); 5 deviations.
      EXPECT_LE(chi2, cells - 1 + 5 * std::sqrt(2.0 * cells)) << what;
    }
  }
}

TEST(Sampling, SupportOfLongRows) {
  for (const std::int64_t v : {1, 111, 600}) {
    const Buffer probs = dyadic(3, v, 1);
    for (const Filter& f : kFilters) {
      for (const On on : {On::Interp, On::Cpu}) {
        const auto out = run(sample(f, probs, 18, 128), on);
        for (int b = 0; b < 18; ++b) {
          const std::vector<double> all = values(probs);
          const std::vector<double> row(all.begin() + b % 3 * v, all.begin() + (b % 3 + 1) * v);
          const auto token = static_cast<std::size_t>(out.at("token").get_int(b));
          ASSERT_TRUE(out.at("valid").get_int(b) == 1 && token < row.size() && kept(row, f)[token])
              << fmt::format("{} k {} p {} v {} on {}: draw {} gave {}", f.kernel, f.k, f.p, v, name(on), b, token);
        }
      }
    }
  }
}

// One draw by the inverse of the cumulative sum: the smallest index whose running mass exceeds u times the kept mass.
TEST(Sampling, MinPDrawsByTheInverse) {
  const std::int64_t v = 300;
  const Buffer probs = dyadic(1, v, 2);
  const Filter f{"min_p", 0, 0.125};
  const std::vector<double> row = values(probs);
  const std::vector<bool> in = kept(row, f);
  double mass = 0;
  for (std::size_t i = 0; i < row.size(); ++i) mass += in[i] ? row[i] : 0;
  for (const On on : {On::Interp, On::Cpu}) {
    const Buffer token = run(sample(f, probs, 200, 64), on).at("token");
    for (int b = 0; b < 200; ++b) {
      const float want = uniform(kSeed, b, kOffset) * static_cast<float>(mass);
      double seen = 0;
      std::int64_t at = 0;
      while (seen += in[static_cast<std::size_t>(at)] ? row[static_cast<std::size_t>(at)] : 0, !(seen > want)) ++at;
      ASSERT_EQ(token.get_int(b), at) << name(on) << ", draw " << b;
    }
  }
}

TEST(Sampling, TileSizesAndTargetsGiveTheSameTokens) {
  const Buffer probs = dyadic(4, 300, 3);
  for (const Filter& f : kFilters) {
    const Buffer first = run(sample(f, probs, 16, 512), On::Interp).at("token");
    for (const int bn : {40, 128}) {
      for (const On on : {On::Interp, On::Cpu}) {
        expect_same(run(sample(f, probs, 16, bn), on).at("token"), first, fmt::format("{} k {} p {} BN {} on {}", f.kernel, f.k, f.p, bn, name(on)));
      }
    }
  }
}

// A NaN, a negative element, an infinity or no mass makes a row invalid; its neighbours do not notice.
TEST(Sampling, InvalidRows) {
  Buffer probs = dyadic(6, 50, 4);
  const double inf = std::numeric_limits<double>::infinity();
  probs.set(0 * 50 + 49, std::numeric_limits<double>::quiet_NaN());
  probs.set(1 * 50 + 3, -0.25);
  probs.set(2 * 50 + 3, inf);
  for (int i = 0; i < 50; ++i) probs.set(3 * 50 + i, 0);
  for (const Filter& f : kFilters) {
    for (const On on : {On::Interp, On::Cpu}) {
      const auto out = run(sample(f, probs, 6, 32), on);
      for (int b = 0; b < 6; ++b) {
        const std::string what = fmt::format("{} on {}, row {}", f.kernel, name(on), b);
        ASSERT_EQ(out.at("valid").get_int(b), b >= 4) << what;
        if (b < 4) {
          ASSERT_EQ(out.at("token").get_int(b), 0) << what;
        }
      }
    }
  }
}

TEST(Sampling, RowsInOrderWithoutIndex) {
  const Filter f{"top_k", 1};
  const Buffer probs = dyadic(9, 40, 5);
  Call c = sample(f, probs, 9, 32);
  c.tensors.erase("rowof");
  for (const On on : {On::Interp, On::Cpu}) {
    const Buffer token = run(c, on).at("token");
    for (int b = 0; b < 9; ++b) {
      for (int i = 0; i < 40; ++i) ASSERT_LE(probs.get(b * 40 + i), probs.get(b * 40 + token.get_int(b))) << name(on);
    }
  }
}

}  // namespace
}  // namespace tessera::test
