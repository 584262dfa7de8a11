// Layout of text with optional line breaks, after Wadler's "A prettier printer": a group stands on one line if it fits, else its own lines break.
#pragma once

#include <string>
#include <vector>

namespace tessera::formatting {

struct Doc {
  enum class Kind : unsigned char {
    Text,
    Line,       ///< a space, or a line break
    SoftLine,   ///< nothing, or a line break
    HardLine,   ///< a line break
    BlankLine,  ///< a line break and an empty line
    Comment,    ///< at the end of a line; its width does not count
    Concat,
    Nest,  ///< line breaks within indent by 4 more
    Group,
  };
  Kind kind = Kind::Concat;
  bool breaks = false;  ///< holds something that cannot stand on one line
  std::string text;
  std::vector<Doc> parts;
};

Doc text(std::string s);
Doc comment(std::string s);
Doc line();
Doc soft_line();
Doc hard_line();
Doc blank_line();
Doc concat(std::vector<Doc> parts);
Doc nest(std::vector<Doc> parts);
Doc group(std::vector<Doc> parts);

/// Builds a concat part by part.
class Builder {
 public:
  Builder& operator<<(Doc d) {
    parts_.push_back(std::move(d));
    return *this;
  }
  Builder& operator<<(std::string s) { return *this << text(std::move(s)); }
  std::vector<Doc> take() { return std::move(parts_); }
  Doc done() { return concat(std::move(parts_)); }

 private:
  std::vector<Doc> parts_;
};

/// `open a, b, c close` on one line, or broken after `open`, filled line by line, indented.
Doc list(std::string open, std::vector<Doc> items, std::string close);
/// The same without brackets: `a, b, c`, with what does not fit indented on the next line.
Doc fill(std::vector<Doc> items);

std::string layout(const Doc& doc, std::size_t width);

}  // namespace tessera::formatting
