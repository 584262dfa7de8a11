#include "tests/bench/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <thread>

#include "tests/bench/measure.h"

namespace tessera::bench {

namespace {

// Vectors as the compiler's own type, and the loops of the peaks as assembly: exactly these instructions, whatever the optimisation level.
using Wide [[gnu::vector_size(64)]] = float;
using Narrow [[gnu::vector_size(16)]] = float;

constexpr int kChains = 24;        // more than latency times throughput of any core, fewer than the registers
constexpr int kNarrowChains = 12;  // 16 registers
constexpr long kRounds = 1'000'000;

#define CHAINS_12(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11)
#define CHAINS_24(F) CHAINS_12(F) F(12) F(13) F(14) F(15) F(16) F(17) F(18) F(19) F(20) F(21) F(22) F(23)
#define ZERO_WIDE(n) "vpxord %%zmm" #n ", %%zmm" #n ", %%zmm" #n "\n\t"
#define ZERO_HALF(n) "vxorps %%ymm" #n ", %%ymm" #n ", %%ymm" #n "\n\t"
#define STEP_WIDE(n) "vfmadd231ps %%zmm24, %%zmm25, %%zmm" #n "\n\t"
#define STEP_BF16(n) "vdpbf16ps %%zmm24, %%zmm25, %%zmm" #n "\n\t"
#define STEP_HALF(n) "vfmadd231ps %%ymm12, %%ymm13, %%ymm" #n "\n\t"
#define CLOBBERS_16 \
  "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"
#define CLOBBERS_26 CLOBBERS_16, "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25"

constexpr float kFactor = 0.999f, kOther = 1e-3f;

__attribute__((target("avx512f"))) void chains_avx512(long rounds) {
  asm volatile(CHAINS_24(ZERO_WIDE) "vbroadcastss %1, %%zmm24\n\tvbroadcastss %2, %%zmm25\n1:\n\t" CHAINS_24(STEP_WIDE) "dec %0\n\tjnz 1b"
               : "+r"(rounds)
               : "m"(kFactor), "m"(kOther)
               : CLOBBERS_26);
}

__attribute__((target("avx512f,avx512bf16"))) void chains_bf16(long rounds) {
  asm volatile(CHAINS_24(ZERO_WIDE) "vbroadcastss %1, %%zmm24\n\tvbroadcastss %2, %%zmm25\n1:\n\t" CHAINS_24(STEP_BF16) "dec %0\n\tjnz 1b"
               : "+r"(rounds)
               : "m"(kFactor), "m"(kOther)
               : CLOBBERS_26);
}

__attribute__((target("avx2,fma"))) void chains_avx2(long rounds) {
  asm volatile(CHAINS_12(ZERO_HALF) "vbroadcastss %1, %%ymm12\n\tvbroadcastss %2, %%ymm13\n1:\n\t" CHAINS_12(STEP_HALF) "dec %0\n\tjnz 1b"
               : "+r"(rounds)
               : "m"(kFactor), "m"(kOther)
               : CLOBBERS_16);
}

double best_rate(void (*f)(long), double flops_a_round) {
  const auto t = time_in_turns({[&] { f(kRounds); }}, 5);
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
