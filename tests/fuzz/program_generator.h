// Random programs: well-formed text, mostly well-typed, with a mistake here and there. One family of kernels whose parameters have every mode,
// with functions, structs, constants and lambdas around them.
#pragma once

#include <fmt/format.h>

#include <string>
#include <vector>

#include "frontend/builtins.h"
#include "frontend/frontend.h"
#include "tests/fuzz/choices.h"

namespace tessera::fuzz {

class ProgramGenerator {
 public:
  explicit ProgramGenerator(Choices& c) : c_(c) {}

  /// The text of a file with a kernel `k` and perhaps more.
  std::string program();
  /// Values for the generics of `k`, some of them absurd.
  Constants constants();
  std::vector<std::string> absent();

 private:
  /// A name in scope and what it is: "f32[BM, 4]", "idx", "range M BM", "struct 4 BM".
  struct Var {
    std::string name, kind;
    bool assignable = false;
  };
  using Dims = std::vector<std::string>;

  std::string fresh(const char* base) { return fmt::format("{}{}", base, next_++); }
  std::string number();
  std::string dim();
  std::string dims(const Dims& d) const;
  std::string type(const Dims& d, const char* elem = "f32") const { return d.empty() ? elem : std::string(elem) + "[" + dims(d) + "]"; }
  /// True in `percent` of a hundred cases in a program that is all mistakes, never in a tame one.
  bool mistake(int percent) { return wildness_ > 0 && c_.chance(percent * wildness_ / 100); }
  /// A name of this kind; empty if there is none.
  std::string known(const std::string& kind, bool assignable = false);

  std::string tile(const Dims& d, int depth);
  std::string bools(const Dims& d, int depth);
  std::string idx(int depth);
  std::string wild(int depth);
  std::string range(const std::string& size, const char* axis = "M");
  std::string block(int depth, int indent, bool may_break = false);
  std::string smooth(const std::string& x, int depth);
  std::string statement(int depth, int indent);
  std::string items();
  std::string fn();

  Choices& c_;
  int next_ = 0;
  std::vector<Var> scope_;
  std::vector<std::string> fns_;  ///< of one f32[A, B] and a scalar
  std::string add_ = "f32";       ///< element type of the add view
  int wildness_ = 0;              ///< in a hundred
  bool in_fn_ = false;
};

inline std::string ProgramGenerator::number() {
  // clang-format off
  static const std::vector<std::string> all = {
      "1", "0", "2", "4", "8", "16", "-1", "3", "1024", "1025", "0.0", "1.0", "inf", "-inf", "1e-6", "65536", "16777217", "4294967296",
      "9223372036854775807", "-9223372036854775808", "18446744073709551615", "true", "1e300"};
  // clang-format on
  return c_.of(all);
}

inline std::string ProgramGenerator::dim() {
  static const std::vector<std::string> usual = {"BM", "BN", "1", "4", "8", "D"};
  static const std::vector<std::string> odd = {
      "BM * 2",        "D / 2", "BM / 0", "BN % 3", "BM - BN", "M", "0", "-1", "4096", "1 << 40", "min(BM, D)", "BM * BM * BM * BM",
      "ceil(BM / BN)", "NONE",  "BM + 1"};
  return mistake(12) ? c_.of(odd) : c_.of(usual);
}

inline std::string ProgramGenerator::dims(const Dims& d) const { return fmt::format("{}", fmt::join(d, ", ")); }

inline std::string ProgramGenerator::known(const std::string& kind, bool assignable) {
  std::vector<std::string> names;
  for (const Var& v : scope_)
    if (v.kind == kind && (!assignable || v.assignable)) names.push_back(v.name);
  return names.empty() ? "" : c_.of(names);
}

inline std::string ProgramGenerator::range(const std::string& size, const char* axis) {
  std::string r = known(fmt::format("range {} {}", mistake(5) ? "N" : axis, size));
  if (r.empty() || c_.chance(10)) return fmt::format("tiles({}, {})[{}]", axis, size, idx(0));
  if (c_.chance(8)) r = fmt::format("({} {} {})", r, mistake(20) ? c_.of({"*", "/"}) : c_.of({"+", "-"}), c_.of({"1", "2", "n", "-1", "0", "BM"}));
  if (c_.chance(4)) r += fmt::format(".on({})", mistake(30) ? c_.of({"M", "N", "M + N"}) : axis);
  return r;
}

/// A scalar integer.
inline std::string ProgramGenerator::idx(int depth) {
  std::string v = known("idx");
  switch (depth <= 0 ? c_.below(4) : c_.below(12)) {
    case 0: return v.empty() ? "0" : v;
    case 1: return c_.of({"0", "1", "7"});
    case 2: return c_.of({"M", "N", "BM", "idx(n)", "D"});
    case 3: return in_fn_ ? c_.of({"extent(M)", "idx(ids[0])", "BN"}) : c_.of({"i.start", "i.size", "i.block", "extent(M)", "idx(ids[0])"});
    case 4: return fmt::format("({} {} {})", idx(depth - 1), c_.of({"+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"}), idx(depth - 1));
    case 5: return fmt::format("{}({}, {})", c_.of({"min", "max"}), idx(depth - 1), idx(depth - 1));
    case 6: return fmt::format("ceil({} / {})", idx(depth - 1), idx(depth - 1));
    case 7: return fmt::format("-{}", idx(depth - 1));
    case 8: return fmt::format("argmax({})", tile({dim()}, depth - 1));
    case 9: return fmt::format("sum(idx({}))", bools({dim()}, depth - 1));
    case 10: return fmt::format("clamp({}, 0, {})", idx(depth - 1), idx(depth - 1));
    default: return mistake(50) ? number() : c_.of({"2", "3", "-1", "1024", "i32(5)", "4294967296", "9223372036854775807"});
  }
}

inline std::string ProgramGenerator::bools(const Dims& d, int depth) {
  if (depth <= 0) return d.empty() ? "true" : fmt::format("fill({}, {})", c_.of({"true", "false"}), type(d, "bool"));
  switch (c_.below(7)) {
    case 0: return fmt::format("({} {} {})", tile(d, depth - 1), c_.of({"<", ">=", "==", "!="}), tile(d, depth - 1));
    case 1: return fmt::format("({} {} {})", bools(d, depth - 1), c_.of({"&&", "||", "&", "|", "^"}), bools(d, depth - 1));
    case 2: return fmt::format("!({})", bools(d, depth - 1));
    case 3:
      return d.size() == 2 ? fmt::format("(rows({}) {} cols({}))", range(d[0]), c_.of({"<=", ">", "=="}), range(d[1], "N"))
             : d.empty()   ? fmt::format("({} > {})", idx(depth - 1), idx(depth - 1))
                           : fmt::format("(index({}) > {})", range(d[0]), idx(depth - 1));
    case 4: return d.empty() ? fmt::format("{}({})", c_.of({"any", "all"}), bools({dim()}, depth - 1)) : bools(d, depth - 1);
    case 5:
      return d.empty() ? mistake(20) ? c_.of({"has(x)", "M == BM"})
                         : in_fn_    ? c_.of({"FLAG", "BM > 8"})
                                     : c_.of({"has(opt)", "FLAG", "T == f16", "BM > 8"})
                       : bools(d, depth - 1);
    default: return d.empty() ? fmt::format("({} < {})", idx(depth - 1), idx(depth - 1)) : bools(d, 0);
  }
}

/// A tile of f32 with these dims.
inline std::string ProgramGenerator::tile(const Dims& d, int depth) {
  if (mistake(5)) return wild(depth - 1);
  std::string v = known(type(d));
  if (depth <= 0) {
    if (!v.empty() && c_.chance(80)) return v;
    return d.empty() ? c_.of({"0.0", "s", "1.5", "-inf"}) : fmt::format("fill({}, {})", c_.of({"0.0", "s", "-inf", "1.0"}), type(d));
  }
  static const std::vector<std::string> unary = {"exp",     "exp2", "ln",  "log2", "sqrt",  "rsqrt", "rcp",   "tanh",
                                                 "sigmoid", "sin",  "cos", "erf",  "floor", "ceil",  "round", "abs"};
  std::size_t rank = d.size();
  switch (c_.below(24)) {
    case 0: return v.empty() ? tile(d, 0) : v;
    case 1: return fmt::format("{}({})", c_.of(unary), tile(d, depth - 1));
    case 2:
    case 3: return fmt::format("({} {} {})", tile(d, depth - 1), c_.of({"+", "-", "*", "/"}), tile(c_.chance(30) ? Dims{} : d, depth - 1));
    case 4: return fmt::format("select({}, {}, {})", bools(d, depth - 1), tile(d, depth - 1), tile(d, depth - 1));
    case 5: return fmt::format("{}({}, {})", c_.of({"min", "max"}), tile(d, depth - 1), tile(d, depth - 1));
    case 6: return fmt::format("f32({}({}))", c_.of({"f16", "bf16", "e4m3", "i32", "e5m2", "f64", "u8", "idx"}), tile(d, depth - 1));
    case 7: return fmt::format("fma({}, {}, {})", tile(d, depth - 1), tile(d, depth - 1), tile({}, 0));
    case 8: return fmt::format("pad({}, {})", tile(d, depth - 1), tile({}, 0));
    case 9: {
      if (rank == 2) {
        std::string k = dim();
        return fmt::format("({} @ {})", tile({d[0], k}, depth - 1), c_.chance(50) ? tile({k, d[1]}, depth - 1) : tile({d[1], k}, depth - 1) + ".T");
      }
      return rank == 0 ? fmt::format("{}({})", c_.of({"sum", "max", "min", "prod"}), tile({dim()}, depth - 1)) : tile(d, depth - 1);
    }
    case 10: {
      if (rank == 2) return c_.chance(50) ? tile({d[1], d[0]}, depth - 1) + ".T" : tile({d[1], d[0]}, depth - 1) + ".permute(1, 0)";
      return rank == 1 ? fmt::format("x[{}, 0]", range(d[0])) : fmt::format("x[{}, {}]", idx(depth - 1), idx(depth - 1));
    }
    case 11: {
      if (rank == 2 && d[1] == "1") return fmt::format("col({})", tile({d[0]}, depth - 1));
      if (rank == 2 && d[0] == "1") return fmt::format("row({})", tile({d[1]}, depth - 1));
      return rank == 2   ? fmt::format("x[{}, {}]", range(d[0]), range(d[1], "N"))
             : rank == 1 ? fmt::format("y[{}]", range(d[0], "N"))
                         : fmt::format("y[{}]", idx(depth - 1));
    }
    case 12:
      for (std::size_t i = 0; i < rank; ++i)
        if (d[i] == "1") {
          Dims wide = d;
          wide[i] = dim();
          return fmt::format("{}({}, axis: {})", c_.of({"sum", "max", "min", "prod", "last"}), tile(wide, depth - 1), i);
        }
      return rank == 2 ? fmt::format("x[{}, {}]", range(d[0]), range(d[1], "N")) : tile(d, depth - 1);
    case 13:
      return rank == 0 ? tile(d, depth - 1)
                       : fmt::format("{}({}, axis: {})", c_.of({"scan_sum", "scan_max", "sort"}), tile(d, depth - 1),
                                     c_.below(rank + (mistake(10) ? 1 : 0)));
    case 14:
      return rank == 0 ? tile(d, depth - 1)
                       : fmt::format("scan(|a, b| a {} b, {}, {}, axis: {})", c_.of({"+", "*", "-"}), c_.of({"0.0", "1.0"}), tile(d, depth - 1),
                                     c_.below(rank));
    case 15: {
      if (fns_.empty() || rank != 2) return tile(d, depth - 1);
      return fmt::format("{}({}, {}, x, y, h, ids, n, D: D, FLAG: FLAG)", c_.of(fns_), tile(d, depth - 1), tile({}, depth - 1));
    }
    case 16: {
      std::string p = fresh("p");
      std::size_t mark = scope_.size();
      scope_.push_back({p, type(d), false});
      std::string body = tile(d, depth - 1);
      scope_.resize(mark);
      return rank == 1 ? fmt::format("apply(|{}| {}, {})", p, body, tile(d, depth - 1)) : fmt::format("(|{}| {})({})", p, body, tile(d, depth - 1));
    }
    case 17:
      return rank == 1   ? fmt::format("({}).reshape({})", tile({d[0], "1"}, depth - 1), d[0])
             : rank == 2 ? fmt::format("({}).reshape({}, {})", tile({d[1], d[0]}, depth - 1), d[0], d[1])
                         : fmt::format("sum({})", tile({"1", "1"}, depth - 1));
    case 18:
      return rank == 1 && d[0] != "1" && (mistake(50) || (d[0] != "BM" && d[0] != "BN" && d[0] != "D"))
                 ? fmt::format("concat({}, {}, axis: 0)", tile({d[0] + " / 2"}, 0), tile({d[0] + " - " + d[0] + " / 2"}, 0))
             : rank > 0 ? fmt::format("fill({}, {})", tile({}, depth - 1), type(d))
                        : fmt::format("f32({})", idx(depth - 1));
    case 19:
      return rank == 1   ? fmt::format("y[index({})]", range(d[0]))
             : rank == 2 ? fmt::format("x[{}, index({})]", range(d[0]), range(d[1]))
                         : fmt::format("f32({})", idx(depth - 1));
    case 20:
      return rank == 2     ? d[1] == "D" ? fmt::format("f32(h[{}, :])", range(d[0])) : tile(d, depth - 1)
             : rank == 1   ? fmt::format("take(y, ids)[{}]", range(d[0]))
             : mistake(50) ? "opt[0]"
                           : fmt::format("y[{}]", idx(depth - 1));
    case 21:
      return rank == 2   ? fmt::format("Pair(a: {}, b: {}).{}", tile(d, depth - 1), tile(d, depth - 1), c_.of({"a", "b"}))
             : rank == 0 ? in_fn_ ? "C2" : c_.of({"plan.scale", "C2", "f32(C3)"})
                         : tile(d, depth - 1);
    case 22:
      return rank == 2 ? c_.chance(50) ? fmt::format("x.{}[{}, {}]", c_.of({"T", "permute(1, 0)"}), range(d[0], "N"), range(d[1]))
                         : mistake(30) ? fmt::format("x.{}[{}, {}]", c_.of({"permute(0, 1)", "merge(0, 1).split(0, D)", "split(0, 2).merge(0, 1)"}),
                                                     range(d[0]), range(d[1]))
                                       : fmt::format("x.permute(0, 1)[{}, {}]", range(d[0]), range(d[1], "N"))
                       : fmt::format("sum({})", tile({dim(), dim()}, depth - 1));
    default: {
      std::string st = rank == 2 ? known("struct " + dims(d)) : "";
      return st.empty() ? tile(d, depth - 1) : fmt::format("{}.{}", st, c_.of({"a", "b"}));
    }
  }
}

/// Any expression at all.
inline std::string ProgramGenerator::wild(int depth) {
  if (depth <= 0) {
    switch (c_.below(4)) {
      case 0: return number();
      case 1:
        return c_.of({"x",  "y", "o",    "sc", "ad",  "io", "opt", "ids", "h",    "i",     "s", "n",     "d",   "plan",
                      "BM", "T", "FLAG", "M",  "f32", "i4", "exp", "C1",  "Pair", "Meter", "k", "apply", "rng", "\"text\""});
      case 2: return scope_.empty() ? "s" : c_.of(scope_).name;
      default: return fmt::format("fill({}, {}[{}])", number(), c_.of({"f32", "i32", "u8", "bool", "idx", "e4m3", "T"}), dim());
    }
  }
  switch (c_.below(12)) {
    case 0:
      return fmt::format("({} {} {})", wild(depth - 1), c_.of({"+", "-", "*", "/", "%", "@", "&", "|", "^", "<<", ">>", "&&", "||", "==", "<", ".."}),
                         wild(depth - 1));
    case 1: return fmt::format("({}{})", c_.of({"-", "!", "~"}), wild(depth - 1));
    case 2:
    case 3:
    case 4: {
      const auto& table = builtin_table();
      std::string out = std::string(table[c_.below(table.size())].name) + "(";
      std::size_t n = c_.below(5);
      for (std::size_t i = 0; i < n; ++i) {
        if (i) out += ", ";
        if (c_.chance(15)) out += c_.of({"axis: ", "prec: ", "multiple: ", "exclusive: ", "descending: ", "when: ", "none: "});
        out += wild(depth - 1);
      }
      return out + ")";
    }
    case 5: return fmt::format("{}.{}", wild(depth - 1), c_.of({"T", "start", "size", "block", "a", "scale", "none"}));
    case 6:
      return fmt::format("{}.{}({})", wild(depth - 1), c_.of({"axis", "merge", "split", "permute", "reshape", "on"}),
                         c_.of({"0", "1, 0", "0, 1", "2", "-1", "M", "0, 0", "", "n", "BM, BN", "1, 1, 1"}));
    case 7:
      return fmt::format("{}[{}{}]", wild(depth - 1), c_.of({":", "0", "i", "n", "0 .. 4", "i, :", "i, 0", "ids[i]"}),
                         c_.chance(30) ? ", " + wild(depth - 1) : "");
    case 8: return fmt::format("(|{}| {})", c_.of({"a", "a, b", ""}), wild(depth - 1));
    case 9:
      return fmt::format("{}({}{})", c_.of({"f32", "bool", "idx", "e4m3", "i4", "Meter", "Pair", "T", "apply", "second", "k", "u64"}),
                         wild(depth - 1), c_.chance(30) ? ", " + wild(depth - 1) : "");
    case 10: return idx(depth - 1);
    default: return bools({}, depth - 1);
  }
}

inline std::string ProgramGenerator::block(int depth, int indent, bool may_break) {
  std::size_t mark = scope_.size();
  std::string out = "{\n";
  std::size_t n = c_.below(4);
  for (std::size_t i = 0; i < n; ++i) out += statement(depth - 1, indent + 4);
  if (may_break && c_.chance(15)) out += fmt::format("{}if {} {{ break; }}\n", std::string(static_cast<std::size_t>(indent + 4), ' '), bools({}, 2));
  scope_.resize(mark);
  return out + std::string(static_cast<std::size_t>(indent), ' ') + "}";
}

inline std::string ProgramGenerator::statement(int depth, int indent) {
  std::string pad(static_cast<std::size_t>(indent), ' ');
  Dims d;
  for (std::size_t rank = c_.below(3); d.size() < rank;) d.push_back(dim());
  switch (c_.below(depth > 0 ? 21 : 13)) {
    case 0:
    case 1:
    case 2:
    case 3: {
      std::string name = fresh("v"), value = tile(d, 3);
      bool is_var = c_.chance(40);
      std::string out = fmt::format("{}{} {}{} = {};\n", pad, is_var ? "var" : "let", name, c_.chance(15) ? ": " + type(d) : "", value);
      scope_.push_back({name, type(d), is_var});
      return out;
    }
    case 4: {
      std::string name = fresh("n");
      std::string out = fmt::format("{}{} {} = {};\n", pad, c_.of({"let", "var"}), name, idx(3));
      scope_.push_back({name, "idx", false});
      return out;
    }
    case 5:
    case 6: {
      std::vector<Var> vars;
      for (const Var& v : scope_)
        if (v.assignable) vars.push_back(v);
      if (vars.empty()) return fmt::format("{}assert {};\n", pad, bools({}, 2));
      Var v = c_.of(vars);
      Dims of;
      if (auto open = v.kind.find('['); open != std::string::npos) {
        std::string inside = v.kind.substr(open + 1, v.kind.size() - open - 2);
        for (std::size_t at; (at = inside.find(", ")) != std::string::npos; inside = inside.substr(at + 2)) of.push_back(inside.substr(0, at));
        of.push_back(inside);
      }
      return fmt::format("{}{} {} {};\n", pad, v.name, c_.of({"=", "+=", "*=", "-=", "/="}), tile(of, 3));
    }
    case 7:
      return in_fn_ ? fmt::format("{}print({});\n", pad, tile({dim()}, 2))
                    : fmt::format("{}io[{}] {} {};\n", pad, range("BM"), c_.of({"=", "+=", "*="}), tile({"BM"}, 3));
    case 8:
      if (mistake(30))
        return fmt::format("{}{}[{}] {} {};\n", pad, c_.of({"sc", "ad", "io", "o", "y"}), c_.of({"0", "i", "n", "ids[i]", "index(i)", ":"}),
                           c_.of({"=", "+="}), tile(c_.chance(50) ? Dims{} : Dims{"BM"}, 2));
      if (in_fn_) return fmt::format("{}assert {};\n", pad, bools({}, 2));
      return c_.chance(50) ? fmt::format("{}sc[{}] = {};\n", pad, c_.of({"i", "ids[i]", "index(i)"}), tile({"BM"}, 2))
                           : fmt::format("{}ad[{}] += {}({});\n", pad, c_.of({"i", "ids[i]"}), add_, tile({"BM"}, 2));
    case 9:
      if (in_fn_) return fmt::format("{}assert {};\n", pad, bools({}, 2));
      return c_.chance(50) ? fmt::format("{}claim unique({}) \"why\";\n", pad, idx(2))
                           : fmt::format("{}fetch_add(ad[{}], {}({}));\n", pad, idx(1), add_, tile({}, 1));
    case 10: {
      std::string name = fresh("r"), axis = c_.of({"M", "N"});
      std::string size = c_.of({"BM", "BN", "4", "8", "D"});
      std::string of =
          mistake(40) ? c_.of({"0 .. n", "M + 1", "i.start .. n", "share(N, n, 2, multiple: 4)"})
          : c_.chance(50)
              ? axis
              : fmt::format(fmt::runtime(c_.of({"span({}, 1, n)", "share({}, 4, n)", "whole({})", "share({}, 2, 1, multiple: 4)"})), axis);
      std::string out = fmt::format("{}let {} = tiles({}, {})[{}];\n", pad, name, of, size, idx(1));
      scope_.push_back({name, fmt::format("range {} {}", axis, size), false});
      return out;
    }
    case 11: {
      std::string name = fresh("st");
      Dims of{dim(), dim()};
      std::string out = fmt::format("{}{} {} = Pair(a: {});\n", pad, c_.of({"let", "var"}), name, tile(of, 2));
      scope_.push_back({name, "struct " + dims(of), false});
      return out;
    }
    case 12: {
      Dims of{dim(), dim()};
      std::string p = fresh("p"), y = fresh("y"), dy = fresh("dy"), x = tile(of, 2);
      std::string body = mistake(20) ? tile(of, 2) : smooth(p, 3);
      std::string out = fmt::format("{}let ({}, {}) = diff(|{}| {}, {});\n", pad, y, dy, p, body, x);
      for (const std::string& n : {y, dy}) scope_.push_back({n, type(of), false});
      return out;
    }
    case 13:
    case 14: {
      std::string name = fresh("j"), size = c_.of({"BM", "BN", "4", "8", "D"}), axis = c_.of({"M", "N"});
      std::string of = mistake(30)     ? c_.of({"n", "0 .. M", "10"})
                       : c_.chance(60) ? axis
                                       : fmt::format(fmt::runtime(c_.of({"span({}, n, 40)", "share({}, 3, n)"})), axis);
      std::string head = fmt::format("{}for {} in tiles({}, {}) ", pad, name, of, size);
      scope_.push_back({name, fmt::format("range {} {}", axis, size), false});
      std::string body = block(depth, indent, true);
      scope_.pop_back();
      return head + body + "\n";
    }
    case 15: {
      std::string name = fresh("j");
      bool unrolled = c_.chance(50);
      std::string head = fmt::format("{}for {}{} in {} ", pad, unrolled ? "const " : "", name,
                                     mistake(40) ? c_.of({"M", "n", "0 .. n", "i", "2000", "0 .. 9223372036854775807", "FLAG"})
                                     : unrolled  ? c_.of({"4", "BM", "1 .. 3", "3 .. 1"})
                                                 : c_.of({"4", "M", "0 .. n", "BM", "1 .. 3", "3 .. 1"}));
      scope_.push_back({name, "idx", false});
      std::string body = block(depth, indent, !unrolled);
      scope_.pop_back();
      return head + body + "\n";
    }
    case 16: return fmt::format("{}while {} {}\n", pad, bools({}, 2), block(depth, indent, true));
    case 17:
    case 18: return fmt::format("{}if {} {}{}\n", pad, bools({}, 2), block(depth, indent), c_.chance(50) ? " else " + block(depth, indent) : "");
    case 19:
      if (mistake(50)) return pad + c_.of({"break;", "return;", "return s;", "if s > 0.0 { break; }"}) + "\n";
      return fmt::format("{}print({});\n", pad, tile(d, 2));
    default: {
      if (mistake(50)) return fmt::format("{}{}{};\n", pad, c_.chance(50) ? "let " + fresh("w") + " = " : "", wild(3));
      std::string name = fresh("g"), p = fresh("p");
      std::size_t mark = scope_.size();
      scope_.push_back({p, type(d), false});
      std::string body = tile(d, 2);
      scope_.resize(mark);
      std::string out = fmt::format("{}let {} = |{}| {};\n", pad, name, p, body), y = fresh("v");
      out += fmt::format("{}let {} = {}({});\n", pad, y, name, tile(d, 2));
      scope_.push_back({y, type(d), false});
      return out;
    }
  }
}

/// What `diff` differentiates: elementwise in x.
inline std::string ProgramGenerator::smooth(const std::string& x, int depth) {
  if (depth <= 0) return c_.of({x.c_str(), x.c_str(), "s", "2.0"});
  switch (c_.below(5)) {
    case 0: return fmt::format("{}({})", c_.of({"exp", "tanh", "sigmoid", "sin", "cos", "erf", "sqrt", "rcp", "ln"}), smooth(x, depth - 1));
    case 1: return fmt::format("select({} > 0.0, {}, {})", x, smooth(x, depth - 1), smooth(x, depth - 1));
    case 2: return fmt::format("{}({}, {})", c_.of({"min", "max"}), smooth(x, depth - 1), smooth(x, depth - 1));
    case 3: return fmt::format("-{}", smooth(x, depth - 1));
    default: return fmt::format("({} {} {})", smooth(x, depth - 1), c_.of({"+", "-", "*", "/"}), smooth(x, depth - 1));
  }
}

inline std::string ProgramGenerator::fn() {
  std::vector<Var> saved = std::exchange(scope_, {});
  std::string name = fresh("f"), out;
  in_fn_ = true;
  scope_.push_back({"t", "f32[BM, BN]", false});
  scope_.push_back({"s", "f32", false});
  out = fmt::format(
      "fn {}[T: half, BM: int, BN: int, D: int{}, M: dim, N: dim, FLAG: bool = false](t: {}[BM, BN], s: f32{}, x: view f32[M, N], y: view f32[N],\n"
      "    h: view T[M, {}], ids: view i32[M], n: i32) -> f32[BM, BN]\n{{\n",
      name, c_.chance(10) ? " = BM" : "", mistake(30) ? "f16" : "f32", mistake(20) ? " = C1" : "", mistake(20) ? "BN" : "D");
  std::size_t n = c_.below(4);
  for (std::size_t i = 0; i < n; ++i) out += statement(2, 4);
  out += fmt::format("    return {};\n}}\n", tile({"BM", "BN"}, 3));
  scope_ = std::move(saved);
  in_fn_ = false;
  fns_.push_back(name);
  return out;
}

inline std::string ProgramGenerator::items() {
  std::string out;
  out += fmt::format("const C1 = {};\nconst C2{} = {};\nconst C3 = {};\n", c_.of({"1.0", "2", "1.5", "1 << 20"}), mistake(20) ? ": f32" : "",
                     mistake(20) ? wild(1) : "1.5 * 2.0", mistake(30) ? number() : "C1");
  out += "type Meter = f32;\n";
  out += fmt::format("struct Pair[A: int, B: int] {{ a: f32[A, B], b: f32[A, B] = {} }}\n", mistake(20) ? wild(1) : "1.0");
  out += fmt::format("struct Plan {{ scale: f32, table: view i32[P]{} }}\n", mistake(20) ? ", next: Pair[4, 4]" : "");
  out += "fn apply[A: int](f: fn(f32[A]) -> f32[A], x: f32[A]) -> f32[A] { return f(x); }\n";
  out += "fn second[A: int, B: int](p: f32[A, B], q: f32[A, B]) -> f32[A, B] { return q; }\n";
  for (std::size_t n = c_.below(3); n > 0; --n) out += fn();
  return out;
}

inline std::string ProgramGenerator::program() {
  wildness_ = c_.of(std::vector<int>{0, 0, 3, 10, 100});
  std::string out = items();
  scope_ = {{"i", "range M BM", false}, {"n", "idx", false}, {"s", "f32", false}};
  bool second_axis = c_.chance(30);
  if (second_axis) scope_.push_back({"j", "range N BN", false});
  add_ = c_.of({"f32", "i32"});
  out += fmt::format("kernel k[T: half = f16, BM: int = 16, BN: int = {}, D: int = 8, FLAG: bool = {}](\n", mistake(20) ? wild(1) : "8",
                     c_.of({"false", "true"}));
  out += fmt::format(
      "    x: view f32[M, N], y: view f32[N], h: view T[M, {}], ids: view i32[M], o: out view f32[M{}], sc: scatter view f32[M], ad: add view "
      "{}[M],\n",
      mistake(20) ? dim() : "D", second_axis ? ", N" : "", add_);
  out += "    io: inout view f32[M], opt: view f32[M] ?, s: f32, n: i32, d: Meter, plan: Plan)\n";
  if (c_.chance(30))
    out += fmt::format("where {}\n", mistake(50) ? c_.of({"M == N", "M == D", "N % BM == 0, M == BM * N", "s > 0.0", "BM > 0", "FLAG"})
                                                 : c_.of({"M % 4 == 0", "D in {4, 8, 16}", "T in {f16, bf16}", "M in 1 .. 100", "BM * BN <= 4096"}));
  out += fmt::format("over (i in {}{})", mistake(20) ? c_.of({"tiles(M * 2, BM)", "tiles(span(M, 0, N), BM)", "tiles(n, BM)"}) : "tiles(M, BM)",
                     second_axis ? ", j in tiles(N, BN)" : "");
  if (c_.chance(10)) out += c_.of({" strict", " deterministic", " resident"});
  out += "\n{\n";
  std::size_t n = 1 + c_.below(7);
  for (std::size_t k = 0; k < n; ++k) out += statement(3, 4);
  if (second_axis)
    out += fmt::format("    o[i, j] = {};\n", tile({"BM", "BN"}, 3));
  else
    out += fmt::format("    o[i] = {};\n", tile({"BM"}, 3));
  out += "}\n";
  if (mistake(30))
    out += fmt::format("tune k {{ BM in {{{}}}; {} }}\n", c_.of({"8, 16", "16", "0 .. 4", "1.5"}),
                       c_.of({"", "key M, bucket(N);", "where BM * BN <= 128;", "where M > 3;", "invariant N;"}));
  if (mistake(20))
    out += fmt::format("schedule k on {} {{ {} {}: {}; }}\n", c_.of({"sm90", "cpu", "sm80"}), c_.of({"ring", "unroll", "skew"}), scope_.back().name,
                       c_.of({"2", "BM", "smem"}));
  if (mistake(10)) out += fmt::format("kernel k2 = k[{}: {}];\n", c_.of({"BM", "T", "FLAG", "none"}), wild(1));
  return out;
}

inline Constants ProgramGenerator::constants() {
  static const std::vector<std::int64_t> usual = {16, 8, 4, 32, 1, 17}, odd = {0, -1, 3, 1 << 24, std::int64_t{1} << 40, INT64_MAX, INT64_MIN};
  Constants out;
  for (const char* n : {"BM", "BN", "D"})
    if (c_.chance(50)) out[n] = mistake(30) ? c_.of(odd) : c_.of(usual);
  if (c_.chance(30)) out["T"] = mistake(10) ? DType::F32 : DType::BF16;
  if (c_.chance(20)) out["FLAG"] = c_.chance(50);
  if (mistake(2)) out["none"] = std::int64_t{1};
  return out;
}

inline std::vector<std::string> ProgramGenerator::absent() { return c_.chance(40) ? std::vector<std::string>{"opt"} : std::vector<std::string>{}; }

}  // namespace tessera::fuzz
