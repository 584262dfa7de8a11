#include "codegen/passes/rewrite.h"

#include <algorithm>

#include "dsl/diagnostic.h"

namespace tessera::ir {

Uses collect_uses(Block& block) {
  Uses uses;
  walk(block, [&](Op& op) {
    for (std::size_t i = 0; i < op.operands.size(); ++i) uses[op.operands[i]].push_back({&op, i});
  });
  return uses;
}

const Block* home(const Value* v) { return v->def ? v->def->parent : v->block; }

std::size_t position(const Op& op) {
  const auto& ops = op.parent->ops;
  for (std::size_t i = 0; i < ops.size(); ++i)
    if (ops[i].get() == &op) return i;
  TESSERA_UNREACHABLE("op is not in its parent");
}

bool visible(const Value* v, const Op& at) {
  const Block* block = home(v);
  for (const Op* op = &at; op; op = op->parent->parent) {
    if (op->parent != block) continue;
    return !v->def || position(*v->def) < position(*op);
  }
  return false;
}

bool inside_block(const Op& op, const Block& block) {
  for (const Op* o = &op; o; o = o->parent->parent)
    if (o->parent == &block) return true;
  return false;
}

std::size_t count_ops(const Block& block) {
  std::size_t n = 0;
  walk(block, [&](const Op&) { ++n; });
  return n;
}

void splice(Block& into, std::size_t at, Block& from) {
  for (const auto& op : from.ops) op->parent = &into;
  into.ops.insert(into.ops.begin() + static_cast<std::ptrdiff_t>(at), std::make_move_iterator(from.ops.begin()),
                  std::make_move_iterator(from.ops.end()));
  from.ops.clear();
}

const Value* view_root(const Value* view, std::vector<const Op*>* steps) {
  while (view->def) {
    if (!has(view->def->kind, Trait::OnView) || !is_view(view->type)) return nullptr;
    if (steps) steps->push_back(view->def);
    view = view->def->operands[0];
  }
  return view;
}

const Param* param_of(const Kernel& kernel, const Value* arg) {
  if (!arg || arg->block != &kernel.body) return nullptr;
  std::size_t index = arg->index;
  for (const Param& p : kernel.params) {
    if (!p.present) continue;
    if (index-- == 0) return &p;
  }
  return nullptr;
}

Access access(const Op& op) {
  Access a;
  a.view = op.operands[0];
  std::size_t first = 1;
  if (op.kind == OpKind::Store || op.kind == OpKind::FetchAdd || op.kind == OpKind::Signal) a.value = op.operands[first++];
  auto rank = static_cast<std::size_t>(view(a.view->type).rank);
  for (std::size_t i = first; i < first + rank; ++i) a.indices.push_back(op.operands[i]);
  if (op.int_attr(Attr::Masked) != 0) a.when = op.operands.back();
  return a;
}

std::vector<const Value*> axis_ranges(const Op& op) {
  std::vector<const Value*> axes;
  bool ranges = false;
  std::size_t rank = 0;
  for (const Value* i : access(op).indices) {
    if (is_range(i->type)) {
      ranges = true;
      axes.push_back(i);
    } else if (!is_scalar(i->type)) {
      rank = std::max(rank, static_cast<std::size_t>(tile(i->type).rank()));
      axes.push_back(nullptr);
    }
  }
  if (!ranges) axes.assign(rank, nullptr);
  return axes;
}

namespace {

/// Axis `axis` of `from` as an axis of `to` under row-major order: its size and the number of elements before it agree.
int reshaped_axis(const Dims& from, const Dims& to, int axis) {
  std::int64_t before = 1;
  for (int i = 0; i < axis; ++i) before *= from[static_cast<std::size_t>(i)];
  std::int64_t size = from[static_cast<std::size_t>(axis)];
  if (size == 1) return -1;
  std::int64_t passed = 1;
  for (std::size_t i = 0; i < to.size(); ++i) {
    if (passed == before && to[i] == size) return static_cast<int>(i);
    passed *= to[i];
    if (passed > before) return -1;
  }
  return -1;
}

}  // namespace

int axis_in_result(const Op& op, int axis) {
  const Dims& from = tile(op.operands[0]->type).dims;
  const Dims& to = tile(op.result()->type).dims;
  if (op.kind == OpKind::Reshape) return reshaped_axis(from, to, axis);
  if (op.kind == OpKind::Permute) {
    const Dims& perm = op.dims_attr(Attr::Perm);
    return static_cast<int>(std::find(perm.begin(), perm.end(), axis) - perm.begin());
  }
  TESSERA_ASSERT(op.kind == OpKind::Broadcast, "not a shape op");
  return from.size() == to.size() && from[static_cast<std::size_t>(axis)] != 1 ? axis : -1;
}

int axis_in_operand(const Op& op, int axis) {
  const Dims& from = tile(op.operands[0]->type).dims;
  const Dims& to = tile(op.result()->type).dims;
  if (op.kind == OpKind::Reshape) return reshaped_axis(to, from, axis);
  if (op.kind == OpKind::Permute) return static_cast<int>(op.dims_attr(Attr::Perm)[static_cast<std::size_t>(axis)]);
  TESSERA_ASSERT(op.kind == OpKind::Broadcast, "not a shape op");
  return from.size() == to.size() && from[static_cast<std::size_t>(axis)] != 1 ? axis : -1;
}

}  // namespace tessera::ir
