// Arithmetic primitives: the correctly rounded result stands for the hardware's approximation; flushes to zero are those of the instruction.
#include <bit>
#include <cmath>
#include <limits>

#include "codegen/simt/hooks.h"
#include "dsl/dtype.h"

namespace tessera::simt::hooks {
namespace {

float flush(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }

u32 bf16_code(float x) {
  const u32 bits = std::bit_cast<u32>(x);
  if (std::isnan(x)) return 0x7fff;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

u32 f16_code(float x) { return std::isnan(x) ? 0x7fff : static_cast<u32>(encode_float(DType::F16, x)); }

u32 fp8_code(DType t, float x) { return static_cast<u32>(encode_float(t, round_to_float(t, x, true))); }

u32 f16_of_fp8(DType t, u32 code) { return f16_code(static_cast<float>(decode_float(t, code & 0xff))); }

}  // namespace

float Ex2(Thread* t, u32 site, float x) {
  t->cta->step(*t, site);
  return flush(static_cast<float>(std::exp2(static_cast<double>(flush(x)))));
}
float Lg2(Thread* t, u32 site, float x) {
  t->cta->step(*t, site);
  return static_cast<float>(std::log2(static_cast<double>(x)));
}
float Rcp(Thread* t, u32 site, float x) {
  t->cta->step(*t, site);
  return flush(static_cast<float>(1.0 / static_cast<double>(flush(x))));
}
float Rsqrt(Thread* t, u32 site, float x) {
  t->cta->step(*t, site);
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(x)));
}
float TanhApprox(Thread* t, u32 site, float x) {
  t->cta->step(*t, site);
  return std::tanh(x);
}

u32 PackBf16x2(Thread* t, u32 site, float low, float high) {
  t->cta->step(*t, site);
  return bf16_code(low) | bf16_code(high) << 16;
}
u32 PackF16x2(Thread* t, u32 site, float low, float high) {
  t->cta->step(*t, site);
  return f16_code(low) | f16_code(high) << 16;
}
u32 PackE4m3x2(Thread* t, u32 site, float low, float high) {
  t->cta->step(*t, site);
  return fp8_code(DType::E4M3, low) | fp8_code(DType::E4M3, high) << 8;
}
u32 PackE5m2x2(Thread* t, u32 site, float low, float high) {
  t->cta->step(*t, site);
  return fp8_code(DType::E5M2, low) | fp8_code(DType::E5M2, high) << 8;
}
u32 PackE4m3x4(Thread* t, u32 site, float a, float b, float c, float d) { return PackE4m3x2(t, site, a, b) | PackE4m3x2(t, site, c, d) << 16; }
u32 PackE5m2x4(Thread* t, u32 site, float a, float b, float c, float d) { return PackE5m2x2(t, site, a, b) | PackE5m2x2(t, site, c, d) << 16; }
u32 UnpackE4m3x2(Thread* t, u32 site, u32 codes) {
  t->cta->step(*t, site);
  return f16_of_fp8(DType::E4M3, codes) | f16_of_fp8(DType::E4M3, codes >> 8) << 16;
}
u32 UnpackE5m2x2(Thread* t, u32 site, u32 codes) {
  t->cta->step(*t, site);
  return f16_of_fp8(DType::E5M2, codes) | f16_of_fp8(DType::E5M2, codes >> 8) << 16;
}

u32 PickBytes(Thread* t, u32 site, u32 low, u32 high, u32 which) {
  t->cta->step(*t, site);
  const std::uint64_t bytes = low | std::uint64_t{high} << 32;
  u32 out = 0;
  for (u32 i = 0; i < 4; ++i) out |= static_cast<u32>(bytes >> 8 * (which >> 4 * i & 7) & 0xff) << 8 * i;
  return out;
}

}  // namespace tessera::simt::hooks
