// What goes from memory to memory element by element.
#pragma once

#include <vector>

#include "codegen/gpu/emit.h"

namespace tessera::gpu {

struct ThreadEmitter::Stream {
  std::vector<const ir::Op*> ops;  ///< in order, without the store or fold that they end in
  Piece piece;
  std::int64_t pieces = 1;
};

}  // namespace tessera::gpu
