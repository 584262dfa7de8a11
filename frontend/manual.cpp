#include "frontend/manual.h"

#include <fmt/format.h>

#include "dsl/diagnostic.h"
#include "dsl/ir.h"
#include "dsl/schedule.h"
#include "frontend/builtins.h"

namespace tessera {

namespace {

/// A table cell: `|` would end it.
std::string cell(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

std::string builtins_table() {
  std::string out = "| built-in | meaning |\n|---|---|\n";
  for (const BuiltinInfo& b : builtin_table()) out += fmt::format("| `{}` | {} |\n", cell(b.signature), cell(b.doc));
  return out;
}

std::string ops_table() {
  std::string out = "| op | operands | results | meaning |\n|---|---|---|---|\n";
  auto count = [](int least, int most) {
    return most < 0 ? fmt::format("{}..", least) : least == most ? fmt::to_string(least) : fmt::format("{}..{}", least, most);
  };
  for (int i = 0;; ++i) {
    auto k = static_cast<ir::OpKind>(i);
    const ir::OpInfo& op = ir::info(k);
    out += fmt::format("| `{}` | {} | {} | {} |\n", op.name, count(op.min_operands, op.max_operands),
                       op.results < 0 ? "any" : fmt::to_string(op.results), cell(op.doc));
    if (k == ir::OpKind::Wait) break;
  }
  return out;
}

std::string directives_table() {
  std::string out = "| directive | targets | meaning |\n|---|---|---|\n";
  for (DirectiveKind k : all_directives()) out += fmt::format("| `{}` | {} | {} |\n", info(k).name, info(k).families, cell(info(k).doc));
  return out;
}

std::string diagnostics_table() {
  std::string out = "| code | error | meaning |\n|---|---|---|\n";
  for (Code c : all_codes()) out += fmt::format("| {} | {} | {} |\n", info(c).name, cell(info(c).title), cell(info(c).explanation));
  return out;
}

}  // namespace

std::string refresh_manual(const std::string& text) {
  static const std::string open = "<!-- generated: ", close = " -->\n", end = "<!-- end -->";
  std::string out;
  std::size_t at = 0;
  while (true) {
    std::size_t begin = text.find(open, at);
    if (begin == std::string::npos) break;
    std::size_t name_end = text.find(close, begin);
    std::size_t stop = name_end == std::string::npos ? name_end : text.find(end, name_end);
    if (stop == std::string::npos) break;
    std::string name = text.substr(begin + open.size(), name_end - begin - open.size());
    std::size_t body = name_end + close.size();
    out += text.substr(at, body - at);
    if (name == "builtins")
      out += builtins_table();
    else if (name == "ops")
      out += ops_table();
    else if (name == "directives")
      out += directives_table();
    else if (name == "diagnostics")
      out += diagnostics_table();
    else
      out += text.substr(body, stop - body);
    out += end;
    at = stop + end.size();
  }
  return out + text.substr(at);
}

}  // namespace tessera
