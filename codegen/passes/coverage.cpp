#include "codegen/passes/coverage.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "codegen/passes/access_map.h"
#include "codegen/passes/in_place.h"
#include "codegen/passes/rewrite.h"

namespace tessera::ir {

namespace {

/// What one store, or several together, reach of an axis: [begin, end) of [0, extent).
struct Reach {
  Sym begin, end, extent;
};

struct Piece {
  AccessMap map;
  std::vector<Reach> reach;  ///< by slot
  const Op* store = nullptr;
};

class Coverage {
 public:
  Coverage(Kernel& kernel, Diagnostics& diagnostics) : kernel_(kernel), diagnostics_(diagnostics), affine_(kernel) {}

  void check(const Param& param, const Value* arg) {
    param_ = &param;
    arg_ = arg;
    failed_ = false;
    std::vector<Piece> pieces = collect(kernel_.body);
    if (failed_) return;
    if (pieces.empty()) return report(Code::E0501, nullptr, "no instance stores it");
    for (Piece& p : pieces)
      if (!settle(p)) return;
    merge(pieces);
    for (const Piece& p : pieces)
      for (const Reach& r : p.reach)
        if (!whole(r))
          return report(Code::E0502, p.store,
                        fmt::format("of an axis of extent {} only {} .. {} is stored", show(r.extent), show(r.begin), show(r.end)));
    if (pieces.size() > 1) report(Code::E0503, pieces[1].store, "an element is stored here and by an earlier store");
  }

 private:
  /// Stores to the parameter in program order; those in both arms of an `if` are one.
  std::vector<Piece> collect(const Block& block) {
    std::vector<Piece> out;
    for (const auto& op : block.ops) {
      if (failed_) return out;
      if (op->kind == OpKind::Store && op->int_attr(Attr::Add) == 0 && view_root(access(*op).view) == arg_) {
        std::string reason;
        auto map = access_map(affine_, kernel_, *op, reason);
        if (!map) {
          report(Code::E0502, op.get(), reason);
          return out;
        }
        out.push_back({std::move(*map), {}, op.get()});
        continue;
      }
      std::vector<std::vector<Piece>> arms;
      for (const auto& r : op->regions) arms.push_back(collect(*r));
      if (failed_ || arms.empty()) continue;
      if (op->kind == OpKind::If && !same(arms[0], arms[1])) {
        const Piece& lone = arms[0].empty() ? arms[1].front() : arms[0].front();
        report(Code::E0502, lone.store,
               arms[0].empty() || arms[1].empty() ? "it is stored only under a condition" : "the arms of an `if` store different elements");
        return out;
      }
      const std::size_t last = op->kind == OpKind::If ? 1 : arms.size();
      for (std::size_t i = 0; i < last; ++i) std::move(arms[i].begin(), arms[i].end(), std::back_inserter(out));
    }
    return out;
  }

  static bool same(const std::vector<Piece>& a, const std::vector<Piece>& b) {
    std::multiset<std::string> x, y;
    for (const Piece& p : a) x.insert(p.map.anonymous(0));
    for (const Piece& p : b) y.insert(p.map.anonymous(0));
    return x == y;
  }

  /// Every variable becomes a digit of one axis.
  bool settle(Piece& p) {
    split_digits(p.map);
    std::set<std::string> open;
    for (const Variable& v : p.map.variables)
      if (!affine_.equal(v.count, 1)) open.insert(v.symbol);
    for (const Slot& s : p.map.slots) {
      auto r = reach(s, p, open);
      if (!r) return false;
      p.reach.push_back(*r);
    }
    if (open.empty()) return true;
    // A trip, or an instance, more stores the same again.
    report(Code::E0503, p.store, fmt::format("{} stores the same elements", every(p, *open.begin())));
    return false;
  }

  std::string every(const Piece& p, const std::string& symbol) const {
    for (std::size_t i = 0; i < kernel_.grid.size(); ++i)
      if (p.map.variables[i].symbol == symbol) return fmt::format("every `{}` of the grid", kernel_.grid[i].name);
    return "every trip of a loop around the store";
  }

  /// t / C and t % C of a variable t become variables of their own.
  void split_digits(AccessMap& map) {
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t i = 0; i < map.variables.size() && !changed; ++i) {
        const Variable v = map.variables[i];
        auto divisor = find_divisor(map, v.symbol);
        if (!divisor) continue;
        const Sym quotient = floor_div(v.count, *divisor);
        if (!affine_.equal(quotient * *divisor, v.count)) continue;
        const Sym high = Sym::symbol(v.symbol + "'"), low = Sym::symbol(v.symbol + "\"");
        for (Slot& s : map.slots)
          for (Sym* e : {&s.start, &s.length, &s.lo, &s.hi, &s.extent})
            *e = rewrite_atoms(*e, [&](const SymAtom& a) -> std::optional<Sym> {
              if (a.op == SymOp::Symbol) return a.text == v.symbol ? std::optional(high * *divisor + low) : std::nullopt;
              if (a.args[0] != Sym::symbol(v.symbol) || a.args[1] != *divisor) return std::nullopt;
              if (a.op == SymOp::FloorDiv) return high;
              return a.op == SymOp::Mod ? std::optional(low) : std::nullopt;
            });
        map.variables[i] = {*high.as_symbol(), quotient};
        map.variables.insert(map.variables.begin() + static_cast<std::ptrdiff_t>(i) + 1, {*low.as_symbol(), *divisor});
        changed = true;
      }
    }
  }

  static std::optional<Sym> find_divisor(const AccessMap& map, const std::string& symbol) {
    std::optional<Sym> found;
    for (const Slot& s : map.slots)
      for (const Sym* e : {&s.start, &s.lo, &s.hi})
        rewrite_atoms(*e, [&](const SymAtom& a) -> std::optional<Sym> {
          if ((a.op == SymOp::FloorDiv || a.op == SymOp::Mod) && a.args[0] == Sym::symbol(symbol) && !found) found = a.args[1];
          return std::nullopt;
        });
    return found;
  }

  static bool mentions_any(const Sym& e, const std::set<std::string>& symbols) {
    return std::any_of(symbols.begin(), symbols.end(), [&](const std::string& s) { return e.mentions(s); });
  }

  /// Lengthens [start, start + length) by the variables in `start` that `usable` accepts, as digits; they leave `open`.
  void take_digits(Sym& start, Sym& length, const Piece& p, std::set<std::string>& open, const std::function<bool(const std::string&)>& usable) {
    for (bool taken = true; taken;) {
      taken = false;
      for (const Variable& v : p.map.variables) {
        if (!open.count(v.symbol) || !start.mentions(v.symbol) || !usable(v.symbol)) continue;
        const Sym without = start.substitute([&](const std::string& s) { return s == v.symbol ? std::optional(Sym(0)) : std::nullopt; });
        if (!affine_.equal(start - without, length * Sym::symbol(v.symbol))) continue;
        start = without;
        length = length * v.count;
        open.erase(v.symbol);
        taken = true;
      }
    }
  }

  std::optional<Reach> reach(const Slot& s, const Piece& p, std::set<std::string>& open) {
    Sym start = s.start, length = s.length;
    auto fail = [&](const std::string& why) {
      report(Code::E0502, p.store, why);
      return std::nullopt;
    };
    // The tiles of [lo, hi) ..
    take_digits(start, length, p, open, [&](const std::string& v) { return !s.lo.mentions(v) && !s.hi.mentions(v); });
    Sym begin = affine_.nonnegative(start - s.lo) ? start : s.lo;
    if (!affine_.nonnegative(start - s.lo) && !affine_.nonnegative(s.lo - start)) return fail("it is not known where the tiles of an axis begin");
    Sym end = start + length;
    if (affine_.nonnegative(end - s.hi)) {
      end = s.hi;
    } else if (!affine_.nonnegative(s.hi - end)) {
      return fail(fmt::format("the tiles of an axis are not known to reach its end {}", show(s.hi)));
    }
    // .. and the intervals [lo, hi) of the axis.
    Sym span = affine_.facts().normalise(end - begin);
    take_digits(begin, span, p, open, [](const std::string&) { return true; });
    if (mentions_any(begin, open) || mentions_any(span, open)) return fail("the tiles of an axis do not lie side by side");
    return Reach{begin, begin + span, s.extent};
  }

  bool whole(const Reach& r) { return affine_.nonnegative(-r.begin) && affine_.nonnegative(r.end - r.extent); }

  /// Pieces that differ on one axis, by adjacent intervals, become one.
  void merge(std::vector<Piece>& pieces) {
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t i = 0; i < pieces.size() && !changed; ++i)
        for (std::size_t j = 0; j < pieces.size() && !changed; ++j) {
          if (i == j || pieces[i].map.shape != pieces[j].map.shape || pieces[i].reach.size() != pieces[j].reach.size()) continue;
          std::optional<std::size_t> apart;
          bool mergeable = true;
          for (std::size_t k = 0; k < pieces[i].reach.size(); ++k) {
            const Reach &a = pieces[i].reach[k], &b = pieces[j].reach[k];
            if (affine_.equal(a.begin, b.begin) && affine_.equal(a.end, b.end)) continue;
            mergeable = mergeable && !apart && affine_.equal(a.end, b.begin);
            apart = k;
          }
          if (!mergeable || !apart) continue;
          pieces[i].reach[*apart].end = pieces[j].reach[*apart].end;
          pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(j));
          changed = true;
        }
    }
  }

  /// A form for the user: loop variables and loaded numbers have no names there.
  static std::string show(const Sym& e) {
    const std::string s = e.str();
    return s.find_first_of("%#") == std::string::npos ? "`" + s + "`" : "a run-time value";
  }

  void report(Code code, const Op* store, const std::string& why) {
    if (failed_) return;
    failed_ = true;
    Diagnostic d;
    d.code = code;
    d.span = store ? store->span : param_->span;
    const char* what = code == Code::E0501   ? "is never stored"
                       : code == Code::E0502 ? "cannot be proved to be stored whole"
                                             : "is stored more than once";
    d.message = fmt::format("`out` view `{}` {}: {}", param_->name, what, why);
    if (store && param_->span.known()) d.labels.push_back({param_->span, fmt::format("`{}` declared `out` here", param_->name)});
    d.help =
        fmt::format("declare it `{}: scatter view ..`{}", param_->name,
                    code == Code::E0503 ? " and promise with `claim unique(..)` that no two stores meet" : " if not every element is to be stored");
    diagnostics_.add(std::move(d));
  }

  Kernel& kernel_;
  Diagnostics& diagnostics_;
  Affine affine_;
  const Param* param_ = nullptr;
  const Value* arg_ = nullptr;
  bool failed_ = false;
};

}  // namespace

void coverage(Kernel& kernel, Diagnostics& diagnostics) {
  Coverage c(kernel, diagnostics);
  for (const auto& arg : kernel.body.args) {
    const Param* p = param_of(kernel, arg.get());
    if (p && p->is_view && p->mode == Mode::Out) c.check(*p, arg.get());
  }
  record_in_place(kernel);
}

}  // namespace tessera::ir
