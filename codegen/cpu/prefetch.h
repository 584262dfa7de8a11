// Fetching ahead: what moves memory rather than computing asks early for what its next trip, or the next grid instance, will read.
//
// Hardware prefetchers follow a stream while it is being read; in a kernel that reads a tile, computes on it and reads the next one, the memory
// would rest while the kernel computes. Fetching never faults, so the distance may lead anywhere.
#pragma once

#include "codegen/cpu/evaluate.h"

namespace tessera::cpu {

/// Elements from what the load reads to what it will read one step later: in the next trip of the loop whose variable a range starts at, after
/// its last trip in the next instance along the first grid axis. Null without such a loop:
/// a tile that is read at once is a stream by itself.
llvm::Value* next_step(Evaluator& ev, const ir::Op& load);

}  // namespace tessera::cpu
