#include "codegen/passes/mask_region.h"

#include <algorithm>

#include "codegen/passes/rewrite.h"
#include "dsl/diagnostic.h"

namespace tessera::ir {

namespace {

/// The solutions x of an inequality: all, or a half-line.
struct HalfLine {
  std::optional<Sym> lower, upper;
};

class Solver {
 public:
  Solver(Affine& affine, const Op& loop) : affine_(affine), loop_(loop) { iv_ = *affine.scalar(loop.region().args[0].get()).as_symbol(); }

  Region condition(const Value* c, bool wanted) {
    const Op* op = c->def;
    if (!op) return {};
    switch (op->kind) {
      case OpKind::Not: return condition(op->operands[0], !wanted);
      case OpKind::And:
      case OpKind::Or: {
        Region a = condition(op->operands[0], wanted), b = condition(op->operands[1], wanted);
        return (op->kind == OpKind::And) == wanted ? both(a, b) : either(c, wanted, a, b);
      }
      case OpKind::Broadcast:
      case OpKind::Reshape:
      case OpKind::Permute: return condition(op->operands[0], wanted);
      case OpKind::Inside: {
        if (!wanted || !op->operands[0]->def) return {};
        return valid(op->operands[0], c);
      }
      default: break;
    }
    if (info(op->kind).rule != TypeRule::Compare) return {};
    auto x = affine_.element(op->operands[0]), y = affine_.element(op->operands[1]);
    if (!x || !y) return {};
    const Dims& dims = tile(c->type).dims;
    const Sym d = *x - *y;
    Region r;
    switch (wanted ? op->kind : negated(op->kind)) {
      case OpKind::Lt: r = at_most_zero(d + 1, dims); break;
      case OpKind::Le: r = at_most_zero(d, dims); break;
      case OpKind::Gt: r = at_most_zero(1 - d, dims); break;
      case OpKind::Ge: r = at_most_zero(-d, dims); break;
      case OpKind::Eq: r = both_needed(at_most_zero(d, dims), at_most_zero(-d, dims)); break;
      default: return {};
    }
    return named(std::move(r), c, wanted);
  }

  /// lo <= start + position < hi for all positions; `name` is what is settled then.
  Region valid(const Value* range, const Value* name) {
    Affine::Span r = affine_.range(range);
    if (r.full) return {};
    const Sym c = r.start + Affine::position(0);
    return named(both_needed(at_most_zero(r.lo - c, {r.size}), at_most_zero(c + 1 - r.hi, {r.size})), name, true);
  }

 private:
  static OpKind negated(OpKind k) {
    switch (k) {
      case OpKind::Lt: return OpKind::Ge;
      case OpKind::Le: return OpKind::Gt;
      case OpKind::Gt: return OpKind::Le;
      case OpKind::Ge: return OpKind::Lt;
      case OpKind::Eq: return OpKind::Ne;
      default: return OpKind::Eq;
    }
  }

  Region named(Region r, const Value* v, bool wanted) {
    if (r.values.empty()) {
      r.settled = {};
    } else {
      r.values = {{v, wanted}};
    }
    return r;
  }

  static void append(std::vector<Sym>& to, const std::vector<Sym>& from) {
    for (const Sym& s : from)
      if (std::find(to.begin(), to.end(), s) == to.end()) to.push_back(s);
  }
  static Interval intersection(Interval a, const Interval& b) {
    append(a.lower, b.lower);
    append(a.upper, b.upper);
    return a;
  }

  /// A conjunction: parts of which nothing is known stay as they are.
  static Region both(Region a, const Region& b) {
    a.settled = intersection(a.settled, b.settled);
    a.possible = intersection(a.possible, b.possible);
    a.values.insert(b.values.begin(), b.values.end());
    append(a.assumed, b.assumed);
    return a;
  }
  /// A conjunction that is settled only as a whole.
  static Region both_needed(Region a, const Region& b) {
    const bool known = !a.values.empty() && !b.values.empty();
    a = both(a, b);
    if (!known) a.values.clear();
    return a;
  }

  /// A disjunction: half-lines to the same side unite to the longer one; intervals do not.
  Region either(const Value* c, bool wanted, const Region& a, const Region& b) {
    Region r;
    r.assumed = a.assumed;
    append(r.assumed, b.assumed);
    auto least = [&](const std::vector<Sym>& l) { return fold(l, false); };
    auto greatest = [&](const std::vector<Sym>& l) { return fold(l, true); };
    if (!a.possible.lower.empty() && !b.possible.lower.empty())
      r.possible.lower = {affine_.min(greatest(a.possible.lower), greatest(b.possible.lower))};
    if (!a.possible.upper.empty() && !b.possible.upper.empty()) r.possible.upper = {affine_.max(least(a.possible.upper), least(b.possible.upper))};
    // A side is usable if it is settled as a whole, not in parts.
    const bool ka = whole(c->def->operands[0], a), kb = whole(c->def->operands[1], b);
    if (!ka && !kb) return r;
    r.values = {{c, wanted}};
    if (ka != kb) {
      r.settled = ka ? a.settled : b.settled;
    } else if (a.settled.lower.empty() && b.settled.lower.empty() && !a.settled.upper.empty() && !b.settled.upper.empty()) {
      r.settled.upper = {affine_.max(least(a.settled.upper), least(b.settled.upper))};
    } else if (a.settled.upper.empty() && b.settled.upper.empty() && !a.settled.lower.empty() && !b.settled.lower.empty()) {
      r.settled.lower = {affine_.min(greatest(a.settled.lower), greatest(b.settled.lower))};
    } else {
      r.settled = a.settled;
    }
    return r;
  }

  /// The condition follows from `values` alone: every part of it is among them.
  static bool whole(const Value* c, const Region& r) {
    if (r.values.count(c)) return true;
    const Op* op = c->def;
    if (!op || r.values.empty()) return false;
    switch (op->kind) {
      case OpKind::Not:
      case OpKind::Broadcast:
      case OpKind::Reshape:
      case OpKind::Permute: return whole(op->operands[0], r);
      case OpKind::And:
      case OpKind::Or: return whole(op->operands[0], r) && whole(op->operands[1], r);
      default: return false;
    }
  }

  Sym fold(const std::vector<Sym>& list, bool greatest) {
    Sym s = list.front();
    for (std::size_t i = 1; i < list.size(); ++i) s = greatest ? affine_.max(s, list[i]) : affine_.min(s, list[i]);
    return s;
  }

  /// e <= 0 for the whole tile, and for no element of it. A placeholder in `values` says that the former is known.
  Region at_most_zero(const Sym& e, const Dims& dims) {
    Region r;
    if (auto u = affine_.upper(e, dims, &r.assumed))
      if (auto x = solve(*u, r.assumed); x && keep(*x, r.settled)) r.values = {{nullptr, true}};
    if (auto l = affine_.lower(e, dims, &r.assumed))
      if (auto x = solve(*l, r.assumed)) keep(*x, r.possible);
    return r;
  }

  /// Adds the bounds that matter; false if one of them cannot be computed before the loop.
  bool keep(const HalfLine& x, Interval& into) {
    for (const auto& b : {x.lower, x.upper})
      if (b && !affine_.visible_at(*b, loop_)) return false;
    const Sym iv = Sym::symbol(iv_);
    if (x.lower && !affine_.nonnegative(iv - *x.lower)) into.lower.push_back(*x.lower);
    if (x.upper && !affine_.nonnegative(*x.upper - iv)) into.upper.push_back(*x.upper);
    return true;
  }

  /// The loop variables for which e <= 0; empty if that is not a half-line in closed form.
  std::optional<HalfLine> solve(const Sym& e0, std::vector<Sym>& assumed) {
    const Sym e = affine_.facts().normalise(e0);
    if (!e.mentions(iv_)) return affine_.nonnegative(-e) ? std::optional(HalfLine{}) : std::nullopt;
    if (auto k = e.coefficient(iv_)) {
      const Sym rest = e - Sym(*k) * Sym::symbol(iv_);
      if (*k > 0) return HalfLine{{}, floor_div(-rest, Sym(*k))};
      return HalfLine{ceil_div(rest, Sym(-*k)), {}};
    }
    // One quotient that grows with the loop variable: c * q + rest <= 0.
    const SymAtom* quotient = nullptr;
    std::int64_t c = 0;
    for (const auto& [m, k] : e.terms()) {
      const bool here = std::any_of(m.begin(), m.end(), [&](const SymAtomRef& a) { return Sym::atom(*a).mentions(iv_); });
      if (!here) continue;
      if (quotient || m.size() != 1 || (m[0]->op != SymOp::FloorDiv && m[0]->op != SymOp::CeilDiv)) return std::nullopt;
      quotient = &*m[0];
      c = k;
    }
    const Sym rest = e - Sym(c) * Sym::atom(*quotient);
    const Sym &n = quotient->args[0], &d = quotient->args[1];
    if (d.mentions(iv_)) return std::nullopt;
    if (!affine_.positive(d) && std::find(assumed.begin(), assumed.end(), d) == assumed.end()) assumed.push_back(d);
    const bool down = quotient->op == SymOp::FloorDiv;
    if (c > 0) {  // q <= Q
      const Sym q = floor_div(-rest, Sym(c));
      return solve(down ? n - (q * d + d - 1) : n - q * d, assumed);
    }
    const Sym q = ceil_div(rest, Sym(-c));  // q >= Q
    return solve(down ? q * d - n : (q - 1) * d + 1 - n, assumed);
  }

  Affine& affine_;
  const Op& loop_;
  std::string iv_;
};

}  // namespace

Region mask_region(Affine& affine, const Op& loop, const Value* condition, bool wanted) { return Solver(affine, loop).condition(condition, wanted); }

Region range_region(Affine& affine, const Op& loop, const Value* range) { return Solver(affine, loop).valid(range, range); }

}  // namespace tessera::ir
