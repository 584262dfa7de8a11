// How much a launch computes and moves, counted from the kernel itself.
#pragma once

#include <cstdint>
#include <optional>

#include "dsl/ir.h"
#include "runtime/shapes.h"

namespace tessera {

struct Work {
  /// Two per multiply-add of every `dot` that runs, whole tiles counted; empty if the trips of a loop around one depend on data.
  std::optional<double> flops;
  /// Bytes of the views, once each; twice those that are read and written.
  std::int64_t bytes = 0;
};

/// Precondition: `symbols` has all launch symbols; idx scalars may be among them by name. Grids of more than 4096 instances are sampled evenly.
Work count_work(const ir::Kernel& kernel, const SymbolValues& symbols);

/// What a launch takes beside its products: the stuff of estimates, in which loops whose trips depend on data run once.
struct Effort {
  double instances = 0;
  double flops = 0;         ///< of products, whole tiles counted
  double elements = 0;      ///< of tiles that elementwise ops and reductions make
  double steps = 0;         ///< ops that make a tile, each time they run
  double traffic = 0;       ///< bytes of tiles that are loaded and stored, each time
  double bytes = 0;         ///< of the views, as Work::bytes
  double largest_tile = 0;  ///< bytes
};

/// Precondition: as count_work. Grids of more than 64 instances are sampled evenly.
Effort count_effort(const ir::Kernel& kernel, const SymbolValues& symbols);

}  // namespace tessera
