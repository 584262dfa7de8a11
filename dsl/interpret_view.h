// Views as chains of address maps, evaluated one coordinate at a time; private to dsl/interpret*.cpp.
#pragma once

#include <array>
#include <optional>

#include "dsl/interpret_value.h"

namespace tessera::interp {

/// A parameter's memory, or one map over a view. `extents` are the axes left to index.
struct View {
  enum class Kind { Base, Index, Span, Permute, Merge, Split, Paged, Take, Peer };
  Kind kind = Kind::Base;
  DType dtype = DType::F32;
  Dims extents;
  ViewPtr parent;                    ///< null for Base
  std::size_t axis = 0, last = 0;    ///< Index, Span, Merge, Split
  std::int64_t number = 0;           ///< Index: the index; Span: lo; Split: size; Paged: rows in a page; Peer: the rank
  Dims perm;                         ///< Permute
  ViewPtr ids_view;                  ///< Paged: the table; Take: ids in memory
  TilePtr ids_tile;                  ///< Take: ids in a tile
  std::vector<std::uint64_t> bases;  ///< Base: the address, one a rank
  Dims strides;                      ///< Base: in elements
};

/// Where one element lies: sub-byte types count nibbles from `base`, low nibble first.
struct Address {
  std::uint64_t base = 0;
  std::int64_t element = 0;
};

struct Coords {
  static constexpr std::size_t limit = 16;
  std::size_t rank = 0;
  std::array<std::int64_t, limit> at{};
};

/// Empty if some map or the memory itself ends before the coordinate: such an element reads as zero and is not written.
std::optional<Address> locate(const View& view, Coords c);

std::uint64_t read_raw(DType t, Address a);
void write_raw(DType t, Address a, std::uint64_t raw);

/// The view an `OnView` op other than extent makes from its operands.
ViewPtr apply_view_op(const ir::Op& op, const std::vector<const Slot*>& operands);

// Memory ops: operands as in the op table.
TilePtr eval_load(const ir::Op& op, const std::vector<const Slot*>& operands, const Mode& mode);
/// Also the store half of `signal`.
void eval_store(const ir::Op& op, const std::vector<const Slot*>& operands, const Mode& mode);
TilePtr eval_fetch_add(const ir::Op& op, const std::vector<const Slot*>& operands, const Mode& mode);
/// A load whose valid elements must all satisfy `holds`: instances run one after another, so waiting cannot help.
TilePtr eval_wait(const ir::Op& op, const std::vector<const Slot*>& operands, const Mode& mode, const RegionFn& holds);

}  // namespace tessera::interp
