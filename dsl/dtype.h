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

/// The value of `x` after a round trip through the float type `t`. Nearest is ties to even; subnormals are kept; the sign of zero is kept.
///   Overflow: as in IEEE 754, infinity or, when the rounding mode points inward, the largest finite value. e4m3 has no infinity: NaN instead.
///   `saturate`: overflow and infinities give the largest finite value.
///   NaN stays NaN, `saturate` or not.
///   e2m1 has neither infinity nor NaN: it always saturates, and NaN gives +6 (OCP MX 1.0 leaves it open; this is what PTX `cvt` does).
///   e8m0 is a power of two in 2^-127 .. 2^127: Nearest goes to the closer one and ties to the larger; Up, Down and TowardZero are the powers
///   around x; zero and positive values below 2^-127 give 2^-127; negative values, and overflow as above, give NaN.
double round_to_float(DType t, double x, bool saturate = false, Rounding r = Rounding::Nearest);

/// A float converted to the integer type `t`: toward zero, saturating, NaN to 0. For bool: x != 0 (true for NaN).
std::int64_t float_to_int(DType t, double x);
/// An integer wrapped to the width and signedness of `t` (idx and 64-bit types: unchanged bits; bool: x != 0).
std::int64_t wrap_int(DType t, std::int64_t x);
/// Smallest and largest value of an integer type (as bit patterns of int64 for u64).
std::int64_t int_min(DType t);
std::int64_t int_max(DType t);

/// Raw storage bits <-> value, bits above the type's width ignored or zero. `encode_float` rounds to nearest even as `round_to_float` does.
/// decode then encode gives the same bits back, NaN payloads included. The value of a u64 is its bit pattern as int64.
double decode_float(DType t, std::uint64_t raw);
std::uint64_t encode_float(DType t, double x);
std::int64_t decode_int(DType t, std::uint64_t raw);
std::uint64_t encode_int(DType t, std::int64_t x);

}  // namespace tessera
