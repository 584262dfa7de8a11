// What a kernel's launches need of its Tile IR, as text that reads back, and the text that names its code.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dsl/ir.h"
#include "dsl/schedule.h"

namespace tessera::cache {

/// Parameters, symbols, `where`, grid, constants, in_place and the assertions that launches judge: all that LaunchPlan reads.
struct Head {
  std::string text;         ///< Tile IR
  std::vector<Span> spans;  ///< of the kernel, then of each parameter
};
Head head_of(const ir::Kernel& kernel);
/// A kernel whose body has those assertions only. Null if the text is none that head_of() has written.
std::unique_ptr<ir::Kernel> read_head(const Head& head);

/// The kernel without what makes no difference to its code: names of locals and grid axes, unless the schedule speaks of them, and places in the
/// source. The same program with a comment edited or a local renamed gives the same text.
std::string canonical_text(const ir::Kernel& kernel, const Schedule& schedule);
/// A schedule as text: directives in order.
std::string schedule_text(const Schedule& schedule);
/// Where every op stands in the source: code that checks assertions tells places.
std::string places_text(const ir::Kernel& kernel);

}  // namespace tessera::cache
