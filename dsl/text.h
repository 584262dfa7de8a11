// Tile IR as text. print and parse are inverse: parse(print(k)) prints the same. Repro files, pass tests and cache keys use this form.
#pragma once

#include <memory>
#include <string>

#include "dsl/diagnostic.h"
#include "dsl/ir.h"

namespace tessera::ir {

/// Values are numbered in order of definition, hints are appended (`%3.kt`), so the text does not depend on addresses or history.
std::string print(const Kernel& kernel);

/// Null with diagnostics if the text is malformed; positions point into `file`.
std::unique_ptr<Kernel> parse_kernel(const SourceMap& sources, FileId file, Diagnostics& diagnostics);

}  // namespace tessera::ir
