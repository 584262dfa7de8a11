// A tensor that its holder owns: made for outputs, filled at random, kept to compare with.
#pragma once

#include <cstddef>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "tessera/view.h"

namespace tessera {

/// Zeroed memory at a multiple of 64 bytes, compact and row-major.
class HostTensor {
 public:
  HostTensor() = default;
  /// Throws std::bad_alloc, or Error (E0802) if the size overflows.
  HostTensor(ElementType dtype, std::vector<std::int64_t> extents);

  ElementType dtype() const { return dtype_; }
  const std::vector<std::int64_t>& extents() const { return extents_; }
  std::int64_t elements() const { return elements_; }
  std::span<std::byte> bytes() const { return {memory_.get(), bytes_}; }
  Tensor tensor() const;
  HostTensor copy() const;
  /// Floats uniform in [-1, 1], bools even odds, integers uniform in [0, bound).
  void fill_random(std::mt19937_64& random, std::int64_t bound);

 private:
  struct Free {
    void operator()(std::byte* p) const;
  };
  ElementType dtype_ = ElementType::F32;
  std::vector<std::int64_t> extents_;
  std::int64_t elements_ = 0;
  std::size_t bytes_ = 0;
  std::unique_ptr<std::byte, Free> memory_;
};

}  // namespace tessera
