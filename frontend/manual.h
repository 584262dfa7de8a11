// The generated parts of the manual: built-ins, Tile IR ops, schedule directives and diagnostics, from their tables.
#pragma once

#include <string>

namespace tessera {

/// `text` with every section between `<!-- generated: NAME -->` and `<!-- end -->` replaced by what the tables say now. NAME is builtins, ops,
/// directives or diagnostics; an unknown name is left alone.
std::string refresh_manual(const std::string& text);

}  // namespace tessera
