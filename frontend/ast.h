// The syntax tree of a .tile file: what was written, with positions, before any meaning.
//
// Chains of operators of one precedence level are flat (`a + b - c` is one Chain), so no left-deep tree exists and depth is bounded by the
// nesting limit of limits.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "dsl/source.h"

namespace tessera::ast {

struct Ident {
  std::string name;
  Span span;
};

/// `att.At`, `std.attention`
struct Path {
  std::vector<Ident> parts;
  Span span;
};

struct Expr;
struct Block;
struct TypeExpr;
using ExprPtr = std::unique_ptr<Expr>;

/// `12`, `0x7F`, `1.5`, `1e-6`. `is_float` says which of the two values counts.
struct Number {
  bool is_float = false;
  std::uint64_t integer = 0;
  double real = 0;
  Span spelling;  ///< as written, without parentheses
};
struct String {
  std::string value;
};
/// `true`, `false`
struct Bool {
  bool value = false;
};
/// `inf`
struct Inf {};
struct Name {
  std::string name;
};
/// `:` as an index
struct All {};

enum class UnaryOp : std::uint8_t { Neg, Not, BitNot };
struct Unary {
  UnaryOp op{};
  ExprPtr operand;
};

enum class BinaryOp : std::uint8_t { Or, And, Eq, Ne, Lt, Gt, Le, Ge, BitAnd, BitOr, BitXor, Shl, Shr, Add, Sub, Mul, Div, Mod, MatMul };
const char* text(BinaryOp op);
struct ChainLink {
  BinaryOp op{};
  Span op_span;
  ExprPtr rhs;
};
/// Left-associative: ((first op rhs) op rhs) .. One precedence level: || , && , comparisons (one link only: chains are refused),
/// | , ^ , & , << >> , + - , * / % @
struct Chain {
  ExprPtr first;
  std::vector<ChainLink> rest;
};
/// `lo .. hi`
struct RangeExpr {
  ExprPtr lo, hi;
};

struct Arg {
  std::optional<Ident> name;
  ExprPtr value;
};
struct Call {
  std::vector<Arg> args;
};
struct Index {
  std::vector<ExprPtr> items;  ///< All allowed
};
struct Member {
  Ident name;
};
struct Suffix {
  std::variant<Call, Index, Member> kind;
  Span span;  ///< from the bracket or dot to its end
};
/// `base(..)[..].x`
struct Postfix {
  ExprPtr base;
  std::vector<Suffix> suffixes;
};
/// `|s, at| expr` or `|s, at| { .. }`
struct Lambda {
  std::vector<Ident> params;
  ExprPtr body;                  ///< or null
  std::unique_ptr<Block> block;  ///< or null
};

struct Expr {
  Span span;
  std::variant<Number, String, Bool, Inf, Name, All, Unary, Chain, RangeExpr, Postfix, Lambda> node;
  bool parenthesised = false;  ///< written in `(..)`, which the span includes; no other meaning
};

// --- types

/// `int bool dtype half float struct dim` or a fn type
enum class GenericKind : std::uint8_t { Int, Bool, DTypeAny, Half, Float, IntType, Struct, Dim, Fn };
struct Generic {
  Ident name;
  GenericKind kind{};
  Span kind_span;
  std::unique_ptr<TypeExpr> fn_type;  ///< for GenericKind::Fn
  ExprPtr fallback;                   ///< `= expr` or null
};

/// `f32`, `f32[M, N]`, `view T[B, H]`, `view T[B] strided`, `att.At[M, N]`
struct NamedType {
  bool view = false;
  bool strided = false;
  Path path;
  bool has_dims = false;
  std::vector<ExprPtr> dims;
};
/// `range[S]`
struct RangeTypeExpr {
  ExprPtr axis;
};
/// `fn[M: int](f32[M], idx) -> f32[M]`
struct FnTypeExpr {
  std::vector<Generic> generics;
  std::vector<TypeExpr> params;
  std::vector<TypeExpr> results;
};
struct TypeExpr {
  Span span;
  std::variant<NamedType, RangeTypeExpr, FnTypeExpr> node;
};

// --- statements

struct Let {
  bool is_var = false;
  std::vector<Ident> names;  ///< several for `let (a, b) = ..`
  std::optional<TypeExpr> type;
  std::optional<Ident> label;  ///< `let x = label: f(..)`
  ExprPtr value;
};
enum class AssignOp : std::uint8_t { Set, Add, Sub, Mul, Div };
struct Assign {
  ExprPtr target;
  AssignOp op{};
  ExprPtr value;
};
struct ExprStmt {
  ExprPtr value;
};
struct For {
  std::optional<Ident> label;
  bool is_const = false;
  Ident var;
  ExprPtr iter;
  std::unique_ptr<Block> body;
};
struct While {
  ExprPtr condition;
  std::unique_ptr<Block> body;
};
struct If {
  ExprPtr condition;
  std::unique_ptr<Block> then;
  std::unique_ptr<Block> otherwise;  ///< null if absent; `else if` is a block of one If with else_if set
  bool else_if = false;
};
struct Return {
  std::vector<ExprPtr> values;
};
struct Break {};
struct Assert {
  ExprPtr condition;
  std::optional<std::string> message;
};
struct Claim {
  ExprPtr what;
  std::optional<std::string> why;
};
struct Stmt {
  Span span;
  std::variant<Let, Assign, ExprStmt, For, While, If, Return, Break, Assert, Claim> node;
};
struct Block {
  std::vector<Stmt> stmts;
  Span span;  ///< braces included
};

// --- items

enum class ParamMode : std::uint8_t { In, Out, InOut, Scatter, Add };
struct Param {
  Ident name;
  ExprPtr peers;  ///< `peer[W]` or null
  ParamMode mode{};
  TypeExpr type;
  bool optional = false;
  ExprPtr fallback;
};

struct Import {
  Path path;
  std::optional<Ident> as;
};
struct Const {
  Ident name;
  std::optional<TypeExpr> type;
  ExprPtr value;
};
struct NewType {
  Ident name;
  TypeExpr type;
};
struct Field {
  Ident name;
  TypeExpr type;
  ExprPtr fallback;
};
struct Struct {
  Ident name;
  std::vector<Generic> generics;
  std::vector<Field> fields;
};
struct Fn {
  Ident name;
  std::vector<Generic> generics;
  std::vector<Param> params;
  std::vector<TypeExpr> results;  ///< empty: returns nothing
  Block body;
};

/// `expr` or `expr in {a, b}` / `expr in lo .. hi`
struct Condition {
  ExprPtr value;
  std::vector<ExprPtr> set;  ///< members of `in {..}`; empty if none
  ExprPtr range;             ///< `in lo .. hi` or null
  Span span;
};
struct Over {
  Ident name;
  ExprPtr domain;  ///< `tiles(Sq, BM)`, an extent, or a range
};
struct Kernel {
  Ident name;
  std::vector<Generic> generics;
  std::vector<Param> params;
  std::vector<Condition> where;
  std::vector<Over> over;
  bool strict = false, deterministic = false, resident = false;
  std::vector<Ident> flags;  ///< as written, for positions
  Block body;
};
/// `kernel a = att.fwd[X: Gemma, variant: gemma];`
struct KernelInstance {
  Ident name;
  Path of;
  std::vector<Arg> args;
};

struct TuneChoice {
  Ident name;
  std::vector<ExprPtr> set;
  ExprPtr range;
};
struct Tune {
  Path target;
  std::optional<Path> like;
  std::vector<TuneChoice> choices;
  std::vector<Condition> where;
  std::vector<ExprPtr> keys;
  std::vector<Ident> invariant;
};
/// `ring kt: 2, vt: 2 transposed` -> name "ring", args {kt: 2}, {vt: 2 transposed}
struct DirectiveArg {
  Path subject;
  ExprPtr index;                  ///< the number in `divide acc 1: group`, or null
  ExprPtr value;                  ///< or null
  std::optional<Ident> modifier;  ///< `transposed`
};
struct Directive {
  Ident name;
  std::vector<DirectiveArg> args;
};
struct Schedule {
  Path target;
  std::optional<Path> like;
  std::optional<Ident> on;
  std::vector<Directive> directives;
};

struct Item {
  Span span;
  std::variant<Import, Const, NewType, Struct, Fn, Kernel, KernelInstance, Tune, Schedule> node;
};

struct Comment {
  Span span;  ///< from `//` to the end of the line
  bool own_line = false;
};

struct File {
  FileId id = 0;
  std::vector<Item> items;
  std::vector<Comment> comments;
};

}  // namespace tessera::ast
