// Element types and the exact conversions between them: the number semantics every back end must reproduce.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace tessera {

enum class DType : std::uint8_t {
#define TESSERA_DTYPE(id, text, kind, bits) id,
#include "dsl/dtypes.def"
};

enum class DTypeKind : std::uint8_t { Bool, SignedInt, UnsignedInt, Float, Index };

const char* name(DType t);
DTypeKind kind(DType t);
/// Storage bits of one element: 4 for i4, u4, e2m1; 8 for bool.
int bits(DType t);
std::optional<DType> dtype_from_name(std::string_view name);
std::vector<DType> all_dtypes();

inline bool is_float(DType t) { return kind(t) == DTypeKind::Float; }
inline bool is_bool(DType t) { return kind(t) == DTypeKind::Bool; }
/// Integers proper and idx.
inline bool is_int(DType t) { return !is_float(t) && !is_bool(t); }
inline bool is_signed(DType t) { return kind(t) == DTypeKind::SignedInt || kind(t) == DTypeKind::Index; }
/// f16, bf16: the class `half` of the language.
inline bool is_half(DType t) { return t == DType::F16 || t == DType::BF16; }
/// Storage-only types: they are loaded, stored and converted, never computed with.
bool storage_only(DType t);

enum class Rounding : std::uint8_t { Nearest, TowardZero, Up, Down };

/// The value of `x` after a round trip through the float type `t`: round to nearest even unless asked otherwise. Overflow gives infinity,
/// or NaN where the type has none (e4m3, e2m1 saturate to NaN-free max: OCP MX 1.0); with `saturate`, the largest finite value. NaN stays NaN
/// where the type has one, else becomes the largest finite value. Subnormals are kept.
double round_to_float(DType t, double x, bool saturate = false, Rounding r = Rounding::Nearest);

/// A float converted to the integer type `t`: toward zero, saturating, NaN to 0.
std::int64_t float_to_int(DType t, double x);
/// An integer wrapped to the width and signedness of `t` (idx and 64-bit types: unchanged bits).
std::int64_t wrap_int(DType t, std::int64_t x);
/// Smallest and largest value of an integer type (as bit patterns of int64 for u64).
std::int64_t int_min(DType t);
std::int64_t int_max(DType t);

/// Raw storage bits <-> value. Floats go through double (exact for all but i64/u64, which use the integer pair).
double decode_float(DType t, std::uint64_t raw);
std::uint64_t encode_float(DType t, double x);
std::int64_t decode_int(DType t, std::uint64_t raw);
std::uint64_t encode_int(DType t, std::int64_t x);

}  // namespace tessera
