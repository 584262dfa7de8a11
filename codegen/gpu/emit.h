// Emission of one thread's function: a walk over the Tile IR with a Plan at hand.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "codegen/cpu/view_map.h"
#include "codegen/gpu/compile.h"
#include "codegen/gpu/element.h"
#include "codegen/gpu/plan.h"
#include "codegen/gpu/shared_state.h"
#include "dsl/frame.h"

namespace tessera::gpu {

using LV = llvm::Value;
using cpu::Values;

/// A tile in registers; `regs` in the layout's order.
struct Tile {
  Layout layout;
  Elements regs;
};

struct RangeValue {
  LV *start = nullptr, *lo = nullptr, *hi = nullptr;  ///< i64
  std::int64_t size = 0;
  bool full = false;
  LV *first = nullptr, *end = nullptr;  ///< i32: positions first .. end are valid, 0 <= first, end <= size
};

/// A place along one axis of a tile: what the thread adds and what the register adds.
struct Position {
  LV* base = nullptr;  ///< i32, null: 0
  std::int64_t offset = 0;
};

/// Of named barriers: the computing threads'; of the asking warpgroup: a command is there, it has been obeyed.
inline constexpr int kComputingBarrier = 1, kCommandBarrier = 2, kObeyedBarrier = 3, kTurnBarrier = 4, kPieceBarrier = 8;

class ThreadEmitter {
 public:
  ThreadEmitter(const ir::Kernel& kernel, const Plan& plan, const GpuTarget& target, const GpuOptions& options, llvm::Module& module);
  /// Emits the function and tells what a launch needs. Throws Unsupported.
  void emit(GpuIr& out);

 private:
  // --- emit_kernel.cpp: the function, blocks, control
  void bind_parameters(llvm::Function* f);
  /// The grid's indices of the instance that is CTA `instance` where each CTA has one.
  std::pair<LV*, LV*> grouped(LV* number, LV* columns, LV* rows, LV* group);
  Values places_of(LV* instance);
  Values places_in(LV* number, llvm::ArrayRef<std::size_t> axes, llvm::ArrayRef<LV*> counts);
  void bind_places(llvm::ArrayRef<LV*> places);
  void emit_block(const ir::Block& block);
  void emit_straight(const ir::Block& block);
  // --- emit_aligned.cpp: straight code in two forms
  struct Aligned;
  bool has_aligned_form(const ir::Block& block) const;
  void emit_aligned(const ir::Block& block);
  /// What decides whether registers move together: true in code that takes it for granted.
  LV* unless_assumed(LV* together);
  // --- emit_stream.cpp: from memory to memory, piece by piece
  struct Stream;
  std::map<const ir::Op*, Stream> streams_of(const ir::Block& block) const;
  std::optional<Stream> stream_into(const ir::Op& target) const;
  /// Emits the ops of a stream for one piece after the other, and `end` behind each.
  void each_piece(const Stream& stream, const std::function<void()>& end);
  /// What the instructions made from now on come from: `!tessera.span !{begin, end, file}`.
  void mark_source(Span span);
  void mark_source(llvm::MDNode* source);
  /// Gives all instructions made from now on this node under the name; null: none.
  void copy_metadata(const char* name, llvm::MDNode* node);
  // --- emit_kept.cpp: loads and stores under a policy of the cache
  LV* policy(Eviction eviction);
  void mark_kept(std::optional<Eviction> eviction);
  /// Loads and stores of global memory that are made while it lives touch the cache as the schedule says for `op`.
  class Marked {
   public:
    Marked(ThreadEmitter& of, const ir::Op& op);
    ~Marked();
    Marked(const Marked&) = delete;
    Marked& operator=(const Marked&) = delete;

   private:
    ThreadEmitter& of_;
    std::optional<Eviction> eviction_;
  };
  /// Makes primitives of the marked loads and stores of the whole function.
  void keep_marked(llvm::Function& f);
  void emit_op(const ir::Op& op);
  // --- emit_loop.cpp
  void emit_for(const ir::Op& op);
  void emit_plain_for(const ir::Op& op);
  /// for (iv = lo; iv < hi; iv += step), with as many bodies in a row as the plan says; what is left over has a loop of its own. `quiet`: the body
  /// has no barriers, and needs none behind another.
  Values trips(const ir::Op& loop, LV* lo, LV* hi, LV* step, Values carried, bool quiet, const cpu::Emitter::LoopBody& body);
  struct RingPart;
  struct RingLoop;
  struct Turn;
  void emit_ring_for(const ir::Op& op);
  void emit_fed_for(const ir::Op& op, const RingLoop& r);
  Values all_trips(const RingLoop& r, const Values& none, const std::function<Values()>& start);
  RingLoop ring_loop(const ir::Op& op);
  static void carry(const Turn& turn, Values& out);
  static Turn turn_of(const RingLoop& r, llvm::ArrayRef<LV*> carried);
  Turn first_turn(const RingLoop& r);
  void skip_ended(const RingLoop& r, LV*& trip, LV*& part);
  LV* is_trip(const RingLoop& r, LV* trip, LV* part);
  /// The tiles of the trip `turn.ahead` set out for `slot`, if there is such a trip; the turn then looks one trip further. Bulk copies: once the slot
  /// is free, that is, the phase of `free` of its barrier has ended; null: it has never been used.
  void prefetch(const RingLoop& r, Turn& turn, LV* slot, LV* free);
  void copy_tiles(const RingLoop& r, const RingPart& part, const Turn& turn, LV* slot);
  /// Whether a tile that comes `behind` trips late exists for the trip ahead, and of which trip it is.
  LV* exists(const RingLoop& r, const Turn& turn, int behind, LV** trip);
  void look_further(const RingLoop& r, Turn& turn);
  /// To the next trip's slot.
  void go_on(const RingLoop& r, Turn& turn);
  /// The tiles of the trip have arrived, and, without bulk copies, whoever still read the slot before is done.
  void arrive(const RingLoop& r, const Turn& turn);
  /// One trip without its products that run behind; those of the trip before are issued after the first product, if `before` says that there was
  /// one (i32, bit 0; null: there is none). Gives what the next trip gets.
  Values ring_trip(const RingLoop& r, const RingPart& part, LV* iv, llvm::ArrayRef<LV*> carried, LV* before);
  void issue_behind(const RingLoop& r, const RingPart& part, llvm::ArrayRef<LV*> carried, const std::vector<const ir::Value*>& results);
  static bool needs_late(const RingPart& part, const ir::Op& op, const std::set<const ir::Op*>& late);
  LV* last_trip(const RingLoop& r);
  void free_in_last_trip(const RingLoop& r, LV* iv);
  void keep_above(const RingPart& part, const std::set<const ir::Op*>& late);
  void cut_tiles(const RingPart& part, LV* trip, LV* slot, int behind);
  void await_turn(const RingPart& part);
  void give_turn(const RingPart& part);
  Values ring_trips(const RingLoop& r, const Values& init);
  void release_before(const RingLoop& r, llvm::Value* slot, llvm::Value* any);
  Values summing_trips(const RingLoop& r, const RingPart& part, const Values& init);
  Values summing_trip(const RingLoop& r, const RingPart& part, llvm::Value* iv, llvm::ArrayRef<llvm::Value*> carried);
  Values ring_trips_behind(const RingLoop& r, const Values& init);
  Values trips_of_parts(const RingLoop& r, const Values& init);
  Values trips_of_part(const RingLoop& r, std::size_t p, LV* lo, const Values& carried);
  // --- emit_shared_body.cpp: one code for trips of several parts
  Values trips_by_shared_body(const RingLoop& r, const Values& init);
  Values nothing_behind(const RingLoop& r, const Values& init);
  /// True in the trips of these parts.
  LV* in_parts(const std::vector<std::size_t>& parts);
  /// Whether a range is valid as a whole in this trip; null: that makes no difference.
  LV* full_here(const ir::Op& range);
  const SharedBody::Mask* shared_mask(const ir::Op& op) const;
  void emit_mask(const ir::Op& op, const SharedBody::Mask& mask);
  // --- emit_bulk.cpp: rings that bulk copies fill
  void describe_maps();
  void start_barriers(const RingLoop& r);
  void meet_barriers();
  void end_barriers(const RingLoop& r);
  /// Of a slot: tiles have come, or it is free.
  LV* ring_barrier(const RingLoop& r, LV* slot, bool free);
  void bulk_fetch(const RingLoop& r, const Turn& turn, LV* slot, LV* free);
  void bulk_load(int stage, LV* slot, LV* barrier);
  std::size_t map_for(const BulkCopy& copy, DType t, bool stored);
  /// i32 of an idx scalar; numbers that are no coordinates of any tensor lie outside of all.
  LV* coordinate(LV* x);
  /// Row and column of a tile's first element, as coordinates.
  std::pair<LV*, LV*> corner(llvm::ArrayRef<ir::Value*> indices);
  /// Adds the coordinates of a box, the innermost first.
  void add_box(const BulkCopy& copy, LV* row, LV* col, Values& out);
  /// Calls `load` for each tile of the trip ahead that exists, behind the ops that tell where it lies.
  void ring_tiles(const RingLoop& r, const Turn& turn, const std::function<void(LV* bytes, LV* any)>& expect,
                  const std::function<void(int stage)>& load);
  void copy_fetch(const RingLoop& r, const Turn& turn, LV* slot, LV* free);
  void release(const RingLoop& r, LV* slot);
  // --- emit_roles.cpp
  void emit_roles();
  void make_barriers();
  void compute();
  void ask();
  /// Where tickets, rings and tiles stand between instances: values that are carried on.
  Values first_standing();
  void stand(llvm::ArrayRef<LV*> standing);
  Values standing_after(llvm::ArrayRef<LV*> before);
  LV* ticket_barrier(LV* place, bool read);
  LV* ticket_place(LV* place);
  LV* instances();
  // --- emit_cluster.cpp
  LV* clusters();
  LV* cluster_number();
  LV* rank();
  void meet_all();
  void leave_slot(LV* free, bool shared, LV* when = nullptr);
  void bind_existing(llvm::ArrayRef<LV*> places);
  LV* handed(std::int64_t what, LV* place, std::int64_t bytes);
  void make_handing(LV* first);
  void hand_on(LV* instance, llvm::ArrayRef<LV*> now);
  LV* handed_on(LV* drawn, llvm::ArrayRef<LV*> now);
  void leave_tiles();
  void compute_existing();
  // --- emit_roles.cpp
  Values ask_instance(llvm::ArrayRef<LV*> places, llvm::ArrayRef<LV*> standing);
  /// `in_between` stands behind as many trips as the ring has slots.
  void ask_loop(const ir::Op& op, const std::function<void()>& in_between);
  void ask_tile(int stage);
  void expect_bytes(LV* barrier, LV* bytes, LV* any);
  void has_come(LV* barrier);
  void arrive_for_transposing(LV* barrier);
  void fetch_tile(int stage, LV* slot, LV* barrier);
  /// As many as draw tickets; `work` has the instance and its standing.
  void each_instance(const std::function<void()>& work);
  // --- emit_bulk_store.cpp: bulk copies from shared to global memory
  void bulk_store(const ir::Op& op, const BulkCopy& copy);
  /// Whether bulk copies may store it: there are maps, and nothing lies behind the tile's rows that must stay.
  LV* may_store(const ir::Op& op, const BulkCopy& copy);
  /// For pieces' places to be written: all pieces of this warpgroup have been read.
  void await_pieces();
  void end_stores();
  void write_piece(LV* to, const Elements& regs, std::size_t row_registers, std::int64_t first_block, std::int64_t blocks);
  /// True for the thread that asks for its warpgroup's stores.
  LV* stores();
  // --- emit_live.cpp: only live instances are handed on
  /// Of the live instances in their order, those before a window of 32 keys and in it, and what each lane knows of a key.
  struct Window {
    LV *before, *total;       ///< live instances
    LV* next;                 ///< the first key behind
    LV *key, *count, *up_to;  ///< of the lane: its key, the live instances along the counted axis, those of all lanes up to this one

    static Window none(LV* zero) { return {zero, zero, zero, zero, zero, zero}; }
    static Window of(llvm::ArrayRef<LV*> v) { return {v[0], v[1], v[2], v[3], v[4], v[5]}; }
    Values values() const { return {before, total, next, key, count, up_to}; }
  };
  /// Instances that are not live are passed over.
  bool passes_over() const { return plan_.live().has_value() && !reports_; }
  /// Whether the instance bound is live, as all threads see it.
  LV* is_live();
  LV* has_effect();
  void bind_place(std::size_t axis, LV* place);
  LV* product_of(llvm::ArrayRef<std::size_t> axes);
  std::vector<std::size_t> free_axes() const;
  Window next_window(const Window& w);
  LV* counted(LV* there);
  void longest_first(LV*& key, LV*& count);
  /// The live instance of this number among all that are live: whether there is one, and its places. Goes on from where `w` stands.
  Values find_live(LV* number, Window& w);
  /// The instance that the asking warp finds for a ticket: whether there is one, and its places.
  Values live_instance(LV* ticket, LV* all, Window& w);
  Values own_instance(LV* instance, LV* all);
  // --- emit_transpose.cpp: tiles transposed in shared memory
  void transpose_slots();
  void transpose_loop(const ir::Op& op);
  /// Calls `work` for each slot of one loop's rings, of one instance, in turn, by one who neither fills the slots nor computes.
  void each_slot(const ir::Op& op, const std::function<void(const RingLoop& r, const Turn& turn)>& work);
  void transpose_tile(int stage, LV* slot);
  LV* transposed_barrier(const ir::Op& loop, LV* slot);
  /// The slot's transposes are there.
  void await_transposed(const RingLoop& r, const Turn& turn);
  // --- emit_copies.cpp: element copies by the other warps of the asking warpgroup
  struct Command;
  void command_copy(int stage, LV* slot);
  void end_commands();
  void obey_commands();
  LV* tile_slot(int stage);
  LV* tile_parity(int stage);
  /// It has come, or its slot is free.
  LV* tile_barrier(int stage, bool free);
  void take_tile(int stage);
  /// Those that no op after this one reads.
  void free_tiles(const ir::Op& op);
  /// By each warp that has read it, where `when` holds; null: certainly.
  void free_tile(int stage, LV* when = nullptr);
  /// do { values = body(values) } while goes_on(values), tested first.
  Values repeat(const Values& init, const std::function<LV*(llvm::ArrayRef<LV*>)>& goes_on, const std::function<Values(llvm::ArrayRef<LV*>)>& body);
  void emit_while(const ir::Op& op);
  void emit_if(const ir::Op& op);
  void emit_assert(const ir::Op& op);
  void emit_range(const ir::Op& op);
  /// Whether position `p` of a range's tile, 0 <= p, is valid.
  LV* inside(LV* p, const RangeValue& r);
  /// Registers of block arguments and results, flattened, and back.
  void flatten(const ir::Value* v, const Layout& layout, Values& out);
  void bind_flat(const ir::Value* v, const Layout& layout, llvm::ArrayRef<LV*> values, std::size_t& at);
  Values yielded(const ir::Block& block, const std::vector<const ir::Value*>& as);

  // --- emit_tiles.cpp: values in registers
  const Layout& layout_of(const ir::Value* v) const;
  LV* scalar(const ir::Value* v) { return plain(e_, tiles_.at(v).regs[0]); }
  cpu::ViewPtr view(const ir::Value* v) { return views_.at(v); }
  /// The tile's registers in this layout, computed or converted if need be.
  Elements get(const ir::Value* v, const Layout& layout);
  /// An element of a lazy tile.
  Element lazy(const ir::Value* v, const std::vector<Position>& at);
  void set(const ir::Value* v, Layout layout, Elements regs);
  Elements convert(const Tile& tile, DType t, const ir::Dims& dims, const Layout& to);
  std::vector<Position> positions(const Layout& layout, std::int64_t reg);
  /// i32 sum of the lane and warp digits of a part, null for none; with `warps_only` of the warp digits.
  LV* part_base(const AxisPart& p, bool warps_only = false);
  LV* position(const Position& p);
  /// True for one of the threads that hold copies of the same elements; null if every thread is one.
  LV* owner(const Layout& layout);
  /// Whether an element of a padded layout lies within the tile; null for certain.
  LV* within(const Layout& layout, const ir::Dims& dims, const std::vector<Position>& at);
  std::int64_t rounded_together(const ir::Op& op, std::int64_t n) const;
  /// `condition`: of a selection, if it is there already.
  void emit_elementwise_op(const ir::Op& op, const Elements* condition = nullptr);
  void emit_broadcast(const ir::Op& op);
  void emit_permute(const ir::Op& op);
  void emit_reshape(const ir::Op& op);

  // --- emit_memory.cpp: global memory and registers
  struct Access;
  struct TileAccess;
  struct Place;
  /// `vectors`: registers may move together.
  TileAccess tile_access(Access access, const Layout& layout, ir::Dims shape, DType t, bool vectors);
  Place place(const TileAccess& x, std::int64_t reg);
  std::int64_t exist_together(const TileAccess& x, std::int64_t reg);
  /// The register of an operand with some axes of extent 1 that goes with register `reg` of the whole.
  static std::size_t register_in(const Layout& whole, const Layout& narrow, std::int64_t reg);
  /// An integer of the type of `v` as i64.
  LV* as_index(const ir::Value* v, LV* x);
  Access access(const ir::Value* view, llvm::ArrayRef<ir::Value*> indices);
  Elements load_tile(const ir::Op& op, const Layout& layout);
  void emit_load(const ir::Op& op);
  Elements load_tile_scalar(const ir::Op& op);
  void emit_store(const ir::Op& op);
  void emit_fetch_add(const ir::Op& op);
  void store_tile(const ir::Op& op, bool fetch);
  llvm::Type* cell_type(DType t);
  /// Register forms out of an integer or a vector of words, and back.
  std::vector<LV*> split_cells(DType t, LV* wide, std::int64_t count);
  LV* join_cells(DType t, const std::vector<LV*>& cells);
  /// The same of elements of 4 bits as memory has them, the first in the lowest bits.
  std::vector<LV*> split_nibbles(DType t, LV* wide, std::int64_t count);
  LV* join_nibbles(const std::vector<LV*>& cells);
  /// Element `row` (i64) of an integer tile, for views that take rows by number.
  LV* gather_id(const ir::Value* tile, LV* row);

  // --- emit_stage.cpp: tiles in shared memory
  /// A load of rows and columns: what its chunks share.
  struct Matrix {
    const ir::Op* op = nullptr;
    cpu::ViewPtr view;
    const RangeValue *rows = nullptr, *cols = nullptr;
    LV* valid = nullptr;
    bool contiguous = false;   ///< columns lie side by side
    LV* alignment = nullptr;   ///< i64: its low bits are zero if chunks of that size are aligned
    LV* origin = nullptr;      ///< affine views: element number of row 0, column 0 of the tile
    LV* row_stride = nullptr;  ///< affine views
    LV* col_stride = nullptr;
  };
  Matrix matrix_of(const ir::Op& load);
  // --- emit_paged.cpp
  struct PagedRows;
  /// How rows `first` + k `step` of a tile of a paged view are found; empty for other views.
  std::optional<PagedRows> paged_rows(const Matrix& m, std::int64_t rows, LV* first, std::int64_t step);
  /// Reads the page numbers of all rows of this thread.
  void look_up(PagedRows& p);
  /// Where column `col` of the thread's next row lies; `ok` is cut to rows of pages that exist.
  LV* paged_row(PagedRows& p, LV* col, LV*& ok);
  cpu::Address locate(const Matrix& m, LV* row, LV* col, LV* mask);
  void stage_load(int stage, LV* slot);
  /// Puts a value that has just come into being where products want it.
  void stage_defined(const ir::Value* v);
  void stage_registers(int stage, const ir::Value* v);
  LV* stage_address(int stage);  ///< i32 address of the slot in use
  LV* shared_address(std::int64_t offset) { return e_.b.CreateAdd(shared_base_, i32(offset)); }
  LV* shared_pointer(LV* address) { return e_.b.CreateIntToPtr(address, e_.b.getPtrTy(3)); }
  LV* shared_load(llvm::Type* t, LV* address, int align);
  void shared_store(LV* v, LV* address, int align);
  /// A register form at an address, in its cell_bytes.
  LV* load_cell(DType t, LV* address);
  void store_cell(DType t, LV* v, LV* address);
  /// Shared memory for one exchange, where no stage lies that is in use here; a barrier stands before it if it is needed.
  LV* scratch(std::int64_t bytes, bool write);
  std::int64_t scratch_place(std::int64_t bytes) const;
  Elements turn_quads(const Elements& regs, DType t);
  /// Registers of a layout that lie side by side in a row and move together through shared memory, at most 16 bytes.
  static std::int64_t run_of(const Layout& layout, const ir::Dims& dims, DType t);
  /// The layout that a tile is stored in: its own, or one whose threads have 16 bytes of a row each, if there is shared memory for the exchange.
  Layout store_layout(const ir::Op& store, bool contiguous) const;

  /// The place of an element (its row, its byte within the row) of a stage at `base`.
  LV* stage_place(const Stage& s, LV* base, LV* row, LV* byte);

  // --- emit_product.cpp
  void emit_dot(const ir::Op& op);
  Elements mma_dot(const ir::Op& op, Elements acc);
  Elements fma_dot(const ir::Op& op, Elements acc);
  // --- emit_warpgroup.cpp: asynchronous products
  /// What is added to a product, by register; empty: nothing. With `factor`, summand * factor.
  struct Summand {
    Elements regs, factor;
  };
  LV* added(const Summand& s, std::size_t reg, LV* product);
  struct Issued {
    Elements regs;    ///< hold nothing before settle()
    Summand summand;  ///< for settle() to add
  };
  /// Issues a product.
  Issued warpgroup_dot(const ir::Op& op, const Summand& acc);
  /// Waits for a product's result, and with it for all that were issued before.
  void settle(const ir::Value* v);
  void settle_all();
  struct Pending {
    const ir::Value* value;
    int group;  ///< the last group of the product, by groups_
    Summand summand;
  };
  /// Zeros in the columns of an A operand from `k` on.
  void zero_beyond(const ir::Value* v, Elements& regs, std::int64_t k);
  /// A lazy operand goes into its stage where the product stands.
  void stage_lazy(const OperandHome& home);

  // --- emit_axis.cpp
  void emit_reduce(const ir::Op& op, const Stream* stream = nullptr);
  // --- emit_scan.cpp
  using Combine = std::function<Values(const Values& earlier, const Values& later)>;
  void scan_tiles(const ir::Op& op, const std::vector<const ir::Value*>& tiles, const Values& identity, const Combine& combine, bool exclusive,
                  bool reverse, bool total_only);
  void emit_scan(const ir::Op& op);
  void emit_region_fold(const ir::Op& op);
  // --- emit_whole.cpp: ops that see a whole axis, through shared memory
  void emit_whole(const ir::Op& op);
  void emit_moved(const ir::Op& op);
  /// A slice or a concatenation whose elements all threads have already; false if they have not.
  bool emit_renumbered(const ir::Op& op);
  void emit_histogram(const ir::Op& op);
  void emit_solve(const ir::Op& op);
  void emit_sorted(const ir::Op& op);
  void emit_dot_scaled(const ir::Op& op);
  /// The layout of a tile; one of no consequence for a lazy one.
  Layout any_layout(const ir::Value* v) const;
  /// Calls f for every element that this thread alone answers for.
  void each_owned(const Layout& l, const ir::Dims& shape, const std::function<void(std::size_t reg, const std::vector<Position>& at)>& f);
  LV* linear(const ir::Dims& shape, const std::vector<Position>& at);
  /// A tile, row-major, at a shared address.
  void put(const ir::Value* v, LV* base);
  /// A result read element by element from shared addresses.
  void take(const ir::Value* result, const std::function<LV*(const std::vector<Position>&)>& address);

  void barrier();
  void wait_for_all();
  void meet(SharedState::Need need);
  /// At the head of a loop: what its trips do may be behind us.
  void forget(const ir::Op& loop);
  /// The space of a view's memory by SharedState's numbers; empty if no two threads ever meet there: it is only read, or stored once and never read.
  std::optional<int> global_space(const ir::Value* view) const;
  void read_shared(std::int64_t lo, std::int64_t hi);
  void write_shared(std::int64_t lo, std::int64_t hi);
  LV* i32(std::int64_t x) { return e_.b.getInt32(static_cast<std::uint32_t>(x)); }
  [[noreturn]] void unsupported(const ir::Op& op, const std::string& what) { throw Unsupported{op.span, what}; }

  const ir::Kernel& kernel_;
  const Plan& plan_;
  GpuTarget target_;
  const GpuOptions& options_;
  cpu::Emitter e_;
  SharedState state_;
  LV *tid_ = nullptr, *lane_ = nullptr, *warp_ = nullptr, *shared_base_ = nullptr, *report_ = nullptr, *instance_ = nullptr;
  llvm::MDNode* source_ = nullptr;  ///< of the op being emitted, if options_.spans
  llvm::BasicBlock* entry_ = nullptr;
  std::map<const ir::Value*, Tile> tiles_;
  struct Handed {
    const ir::Block* block = nullptr;  ///< where it may be used again
    Tile tile;
  };
  std::map<const ir::Value*, Handed> handed_;  ///< computed tiles in the layout of a user
  std::map<const ir::Value*, RangeValue> ranges_;
  std::map<const ir::Value*, cpu::ViewPtr> views_;
  /// Puts back what values stand for: code that works out another trip's or instance's addresses leaves no trace.
  class KeepsValues {
   public:
    explicit KeepsValues(ThreadEmitter& of) : of_(of), tiles_(of.tiles_), ranges_(of.ranges_), views_(of.views_) {}
    ~KeepsValues() {
      of_.tiles_ = std::move(tiles_);
      of_.ranges_ = std::move(ranges_);
      of_.views_ = std::move(views_);
    }
    KeepsValues(const KeepsValues&) = delete;
    KeepsValues& operator=(const KeepsValues&) = delete;

   private:
    ThreadEmitter& of_;
    std::map<const ir::Value*, Tile> tiles_;
    std::map<const ir::Value*, RangeValue> ranges_;
    std::map<const ir::Value*, cpu::ViewPtr> views_;
  };
  std::map<Eviction, LV*> policies_;
  bool any_kept_ = false;  ///< loads or stores have been marked
  std::map<std::string, LV*> symbols_;
  std::map<int, LV*> slots_;  ///< ring stages: the slot in use
  std::map<std::string, LV*> bases_;
  std::vector<Pending> pending_;  ///< products under way, in the order of their issue
  int groups_ = 0;                ///< issued so far in straight code
  std::vector<GpuTensorMap> maps_;
  std::map<int, std::size_t> map_of_;  ///< stage -> index in maps_
  std::vector<LV*> map_arguments_;
  std::map<const ir::Op*, std::size_t> map_of_store_;
  LV *maps_encoded_ = nullptr, *stores_encoded_ = nullptr;  ///< i1: all of their kind
  LV* tickets_ = nullptr;                                   ///< i64: the address of the ticket counter
  std::vector<LV*> counts_;                                 ///< i32, of the grid's axes
  std::vector<LV*> together_;                               ///< the same of those that run together: clusters, or instances
  LV* exists_ = nullptr;                                    ///< i1, of clusters: this CTA's instance lies within the grid
  bool reports_ = false;
  std::map<const ir::Op*, std::pair<LV*, LV*>> rings_stand_;  ///< roles: slot and parity where a loop's rings go on
  std::map<int, LV*> tiles_stand_;                            ///< roles: which slot a tile that comes once an instance has, and its parity: 0, 1, ..
  bool element_copies_ = false;                               ///< stage_load: element by element alone, short code
  const SharedBody* shared_ = nullptr;                        ///< of the trip that is being emitted
  LV* part_ = nullptr;                                        ///< i32: which part's it is
  LV* done_ = nullptr;                                        ///< i32, bit 0: whether products that are emitted are done; null: they are
  std::set<int> freed_;                                       ///< roles: tiles that a loop has freed already
  std::set<const ir::Op*> skipped_;                           ///< emitted with another op
  /// The piece of a stream that is being emitted: the last axis of its tiles without its outermost register digit, which is `number` here.
  struct Piece {
    std::set<const ir::Value*> tiles;
    AxisPart part, whole;
    std::int64_t number = 0;
  };
  std::optional<Piece> piece_;
  std::map<const ir::Value*, Layout> piece_layouts_;
  std::int64_t scratch_end_ = 0;
  Aligned* aligned_ = nullptr;        ///< where one of two forms is being emitted
  const ir::Block* block_ = nullptr;  ///< whose ops are being emitted
  std::vector<GpuCheck> checks_;
};

}  // namespace tessera::gpu
