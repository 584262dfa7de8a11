// Results of one kernel under different tuned constants: equal but for rounding.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "runtime/host_tensor.h"
#include "tessera/module.h"

namespace tessera::tuning {

using Results = std::map<std::string, HostTensor>;

/// How far apart results may lie that differ in nothing but rounding and the order of sums.
struct Tolerance {
  double element = 0;         ///< |got - want| of any element, of the largest |want| of its tensor
  double rms = 0;             ///< root of the mean square of the differences, of that of the values
  double other_integers = 0;  ///< share of integers that may differ: where rounded floats are compared, a choice can tip
};
/// For a kernel with these parameters: what its coarsest element type loses.
Tolerance tolerance_for(const std::vector<Parameter>& parameters);

/// Empty if `got` is `want` within the tolerance, else the first tensor that is not and how far it is off. An element that is NaN in one only is
/// never within it. Precondition: the same tensors of the same shapes.
std::string difference(const Results& got, const Results& want, const Tolerance& tolerance);

}  // namespace tessera::tuning
