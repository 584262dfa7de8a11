// Tensors as a launch sees them: a pointer, extents and strides in elements. Views own nothing; the memory must outlive the launch.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

#include "tessera/dtype.h"
#include "tessera/export.h"
#include "tessera/location.h"

namespace tessera {

/// Axes a view may have.
inline constexpr int max_rank = 8;

namespace detail {
/// Throws Error E0704: the span holds fewer elements than the extents need, or an extent is negative or the product overflows.
TESSERA_API void check_span(std::size_t elements, const std::int64_t* extents, int rank, int bits);
}  // namespace detail

/// `R` axes of elements `T` (const T for views that are only read). Thread safety: a value; as safe as the memory it names.
template <class T, int R>
  requires ElementLike<std::remove_const_t<T>> && (R >= 0 && R <= max_rank)
class View {
 public:
  using Plain = typename Element<std::remove_const_t<T>>::Storage;
  using Storage = std::conditional_t<std::is_const_v<T>, const Plain, Plain>;
  using Extents = std::array<std::int64_t, static_cast<std::size_t>(R)>;

  constexpr View() = default;
  /// Compact, row-major memory.
  constexpr View(Storage* data, Extents extents) : data_(data), extents_(extents) {
    std::int64_t stride = 1;
    for (int i = R - 1; i >= 0; --i) {
      strides_[static_cast<std::size_t>(i)] = stride;
      stride *= extents_[static_cast<std::size_t>(i)] > 0 ? extents_[static_cast<std::size_t>(i)] : 1;
    }
  }
  /// Strides count elements, also for sub-byte types.
  constexpr View(Storage* data, Extents extents, Extents strides) : data_(data), extents_(extents), strides_(strides) {}
  /// Compact memory of known size. Throws Error (E0704) if the span is too short for the extents.
  View(std::span<Storage> memory, Extents extents) : View(memory.data(), checked(memory.size(), extents)) {}
  /// A view that may be written may also be read.
  constexpr operator View<const T, R>() const  // NOLINT: lossless, so implicit
    requires(!std::is_const_v<T>)
  {
    return View<const T, R>(data_, extents_, strides_).at(location_);
  }
  /// The same view, said to lie there: a launch elsewhere refuses it.
  constexpr View at(Location location) const {
    View v = *this;
    v.location_ = location;
    return v;
  }

  constexpr Location location() const { return location_; }
  constexpr Storage* data() const { return data_; }
  constexpr const Extents& extents() const { return extents_; }
  constexpr const Extents& strides() const { return strides_; }
  constexpr std::int64_t extent(int axis) const { return extents_[static_cast<std::size_t>(axis)]; }
  /// Product of the extents.
  constexpr std::int64_t elements() const {
    std::int64_t n = 1;
    for (std::int64_t e : extents_) n *= e;
    return n;
  }
  /// The element at these indices; unchecked. Not for sub-byte types.
  template <class... I>
    requires(sizeof...(I) == static_cast<std::size_t>(R))
  constexpr Storage& operator()(I... i) const {
    const std::array<std::int64_t, static_cast<std::size_t>(R)> index{static_cast<std::int64_t>(i)...};
    std::int64_t at = 0;
    for (std::size_t axis = 0; axis < index.size(); ++axis) at += index[axis] * strides_[axis];
    return data_[at];
  }

 private:
  static Extents checked(std::size_t elements, Extents extents) {
    detail::check_span(elements, extents.data(), R, bits(Element<std::remove_const_t<T>>::type));
    return extents;
  }

  Storage* data_ = nullptr;
  Extents extents_{};
  Extents strides_{};
  Location location_;
};

/// What a kernel may do with a view. `Any` is an argument whose caller made no statement.
enum class Access : std::uint8_t { In, Out, InOut, Scatter, Add, Any };

/// A view whose element type and rank are known at run time only. Thread safety: a value.
struct Tensor {
  void* data = nullptr;
  ElementType dtype = ElementType::F32;
  int rank = 0;
  bool read_only = false;  ///< a launch that would write it is refused
  std::array<std::int64_t, max_rank> extents{};
  std::array<std::int64_t, max_rank> strides{};  ///< in elements
  /// The nominal type the caller gave its elements; empty = none stated, which fits any.
  std::string_view nominal = {};
  Location location = {};

  Tensor() = default;
  /// Compact, row-major. Throws Error (E0703) if there are more than max_rank extents.
  TESSERA_API Tensor(void* data, ElementType dtype, std::span<const std::int64_t> extents);
  TESSERA_API Tensor(const void* data, ElementType dtype, std::span<const std::int64_t> extents);
  template <class T, int R>
  Tensor(const View<T, R>& v)  // NOLINT: every view is a tensor
      : data(const_cast<void*>(static_cast<const void*>(v.data()))),
        dtype(Element<std::remove_const_t<T>>::type),
        rank(R),
        read_only(std::is_const_v<T>),
        nominal(Element<std::remove_const_t<T>>::nominal),
        location(v.location()) {
    for (std::size_t i = 0; i < static_cast<std::size_t>(R); ++i) {
      extents[i] = v.extents()[i];
      strides[i] = v.strides()[i];
    }
  }
  /// Product of the extents.
  std::int64_t elements() const {
    std::int64_t n = 1;
    for (int i = 0; i < rank; ++i) n *= extents[static_cast<std::size_t>(i)];
    return n;
  }
};

namespace detail {
template <class T, int R, Access A>
struct Wrapped {
  using Type = std::conditional_t<A == Access::In, const T, T>;
  static constexpr Access access = A;
  static constexpr int rank = R;
  using element = T;
  View<Type, R> view;
};
}  // namespace detail

// The modes of view parameters, as types of a signature and of arguments: `Kernel<In<bf16, 4>, Out<bf16, 4>, float>`.
/// Only read.
template <class T, int R>
struct In : detail::Wrapped<T, R, Access::In> {
  In() = default;
  In(View<const T, R> v) : detail::Wrapped<T, R, Access::In>{v} {}  // NOLINT: an argument is a view
  In(View<T, R> v) : detail::Wrapped<T, R, Access::In>{v} {}        // NOLINT
};
/// Stored whole by the kernel; its old contents do not matter.
template <class T, int R>
struct Out : detail::Wrapped<T, R, Access::Out> {
  Out() = default;
  Out(View<T, R> v) : detail::Wrapped<T, R, Access::Out>{v} {}  // NOLINT
};
/// Read and written.
template <class T, int R>
struct InOut : detail::Wrapped<T, R, Access::InOut> {
  InOut() = default;
  InOut(View<T, R> v) : detail::Wrapped<T, R, Access::InOut>{v} {}  // NOLINT
};
/// Written in part; the rest keeps its old contents.
template <class T, int R>
struct Scatter : detail::Wrapped<T, R, Access::Scatter> {
  Scatter() = default;
  Scatter(View<T, R> v) : detail::Wrapped<T, R, Access::Scatter>{v} {}  // NOLINT
};
/// Added to.
template <class T, int R>
struct Add : detail::Wrapped<T, R, Access::Add> {
  Add() = default;
  Add(View<T, R> v) : detail::Wrapped<T, R, Access::Add>{v} {}  // NOLINT
};

/// Stands for an optional view that is not given, in signatures and in calls.
struct Absent {};
inline constexpr Absent absent{};

template <class T>
concept ViewArgument = requires {
  T::access;
  T::rank;
  typename T::element;
};

}  // namespace tessera
