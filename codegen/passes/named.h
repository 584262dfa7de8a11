// What the names of a schedule stand for in a kernel.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dsl/ir.h"

namespace tessera::ir {

/// Values of this name: results, arguments of regions and of the kernel. A loop in parts has one of each in every part; none if the kernel, as it was
/// specialised, has nothing of that name, such as a value made from an absent parameter.
std::vector<const Value*> named(const Kernel& kernel, std::string_view name);

/// `for` loops whose variable has this name.
std::vector<const Op*> loops_named(const Kernel& kernel, std::string_view name);

/// The grid has an axis of this name.
bool has_axis(const Kernel& kernel, std::string_view name);

/// Most bodies that `unroll` puts in a row.
inline constexpr std::int64_t kMostUnrolled = 16;

/// Why `unroll` has nothing to do with this name; empty if loops have it, or nothing has.
std::string why_no_loop(const Kernel& kernel, std::string_view name);

}  // namespace tessera::ir
