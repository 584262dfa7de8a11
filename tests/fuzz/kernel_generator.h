// Random well-typed kernels on integer data: every float that arises is an integer small enough for all its sums to be exact, so that any order of
// evaluation gives the same bits.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/fuzz/choices.h"

namespace tessera::fuzz {

class KernelGenerator {
 public:
  using Dims = std::vector<std::int64_t>;

  explicit KernelGenerator(Choices& c) : c_(c) {}

  /// A file with one kernel `k` over views x f32[M, N], y f32[N], h f16[M, D], z i32[M, N], ids i32[M] (some outside of M), pm i32[M] (a
  /// permutation), o out f32[M] or [M, N], sc scatter f32[M], io inout f32[M], ad add i32[M], and scalars s f32 and n i32.
  std::string kernel();
  /// A size for the axis M or N.
  std::int64_t extent() { return c_.of(std::vector<std::int64_t>{16, 5, 33, 1, 64, 40, 7}); }
  std::int64_t scalar() { return static_cast<std::int64_t>(c_.below(9)) - 4; }
  static constexpr std::int64_t D = 8;

 private:
  enum class Elem : std::uint8_t { F32, I32, Idx, Bool };
  struct Expr {
    std::string text;
    double size = 0;  ///< of F32: no element is larger in magnitude
  };
  struct Var {
    std::string name;
    Elem elem;
    Dims dims;
    double size;
    bool assignable;
  };
  struct Range {
    std::string name;
    char axis;
    std::int64_t size;
  };
  static constexpr double exact = 1 << 22, of_var = 3000;

  static const char* name(Elem e) {
    switch (e) {
      case Elem::F32: return "f32";
      case Elem::I32: return "i32";
      case Elem::Idx: return "idx";
      case Elem::Bool: return "bool";
    }
    return "";
  }
  static std::string type(Elem e, const Dims& d) { return d.empty() ? name(e) : fmt::format("{}[{}]", name(e), fmt::join(d, ", ")); }
  static std::int64_t count(const Dims& d) {
    std::int64_t n = 1;
    for (std::int64_t v : d) n *= v;
    return n;
  }
  std::string fresh(const char* base) { return fmt::format("{}{}", base, next_++); }
  std::int64_t dim() { return c_.of(std::vector<std::int64_t>{bm_, bn_, 1, 4, 8, 3, D}); }
  Dims shape() {
    Dims d(c_.below(3));
    for (auto& v : d) v = dim();
    return d;
  }
  const Var* known(Elem e, const Dims& d) {
    std::vector<const Var*> all;
    for (const Var& v : vars_)
      if (v.elem == e && v.dims == d) all.push_back(&v);
    return all.empty() ? nullptr : c_.of(all);
  }
  /// Within `most`, clamped if it may not be.
  static std::string within(const Expr& e, double most) {
    return e.size <= most ? e.text : fmt::format("clamp({}, -{:.1f}, {:.1f})", e.text, most, most);
  }
  std::string small(const Dims& d, int depth, double most = 9) { return within(f32(d, depth), most); }
  /// All elements valid, so that shapes may be changed.
  std::string whole(const std::string& text, const char* with) { return c_.chance(90) ? fmt::format("pad({}, {})", text, with) : text; }

  std::string any_of(Elem e, const Dims& d, int depth);
  std::string range(std::int64_t size, char axis);
  Expr f32(const Dims& d, int depth);
  Expr f32_load(const Dims& d, int depth);
  Expr f32_reshaped(const Dims& d, int depth);
  Expr f32_folded(const Dims& d, int depth);
  std::string i32(const Dims& d, int depth);
  std::string idx(const Dims& d, int depth);
  std::string bools(const Dims& d, int depth);
  void statement(int depth, int indent);
  void pair_of_results(int indent);
  void block(int depth, int indent, const std::string& last = "");
  void line(int indent, const std::string& text) { out_ += std::string(static_cast<std::size_t>(indent), ' ') + text + "\n"; }

  Choices& c_;
  int next_ = 0;
  std::int64_t bm_ = 16, bn_ = 8;
  std::vector<Var> vars_;
  std::vector<Range> ranges_;
  std::string out_;
};

inline std::string KernelGenerator::any_of(Elem e, const Dims& d, int depth) {
  switch (e) {
    case Elem::F32: return small(d, depth, of_var);
    case Elem::I32: return i32(d, depth);
    case Elem::Idx: return idx(d, depth);
    case Elem::Bool: return bools(d, depth);
  }
  return "";
}

inline std::string KernelGenerator::range(std::int64_t size, char axis) {
  std::vector<const Range*> all;
  for (const Range& r : ranges_)
    if (r.axis == axis && r.size == size) all.push_back(&r);
  if (!all.empty() && c_.chance(85)) return c_.of(all)->name;
  return fmt::format("tiles({}, {})[{}]", axis, size, c_.chance(50) ? "0" : c_.of({"1", "i.block", "idx(n)"}));
}

inline std::string KernelGenerator::idx(const Dims& d, int depth) {
  if (const Var* v = known(Elem::Idx, d); v && c_.chance(30)) return v->name;
  if (depth <= 0)
    return d.empty() ? c_.of({"0", "1", "3", "i.block", "i.start", "M", "N", "idx(n)"})
                     : fmt::format("fill({}, {})", c_.below(9), type(Elem::Idx, d));
  std::string a = c_.of({"+", "-", "*", "/", "%"});
  switch (c_.below(6)) {
    case 0: return fmt::format("({} {} {})", idx(d, depth - 1), a, idx(c_.chance(50) ? Dims{} : d, depth - 1));
    case 1: return fmt::format("{}({}, {})", c_.of({"min", "max"}), idx(d, depth - 1), idx(d, depth - 1));
    case 2: return fmt::format("idx({})", i32(d, depth - 1));
    case 3:
      if (d.size() == 1) return c_.chance(70) ? fmt::format("index({})", range(d[0], c_.chance(50) ? 'M' : 'N')) : fmt::format("iota({})", d[0]);
      if (d.size() == 2 && d[1] == 1) return fmt::format("rows({})", range(d[0], 'M'));
      if (d.size() == 2 && d[0] == 1) return fmt::format("cols({})", range(d[1], 'N'));
      return fmt::format("({} {} {})", idx(d, 0), a, idx({}, depth - 1));
    case 4:
      for (std::size_t i = 0; i < d.size(); ++i)
        if (d[i] == 1) {
          Dims wide = d;
          wide[i] = dim();
          return fmt::format("{}({}, axis: {})", c_.of({"argmax", "argmin"}), small(wide, depth - 1, exact), i);
        }
      return d.empty() ? fmt::format("{}({})", c_.of({"argmax", "argmin"}), i32({dim()}, depth - 1)) : idx(d, depth - 1);
    default: return fmt::format("select({}, {}, {})", bools(d, depth - 1), idx(d, depth - 1), idx(d, depth - 1));
  }
}

inline std::string KernelGenerator::bools(const Dims& d, int depth) {
  if (const Var* v = known(Elem::Bool, d); v && c_.chance(30)) return v->name;
  if (depth <= 0)
    return d.empty() ? c_.of({"true", "(s > 0.0)", "(n > 1)", "(i.block == 1)"})
                     : fmt::format("fill({}, {})", c_.of({"true", "n > 0"}), type(Elem::Bool, d));
  const std::string compare = c_.of({"<", "<=", ">", ">=", "==", "!="});
  switch (c_.below(7)) {
    case 0: return fmt::format("({} {} {})", f32(d, depth - 1).text, compare, f32(c_.chance(30) ? Dims{} : d, depth - 1).text);
    case 1: return fmt::format("({} {} {})", i32(d, depth - 1), compare, i32(d, depth - 1));
    case 2: return fmt::format("({} {} {})", bools(d, depth - 1), c_.of({"&&", "||", "^", "&"}), bools(d, depth - 1));
    case 3: return fmt::format("(!{})", bools(d, depth - 1));
    case 4: return fmt::format("({} {} {})", idx(d, depth - 1), compare, idx(d, depth - 1));
    case 5:
      for (std::size_t i = 0; i < d.size(); ++i)
        if (d[i] == 1) {
          Dims wide = d;
          wide[i] = dim();
          return fmt::format("{}({}, axis: {})", c_.of({"any", "all"}), bools(wide, depth - 1), i);
        }
      return d.empty() ? fmt::format("{}({})", c_.of({"any", "all"}), bools({dim()}, depth - 1)) : bools(d, depth - 1);
    default:
      return d.size() == 2 ? fmt::format("(rows({}) {} cols({}))", range(d[0], 'M'), compare, range(d[1], 'N'))
                           : fmt::format("select({}, {}, {})", bools(d, depth - 1), bools(d, depth - 1), bools(d, depth - 1));
  }
}

inline std::string KernelGenerator::i32(const Dims& d, int depth) {
  if (const Var* v = known(Elem::I32, d); v && c_.chance(30)) return v->name;
  if (depth <= 0) {
    if (d.size() == 1 && c_.chance(70)) return fmt::format("ids[{}]", range(d[0], 'M'));
    if (d.size() == 2 && c_.chance(70)) return fmt::format("z[{}, {}]", range(d[0], 'M'), range(d[1], 'N'));
    return d.empty() ? c_.of({"n", "i32(3)", "i32(-7)", "i32(M)"}) : fmt::format("fill({}, {})", c_.of({"n", "5", "-1"}), type(Elem::I32, d));
  }
  switch (c_.below(13)) {
    case 0:
    case 1:
      return fmt::format("({} {} {})", i32(d, depth - 1), c_.of({"+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"}),
                         i32(c_.chance(30) ? Dims{} : d, depth - 1));
    case 2: return fmt::format("{}({}, {})", c_.of({"min", "max"}), i32(d, depth - 1), i32(d, depth - 1));
    case 3: return fmt::format("i32({}({}))", c_.of({"u8", "i8", "i16", "u16", "u32", "i64", "f64", "bool", "idx"}), i32(d, depth - 1));
    case 4: return fmt::format("i32({})", f32(d, depth - 1).text);
    case 5: return fmt::format("{}({})", c_.of({"popcount", "clz", "abs", "-", "~"}), i32(d, depth - 1));
    case 6: return fmt::format("select({}, {}, {})", bools(d, depth - 1), i32(d, depth - 1), i32(d, depth - 1));
    case 7: return fmt::format("i32({})", c_.chance(50) ? idx(d, depth - 1) : bools(d, depth - 1));
    case 8:
      for (std::size_t i = 0; i < d.size(); ++i)
        if (d[i] == 1) {
          Dims wide = d;
          wide[i] = dim();
          return fmt::format("{}({}, axis: {})", c_.of({"sum", "max", "min", "prod"}), i32(wide, depth - 1), i);
        }
      return d.empty() ? fmt::format("{}({})", c_.of({"sum", "max", "min"}), i32({dim(), dim()}, depth - 1)) : i32(d, depth - 1);
    case 9:
      if (d.empty()) return i32(d, depth - 1);
      return fmt::format("{}({}, axis: {}{})", c_.of({"scan_sum", "scan_max"}), i32(d, depth - 1), c_.below(d.size()),
                         c_.of({"", "", ", exclusive: true", ", reverse: true"}));
    case 10: return d.size() == 1 ? fmt::format("histogram({}, {})", i32({dim()}, depth - 1), d[0]) : i32(d, depth - 1);
    case 11:
      if (d.empty()) return i32(d, depth - 1);
      return fmt::format("sort({}, axis: {}{})", i32(d, depth - 1), c_.below(d.size()), c_.of({"", ", descending: true"}));
    default: {
      if (d.size() == 2 && c_.chance(50)) {
        std::int64_t k = dim();
        return fmt::format("(i8({}) @ i8({}))", i32({d[0], k}, depth - 1), i32({k, d[1]}, depth - 1));
      }
      return d.size() == 1   ? fmt::format("ids[{}]", idx(d, depth - 1))
             : d.size() == 2 ? fmt::format("z[{}, {}]", idx(d, depth - 1), idx(d, depth - 1))
                             : fmt::format("ids[{}]", idx({}, depth - 1));
    }
  }
}

/// Elements of the views of floats, by every kind of index.
inline KernelGenerator::Expr KernelGenerator::f32_load(const Dims& d, int depth) {
  auto in = [](std::string text) { return Expr{std::move(text), 5}; };
  if (d.empty())
    return in(c_.chance(50) ? fmt::format("x[{}, {}]", idx({}, depth - 1), idx({}, depth - 1)) : fmt::format("y[{}]", idx({}, depth - 1)));
  if (d.size() == 1) {
    switch (c_.below(5)) {
      case 0: return in(fmt::format("y[{}]", idx(d, depth - 1)));
      case 1: return in(fmt::format("x[{}, {}]", range(d[0], 'M'), idx({}, depth - 1)));
      case 2: return in(fmt::format("x[{}, {}]", idx({}, depth - 1), range(d[0], 'N')));
      case 3: return in(fmt::format("take(y, ids)[{}]", range(d[0], 'M')));
      default: return in(fmt::format("y[{}]", range(d[0], 'N')));
    }
  }
  switch (c_.below(8)) {
    case 0: return in(fmt::format("x[{}, {}]", idx(d, depth - 1), idx(d, depth - 1)));
    case 1: return in(fmt::format("x[{}, {}]", idx({d[0]}, depth - 1), range(d[1], 'N')));
    case 2: return in(fmt::format("x.T[{}, {}]", range(d[0], 'N'), range(d[1], 'M')));
    case 3: return in(fmt::format("take(x, ids)[{}, {}]", range(d[0], 'M'), range(d[1], 'N')));
    case 4: return d[1] == D ? in(fmt::format("f32(h[{}, :])", range(d[0], 'M'))) : in(fmt::format("x[{}, {}]", range(d[0], 'M'), range(d[1], 'N')));
    case 5:
      return d[0] == D ? in(fmt::format("f32(h.T[:, {}])", range(d[1], 'M'))) : in(fmt::format("x[{}, {}]", range(d[0], 'M'), range(d[1], 'N')));
    case 6: return in(fmt::format("x[{}, index({})]", range(d[0], 'M'), range(d[1], 'N')));
    default: return in(fmt::format("x[{}, {}]", range(d[0], 'M'), range(d[1], 'N')));
  }
}

inline KernelGenerator::Expr KernelGenerator::f32_reshaped(const Dims& d, int depth) {
  auto permuted = [&](const Dims& from, const std::string& how) {
    Expr e = f32(from, depth - 1);
    return Expr{fmt::format("({}){}", e.text, how), e.size};
  };
  auto reshaped = [&](const Dims& from) {
    Expr e = f32(from, depth - 1);
    return Expr{fmt::format("({}).reshape({})", whole(e.text, "2.0"), fmt::join(d, ", ")), std::max(e.size, 2.0)};
  };
  if (d.size() == 2) {
    switch (c_.below(5)) {
      case 0: return permuted({d[1], d[0]}, c_.chance(50) ? ".T" : ".permute(1, 0)");
      case 1: return reshaped({d[1], d[0]});
      case 2: return reshaped({d[0] * d[1]});
      case 3:
        if (d[1] == 1) return {fmt::format("col({})", small({d[0]}, depth - 1, 99)), 99};
        if (d[0] == 1) return {fmt::format("row({})", small({d[1]}, depth - 1, 99)), 99};
        return reshaped({d[0] * d[1], 1});
      default: {
        std::size_t axis = c_.below(2);
        if (d[axis] < 2) return f32(d, depth - 1);
        Dims a = d, b = d;
        a[axis] = 1 + static_cast<std::int64_t>(c_.below(static_cast<std::size_t>(d[axis] - 1)));
        b[axis] = d[axis] - a[axis];
        return {fmt::format("concat({}, {}, axis: {})", whole(small(a, depth - 1, 99), "1.0"), whole(small(b, depth - 1, 99), "0.0"), axis), 99};
      }
    }
  }
  if (d.size() == 1) return d[0] % 2 == 0 && c_.chance(50) ? reshaped({2, d[0] / 2}) : reshaped({d[0], 1});
  return {fmt::format("sum({})", small({dim(), 1}, depth - 1)), 9 * 64};
}

/// Reductions, scans, products and sorts.
inline KernelGenerator::Expr KernelGenerator::f32_folded(const Dims& d, int depth) {
  const std::string max_or_min = c_.of({"max", "min"});
  switch (c_.below(8)) {
    case 6:  // as a softmax has it
      for (std::size_t i = 0; i < d.size(); ++i)
        if (d[i] == 1) {
          Dims wide = d;
          wide[i] = dim();
          if (c_.chance(50)) return {fmt::format("max(select({}, {}, -inf), axis: {})", bools(wide, depth - 1), small(wide, depth - 1), i), 1e9};
          return {fmt::format("sum(exp(select({}, 0.0, -inf)), axis: {})", bools(wide, depth - 1), i), static_cast<double>(wide[i])};
        }
      return {fmt::format("exp2(select({}, 0.0, fill(-inf, {})))", bools(d, depth - 1), type(Elem::F32, d)), 1};
    case 7:
      if (d.size() == 2) {
        std::size_t i = c_.below(2);
        return {
            fmt::format("scan(|l, r| Pair(a: l.a * r.a, b: r.a * l.b + r.b), Pair(a: 1.0, b: 0.0), Pair(a: fill(0.0, {}) + {}, b: {}), axis: {}).b",
                        type(Elem::F32, d), small(d, depth - 1, 1), small(d, depth - 1), i),
            9.0 * static_cast<double>(d[i])};
      }
      [[fallthrough]];
    case 0:
      for (std::size_t i = 0; i < d.size(); ++i)
        if (d[i] == 1) {
          Dims wide = d;
          wide[i] = dim();
          if (c_.chance(30))
            return {
                fmt::format("reduce(|a, b| {}(a, b), {}, {}, axis: {})", max_or_min, max_or_min == "max" ? "-inf" : "inf", small(wide, depth - 1), i),
                1e9};
          if (c_.chance(30)) return {fmt::format("{}({}, axis: {})", max_or_min, small(wide, depth - 1), i), 1e9};
          return {fmt::format("sum({}, axis: {})", small(wide, depth - 1), i), 9.0 * static_cast<double>(wide[i])};
        }
      [[fallthrough]];
    case 1:
      if (d.empty()) {
        Dims of = {dim(), dim()};
        return {fmt::format("sum({})", small(of, depth - 1)), 9.0 * static_cast<double>(count(of))};
      }
      [[fallthrough]];
    case 2:
      if (!d.empty()) {
        std::size_t i = c_.below(d.size());
        return {fmt::format("scan_sum({}, axis: {}{})", small(d, depth - 1), i, c_.of({"", "", ", exclusive: true", ", reverse: true"})),
                9.0 * static_cast<double>(d[i])};
      }
      return {fmt::format("{}({})", max_or_min, small({dim()}, depth - 1)), 1e9};
    case 3:
      if (d.size() == 2) {
        std::int64_t k = dim();
        std::string half = c_.of({"f32", "f16", "bf16", "e4m3"});
        return {fmt::format("({}({}) @ {}({}))", half, small({d[0], k}, depth - 1), half,
                            c_.chance(50) ? small({k, d[1]}, depth - 1) : fmt::format("({}).T", small({d[1], k}, depth - 1))),
                81.0 * static_cast<double>(k)};
      }
      [[fallthrough]];
    case 4:
      if (!d.empty()) {
        Expr e = f32(d, depth - 1);
        return {fmt::format("sort({}, axis: {}{})", e.text, c_.below(d.size()), c_.of({"", ", descending: true"})), e.size};
      }
      [[fallthrough]];
    default:
      if (d.empty()) return {fmt::format("{}({})", max_or_min, small({dim(), dim()}, depth - 1)), 1e9};
      std::size_t i = c_.below(d.size());
      return {fmt::format("scan(|a, b| {}, {}, {}, axis: {})", max_or_min == "max" ? "max(a, b)" : "a + b", max_or_min == "max" ? "-inf" : "0.0",
                          small(d, depth - 1), i),
              max_or_min == "max" ? 1e9 : 9.0 * static_cast<double>(d[i])};
  }
}

inline KernelGenerator::Expr KernelGenerator::f32(const Dims& d, int depth) {
  if (const Var* v = known(Elem::F32, d); v && c_.chance(depth <= 0 ? 60 : 15)) return {v->name, v->size};
  if (depth <= 0) {
    if (d.empty()) return {c_.of({"1.0", "s", "-2.0", "0.0"}), 5};
    if (c_.chance(40)) return {fmt::format("fill({}, {})", c_.of({"0.0", "s", "3.0", "-1.0"}), type(Elem::F32, d)), 5};
    return d.size() == 2 ? Expr{fmt::format("x[{}, {}]", range(d[0], 'M'), range(d[1], 'N')), 5} : Expr{fmt::format("y[{}]", range(d[0], 'N')), 5};
  }
  auto bounded = [](Expr e) { return e.size <= exact ? e : Expr{within(e, 99), 99}; };
  switch (c_.below(14)) {
    case 0:
    case 1: {
      std::string op = c_.of({"+", "-", "*"});
      Expr a = f32(d, depth - 1), b = f32(c_.chance(25) ? Dims{} : d, depth - 1);
      return bounded({fmt::format("({} {} {})", a.text, op, b.text), op == "*" ? a.size * b.size : a.size + b.size});
    }
    case 2: {
      Expr a = f32(d, depth - 1), b = f32(d, depth - 1);
      return {fmt::format("{}({}, {})", c_.of({"min", "max"}), a.text, b.text), std::max(a.size, b.size)};
    }
    case 3: {
      Expr a = f32(d, depth - 1), b = f32(d, depth - 1);
      return {fmt::format("select({}, {}, {})", bools(d, depth - 1), a.text, b.text), std::max(a.size, b.size)};
    }
    case 4: {
      Expr e = f32(d, depth - 1);
      return {fmt::format("{}({})", c_.of({"-", "abs", "floor", "ceil", "round"}), e.text), e.size};
    }
    case 5: return {fmt::format("f32({}({}))", c_.of({"f16", "bf16", "f64"}), small(d, depth - 1, 99)), 99};
    case 6:
      return {fmt::format("f32({}({}))", c_.of({"e4m3", "e5m2", "e2m1", "i8", "u8", "i32", "u16", "bool", "idx"}), small(d, depth - 1, 4)), 1e9};
    case 7: return {fmt::format("f32({})", c_.chance(50) ? i32(d, depth - 1) : idx(d, depth - 1)), 1e19};
    case 8: {
      Expr a = f32(d, depth - 1), b = f32(d, depth - 1), c = f32({}, 0);
      return bounded({fmt::format("fma({}, {}, {})", within(a, 99), within(b, 99), c.text), 99 * 99 + c.size});
    }
    case 9: return {fmt::format("floor({} * 0.5)", small(d, depth - 1, 999)), 500};
    case 10:
    case 11: return f32_load(d, depth);
    case 12: return f32_reshaped(d, depth);
    default: return f32_folded(d, depth);
  }
}

inline void KernelGenerator::block(int depth, int indent, const std::string& last) {
  std::size_t vars = vars_.size(), ranges = ranges_.size();

  for (std::size_t n = 1 + c_.below(3); n > 0; --n) statement(depth - 1, indent + 4);
  if (!last.empty()) line(indent + 4, last);
  vars_.resize(vars);
  ranges_.resize(ranges);
}

/// What gives two tiles.
inline void KernelGenerator::pair_of_results(int indent) {
  std::string a = fresh("a"), b = fresh("b");
  Dims d = shape();
  if (d.empty()) d.push_back(bm_);
  std::size_t axis = c_.below(d.size());
  Dims left = d, right = d;
  switch (c_.below(4)) {
    case 0:
      left[axis] = right[axis] = 1 + static_cast<std::int64_t>(c_.below(static_cast<std::size_t>(d[axis])));
      line(indent, fmt::format("let ({}, {}) = top_k({}, {}, axis: {});", a, b, whole(small(d, 2, of_var), "0.0"), left[axis], axis));
      vars_.push_back({a, Elem::F32, left, of_var, false});
      vars_.push_back({b, Elem::Idx, right, 0, false});
      return;
    case 1:
      if (d[axis] > 1) {
        left[axis] = 1 + static_cast<std::int64_t>(c_.below(static_cast<std::size_t>(d[axis] - 1)));
        right[axis] = d[axis] - left[axis];
        line(indent, fmt::format("let ({}, {}) = cut({}, {}, axis: {});", a, b, whole(small(d, 2, 99), "0.0"), left[axis], axis));
        break;
      }
      [[fallthrough]];
    case 2:
      line(indent, fmt::format("let ({}, {}) = split(join(fill(0.0, {}) + {}, {}));", a, b, type(Elem::F32, d), small(d, 2, 99), small(d, 2, 99)));
      break;
    default: {
      std::string p = fresh("p");
      line(indent,
           fmt::format("let ({}, {}) = diff(|{}| {}, fill(0.0, {}) + {});", a, b, p,
                       fmt::format(fmt::runtime(c_.of({"{0} * {0}", "select({0} > 1.0, {0}, -{0})", "max({0}, 2.0 * {0})", "{0} - {0} * s"})), p),
                       type(Elem::F32, d), small(d, 2)));
    }
  }
  vars_.push_back({a, Elem::F32, left, 99, false});
  vars_.push_back({b, Elem::F32, right, 99, false});
}

inline void KernelGenerator::statement(int depth, int indent) {
  switch (c_.below(depth > 0 ? 19 : 14)) {
    case 0:
    case 1:
    case 2: {
      Elem e = c_.of(std::vector<Elem>{Elem::F32, Elem::F32, Elem::F32, Elem::I32, Elem::Idx, Elem::Bool});
      Dims d = shape();
      std::string text = any_of(e, d, 3), v = fresh("v");
      bool variable = c_.chance(50);
      // A constant would make a variable of another type: stated types are not inferred from it.
      line(indent, fmt::format("{} {}: {} = {};", variable ? "var" : "let", v, type(e, d), text));
      vars_.push_back({v, e, d, of_var, variable});
      return;
    }
    case 3:
    case 4:
    case 5: {
      std::vector<const Var*> all;
      for (const Var& v : vars_)
        if (v.assignable) all.push_back(&v);
      if (all.empty()) return;
      const Var v = *c_.of(all);
      if (v.elem == Elem::F32 && c_.chance(40))
        line(indent, fmt::format("{0} = clamp({0} {1} {2}, -{3:.1f}, {3:.1f});", v.name, c_.of({"+", "-"}), small(v.dims, 3, of_var), of_var));
      else if (v.elem == Elem::I32)
        line(indent, fmt::format("{} {} {};", v.name, c_.of({"=", "+=", "*=", "-="}), i32(v.dims, 3)));
      else
        line(indent, fmt::format("{} = {};", v.name, any_of(v.elem, v.dims, 3)));
      return;
    }
    case 6: return line(indent, fmt::format("io[i] {} {};", c_.of({"=", "+="}), small({bm_}, 3)));
    case 7:
      return c_.chance(60) ? line(indent, fmt::format("sc[{}] = {};", c_.of({"i", "pm[i]"}), small({bm_}, 3, exact)))
                           : line(indent, fmt::format("ad[{}] += {};", c_.of({"i", "ids[i]", "pm[i]"}), i32({bm_}, 2)));
    case 8: {
      std::string r = fresh("r");
      char axis = c_.chance(50) ? 'M' : 'N';
      std::int64_t size = c_.of(std::vector<std::int64_t>{bm_, bn_, 4, D});
      std::string of = fmt::format(
          fmt::runtime(c_.of({"{}", "span({}, 1, idx(n))", "share({}, 3, 1)", "span({}, i.start, 30)", "share({}, 2, 1, multiple: 4)"})), axis);
      line(indent, fmt::format("let {} = tiles({}, {})[{}];", r, of, size, c_.of({"0", "1", "i.block"})));
      ranges_.push_back({r, axis, size});
      return;
    }
    case 9: return pair_of_results(indent);
    case 10: {
      std::string f = fresh("f"), p = fresh("p"), v = fresh("v");
      Dims d = shape();
      std::size_t mark = vars_.size();
      vars_.push_back({p, Elem::F32, d, 99, false});
      std::string body = small(d, 2, of_var);
      vars_.resize(mark);
      line(indent, fmt::format("let {} = |{}| {};", f, p, body));
      line(indent,
           fmt::format("let {}: {} = {}({});", v, type(Elem::F32, d), f, fmt::format("fill(0.0, {}) + {}", type(Elem::F32, d), small(d, 2, 99))));
      vars_.push_back({v, Elem::F32, d, of_var, false});
      return;
    }
    case 11: {
      std::string v = fresh("v");
      line(indent, fmt::format("let {}: {} = fetch_add(ad[{}], {});", v, type(Elem::I32, {bm_}), c_.of({"i", "pm[i]"}), i32({bm_}, 2)));
      vars_.push_back({v, Elem::I32, {bm_}, 0, false});
      return;
    }
    case 12: {
      std::string v = fresh("st");
      Dims d{dim(), dim()};
      line(indent, fmt::format("var {} = Pair(a: fill(0.0, {}) + {}, b: {});", v, type(Elem::F32, d), small(d, 2, 99), small(d, 2, 99)));
      if (c_.chance(60)) line(indent, fmt::format("{0} = Pair(a: {0}.b, b: clamp({0}.a + {1}, -99.0, 99.0));", v, small(d, 2, 99)));
      for (const char* field : {".a", ".b"}) vars_.push_back({v + field, Elem::F32, d, 99, false});
      return;
    }
    case 13: {
      std::string pg = fresh("pg"), of = c_.chance(60) ? fmt::format("paged(x.split(0, {}), {}, min(M, {}))", c_.of({"1", "2", "4"}),
                                                                     c_.of({"ids", "pm"}), c_.of({"6", "1", "20"}))
                                                       : fmt::format("x.merge(0, 1).split(0, {})", c_.of({"1", "3", "8"}));
      Dims d{dim(), dim()};
      std::string v = fresh("v");
      line(indent, fmt::format("let {} = {};", pg, of));
      line(indent, fmt::format("let {0}: {1} = pad({2}[tiles({2}.axis(0), {3})[{4}], tiles({2}.axis(1), {5})[0]], 4.0);", v, type(Elem::F32, d), pg,
                               d[0], c_.of({"0", "1", "i.block"}), d[1]));
      vars_.push_back({v, Elem::F32, d, 5, false});
      return;
    }
    case 14:
    case 15: {
      std::string j = fresh("j");
      char axis = c_.chance(60) ? 'N' : 'M';
      std::int64_t size = c_.of(std::vector<std::int64_t>{bn_, bm_, 4});
      std::string of = fmt::format(fmt::runtime(c_.of({"{}", "{}", "span({}, idx(n), 30)", "share({}, 2, 0)"})), axis);
      line(indent, fmt::format("for {} in tiles({}, {}) {{", j, of, size));
      std::size_t ranges = ranges_.size();
      ranges_.push_back({j, axis, size});
      block(depth, indent, c_.chance(15) ? fmt::format("if {} {{ break; }}", bools({}, 2)) : "");
      ranges_.resize(ranges);
      return line(indent, "}");
    }
    case 16:
    case 17: {
      line(indent, fmt::format("if {} {{", bools({}, 2)));
      block(depth, indent);
      if (c_.chance(50)) {
        line(indent, "} else {");
        block(depth, indent);
      }
      return line(indent, "}");
    }
    default: {
      std::string t = fresh("t");
      switch (c_.below(3)) {
        case 0:
          line(indent, fmt::format("for {}{} in {} {{", c_.chance(50) ? "const " : "", t, c_.of({"3", "2 .. 4"})));
          vars_.push_back({t, Elem::Idx, {}, 0, false});
          block(depth, indent);
          vars_.pop_back();
          break;
        case 1:
          line(indent, fmt::format("for {} in {} {{", t, c_.of({"idx(n)", "0 .. min(M, 6)"})));
          vars_.push_back({t, Elem::Idx, {}, 0, false});
          block(depth, indent, c_.chance(30) ? fmt::format("if {} {{ break; }}", bools({}, 2)) : "");
          vars_.pop_back();
          break;
        default:
          line(indent, fmt::format("var {}: idx = 0;", t));
          line(indent, fmt::format("while {} < 4 && {} {{", t, bools({}, 2)));
          vars_.push_back({t, Elem::Idx, {}, 0, false});
          block(depth, indent, fmt::format("{} += 1;", t));
          vars_.pop_back();
      }
      return line(indent, "}");
    }
  }
}

inline std::string KernelGenerator::kernel() {
  bm_ = c_.of(std::vector<std::int64_t>{16, 8, 1, 4, 17, 32});
  bn_ = c_.of(std::vector<std::int64_t>{8, 16, 1, 12, 32});
  bool second_axis = c_.chance(25);
  out_ = fmt::format(
      "struct Pair[A: int, B: int] {{ a: f32[A, B], b: f32[A, B] }}\nkernel k(x: view f32[M, N], y: view f32[N], h: view f16[M, {}], z: view i32[M, "
      "N], ids: view i32[M], pm: view i32[M],\n"
      "    o: out view f32[M{}], sc: scatter view f32[M], io: inout view f32[M], ad: add view i32[M], s: f32, n: i32)\n"
      "over (i in tiles(M, {}){}){}\n{{\n",
      D, second_axis ? ", N" : "", bm_, second_axis ? fmt::format(", j in tiles(N, {})", bn_) : "", c_.chance(10) ? " strict" : "");
  ranges_ = {{"i", 'M', bm_}};
  if (second_axis) ranges_.push_back({"j", 'N', bn_});
  for (std::size_t n = 2 + c_.below(6); n > 0; --n) statement(2, 4);
  line(4, second_axis ? fmt::format("o[i, j] = pad({}, 7.0);", small({bm_, bn_}, 3, exact))
                      : fmt::format("o[i] = pad({}, 7.0);", small({bm_}, 3, exact)));
  return out_ + "}\n";
}

}  // namespace tessera::fuzz
