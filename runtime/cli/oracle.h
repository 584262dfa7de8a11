// What the results of tuned candidates are compared with before one may win.
#pragma once

#include <optional>
#include <string>

#include "runtime/cli/invocation.h"
#include "runtime/cli/results.h"

namespace tessera::cli {

/// The interpreter (for the CPU) or the CPU (for GPUs) at the largest shape that it computes in about a second, found by halving the launch
/// symbols; and at the full shape, which that seldom is, the first candidate that was right at the smaller one.
class Oracle {
 public:
  /// Makes and runs the smaller launch. Where there is none (data-dependent loops, inputs from a file, a `where` that no smaller shape fulfils), only
  /// the comparison at the full shape remains. Throws Error, MachineError.
  Oracle(const InvocationOptions& candidate, Report& report);

  /// Empty if the results of this candidate are right, else what is wrong. `full` has not been launched yet.
  std::string objection(const InvocationOptions& candidate, Invocation& full, Report& report);
  /// "the interpreter at M=64, N=64, and the first candidate"
  std::string description() const;

 private:
  bool try_shape(InvocationOptions options, Report& report);
  std::string objection_at_small(const InvocationOptions& candidate, Report& report) const;

  std::string target_;
  std::optional<SymbolValues> small_;
  bool small_is_full_ = false;
  Tolerance tolerance_;
  Results at_small_, at_full_;
};

}  // namespace tessera::cli
