// Parts of one loop (Plan::continued_by) whose bodies differ in masks alone: where a loop was split, the part without masks is the other with some
// selections decided. With products that run behind, the first trip is another one still: it has none behind it. Code of one part, which branches
// over the masks that a trip has no use for and over products of a trip that was not, serves for the first trip and for all that are masked. Trips
// without masks, which are most, have code of their own: a branch in their loop costs up to a tenth of its speed. How long an assembler takes goes by
// the code.
#include <algorithm>

#include "codegen/gpu/plan.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;
using ir::Value;

namespace {

/// Walks two bodies side by side.
class Comparison {
 public:
  Comparison(const Op& general, const Op& other, const Uses& uses) : general_(general.region()), other_(other.region()), uses_(uses) {
    for (std::size_t i = 0; i < general_.args.size(); ++i) as_[general_.args[i].get()] = other_.args[i].get();
  }

  bool run() {
    const std::vector<const Op*> ours = emitted(general_), theirs = emitted(other_);
    std::size_t at = 0;
    for (const Op* op : ours) {
      if (at < theirs.size() && pair(*op, *theirs[at])) {
        ++at;
      } else if (!decided(*op)) {
        return false;
      }
    }
    if (at != theirs.size()) return false;
    const std::vector<Value*>&y = general_.yielded(), &z = other_.yielded();
    for (std::size_t i = 0; i < y.size(); ++i) {
      if (!same(y[i], z[i])) return false;
    }
    return true;
  }

  const std::map<const Op*, std::size_t>& masks() const { return masks_; }
  const std::set<const Op*>& full() const { return full_; }
  const std::map<const Op*, const Op*>& pairs() const { return pairs_; }

 private:
  /// What is emitted where it stands; the rest is looked at where it is used.
  std::vector<const Op*> emitted(const ir::Block& body) const {
    std::vector<const Op*> out;
    for (const auto& op : body.ops) {
      if (op->kind == OpKind::Yield) continue;
      const bool tile = !op->results.empty() && is_real_tile(op->result()) && !uses_.lazy(op->result());
      if (tile || op->results.empty() || !op->regions.empty()) out.push_back(op.get());
    }
    return out;
  }

  bool pair(const Op& x, const Op& y) {
    if (!x.regions.empty() || x.results.size() != 1 || !alike(x, y)) return false;
    for (std::size_t i = 0; i < x.operands.size(); ++i) {
      if (!same(x.operands[i], y.operands[i])) return false;
    }
    as_[x.result()] = y.result();
    pairs_[&x] = &y;
    return true;
  }

  /// A selection that the other body has not: it gives one of its operands there.
  bool decided(const Op& op) {
    if (op.kind != OpKind::Select || !uses_.lazy(op.operands[0])) return false;
    std::size_t kept = 0;
    for (const std::size_t i : {1U, 2U}) {
      const Value* v = op.operands[i];
      if (is_scalar(v) || uses_.lazy(v) || v->type != op.result()->type) continue;
      if (kept != 0 || as_.count(v) == 0) return false;
      kept = i;
    }
    if (kept == 0) return false;
    as_[op.result()] = as_.at(op.operands[kept]);
    masks_[&op] = kept;
    return true;
  }

  static bool alike(const Op& x, const Op& y) {
    if (x.kind != y.kind || x.results.size() != y.results.size() || x.operands.size() != y.operands.size()) return false;
    if (!x.results.empty() && x.result()->type != y.result()->type) return false;
    auto a = x.attrs, b = y.attrs;
    // What nobody looks at needs no zeros.
    if (x.kind == OpKind::Load) {
      a.erase(ir::Attr::Zero);
      b.erase(ir::Attr::Zero);
    }
    return a == b;
  }

  /// The same function of the trip, and of what stands before the loops.
  bool same(const Value* a, const Value* b) {
    if (const auto at = as_.find(a); at != as_.end()) return at->second == b;
    const bool inside = a->def ? Uses::inside(a->def->parent, &general_) : a->block == &general_;
    if (!inside) return a == b;
    if (!a->def || !b->def || !Uses::inside(b->def->parent, &other_)) return false;
    const Op &x = *a->def, &y = *b->def;
    if (x.kind == OpKind::Range) return y.kind == OpKind::Range && same_range(x, y);
    if (!ir::has(x.kind, ir::Pure) && x.kind != OpKind::Load) return false;
    const bool emitted_apart = is_real_tile(a) && !uses_.lazy(a);
    if (emitted_apart || !x.regions.empty() || !alike(x, y)) return false;
    for (std::size_t i = 0; i < x.operands.size(); ++i) {
      if (!same(x.operands[i], y.operands[i])) return false;
    }
    as_[a] = b;
    return true;
  }

  bool same_range(const Op& x, const Op& y) {
    if (x.result()->type != y.result()->type || !same(x.operands[0], y.operands[0])) return false;
    if (y.has(ir::Attr::Full)) {
      if (!x.has(ir::Attr::Full)) full_.insert(&x);
    } else if (x.has(ir::Attr::Full) || !same(x.operands[1], y.operands[1]) || !same(x.operands[2], y.operands[2])) {
      return false;
    }
    as_[x.result()] = y.result();
    return true;
  }

  const ir::Block &general_, &other_;
  const Uses& uses_;
  std::map<const Value*, const Value*> as_;
  std::map<const Op*, std::size_t> masks_;
  std::set<const Op*> full_;
  std::map<const Op*, const Op*> pairs_;
};

}  // namespace

void Plan::share_bodies() {
  for (const auto& [head, rest] : chains_) {
    std::vector<const Op*> parts = {head};
    parts.insert(parts.end(), rest.begin(), rest.end());
    if (std::any_of(parts.begin(), parts.end(), [&](const Op* p) { return skews_of(*p).empty(); })) continue;
    const auto most =
        std::max_element(parts.begin(), parts.end(), [](const Op* x, const Op* y) { return x->region().ops.size() < y->region().ops.size(); });
    SharedBody body{.general = static_cast<std::size_t>(most - parts.begin())};
    const auto share = [&](const Op* op) {
      const auto at = polynomial_.find(op);
      return at == polynomial_.end() ? 0 : at->second;
    };
    bool shared = true;
    for (std::size_t p = 0; p < parts.size() && shared; ++p) {
      if (p == body.general) continue;
      Comparison c(**most, *parts[p], uses_);
      shared = c.run();
      for (const auto& [op, kept] : c.masks()) {
        SharedBody::Mask& m = body.masks.emplace(op, SharedBody::Mask{kept, {}}).first->second;
        shared = shared && m.kept == kept;
        m.decided.push_back(p);
      }
      for (const Op* range : c.full()) body.full[range].push_back(p);
      // Which exponentials are polynomials is the part's own matter, and changes bits.
      for (const auto& [x, y] : c.pairs()) shared = shared && share(x) == share(y);
    }
    if (!shared) continue;
    const auto among = [](const std::vector<std::size_t>& those, std::size_t p) { return std::find(those.begin(), those.end(), p) != those.end(); };
    // Where threads add products up, another product in a branch costs a seventh of the speed (RESULTS.md).
    const bool apart = std::any_of(parts.begin(), parts.end(), [&](const Op* p) {
      return std::any_of(skews_of(*p).begin(), skews_of(*p).end(), [&](const Skew& s) { return promoted(*s.dot); });
    });
    for (std::size_t p = 0; p < parts.size(); ++p) {
      const bool plain = p != body.general &&
                         std::all_of(body.masks.begin(), body.masks.end(), [&](const auto& m) { return among(m.second.decided, p); }) &&
                         std::all_of(body.full.begin(), body.full.end(), [&](const auto& f) { return among(f.second, p); });
      if (plain || apart) body.own.push_back(p);
    }
    shared_[head] = std::move(body);
  }
}

const SharedBody* Plan::shared_body(const Op& head) const {
  const auto at = shared_.find(&head);
  return at == shared_.end() ? nullptr : &at->second;
}

}  // namespace tessera::gpu
