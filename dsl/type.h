// Types of Tile IR values. Tile dims are constants; view dims are symbolic and live in the kernel's parameters.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "dsl/dtype.h"

namespace tessera::ir {

using Dims = std::vector<std::int64_t>;

/// A tile may have this many elements (E0604).
inline constexpr std::int64_t kMaxTileElements = std::int64_t{1} << 24;

/// A value: `f32[64, 128]`. Rank 0 is a scalar.
struct TileType {
  DType dtype = DType::F32;
  Dims dims;

  int rank() const { return static_cast<int>(dims.size()); }
  std::int64_t elements() const;  ///< the largest int64 if it overflows
  friend bool operator==(const TileType&, const TileType&) = default;
};

/// `range<64>`: coordinates start .. start + size of some axis, of which those in [lo, hi) are valid.
struct RangeType {
  std::int64_t size = 0;
  friend bool operator==(const RangeType&, const RangeType&) = default;
};

enum class Mode : std::uint8_t { In, Out, InOut, Scatter, Add };
const char* name(Mode m);

/// `view<bf16, 4, out>`: memory seen through an address map. The rank counts the axes that are left to index.
struct ViewType {
  DType dtype = DType::F32;
  int rank = 0;
  Mode mode = Mode::In;
  friend bool operator==(const ViewType&, const ViewType&) = default;
};

using Type = std::variant<TileType, RangeType, ViewType>;

inline bool is_tile(const Type& t) { return std::holds_alternative<TileType>(t); }
inline bool is_range(const Type& t) { return std::holds_alternative<RangeType>(t); }
inline bool is_view(const Type& t) { return std::holds_alternative<ViewType>(t); }
inline const TileType& tile(const Type& t) { return std::get<TileType>(t); }
inline const RangeType& range(const Type& t) { return std::get<RangeType>(t); }
inline const ViewType& view(const Type& t) { return std::get<ViewType>(t); }
inline bool is_scalar(const Type& t) { return is_tile(t) && tile(t).dims.empty(); }

inline TileType scalar(DType t) { return {t, {}}; }

std::string str(const Type& t);
std::string str(const TileType& t);

/// Shape of an elementwise result: equal ranks, 1 stretches; a scalar goes with anything. Empty rank mismatch -> false.
bool broadcast(const Dims& a, const Dims& b, Dims& out);

}  // namespace tessera::ir
