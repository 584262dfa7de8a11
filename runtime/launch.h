// From arguments to a frame: everything a launch checks follows from the kernel's signature and is prepared once.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dsl/diagnostic.h"
#include "dsl/frame.h"
#include "dsl/ir.h"
#include "runtime/inline_vector.h"
#include "runtime/sym_program.h"
#include "tessera/argument.h"
#include "tessera/context.h"

namespace tessera {

/// What one launch needs, checked.
struct Launch {
  InlineVector<std::uint64_t, 96> frame;
  InlineVector<std::int64_t, 8> grid;  ///< counts of the grid axes, never negative
  std::int64_t instances = 0;          ///< their product
};

/// The signature of one form of a kernel (which optional views are present) as rules. Immutable; thread safe.
class LaunchPlan {
 public:
  /// Throws Error: E0708 if a launch symbol that the kernel needs occurs in no present view, E0703 for views of more than max_rank axes,
  /// E0804 for peer views.
  LaunchPlan(const ir::Kernel& kernel, std::shared_ptr<const SourceMap> sources);

  /// Checks the arguments, one a parameter, and fills the frame. Throws Error E0701 to E0712 (see AnyKernel::launch), MachineError.
  /// Precondition: absent arguments are those of the form.
  Launch bind(std::span<const Argument> arguments, const Context& context) const;

 private:
  struct Axis {
    std::size_t param = 0;
    std::size_t axis = 0;
    std::size_t symbol = 0;  ///< bound by this axis: extent = mul * symbol + add
    std::int64_t mul = 1, add = 0;
    SymProgram dim;
    std::string text;
  };
  struct Where {
    Compare op = Compare::Eq;
    SymProgram lhs;
    std::vector<SymProgram> rhs;
    std::string text, lhs_text;
  };

  /// An assertion that compares a scalar parameter with a number: checked at every launch, since the compiler builds on it.
  struct ScalarCheck {
    std::size_t param = 0;
    ir::OpKind op{};  ///< Lt, Le, Gt, Ge: parameter op bound
    double bound = 0;
    std::string text;
  };

  void plan_axes(const ir::Kernel& kernel);
  void plan_scalar_checks(const ir::Kernel& kernel);
  void check_scalars(std::span<const std::uint64_t> frame) const;
  void check_view(std::size_t i, const Argument& a, const Context& context) const;
  void check_memory(std::size_t i, const Tensor& t) const;
  void check_location(std::size_t i, const Tensor& t, const Context& context) const;
  std::uint64_t check_scalar(std::size_t i, const Argument& a) const;
  void bind_symbols(std::span<const Argument> arguments, std::span<std::int64_t> values) const;
  void check_where(std::span<const std::int64_t> values) const;
  void check_aliases(std::span<const Argument> arguments) const;
  [[noreturn]] void refuse(Code code, std::size_t param, const std::string& message, const std::string& help = "") const;
  [[noreturn]] void extents_disagree(const Axis& axis, std::int64_t extent, const std::string& why, std::span<const std::int64_t> values) const;
  std::optional<std::size_t> number(const std::string& symbol) const;

  std::string name_;
  std::vector<ir::Param> params_;
  std::vector<std::string> symbols_;
  std::vector<Axis> binders_;          ///< in the order to apply
  std::vector<Axis> checks_;           ///< after all symbols are bound
  std::vector<std::size_t> bound_by_;  ///< symbol -> index in binders_
  std::vector<Where> where_;
  std::vector<ScalarCheck> scalar_checks_;
  std::vector<SymProgram> grid_;
  std::vector<std::pair<std::size_t, std::size_t>> in_place_;  ///< (written, read) parameters that may be the same memory
  std::vector<std::size_t> views_;                             ///< present view parameters
  FrameLayout layout_;
  Span span_;
  std::shared_ptr<const SourceMap> sources_;
};

}  // namespace tessera
