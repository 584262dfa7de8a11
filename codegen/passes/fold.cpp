#include "codegen/passes/fold.h"

#include <fmt/format.h>

#include <bit>
#include <unordered_map>

#include "codegen/passes/affine.h"
#include "codegen/passes/dce.h"
#include "codegen/passes/hoist.h"
#include "codegen/passes/rewrite.h"
#include "codegen/passes/scalar.h"
#include "codegen/passes/simplify.h"

namespace tessera::ir {

namespace {

constexpr int kMaxRounds = 16;

bool mergeable(const Op& op) {
  if (!op.regions.empty() || op.results.empty()) return false;
  return op.kind == OpKind::Load || has(op.kind, Trait::Pure);
}

/// Reads memory that the kernel itself may write.
bool reads_written(const Op& op) { return op.kind == OpKind::Load && view(op.operands[0]->type).mode != Mode::In; }

/// Equal texts mean equal ops.
std::string key(const Op& op) {
  std::string k = fmt::format("{}", static_cast<int>(op.kind));
  for (const Value* v : op.operands) k += fmt::format(",{}", static_cast<const void*>(v));
  for (const auto& [attr, value] : op.attrs) {
    k += fmt::format(";{}=", static_cast<int>(attr));
    if (const auto* i = std::get_if<std::int64_t>(&value)) k += fmt::format("i{}", *i);
    if (const auto* d = std::get_if<double>(&value)) k += fmt::format("d{}", std::bit_cast<std::uint64_t>(*d));
    if (const auto* s = std::get_if<std::string>(&value)) k += "s" + *s;
    if (const auto* l = std::get_if<Dims>(&value))
      for (std::int64_t x : *l) k += fmt::format("{}_", x);
  }
  return k + ":" + str(op.result()->type);
}

class Folder {
 public:
  explicit Folder(Kernel& kernel) : kernel_(kernel), affine_(kernel) {}

  bool run() {
    rebuild(kernel_.body);
    return changed_;
  }

 private:
  using Scope = std::unordered_map<std::string, Value*>;

  Value* mapped(Value* v) {
    for (auto it = map_.find(v); it != map_.end(); it = map_.find(v)) v = it->second;
    return v;
  }

  void replace(const Value* from, Value* to) {
    to = mapped(to);
    if (to->hint.empty()) to->hint = from->hint;
    map_[from] = to;
    changed_ = true;
  }

  /// Ops are taken out one by one, simplified with mapped operands and put back; replaced ones are kept until the round is over.
  void rebuild(Block& block) {
    std::vector<std::unique_ptr<Op>> old = std::move(block.ops);
    block.ops.clear();
    scopes_.emplace_back();
    append(block, old);
    scopes_.pop_back();
  }

  void append(Block& block, std::vector<std::unique_ptr<Op>>& ops) {
    for (auto& op : ops) add(block, std::move(op));
  }

  void add(Block& block, std::unique_ptr<Op> op) {
    op->parent = &block;
    for (Value*& v : op->operands) v = mapped(v);
    if (op->kind == OpKind::If && inline_if(block, *op)) return retire(std::move(op));
    if (op->kind == OpKind::For && inline_for(block, *op)) return retire(std::move(op));
    if (op->kind == OpKind::For) drop_invariant_slots(*op);
    Builder b(block);
    if (Value* v = simplify(*op, b, affine_, changed_)) {
      replace(op->result(), v);
      return retire(std::move(op));
    }
    if (has(op->kind, Trait::Commutative) && mergeable(*op) && constant(op->operands[0]) && !constant(op->operands[1]))
      std::swap(op->operands[0], op->operands[1]);
    if (mergeable(*op)) {
      std::string k = key(*op);
      if (reads_written(*op)) k += fmt::format("@{}", writes_);
      for (Scope& scope : scopes_) {
        auto it = scope.find(k);
        if (it == scope.end()) continue;
        for (std::size_t i = 0; i < op->results.size(); ++i) replace(op->result(i), it->second->def->result(i));
        return retire(std::move(op));
      }
      scopes_.back()[k] = op->result();
    }
    Op& kept = *op;
    block.ops.push_back(std::move(op));
    if (kept.kind != OpKind::Load && !has(kept.kind, Trait::Pure)) ++writes_;
    for (const auto& region : kept.regions) {
      ++writes_;  // what another trip or arm writes
      rebuild(*region);
      ++writes_;
    }
    if (kept.kind == OpKind::If) merge_equal_results(kept);
  }

  void retire(std::unique_ptr<Op> op) { retired_.push_back(std::move(op)); }

  void inline_block(Block& into, Block& from, const std::vector<Value*>& args, const Op& op) {
    for (std::size_t i = 0; i < args.size(); ++i) map_[from.args[i].get()] = mapped(args[i]);
    std::vector<std::unique_ptr<Op>> ops = std::move(from.ops);
    from.ops.clear();
    std::unique_ptr<Op> yield = std::move(ops.back());
    ops.pop_back();
    append(into, ops);
    for (std::size_t i = 0; i < op.results.size(); ++i) replace(op.result(i), yield->operands[i]);
    changed_ = true;
    retire(std::move(yield));
  }

  bool inline_if(Block& block, Op& op) {
    auto c = constant(op.operands[0]);
    if (!c) return false;
    inline_block(block, op.region(c->i != 0 ? 0 : 1), {}, op);
    return true;
  }

  /// Loops that run not at all or exactly once.
  bool inline_for(Block& block, Op& op) {
    Sym trips_left = affine_.scalar(op.operands[1]) - affine_.scalar(op.operands[0]);  // hi - lo
    Sym step = affine_.scalar(op.operands[2]);
    std::vector<Value*> inits(op.operands.begin() + 3, op.operands.end());
    if (affine_.nonnegative(-trips_left)) {
      for (std::size_t i = 0; i < inits.size(); ++i) replace(op.result(i), inits[i]);
      changed_ = true;
      return true;
    }
    if (!affine_.positive(trips_left) || !affine_.nonnegative(step - trips_left)) return false;
    std::vector<Value*> args{op.operands[0]};
    args.insert(args.end(), inits.begin(), inits.end());
    inline_block(block, op.region(), args, op);
    return true;
  }

  /// A carried value that is yielded unchanged is its init.
  void drop_invariant_slots(Op& op) {
    Block& body = op.region();
    for (std::size_t i = 0; i < op.results.size(); ++i) {
      Value* arg = body.args[1 + i].get();
      if (body.yielded()[i] != arg) continue;
      replace(op.result(i), op.operands[3 + i]);
      replace(arg, op.operands[3 + i]);
    }
  }

  /// Both arms give the same value that exists outside.
  void merge_equal_results(Op& op) {
    for (std::size_t i = 0; i < op.results.size(); ++i) {
      Value* a = mapped(op.region(0).yielded()[i]);
      if (a == mapped(op.region(1).yielded()[i]) && visible(a, op)) replace(op.result(i), a);
    }
  }

  Kernel& kernel_;
  Affine affine_;
  ValueMap map_;
  std::vector<Scope> scopes_;
  std::vector<std::unique_ptr<Op>> retired_;
  std::int64_t writes_ = 0;  ///< loads of what the kernel writes are equal only between two writes
  bool changed_ = false;
};

}  // namespace

void fold(Kernel& kernel) {
  for (int round = 0; round < kMaxRounds; ++round) {
    bool changed = Folder(kernel).run();
    changed |= hoist_invariants(kernel);
    changed |= remove_unused(kernel);
    if (!changed) return;
  }
}

}  // namespace tessera::ir
