// The plan of a kernel: which values are computed as a whole, in which loops, with which axis in lanes.
//
// A *sink* is anything that makes expressions be evaluated: a tile that is kept, a store, a reduction, a product. Sinks that run over the same
// elements share a *nest* of loops and every subexpression. A *region* is a run of nests under one loop over an axis in which all of them are
// independent: in strips of lane vectors, or one index at a time; what passes between its nests then stays in the first-level cache.
#pragma once

#include <memory>

#include "codegen/cpu/analysis.h"
#include "codegen/cpu/buffer.h"
#include "codegen/cpu/micro.h"

namespace tessera::cpu {

enum class SinkKind : std::uint8_t {
  Tile,      ///< a lazy value that is kept
  Carried,   ///< what a block yields to a loop's or a branch's tile
  Initial,   ///< what a loop's tile starts from
  Store,     ///< to a view
  FetchAdd,
  Reduce,
  Fold,      ///< scan, reduce_with, scan_with
  Product,
  Operand,   ///< an operand of a product, in the product's units
  Unit,      ///< a load of one element of memory that may change: in program order
  Assert,
  Whole      ///< sort, top_k, histogram, solve_lower
};

struct Sink {
  SinkKind kind = SinkKind::Tile;
  const ir::Op* op = nullptr;
  const ir::Value* value = nullptr;   ///< the expression evaluated at every point; null for kinds that see to themselves
  const ir::Value* target = nullptr;  ///< whose buffer or register it makes
  std::size_t operand = 0;            ///< Operand: which of the product's
  ir::Dims space;                     ///< the points
  int axis = -1;                      ///< Reduce, Fold: the axis of the space that is folded
  int lane = -1;                      ///< the axis in lanes; -1: none (one element)
  bool ordered = false;               ///< elements in row-major order (effects that may meet)
  bool staged = false;                ///< Carried: written to a second buffer, copied when all have been read
  std::size_t position = 0;           ///< of the op in its block
};

enum class Role : std::uint8_t { Outer, Lane, Folded };
struct NestLoop {
  std::int64_t extent = 1;
  Role role = Role::Outer;
};

struct Nest {
  std::vector<Sink*> sinks;
  std::vector<NestLoop> loops;
  std::map<const Sink*, std::vector<int>> loop_of;  ///< by axis of the sink's space; -1: an axis of 1
  bool pairs = false;                               ///< the loop `pair_loop` runs in steps of two
  int pair_loop = -1;
};

struct Region {
  std::int64_t extent = 0;   ///< of the loop around the nests; 0: none
  bool lanes = false;        ///< in strips of lane vectors
  std::int64_t strip = 0;    ///< lanes of a strip
  std::map<const Sink*, int> axis;  ///< the axis of each sink's space that the loop runs over
  std::vector<Nest> nests;
};

struct Segment {
  std::vector<Region> regions;
  const ir::Op* control = nullptr;  ///< runs after the regions; null at the end of a block
};

struct BlockPlan {
  std::vector<std::unique_ptr<Sink>> sinks;
  std::vector<Segment> segments;
};

/// How the two operands of a product reach it.
struct OperandPlan {
  bool packed = true;       ///< an Operand sink writes `layout`; else the value's own buffer is read
  int lane_axis = 1;        ///< of the operand tile, in the packed layout
  int k_axis = 0;
  Layout layout;
};
struct ProductPlan {
  Product product = Product::F32;
  RegisterBlock block;
  bool transposed = false;  ///< rows of the result in lanes
  OperandPlan operand[2];
};

class Plan {
 public:
  Plan(Analysis& analysis, const VectorTarget& target);

  const BlockPlan& block(const ir::Block& b) const { return *blocks_.at(&b); }
  const ProductPlan& product(const ir::Op& dot) const { return products_.at(&dot); }
  const Layout* layout(const ir::Value* v) const {
    const auto it = layouts_.find(v);
    return it == layouts_.end() ? nullptr : &it->second;
  }

 private:
  friend class BlockPlanner;
  Analysis& analysis_;
  VectorTarget target_;
  std::map<const ir::Block*, std::unique_ptr<BlockPlan>> blocks_;
  std::map<const ir::Op*, ProductPlan> products_;
  std::map<const ir::Value*, Layout> layouts_;
};

}  // namespace tessera::cpu
