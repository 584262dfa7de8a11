// What a launch writes down: a vector that lies where it is declared as long as it is short, so that a launch allocates nothing.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>

namespace tessera {

/// Up to N elements in place, more on the heap. Elements begin as T{}.
template <class T, std::size_t N>
  requires std::is_trivially_copyable_v<T>
class InlineVector {
 public:
  InlineVector() = default;
  explicit InlineVector(std::size_t n) { assign_zero(n); }
  InlineVector(InlineVector&& o) noexcept : size_(o.size_), capacity_(o.capacity_), heap_(std::move(o.heap_)) {
    if (!heap_) std::copy_n(o.inside_.data(), size_, inside_.data());
    o.size_ = 0;
    o.capacity_ = N;
  }
  InlineVector& operator=(InlineVector&&) = delete;

  void assign_zero(std::size_t n) {
    size_ = 0;
    reserve(n);
    std::fill_n(data(), n, T{});
    size_ = n;
  }
  void push_back(const T& x) {
    const T copy = x;
    if (size_ == capacity_) reserve(2 * capacity_);
    data()[size_++] = copy;
  }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* data() { return heap_ ? heap_.get() : inside_.data(); }
  const T* data() const { return heap_ ? heap_.get() : inside_.data(); }
  T& operator[](std::size_t i) { return data()[i]; }
  const T& operator[](std::size_t i) const { return data()[i]; }
  T* begin() { return data(); }
  T* end() { return data() + size_; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size_; }
  operator std::span<T>() { return {data(), size_}; }              // NOLINT: as std::vector
  operator std::span<const T>() const { return {data(), size_}; }  // NOLINT

 private:
  void reserve(std::size_t n) {
    if (n <= capacity_) return;
    auto more = std::make_unique<T[]>(n);
    std::copy_n(data(), size_, more.get());
    heap_ = std::move(more);
    capacity_ = n;
  }

  std::size_t size_ = 0;
  std::size_t capacity_ = N;
  std::unique_ptr<T[]> heap_;
  std::array<T, N> inside_;
};

}  // namespace tessera
