#include "tests/kernels/attention_oracle.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/kernels/harness.h"

namespace tessera::test {

AttentionResult attend(const Attention& a, std::optional<DType> low) {
  const auto round = [&](double x) { return low ? round_to_float(*low, x) : x; };
  const double inf = std::numeric_limits<double>::infinity();
  const int group = a.heads / a.kv_heads;
  AttentionResult out{std::vector<double>(static_cast<std::size_t>(a.lq) * a.heads * a.e),
                      std::vector<double>(static_cast<std::size_t>(a.lq) * a.heads)};
  std::vector<double> s(static_cast<std::size_t>(a.lk));
  std::vector<double> q(static_cast<std::size_t>(a.d));
  for (int i = 0; i < a.lq; ++i) {
    for (int h = 0; h < a.heads; ++h) {
      const double* qs = &a.q[(static_cast<std::size_t>(i) * a.heads + h) * a.d];
      for (int c = 0; c < a.d; ++c) q[c] = low ? round(qs[c] * a.scale) : qs[c];
      double m = -inf;
      for (int j = 0; j < a.lk; ++j) {
        s[j] = -inf;
        if (a.keep && !a.keep(h, i, j)) continue;
        const double* ks = &a.k[(static_cast<std::size_t>(j) * a.kv_heads + h / group) * a.d];
        double sum = 0;
        for (int c = 0; c < a.d; ++c) sum += q[c] * ks[c];
        s[j] = round(low ? sum : sum * a.scale);
        if (a.score) s[j] = round(a.score(s[j], h, i, j));
        m = std::max(m, s[j]);
      }
      if (a.sink) m = std::max(m, a.sink(h));
      double l = a.sink ? std::exp(a.sink(h) - m) : 0;
      for (int j = 0; j < a.lk; ++j) l += s[j] == -inf ? 0 : std::exp(s[j] - m);
      const std::size_t row = static_cast<std::size_t>(i) * a.heads + h;
      out.lse[row] = m == -inf ? -inf : m + std::log(l);
      if (m == -inf) continue;
      double* o = &out.o[row * a.e];
      for (int j = 0; j < a.lk; ++j) {
        if (s[j] == -inf) continue;
        double p = round(std::exp(s[j] - m) / l);
        if (a.factor) p = round(p * a.factor(h, i, j));
        const double* vs = &a.v[(static_cast<std::size_t>(j) * a.kv_heads + h / group) * a.e];
        for (int c = 0; c < a.e; ++c) o[c] += p * vs[c];
      }
      for (int c = 0; c < a.e; ++c) o[c] = round(o[c]);
    }
  }
  return out;
}

namespace {

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::fabs(a[i] - b[i]));
  return worst;
}

}  // namespace

void expect_attention(const std::vector<double>& o, const std::vector<double>& lse, const Attention& a, DType t, bool exact,
                      const std::string& what) {
  const AttentionResult want = attend(a);
  if (exact) {  // 3e-8: half the distance between the smallest f16 numbers
    expect_near(o, want.o, 3e-8, 1.01 * roundoff(t), what + ", o");
    if (!lse.empty()) expect_near(lse, want.lse, 1e-9, 1.01 * roundoff(DType::F32), what + ", lse");
  } else {
    const double bound = 2 * largest_difference(attend(a, t).o, want.o) + 1e-5;
    expect_near(o, want.o, bound, 0, what + ", o");
    if (!lse.empty()) expect_near(lse, want.lse, 2e-5, 2e-6, what + ", lse");
  }
  for (std::size_t row = 0; row < want.lse.size(); ++row) {
    if (std::isfinite(want.lse[row])) continue;
    for (int c = 0; c < a.e; ++c) ASSERT_EQ(o[row * a.e + c], 0) << what << ", row " << row << " sees no key";
  }
}

}  // namespace tessera::test
