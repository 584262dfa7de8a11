// Source files and positions in them. Every AST node, IR op and diagnostic points back here by a Span.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

/// Index of a file in a SourceMap. File 0 is "nowhere": compiler-made code and IR read from text.
using FileId = std::uint32_t;

/// Half-open byte range [begin, end) of one file.
struct Span {
  FileId file = 0;
  std::uint32_t begin = 0;
  std::uint32_t end = 0;

  bool known() const { return file != 0; }
  friend bool operator==(const Span&, const Span&) = default;
};

/// The smallest span that covers both; `a` if they lie in different files.
Span join(Span a, Span b);

/// 1-based line and column; the column counts bytes, as clang and gcc do.
struct Position {
  std::uint32_t line = 0;
  std::uint32_t column = 0;
};

struct SourceFile {
  std::string name;  ///< the path as the user gave it
  std::string text;
  std::vector<std::uint32_t> line_starts;
};

/// Owns the text of all files of one compilation. Files are never removed, so references stay valid.
class SourceMap {
 public:
  SourceMap();
  FileId add(std::string name, std::string text);
  const SourceFile& file(FileId id) const { return files_.at(id); }
  std::size_t size() const { return files_.size(); }

  Position position(FileId file, std::uint32_t offset) const;
  Position begin(Span span) const { return position(span.file, span.begin); }
  Position end(Span span) const { return position(span.file, span.end); }
  /// The text of a 1-based line, without its newline.
  std::string_view line(FileId file, std::uint32_t line) const;
  std::string_view text(Span span) const;

 private:
  std::deque<SourceFile> files_;
};

}  // namespace tessera
