// Products of a warp on fragments in registers (PTX ISA 9.0, matrix fragments for mma.m16n8k*).
//
// With g = lane / 4, q = lane % 4 and e elements a register: register i of A holds row g + 8 (i % 2), columns e q + 4 e (i / 2) ..; register i of B
// column g, rows e q + 4 e i ..; register i of the accumulator row g + 8 (i / 2), column 2 q + i % 2. Sums run in float64 and round once, so they
// are exact for integer-valued data; a tensor core's own rounding is not modelled.
#include <array>
#include <bit>
#include <cmath>
#include <type_traits>

#include "codegen/simt/hooks.h"
#include "dsl/dtype.h"

namespace tessera::simt {

using gpu::Primitive;

namespace {

template <DType t, std::size_t count>
const std::array<float, count>& float_table() {
  static const std::array<float, count> table = [] {
    std::array<float, count> out;
    for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<float>(decode_float(t, i));
    return out;
  }();
  return table;
}

template <DType t>
constexpr u32 per_register() {
  return t == DType::F32 ? 1 : t == DType::F16 || t == DType::BF16 ? 2 : 4;
}
template <DType t>
constexpr bool integral = t == DType::I8 || t == DType::U8;

/// Element e of a register.
template <DType t>
auto element(u32 word, u32 e) {
  if constexpr (t == DType::F32) {
    return static_cast<double>(std::bit_cast<float>(word & 0xffffe000u));
  } else if constexpr (t == DType::BF16) {
    return static_cast<double>(std::bit_cast<float>(word >> (16 * e) << 16));
  } else if constexpr (t == DType::F16) {
    return static_cast<double>(float_table<t, 65536>()[word >> (16 * e) & 0xffff]);
  } else if constexpr (t == DType::I8) {
    return static_cast<std::int32_t>(static_cast<std::int8_t>(word >> (8 * e)));
  } else if constexpr (t == DType::U8) {
    return static_cast<std::int32_t>(word >> (8 * e) & 0xff);
  } else {
    return static_cast<double>(float_table<t, 256>()[word >> (8 * e) & 0xff]);
  }
}

/// A tf32 operand is an f32 whose low 13 bits the hardware ignores: what still has them was not rounded.
void check_tf32(Cta& cta, u32 site, u32 word) {
  if ((word & 0x1fff) && std::isfinite(std::bit_cast<float>(word))) {
    cta.report(HazardKind::BadOperand, site, "gets an operand that is not rounded to tf32");
  }
}

template <DType a, DType b, u32 k>
void multiply(Cta& cta, Thread* lanes, u32 site) {
  using Sum = std::conditional_t<integral<a>, std::uint32_t, double>;
  constexpr u32 ea = per_register<a>(), na = k / ea / 2, nb = k / ea / 4;
  static_assert(per_register<b>() == ea);
  Sum left[16][k], right[k][8], sum[16][8] = {};
  for (u32 l = 0; l < 32; ++l) {
    const u32 g = l / 4, q = l % 4;
    const u32* r = lanes[l].registers;
    for (u32 i = 0; i < na; ++i) {
      if constexpr (a == DType::F32) check_tf32(cta, site, r[4 + i]);
      for (u32 e = 0; e < ea; ++e) left[g + 8 * (i % 2)][ea * q + 4 * ea * (i / 2) + e] = static_cast<Sum>(element<a>(r[4 + i], e));
    }
    for (u32 i = 0; i < nb; ++i) {
      if constexpr (b == DType::F32) check_tf32(cta, site, r[4 + na + i]);
      for (u32 e = 0; e < ea; ++e) right[ea * q + 4 * ea * i + e][g] = static_cast<Sum>(element<b>(r[4 + na + i], e));
    }
  }
  for (u32 row = 0; row < 16; ++row) {
    for (u32 x = 0; x < k; ++x) {
      for (u32 column = 0; column < 8; ++column) sum[row][column] += left[row][x] * right[x][column];
    }
  }
  for (u32 l = 0; l < 32; ++l) {
    for (u32 i = 0; i < 4; ++i) {
      u32& r = lanes[l].registers[i];
      const Sum s = sum[l / 4 + 8 * (i / 2)][l % 4 * 2 + i % 2];
      if constexpr (integral<a>) {
        r += s;
      } else {
        r = std::bit_cast<u32>(static_cast<float>(static_cast<double>(std::bit_cast<float>(r)) + s));
      }
    }
  }
}

/// m16n8 product of k elements; `p` is what the call names.
template <DType a, DType b, u32 k>
void product(Thread* t, u32 site, Primitive p, u32* registers) {
  t->registers = registers;
  collective(*t, site, p, multiply<a, b, k>);
}

}  // namespace

namespace hooks {

void MmaF16K8(Thread* t, u32 site, u32* r, u32) { product<DType::F16, DType::F16, 8>(t, site, Primitive::MmaF16K8, r); }
void MmaF16K16(Thread* t, u32 site, u32* r, u32) { product<DType::F16, DType::F16, 16>(t, site, Primitive::MmaF16K16, r); }
void MmaBf16K8(Thread* t, u32 site, u32* r, u32) { product<DType::BF16, DType::BF16, 8>(t, site, Primitive::MmaBf16K8, r); }
void MmaBf16K16(Thread* t, u32 site, u32* r, u32) { product<DType::BF16, DType::BF16, 16>(t, site, Primitive::MmaBf16K16, r); }
void MmaTf32K8(Thread* t, u32 site, u32* r, u32) { product<DType::F32, DType::F32, 8>(t, site, Primitive::MmaTf32K8, r); }
void MmaE4m3E4m3K32(Thread* t, u32 site, u32* r, u32) { product<DType::E4M3, DType::E4M3, 32>(t, site, Primitive::MmaE4m3E4m3K32, r); }
void MmaE4m3E5m2K32(Thread* t, u32 site, u32* r, u32) { product<DType::E4M3, DType::E5M2, 32>(t, site, Primitive::MmaE4m3E5m2K32, r); }
void MmaE5m2E4m3K32(Thread* t, u32 site, u32* r, u32) { product<DType::E5M2, DType::E4M3, 32>(t, site, Primitive::MmaE5m2E4m3K32, r); }
void MmaE5m2E5m2K32(Thread* t, u32 site, u32* r, u32) { product<DType::E5M2, DType::E5M2, 32>(t, site, Primitive::MmaE5m2E5m2K32, r); }
void MmaS8S8K16(Thread* t, u32 site, u32* r, u32) { product<DType::I8, DType::I8, 16>(t, site, Primitive::MmaS8S8K16, r); }
void MmaS8S8K32(Thread* t, u32 site, u32* r, u32) { product<DType::I8, DType::I8, 32>(t, site, Primitive::MmaS8S8K32, r); }
void MmaU8U8K32(Thread* t, u32 site, u32* r, u32) { product<DType::U8, DType::U8, 32>(t, site, Primitive::MmaU8U8K32, r); }

}  // namespace hooks
}  // namespace tessera::simt
