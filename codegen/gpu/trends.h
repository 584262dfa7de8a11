// How scalars grow along a grid axis.
#pragma once

#include <cstdint>
#include <functional>
#include <map>

#include "dsl/ir.h"

namespace tessera::gpu {

enum class Trend : std::uint8_t { None, Up, Down, Unknown };  ///< None: does not depend on it; Up and Down: does not fall, does not rise

Trend flip(Trend t);
Trend both(Trend a, Trend b);

/// The trends of idx scalars along one value, `of`.
class Trends {
 public:
  /// Says of an idx scalar that it is at least 0, for certain.
  using Proof = std::function<bool(const ir::Value*)>;

  /// Without a proof factors and divisors are taken to be at least 0, and what scalars have by views is left out: a guess, good enough for an order.
  /// With one what is said is certain, idx arithmetic being taken not to overflow.
  explicit Trends(const ir::Value* of, Proof nonnegative = nullptr) : of_(of), nonnegative_(std::move(nonnegative)) {}

  Trend trend(const ir::Value* v);

 private:
  Trend compute(const ir::Op& op);
  bool depends(const ir::Value* v);

  const ir::Value* of_;
  Proof nonnegative_;
  std::map<const ir::Value*, Trend> known_;
  std::map<const ir::Value*, bool> depends_;
};

}  // namespace tessera::gpu
