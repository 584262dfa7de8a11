// Encoded tensor maps of a loaded kernel, so that a launch with tensors seen before asks the driver for none.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <vector>

#include "codegen/gpu/compile.h"
#include "runtime/cuda_driver.h"
#include "runtime/launch.h"

namespace tessera {

/// For each map a table of the latest encodings, found by the words of the frame that the map depends on. Thread safe; neither locks nor allocates
/// after it is made: a reader that meets a writer encodes for itself, and so does a writer that meets another.
class TensorMapCache {
 public:
  explicit TensorMapCache(const std::vector<GpuTensorMap>& maps);

  std::size_t size() const { return count_; }
  /// The m-th map of this launch. False if bulk copies cannot read the tensor, or the driver knows no tensor maps.
  bool get(const cuda::Driver& driver, std::size_t m, const Launch& launch, cuda::TensorMap& to) const;

 private:
  static constexpr std::size_t max_words = 11;  ///< a base, and an extent and a stride for each of 5 axes
  static constexpr std::size_t sets_a_map = 16, slots_a_set = 4;
  using Words = std::array<std::uint64_t, max_words>;
  /// What `map` depends on, padded with zeros.
  static Words words_of(const GpuTensorMap& map, const Launch& launch);
  static std::uint64_t hash(const Words& words);

  /// Odd while it is written; 0 as long as it is empty.
  struct alignas(64) Slot {
    std::atomic<std::uint32_t> version = 0;
    std::array<std::atomic<std::uint64_t>, max_words> key{};
    std::array<std::atomic<std::uint64_t>, 16> map{};
    bool read(const Words& words, cuda::TensorMap& to) const;
    void write(const Words& words, const cuda::TensorMap& from);
  };

  const GpuTensorMap* maps_;
  std::size_t count_;
  std::unique_ptr<Slot[]> slots_;
};

}  // namespace tessera
