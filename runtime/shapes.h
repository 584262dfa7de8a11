// Extents that follow from others by the symbols of a signature, for hosts that make tensors themselves: the command line and generated calls.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dsl/ir.h"

namespace tessera {

using SymbolValues = std::map<std::string, std::int64_t>;
using Shapes = std::map<std::string, std::vector<std::int64_t>>;  ///< by parameter

/// Symbols whose value follows from known shapes and from `where` equalities such as H == G*R. A contradiction is not reported here: the
/// first value stays, and the launch will speak.
SymbolValues infer_symbols(const ir::Kernel& kernel, const Shapes& known, SymbolValues given = {});

/// The extents of a view; empty if a symbol is unknown or the product would not fit 63 bits.
std::optional<std::vector<std::int64_t>> extents(const ir::Param& param, const SymbolValues& symbols);

}  // namespace tessera
