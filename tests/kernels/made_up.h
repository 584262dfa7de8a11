// Calls of any kernel that users are given, with inputs made up from its signature.
#pragma once

#include <string>
#include <vector>

#include "tests/kernels/harness.h"

namespace tessera::test {

/// A file below the repository's root and what it imports. Throws std::runtime_error with the diagnostics.
LoadResult load_file(const std::string& file);

/// How large a made-up launch is: requests, heads, queries and keys of a request; rows, columns and depth of everything else.
struct Size {
  std::int64_t b = 1, h = 1, sq = 5, sk = 9, m = 3, n = 40, k = 24;
};

/// Random numbers; pointers, page tables, lengths and positions, which must mean something, by the name of the view. `with_optional`: optional inputs
/// too. Throws std::runtime_error for a view of integers or a symbol that is not known here.
Call made_up(const std::string& file, const std::string& kernel, const Constants& constants, const Size& size, bool with_optional);

/// A kernel of a file that users are given, with small constants for what it leaves open, and tuned ones of its first candidate.
struct Given {
  std::string file, kernel;
  Constants constants;
  bool has_optional_inputs = false;
};
/// Of the files below these folders of the repository; skeletons, whose instances follow, are left out.
std::vector<Given> given_kernels(const std::vector<std::string>& folders);

}  // namespace tessera::test
