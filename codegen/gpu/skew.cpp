// Products that accumulate: which sum they start from, and which of them run a trip behind, which into the next. See
// plan.h.
#include <algorithm>
#include <iterator>

#include "codegen/gpu/plan.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;
using ir::Value;

const Op* Plan::sum_of(const Op& dot) const {
  if (kernel_.strict) return nullptr;
  const Value* v = dot.result();
  const std::vector<const Op*>& uses = uses_.of(v);
  if (uses.size() != 1 || uses[0]->kind != OpKind::Add || uses[0]->parent != dot.parent || dims(uses[0]->result()) != dims(v)) return nullptr;
  const Op& sum = *uses[0];
  const Value* other = sum.operands[0] == v ? sum.operands[1] : sum.operands[0];
  if (other == v || is_scalar(other) || dims(other) != dims(v)) return nullptr;
  // The other summand must exist where the product stands.
  for (const auto& op : dot.parent->ops) {
    if (op.get() == &dot) break;
    if (other->def == op.get()) return &sum;
  }
  return !other->def || other->def->parent != dot.parent || uses_.lazy(other) ? &sum : nullptr;
}

bool Plan::promoted(const Op& dot) const {
  const DotPlan& d = dots_.at(&dot);
  return d.mma && d.per_register == 4 && dtype(dot.result()) == DType::F32;
}

std::optional<ScaledRows> Plan::scaled_summand(const Op& dot, const Value* summand) const {
  const Op* op = summand->def;
  if (!promoted(dot) || !op || op->kind != OpKind::Mul || uses_.lazy(summand) || uses_.of(summand).size() != 1) return std::nullopt;
  const Layout& l = dots_.at(&dot).result;
  for (const std::size_t i : {0U, 1U}) {
    const Value *tile = op->operands[i], *factor = op->operands[1 - i];
    if (is_scalar(tile) || is_scalar(factor) || dims(tile) != dims(summand) || dims(factor) != ir::Dims{dims(tile)[0], 1}) continue;
    if (uses_.lazy(tile) || uses_.lazy(factor) || layout(tile) != l || layout(factor) != operand_layout(factor, l)) continue;
    return ScaledRows{tile, factor};
  }
  return std::nullopt;
}

namespace {

/// Whether `v` is computed, within `body`, from a product of warpgroups.
bool from_product(const Value* v, const ir::Block& body, const std::map<const Op*, DotPlan>& dots, std::set<const Op*>& seen) {
  const Op* op = v->def;
  if (!op || !Uses::inside(op->parent, &body) || !seen.insert(op).second) return false;
  const auto dot = dots.find(op);
  if (dot != dots.end() && dot->second.warpgroup) return true;
  for (const Value* o : op->operands) {
    if (from_product(o, body, dots, seen)) return true;
  }
  return false;
}

bool mentions(const Op& op, const Value* v) {
  bool found = std::find(op.operands.begin(), op.operands.end(), v) != op.operands.end();
  for (const auto& r : op.regions) {
    ir::walk(*r, [&](const Op& inner) { found = found || std::find(inner.operands.begin(), inner.operands.end(), v) != inner.operands.end(); });
  }
  return found;
}

}  // namespace

void Plan::skew_products() {
  std::map<const Op*, std::vector<Skew>> candidates;
  for (const Op* dot : dot_ops_) {
    const DotPlan& d = dots_.at(dot);
    const Op* loop = dot->parent->parent;
    if (!d.warpgroup || d.a.stage >= 0 || !loop || loop->kind != OpKind::For) continue;
    const Stage& b = stages_[static_cast<std::size_t>(d.b.stage)];
    if (b.loop != loop || in_registers(b.source)) continue;
    const Op* sum = sum_of(*dot);
    if (!sum || wishes_.in_step.count(sum->result()->hint) != 0) continue;
    const std::vector<const Op*>& uses = uses_.of(sum->result());
    if (uses.size() != 1 || uses[0]->kind != OpKind::Yield || uses[0]->parent != &loop->region()) continue;
    Skew skew{dot, sum, sum->operands[0] == dot->result() ? sum->operands[1] : sum->operands[0], 0};
    while (loop->region().yielded()[skew.carried] != sum->result()) ++skew.carried;
    const bool inside = skew.base->def ? Uses::inside(skew.base->def->parent, &loop->region()) : skew.base->block == &loop->region();
    const Value* a = dot->operands[0];
    std::set<const Op*> seen;
    if (!inside || !a->def || a->def->parent != dot->parent || !from_product(a, loop->region(), dots_, seen)) continue;
    if (uses_.lazy(skew.base) || layout(skew.base) != d.result || layout(sum->result()) != d.result) continue;
    if (layout(loop->region().args[1 + skew.carried].get()) != d.result) continue;
    candidates[loop].push_back(skew);
  }
  for (auto& [loop, skews] : candidates) {
    // The products of the trip before are issued after the first of this trip; what it starts from must not be asked for earlier.
    const auto behind = [&](const Op* op) { return std::any_of(skews.begin(), skews.end(), [&](const Skew& s) { return s.dot == op; }); };
    const auto& ops = loop->region().ops;
    const auto first = std::find_if(ops.begin(), ops.end(),
                                    [&](const auto& op) { return op->kind == OpKind::Dot && dots_.at(op.get()).warpgroup && !behind(op.get()); });
    if (first == ops.end()) continue;
    std::erase_if(skews, [&](const Skew& s) {
      const Value* arg = loop->region().args[1 + s.carried].get();
      return std::any_of(ops.begin(), first, [&](const auto& op) { return mentions(*op, arg); });
    });
    // A slot holds the tile of one trip: all that read it run behind, or none.
    const auto reads = [&](const DotPlan& e, int stage) { return stage >= 0 && (e.a.stage == stage || e.b.stage == stage); };
    const auto in_step_with = [&](const Skew& s) {
      const int stage = dots_.at(s.dot).b.stage, from = stages_[static_cast<std::size_t>(stage)].transposed_from;
      return std::any_of(dots_.begin(), dots_.end(), [&](const auto& d) {
        return std::none_of(skews.begin(), skews.end(), [&](const Skew& o) { return o.dot == d.first; }) &&
               (reads(d.second, stage) || reads(d.second, from));
      });
    };
    // Operands of the trip before and of this one are held beside what registers_ counts.
    std::int64_t operands = 0;
    for (const Skew& s : skews) {
      const Value* a = s.dot->operands[0];
      operands += 2 * elements(a) * cell_bytes(dtype(a)) / 4 / threads();
    }
    if (skews.size() > 1 && !fits_computing(registers_ + operands)) {
      std::erase_if(skews, [&, all = skews](const Skew& s) {
        return std::any_of(all.begin(), all.end(), [&](const Skew& o) { return o.dot != s.dot && reads(dots_.at(o.dot), dots_.at(s.dot).b.stage); });
      });
    }
    for (std::size_t before = skews.size() + 1; before > skews.size();) {
      before = skews.size();
      std::vector<Skew> kept;
      std::copy_if(skews.begin(), skews.end(), std::back_inserter(kept), [&](const Skew& s) { return !in_step_with(s); });
      skews = std::move(kept);
    }
    for (const Skew& s : skews) {
      Stage& b = stages_[static_cast<std::size_t>(dots_.at(s.dot).b.stage)];
      b.behind = 1;
      if (b.transposed_from >= 0) stages_[static_cast<std::size_t>(b.transposed_from)].behind = 1;
    }
    if (!skews.empty()) skews_[loop] = skews;
  }
}

const std::vector<Skew>& Plan::skews_of(const Op& loop) const {
  static const std::vector<Skew> none;
  const auto at = skews_.find(&loop);
  return at == skews_.end() ? none : at->second;
}

int Plan::assembler_level() const {
  // Where threads add up what products a trip behind give, their elementwise work is what a trip waits for. ptxas 13.0 orders that better at
  // -O1: 1.04 to 1.07 times the speed (RESULTS.md). Others' is .92 to 1.01 of what the assembler's own level gives.
  const auto adds = [&](const auto& loop) {
    return std::any_of(loop.second.begin(), loop.second.end(), [&](const Skew& s) { return promoted(*s.dot); });
  };
  return std::any_of(skews_.begin(), skews_.end(), adds) ? 1 : 0;
}

bool Plan::takes_turns(const Op& loop) const {
  const std::vector<Skew>& skews = skews_of(loop);
  // Products that threads add up end in elementwise work of their own: a turn would last until that is done (RESULTS.md, turns of 8-bit products).
  return roles_ && roles_->turns && !skews.empty() && std::none_of(skews.begin(), skews.end(), [&](const Skew& s) { return promoted(*s.dot); });
}

bool Plan::sums_up(const Op& loop) const {
  bool any = false;
  for (const auto& op : loop.region().ops) {
    if (op->kind != OpKind::Dot) continue;
    any = true;
    const DotPlan& d = dots_.at(op.get());
    const Op* sum = sum_of(*op);
    if (!d.warpgroup || d.a.stage < 0 || !sum || promoted(*op)) return false;
    const std::vector<const Op*>& uses = uses_.of(sum->result());
    if (uses.size() != 1 || uses[0]->kind != OpKind::Yield || uses[0]->parent != &loop.region()) return false;
    std::size_t carried = 0;
    while (loop.region().yielded()[carried] != sum->result()) ++carried;
    const Value* arg = loop.region().args[1 + carried].get();
    const Value* other = sum->operands[0] == op->result() ? sum->operands[1] : sum->operands[0];
    if (other != arg || uses_.of(arg).size() != 1) return false;
    if (layout(arg) != d.result || layout(sum->result()) != d.result) return false;
  }
  return any;
}

}  // namespace tessera::gpu
