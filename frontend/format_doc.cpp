#include "frontend/format_doc.h"

#include <algorithm>
#include <iterator>

namespace tessera::formatting {

namespace {

Doc leaf(Doc::Kind kind, bool breaks, std::string s = {}) {
  Doc d;
  d.kind = kind;
  d.breaks = breaks;
  d.text = std::move(s);
  return d;
}

Doc inner(Doc::Kind kind, std::vector<Doc> parts) {
  Doc d;
  d.kind = kind;
  d.breaks = std::any_of(parts.begin(), parts.end(), [](const Doc& p) { return p.breaks; });
  d.parts = std::move(parts);
  return d;
}

struct Piece {
  const Doc* doc;
  std::size_t indent;
  bool flat;
};

/// Do `next` and what follows it, up to the first line break, fit into `room`?
bool fits(Piece next, const std::vector<Piece>& rest, std::size_t room) {
  std::vector<Piece> todo = {next};
  std::size_t from_rest = rest.size();
  while (true) {
    if (todo.empty()) {
      if (from_rest == 0) return true;
      todo.push_back(rest[--from_rest]);
    }
    Piece p = todo.back();
    todo.pop_back();
    const Doc& d = *p.doc;
    switch (d.kind) {
      case Doc::Kind::Text:
        if (d.text.size() > room) return false;
        room -= d.text.size();
        break;
      case Doc::Kind::Line:
        if (!p.flat) return true;
        if (room == 0) return false;
        --room;
        break;
      case Doc::Kind::SoftLine:
        if (!p.flat) return true;
        break;
      case Doc::Kind::HardLine:
      case Doc::Kind::BlankLine: return true;
      case Doc::Kind::Comment: break;
      case Doc::Kind::Concat:
      case Doc::Kind::Nest:
      case Doc::Kind::Group:
        for (auto it = d.parts.rbegin(); it != d.parts.rend(); ++it) todo.push_back({&*it, p.indent, p.flat});
        break;
    }
  }
}

}  // namespace

Doc text(std::string s) { return leaf(Doc::Kind::Text, false, std::move(s)); }
Doc comment(std::string s) { return leaf(Doc::Kind::Comment, true, std::move(s)); }
Doc line() { return leaf(Doc::Kind::Line, false); }
Doc soft_line() { return leaf(Doc::Kind::SoftLine, false); }
Doc hard_line() { return leaf(Doc::Kind::HardLine, true); }
Doc blank_line() { return leaf(Doc::Kind::BlankLine, true); }
Doc concat(std::vector<Doc> parts) { return inner(Doc::Kind::Concat, std::move(parts)); }
Doc nest(std::vector<Doc> parts) { return inner(Doc::Kind::Nest, std::move(parts)); }
Doc group(std::vector<Doc> parts) { return inner(Doc::Kind::Group, std::move(parts)); }

namespace {

/// The first item plain, each further one on the same line if it fits there.
std::vector<Doc> filled(std::vector<Doc> items, std::vector<Doc> out) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    Builder b;
    if (i > 0) b << line();
    b << std::move(items[i]);
    if (i + 1 < items.size()) b << ",";
    out.push_back(i > 0 ? group(b.take()) : b.done());
  }
  return out;
}

}  // namespace

Doc list(std::string open, std::vector<Doc> items, std::string close) {
  Builder b;
  b << std::move(open);
  if (!items.empty()) {
    std::vector<Doc> start;
    start.push_back(soft_line());
    b << nest(filled(std::move(items), std::move(start)));
  }
  b << std::move(close);
  return group(b.take());
}

Doc fill(std::vector<Doc> items) {
  // Only what comes after the first item is indented, so that a single one may break as if it stood alone.
  std::vector<Doc> all = filled(std::move(items), {});
  Builder b;
  if (!all.empty()) b << std::move(all.front());
  if (all.size() > 1) b << nest(std::vector<Doc>(std::make_move_iterator(all.begin() + 1), std::make_move_iterator(all.end())));
  return b.done();
}

namespace {

/// Where a comment behind code begins.
struct Trailing {
  std::size_t offset, line, column, indent;
};

/// Comments behind the code of neighbouring lines of one indentation begin in one column.
std::string align(const std::string& text, const std::vector<Trailing>& comments) {
  std::string out;
  std::size_t copied = 0;
  for (std::size_t i = 0; i < comments.size();) {
    std::size_t column = comments[i].column;
    std::size_t end = i + 1;
    while (end < comments.size() && comments[end].line == comments[end - 1].line + 1 && comments[end].indent == comments[i].indent)
      column = std::max(column, comments[end++].column);
    for (; i < end; ++i) {
      out.append(text, copied, comments[i].offset - copied);
      out.append(column - comments[i].column, ' ');
      copied = comments[i].offset;
    }
  }
  return out.append(text, copied);
}

}  // namespace

std::string layout(const Doc& doc, std::size_t width) {
  std::string out;
  std::size_t column = 0;
  std::size_t line = 0;
  std::size_t line_indent = 0;
  std::vector<Trailing> comments;
  std::vector<Piece> todo = {{&doc, 0, false}};
  auto new_line = [&](std::size_t indent, bool empty_line) {
    while (!out.empty() && out.back() == ' ') out.pop_back();
    out += empty_line ? "\n\n" : "\n";
    out.append(indent, ' ');
    column = line_indent = indent;
    line += empty_line ? 2 : 1;
  };
  auto write = [&](const std::string& s) {
    out += s;
    column += s.size();
  };
  while (!todo.empty()) {
    Piece p = todo.back();
    todo.pop_back();
    const Doc& d = *p.doc;
    std::size_t indent = p.indent;
    bool flat = p.flat;
    switch (d.kind) {
      case Doc::Kind::Text: write(d.text); continue;
      case Doc::Kind::Comment:
        if (column > line_indent) comments.push_back({out.size(), line, column, line_indent});
        out += d.text;
        continue;
      case Doc::Kind::Line:
        if (flat)
          write(" ");
        else
          new_line(indent, false);
        continue;
      case Doc::Kind::SoftLine:
        if (!flat) new_line(indent, false);
        continue;
      case Doc::Kind::HardLine: new_line(indent, false); continue;
      case Doc::Kind::BlankLine: new_line(indent, true); continue;
      case Doc::Kind::Concat: break;
      case Doc::Kind::Nest: indent += 4; break;
      case Doc::Kind::Group: flat = flat || (!d.breaks && fits({&d, indent, true}, todo, width - std::min(column, width))); break;
    }
    for (auto it = d.parts.rbegin(); it != d.parts.rend(); ++it) todo.push_back({&*it, indent, flat});
  }
  return align(out, comments);
}

}  // namespace tessera::formatting
