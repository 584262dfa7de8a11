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

}  // namespace tessera
