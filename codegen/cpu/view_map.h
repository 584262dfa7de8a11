// Views as address maps: what a chain of view ops does to coordinates, as emitted code.
//
// Index, span, permute and split of an affine view stay affine: an origin and a stride an axis, computed once where the op stands. Merged,
// paged and gathered views are walked for every access, from the outermost op to the parameter's memory.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "codegen/cpu/memory.h"
#include "dsl/ir.h"

namespace tessera::cpu {

struct View;
using ViewPtr = std::shared_ptr<const View>;

struct View {
  enum class Kind : std::uint8_t { Affine, Index, Span, Permute, Merge, Split, Paged, Take };
  Kind kind = Kind::Affine;
  DType dtype = DType::F32;
  Values extents;                ///< i64
  llvm::Value* valid = nullptr;  ///< i1: false if a fixed index lies outside, so that nothing exists; null: true

  // Affine: element (c0, c1, ..) is base[origin + sum of c_i * strides_i].
  llvm::Value* base = nullptr;
  llvm::Value* origin = nullptr;
  Values strides;
  std::vector<bool> unit;  ///< the stride is 1 for certain

  // Others: one op on top of `parent`.
  ViewPtr parent;
  std::size_t axis = 0, last = 0;
  llvm::Value* number = nullptr;  ///< Index: the index; Span: lo; Split: the size; Paged: the page size
  ir::Dims perm;
  ViewPtr ids;                          ///< Paged: the table; Take: the row numbers, if a view
  const ir::Value* ids_tile = nullptr;  ///< Take: the row numbers, if a tile

  bool affine() const { return kind == Kind::Affine; }
};

/// A parameter: base, extents and strides as loaded from the frame. `last_is_unit`: the last stride is 1 for certain.
ViewPtr parameter_view(Emitter& e, DType t, llvm::Value* base, Values extents, Values strides, bool last_is_unit);
/// What is known of a span's bounds: that they lie within the axis, and how far apart they are if that is a number.
struct SpanBounds {
  bool inside = false;
  std::optional<std::int64_t> extent;  ///< only if `inside`
};
/// The result of a view op. `scalar` gives idx operands as i64, `view` view operands. `bounds`: of a ViewSpan.
ViewPtr apply_view_op(Emitter& e, const ir::Op& op, const std::function<llvm::Value*(const ir::Value*)>& scalar,
                      const std::function<ViewPtr(const ir::Value*)>& view, const SpanBounds& bounds = {});

/// An element (or 16) of a view.
struct Address {
  llvm::Value* base = nullptr;
  Lanes offset;                 ///< in elements
  llvm::Value* mask = nullptr;  ///< where such an element exists
};
/// Reads an element of an integer tile at a coordinate (for ViewTake).
using TileReader = std::function<Lanes(const ir::Value* tile, const Lanes& at)>;
/// Coordinates must lie within the extents where `mask` holds; the result's mask adds what the map itself may lack.
Address locate(Emitter& e, const View& view, std::vector<Lanes> coords, llvm::Value* mask, const TileReader& tile);

/// The affine view under `v` and the axis of it that carries axis `axis` unchanged but for a shift, if there is one: where a walk along
/// `axis` is a walk in memory with a fixed stride.
struct Walk {
  llvm::Value* stride = nullptr;
  bool unit = false;
};
std::optional<Walk> walk_along(const View& v, std::size_t axis);

}  // namespace tessera::cpu
