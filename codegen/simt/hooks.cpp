#include "codegen/simt/hooks.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "dsl/dtype.h"

namespace tessera::simt {
namespace {

template <class F>
void* address(F* f) {
  return reinterpret_cast<void*>(f);
}

// The conversions to halves that x86-64 has no instruction for; the result travels in the low 16 bits of xmm0.
float to_half(DType t, double x) { return std::bit_cast<float>(static_cast<std::uint32_t>(encode_float(t, x))); }
float bf16_of_f32(float x) { return to_half(DType::BF16, x); }
float bf16_of_f64(double x) { return to_half(DType::BF16, x); }
float f16_of_f32(float x) { return to_half(DType::F16, x); }
float f16_of_f64(double x) { return to_half(DType::F16, x); }
float f32_of_f16(float x) { return static_cast<float>(decode_float(DType::F16, std::bit_cast<std::uint32_t>(x) & 0xffff)); }

}  // namespace

std::string hook_name(gpu::Primitive p) { return std::string("simt_") + gpu::info(p).name; }

std::vector<std::pair<std::string, void*>> hook_symbols() {
  using F = float (*)(float);
  using D = double (*)(double);
  const auto f = [](F p) { return address(p); };
  const auto d = [](D p) { return address(p); };
  return {
      {shared_access_name, address(hooks::shared_access)},
      {global_access_name, address(hooks::global_access)},
      {shared_base_name, address(hooks::shared_base)},
#define TESSERA_PRIMITIVE(id, ...) {hook_name(gpu::Primitive::id), address(hooks::id)},
#include "codegen/gpu/primitives.def"
      {"__truncsfbf2", address(bf16_of_f32)},
      {"__truncdfbf2", address(bf16_of_f64)},
      {"__truncsfhf2", address(f16_of_f32)},
      {"__truncdfhf2", address(f16_of_f64)},
      {"__extendhfsf2", address(f32_of_f16)},
      {"memcpy", address(&::memcpy)},
      {"memset", address(&::memset)},
      {"memmove", address(&::memmove)},
      {"fmaf", address(static_cast<float (*)(float, float, float)>(std::fma))},
      {"fma", address(static_cast<double (*)(double, double, double)>(std::fma))},
      {"fmodf", address(static_cast<float (*)(float, float)>(std::fmod))},
      {"fmod", address(static_cast<double (*)(double, double)>(std::fmod))},
      {"fminf", address(static_cast<float (*)(float, float)>(std::fmin))},
      {"fmin", address(static_cast<double (*)(double, double)>(std::fmin))},
      {"fmaxf", address(static_cast<float (*)(float, float)>(std::fmax))},
      {"fmax", address(static_cast<double (*)(double, double)>(std::fmax))},
      {"floorf", f(std::floor)},
      {"floor", d(std::floor)},
      {"ceilf", f(std::ceil)},
      {"ceil", d(std::ceil)},
      {"truncf", f(std::trunc)},
      {"trunc", d(std::trunc)},
      {"rintf", f(std::rint)},
      {"rint", d(std::rint)},
      {"nearbyintf", f(std::nearbyint)},
      {"nearbyint", d(std::nearbyint)},
      {"roundevenf", f(std::nearbyint)},
      {"roundeven", d(std::nearbyint)},
      {"sqrtf", f(std::sqrt)},
      {"sqrt", d(std::sqrt)},
  };
}

}  // namespace tessera::simt
