#include "tests/bench/machine.h"

#include <fmt/format.h>
#include <immintrin.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "tests/bench/measure.h"

namespace tessera::bench {

namespace {

constexpr int kChains = 24;  // more than latency times throughput of any core, fewer than the registers
constexpr long kRounds = 1'000'000;

__attribute__((target("avx512f"))) float chains_avx512(long rounds) {
  const __m512 x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(1e-3f);
  __m512 sums[kChains];
  for (auto& s : sums) s = _mm512_setzero_ps();
  for (long i = 0; i < rounds; ++i) {
#pragma GCC unroll 24
    for (int c = 0; c < kChains; ++c) {
      sums[c] = _mm512_fmadd_ps(x, y, sums[c]);
      // Keeps the compiler from folding the chain: every step depends on a register it knows nothing of.
      asm volatile("" : "+v"(sums[c]));
    }
  }
  for (int c = 1; c < kChains; ++c) sums[0] = _mm512_add_ps(sums[0], sums[c]);
  return _mm512_reduce_add_ps(sums[0]);
}

__attribute__((target("avx512f,avx512bf16"))) float chains_bf16(long rounds) {
  const __m512bh x = (__m512bh)_mm512_set1_epi32(0x3f803f80);
  __m512 sums[kChains];
  for (auto& s : sums) s = _mm512_setzero_ps();
  for (long i = 0; i < rounds; ++i) {
#pragma GCC unroll 24
    for (int c = 0; c < kChains; ++c) {
      sums[c] = _mm512_dpbf16_ps(sums[c], x, x);
      asm volatile("" : "+v"(sums[c]));
    }
  }
  for (int c = 1; c < kChains; ++c) sums[0] = _mm512_add_ps(sums[0], sums[c]);
  return _mm512_reduce_add_ps(sums[0]);
}

constexpr int kNarrowChains = 12;  // 16 registers

__attribute__((target("avx2,fma"))) float chains_avx2(long rounds) {
  const __m256 x = _mm256_set1_ps(0.999f), y = _mm256_set1_ps(1e-3f);
  __m256 sums[kNarrowChains];
  for (auto& s : sums) s = _mm256_setzero_ps();
  for (long i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kNarrowChains; ++c) {
      sums[c] = _mm256_fmadd_ps(x, y, sums[c]);
      asm volatile("" : "+x"(sums[c]));
    }
  }
  for (int c = 1; c < kNarrowChains; ++c) sums[0] = _mm256_add_ps(sums[0], sums[c]);
  alignas(32) float out[8];
  _mm256_store_ps(out, sums[0]);
  return out[0];
}

double best_rate(float (*f)(long), double flops_a_round) {
  volatile float sink = 0;
  const auto t = time_in_turns({[&] { sink = f(kRounds); }}, 5);
  return flops_a_round * static_cast<double>(kRounds) / t[0].best;
}

__attribute__((target("avx512f"))) float read_avx512(const float* data, std::size_t count) {
  __m512 sums[8];
  for (auto& s : sums) s = _mm512_setzero_ps();
  for (std::size_t i = 0; i < count; i += 128)
#pragma GCC unroll 8
    for (std::size_t c = 0; c < 8; ++c) sums[c] = _mm512_add_ps(sums[c], _mm512_loadu_ps(data + i + c * 16));
  for (int c = 1; c < 8; ++c) sums[0] = _mm512_add_ps(sums[0], sums[c]);
  return _mm512_reduce_add_ps(sums[0]);
}

float read_plain(const float* data, std::size_t count) {
  __m128 sums[8];
  for (auto& s : sums) s = _mm_setzero_ps();
  for (std::size_t i = 0; i < count; i += 32)
#pragma GCC unroll 8
    for (std::size_t c = 0; c < 8; ++c) sums[c] = _mm_add_ps(sums[c], _mm_loadu_ps(data + i + c * 4));
  for (int c = 1; c < 8; ++c) sums[0] = _mm_add_ps(sums[0], sums[c]);
  return _mm_cvtss_f32(sums[0]);
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
