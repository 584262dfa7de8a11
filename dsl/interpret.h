// The reference interpreter: the semantics of Tile IR. Slow and obvious on purpose; every back end is compared with it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "dsl/frame.h"
#include "dsl/ir.h"

namespace tessera {

struct InterpretOptions {
  /// false: each op rounds to its dtype once; products and reductions sum in float64 and round at the end, whatever their `prec`.
  /// true (`interp:exact`): floats stay float64 within the kernel; only loads, stores and bitcasts convert. What is not rounding stays: `saturate`
  /// clamps, and a cast to e8m0 gives a power of two.
  bool exact = false;
  /// Fill elements that are unspecified (invalid elements of loads) with NaN and out-of-the-way integers, so that a use shows.
  bool poison = true;
  std::function<void(const std::string&)> print;  ///< receives `print` lines; null: stderr
  std::int64_t max_steps = 0;                     ///< ops executed before giving up; 0 = unbounded
};

/// What went wrong while running: an `assert`, a `claim` found false, a range beyond its axis, the step limit. Text names the source op.
class InterpretError : public std::runtime_error {
 public:
  InterpretError(Span span, const std::string& what) : std::runtime_error(what), span(span) {}
  Span span;
};

/// Runs all grid instances in order, in one thread, on the memory named in `frame` (see frame.h).
void interpret(const ir::Kernel& kernel, const std::vector<std::uint64_t>& frame, const InterpretOptions& options = {});

}  // namespace tessera
