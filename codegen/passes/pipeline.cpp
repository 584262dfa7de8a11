#include "codegen/passes/pipeline.h"

#include <array>
#include <chrono>

#include "codegen/passes/algebra.h"
#include "codegen/passes/coverage.h"
#include "codegen/passes/drop_zeroing.h"
#include "codegen/passes/fold.h"
#include "codegen/passes/one_trip.h"
#include "codegen/passes/pad_states.h"
#include "codegen/passes/split_masks.h"
#include "dsl/text.h"
#include "dsl/verify.h"

namespace tessera {

namespace {

template <void (*pass)(ir::Kernel&)>
void silent(ir::Kernel& kernel, Diagnostics&) {
  pass(kernel);
}

constexpr PassInfo kPasses[] = {
    {"coverage", "refuses `out` views that are not stored whole and once; records what may run in place", ir::coverage},
    {"fold", "constants, common subexpressions, dead code, decided branches, loop-invariant code", silent<ir::fold>},
    {"one_trip", "loops over a row get a copy without loops for launches whose rows one tile holds; for GPUs", silent<ir::one_trip>},
    {"pad_states", "drops the guards of padding that are redundant and moves the others where they are cheapest", silent<ir::pad_states>},
    {"split_masks", "loops whose masks are affine become masked, free and masked ones with computed bounds", silent<ir::split_masks>},
    {"algebra", "exp2, fma and reciprocals for what costs more, scales out of maxima; off in strict kernels", silent<ir::algebra>},
    {"drop_zeroing", "loads need not give zeros in padding that nobody looks at", silent<ir::drop_zeroing>},
};

/// What runs, in order. Folding again makes a pass's leavings disappear before the next one looks.
constexpr std::array kOrder = {"fold", "coverage", "one_trip", "pad_states", "fold", "split_masks", "fold", "drop_zeroing", "algebra", "fold"};

bool changes_rounding(std::string_view pass) { return pass == "algebra"; }
bool for_gpus(std::string_view pass) { return pass == "one_trip"; }

}  // namespace

std::span<const PassInfo> target_free_passes() { return kPasses; }

const PassInfo* find_pass(std::string_view name) {
  for (const PassInfo& p : kPasses)
    if (p.name == name) return &p;
  return nullptr;
}

bool run_target_free_passes(ir::Kernel& kernel, Diagnostics& diagnostics, const PassOptions& options) {
  for (const char* name : kOrder) {
    if (changes_rounding(name) && (options.strict || kernel.strict)) continue;
    if (for_gpus(name) && !options.gpu) continue;
    const bool printing = options.print && (options.print_after == "all" || options.print_after == name);
    const std::string before = printing ? ir::print(kernel) : "";
    const std::size_t errors = diagnostics.count();
    const auto start = std::chrono::steady_clock::now();
    find_pass(name)->run(kernel, diagnostics);
    if (options.timing) options.timing(name, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    if (options.verify) ir::verify_or_die(kernel, name);
    if (printing)
      if (std::string after = ir::print(kernel); after != before) options.print(name, after);
    if (diagnostics.count() != errors) return false;
  }
  return true;
}

}  // namespace tessera
