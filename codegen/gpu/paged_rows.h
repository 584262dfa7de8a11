// The rows of a tile of a paged view as one thread copies them.
#pragma once

#include <vector>

#include "codegen/gpu/emit.h"

namespace tessera::gpu {

/// The thread's k-th row is row `first` + k `step` of the tile.
struct ThreadEmitter::PagedRows {
  const cpu::View* view = nullptr;     ///< the paged one
  LV* start = nullptr;                 ///< i64: the row of the view that row 0 of the tile is
  LV* first = nullptr;                 ///< i32
  std::int64_t step = 1, rows = 1;     ///< of the tile
  std::int64_t page = 1;               ///< rows of a page
  std::int64_t block = 1;              ///< so many rows lie in one page, if `whole_blocks`; 1: each is looked up by itself
  LV* whole_blocks = nullptr;          ///< i1
  LV* readable = nullptr;              ///< i1: the table exists; null: certainly
  const RangeValue* within = nullptr;  ///< the rows that are there
  struct Block {
    LV *row = nullptr, *exists = nullptr;  ///< its first row's address, and whether its page exists
  };
  std::vector<Block> blocks;
  std::size_t next = 0;  ///< k
};

}  // namespace tessera::gpu
