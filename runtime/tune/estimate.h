// How long a candidate may take, from its Tile IR alone: a roofline that orders candidates and leaves out the hopeless ones. It is not good for more.
#pragma once

#include "runtime/target.h"
#include "runtime/work.h"
#include "tessera/context.h"

namespace tessera::tuning {

/// What a machine can do at best, roughly.
struct Machine {
  double flops = 1;          ///< of products in 16 bits, a second; f32 at half of it on CPUs, at a sixteenth on GPUs
  double elements = 1;       ///< of tiles that elementwise ops make, a second
  double memory = 1;         ///< bytes a second
  double cache = 1;          ///< bytes a second between the last cache and the cores
  double step = 0;           ///< seconds that an op on a tile takes however small it is
  double launch = 0;         ///< seconds
  double workers = 1;        ///< instances that run at once
  double near_bytes = 1;     ///< of one worker's fastest memory: larger tiles are slower
  double wide_products = 1;  ///< share of `flops` that products of rows below 64 reach
};
Machine machine_of(const Context& context);

/// Seconds of a launch. `products_of_16_bits`: or fewer.
double estimate(const Effort& effort, const Machine& machine, bool products_of_16_bits);
/// Whether the kernel's products are of 16 bits or fewer.
bool products_of_16_bits(const ir::Kernel& kernel);

/// FLOP a byte at which a launch of this effort is bound by its products, and what the machine gives at it: for a plot.
struct Roof {
  double flops = 0, memory = 0;
};
Roof roof(const Machine& machine, bool products_of_16_bits);

}  // namespace tessera::tuning
