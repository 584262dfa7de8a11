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
  Tile,     ///< a lazy value that is kept
  Carried,  ///< what a block yields to a loop's or a branch's tile
  Initial,  ///< what a loop's tile starts from
  Store,    ///< to a view
  FetchAdd,
  Reduce,
  Fold,  ///< scan, reduce_with, scan_with
  Product,
  Operand,  ///< an operand of a product, in the product's units
  Unit,     ///< one element that is kept in a register: a load of memory that may change, in program order
  Assert,
  Whole  ///< sort, top_k, histogram, solve_lower
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
  int across = -1;                    ///< Store: memory runs along this axis instead, so blocks of 16 x 16 are transposed
  bool ordered = false;               ///< elements in row-major order (effects that may meet)
  bool staged = false;                ///< Carried: written to a second buffer, copied when all have been read
  std::size_t position = 0;           ///< of the op in its block
};

enum class Role : std::uint8_t { Outer, Lane, Folded };
struct NestLoop {
  std::int64_t extent = 1;
  Role role = Role::Outer;
};

inline constexpr int kUnitAxis = -1;   ///< no loop: the axis is 1
inline constexpr int kStripAxis = -2;  ///< the region's own loop

struct Nest {
  std::vector<Sink*> sinks;
  std::vector<NestLoop> loops;
  std::map<const Sink*, std::vector<int>> loop_of;  ///< by axis of the sink's space: a loop's number, kUnitAxis or kStripAxis
  int pair_loop = -1;                               ///< the loop that runs in steps of two, for operands in pairs; -1: none
};

/// Nests that run one after the other; if `strip` is set, all of them once for every strip of so many lanes of an axis they share.
struct Region {
  std::int64_t strip = 0;
  std::int64_t extent = 0;  ///< of the shared axis
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

/// How an operand of a product lies where it is packed.
struct OperandPlan {
  int lane_axis = 1;  ///< of the operand tile
  int k_axis = 0;
  Layout layout;

  friend bool operator==(const OperandPlan&, const OperandPlan&) = default;
};
using OperandName = std::pair<const ir::Op*, std::size_t>;  ///< a product and which of its operands
struct ProductPlan {
  Product product = Product::F32;
  RegisterBlock block;
  bool transposed = false;  ///< rows of the result in lanes
  bool inner = false;       ///< k in lanes: few rows, and both operands contiguous along k
  OperandPlan operand[2];
};

/// The nest of an operand sink alone.
Nest operand_nest(Sink& s, const ProductPlan& p);

/// A loop that does nothing but acc += a @ b over tiles of k: one product over the loop's whole range of k.
struct GemmLoop {
  const ir::Op* dot = nullptr;
  bool from_zero = false;  ///< what the loop starts from is zero everywhere
};

class Plan {
 public:
  Plan(Analysis& analysis, const VectorTarget& target);

  const BlockPlan& block(const ir::Block& b) const { return *blocks_.at(&b); }
  const ProductPlan& product(const ir::Op& dot) const { return products_.at(&dot); }
  /// The tile of an earlier loop whose buffer a loop's tile goes on with, since nothing else reads it; null: none.
  const ir::Value* continues(const ir::Value* v) const {
    const auto it = continued_.find(v);
    return it == continued_.end() ? nullptr : it->second;
  }
  /// The operand that lies packed for this one: its own, or that of an earlier product that packs the same tile in the same way.
  OperandName packed_operand(const ir::Op& dot, std::size_t operand) const {
    const auto it = shared_operands_.find({&dot, operand});
    return it == shared_operands_.end() ? OperandName(&dot, operand) : it->second;
  }
  const GemmLoop* gemm_loop(const ir::Op& loop) const {
    const auto it = gemm_loops_.find(&loop);
    return it == gemm_loops_.end() ? nullptr : &it->second;
  }
  /// Lives in registers between the nests of its region: no buffer.
  bool in_registers(const ir::Value* v) const { return registers_.count(v) != 0; }
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
  std::set<const ir::Value*> registers_;
  std::map<const ir::Op*, GemmLoop> gemm_loops_;
  std::map<OperandName, OperandName> shared_operands_;
  std::map<const ir::Value*, const ir::Value*> continued_;
};

}  // namespace tessera::cpu
