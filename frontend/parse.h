// Text -> syntax tree, by Boost.Spirit X3 in parse.cpp, the one file that includes it.
#pragma once

#include "dsl/diagnostic.h"
#include "frontend/ast.h"

namespace tessera {

/// Parses one file already in `sources`. Linear time. Depth and size are bounded by limits.h before the grammar sees the text. After an error
/// parsing resumes at the next statement or item, so several errors are reported; what could not be parsed is missing from the tree.
ast::File parse(const SourceMap& sources, FileId file, Diagnostics& diagnostics);

}  // namespace tessera
