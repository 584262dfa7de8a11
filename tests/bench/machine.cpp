#include "tests/bench/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "tests/bench/measure.h"

namespace tessera::bench {

namespace {

// Vectors as the compiler's own type and instructions as assembly: exactly these instructions, and no header's emulation of them.
using Wide [[gnu::vector_size(64)]] = float;
using Half [[gnu::vector_size(32)]] = float;
using Narrow [[gnu::vector_size(16)]] = float;

constexpr int kChains = 24;  // more than latency times throughput of any core, fewer than the registers
constexpr long kRounds = 1'000'000;

// Sums are named by constants, so that every optimisation level keeps them in registers.
template <int c = 0>
[[gnu::always_inline]] __attribute__((target("avx512f"))) inline void step_avx512(Wide* sums, const Wide& x, const Wide& y) {
  asm("vfmadd231ps %2, %1, %0" : "+v"(sums[c]) : "v"(x), "v"(y));
  if constexpr (c + 1 < kChains) step_avx512<c + 1>(sums, x, y);
}

__attribute__((target("avx512f"))) float chains_avx512(long rounds) {
  const Wide x = Wide{} + 0.999f, y = Wide{} + 1e-3f;
  Wide sums[kChains] = {};
  for (long i = 0; i < rounds; ++i) step_avx512(sums, x, y);
  for (int c = 1; c < kChains; ++c) sums[0] += sums[c];
  return sums[0][0];
}

template <int c = 0>
[[gnu::always_inline]] __attribute__((target("avx512f,avx512bf16"))) inline void step_bf16(Wide* sums, const Wide& x) {
  asm("vdpbf16ps %1, %1, %0" : "+v"(sums[c]) : "v"(x));
  if constexpr (c + 1 < kChains) step_bf16<c + 1>(sums, x);
}

__attribute__((target("avx512f,avx512bf16"))) float chains_bf16(long rounds) {
  const Wide x = Wide{} + 1.0f;
  Wide sums[kChains] = {};
  for (long i = 0; i < rounds; ++i) step_bf16(sums, x);
  for (int c = 1; c < kChains; ++c) sums[0] += sums[c];
  return sums[0][0];
}

constexpr int kNarrowChains = 12;  // 16 registers

__attribute__((target("avx2,fma"))) float chains_avx2(long rounds) {
  const Half x = Half{} + 0.999f, y = Half{} + 1e-3f;
  Half sums[kNarrowChains] = {};
  for (long i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kNarrowChains; ++c) asm("vfmadd231ps %2, %1, %0" : "+x"(sums[c]) : "x"(x), "x"(y));
  }
  for (int c = 1; c < kNarrowChains; ++c) sums[0] += sums[c];
  return sums[0][0];
}

double best_rate(float (*f)(long), double flops_a_round) {
  volatile float sink = 0;
  const auto t = time_in_turns({[&] { sink = f(kRounds); }}, 5);
  return flops_a_round * static_cast<double>(kRounds) / t[0].best;
}

__attribute__((target("avx512f"))) float read_avx512(const float* data, std::size_t count) {
  Wide sums[8] = {};
  for (std::size_t i = 0; i < count; i += 128)
#pragma GCC unroll 8
    for (std::size_t c = 0; c < 8; ++c) sums[c] += *reinterpret_cast<const Wide*>(data + i + c * 16);
  for (int c = 1; c < 8; ++c) sums[0] += sums[c];
  return sums[0][0];
}

float read_plain(const float* data, std::size_t count) {
  Narrow sums[8] = {};
  for (std::size_t i = 0; i < count; i += 32)
#pragma GCC unroll 8
    for (std::size_t c = 0; c < 8; ++c) sums[c] += *reinterpret_cast<const Narrow*>(data + i + c * 4);
  for (int c = 1; c < 8; ++c) sums[0] += sums[c];
  return sums[0][0];
}

}  // namespace

std::string machine_name() {
  std::ifstream in("/proc/cpuinfo");
  std::string name = "unknown";
  for (std::string line; std::getline(in, line);)
    if (line.rfind("model name", 0) == 0) {
      name = line.substr(std::min(line.size(), line.find(':') + 2));
      break;
    }
  return fmt::format("{}, {} processors", name, std::thread::hardware_concurrency());
}

Peak measure_peak() {
  Peak p;
  if (__builtin_cpu_supports("avx512f"))
    p.f32 = best_rate(chains_avx512, 2.0 * 16 * kChains);
  else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    p.f32 = best_rate(chains_avx2, 2.0 * 8 * kNarrowChains);
  if (__builtin_cpu_supports("avx512bf16")) p.bf16 = best_rate(chains_bf16, 2.0 * 32 * kChains);
  return p;
}

float read_all(const float* data, std::size_t bytes) {
  return __builtin_cpu_supports("avx512f") ? read_avx512(data, bytes / sizeof(float)) : read_plain(data, bytes / sizeof(float));
}

}  // namespace tessera::bench
