#include "reference.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace demo {
namespace {

/// `Real` computes; `round` is applied to the probabilities before they meet V, and to the result.
template <class Real, class Round>
Owned<double> attention(const Owned<tessera::f16>& q, const Owned<tessera::f16>& k, const Owned<tessera::f16>& v, Real scale, Round round) {
  const auto [B, Sq, H, D] = q.shape;
  const std::int64_t Sk = k.shape[1];
  Owned<double> o(q.shape);
  const auto qv = q.view(), kv = k.view(), vv = v.view();
  const auto ov = o.view();
  std::vector<Real> p(static_cast<std::size_t>(Sk));
  for (std::int64_t b = 0; b < B; ++b) {
    for (std::int64_t h = 0; h < H; ++h) {
      for (std::int64_t i = 0; i < Sq; ++i) {
        Real top = -std::numeric_limits<Real>::infinity();
        for (std::int64_t j = 0; j < Sk; ++j) {
          Real s = 0;
          for (std::int64_t d = 0; d < D; ++d) s += static_cast<Real>(qv(b, i, h, d)) * static_cast<Real>(kv(b, j, h, d));
          p[static_cast<std::size_t>(j)] = s * scale;
          top = std::max(top, s * scale);
        }
        Real sum = 0;
        for (Real& x : p) sum += x = std::exp(x - top);
        for (std::int64_t d = 0; d < D; ++d) {
          Real a = 0;
          for (std::int64_t j = 0; j < Sk; ++j) a += static_cast<Real>(round(p[static_cast<std::size_t>(j)])) * static_cast<Real>(vv(b, j, h, d));
          ov(b, i, h, d) = static_cast<double>(round(a / sum));
        }
      }
    }
  }
  return o;
}

}  // namespace

Owned<double> attention_float64(const Owned<tessera::f16>& q, const Owned<tessera::f16>& k, const Owned<tessera::f16>& v, double scale) {
  return attention<double>(q, k, v, scale, [](double x) { return x; });
}

Owned<double> attention_half(const Owned<tessera::f16>& q, const Owned<tessera::f16>& k, const Owned<tessera::f16>& v, float scale) {
  return attention<float>(q, k, v, scale, [](float x) { return static_cast<float>(tessera::f16(x)); });
}

template <class A>
Difference difference(const Owned<A>& a, const Owned<double>& exact) {
  Difference d;
  for (std::size_t i = 0; i < exact.data.size(); ++i) {
    const double e = std::abs(static_cast<double>(a.data[i]) - exact.data[i]);
    // Written so that a NaN counts as the largest error there is.
    if (!(e <= d.largest)) d.largest = std::isnan(e) ? std::numeric_limits<double>::infinity() : e;
    d.root_mean_square += e * e;
  }
  d.root_mean_square = std::sqrt(d.root_mean_square / static_cast<double>(exact.data.size()));
  return d;
}

template Difference difference(const Owned<tessera::f16>&, const Owned<double>&);
template Difference difference(const Owned<double>&, const Owned<double>&);

}  // namespace demo
