// One argument of an untyped launch.
#pragma once

#include <bit>
#include <cstring>
#include <optional>
#include <variant>

#include "tessera/view.h"

namespace tessera {

/// A scalar with its type. Integers fit any integer parameter that can hold them; floats and bools only their own type.
struct Scalar {
  ElementType dtype = ElementType::F32;
  std::uint64_t bits = 0;  ///< of the value, in the low bytes; integers sign- or zero-extended
  std::string_view nominal = {};
};

/// A tensor and what the caller lets the kernel do with it, a scalar, or an absent optional view. Thread safety: a value.
class Argument {
 public:
  Argument(Absent) {}          // NOLINT: arguments convert
  Argument(std::nullopt_t) {}  // NOLINT
  /// The kernel may do what its parameter says; a read-only tensor cannot be written.
  Argument(const Tensor& t, Access access = Access::Any) : value_(t), access_(access) {}  // NOLINT
  template <class T, int R>
  Argument(const View<T, R>& v) : value_(std::in_place_type<Tensor>, v) {}  // NOLINT
  template <ViewArgument T>
  Argument(const T& wrapped) : value_(std::in_place_type<Tensor>, wrapped.view), access_(T::access) {}  // NOLINT
  template <class T>
  Argument(const std::optional<T>& o) : Argument(o ? Argument(*o) : Argument(Absent{})) {}  // NOLINT
  Argument(const Scalar& s) : value_(s) {}                                                  // NOLINT
  template <class T>
    requires(ElementLike<T> && !ViewArgument<T>)
  Argument(const T& x) : value_(scalar(x)) {}  // NOLINT

  bool is_absent() const { return std::holds_alternative<std::monostate>(value_); }
  const Tensor* tensor() const { return std::get_if<Tensor>(&value_); }
  const Scalar* scalar() const { return std::get_if<Scalar>(&value_); }
  Access access() const { return access_; }

 private:
  template <class T>
  static Scalar scalar(const T& x) {
    Scalar s{.dtype = Element<T>::type, .nominal = Element<T>::nominal};
    if constexpr (std::is_integral_v<T>) {
      s.bits = static_cast<std::uint64_t>(static_cast<std::int64_t>(x));
    } else {
      static_assert(sizeof(T) <= sizeof(s.bits) && std::is_trivially_copyable_v<T>);
      std::memcpy(&s.bits, &x, sizeof(T));
    }
    return s;
  }

  std::variant<std::monostate, Tensor, Scalar> value_;
  Access access_ = Access::Any;
};

}  // namespace tessera
