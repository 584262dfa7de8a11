// The texts of one program: a file and all that it imports, as they were read.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "frontend/frontend.h"
#include "runtime/cache/store.h"

namespace tessera {

struct SourceSet {
  struct Import {
    std::string path;        ///< "std.attention"
    bool standard = true;    ///< of the library's own modules
    std::string name, text;  ///< of others
  };
  std::string name, text;
  std::vector<Import> imports;  ///< in the order in which they were read, which numbers the files

  /// Names the texts, not the files that they lie in.
  cache::Key key() const;
  /// For diagnostics: the same numbers of files as the parser gives.
  std::shared_ptr<SourceMap> map() const;
  /// Parses and checks them, reading no file.
  LoadResult parse() const;
};

/// load_program, with what it has read in `set`.
LoadResult load_recorded(const std::string& name, const std::string& text, const ImportResolver& resolve, SourceSet& set);

/// The program of this text, if these very texts have passed all checks before. Reads the imports through `resolve`, parses nothing.
std::optional<SourceSet> recall_sources(cache::Store& store, const std::string& name, const std::string& text, const ImportResolver& resolve);
/// Precondition: they have passed all checks.
void keep_sources(cache::Store& store, const SourceSet& set);

}  // namespace tessera
