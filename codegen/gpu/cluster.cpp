// Clusters: two CTAs at neighbouring instances of a grid axis, which share the tiles that do not depend on where along it they are. Each asks for
// half of such a tile, for both; a slot is free once both have left it. See plan.h.
//
// Both CTAs go through their rings in step, so the trips of a loop with shared tiles must be the same for both.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "codegen/gpu/plan.h"

namespace tessera::gpu {

using ir::Op;
using ir::Value;

namespace {

/// Which values depend on one, through any op; what a loop carries counts as dependent.
class Dependence {
 public:
  Dependence(const ir::Kernel& kernel, const Value* on) : kernel_(kernel), on_(on) {}

  bool depends(const Value* v) {
    if (v == on_) return true;
    if (!v->def) {
      if (v->block == &kernel_.body) return false;
      const Op* loop = v->block ? v->block->parent : nullptr;
      return !loop || loop->kind != ir::OpKind::For || v->index != 0 || trips(*loop);
    }
    const auto [at, fresh] = known_.emplace(v, true);
    if (!fresh) return at->second;
    const Op& op = *v->def;
    const bool any = !op.regions.empty() || std::any_of(op.operands.begin(), op.operands.end(), [&](const Value* o) { return depends(o); });
    return known_[v] = any;
  }
  /// Of a loop: from where to where it runs.
  bool trips(const Op& loop) {
    return std::any_of(loop.operands.begin(), loop.operands.begin() + 3, [&](const Value* o) { return depends(o); });
  }

 private:
  const ir::Kernel& kernel_;
  const Value* on_;
  std::map<const Value*, bool> known_;
};

constexpr std::int64_t kPatternRows = 8;  ///< of a swizzled panel

/// Each CTA asks for half of the tile's panels, or of the rows of each.
bool halve(Stage& s) {
  if (!s.bulk || s.transposed_from >= 0) return false;
  BulkCopy& copy = *s.bulk;
  const std::int64_t half = s.rows / 2;
  if (s.panels() % 2 == 0) {
    s.halves = Halves::Panels;
  } else if (s.rows % (2 * kPatternRows) == 0 && (copy.rows_a_box == 1 || half % copy.group == 0)) {
    s.halves = Halves::Rows;
    if (copy.rows_a_box > 1) copy.rows_a_box = half;
  }
  return s.halves != Halves::None;
}

}  // namespace

void Plan::choose_cluster() {
  // As the other directives about roles, it says nothing where no warpgroup asks for tiles on any target's own account.
  if (!wishes_.cluster || wishes_.cluster->size.number == 1 || !info(Primitive::WgmmaBf16).on(target_)) return;
  const auto& [name, size] = *wishes_.cluster;
  const auto refuse = [&](const std::string& why) {
    throw Unsupported{size.span, fmt::format("its schedule says `cluster {}: {}`, but {}", name, size.number, why)};
  };
  const auto axis = std::find_if(kernel_.grid.begin(), kernel_.grid.end(), [&](const ir::GridAxis& a) { return a.name == name; });
  if (axis == kernel_.grid.end()) refuse(fmt::format("`{}` is no axis of its grid", name));
  if (!roles_) refuse("no warpgroup of it asks for tiles that its CTAs could share");
  // Those that are live are numbered one by one, not in pairs.
  if (live_) refuse("instances of it that store nothing are passed over");
  const auto number = static_cast<std::size_t>(axis - kernel_.grid.begin());
  Dependence dependence(kernel_, kernel_.body.args[kernel_.body.args.size() - kernel_.grid.size() + number].get());
  const auto same = [&](const Stage& s) {
    const std::vector<Value*>& operands = s.source->def->operands;
    return std::none_of(operands.begin(), operands.end(), [&](const Value* o) { return dependence.depends(o); });
  };
  std::set<std::string> shared;
  const auto share = [&](Stage& s) {
    const std::string& tile = s.source->hint;
    if ((!wishes_.multicast.empty() && wishes_.multicast.count(tile) == 0) || !same(s) || !halve(s)) return false;
    shared.insert(tile);
    return true;
  };
  for (const Op* head : roles_->chains) {
    const std::vector<const Op*>& rest = continued_by(*head);
    if (dependence.trips(*head) || std::any_of(rest.begin(), rest.end(), [&](const Op* loop) { return dependence.trips(*loop); })) continue;
    const std::vector<int> rings = rings_of(*head);
    for (std::size_t k = 0; k < rings.size(); ++k) {
      if (!share(stages_[static_cast<std::size_t>(rings[k])])) continue;
      for (const Op* loop : rest) halve(stages_[static_cast<std::size_t>(rings_of(*loop)[k])]);
    }
  }
  for (const int i : roles_->tiles) share(stages_[static_cast<std::size_t>(i)]);
  for (const auto& [tile, span] : wishes_.multicast) {
    if (shared.count(tile) != 0) continue;
    throw Unsupported{span,
                      fmt::format("its schedule says `multicast {}`, but that is no tile that is the same for neighbouring instances along `{}`, in "
                                  "loops of as many trips",
                                  tile, name)};
  }
  if (shared.empty()) refuse(fmt::format("it has no tile that is the same for neighbouring instances along `{}`, in loops of as many trips", name));
  cluster_axis_ = number;
}

bool Plan::shares(const Op& loop) const {
  const std::vector<int> rings = rings_of(loop);
  return std::any_of(rings.begin(), rings.end(), [&](int i) { return shares(i); });
}

}  // namespace tessera::gpu
