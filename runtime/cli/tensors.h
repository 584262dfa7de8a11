// Tensors that a command owns: read from files, made for outputs, filled at random.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "runtime/safetensors.h"
#include "tessera/module.h"

namespace tessera::cli {

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

/// The shape that a file's tensor has as this parameter: sub-byte elements lie packed in U8, so their last extent counts double. Throws Error: E0702
/// element type, E0703 rank.
std::vector<std::int64_t> shape_as(const TensorEntry& entry, const Parameter& parameter);
/// Reads it. Throws as shape_as, and MachineError.
HostTensor load_as(const SafetensorsFile& file, const TensorEntry& entry, const Parameter& parameter);
/// What to write for it; sub-byte elements as U8.
TensorData to_file(const std::string& name, const HostTensor& t);

}  // namespace tessera::cli
