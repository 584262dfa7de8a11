// Canonical text of a file: `tessera fmt`. Idempotent; comments are kept; the meaning does not change.
#pragma once

#include <string>

#include "dsl/source.h"
#include "frontend/ast.h"

namespace tessera {

/// Precondition: `file` was parsed from `sources` without errors.
std::string format(const SourceMap& sources, const ast::File& file);

/// The tree as indented text, for `compile --emit ast`.
std::string dump(const ast::File& file);

}  // namespace tessera
