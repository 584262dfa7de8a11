// What expressions evaluate to while a program is elaborated. The same values serve checking (generics are opaque symbols, nothing is emitted)
// and lowering (generics are bound, every run-time value carries its IR value).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "dsl/ir.h"
#include "frontend/ast.h"

namespace tessera {

struct LoadedModule;
struct Scope;
struct StructDecl;
struct NewTypeDecl;

/// An element type: a dtype, or, while a generic body is checked, a declared parameter such as `T: half`.
struct Elem {
  DType dtype = DType::F32;  ///< meaningful if generic is empty
  std::string generic;       ///< name of the opaque parameter
  ast::GenericKind generic_kind = ast::GenericKind::DTypeAny;
  const NewTypeDecl* nominal = nullptr;  ///< `type Lse = f32`

  bool opaque() const { return !generic.empty(); }
  friend bool operator==(const Elem& a, const Elem& b) {
    return a.generic == b.generic && a.nominal == b.nominal && (a.opaque() || a.dtype == b.dtype);
  }
};
inline Elem elem(DType t) { return Elem{t, "", ast::GenericKind::DTypeAny, nullptr}; }
bool is_float(const Elem& e);
bool is_integer(const Elem& e);  ///< integers and idx
bool is_idx(const Elem& e);
bool is_bool(const Elem& e);
/// Opaque `dtype` parameters may be anything: no arithmetic is allowed on them, no mistake is proved either.
bool storage_only(const Elem& e);

struct Val;
struct GenericValue;
using Generics = std::map<std::string, GenericValue>;

/// A type with dims resolved to symbolic integers.
struct TileTy {
  Elem elem;
  std::vector<Sym> dims;
};
struct ViewTy {
  Elem elem;
  std::vector<Sym> dims;
  bool strided = false;
};
struct RangeTy {
  Sym axis;
};
/// `Soft[M, E]`, or the opaque `X` of `X: struct` (decl null, then generic names it).
struct StructTy {
  const StructDecl* decl = nullptr;
  std::string generic;
  std::shared_ptr<Generics> generics;
};
/// A fn type and the scope in which the names of its dims are looked up.
struct FnTy {
  const ast::FnTypeExpr* expr = nullptr;
  std::shared_ptr<Scope> scope;
};
struct Ty {
  std::variant<TileTy, ViewTy, RangeTy, StructTy, FnTy> kind;
};

/// Value of a compile-time parameter.
struct GenericValue {
  std::variant<Sym, bool, Elem, StructTy, std::shared_ptr<Val>> value;  ///< int or dim, bool, dtype, struct, fn
  bool unknown_bool = false;                                            ///< an opaque bool parameter
};

/// Why some elements of a tile are not valid: a range limits `axis`, or (after a reshape of a partial axis) a bool tile says so.
struct Mask {
  int range_id = 0;  ///< identity of the range; 0 for a bool tile
  int axis = 0;
  ir::Value* range = nullptr;  ///< the IR range, when lowering
  ir::Value* tile = nullptr;   ///< bool tile of the value's rank, when lowering
  std::vector<Sym> dims;       ///< shape of the bool tile (1 where it does not vary)
};

/// An untyped integer constant: a literal, a generic int, an expression of those. Takes the type of its surroundings, else idx.
struct IntConst {
  Sym value;
};
/// An untyped float constant. Takes the type of its surroundings, else f32.
struct FloatConst {
  double value = 0;
};
/// A bool known at compile time; `value` is empty while a generic body is checked.
struct BoolConst {
  std::optional<bool> value;
};
struct TileVal {
  Elem elem;
  std::vector<Sym> dims;
  ir::Value* v = nullptr;
  std::vector<Mask> valid;  ///< empty: every element is valid
  std::optional<Sym> sym;   ///< an integer scalar's symbolic form
  int id = 0;               ///< identity: copies of one value share it
};
struct ViewVal {
  Elem elem;
  std::vector<Sym> dims;
  ir::Mode mode = ir::Mode::In;
  ir::Value* v = nullptr;
  bool optional = false;     ///< declared `?` and not yet known to be there
  bool absent = false;       ///< lowering: this instantiation has no such view
  std::optional<Sym> peers;  ///< `peer[W]`: to be indexed by rank first
  std::string root;          ///< name of the parameter it comes from
  Span bound;                ///< where it was declared
};
struct RangeEnds {
  std::optional<Sym> lo_sym, hi_sym;
  ir::Value* lo = nullptr;
  ir::Value* hi = nullptr;
  friend bool operator==(const RangeEnds&, const RangeEnds&) = default;
};
/// An interval [lo, hi) of an axis, or a tile of `size` coordinates from `start` of which those in [lo, hi) are valid.
struct RangeVal : RangeEnds {
  std::optional<Sym> axis;  ///< empty: `lo .. hi` not yet tied to an axis
  std::optional<std::pair<RangeEnds, RangeEnds>>
      unclipped;            ///< of a shifted range whose ends are still the first: the ends before the axis clipped them
  std::optional<Sym> size;  ///< a tile range
  ir::Value* start = nullptr;
  std::optional<Sym> start_sym;
  ir::Value* block = nullptr;  ///< index of the tile within what was tiled
  ir::Value* range = nullptr;  ///< the IR range of a tile range
  bool full = false;           ///< proved: all coordinates are valid
  int id = 0;
  Span bound;  ///< where the axis was bound, for messages
};
/// `tiles(axis, N)`: iterated by `for` and `over`, indexed by a tile number.
struct TilesVal {
  RangeVal of;
  Sym size;
};
struct StructVal {
  StructTy type;
  std::vector<Val> fields;  ///< in declaration order; empty for opaque structs
};
/// A function as a value: a declared fn, a lambda with its scope, or (checking) an opaque parameter known by its type only.
struct FnVal {
  const ast::Fn* fn = nullptr;
  const ast::Lambda* lambda = nullptr;
  std::shared_ptr<Scope> scope;  ///< of the lambda, or the module scope of the fn
  std::optional<FnTy> opaque;    ///< only the type is known
  std::optional<FnTy> typed;     ///< the fn type it was passed or stored as: results are converted to it
  LoadedModule* module = nullptr;
  std::string name;
};
struct TypeVal {
  Ty type;
};
struct ModuleVal {
  LoadedModule* module = nullptr;
};
struct TupleVal {
  std::vector<Val> items;
};
struct StringVal {
  std::string text;
};
/// No value, and also what stands for a value whose computation failed (no further errors come from it).
struct Nothing {
  bool poison = false;
};

struct Val {
  std::variant<Nothing, IntConst, FloatConst, BoolConst, TileVal, ViewVal, RangeVal, TilesVal, StructVal, FnVal, TypeVal, ModuleVal, TupleVal,
               StringVal>
      kind;

  template <class T>
  const T* as() const {
    return std::get_if<T>(&kind);
  }
  template <class T>
  T* as() {
    return std::get_if<T>(&kind);
  }
  bool poison() const { return as<Nothing>() && as<Nothing>()->poison; }
};

/// `f32[BM, D]`, `range over Sq`, `constant 3`: how a value is named in messages.
std::string describe(const Val& v);
std::string describe(const Ty& t);
std::string describe(const Elem& e);
/// The same as the program would write it, without backticks.
std::string spelled(const Ty& t);
std::string spelled(const Elem& e);
std::string describe_dims(const std::vector<Sym>& dims);
/// A symbol as the user wrote it: without the suffix that makes compiler-made symbols unique.
std::string display(const Sym& s);

}  // namespace tessera
