#include "codegen/cpu/plan.h"

#include <algorithm>

#include "codegen/cpu/plan_block.h"
#include "dsl/diagnostic.h"

namespace tessera::cpu {

Plan::Plan(Analysis& analysis, const VectorTarget& target) : analysis_(analysis), target_(target) {
  // A load that turns out to be overtaken by a store becomes a value that is kept, which changes the plan of every block around it.
  for (bool changed = true; changed;) {
    blocks_.clear();
    products_.clear();
    layouts_.clear();
    registers_.clear();
    gemm_loops_.clear();
    shared_operands_.clear();
    continued_.clear();
    changed = false;
    BlockPlanner planner(*this);
    changed = planner.plan(analysis_.kernel().body);
  }
}

}  // namespace tessera::cpu
