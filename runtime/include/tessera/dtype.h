// Element types on the host: strong types for the floats C++ lacks, and the mapping from C++ types to element types.
//
// All conversions are constexpr, round to nearest with ties to even, keep subnormals and NaN, and agree bit for bit with the compiler's.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "tessera/export.h"

namespace tessera {

/// The element types of the language. Thread safety of everything here: pure values.
enum class ElementType : std::uint8_t { Bool, I8, I16, I32, I64, U8, U16, U32, U64, F16, BF16, F32, F64, E4M3, E5M2, E8M0, E2M1, I4, U4, Idx };

/// The name in the language: "bf16".
TESSERA_API const char* name(ElementType t) noexcept;
/// Storage bits of one element: 4 for E2M1, I4 and U4.
TESSERA_API int bits(ElementType t) noexcept;

namespace detail {

/// A float of `E` exponent and `M` mantissa bits. `Inf`: the largest exponent holds infinity and NaN as in IEEE 754; else only the all-ones
/// pattern is NaN (e4m3).
template <int E, int M, bool Inf>
struct SmallFloat {
  static constexpr int bias = (1 << (E - 1)) - 1;
  static constexpr std::uint32_t sign = 1u << (E + M);
  static constexpr std::uint32_t nan = Inf ? (((1u << E) - 1) << M) | (1u << (M - 1)) : (1u << (E + M)) - 1;
  static constexpr std::uint32_t overflow = Inf ? ((1u << E) - 1) << M : nan;  ///< what a finite value too large becomes
  static constexpr std::uint32_t largest = overflow - 1;                       ///< the largest finite value

  static constexpr std::uint32_t encode(float x, bool saturate) {
    const std::uint32_t in = std::bit_cast<std::uint32_t>(x);
    const std::uint32_t s = (in >> 31) << (E + M);
    const std::uint32_t magnitude = in & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return s | nan;
    if (magnitude == 0x7f800000u) return s | (saturate ? largest : overflow);
    // Value = significand * 2^(exponent - 23), the significand with its leading one made explicit.
    int exponent = static_cast<int>(magnitude >> 23) - 127;
    std::uint64_t significand = magnitude & 0x7fffffu;
    if (exponent == -127) {
      exponent = -126;
    } else {
      significand |= 0x800000u;
    }
    if (significand == 0) return s;
    while (significand < 0x800000u) {  // a subnormal float
      significand <<= 1;
      --exponent;
    }
    // Drop the bits below the last place of the target, which is fixed at the subnormal exponent from there down.
    const int lowest = 1 - bias;
    const int shift = 23 - M + (exponent < lowest ? lowest - exponent : 0);
    std::uint32_t out = 0;
    if (shift < 40) {
      const std::uint64_t half = std::uint64_t{1} << (shift - 1);
      const std::uint64_t rest = significand & ((half << 1) - 1);
      std::uint64_t kept = significand >> shift;
      if (rest > half || (rest == half && (kept & 1))) ++kept;
      // Adding the significand to the exponent field lets a carry move to the next exponent by itself.
      const std::uint64_t field = exponent < lowest ? 0 : static_cast<std::uint64_t>(exponent + bias - 1) << M;
      const std::uint64_t sum = field + kept;
      out = sum > largest ? (saturate ? largest : overflow) : static_cast<std::uint32_t>(sum);
    }
    return s | out;
  }

  static constexpr float decode(std::uint32_t in) {
    const std::uint32_t s = (in & sign) ? 0x80000000u : 0u;
    const std::uint32_t magnitude = in & (sign - 1);
    if (Inf && magnitude >= overflow) {
      return std::bit_cast<float>(s | 0x7f800000u | (magnitude == overflow ? 0u : (magnitude << (23 - M)) & 0x7fffffu));
    }
    if (!Inf && magnitude == nan) return std::bit_cast<float>(s | 0x7fc00000u);
    int exponent = static_cast<int>(magnitude >> M);
    std::uint32_t significand = magnitude & ((1u << M) - 1);
    if (exponent == 0) {
      if (significand == 0) return std::bit_cast<float>(s);
      exponent = 1;
      while (significand < (1u << M)) {
        significand <<= 1;
        --exponent;
      }
      significand &= (1u << M) - 1;
    }
    const int e = exponent - bias + 127;
    if (e <= 0) {  // only a bf16 subnormal is a subnormal float too
      return std::bit_cast<float>(s | (((significand | (1u << M)) << (23 - M)) >> (1 - e)));
    }
    return std::bit_cast<float>(s | (static_cast<std::uint32_t>(e) << 23) | (significand << (23 - M)));
  }
};

/// Storage and conversions shared by the strong types below.
template <class Bits, class Format, class Self>
struct FloatBase {
  Bits bits = 0;

  constexpr FloatBase() = default;
  constexpr explicit FloatBase(float x) : bits(static_cast<Bits>(Format::encode(x, false))) {}
  /// The largest finite value where the conversion would overflow.
  static constexpr Self saturate(float x) { return from_bits(static_cast<Bits>(Format::encode(x, true))); }
  static constexpr Self from_bits(Bits b) {
    Self s;
    s.bits = b;
    return s;
  }
  /// Exact.
  constexpr operator float() const { return Format::decode(bits); }  // NOLINT: lossless, so implicit
};

}  // namespace detail

/// IEEE 754 half precision.
struct f16 : detail::FloatBase<std::uint16_t, detail::SmallFloat<5, 10, true>, f16> {
  using FloatBase::FloatBase;
};
/// The upper half of a float.
struct bf16 : detail::FloatBase<std::uint16_t, detail::SmallFloat<8, 7, true>, bf16> {
  using FloatBase::FloatBase;
};
/// OCP FP8 E4M3: no infinity, largest value 448; what is larger becomes NaN unless saturated.
struct e4m3 : detail::FloatBase<std::uint8_t, detail::SmallFloat<4, 3, false>, e4m3> {
  using FloatBase::FloatBase;
};
/// OCP FP8 E5M2: largest finite value 57344.
struct e5m2 : detail::FloatBase<std::uint8_t, detail::SmallFloat<5, 2, true>, e5m2> {
  using FloatBase::FloatBase;
};
/// OCP MX block scale: 2^(bits - 127); 0xff is NaN.
struct e8m0 {
  std::uint8_t bits = 127;
  constexpr operator float() const {  // NOLINT: lossless, so implicit
    return bits == 0xff ? std::bit_cast<float>(0x7fc00000u) : std::bit_cast<float>(bits == 0 ? 0x00400000u : std::uint32_t{bits} << 23);
  }
};
// Sub-byte types: two elements a byte, the even one in the low nibble. They name the type of a view, whose memory is bytes.
struct e2m1;
struct i4;
struct u4;

/// Text as a template argument.
template <std::size_t N>
struct FixedString {
  char text[N] = {};
  constexpr FixedString(const char (&s)[N]) { std::copy_n(s, N, text); }  // NOLINT: a string literal is one
  constexpr std::string_view view() const { return {text, N - 1}; }
};

/// The host's side of `type Lse = f32;`: a value of type Base that does not mix with others. `using Lse = tessera::Nominal<float, "Lse">;`
template <class Base, FixedString Name>
struct Nominal {
  Base value{};
};

/// What a C++ type is in the language: `type`, the nominal name ("" for plain types), and the type memory is made of.
template <class T>
struct Element;

namespace detail {
template <ElementType E, class S>
struct PlainElement {
  static constexpr ElementType type = E;
  static constexpr std::string_view nominal = {};
  using Storage = S;
};
template <class T>
constexpr ElementType integer_type() {
  constexpr bool s = std::is_signed_v<T>;
  switch (sizeof(T)) {
    case 1: return s ? ElementType::I8 : ElementType::U8;
    case 2: return s ? ElementType::I16 : ElementType::U16;
    case 4: return s ? ElementType::I32 : ElementType::U32;
    default: return s ? ElementType::I64 : ElementType::U64;
  }
}
template <class T>
concept PlainInteger = std::is_integral_v<T> && !std::is_same_v<T, bool> && !std::is_same_v<T, char> && !std::is_same_v<T, wchar_t> &&
                       !std::is_same_v<T, char8_t> && !std::is_same_v<T, char16_t> && !std::is_same_v<T, char32_t>;
}  // namespace detail

template <detail::PlainInteger T>
struct Element<T> : detail::PlainElement<detail::integer_type<T>(), T> {};
template <>
struct Element<bool> : detail::PlainElement<ElementType::Bool, bool> {};
template <>
struct Element<float> : detail::PlainElement<ElementType::F32, float> {};
template <>
struct Element<double> : detail::PlainElement<ElementType::F64, double> {};
template <>
struct Element<f16> : detail::PlainElement<ElementType::F16, f16> {};
template <>
struct Element<bf16> : detail::PlainElement<ElementType::BF16, bf16> {};
template <>
struct Element<e4m3> : detail::PlainElement<ElementType::E4M3, e4m3> {};
template <>
struct Element<e5m2> : detail::PlainElement<ElementType::E5M2, e5m2> {};
template <>
struct Element<e8m0> : detail::PlainElement<ElementType::E8M0, e8m0> {};
template <>
struct Element<e2m1> : detail::PlainElement<ElementType::E2M1, std::uint8_t> {};
template <>
struct Element<i4> : detail::PlainElement<ElementType::I4, std::uint8_t> {};
template <>
struct Element<u4> : detail::PlainElement<ElementType::U4, std::uint8_t> {};
template <class Base, FixedString Name>
struct Element<Nominal<Base, Name>> {
  static constexpr ElementType type = Element<Base>::type;
  static constexpr std::string_view nominal = Name.view();
  using Storage = Nominal<Base, Name>;
};

/// A C++ type that can be an element of a view or a scalar argument.
template <class T>
concept ElementLike = requires { Element<T>::type; };

}  // namespace tessera
