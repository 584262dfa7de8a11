// Philox4x32-10 (Salmon et al., SC 2011), for what std.random promises.
#pragma once

#include <array>
#include <cstdint>

namespace tessera::test {

using Words = std::array<std::uint32_t, 4>;

inline Words philox(Words c, std::uint64_t seed) {
  auto k0 = static_cast<std::uint32_t>(seed);
  auto k1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53} * c[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57} * c[2];
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(p1), static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k1,
         static_cast<std::uint32_t>(p0)};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return c;
}

/// 24 bits as a float in (0, 1).
inline float unit(std::uint32_t bits) { return (static_cast<float>(bits >> 8) + 0.5F) * 0x1p-24F; }

/// std.random's uniform(seed, stream, counter).
inline float uniform(std::uint64_t seed, std::int64_t stream, std::uint64_t counter) {
  return unit(
      philox({static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), static_cast<std::uint32_t>(stream), 0}, seed)[0]);
}

/// std.random's uniform4: the number of a (batch, head, query, key).
inline float uniform4(std::uint64_t seed, int b, int h, int q, int k) {
  return unit(
      philox({static_cast<std::uint32_t>(k), static_cast<std::uint32_t>(q), static_cast<std::uint32_t>(h), static_cast<std::uint32_t>(b)}, seed)[0]);
}

}  // namespace tessera::test
