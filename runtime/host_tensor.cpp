#include "runtime/host_tensor.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "dsl/dtype.h"
#include "runtime/errors.h"

namespace tessera {

void HostTensor::Free::operator()(std::byte* p) const { ::operator delete(p, std::align_val_t{64}); }

HostTensor::HostTensor(ElementType dtype, std::vector<std::int64_t> extents) : dtype_(dtype), extents_(std::move(extents)) {
  std::int64_t n = 1;
  bool empty = false;
  for (std::int64_t e : extents_) empty |= e == 0;
  for (std::int64_t e : extents_) {
    if (!empty && __builtin_mul_overflow(n, e, &n)) fail(Code::E0802, "a tensor has more than 2^63 elements");
  }
  elements_ = empty ? 0 : n;
  if (elements_ > INT64_MAX / 16) throw std::bad_alloc();
  bytes_ = static_cast<std::size_t>((elements_ * bits(dtype_) + 7) / 8);
  memory_.reset(static_cast<std::byte*>(::operator new(std::max<std::size_t>(bytes_, 1), std::align_val_t{64})));
  if (bytes_ > 0) std::memset(memory_.get(), 0, bytes_);
}

Tensor HostTensor::tensor() const { return Tensor(static_cast<void*>(memory_.get()), dtype_, extents_); }

HostTensor HostTensor::copy() const {
  HostTensor out(dtype_, extents_);
  if (bytes_ > 0) std::memcpy(out.memory_.get(), memory_.get(), bytes_);
  return out;
}

void HostTensor::fill_random(std::mt19937_64& random, std::int64_t bound) {
  const auto d = static_cast<DType>(dtype_);
  std::uniform_real_distribution<double> real(-1, 1);
  std::byte* at = memory_.get();
  const int width = bits(dtype_);
  // Large tensors repeat a block whose length divides no extent, so that no row meets itself.
  const std::int64_t block = 1048583 * 2;
  for (std::int64_t i = 0; i < std::min(elements_, block); ++i) {
    std::uint64_t raw = 0;
    if (is_bool(d)) {
      raw = random() & 1;
    } else if (is_float(d)) {
      raw = encode_float(d, d == DType::E8M0 ? std::exp2(std::floor(4 * real(random))) : real(random));
    } else {
      raw = encode_int(
          d, static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(std::max<std::int64_t>(1, bound))) & (width < 8 ? 7 : INT64_MAX));
    }
    if (width < 8) {
      at[i / 2] |= static_cast<std::byte>((raw & 0xf) << (i % 2 * 4));
    } else {
      std::memcpy(at + i * (width / 8), &raw, static_cast<std::size_t>(width / 8));
    }
  }
  const std::size_t period = static_cast<std::size_t>(block) * static_cast<std::size_t>(width) / 8;
  for (std::size_t done = period; done < bytes_;) {
    const std::size_t n = std::min(done, bytes_ - done) / period * period;
    const std::size_t step = n > 0 ? n : bytes_ - done;
    std::memcpy(at + done, at, step);
    done += step;
  }
}

}  // namespace tessera
