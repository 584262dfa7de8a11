// What the kernels must compute, in float64 and nothing clever.
#pragma once

#include "tensors.h"

namespace demo {

/// o = softmax(scale * Q K^T) V with Q, K, V as [B, S, H, D] and as many key heads as query heads.
Owned<double> attention_float64(const Owned<tessera::f16>& q, const Owned<tessera::f16>& k, const Owned<tessera::f16>& v, double scale);

/// The same computed the simple way in float, with p and the result rounded to f16: the yardstick of what f16 attention can reach.
Owned<double> attention_half(const Owned<tessera::f16>& q, const Owned<tessera::f16>& k, const Owned<tessera::f16>& v, float scale);

struct Difference {
  double largest = 0;
  double root_mean_square = 0;
};
template <class A>
Difference difference(const Owned<A>& a, const Owned<double>& exact);
extern template Difference difference(const Owned<tessera::f16>&, const Owned<double>&);
extern template Difference difference(const Owned<double>&, const Owned<double>&);

}  // namespace demo
