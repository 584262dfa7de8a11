// The machine that CPU code is made for.
#pragma once

#include <string>

namespace tessera {

/// LLVM's names of a CPU target. The same triple, cpu and features give the same object, so the three belong in a cache key.
struct CpuTarget {
  std::string triple;
  std::string cpu;       ///< "znver4", "generic"
  std::string features;  ///< "+avx2,+fma,.."; empty: what `cpu` implies

  /// The machine that runs this.
  static CpuTarget host();
  /// x86-64 of a microarchitecture level: "x86-64", "x86-64-v3" (AVX2 and FMA), "x86-64-v4" (AVX-512).
  static CpuTarget x86(const std::string& cpu);
  static CpuTarget aarch64();

  std::string key() const { return triple + "/" + cpu + "/" + features; }
};

}  // namespace tessera
