// Evaluation of tile expressions at coordinates: the heart of fusion. An elementwise chain costs registers, never memory.
//
// A coordinate vector has one entry an axis: a uniform index, or 16 consecutive ones along the lane axis. What was evaluated at the same
// coordinates in a scope that is still open is reused, so a shared subexpression is emitted once.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "codegen/cpu/analysis.h"
#include "codegen/cpu/buffer.h"
#include "codegen/cpu/view_map.h"

namespace tessera::cpu {

using Coords = std::vector<Lanes>;

struct RangeRef {
  llvm::Value *start = nullptr, *lo = nullptr, *hi = nullptr;
  llvm::Value* count = nullptr;  ///< elements before `hi`, 0 .. size; null if full
  std::int64_t size = 0;
  bool full = false;
  bool starts_inside = false;
};

class Evaluator {
 public:
  Evaluator(const Analysis& analysis, Emitter& e, bool strict, llvm::Value* arena) : analysis_(analysis), e_(e), strict_(strict), arena_(arena) {
    scopes_.emplace_back();
  }

  // --- scopes: what is bound or remembered in one ends with it
  void push() { scopes_.emplace_back(); }
  void pop() { scopes_.pop_back(); }

  // --- bindings
  void bind_unit(const ir::Value* v, Lanes x);
  void bind_at(const ir::Value* v, const Coords& c, Lanes x);
  void bind_view(const ir::Value* v, ViewPtr x) { scopes_.back().views[v] = std::move(x); }
  void bind_symbol(const std::string& name, llvm::Value* x) { symbols_[name] = x; }
  void bind_buffer(const ir::Value* v, const Buffer& b) { buffers_[v] = b; }
  bool has_buffer(const ir::Value* v) const { return buffers_.count(v) != 0; }
  /// All that are bound, and back to those: a body that is emitted again makes its own anew.
  const std::map<const ir::Value*, Buffer>& buffers() const { return buffers_; }
  void bind_buffers_alone(const std::map<const ir::Value*, Buffer>& buffers) { buffers_ = buffers; }
  const Buffer& buffer(const ir::Value* v) const { return buffers_.at(v); }

  // --- evaluation, in register form
  Lanes eval(const ir::Value* v, const Coords& c);
  /// The same from the value's definition, though it is kept somewhere: for the sink that makes it.
  Lanes define(const ir::Value* v, const Coords& c);
  Lanes eval_unit(const ir::Value* v) { return eval(v, {}); }
  /// A unit value as a scalar.
  llvm::Value* scalar(const ir::Value* v) { return plain(e_, eval_unit(v)); }
  const RangeRef& range(const ir::Value* v);
  ViewPtr view(const ir::Value* v);
  /// Evaluates now what of `v` does not depend on the coordinates that are unknown (null v), so that an inner loop finds it done.
  void prepare(const ir::Value* v, const Coords& c);
  /// What reads these values is left out of preparation from now on: they are still being made.
  void set_unmade(std::set<const ir::Value*> v) { unmade_ = std::move(v); }
  /// The same below a value that is kept, for the sink that makes it.
  void prepare_definition(const ir::Value* v, const Coords& c);
  /// Makes units, ranges and views that the expression `v` needs, in the scope that is open now.
  void require(const ir::Value* v) {
    std::set<const ir::Value*> seen;
    require(v, seen);
  }

  /// Lanes beyond this mask must not touch memory (null: all may). Set around the evaluation of a tail vector.
  void set_active(llvm::Value* mask) { active_ = mask; }
  llvm::Value* active() const { return active_; }

  // --- buffers
  llvm::Value* address(const Buffer& b) { return address(b.offset); }
  llvm::Value* address(std::int64_t offset) { return e_.at(e_.b.getInt8Ty(), arena_, e_.idx(offset)); }
  Lanes offset_in(const Buffer& b, const Coords& c);
  Lanes load_buffer(const Buffer& b, const Coords& c);
  void store_buffer(const Buffer& b, const Coords& c, const Lanes& x);
  /// Says where a lane base of the region under way lies: strip number and position in it.
  void place_strip(llvm::Value* base, std::int64_t strip_size, llvm::Value* strip, llvm::Value* within) {
    scopes_.back().strips[base] = {strip_size, strip, within};
  }

  /// Loads that are to fetch ahead, and how many elements, from now on.
  void set_ahead(std::map<const ir::Op*, llvm::Value*> distances) { ahead_ = std::move(distances); }

  /// The view address of element `c` of a load or store whose indices start at operand `first`.
  Address address_of(const ir::Op& op, std::size_t first, const Coords& c);
  TileReader tile_reader();

  Emitter& emitter() { return e_; }
  const Analysis& analysis() const { return analysis_; }
  bool strict() const { return strict_; }

 private:
  void require(const ir::Value* v, std::set<const ir::Value*>& seen);
  bool reads_unmade(const ir::Value* v) const;

  using Key = std::pair<const ir::Value*, std::vector<const llvm::Value*>>;
  struct StripPlace {
    std::int64_t size;
    llvm::Value *strip, *within;
  };
  struct Scope {
    std::map<Key, Lanes> values;
    std::map<const ir::Value*, RangeRef> ranges;
    std::map<const ir::Value*, ViewPtr> views;
    std::map<const llvm::Value*, StripPlace> strips;
  };

  static Key key(const ir::Value* v, const Coords& c);
  Lanes compute(const ir::Value* v, const Coords& c);
  Lanes compute_concat(const ir::Op& op, const Coords& c);
  Lanes compute_load(const ir::Op& op, const Coords& c);
  Coords operand_coords(const ir::Op& op, std::size_t operand, const Coords& c);
  Coords reshape_coords(const ir::Dims& from, const ir::Dims& to, const Coords& c);
  /// Where coordinate `c` of the range is valid, c + start being `at`; null: everywhere.
  llvm::Value* valid(const RangeRef& r, const Lanes& c, const Lanes& at);
  Lanes as_idx(DType t, const Lanes& x);
  const StripPlace* strip_place(const llvm::Value* base, std::int64_t size) const;

  const Analysis& analysis_;
  Emitter& e_;
  bool strict_;
  llvm::Value* arena_;
  llvm::Value* active_ = nullptr;
  std::set<const ir::Value*> unmade_;
  std::map<const ir::Op*, llvm::Value*> ahead_;
  std::vector<Scope> scopes_;
  std::map<std::string, llvm::Value*> symbols_;
  std::map<const ir::Value*, Buffer> buffers_;
};

}  // namespace tessera::cpu
