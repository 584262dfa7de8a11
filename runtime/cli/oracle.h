// What the results of tuned candidates are compared with before one may win, beside those of the first candidate.
#pragma once

#include <optional>
#include <string>

#include "runtime/cli/invocation.h"
#include "runtime/tune/results.h"
#include "runtime/tune/subject.h"

namespace tessera::cli {

/// The interpreter (for the CPU) or the CPU (for GPUs) at the largest shape that it computes in a fraction of a second, found by halving the launch
/// symbols.
class Oracle {
 public:
  /// Makes and runs the smaller launch. There may be none (data-dependent loops, inputs from a file, a `where` that no smaller shape fulfils).
  /// `candidate` gives all constants. Throws Error, MachineError.
  Oracle(const InvocationOptions& candidate, Report& report);

  /// Empty if the kernel's results at the smaller shape are right, else what is wrong.
  std::string objection(const AnyKernel& kernel);
  /// "the interpreter at M=64, N=64, and the first candidate"
  std::string description() const;

 private:
  bool try_shape(InvocationOptions options, Report& report);

  std::string target_;
  std::optional<SymbolValues> small_;
  bool small_is_full_ = false;
  tuning::Results want_;
  std::optional<Invocation> here_;  ///< the same launch on the candidates' own target
  std::optional<tuning::Subject> subject_;
};

}  // namespace tessera::cli
