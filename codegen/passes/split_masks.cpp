#include "codegen/passes/split_masks.h"

#include <algorithm>

#include "codegen/passes/affine.h"
#include "codegen/passes/mask_region.h"
#include "codegen/passes/rewrite.h"
#include "codegen/passes/scalar.h"
#include "codegen/passes/skip_proof.h"
#include "dsl/diagnostic.h"

namespace tessera::ir {

namespace {

constexpr std::size_t kMaxBody = 1500;     ///< ops of a body that may be copied
constexpr std::size_t kMaxKernel = 12000;  ///< ops a kernel may grow to

/// Bounds of the sub-loops of `for x = lo, hi, step`, each with the alignment of the whole: masked begin .. free_begin .. free_end .. end.
struct Cuts {
  Sym begin, free_begin, free_end, end;
  bool before = false;  ///< there may be masked trips before the free ones
  bool after = false;
  bool moved = false;  ///< begin or end skip trips
};

class Splitter {
 public:
  Splitter(Kernel& kernel, Op& loop) : kernel_(kernel), loop_(loop), affine_(kernel) {}

  /// Replaces the loop if that gains anything.
  void run() {
    const Sym step = affine_.scalar(loop_.operands[2]);
    if (!step.as_constant() || *step.as_constant() <= 0) return;
    const std::size_t size = count_ops(loop_.region());
    if (size > kMaxBody) return;
    collect();
    if (settled_.empty() && possible_.empty()) return;
    const bool splits = !settled_.empty() && (!inside_.lower.empty() || !inside_.upper.empty());
    Cuts cuts = place(*step.as_constant());
    if (!splits && !cuts.moved) return;
    const std::size_t copies = splits ? 1U + cuts.before + cuts.after : 1U;
    if (count_ops(kernel_.body) + (copies - 1) * size > kMaxKernel) return;
    replace(cuts, splits);
  }

 private:
  void collect() {
    std::map<const Value*, Region> conditions;  // of selects and masked stores, wanted true or false
    walk(loop_.region(), [&](Op& op) {
      if (op.kind == OpKind::Range && op.int_attr(Attr::Full) == 0) return settle(range_region(affine_, loop_, op.result()));
      const Value* c = nullptr;
      bool wanted = true;
      if (op.kind == OpKind::Select) {
        c = op.operands[0];
        wanted = !constant(op.operands[1]) || constant(op.operands[2]);
      } else if (op.kind == OpKind::Store) {
        c = access(op).when;
      }
      if (!c || constant(c) || !inside_block(*find_def(c), loop_.region())) return;
      Region r = mask_region(affine_, loop_, c, wanted);
      if (!r.possible.lower.empty() || !r.possible.upper.empty()) possible_.push_back({c, wanted, r});
      settle(std::move(r));
    });
    walk(loop_.region(), [&](Op& op) {
      if (op.kind == OpKind::Abs && tile(op.result()->type).dtype == DType::Idx) settle_sign(op);
    });
  }

  /// |x| where a settled comparison tells the sign of x.
  void settle_sign(const Op& abs) {
    const auto x = affine_.element(abs.operands[0]);
    if (!x) return;
    for (const auto& [v, truth] : settled_) {
      const std::optional<Sym> d = is_range(v->type) || !v->def ? std::nullopt : distance(*v->def, truth);
      if (!d) continue;
      const auto at_least = [&](const Sym& y) {
        const auto more = (y - *d).as_constant();
        return more && *more >= 0;
      };
      if (at_least(*x)) signs_[abs.result()] = true;
      if (at_least(-*x)) signs_[abs.result()] = false;
    }
  }

  /// What is not negative because the comparison is `truth`.
  std::optional<Sym> distance(const Op& comparison, bool truth) {
    bool less = false, equal = false;
    switch (comparison.kind) {
      case OpKind::Lt: less = true; break;
      case OpKind::Le: less = equal = true; break;
      case OpKind::Gt: break;
      case OpKind::Ge: equal = true; break;
      default: return std::nullopt;
    }
    if (tile(comparison.operands[0]->type).dtype != DType::Idx) return std::nullopt;
    const auto a = affine_.element(comparison.operands[0]), b = affine_.element(comparison.operands[1]);
    if (!a || !b) return std::nullopt;
    if (!truth) {
      less = !less;
      equal = !equal;
    }
    return (less ? *b - *a : *a - *b) - (equal ? 0 : 1);
  }

  const Op* find_def(const Value* v) const { return v->def ? v->def : &loop_; }

  void settle(Region r) {
    if (r.values.empty()) return;
    for (const auto& [v, truth] : r.values)
      if (auto [it, fresh] = settled_.emplace(v, truth); !fresh && it->second != truth) return;
    add(inside_.lower, r.settled.lower);
    add(inside_.upper, r.settled.upper);
    add(assumed_, r.assumed);
  }
  static void add(std::vector<Sym>& to, const std::vector<Sym>& from) {
    for (const Sym& s : from)
      if (std::find(to.begin(), to.end(), s) == to.end()) to.push_back(s);
  }

  struct Possible {
    const Value* condition;
    bool wanted;
    Region region;
  };

  /// The last (or first) trip in which one of the conditions may hold; empty if trips beyond it must be made all the same.
  std::optional<Sym> outermost(bool upper) {
    std::map<const Value*, bool> failing;
    std::optional<Sym> bound;
    std::vector<Sym> assumed;
    for (const Possible& p : possible_) {
      const auto& list = upper ? p.region.possible.upper : p.region.possible.lower;
      if (list.empty()) continue;
      Sym own = list.front();
      for (const Sym& s : list) own = upper ? affine_.min(own, s) : affine_.max(own, s);
      bound = !bound ? own : upper ? affine_.max(*bound, own) : affine_.min(*bound, own);
      failing[p.condition] = !p.wanted;
      add(assumed, p.region.assumed);
    }
    if (!bound) return std::nullopt;
    if (!classes_) classes_.emplace(kernel_.body, std::map<const Value*, Abstract>{}, /*tame=*/true);
    if (!trip_changes_nothing(loop_, failing, *classes_)) return std::nullopt;
    add(assumed_, assumed);
    return bound;
  }

  Cuts place(std::int64_t step) {
    const Sym lo = affine_.scalar(loop_.operands[0]), hi = affine_.scalar(loop_.operands[1]);
    auto first_from = [&](const Sym& x) { return lo + ceil_div(x - lo, step) * Sym(step); };
    auto behind_last = [&](const Sym& x) { return lo + (floor_div(x - lo, step) + 1) * Sym(step); };
    Cuts c{lo, lo, hi, hi};
    if (auto first = outermost(false)) {
      c.begin = affine_.max(lo, first_from(*first));
      c.moved = true;
    }
    if (auto last = outermost(true)) {
      c.end = affine_.min(hi, *last + 1);
      c.moved = true;
    }
    c.free_begin = c.begin;
    c.free_end = c.end;
    if (!inside_.lower.empty()) {
      Sym x = inside_.lower.front();
      for (const Sym& s : inside_.lower) x = affine_.max(x, s);
      c.free_begin = affine_.min(affine_.max(c.begin, first_from(x)), c.end);
      c.before = true;
    }
    if (!inside_.upper.empty()) {
      Sym x = inside_.upper.front();
      for (const Sym& s : inside_.upper) x = affine_.min(x, s);
      c.free_end = affine_.min(affine_.max(c.free_begin, behind_last(x)), c.end);
      c.after = true;
    }
    return c;
  }

  void replace(const Cuts& cuts, bool splits) {
    struct Bounds {
      Value *begin, *free_begin, *free_end, *end;
    };
    Value *lo = loop_.operands[0], *hi = loop_.operands[1];
    const Bounds at = insert_before(loop_, [&](Builder& b) {
      Value* sure = nullptr;  // what the bounds take for granted
      for (const Sym& s : assumed_) {
        Value* positive = b.value(OpKind::Gt, {affine_.emit(b, s), b.idx(0)});
        sure = sure ? b.value(OpKind::And, {sure, positive}) : positive;
      }
      auto bound = [&](const Sym& s, Value* otherwise) {
        Value* v = affine_.emit(b, s);
        return sure && v != otherwise ? b.value(OpKind::Select, {sure, v, otherwise}) : v;
      };
      Value* no_free = cuts.before ? hi : lo;  // all trips masked
      return Bounds{bound(cuts.begin, lo), cuts.before ? bound(cuts.free_begin, no_free) : bound(cuts.begin, lo),
                    cuts.after ? bound(cuts.free_end, no_free) : bound(cuts.end, hi), bound(cuts.end, hi)};
    });
    std::vector<Value*> carried(loop_.operands.begin() + 3, loop_.operands.end());
    std::vector<std::unique_ptr<Op>> made;
    if (!splits) {
      made.push_back(copy(at.begin, at.end, carried, false));
    } else {
      if (cuts.before) made.push_back(copy(at.begin, at.free_begin, carried, false));
      made.push_back(copy(at.free_begin, at.free_end, carried, true));
      if (cuts.after) made.push_back(copy(at.free_end, at.end, carried, false));
    }
    ValueMap results;
    for (std::size_t i = 0; i < carried.size(); ++i) results[loop_.result(i)] = carried[i];
    Block scratch;
    for (auto& op : made) scratch.ops.push_back(std::move(op));
    Block& parent = *loop_.parent;
    const std::size_t where = position(loop_);
    std::unique_ptr<Op> old = std::move(parent.ops[where]);
    parent.ops.erase(parent.ops.begin() + static_cast<std::ptrdiff_t>(where));
    splice(parent, where, scratch);
    replace_uses(kernel_.body, results);
  }

  /// One sub-loop; `carried` are its inits and become its results.
  std::unique_ptr<Op> copy(Value* begin, Value* end, std::vector<Value*>& carried, bool free) {
    ValueMap map;
    std::unique_ptr<Op> op = clone(loop_, map);
    op->operands[0] = begin;
    op->operands[1] = end;
    for (std::size_t i = 0; i < carried.size(); ++i) {
      op->operands[3 + i] = carried[i];
      carried[i] = op->result(i);
    }
    if (!free) return op;
    ValueMap constants;
    for (const auto& [v, truth] : settled_) {
      Value* mine = map.at(v);
      if (is_range(v->type)) {
        mine->def->attrs[Attr::Full] = std::int64_t{1};
        continue;
      }
      const bool value = truth;
      Value* c = insert_before(*mine->def, [&](Builder& b) { return b.constant(tile(mine->type), std::int64_t{value}); });
      constants[mine] = c;
    }
    for (const auto& [v, positive] : signs_) {
      Op& abs = *map.at(v)->def;
      Value* x = abs.operands[0];
      constants[map.at(v)] = positive ? x : insert_before(abs, [&](Builder& b) { return b.value(OpKind::Neg, {x}); });
    }
    replace_uses(op->region(), constants);
    return op;
  }

  Kernel& kernel_;
  Op& loop_;
  Affine affine_;
  std::optional<ValueClasses> classes_;
  std::map<const Value*, bool> settled_;  ///< ranges: full
  std::map<const Value*, bool> signs_;    ///< of absolute values: what they are of is never negative, or never positive
  Interval inside_;                       ///< where all of them are
  std::vector<Possible> possible_;
  std::vector<Sym> assumed_;
};

void collect_loops(Block& block, std::vector<Op*>& out) {
  for (const auto& op : block.ops) {
    for (const auto& r : op->regions) collect_loops(*r, out);
    if (op->kind == OpKind::For) out.push_back(op.get());
  }
}

}  // namespace

void split_masks(Kernel& kernel) {
  // Inner loops come first; copies made of them with an outer loop are not looked at again.
  std::vector<Op*> all;
  collect_loops(kernel.body, all);
  for (Op* loop : all) Splitter(kernel, *loop).run();
}

}  // namespace tessera::ir
