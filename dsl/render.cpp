// The text and JSON forms of diagnostics.
#include <fmt/format.h>

#include <algorithm>

#include "dsl/diagnostic.h"

namespace tessera {

namespace {

constexpr std::size_t kTab = 4;
/// Lines longer than this are cut around the place they are shown for.
constexpr std::size_t kWidest = 200;

/// A source line as it is shown: tabs expanded, control characters blanked, cut if very long.
struct Shown {
  std::string text;
  std::vector<std::size_t> columns;  ///< display column of each byte, and of the end

  std::size_t column(std::size_t byte) const { return columns[std::min(byte, columns.size() - 1)]; }
};

Shown show(std::string_view line, std::size_t focus) {
  std::size_t from = 0;
  bool cut_left = false, cut_right = false;
  if (line.size() > kWidest) {
    from = focus > kWidest / 2 ? std::min(focus - kWidest / 2, line.size()) : 0;
    while (from > 0 && from < line.size() && (static_cast<unsigned char>(line[from]) & 0xC0) == 0x80) --from;
    cut_left = from > 0;
    cut_right = line.size() > from + kWidest;
  }
  std::size_t to = cut_right ? from + kWidest : line.size();
  while (cut_right && to > from && (static_cast<unsigned char>(line[to]) & 0xC0) == 0x80) --to;
  Shown s;
  std::size_t column = 0;
  if (cut_left) {
    s.text = "...";
    column = 3;
  }
  s.columns.assign(from, column);
  for (std::size_t i = from; i < to; ++i) {
    auto c = static_cast<unsigned char>(line[i]);
    s.columns.push_back(column);
    if (c == '\t') {
      std::size_t width = kTab - column % kTab;
      s.text.append(width, ' ');
      column += width;
    } else {
      s.text += c < 0x20 || c == 0x7F ? ' ' : static_cast<char>(c);
      if ((c & 0xC0) != 0x80) ++column;  // continuation bytes of UTF-8 take no column
    }
  }
  s.columns.push_back(column);
  if (cut_right) s.text += "...";
  return s;
}

/// A marked piece of one line.
struct Mark {
  std::size_t begin = 0, end = 0;  ///< byte offsets in the line
  std::string text;
};

class Renderer {
 public:
  Renderer(const Diagnostic& d, const SourceMap& sources) : d_(d), sources_(sources) {}

  std::string run() {
    if (known(d_.span)) {
      Position p = sources_.begin(clamped(d_.span));
      out_ = fmt::format("{}:{}:{}: ", sources_.file(d_.span.file).name, p.line, p.column);
    }
    out_ += fmt::format("error[{}]: {}\n", info(d_.code).name, d_.message);
    shown_file_ = d_.span.file;
    sources();
    for (const Label& l : d_.labels)
      if (!known(l.span)) out_ += fmt::format("   note: {}\n", l.text);
    for (const Label& l : d_.trail) {
      out_ += fmt::format("   {} at ", l.text.empty() ? "in call" : l.text);
      if (known(l.span)) {
        Position p = sources_.begin(clamped(l.span));
        out_ += fmt::format("{}:{}:{}", sources_.file(l.span.file).name, p.line, p.column);
      } else {
        out_ += "an unknown place";
      }
      out_ += "\n";
    }
    if (!d_.help.empty()) out_ += fmt::format("   help: {}\n", d_.help);
    return out_;
  }

 private:
  bool known(Span s) const { return s.known() && s.file < sources_.size(); }
  Span clamped(Span s) const {
    auto size = static_cast<std::uint32_t>(sources_.file(s.file).text.size());
    s.begin = std::min(s.begin, size);
    s.end = std::clamp(s.end, s.begin, size);
    return s;
  }

  /// The part of a span on its first line, one byte at least.
  Mark mark(Span s, std::string text) const {
    s = clamped(s);
    Position p = sources_.begin(s);
    std::size_t begin = p.column - 1, length = sources_.line(s.file, p.line).size();
    std::size_t end = std::min<std::size_t>(begin + (s.end - s.begin), std::max(length, begin));
    return {begin, std::max(end, begin + 1), std::move(text)};
  }

  void sources() {
    struct Place {
      FileId file;
      std::uint32_t line;
      std::vector<Mark> carets, labels;
    };
    std::vector<Place> places;
    auto place = [&](Span s) -> Place& {
      std::uint32_t line = sources_.begin(clamped(s)).line;
      for (Place& p : places)
        if (p.file == s.file && p.line == line) return p;
      return places.emplace_back(Place{s.file, line, {}, {}});
    };
    if (known(d_.span)) place(d_.span).carets.push_back(mark(d_.span, ""));
    for (const Label& l : d_.labels)
      if (known(l.span)) place(l.span).labels.push_back(mark(l.span, l.text));
    for (const Place& p : places) gutter_ = std::max(gutter_, std::to_string(p.line).size());
    for (const Place& p : places) {
      if (p.file != shown_file_) out_ += fmt::format("{:>{}} {}:{}\n", "-->", gutter_, sources_.file(p.file).name, p.line);
      shown_file_ = p.file;
      Shown shown = show(sources_.line(p.file, p.line), p.carets.empty() ? p.labels.front().begin : p.carets.front().begin);
      out_ += fmt::format("{:>{}} | {}\n", p.line, gutter_, shown.text);
      for (const Mark& m : p.carets) markers({&m}, shown, '^');
      label_rows(p.labels, shown);
    }
  }

  /// Labels of one line side by side; one whose text would run into the next goes to a row of its own.
  void label_rows(const std::vector<Mark>& labels, const Shown& shown) {
    std::vector<const Mark*> rest;
    for (const Mark& m : labels) rest.push_back(&m);
    std::stable_sort(rest.begin(), rest.end(), [](const Mark* a, const Mark* b) { return a->begin < b->begin; });
    while (!rest.empty()) {
      std::vector<const Mark*> row, later;
      std::size_t free = 0;
      for (const Mark* m : rest) {
        std::size_t begin = shown.column(m->begin);
        if (!row.empty() && begin < free) {
          later.push_back(m);
          continue;
        }
        row.push_back(m);
        free = begin + width(*m, shown) + 1 + display_width(m->text) + 2;
      }
      markers(row, shown, '-');
      rest = std::move(later);
    }
  }

  static std::size_t display_width(std::string_view s) {
    return static_cast<std::size_t>(std::count_if(s.begin(), s.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
  }
  static std::size_t width(const Mark& m, const Shown& shown) {
    std::size_t begin = shown.column(m.begin), end = shown.column(m.end);
    return end > begin ? end - begin : 1;
  }

  void markers(const std::vector<const Mark*>& marks, const Shown& shown, char sign) {
    std::string row;
    std::size_t at = 0;
    for (const Mark* m : marks) {
      std::size_t begin = shown.column(m->begin), w = width(*m, shown);
      row.append(begin > at ? begin - at : 0, ' ');
      row.append(w, sign);
      at = std::max(at, begin) + w;
      if (m->text.empty()) continue;
      row += " " + m->text;
      at += 1 + display_width(m->text);
    }
    out_ += fmt::format("{:>{}} | {}\n", "", gutter_, row);
  }

  const Diagnostic& d_;
  const SourceMap& sources_;
  FileId shown_file_ = 0;
  std::size_t gutter_ = 5;
  std::string out_;
};

/// Bytes of the UTF-8 sequence that starts at s[i]; 0 if it is malformed.
std::size_t utf8_length(std::string_view s, std::size_t i) {
  auto byte = [&](std::size_t k) { return i + k < s.size() ? static_cast<unsigned char>(s[i + k]) : 0U; };
  auto tail = [&](std::size_t k) { return (byte(k) & 0xC0U) == 0x80U; };
  unsigned c = byte(0);
  if (c < 0x80) return 1;
  if (c >= 0xC2 && c < 0xE0) return tail(1) ? 2 : 0;
  if (c >= 0xE0 && c < 0xF0) {
    bool overlong = c == 0xE0 && byte(1) < 0xA0, surrogate = c == 0xED && byte(1) >= 0xA0;
    return tail(1) && tail(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (c >= 0xF0 && c < 0xF5) {
    bool overlong = c == 0xF0 && byte(1) < 0x90, beyond = c == 0xF4 && byte(1) >= 0x90;
    return tail(1) && tail(2) && tail(3) && !overlong && !beyond ? 4 : 0;
  }
  return 0;
}

std::string json_string(std::string_view s) {
  std::string out = "\"";
  for (std::size_t i = 0; i < s.size();) {
    char c = s[i];
    std::size_t n = utf8_length(s, i);
    if (n == 0) {
      out += "\\ufffd";
      n = 1;
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += s.substr(i, n);
    }
    i += n;
  }
  return out + "\"";
}

/// `"file":..,"line":..,..` of a span; empty if it is nowhere.
std::string json_place(Span s, const SourceMap& sources) {
  if (!s.known() || s.file >= sources.size()) return "";
  const SourceFile& f = sources.file(s.file);
  auto size = static_cast<std::uint32_t>(f.text.size());
  Position b = sources.position(s.file, std::min(s.begin, size)), e = sources.position(s.file, std::clamp(s.end, std::min(s.begin, size), size));
  return fmt::format("\"file\":{},\"line\":{},\"column\":{},\"end_line\":{},\"end_column\":{}", json_string(f.name), b.line, b.column, e.line,
                     e.column);
}

std::string json_labels(const std::vector<Label>& labels, const SourceMap& sources) {
  std::string out = "[";
  for (const Label& l : labels) {
    std::string place = json_place(l.span, sources);
    out += fmt::format("{}{{{}{}\"text\":{}}}", out.size() > 1 ? "," : "", place, place.empty() ? "" : ",", json_string(l.text));
  }
  return out + "]";
}

}  // namespace

std::string render(const Diagnostic& d, const SourceMap& sources) { return Renderer(d, sources).run(); }

std::string render(const Diagnostics& ds, const SourceMap& sources) {
  std::string out;
  for (const Diagnostic& d : ds.list()) out += render(d, sources);
  if (ds.suppressed() > 0) out += fmt::format("{} more error{} not shown\n", ds.suppressed(), ds.suppressed() == 1 ? "" : "s");
  return out;
}

std::string render_json(const Diagnostics& ds, const SourceMap& sources) {
  std::string out = "[";
  for (const Diagnostic& d : ds.list()) {
    std::string place = json_place(d.span, sources);
    if (out.size() > 1) out += ",";
    out += fmt::format("\n{{\"code\":\"{}\",\"title\":{},{}{}\"message\":{},\"labels\":{},\"trail\":{},\"help\":{}}}", info(d.code).name,
                       json_string(info(d.code).title), place, place.empty() ? "" : ",", json_string(d.message), json_labels(d.labels, sources),
                       json_labels(d.trail, sources), json_string(d.help));
  }
  return out + "\n]\n";
}

}  // namespace tessera
