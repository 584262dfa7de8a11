#include "codegen/passes/pad_states.h"

#include <algorithm>

#include "codegen/passes/pad_model.h"
#include "codegen/passes/rewrite.h"
#include "dsl/diagnostic.h"

namespace tessera::ir {

namespace {

/// One guarded operand: `op`'s operand `index` is select(mask, x, value).
struct Demand {
  Op* op = nullptr;
  std::size_t index = 0;
  Value* x = nullptr;
  Number value;
  std::vector<Atom> atoms;  ///< of the mask
  std::vector<bool> kept;   ///< by atom: stays a select of its own
};

/// A way to meet demands.
struct Candidate {
  const Value* value = nullptr;
  Guard guard;
};

bool mixes(OpKind k) {
  switch (k) {
    case OpKind::Dot:
    case OpKind::DotScaled:
    case OpKind::Reduce:
    case OpKind::Scan:
    case OpKind::ReduceWith:
    case OpKind::ScanWith:
    case OpKind::Sort:
    case OpKind::TopK:
    case OpKind::Histogram:
    case OpKind::SolveLower: return true;
    default: return false;
  }
}

class PadStates {
 public:
  explicit PadStates(Kernel& kernel) : kernel_(kernel), uses_(collect_uses(kernel.body)) {}

  void run() {
    drop_assignment_masks();
    collect();
    if (demands_.empty()) return;
    choose_guards();
    choose_zeroed_loads();
    apply();
  }

 private:
  /// select(mask, new, old), an assignment to a partial variable, is `new` if nobody looks at its padding.
  void drop_assignment_masks() {
    const ValueClasses classes(kernel_.body);
    PadModel model(classes, uses_, guards_);
    ValueMap to_new;
    walk(kernel_.body, [&](Op& op) {
      if (op.kind != OpKind::Select || op.result()->type != op.operands[1]->type) return;
      auto atoms = mask_atoms(op.operands[0]);
      if (!atoms) return;
      for (const Atom& a : *atoms)
        if (model.observed(op.result(), a)) return;
      to_new[op.result()] = op.operands[1];
      if (op.operands[1]->hint.empty()) op.operands[1]->hint = op.result()->hint;
    });
    if (to_new.empty()) return;
    replace_uses(kernel_.body, to_new);
    remove_dead(kernel_.body);
    uses_ = collect_uses(kernel_.body);
  }

  void collect() {
    walk(kernel_.body, [&](Op& op) {
      if (!mixes(op.kind)) return;
      for (std::size_t i = 0; i < op.operands.size(); ++i) {
        const Op* s = op.operands[i]->def;
        if (!s || s->kind != OpKind::Select || s->result()->type != s->operands[1]->type) continue;
        auto value = constant(s->operands[2]);
        auto atoms = mask_atoms(s->operands[0]);
        if (!value || !atoms || !only_mixed(s->result())) continue;
        demands_.push_back({&op, i, s->operands[1], *value, *atoms, std::vector<bool>(atoms->size(), false)});
        guarding_.insert(s->result());
      }
    });
  }

  /// A guard that others use too has been placed: it stays.
  bool only_mixed(const Value* guard) const {
    const auto& uses = uses_.at(guard);
    return std::all_of(uses.begin(), uses.end(), [](const Use& u) { return mixes(u.op->kind); });
  }

  /// The guard of a product's other operand along the same range, and the number of its atom.
  std::pair<const Demand*, std::size_t> other_side(const Demand& d, Atom atom) const {
    if (d.op->kind == OpKind::Dot)
      for (const Demand& o : demands_)
        if (o.op == d.op && o.index != d.index)
          for (std::size_t k = 0; k < o.atoms.size(); ++k)
            if (o.atoms[k].range == atom.range && o.atoms[k].axis != atom.axis) return {&o, k};
    return {nullptr, 0};
  }

  bool met(PadModel& model, const Demand& d, std::size_t k) const {
    if (d.kept[k]) return true;
    const Abstract s = model.state(d.x, d.atoms[k]);
    const bool zero = d.value.floats() ? d.value.f == 0 : d.value.i == 0;
    if (s.value && same(*s.value, d.value)) return true;
    if (zero && s.within(kZero)) return true;
    if (!zero || !s.within(kFinite)) return false;
    // Zeros across from finite numbers; not both sides may lean on the other.
    auto [other, k2] = other_side(d, d.atoms[k]);
    return other && (other->kept[k2] || model.state(other->x, other->atoms[k2]).within(kZero));
  }

  std::vector<std::pair<std::size_t, std::size_t>> open(PadModel& model) const {
    std::vector<std::pair<std::size_t, std::size_t>> out;
    for (std::size_t i = 0; i < demands_.size(); ++i)
      for (std::size_t k = 0; k < demands_[i].atoms.size(); ++k)
        if (!met(model, demands_[i], k)) out.emplace_back(i, k);
    return out;
  }

  std::vector<Candidate> candidates(PadModel& model, const Demand& d, Atom atom) const {
    std::vector<Candidate> out;
    for (const Place& p : model.sources(d.x, atom)) {
      const Op* op = p.value->def;
      // A guard that is a demand itself may go.
      if (!op || !visible(atom.range, *op) || guarding_.count(p.value)) continue;
      const Atom at{atom.range, p.axis};
      if (op->kind == OpKind::Select) {
        for (std::size_t branch : {2U, 1U}) {
          auto c = constant(op->operands[branch]);
          if (c && !constant(op->operands[0])) {
            out.push_back({p.value, {at, *c, true}});
            break;
          }
        }
      }
    }
    if (d.x->def && visible(atom.range, *d.x->def)) out.push_back({d.x, {atom, d.value, false}});
    std::erase_if(out, [&](const Candidate& c) { return model.observed(c.value, c.guard.atom); });
    return out;
  }

  /// Greedy: the candidate that meets most open demands; of equals the cheapest. Where none helps, the demand keeps its own select.
  void choose_guards() {
    for (;;) {
      const ValueClasses classes = guarded_classes(kernel_.body, guards_);
      PadModel model(classes, uses_, guards_);
      const auto todo = open(model);
      if (todo.empty()) return;
      const Candidate* best = nullptr;
      int best_score = 0;
      std::vector<Candidate> all;
      std::set<std::tuple<const Value*, Atom, bool>> seen;
      for (const auto& [i, k] : todo)
        for (const Candidate& c : candidates(model, demands_[i], demands_[i].atoms[k]))
          if (seen.insert({c.value, c.guard.atom, c.guard.existing}).second) all.push_back(c);
      for (const Candidate& c : all) {
        Guards with = guards_;
        with[c.value].push_back(c.guard);
        PadModel changed(classes, uses_, with);
        const int met = static_cast<int>(todo.size()) - static_cast<int>(open(changed).size());
        const int score = 4 * met - (c.guard.existing ? 1 : 3);
        if (score <= best_score) continue;
        best = &c;
        best_score = score;
      }
      if (best) {
        guards_[best->value].push_back(best->guard);
      } else {
        demands_[todo.front().first].kept[todo.front().second] = true;
      }
    }
  }

  void choose_zeroed_loads() {
    const ValueClasses classes = guarded_classes(kernel_.body, guards_);
    PadModel model(classes, uses_, guards_);
    open(model);
    std::set<const Op*> unspecified;
    walk(kernel_.body, [&](const Op& load) {
      if (!model.zeroed().count(&load)) return;
      unspecified.insert(&load);
      PadModel without(classes, uses_, guards_, unspecified);
      if (open(without).empty()) return;
      unspecified.erase(&load);
      zeroed_.insert(&load);
    });
  }

  static Value* mask(Builder& b, const std::vector<Atom>& atoms, std::size_t rank) {
    Value* all = nullptr;
    for (const Atom& a : atoms) {
      Value* in = b.value(OpKind::Inside, {const_cast<Value*>(a.range)});
      if (rank != 1) {
        Dims dims(rank, 1);
        dims[static_cast<std::size_t>(a.axis)] = tile(in->type).dims[0];
        in = b.reshape(in, dims);
      }
      all = all ? b.value(OpKind::And, {all, in}) : in;
    }
    return all;
  }

  static Value* constant_of(Builder& b, const Number& n) { return n.floats() ? b.constant(scalar(n.dtype), n.f) : b.constant(scalar(n.dtype), n.i); }

  void apply() {
    for (Demand& d : demands_) {
      std::vector<Atom> kept;
      for (std::size_t k = 0; k < d.atoms.size(); ++k)
        if (d.kept[k]) kept.push_back(d.atoms[k]);
      if (kept.size() == d.atoms.size()) continue;
      Value* x = d.x;
      if (!kept.empty())
        x = insert_before(*d.op, [&](Builder& b) {
          Value* m = mask(b, kept, tile(x->type).dims.size());
          return b.value(OpKind::Select, {m, x, constant_of(b, d.value)});
        });
      d.op->operands[d.index] = x;
    }
    for (const auto& [v, list] : guards_) {
      std::vector<Atom> into_condition;
      for (const Guard& g : list)
        if (g.existing) into_condition.push_back(g.atom);
      if (!into_condition.empty()) extend_condition(*v->def, into_condition);
      for (const Guard& g : list)
        if (!g.existing) insert_select(v->def->result(v->index), g);
    }
    walk(kernel_.body, [&](Op& op) {
      if (zeroed_.count(&op)) op.attrs[Attr::Zero] = std::int64_t{1};
    });
    remove_dead(kernel_.body);
  }

  void extend_condition(Op& select, const std::vector<Atom>& atoms) {
    const bool constant_last = constant(select.operands[2]).has_value();
    select.operands[0] = insert_before(select, [&](Builder& b) {
      Value* m = mask(b, atoms, tile(select.result()->type).dims.size());
      if (constant_last) return b.value(OpKind::And, {select.operands[0], m});
      return b.value(OpKind::Or, {select.operands[0], b.value(OpKind::Not, {m})});
    });
  }

  /// select(mask, v, constant) for all users of v.
  void insert_select(Value* v, const Guard& g) {
    Op* select = insert_after(v, [&](Builder& b) {
      Value* m = mask(b, {g.atom}, tile(v->type).dims.size());
      return b.op(OpKind::Select, {m, v, constant_of(b, g.value)});
    });
    select->result()->hint = v->hint;
    walk(kernel_.body, [&](Op& op) {
      if (&op == select) return;
      for (Value*& o : op.operands)
        if (o == v) o = select->result();
    });
  }

  Kernel& kernel_;
  Uses uses_;
  std::vector<Demand> demands_;
  std::set<const Value*> guarding_;  ///< the selects that the demands are read from
  Guards guards_;
  std::set<const Op*> zeroed_;
};

}  // namespace

void pad_states(Kernel& kernel) { PadStates(kernel).run(); }

}  // namespace tessera::ir
