// Tile IR: structured SSA over tiles, ranges and views. No pointers, no threads, no layouts.
//
// A Kernel owns a tree: Block -> Op -> Block. A Value is the result of an op or the argument of a block; it is visible in the ops after it and
// in the blocks nested there. Values and ops have stable addresses for as long as they are in the tree.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "dsl/source.h"
#include "dsl/sym.h"
#include "dsl/type.h"

namespace tessera::ir {

enum class OpKind : std::uint8_t {
#define TESSERA_OP(id, ...) id,
#include "dsl/ops.def"
};

enum Trait : unsigned {
  None = 0,
  Pure = 1,
  ElementwiseBit = 2,
  Commutative = 4,
  Reads = 8,
  Writes = 16,
  Control = 32,
  Terminator = 64,
  OnView = 128,
  Elementwise = Pure | ElementwiseBit
};

enum class TypeRule : std::uint8_t {
  Stated,
  IdxScalar,
  Range,
  Coords,
  Inside,
  Same,
  SameFloat,
  SameInt,
  SameBits,
  Compare,
  Select,
  Cast,
  Broadcast,
  Reshape,
  Permute,
  Slice,
  Concat,
  Pick,
  Dot,
  DotScaled,
  Reduce,
  ReduceWith,
  ScanWith,
  TopK,
  Histogram,
  SolveLower,
  Load,
  Store,
  ViewDrop,
  ViewSame,
  ViewMerge,
  ViewSplit,
  ViewDropFirst,
  For,
  While,
  If,
  None
};

struct OpInfo {
  const char* name;
  int min_operands, max_operands, results, regions;
  TypeRule rule;
  unsigned traits;
  const char* doc;
};
const OpInfo& info(OpKind k);
inline bool has(OpKind k, Trait t) { return (info(k).traits & t) == static_cast<unsigned>(t); }
std::optional<OpKind> op_from_name(std::string_view name);
std::vector<OpKind> all_ops();

/// Attributes: constants that belong to an op. The name is the text form; `value` holds int64 or double.
enum class Attr : std::uint8_t {
  Value,
  Name,
  Size,
  Full,
  Saturate,
  Rounding,
  Perm,
  Axis,
  Offset,
  Prec,
  Kind,
  Exclusive,
  Reverse,
  Descending,
  K,
  Zero,
  Add,
  Masked,
  Last,
  Message,
  Scope
};
const char* name(Attr a);
std::optional<Attr> attr_from_name(std::string_view name);
using AttrValue = std::variant<std::int64_t, double, std::string, Dims>;

enum class ReduceKind : std::int64_t { Sum, Prod, Max, Min, Any, All, ArgMax, ArgMin };
const char* name(ReduceKind k);
enum class DotPrec : std::int64_t { Ieee, Tf32, Tf32x3 };

class Op;
class Block;

class Value {
 public:
  Type type;
  std::string hint;        ///< the variable's name in the source, with the path of labelled calls ("decode.kt"); schedules name values by it
  Op* def = nullptr;       ///< the op, or null for a block argument
  Block* block = nullptr;  ///< the block of an argument, or null
  std::size_t index = 0;   ///< which result or argument
};

class Op {
 public:
  OpKind kind = OpKind::Const;
  std::vector<Value*> operands;
  std::vector<std::unique_ptr<Value>> results;
  std::vector<std::unique_ptr<Block>> regions;
  std::map<Attr, AttrValue> attrs;
  Span span;
  Block* parent = nullptr;

  Value* result(std::size_t i = 0) const { return results.at(i).get(); }
  Block& region(std::size_t i = 0) const { return *regions.at(i); }
  bool has(Attr a) const { return attrs.count(a) != 0; }
  std::int64_t int_attr(Attr a, std::int64_t otherwise = 0) const;
  double float_attr(Attr a) const;               ///< an int attribute is converted
  const std::string& string_attr(Attr a) const;  ///< "" if absent
  const Dims& dims_attr(Attr a) const;
};

class Block {
 public:
  std::vector<std::unique_ptr<Value>> args;
  std::vector<std::unique_ptr<Op>> ops;
  Op* parent = nullptr;  ///< null for a kernel's body

  Value* add_arg(Type type, std::string hint = "");
  /// The terminator's operands. Precondition: the block ends in yield.
  const std::vector<Value*>& yielded() const { return ops.back()->operands; }
};

/// A parameter of a kernel, flattened: struct fields appear as `x.slopes`.
struct Param {
  std::string name;
  bool is_view = false;
  DType dtype = DType::F32;
  std::string nominal;  ///< "Lse" for a nominal type over dtype; "" otherwise
  // views
  Mode mode = Mode::In;
  bool optional = false;   ///< declared with `?`; `present` says which instantiation this is
  bool present = true;     ///< absent optional views have no argument in the body
  bool strided = false;    ///< the last axis may have a stride other than 1
  std::int64_t peers = 0;  ///< `peer[W]`
  std::vector<Sym> dims;   ///< over launch symbols
  Span span;
};

/// One axis of the grid: instance index i in 0 .. count.
struct GridAxis {
  std::string name;
  Sym count;
};

/// One instantiated kernel. Body arguments: the present parameters in order, then one idx scalar a grid axis.
/// Grid order: the last axis is outermost; the first varies fastest.
class Kernel {
 public:
  std::string name;
  std::vector<Param> params;
  std::vector<std::string> symbols;  ///< launch symbols in the order they are bound
  std::vector<SymCondition> where;   ///< checked at launch
  std::vector<GridAxis> grid;
  bool strict = false, deterministic = false, resident = false;
  /// Constants this was instantiated with, as text, for reports and cache keys.
  std::vector<std::pair<std::string, std::string>> constants;
  /// (written view, read view) parameter pairs proved safe to alias exactly.
  std::vector<std::pair<std::string, std::string>> in_place;
  Block body;
  Span span;

  std::unique_ptr<Kernel> clone() const;
};

// --- walking and rewriting

/// Calls `f` for every op in pre-order, blocks in order.
void walk(Block& block, const std::function<void(Op&)>& f);
void walk(const Block& block, const std::function<void(const Op&)>& f);

/// Number of uses of every value in `block`, nested blocks included.
std::map<const Value*, int> count_uses(const Block& block);

using ValueMap = std::map<const Value*, Value*>;
/// Replaces operands in `block` and below according to `map`, following chains.
void replace_uses(Block& block, const ValueMap& map);
/// A deep copy of `op` with operands mapped; results and region arguments are added to `map`.
std::unique_ptr<Op> clone(const Op& op, ValueMap& map);
/// Appends copies of all ops of `from` (the terminator too if asked) to `to`.
void clone_ops(const Block& from, Block& to, ValueMap& map, bool with_terminator);
/// Removes pure ops without uses, bottom up. Loads count as pure; so do `for` and `if` with nothing but such ops inside.
void remove_dead(Block& block);

/// A constant scalar or splat, seen through broadcast and reshape: of a float dtype, and of any other dtype.
std::optional<double> constant_float(const Value* v);
std::optional<std::int64_t> constant_int(const Value* v);

}  // namespace tessera::ir
