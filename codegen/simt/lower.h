// The LLVM IR of one GPU thread -> code for the host: primitives become calls of hooks, memory accesses are checked.
#pragma once

#include <string>
#include <vector>

#include "codegen/gpu/compile.h"
#include "codegen/simt/simulate.h"

namespace tessera::simt {

inline constexpr const char* entry_name = "simt_entry";

/// Rewrites the module in place. Afterwards it has `void simt_entry(Thread*, const i64* words)` and the helpers that were there, and calls hooks by
/// name. Sites are numbered in the order of the instructions. Throws InternalError for inline asm, NVVM intrinsics, calls of other functions, and
/// accesses of memory that nobody can check.
/// Precondition: verified, as codegen/gpu/compile.h describes.
std::vector<SimtSite> lower_for_host(llvm::Module& module, const std::string& entry);

}  // namespace tessera::simt
