// Finds the condition under which an instance does anything. See live.h.
#include "codegen/gpu/live.h"

#include <fmt/format.h>

#include <algorithm>

#include "codegen/gpu/plan.h"
#include "codegen/gpu/trends.h"

namespace tessera::gpu {

using ir::Op;
using ir::OpKind;
using ir::Value;

namespace {

constexpr std::size_t kMostOps = 64;  ///< of the slice: it is computed for every instance that is looked at

std::vector<const Value*> values_of(const LiveTest& t) {
  if (t.flag) return {t.flag};
  return {t.low, t.high};
}

/// Assertions, prints and promises are nothing outside of debug runs.
bool for_debug_runs(OpKind k) { return k == OpKind::Assert || k == OpKind::Print || k == OpKind::Claim; }

}  // namespace

/// The tests that all hold if the range has a coordinate; none that holds for certain.
std::vector<LiveTest> Plan::tests_of_range(const Op& range) {
  if (range.has(ir::Attr::Full)) return {};
  const Value *start = range.operands[0], *lo = range.operands[1], *hi = range.operands[2];
  const Sym first = affine_.scalar(start), least = affine_.scalar(lo), end = affine_.scalar(hi);
  const std::int64_t size = ir::range(range.result()->type).size;
  std::vector<LiveTest> out;
  const auto add = [&](const Value* low, const Value* high, std::int64_t more, const Sym& room) {
    if (!affine_.positive(room)) out.push_back({.low = low, .high = high, .more = more});
  };
  add(start, hi, 0, end - first);
  if (affine_.nonnegative(first - least)) return out;
  add(lo, hi, 0, end - least);
  add(lo, start, size, first + size - least);
  return out;
}

/// The tests without which an op with effects has none, as far as they can be computed from scalars of the place; their ops are added to the slice.
std::vector<LiveTest> Plan::tests_of(const Op& op, std::set<const Op*>& slice) {
  std::vector<LiveTest> found;
  for (std::size_t i = 2; i < op.operands.size(); ++i) {
    const Value* x = op.operands[i];
    if (ir::is_range(x->type) && x->def) {
      for (const LiveTest& t : tests_of_range(*x->def)) found.push_back(t);
    }
  }
  if (op.has(ir::Attr::Masked) && is_scalar(op.operands.back())) found.push_back({.flag = op.operands.back()});
  for (const ir::Block* b = op.parent; b != &kernel_.body; b = b->parent->parent) {
    const Op& around = *b->parent;
    if (around.kind == OpKind::If) {
      found.push_back({.flag = around.operands[0], .wanted = b == &around.region(0)});
    } else if (around.kind == OpKind::For) {
      if (!affine_.positive(affine_.scalar(around.operands[1]) - affine_.scalar(around.operands[0])))
        found.push_back({.low = around.operands[0], .high = around.operands[1]});
    }
  }
  std::vector<LiveTest> out;
  for (const LiveTest& t : found) {
    std::set<const Op*> more = slice;
    const std::vector<const Value*> values = values_of(t);
    if (!std::all_of(values.begin(), values.end(), [&](const Value* v) { return add_to_slice(v, nullptr, more); })) continue;
    slice = std::move(more);
    if (std::find(out.begin(), out.end(), t) == out.end()) out.push_back(t);
  }
  return out;
}

void Plan::find_live() {
  live_.reset();
  Live l;
  std::set<const Op*> slice;
  bool always = false;
  ir::walk(kernel_.body, [&](const Op& op) {
    if (always || !ir::has(op.kind, ir::Writes) || for_debug_runs(op.kind)) return;
    std::vector<LiveTest> tests;
    if (op.kind == OpKind::Store || op.kind == OpKind::FetchAdd) tests = tests_of(op, slice);
    always = tests.empty();
    if (std::find(l.effects.begin(), l.effects.end(), tests) == l.effects.end()) l.effects.push_back(std::move(tests));
  });
  if (always || l.effects.empty() || slice.size() > kMostOps) return;

  // Which of the grid's axes a value depends on.
  const std::size_t first = kernel_.body.args.size() - kernel_.grid.size();
  std::map<const Value*, std::set<std::size_t>> axes;
  for (std::size_t a = 0; a < kernel_.grid.size(); ++a) axes[kernel_.body.args[first + a].get()] = {a};
  for (const auto& op : kernel_.body.ops) {
    if (slice.count(op.get()) == 0) continue;
    for (const Value* o : op->operands) axes[op->result()].insert(axes[o].begin(), axes[o].end());
  }
  std::set<std::size_t> all;
  for (const std::vector<LiveTest>& tests : l.effects) {
    for (const LiveTest& t : tests) {
      for (const Value* v : values_of(t)) all.insert(axes[v].begin(), axes[v].end());
    }
  }
  if (all.empty()) return;
  const auto falls = [&](std::size_t axis) {
    Trends trends(kernel_.body.args[first + axis].get(), [&](const Value* v) { return affine_.nonnegative(affine_.scalar(v)); });
    return std::all_of(l.effects.begin(), l.effects.end(), [&](const std::vector<LiveTest>& tests) {
      return std::all_of(tests.begin(), tests.end(), [&](const LiveTest& t) {
        if (t.flag) return trends.trend(t.flag) == Trend::None;
        const Trend low = trends.trend(t.low), high = trends.trend(t.high);
        return (low == Trend::None || low == Trend::Up) && (high == Trend::None || high == Trend::Down);
      });
    });
  };
  for (const std::size_t a : all) {
    if (!l.counted && falls(a)) {
      l.counted = a;
    } else {
      l.keys.push_back(a);
    }
  }
  std::set<const Op*> lengths;
  for (const auto& op : kernel_.body.ops) {
    if (op->kind != OpKind::For || wishes_.row_major) continue;
    std::set<const Op*> more = lengths;
    if (!add_to_slice(op->operands[0], nullptr, more) || !add_to_slice(op->operands[1], nullptr, more) || more.size() > kMostOps) continue;
    lengths = std::move(more);
    l.loops.push_back(op.get());
  }
  for (const auto& op : kernel_.body.ops) {
    if (slice.count(op.get()) != 0) (l.counted && axes[op->result()].count(*l.counted) != 0 ? l.along : l.alike).push_back(op.get());
    if (lengths.count(op.get()) != 0) l.lengths.push_back(op.get());
  }
  live_ = std::move(l);
}

std::string Plan::live_note() const {
  const auto name = [&](std::size_t axis) { return kernel_.grid[axis].name; };
  std::string keys;
  for (const std::size_t a : live_->keys) keys += (keys.empty() ? "" : ", ") + name(a);
  return fmt::format("instances that do nothing: passed over, known from {} ops{}{}{}{}", live_->alike.size() + live_->along.size(),
                     keys.empty() ? "" : " of ", keys, live_->counted ? ", counted along " : "", live_->counted ? name(*live_->counted) : "");
}

}  // namespace tessera::gpu
