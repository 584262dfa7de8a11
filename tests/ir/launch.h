// Test support: host buffers of any dtype, and launch frames filled from them by parameter name.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "dsl/dtype.h"
#include "dsl/frame.h"
#include "dsl/ir.h"

namespace tessera::test {

/// A dense row-major array in storage form, as a kernel sees it.
struct Buffer {
  DType dtype = DType::F32;
  ir::Dims dims;
  std::vector<unsigned char> bytes;

  Buffer() = default;
  Buffer(DType t, ir::Dims d) : dtype(t), dims(std::move(d)) {
    bytes.resize((static_cast<std::size_t>(size()) * static_cast<std::size_t>(bits(t)) + 7) / 8 + 8);
  }

  std::int64_t size() const {
    std::int64_t n = 1;
    for (const std::int64_t d : dims) n *= d;
    return n;
  }
  std::uint64_t raw(std::int64_t at) const {
    const int n = bits(dtype);
    if (n < 8) return (bytes[static_cast<std::size_t>(at / 2)] >> (at % 2 * 4)) & 0xf;
    std::uint64_t v = 0;
    for (int b = n / 8; b-- > 0;) v = v << 8 | bytes[static_cast<std::size_t>(at * (n / 8) + b)];
    return v;
  }
  void set_raw(std::int64_t at, std::uint64_t v) {
    const int n = bits(dtype);
    if (n < 8) {
      unsigned char& byte = bytes[static_cast<std::size_t>(at / 2)];
      const int shift = static_cast<int>(at % 2) * 4;
      byte = static_cast<unsigned char>((byte & ~(0xf << shift)) | static_cast<int>(v & 0xf) << shift);
      return;
    }
    for (int b = 0; b < n / 8; ++b) bytes[static_cast<std::size_t>(at * (n / 8) + b)] = static_cast<unsigned char>(v >> (8 * b));
  }
  /// Floats as they are, integers converted.
  double get(std::int64_t at) const { return is_float(dtype) ? decode_float(dtype, raw(at)) : static_cast<double>(decode_int(dtype, raw(at))); }
  std::int64_t get_int(std::int64_t at) const { return decode_int(dtype, raw(at)); }
  void set(std::int64_t at, double v) { set_raw(at, is_float(dtype) ? encode_float(dtype, v) : encode_int(dtype, static_cast<std::int64_t>(v))); }
  void set_int(std::int64_t at, std::int64_t v) { set_raw(at, encode_int(dtype, v)); }

  Buffer& fill(double v) {
    for (std::int64_t k = 0; k < size(); ++k) set(k, v);
    return *this;
  }
  /// Normal random values, the same for the same seed.
  Buffer& fill_random(unsigned seed, double scale = 1) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal(0, scale);
    for (std::int64_t k = 0; k < size(); ++k) set(k, normal(random));
    return *this;
  }
  /// Small integers -range .. range: sums of their products are exact in f32.
  Buffer& fill_integers(unsigned seed, int range) {
    std::mt19937 random(seed);
    for (std::int64_t k = 0; k < size(); ++k) set(k, static_cast<int>(random() % static_cast<unsigned>(2 * range + 1)) - range);
    return *this;
  }
};

inline Buffer floats(DType t, ir::Dims dims, const std::vector<double>& values) {
  Buffer b(t, std::move(dims));
  for (std::size_t k = 0; k < values.size(); ++k) b.set(static_cast<std::int64_t>(k), values[k]);
  return b;
}
inline Buffer ints(DType t, ir::Dims dims, const std::vector<std::int64_t>& values) {
  Buffer b(t, std::move(dims));
  for (std::size_t k = 0; k < values.size(); ++k) b.set_int(static_cast<std::int64_t>(k), values[k]);
  return b;
}

inline ir::Dims row_major(const ir::Dims& dims) {
  ir::Dims strides(dims.size(), 1);
  for (std::size_t d = dims.size(); d-- > 1;) strides[d - 1] = strides[d] * dims[d];
  return strides;
}

/// Fills a launch frame by parameter name; symbols that are a whole dim of a bound view are bound by it, others by `symbol`.
class Launch {
 public:
  explicit Launch(const ir::Kernel& kernel) : kernel_(kernel), layout_(frame_layout(kernel)), frame_(layout_.words, 0) {}

  Launch& view(const std::string& name, void* base, const ir::Dims& extents, const ir::Dims& strides) {
    const std::size_t p = param(name);
    const FrameSlot& slot = layout_.params[p];
    frame_.at(slot.base) = reinterpret_cast<std::uint64_t>(base);
    for (std::size_t a = 0; a < extents.size(); ++a) {
      frame_.at(slot.extents + a) = static_cast<std::uint64_t>(extents[a]);
      frame_.at(slot.strides + a) = static_cast<std::uint64_t>(strides.at(a));
      if (const auto s = kernel_.params[p].dims.at(a).as_symbol()) symbol(*s, extents[a]);
    }
    return *this;
  }
  Launch& view(const std::string& name, Buffer& b) { return view(name, b.bytes.data(), b.dims, row_major(b.dims)); }
  /// The memory of one rank of a `peer` view; extents and strides come from `view`.
  Launch& peer(const std::string& name, std::size_t rank, void* base) {
    frame_.at(layout_.params[param(name)].base + rank) = reinterpret_cast<std::uint64_t>(base);
    return *this;
  }
  Launch& scalar(const std::string& name, double v) {
    const std::size_t p = param(name);
    const DType t = kernel_.params[p].dtype;
    frame_.at(layout_.params[p].base) = is_float(t) ? encode_float(t, v) : encode_int(t, static_cast<std::int64_t>(v));
    return *this;
  }
  Launch& symbol(const std::string& name, std::int64_t v) {
    const auto at = std::find(kernel_.symbols.begin(), kernel_.symbols.end(), name);
    if (at == kernel_.symbols.end()) throw std::runtime_error("no symbol " + name);
    frame_.at(layout_.symbols.at(static_cast<std::size_t>(at - kernel_.symbols.begin()))) = static_cast<std::uint64_t>(v);
    return *this;
  }
  const std::vector<std::uint64_t>& frame() const { return frame_; }

 private:
  std::size_t param(const std::string& name) const {
    for (std::size_t p = 0; p < kernel_.params.size(); ++p) {
      if (kernel_.params[p].name == name) return p;
    }
    throw std::runtime_error("no parameter " + name);
  }

  const ir::Kernel& kernel_;
  FrameLayout layout_;
  std::vector<std::uint64_t> frame_;
};

}  // namespace tessera::test
