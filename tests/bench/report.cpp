#include "tests/bench/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace tessera::bench {

Cell measured(std::string key, std::string title, std::string ours, std::string rival, double figure) {
  return {std::move(key), std::move(title), std::move(ours), std::move(rival), figure, "", false};
}

Cell skipped(std::string key, std::string title, std::string reason) {
  return {std::move(key), std::move(title), "", "", std::nullopt, std::move(reason), true};
}

Cell failed(std::string key, std::string title, std::string reason) {
  return {std::move(key), std::move(title), "", "", std::nullopt, std::move(reason), false};
}

namespace {

std::vector<std::string> fields_of(const std::string& line) {
  std::vector<std::string> fields;
  std::size_t from = 0;
  for (std::size_t bar = line.find(" | "); bar != std::string::npos; bar = line.find(" | ", from)) {
    fields.push_back(line.substr(from, bar - from));
    from = bar + 3;
  }
  fields.push_back(line.substr(from));
  return fields;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\')
      out += fmt::format("\\{}", c);
    else if (static_cast<unsigned char>(c) < 0x20)
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      out += c;
  }
  return out;
}

std::string one_line(std::string text) {
  std::replace_if(text.begin(), text.end(), [](char c) { return c == '\n' || c == '\t'; }, ' ');
  return text;
}

std::string bound_of(const Bounds& bounds, const std::string& key, const char* level) {
  const auto row = bounds.find(key);
  if (row == bounds.end()) return "-";
  const auto bound = row->second.find(level);
  return bound == row->second.end() ? "-" : bound->second;
}

std::string verdict_of(const Cell& cell, const std::string& must, const std::string& goal) {
  if (!cell.figure) return (cell.skipped ? "skipped: " : "failed: ") + one_line(cell.reason);
  if (must != "-" && !holds(*cell.figure, must)) return "short";
  if (goal != "-") return holds(*cell.figure, goal) ? "goal" : "must";
  return must == "-" ? "reported" : "must";
}

}  // namespace

Bounds read_bounds(const std::string& source_dir) {
  Bounds bounds;
  const std::filesystem::path folder = std::filesystem::path(source_dir) / "tests" / "accept";
  if (!std::filesystem::is_directory(folder)) return bounds;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".rows") continue;
    std::ifstream in(entry.path());
    for (std::string line; std::getline(in, line);) {
      const auto fields = fields_of(line);
      if (fields.size() == 4 && fields[2].rfind("bench ", 0) == 0 && fields[3] != "-") bounds[fields[2].substr(6)][fields[0]] = fields[3];
    }
  }
  return bounds;
}

bool holds(double figure, const std::string& bound) {
  if (bound.size() < 4) return false;
  const double limit = std::stod(bound.substr(3));
  return bound[0] == '>' ? figure >= limit : figure <= limit;
}

std::string table(const std::vector<Cell>& cells, const Bounds& bounds) {
  std::vector<std::vector<std::string>> rows = {{"cell", "ours", "rival", "figure", "must", "goal", "verdict"}};
  for (const Cell& c : cells) {
    const std::string must = bound_of(bounds, c.key, "must"), goal = bound_of(bounds, c.key, "goal");
    rows.push_back(
        {c.title, c.ours, c.rival.empty() ? "-" : c.rival, c.figure ? fmt::format("{:.3f}", *c.figure) : "-", must, goal, verdict_of(c, must, goal)});
  }
  std::vector<std::size_t> widths(rows[0].size(), 0);
  for (const auto& row : rows)
    for (std::size_t i = 0; i + 1 < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string out;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) out += fmt::format("{}{:<{}}", i ? " | " : "", row[i], widths[i]);
    out += '\n';
  }
  return out;
}

std::string json(const std::vector<Cell>& cells, const std::string& machine) {
  std::string out = fmt::format("{{\"machine\": \"{}\", \"cells\": [", escaped(machine));
  const char* separator = "\n";
  for (const Cell& c : cells) {
    out += fmt::format(
        "{}  {{\"key\": \"{}\", \"title\": \"{}\", \"ours\": \"{}\", \"rival\": \"{}\", \"figure\": {}, \"reason\": \"{}\", \"skipped\": {}}}",
        separator, escaped(c.key), escaped(c.title), escaped(c.ours), escaped(c.rival), c.figure ? fmt::format("{:.6g}", *c.figure) : "null",
        escaped(c.reason), c.skipped);
    separator = ",\n";
  }
  return out + "\n]}\n";
}

std::string accept_lines(const std::vector<Cell>& cells) {
  std::string out;
  for (const Cell& c : cells)
    out += fmt::format("{}\t{}\n", c.key, c.figure ? fmt::format("{:.4g}", *c.figure) : (c.skipped ? "skip " : "failed: ") + one_line(c.reason));
  return out;
}

}  // namespace tessera::bench
