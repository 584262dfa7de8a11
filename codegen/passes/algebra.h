// Pass `algebra`: cheaper arithmetic with other rounding. Off in `strict` kernels. f32 and f64 only.
//
//   exp(x)                    exp2(x * log2(e))
//   exp(x * k - z)            exp2(fma(x, k * log2(e), -(z * log2(e))))   k a scalar, z uniform along an axis of x
//   select(c, x * k, -inf)    select(c, x, -inf) * k                      k > 0: exact
//   max over an axis of x * k (max over the axis of x) * k                k > 0: exact, since rounding is monotone
//   max over an axis of tanh(x)   tanh(max over the axis of x)            within the error of tanh: no element waits for the last one
//   x / y                     x * rcp(y)                                  y uniform along an axis of x, or a scalar
//   ln(x)                     log2(x) * ln(2)
//   x * y + z                 fma(x, y, z)                                unless z is a product of tiles, which back ends accumulate in place
//
// A scale is known to be positive if it is a constant, if the kernel asserts it (`assert scale > 0.0;`), or by products and quotients of such.
// With the scale out of the maximum, a softmax costs one fma and one exp2 an element.
//
// Errors relative to the op as written, in units in the last place of its result: x / y and ln 2; fma at most 1, less than before; exp(x) 1 + |x|,
// exp(x - z) 2 + |z| + |x - z|, since the argument is rounded once more (all weights of a row share most of it). Not kept: quotients by subnormal
// numbers, and exp of a difference of numbers beyond 2^127 / log2(e); below -2^127 / log2(e), z is taken as that bound, so that no NaN arises.
//
// Precondition: a sound kernel, folded, with its pads placed: exp2(fma(-inf, k, -z)) is 0 as exp(-inf - z) was.
#pragma once

#include "dsl/ir.h"

namespace tessera::ir {

void algebra(Kernel& kernel);

}  // namespace tessera::ir
