// What a schedule asks of a kernel on the CPU, checked.
#pragma once

#include <map>

#include "dsl/diagnostic.h"
#include "dsl/ir.h"
#include "dsl/schedule.h"

namespace tessera::cpu {

struct Wishes {
  struct Unroll {
    int count = 1;  ///< bodies that stand in a row
    Span span;
  };
  std::map<const ir::Op*, Unroll> unrolls;
};

/// Later directives stand above earlier ones. Adds E0804, at the directive, for what no kernel is made by here.
Wishes wishes_of(const ir::Kernel& kernel, const Schedule& schedule, Diagnostics& diagnostics);

/// Adds E0804: "`KERNEL` cannot run on the CPU: its schedule says `DIRECTIVE`, but WHY".
void refuse(const ir::Kernel& kernel, Span span, const std::string& directive, const std::string& why, Diagnostics& diagnostics);

}  // namespace tessera::cpu
