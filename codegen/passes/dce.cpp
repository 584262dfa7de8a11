#include "codegen/passes/dce.h"

#include <algorithm>
#include <set>
#include <vector>

namespace tessera::ir {

namespace {

class Liveness {
 public:
  explicit Liveness(Block& body) { root(body); }

  bool live(const Op& op) const { return ops_.count(&op) != 0; }
  bool live(const Value* v) const { return values_.count(v) != 0; }

 private:
  /// Ops with effects, and whiles, which may not end.
  void root(Block& block) {
    for (const auto& op : block.ops) {
      if (has(op->kind, Trait::Writes) || op->kind == OpKind::While) mark(*op);
      for (const auto& region : op->regions) root(*region);
    }
    drain();
  }

  void mark(Op& op) {
    if (!ops_.insert(&op).second) return;
    switch (op.kind) {
      case OpKind::For:
        for (std::size_t i = 0; i < 3; ++i) mark(op.operands[i]);
        mark(*op.region().ops.back());
        break;
      case OpKind::If:
        mark(op.operands[0]);
        for (const auto& r : op.regions) mark(*r->ops.back());
        break;
      case OpKind::While:
        for (const Value* v : op.operands) mark(v);
        for (const auto& r : op.regions) {
          mark(*r->ops.back());
          for (const Value* v : r->yielded()) mark(v);
        }
        break;
      case OpKind::Yield:
        // Its operands are marked one by one, as the results they feed come alive; those of other regions all together.
        if (Op* parent = op.parent->parent; parent && parent->kind != OpKind::For && parent->kind != OpKind::If)
          for (const Value* v : op.operands) mark(v);
        break;
      default:
        for (const Value* v : op.operands) mark(v);
        for (const auto& r : op.regions)
          for (const auto& inner : r->ops) mark(*inner);
        break;
    }
    if (Op* parent = op.parent->parent) mark(*parent);
  }

  void mark(const Value* v) {
    if (values_.insert(v).second) work_.push_back(v);
  }

  void drain() {
    while (!work_.empty()) {
      const Value* v = work_.back();
      work_.pop_back();
      if (v->def) {
        mark(*v->def);
        slot(*v->def, v->index);
      } else if (v->block->parent && v->block->parent->kind == OpKind::For && v->index > 0) {
        slot(*v->block->parent, v->index - 1);
      }
    }
  }

  /// Result `i` of a control op is needed: so are the values that flow into it.
  void slot(Op& op, std::size_t i) {
    if (op.kind == OpKind::For) {
      mark(op.operands[3 + i]);
      mark(op.region().yielded()[i]);
      mark(op.region().args[1 + i].get());
      mark(op.result(i));
    } else if (op.kind == OpKind::If) {
      for (const auto& r : op.regions) mark(r->yielded()[i]);
      mark(op.result(i));
    }
  }

  std::set<const Op*> ops_;
  std::set<const Value*> values_;
  std::vector<const Value*> work_;
};

template <class T>
void renumber(std::vector<std::unique_ptr<T>>& list) {
  for (std::size_t i = 0; i < list.size(); ++i) list[i]->index = i;
}

bool sweep(Block& block, const Liveness& liveness) {
  bool changed = false;
  // Users come after definitions, so going backwards no op outlives what it uses.
  for (std::size_t k = block.ops.size(); k-- > 0;) {
    Op& op = *block.ops[k];
    if (op.kind == OpKind::Yield) continue;
    if (!liveness.live(op)) {
      block.ops.erase(block.ops.begin() + static_cast<std::ptrdiff_t>(k));
      changed = true;
      continue;
    }
    if (op.kind == OpKind::For || op.kind == OpKind::If) {
      for (std::size_t i = op.results.size(); i-- > 0;) {
        if (liveness.live(op.result(i))) continue;
        auto at = static_cast<std::ptrdiff_t>(i);
        for (const auto& r : op.regions) {
          auto& yielded = r->ops.back()->operands;
          yielded.erase(yielded.begin() + at);
        }
        op.results.erase(op.results.begin() + at);
        if (op.kind == OpKind::For) op.operands.erase(op.operands.begin() + 3 + at);
        changed = true;
      }
      renumber(op.results);
    }
    for (const auto& r : op.regions) changed |= sweep(*r, liveness);
    if (op.kind == OpKind::For) {  // arguments go last: dead ops of the body used them
      auto& args = op.region().args;
      for (std::size_t i = args.size(); i-- > 1;)
        if (!liveness.live(args[i].get())) args.erase(args.begin() + static_cast<std::ptrdiff_t>(i));
      renumber(args);
    }
  }
  return changed;
}

}  // namespace

bool remove_unused(Kernel& kernel) {
  Liveness liveness(kernel.body);
  return sweep(kernel.body, liveness);
}

}  // namespace tessera::ir
