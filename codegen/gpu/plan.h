// What is decided about a kernel before code is emitted: how many warps run it, how every tile lies in their registers, how every product is
// computed, and which tiles pass through shared memory.
//
// Rules, none of which knows a kernel:
//   * Axes that elementwise ops, reductions, loops and branches tie together form one class and share one AxisPart.
//   * A product's result anchors its axes: rows and columns of mma.sync accumulators. Axes without an anchor follow their partners, or are
//     spread for wide memory accesses.
//   * What contradicts is converted through shared memory where it meets.
//   * Coordinates, masks and constants are *lazy*: computed where and in the layout they are needed. Functions of them that cost much are computed
//     once, by as many threads as there are elements, and handed to the threads of a larger tile that they go with.
//   * Slices and concatenations that cut an axis into equal pieces leave every piece with all threads: they move no element.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "codegen/cpu/analysis.h"
#include "codegen/cpu/memory.h"
#include "codegen/cpu/view_map.h"
#include "codegen/gpu/layout.h"
#include "codegen/gpu/live.h"
#include "codegen/gpu/primitives.h"
#include "codegen/gpu/target.h"
#include "codegen/gpu/wishes.h"
#include "codegen/passes/affine.h"
#include "dsl/ir.h"
#include "dsl/schedule.h"

namespace tessera::gpu {

using cpu::dims;
using cpu::dtype;
using cpu::elements;
inline bool is_scalar(const ir::Value* v) { return ir::is_tile(v->type) && dims(v).empty(); }
inline bool is_real_tile(const ir::Value* v) { return ir::is_tile(v->type) && !dims(v).empty(); }
/// Bytes of an element in shared memory: sub-byte types and bool take one.
inline std::int64_t cell_bytes(DType t) { return cpu::arena_cell(t).bytes(); }

/// The tile behind transpositions of rank-2 tiles; `flipped` changes if their number is odd.
const ir::Value* through_transposes(const ir::Value* v, bool& flipped);

inline constexpr std::int64_t kPanelBytes = 128;
inline constexpr int kGroupInstances = 256;           ///< two for each multiprocessor of a large GPU
inline constexpr int kGroupThreads = 4 * kWarpLanes;  ///< a warpgroup's

/// A load of rows and columns as boxes of a view parameter: axes of the parameter are fixed at a number, or are the tile's rows or columns. Rows may
/// be two axes merged into one: row r is then r / group on one axis and r mod group on the other, counted from a number.
struct BulkCopy {
  struct Axis {
    const ir::Value* number = nullptr;  ///< idx scalar that it is fixed at, or where the rows are counted from; null: 0
    bool rows = false, inner_rows = false, cols = false;
  };
  std::size_t param = 0;        ///< index of the kernel's parameter
  std::vector<Axis> axes;       ///< by axis of the parameter; the last one is the columns
  std::int64_t group = 1;       ///< extent of the inner rows
  std::int64_t rows_a_box = 0;  ///< all, or 1 if the tile does not begin and end with whole groups
  bool cut = false;             ///< rows behind the valid ones may be others of the tensor, and are wanted as zeros

  std::int64_t box(const Axis& a) const { return rows_a_box == 1 || !(a.rows || a.inner_rows) ? 1 : a.rows ? rows_a_box / group : group; }
};

/// The kernel's argument that a view is made of.
const ir::Value* parameter_of(const ir::Value* view);
/// Its index among the kernel's parameters.
std::size_t parameter_index(const ir::Kernel& kernel, const ir::Value* view);
/// The layout of an operand that goes elementwise with a result of this layout: axes of extent 1 have no digits.
Layout operand_layout(const ir::Value* operand, const Layout& result);

class Uses {
 public:
  explicit Uses(const ir::Kernel& kernel);
  const std::vector<const ir::Op*>& of(const ir::Value* v) const;
  /// A tile expression of coordinates, constants and scalars alone, of bounded depth.
  bool lazy(const ir::Value* v) const { return lazy_.count(v) != 0; }
  /// A function between a product of 16-bit tiles and results of 16 bits, in a kernel that is not strict: an error as large as the rounding of the
  /// product's operands is good enough.
  bool coarse(const ir::Op& op) const { return coarse_.count(&op) != 0; }
  /// The same, but with functions in it that are computed once an element and not at each use.
  bool computed(const ir::Value* v) const { return computed_.count(v) != 0; }
  /// What a load reads depends on the instance; else all instances read the same, and caches hold it.
  bool own(const ir::Op& load) const;
  /// The parameter of this index is read, by a load or an atomic that gives what was there.
  bool reads(std::size_t param) const { return read_.count(param) != 0; }
  /// `b` is `outer` or nested in it.
  static bool inside(const ir::Block* b, const ir::Block* outer);

 private:
  bool ends_in_shorts(const ir::Value* v) const;

  std::map<const ir::Value*, std::vector<const ir::Op*>> uses_;
  std::set<const ir::Value*> lazy_, computed_;
  std::set<const ir::Op*> coarse_;
  std::set<std::size_t> read_;
  std::size_t params_;
};

/// What each of two CTAs asks for of a tile that both get.
enum class Halves : std::uint8_t { None, Panels, Rows };

/// A tile of rank 2 in shared memory, padded with zeros to `rows` x `cols`, in one of two forms:
///   * padded: rows of `pitch` bytes, an odd number of 16-byte chunks each, so that eight neighbouring rows start in different banks;
///   * swizzled, for products of warpgroups or of few rows: panels of 128 bytes of columns, [panel][row][128 bytes], in which chunk c of row r stands
///     at c ^ (r mod 8) (PTX ISA, "128B swizzle mode").
struct Stage {
  const ir::Value* source = nullptr;
  bool from_load = false;   ///< copied from global memory; else stored from registers
  bool transposed = false;  ///< stored with axes swapped (from registers only)
  DType dtype = DType::F16;
  std::int64_t rows = 0, cols = 0, pitch = 0;
  bool swizzled = false;
  bool in_register_order = false;  ///< of bytes: the columns of every 16 stand as accumulators' registers do (stage_column)
  int transposed_from = -1;        ///< the stage of the same tile whose slots the asking warpgroup transposes into this one's
  int slots = 1;                   ///< > 1: a ring over the trips of `loop`, or over instances
  int behind = 0;                  ///< the slot of a trip holds the tile of so many trips before
  const ir::Op* loop = nullptr;
  std::int64_t offset = 0;       ///< in shared memory
  std::optional<BulkCopy> bulk;  ///< how bulk copies fill a slot, if they do
  std::int64_t barriers = -1;    ///< bulk copies once an instance, not in a loop: offset of each slot's barriers that it has come and that it is free
  Halves halves = Halves::None;  ///< other than None: the tile is the same for both CTAs of a cluster
  std::int64_t transposed_barriers = -1;  ///< transposed stages: offset of a barrier for each slot, that it is there

  std::int64_t panels() const { return (cols * cell_bytes(dtype) + kPanelBytes - 1) / kPanelBytes; }
  std::int64_t panel_bytes() const { return rows * kPanelBytes; }
  std::int64_t slot_bytes() const { return swizzled ? panels() * panel_bytes() : rows * pitch; }
  std::int64_t alignment() const { return swizzled ? 8 * kPanelBytes : 128; }
  /// Where it may be in use.
  const ir::Block* block() const { return loop ? &loop->region() : cpu::Analysis::home_block(source); }
};

/// Where column `col` of a stage in register order stands: of every 16, columns 2t, 2t + 1, 2t + 8 and 2t + 9 stand side by side, which are what lane
/// t of a row's four has of two blocks of accumulators. So sums become 8-bit A operands without moves: k may run in any order if both operands agree.
constexpr std::int64_t stage_column(std::int64_t col) { return (col & ~std::int64_t{15}) | (col & 6) << 1 | (col & 8) >> 2 | (col & 1); }

/// One operand of a product: fragments from registers, or from a stage.
struct OperandHome {
  int stage = -1;       ///< index into Plan::stages; -1: registers
  bool k_inner = true;  ///< the stage's columns are k
};

inline constexpr std::int64_t kTransposedRows = 32;     ///< that the asking warpgroup transposes at a time
inline constexpr std::int64_t kPromotedRegisters = 64;  ///< of products that are not yet added up
inline constexpr std::int64_t kPromotedSteps = 8;       ///< of 32: at most 256 of k

struct DotPlan {
  std::optional<Primitive> mma;  ///< empty: multiply-adds of single elements
  bool warpgroup = false;        ///< `mma` is asynchronous, of warpgroups; warps_m is a multiple of 4
  std::int64_t k_step = 16;      ///< k of one mma
  int per_register = 2;          ///< operand elements in a 32-bit register
  std::int64_t warps_m = 1, warps_n = 1;
  Layout result;  ///< of the accumulators
  OperandHome a, b;
};

/// A tile whose rows are multiplied by numbers of their own.
struct ScaledRows {
  const ir::Value *tile = nullptr, *factor = nullptr;
};

/// A product that runs one trip behind the rest of its loop: while its operand from registers is made from another product's result, that of the
/// trip before is under way. Trip j computes everything but `dot` and `sum`, which are those of trip j - 1.
struct Skew {
  const ir::Op *dot = nullptr, *sum = nullptr;
  const ir::Value* base = nullptr;  ///< the other summand
  std::size_t carried = 0;          ///< the loop's result that the sum is
};

/// Parts of a loop whose bodies differ in masks alone: the body of one of them serves the first trip and those of parts with masks.
struct SharedBody {
  std::size_t general = 0;  ///< the part whose body it is
  struct Mask {
    std::size_t kept = 0;              ///< the operand that a selection gives ..
    std::vector<std::size_t> decided;  ///< .. in all trips of these parts
  };
  std::map<const ir::Op*, Mask> masks;
  std::map<const ir::Op*, std::vector<std::size_t>> full;  ///< ranges, and the parts in whose trips they are valid as a whole
  std::vector<std::size_t> own;                            ///< parts without masks: but for the first trip, code of their own
};

/// Warpgroups with tasks of their own: the last one of a CTA asks for tiles, the others compute. CTAs stay: each takes instance after instance, and
/// the tiles of the next are on their way while the one before is finished.
struct Roles {
  std::vector<const ir::Op*> slice;          ///< ops of the kernel's block that tell where tiles lie, in order
  std::vector<const ir::Op*> chains;         ///< loops over rings, without those that go on where another ends, in order
  std::vector<int> tiles;                    ///< stages that come once an instance
  std::int64_t tickets = 0;                  ///< offset of the instances that the producer hands on, kTickets in turn, and their barriers
  std::int64_t commands = 0;                 ///< offset of a command to copy
  std::map<const ir::Op*, BulkCopy> stores;  ///< by bulk copies, in boxes of kPieceRows
  std::int64_t pieces = 0;                   ///< offset of the pieces on their way, `buffers` of each warpgroup that computes
  int buffers = 0;
  std::int64_t handed = 0;           ///< of clusters: offset of what one CTA tells the other
  int asking = 32, computing = 232;  ///< registers of a thread
  bool turns = true;                 ///< those that compute take turns at asking for products: one's run while another works on its elements
};
/// What a warpgroup stores at a time by a bulk copy: rows, and kPanelBytes of columns.
inline constexpr std::int64_t kPieceRows = 64, kPieceBytes = kPieceRows * kPanelBytes;
inline constexpr std::int64_t kShares = 16;  ///< what shares of an op's columns are counted in
/// Of the asking warpgroup, those that transpose or copy while one warp asks.
inline constexpr int kTransposingWarps = 3;
inline constexpr int kTickets = 2;
/// Of instances that one CTA of a cluster hands the other, kTickets in turn: barriers that it is there and that it has been taken, and its number.
inline constexpr std::int64_t kHandedBytes = 20 * kTickets;
/// A ticket: two barriers, that it is there and that it has been read; then, behind all barriers, the instance's number and its place on each axis.
inline constexpr std::int64_t kTicketBarriers = 16, kCommandBytes = 64;

class Plan {
 public:
  /// Precondition: a verified kernel after the target-free passes. Throws Unsupported for a schedule that cannot be kept.
  Plan(const ir::Kernel& kernel, const GpuTarget& target, const Schedule& schedule);

  const Uses& uses() const { return uses_; }
  int warps() const { return warps_; }
  /// Of those that compute.
  int threads() const { return warps_ * kWarpLanes; }
  const std::optional<Roles>& roles() const { return roles_; }
  /// Warps that transpose tiles.
  int transposing_warps() const;
  /// Stages of a loop that the asking warpgroup makes from others.
  std::vector<int> transposed_of(const ir::Op& loop) const;
  Persistence persistence() const { return roles_ ? wishes_.persistence : Persistence::Off; }
  bool persistent() const { return persistence() != Persistence::Off; }
  /// CTAs work in pairs at neighbouring instances of this grid axis, and share tiles; empty: each by itself.
  std::optional<std::size_t> cluster_axis() const { return cluster_axis_; }
  /// Both CTAs of a cluster get the tile, or some tile of the loop's rings: a slot is free once both have left it.
  bool shares(int stage) const { return stages_[static_cast<std::size_t>(stage)].halves != Halves::None; }
  bool shares(const ir::Op& loop) const;
  /// The directive that gives a ring its depth, if one does.
  std::optional<Span> asked_ring() const { return asked_ring_; }
  /// Of a CTA.
  int launched_threads() const { return threads() + (roles_ ? kGroupThreads : 0); }
  /// The last op of the kernel's block that reads a stage of a tile that comes once an instance.
  const ir::Op* last_reader(int stage) const;
  /// Tiles that come once an instance and are free within the last trip of a loop whose products run behind: those that its products in step read and
  /// nothing after it does. `head`: the first loop of the chain.
  std::vector<int> freed_in_last_trip(const ir::Op& head) const;
  /// How many trips' slots of a loop become free in the instance before no later than the tiles that come once an instance do: none if these have
  /// two slots, else all, or all but the one that the last product of a loop behind reads.
  int trips_before_tiles(const ir::Op& head) const;
  /// Of a tile that is not lazy.
  const Layout& layout(const ir::Value* v) const { return layouts_.at(v); }
  bool has_layout(const ir::Value* v) const { return layouts_.count(v) != 0; }
  const DotPlan& dot(const ir::Op& op) const { return dots_.at(&op); }
  const std::vector<Stage>& stages() const { return stages_; }
  /// The stages that `v` is put into, by index.
  std::vector<int> stages_of(const ir::Value* v) const;
  /// The stages that form the rings of `loop`.
  std::vector<int> rings_of(const ir::Op& loop) const;
  /// `v` is needed in registers, not only in stages.
  bool in_registers(const ir::Value* v) const;
  /// The products of `loop` that run a trip behind.
  const std::vector<Skew>& skews_of(const ir::Op& loop) const;
  /// The computing warpgroups take turns at this loop's products, which run behind elementwise work of theirs.
  bool takes_turns(const ir::Op& loop) const;
  /// The loop's products only add to what it carries: those of a trip may still be under way when the next trip asks for its own.
  bool sums_up(const ir::Op& loop) const;
  /// The sum that is the only use of a product: the product then starts from the other summand, if that exists where the product stands. Null: none.
  const ir::Op* sum_of(const ir::Op& dot) const;
  /// Tensor cores add products of 8-bit floats in about 14 bits: what they add up is one op's k, at most kPromotedSteps steps at a time; the rest is
  /// added in f32.
  bool promoted(const ir::Op& dot) const;
  /// What the code is to be assembled at; 0: the assembler's own choice.
  int assembler_level() const;
  /// The summand of a promoted product, if it is a tile whose rows are scaled: scaling and adding are then one instruction.
  std::optional<ScaledRows> scaled_summand(const ir::Op& dot, const ir::Value* summand) const;
  bool warpgroups() const { return warpgroups_; }
  bool has_products() const { return !dot_ops_.empty(); }
  /// The exponential in register `i` of this op is computed by multiply-adds rather than by the unit for transcendental functions.
  bool by_polynomial(const ir::Op& op, std::int64_t i) const;
  /// An estimate of what a thread's code needs, of those whose products stay in registers over a loop; 0: no more than usual.
  std::int64_t registers() const { return registers_; }
  /// The tiles of the loop's rings come by bulk copies, whose arrival barriers in shared memory tell; no barrier of all threads stands in the loop.
  /// Offset of the loop's barriers: for each slot one that tiles have come and one that the slot is free.
  std::optional<std::int64_t> bulk_barriers(const ir::Op& loop) const;
  /// Ops in the body of a loop that compute the addresses of its ring loads that are `behind` so many trips, in order.
  std::vector<const ir::Op*> address_ops(const ir::Op& loop, int behind) const;
  /// Loops that go on where this one ends, as its trips would: what one fetches ahead is what the next begins with. In order, without `loop` itself;
  /// empty for a loop that is one of those.
  const std::vector<const ir::Op*>& continued_by(const ir::Op& loop) const;
  /// Of a loop whose products run behind and those that go on where it ends; null: each has code of its own for all its trips.
  const SharedBody* shared_body(const ir::Op& head) const;
  /// The instances of a grid axis run from the last to the first.
  bool descending(std::size_t axis) const { return descending_[axis]; }
  /// The axis whose instances run from the last to the first, if there is one beside others: along it they become shorter. The others are visited in
  /// groups of about kGroupInstances, in each the long ones first, so that only short ones are left when the last group ends, while the tiles that
  /// a group shares stay in the cache.
  std::optional<std::size_t> uneven_axis() const;
  /// Instances that are not live have no effect, outside of debug runs. Empty if all are live, or it is not known which.
  const std::optional<Live>& live() const { return live_; }
  /// The first two grid axes are visited in groups of so many of the second; 0: not.
  std::int64_t group_rows() const { return kernel_.grid.size() < 2 ? 0 : wishes_.group_rows; }
  /// Bytes of all stages and barriers; what lies above is scratch, as large as the emitted code asks for.
  std::int64_t staged_bytes() const { return staged_bytes_; }
  /// Where the last stage ends.
  std::int64_t stage_end() const { return stage_end_; }
  /// Of a ViewSpan, what the launch's facts prove.
  cpu::SpanBounds span_bounds(const ir::Op& span) const;
  /// Bodies of the loop that stand in a row, one for each of so many trips.
  int unrolled(const ir::Op& loop) const;
  /// What a schedule asks of the cache lines that a load or store touches.
  std::optional<Eviction> eviction(const ir::Op& op) const;
  std::vector<std::string> notes() const;

 private:
  class Axes;
  void lay_out();
  void bound_spans();
  void lay_out_without_transposing();
  void read_cache_wishes();
  void read_unroll_wishes();
  /// Where a schedule wants an operand: true in registers, false in shared memory.
  std::optional<bool> wants_registers(const ir::Value* operand) const;
  /// Bytes of the tiles that schedules want in registers, of those that would lie in shared memory.
  std::int64_t wanted_in_registers() const;
  void check_homes() const;
  /// The axis of a product's result that a schedule wants divided.
  const DivideWish* division(const ir::Op& dot) const;
  void check_divisions() const;
  bool may_transpose(const ir::Value* source) const;
  void choose_warps();
  std::int64_t asked_groups(std::int64_t blocks) const;
  std::int64_t sums_held() const;
  /// So many registers, as registers_ counts them, are those of a thread that computes beside a warpgroup that asks.
  bool fits_computing(std::int64_t registers) const;
  std::int64_t elements_a_thread(std::int64_t largest) const;
  std::int64_t run_in_memory() const;
  void choose_dots();
  void assign_layouts();
  void stage_operands();
  void stage_row_numbers();
  void make_rings();
  void skew_products();
  void choose_bulk_copies();
  void chain_loops();
  bool goes_on(const ir::Op& loop, const ir::Op& next) const;
  bool ready_before(const ir::Op& head, const ir::Op& next) const;
  void share_bodies();
  void order_instances();
  void choose_roles();
  void find_live();
  std::vector<LiveTest> tests_of_range(const ir::Op& range);
  std::vector<LiveTest> tests_of(const ir::Op& op, std::set<const ir::Op*>& slice);
  std::string live_note() const;
  void choose_cluster();
  void balance_units();
  bool add_to_slice(const ir::Value* v, const ir::Block* loop, std::set<const ir::Op*>& slice) const;
  std::optional<BulkCopy> bulk_copy(const Stage& s);
  /// `rows` of a box, of a tile whose columns lie in `cols` of shared memory; `certain`: what is not valid must not be taken for it.
  std::optional<BulkCopy> boxes_of(const ir::Value* view, std::span<ir::Value* const> indices, std::int64_t rows, std::int64_t tile_cols,
                                   std::int64_t cols, bool certain);
  std::map<const ir::Op*, BulkCopy> bulk_stores();
  /// Takes a slot from each ring that has more than two; false if none has.
  bool shrink_rings();
  /// Gives the stages and all that roles share their places; the bytes of it.
  std::int64_t place_with_roles(Roles& r);
  void double_tiles(Roles& r);
  bool quiet(const ir::Block& body, const ir::Op& loop) const;
  bool by_warpgroups(const ir::Op& dot) const;
  std::optional<Primitive> warpgroup_product(const ir::Op& dot) const;
  void place_stages();
  OperandHome stage_for(const ir::Value* operand, const DotPlan& dot, bool is_a);
  int share_stage(Stage s);
  bool fragments_in_registers(const ir::Op& op, const DotPlan& dot) const;
  bool prefetchable(const ir::Op& load, const ir::Op& loop) const;

  const ir::Kernel& kernel_;
  GpuTarget target_;
  Wishes wishes_;
  Uses uses_;
  ir::Affine affine_;
  int warps_ = 4;
  std::int64_t registers_ = 0;
  bool warpgroups_ = false;  ///< some product is one of warpgroups
  bool transposing_ = true;  ///< tiles may be transposed by the asking warpgroup
  bool rows_only_ = true;    ///< warps divide only the rows of products
  std::vector<const ir::Op*> dot_ops_;
  std::map<const ir::Op*, DotPlan> dots_;
  std::map<const ir::Value*, Layout> layouts_;
  std::vector<Stage> stages_;
  std::map<const ir::Op*, std::vector<Skew>> skews_;
  std::map<const ir::Op*, std::int64_t> bulk_barriers_;
  std::map<const ir::Op*, std::vector<const ir::Op*>> chains_;
  std::map<const ir::Op*, SharedBody> shared_;  ///< by first part
  std::optional<Span> asked_ring_;
  std::vector<bool> descending_;  ///< by grid axis
  std::optional<Roles> roles_;
  std::optional<Live> live_;
  std::map<const ir::Op*, cpu::SpanBounds> spans_;
  std::optional<std::size_t> cluster_axis_;
  std::map<const ir::Op*, Eviction> evictions_;
  std::map<const ir::Op*, int> unrolls_;
  std::map<const ir::Op*, std::int64_t> polynomial_;  ///< of each kShares blocks of columns so many
  std::int64_t staged_bytes_ = 0, stage_end_ = 0;
};

}  // namespace tessera::gpu
