#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "dsl/diagnostic.h"
#include "dsl/text.h"
#include "dsl/text_words.h"

namespace tessera::ir {

namespace {

std::string quoted(std::string_view s) {
  std::string out = "\"";
  for (char c : s) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\')
      out += std::string("\\") + c;
    else if (byte < 0x20 || byte >= 0x7F)
      out += fmt::format("\\x{:02x}", byte);
    else
      out += c;
  }
  return out + "\"";
}

std::string word(std::string_view s) { return words::is_word(s) ? std::string(s) : quoted(s); }

/// Shortest text that reads back as the same double, and never as an integer.
std::string number(double v) {
  if (std::isnan(v)) return "nan";
  if (std::isinf(v)) return v < 0 ? "-inf" : "inf";
  std::string s = fmt::format("{}", v);
  return s.find_first_of(".e") == std::string::npos ? s + ".0" : s;
}

std::string attribute(const Op& op, Attr a, const AttrValue& value) {
  if (const auto* i = std::get_if<std::int64_t>(&value)) {
    if (words::is_flag(a) && *i == 1) return name(a);
    if (auto w = words::of_value(op.kind, a, *i)) return fmt::format("{} = {}", name(a), *w);
    return fmt::format("{} = {}", name(a), *i);
  }
  if (const auto* d = std::get_if<double>(&value)) return fmt::format("{} = {}", name(a), number(*d));
  if (const auto* s = std::get_if<std::string>(&value)) return fmt::format("{} = {}", name(a), quoted(*s));
  return fmt::format("{} = [{}]", name(a), fmt::join(std::get<Dims>(value), ", "));
}

class Printer {
 public:
  explicit Printer(const Kernel& kernel) : kernel_(kernel) {
    // The body's arguments are named as the parameters and grid axes they stand for.
    std::vector<std::string> names;
    for (const Param& p : kernel.params)
      if (!p.is_view || p.present) names.push_back(p.name);
    for (const GridAxis& axis : kernel.grid) names.push_back(axis.name);
    names.resize(std::max(names.size(), kernel.body.args.size()));
    for (std::size_t i = 0; i < kernel.body.args.size(); ++i) define(*kernel.body.args[i], names[i]);
    number_block(kernel.body);
  }

  std::string run() {
    header();
    out_ += "{\n";
    block(kernel_.body, 1);
    out_ += "}\n";
    return std::move(out_);
  }

  std::string line(const Op& op) const {
    std::string s;
    for (const auto& r : op.results) s += (s.empty() ? "" : ", ") + ref(r.get());
    if (!s.empty()) s += " = ";
    s += info(op.kind).name;
    for (std::size_t i = 0; i < op.operands.size(); ++i) s += (i == 0 ? " " : ", ") + ref(op.operands[i]);
    if (!op.attrs.empty()) {
      std::string attrs;
      for (const auto& [a, value] : op.attrs) attrs += (attrs.empty() ? "" : ", ") + attribute(op, a, value);
      s += " {" + attrs + "}";
    }
    for (std::size_t i = 0; i < op.results.size(); ++i) s += (i == 0 ? " : " : ", ") + str(op.results[i]->type);
    return s;
  }

 private:
  void define(const Value& v, std::string_view hint) { names_.emplace(&v, named(names_.size(), hint)); }
  void number_block(const Block& b) {
    for (const auto& op : b.ops) {
      if (!op) continue;  // unsound, but verify names ops by their print
      for (const auto& r : op->results) define(*r, r->hint);
      for (const auto& region : op->regions) {
        for (const auto& arg : region->args) define(*arg, arg->hint);
        number_block(*region);
      }
    }
  }

  static std::string named(std::size_t number, std::string_view hint) {
    std::string s = fmt::format("%{}", number);
    if (hint.empty()) return s;
    s += ".";
    for (char c : hint) s += words::in_word(c) ? c : '_';
    return s;
  }
  /// Values out of the tree have no number; only unsound kernels refer to them.
  std::string ref(const Value* v) const {
    auto it = names_.find(v);
    return it == names_.end() ? "%?" : it->second;
  }

  void param(const Param& p, std::size_t& arg) {
    out_ += "  ";
    if (p.is_view && !p.present)
      out_ += word(p.name);
    else
      out_ += named(arg++, p.name);
    out_ += ": ";
    if (p.peers > 0) out_ += fmt::format("peer[{}] ", p.peers);
    if (p.is_view) out_ += p.mode == Mode::In ? "view " : fmt::format("{} view ", name(p.mode));
    out_ += tessera::name(p.dtype);
    if (!p.nominal.empty()) out_ += " as " + word(p.nominal);
    if (!p.is_view) return;
    std::string dims;
    for (const Sym& d : p.dims) dims += (dims.empty() ? "" : ", ") + d.str();
    out_ += "[" + dims + "]";
    if (p.strided) out_ += " strided";
    if (p.optional) out_ += p.present ? " ?" : " absent";
  }

  static std::string condition(const SymCondition& c) {
    if (c.rhs.size() == 1) return fmt::format("{} {} {}", c.lhs.str(), text(c.op), c.rhs[0].str());
    std::string set;
    for (const Sym& s : c.rhs) set += (set.empty() ? "" : ", ") + s.str();
    return fmt::format("{} in {{{}}}", c.lhs.str(), set);
  }

  template <typename List, typename F>
  void clause(const char* name, const List& list, F&& item) {
    if (list.empty()) return;
    std::string items;
    for (const auto& x : list) items += (items.empty() ? "" : ", ") + item(x);
    out_ += fmt::format("{}({})\n", name, items);
  }

  void header() {
    out_ += fmt::format("kernel {}(", word(kernel_.name));
    std::size_t arg = 0;
    for (std::size_t i = 0; i < kernel_.params.size(); ++i) {
      out_ += i == 0 ? "\n" : ",\n";
      param(kernel_.params[i], arg);
    }
    out_ += kernel_.params.empty() ? ")\n" : "\n)\n";
    clause("symbols", kernel_.symbols, [](const std::string& s) { return word(s); });
    clause("where", kernel_.where, condition);
    clause("grid", kernel_.grid, [&](const GridAxis& a) { return fmt::format("{} < {}", named(arg++, a.name), a.count.str()); });
    std::string flags;
    auto flag = [&](bool set, const char* text) {
      if (set) flags += (flags.empty() ? "" : " ") + std::string(text);
    };
    flag(kernel_.strict, "strict");
    flag(kernel_.deterministic, "deterministic");
    flag(kernel_.resident, "resident");
    if (!flags.empty()) out_ += flags + "\n";
    clause("constants", kernel_.constants, [](const auto& c) { return fmt::format("{} = {}", word(c.first), quoted(c.second)); });
    clause("in_place", kernel_.in_place, [](const auto& p) { return fmt::format("{} = {}", word(p.first), word(p.second)); });
  }

  void block(const Block& b, std::size_t depth) {
    for (const auto& op : b.ops) {
      out_.append(2 * depth, ' ');
      out_ += line(*op);
      for (const auto& region : op->regions) {
        std::string args;
        for (const auto& arg : region->args) args += fmt::format("{}{}: {}", args.empty() ? "" : ", ", ref(arg.get()), str(arg->type));
        out_ += fmt::format(" ({}) {{\n", args);
        block(*region, depth + 1);
        out_.append(2 * depth, ' ');
        out_ += "}";
      }
      out_ += "\n";
    }
  }

  const Kernel& kernel_;
  std::unordered_map<const Value*, std::string> names_;
  std::string out_;
};

}  // namespace

std::string print(const Kernel& kernel) { return Printer(kernel).run(); }
std::string print_op(const Kernel& kernel, const Op& op) { return Printer(kernel).line(op); }

}  // namespace tessera::ir
