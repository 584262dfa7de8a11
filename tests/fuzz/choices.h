// Where a generator's decisions come from: the fuzzer's bytes, or a seed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace tessera::fuzz {

class Choices {
 public:
  explicit Choices(std::uint64_t seed) : random_(seed), seeded_(true) {}
  /// Bytes that run out go on as zeros, for which generators take their simplest way.
  Choices(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}

  /// 0 .. n-1; 0 is the simplest.
  std::size_t below(std::size_t n) {
    if (n <= 1) return 0;
    if (seeded_) return static_cast<std::size_t>(random_() % n);
    std::size_t v = 0;
    for (std::size_t range = n - 1; range; range >>= 8) v = v << 8 | (at_ < size_ ? data_[at_++] : 0);
    return v % n;
  }
  /// True about `percent` times in a hundred.
  bool chance(int percent) { return below(100) >= static_cast<std::size_t>(100 - percent); }
  template <class T>
  const T& of(const std::vector<T>& list) {
    return list[below(list.size())];
  }
  std::string of(std::initializer_list<const char*> list) { return *(list.begin() + below(list.size())); }

 private:
  std::mt19937_64 random_;
  bool seeded_ = false;
  const std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0, at_ = 0;
};

}  // namespace tessera::fuzz
