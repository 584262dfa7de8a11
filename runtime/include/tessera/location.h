// Where memory lies.
#pragma once

#include <cstdint>

namespace tessera {

/// What a caller says of the memory that a view names. Unstated memory is asked after where that is possible: a launch on a GPU refuses memory that
/// its driver does not know. Memory that host and device both reach (pinned, managed) is best left unstated.
struct Location {
  enum class Kind : std::uint8_t { Unstated, Host, Cuda };
  Kind kind = Kind::Unstated;
  int device = 0;  ///< the GPU's number, if Cuda

  static constexpr Location host() { return {Kind::Host, 0}; }
  static constexpr Location cuda(int device) { return {Kind::Cuda, device}; }
  friend constexpr bool operator==(const Location&, const Location&) = default;
};

}  // namespace tessera
