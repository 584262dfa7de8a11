// Makes the plan of a block and of those inside it. Private to codegen/cpu/plan*.cpp.
#pragma once

#include "codegen/cpu/plan.h"

namespace tessera::cpu {

class BlockPlanner {
 public:
  explicit BlockPlanner(Plan& plan) : plan_(plan), analysis_(plan.analysis_) {}

  /// True if a value has been marked as kept, so that planning starts over.
  bool plan(const ir::Block& block);

 private:
  Plan& plan_;
  Analysis& analysis_;
  bool changed_ = false;

  struct Work {
    const ir::Block* block = nullptr;
    BlockPlan* plan = nullptr;
    std::vector<Sink*> pending;  ///< sinks of the segment under way, in program order
    std::size_t position = 0;
  };

  void plan_block(const ir::Block& block);
  void plan_op(Work& w, const ir::Op& op);
  void plan_control(Work& w, const ir::Op& op);
  void plan_yield(Work& w, const ir::Op& op);
  void plan_product(Work& w, const ir::Op& op);
  void close_segment(Work& w, const ir::Op* control);
  Sink& add(Work& w, SinkKind kind, const ir::Op& op, const ir::Value* value, const ir::Value* target);
  void keep_values_used_inside(Work& w, const ir::Op& control);
  void check_loads(const Work& w);

  /// Sinks of a segment into regions (plan_regions.cpp).
  void make_regions(Work& w, Segment& segment);
  Nest single_nest(Sink& s) const;
  void place(const Sink& s, const Nest& nest, const Region& region);

  // Costs (plan_costs.cpp): cycles of a sink with one axis of its space in lanes.
  double cost(const Sink& s, int lane) const;
  double read_cost(const ir::Value* v, const AxisMap& map, const ir::Dims& space, int lane) const;
  int best_lane(const Sink& s) const;
  std::optional<std::size_t> unit_axis(const ir::Value* view) const;
};

/// Every expression that a sink evaluates.
std::vector<const ir::Value*> inputs(const Sink& s);

}  // namespace tessera::cpu
