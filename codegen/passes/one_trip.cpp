#include "codegen/passes/one_trip.h"

#include <algorithm>
#include <set>
#include <vector>

#include "codegen/passes/fold.h"
#include "codegen/passes/rewrite.h"
#include "codegen/passes/scalar.h"

namespace tessera::ir {

namespace {

constexpr std::size_t kMaxOps = 400;            ///< ops that may be copied
constexpr std::int64_t kMaxElements = 1 << 15;  ///< of a tile that the registers of one instance hold beside the rest

bool same_bounds(const Op& x, const Op& y) { return std::equal(x.operands.begin(), x.operands.begin() + 3, y.operands.begin()); }

/// A loop whose trip is straight code on tiles that registers hold, with a step that is a number.
bool candidate(const Op& op) {
  if (op.kind != OpKind::For || !constant(op.operands[2])) return false;
  return std::all_of(op.region().ops.begin(), op.region().ops.end(), [](const auto& inner) {
    if (inner->kind == OpKind::For || inner->kind == OpKind::While || inner->kind == OpKind::Dot) return false;
    return std::all_of(inner->results.begin(), inner->results.end(), [](const auto& r) {
      if (!is_tile(r->type)) return true;
      std::int64_t n = 1;
      for (const std::int64_t d : tile(r->type).dims) n *= d;
      return n <= kMaxElements;
    });
  });
}

std::set<const Value*> views_read(const Op& loop) {
  std::set<const Value*> out;
  for (const auto& op : loop.region().ops) {
    if (op->kind == OpKind::Load && view(op->operands[0]->type).mode == Mode::In && !tile(op->result()->type).dims.empty())
      out.insert(op->operands[0]);
  }
  return out;
}

/// The loops like the first of two that read the same view; empty if there are none.
std::vector<const Op*> family(const Block& block) {
  for (std::size_t i = 0; i < block.ops.size(); ++i) {
    const Op& first = *block.ops[i];
    if (!candidate(first)) continue;
    const std::set<const Value*> read = views_read(first);
    std::vector<const Op*> out = {&first};
    bool shared = false;
    for (std::size_t j = i + 1; j < block.ops.size(); ++j) {
      const Op& other = *block.ops[j];
      if (!candidate(other) || !same_bounds(first, other)) continue;
      out.push_back(&other);
      for (const Value* v : views_read(other)) shared = shared || read.count(v) != 0;
    }
    if (shared) return out;
  }
  return {};
}

/// Copies of ops to `into`, with one trip in place of each of the loops.
void copy_straight(const std::vector<std::unique_ptr<Op>>& ops, const std::vector<const Op*>& loops, Block& into, ValueMap map) {
  const auto now = [&](Value* v) {
    const auto at = map.find(v);
    return at == map.end() ? v : at->second;
  };
  for (const auto& op : ops) {
    if (std::find(loops.begin(), loops.end(), op.get()) == loops.end()) {
      auto copy = clone(*op, map);
      copy->parent = &into;
      into.ops.push_back(std::move(copy));
      continue;
    }
    const Block& trip = op->region();
    map[trip.args[0].get()] = op->operands[0];
    for (std::size_t i = 0; i < op->results.size(); ++i) map[trip.args[1 + i].get()] = now(op->operands[3 + i]);
    clone_ops(trip, into, map, false);
    for (std::size_t i = 0; i < op->results.size(); ++i) map[op->result(i)] = now(trip.yielded()[i]);
  }
}

}  // namespace

void one_trip(Kernel& kernel) {
  Block& body = kernel.body;
  const std::vector<const Op*> loops = family(body);
  if (loops.empty()) return;
  const std::size_t from = position(*loops[0]);
  std::size_t size = 0;
  for (std::size_t i = from; i < body.ops.size(); ++i) {
    const Op& op = *body.ops[i];
    // A copy that still loops is a second kernel.
    const bool loop = op.kind == OpKind::For || op.kind == OpKind::While;
    if (loop && std::find(loops.begin(), loops.end(), &op) == loops.end()) return;
    size += 1;
    for (const auto& r : op.regions) size += count_ops(*r);
  }
  if (size > kMaxOps) return;

  std::vector<std::unique_ptr<Op>> rest(std::make_move_iterator(body.ops.begin() + static_cast<std::ptrdiff_t>(from)),
                                        std::make_move_iterator(body.ops.end()));
  body.ops.resize(from);
  std::unique_ptr<Op> end = std::move(rest.back());  // a kernel yields nothing
  rest.pop_back();
  Builder b(body);
  b.set_span(loops[0]->span);
  Value *lo = loops[0]->operands[0], *hi = loops[0]->operands[1], *step = loops[0]->operands[2];
  Value* whole = b.value(OpKind::Add, {lo, step});
  Value* once = b.value(OpKind::And, {b.value(OpKind::Lt, {lo, hi}), b.value(OpKind::Le, {hi, whole})});
  Op* branch = b.if_else(once, {});
  Block &straight = branch->region(0), &general = branch->region(1);
  // A row that is as long as the tile has no masks.
  b.set_block(straight);
  Op* exact = b.if_else(b.value(OpKind::Eq, {hi, whole}), {});
  copy_straight(rest, loops, exact->region(0), {{hi, whole}});
  copy_straight(rest, loops, exact->region(1), {});
  for (auto& op : rest) {
    op->parent = &general;
    general.ops.push_back(std::move(op));
  }
  for (Block* block : {&exact->region(0), &exact->region(1), &straight, &general}) {
    b.set_block(*block);
    b.yield({});
  }
  end->parent = &body;
  body.ops.push_back(std::move(end));
  fold(kernel);
}

}  // namespace tessera::ir
