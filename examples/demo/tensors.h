// The captured tensors: a safetensors file of f16 tensors and the word pieces beside it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "tessera/tessera.h"

namespace demo {

using Shape = std::array<std::int64_t, 4>;

/// A compact tensor of rank 4 that owns its memory.
template <class T>
struct Owned {
  Shape shape{};
  std::vector<T> data;

  Owned() = default;
  explicit Owned(const Shape& s) : shape(s), data(static_cast<std::size_t>(s[0] * s[1] * s[2] * s[3])) {}
  tessera::View<T, 4> view() { return {std::span<T>(data), shape}; }
  tessera::View<const T, 4> view() const { return {std::span<const T>(data), shape}; }
};

/// Reads the tensor `name` ("F16" for f16, "F32" for float) of rank 4. Throws std::runtime_error if the file, the tensor or its type is not as
/// wanted.
template <class T>
Owned<T> read_tensor(const std::string& path, const std::string& name);
extern template Owned<tessera::f16> read_tensor(const std::string&, const std::string&);
extern template Owned<float> read_tensor(const std::string&, const std::string&);

/// The lines of a file. Throws std::runtime_error if it cannot be read.
std::vector<std::string> read_lines(const std::string& path);
/// The whole file. Throws std::runtime_error if it cannot be read.
std::string read_text(const std::string& path);

}  // namespace demo
