#include "runtime/cli/oracle.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "runtime/errors.h"

namespace tessera::cli {
namespace {

/// What the oracle computes in a fraction of a second.
struct Budget {
  double flops;
  std::int64_t bytes, bytes_of_unknown_work;
};
constexpr Budget interpreter_budget{8e6, 1 << 20, 1 << 18}, cpu_budget{2e9, 64 << 20, 4 << 20};

tuning::Results results_of(Invocation& call) {
  call.launch();
  call.fetch();
  tuning::Results out;
  for (const Parameter* p : call.written()) out.emplace(p->name, call.tensors().at(p->name).copy());
  return out;
}

std::string shape_text(const SymbolValues& sizes) {
  std::vector<std::string> words;
  for (const auto& [n, v] : sizes) words.push_back(fmt::format("{}={}", n, v));
  return fmt::format("{}", fmt::join(words, " "));
}

/// The sizes, then all halved together, again and again until all are 1; then from the start, the largest alone: `where H % G == 0` and fixed group
/// sizes may survive only this.
std::vector<SymbolValues> smaller_shapes(const SymbolValues& sizes) {
  std::vector<SymbolValues> out{sizes};
  const auto large = [](const auto& s) { return s.second > 1; };
  for (SymbolValues s = sizes; std::any_of(s.begin(), s.end(), large); out.push_back(s)) {
    for (auto& [n, v] : s) v = std::max<std::int64_t>(v / 2, std::min<std::int64_t>(v, 1));
  }
  for (SymbolValues s = sizes; std::any_of(s.begin(), s.end(), large); out.push_back(s)) {
    std::int64_t most = 0;
    for (const auto& [n, v] : s) most = std::max(most, v);
    for (auto& [n, v] : s) v = v == most ? v / 2 : v;
  }
  return out;
}

}  // namespace

Oracle::Oracle(const InvocationOptions& candidate, Report& report) : target_(candidate.kernel.target == "cpu" ? "interp" : "cpu") {
  InvocationOptions o = candidate;
  o.kernel.target = target_;
  o.kernel.print_after.clear();
  o.kernel.time_passes = false;
  const bool shrinks = o.in.empty() && o.shapes.empty();
  for (const SymbolValues& s : smaller_shapes(o.sizes)) {
    o.sizes = s;
    if (try_shape(o, report) || !shrinks) break;
  }
  small_is_full_ = small_ && *small_ == candidate.sizes;
  if (!small_) return;
  o = candidate;
  o.sizes = *small_;
  o.compile = false;
  here_.emplace(o, report);
  subject_.emplace(here_->context(), here_->kernel().parameters(), here_->arguments());
}

bool Oracle::try_shape(InvocationOptions options, Report& report) {
  const bool interpreted = options.kernel.target == "interp";
  try {
    const Budget& budget = interpreted ? interpreter_budget : cpu_budget;
    options.dry = true;
    const Work work = Invocation(options, report).work();
    if (work.bytes > (work.flops ? budget.bytes : budget.bytes_of_unknown_work) || (work.flops && *work.flops > budget.flops)) return false;
    options.dry = false;
    Invocation call(options, report);
    want_ = results_of(call);
    small_ = options.sizes;
    return true;
  } catch (const Error& e) {
    // A shape that the kernel's `where` or its views refuse, or code that only the candidate's own target can run: not this one.
    if (e.kind() != Error::Kind::User) throw;
    return false;
  }
}

std::string Oracle::objection(const AnyKernel& kernel) {
  if (!subject_) return "";
  try {
    subject_->set_back();
    subject_->poison();
    kernel.launch(here_->context(), subject_->arguments());
    const std::string text = tuning::difference(subject_->fetch(), want_, tuning::tolerance_for(kernel.parameters()));
    if (text.empty()) return "";
    return small_is_full_ ? "wrong: " + text : fmt::format("wrong at {}: {}", shape_text(*small_), text);
  } catch (const Error& e) {
    // A `where` may tie this candidate's tile to sizes: it has no such launch, which says nothing about the full one.
    if (e.code() != "E0705" && e.code() != "E0509") throw;
    return "";
  }
}

std::string Oracle::description() const {
  const std::string who = target_ == "interp" ? "the interpreter" : "the CPU";
  if (small_is_full_) return who;
  if (!small_) return "the first candidate";
  return fmt::format("{} at {}, and the first candidate", who, shape_text(*small_));
}

}  // namespace tessera::cli
