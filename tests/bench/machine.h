// What this machine can do at best: the figures that shares of peak and of bandwidth are taken of.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

namespace tessera::bench {

/// Model name and number of processors.
std::string machine_name();

/// Floating-point operations a second of one thread with independent fused multiply-adds and nothing else, in f32, and with bf16 pairs
/// (vdpbf16ps); best of 5. 0 where the machine has no such instruction.
struct Peak {
  double f32 = 0;
  double bf16 = 0;
};
Peak measure_peak();

/// Reads `bytes` (a multiple of 512, 64-byte aligned) with full vectors and several accumulators; what it returns depends on all of them.
float read_all(const float* data, std::size_t bytes);

}  // namespace tessera::bench
