// Bounds on hostile or broken text, checked before the grammar sees it: the grammar, and every visitor of the tree, recurse as deep as the text
// nests.
#pragma once

#include <cstdint>
#include <vector>

#include "dsl/diagnostic.h"
#include "frontend/tokens.h"

namespace tessera::limits {

constexpr std::size_t file_bytes = std::size_t{1} << 20;
/// Brackets, blocks, unary operators, lambdas, `else if` arms and fn types that are open at one place.
constexpr std::uint32_t depth = 128;

/// Reports E0103 and returns false if the file is too large.
bool check_size(const SourceMap& sources, FileId file, Diagnostics& diagnostics);

/// Reports E0102, at the word that goes too deep, and returns false.
bool check_depth(const std::vector<Token>& tokens, FileId file, Diagnostics& diagnostics);

}  // namespace tessera::limits
