// Makes the plan of a block and of those inside it. Private to codegen/cpu/plan*.cpp.
#pragma once

#include "codegen/cpu/plan.h"

namespace tessera::cpu {

/// Rows of a product that k in lanes serves better than broadcasting.
inline constexpr std::int64_t kInnerRows = 4;

class BlockPlanner {
 public:
  explicit BlockPlanner(Plan& plan) : plan_(plan), analysis_(plan.analysis_) {}

  /// True if a value has been marked as kept, so that planning starts over.
  bool plan(const ir::Block& block);

 private:
  struct Work {
    const ir::Block* block = nullptr;
    BlockPlan* plan = nullptr;
    std::vector<Sink*> pending;  ///< sinks of the segment under way, in program order
    std::size_t position = 0;
    bool last = false;  ///< the segment at the block's end
  };
  /// What a sink needs from another of its segment.
  struct Need {
    std::size_t on = 0;
    bool strip = false;  ///< at the same coordinate of the strip axis
    bool point = false;  ///< at the very same point, so that both may share a nest
  };
  using Needs = std::vector<std::vector<Need>>;

  // plan_block.cpp
  void plan_block(const ir::Block& block);
  void plan_op(Work& w, const ir::Op& op);
  void plan_control(Work& w, const ir::Op& op);
  bool continues(const Work& w, const ir::Op& op, const ir::Value* first, const ir::Value* arg);
  void plan_yield(Work& w, const ir::Op& op);
  void order_carried(Work& w) const;
  void close_segment(Work& w, const ir::Op* control);
  Sink& add(Work& w, SinkKind kind, const ir::Op& op, const ir::Value* value, const ir::Value* target);
  void keep_values_used_inside(Work& w, const ir::Op& control);
  void check_loads(const Work& w);
  /// Expensive tiles that several nests would evaluate are kept instead.
  void keep_shared(const BlockPlan& plan, const ir::Block& block);

  // plan_products.cpp: lanes of products and the sinks of their operands
  int choose_strip_class(const Work& w) const;
  double segment_cost(const Work& w, int strip_class) const;
  double product_cost(const Work& w, const Sink& s, int lane) const;
  bool is_inner(const Work& w, const Sink& s) const;
  bool plan_gemm_loop(const ir::Op& op);
  void plan_products(Work& w, int strip_class);
  /// An operand that is packed already in block `home`, in front of an earlier loop, as `sink` would have it; null: none.
  const Sink* packed_before(const Sink& sink, const ProductPlan& p, const ir::Block* home) const;
  void plan_operands(Work& w, const Sink& s, std::vector<Sink*>& before);
  const ir::Block* hoisted_to(const ir::Value* v) const;

  // plan_regions.cpp: sinks into nests and regions
  void make_regions(Work& w, Segment& segment);
  int strip_axis(const Sink& s, int strip_class) const;
  Needs find_needs(const Work& w, int strip_class) const;
  void add_need(Needs& needs, const Work& w, std::size_t of, std::size_t on, const ir::Value* tile, const AxisMap& map, int strip_class) const;
  void strip_region(Work& w, Segment& segment, const std::vector<std::size_t>& members, const Needs& needs, int strip_class);
  bool joins(const Nest& nest, const Sink& s) const;
  bool same_lane(const Nest& nest, const Sink& s) const;
  bool shares_nest(const Work& w, std::size_t i, const Need& n) const;
  void join(Nest& nest, Sink& s, int strip_class);
  Nest new_nest(Sink& s, int strip_class) const;
  void choose_lane(Sink& s);
  void place(const Sink& s);
  void place_in_strip(const Work& w, Sink& s, const Region& region, const Nest& nest, int strip_class);
  bool escapes(const Work& w, const ir::Value* v, const std::set<const Sink*>& inside) const;

  // plan_costs.cpp: cycles of a sink with one axis of its space in lanes
  double cost(const Sink& s, int lane) const;
  double read_cost(const ir::Value* v, const AxisMap& map, const ir::Dims& space, int lane) const;
  int best_lane(const Sink& s) const;
  int across_axis(const Sink& s, int lane) const;
  /// The axis of a tile expression along which memory is contiguous, if the expression is little more than a load.
  std::optional<std::size_t> contiguous_axis(const ir::Value* v) const;
  std::optional<std::size_t> unit_axis(const ir::Value* view) const;

  Plan& plan_;
  Analysis& analysis_;
  bool changed_ = false;
  std::vector<std::pair<const ir::Block*, std::unique_ptr<Sink>>> hoisted_;  ///< operand sinks for blocks around
  std::vector<std::pair<const ir::Block*, const Sink*>> packed_;             ///< those there have been so far
};

/// Every expression that a sink evaluates, and how its axes follow those of the sink's space.
struct Input {
  const ir::Value* value;
  AxisMap map;
};
std::vector<Input> inputs(const Sink& s);

}  // namespace tessera::cpu
