// The elaborator: gives meaning to expressions and statements.
//
// It runs in two modes over the same rules. *Checking*: each fn and kernel body once, its generics opaque, calls answered by signatures, no IR.
// *Lowering*: one kernel with its generics bound, every call inlined, IR emitted as it goes. `block_` is null when checking.
#pragma once

#include <functional>
#include <set>

#include "dsl/builder.h"
#include "frontend/program.h"

namespace tessera {

/// A variable: what it holds now. `let` and parameters never change.
struct Binding {
  Val value;
  bool is_var = false;
  Span span;
  std::string name;
  bool kernel_symbol = false;
};

struct Scope {
  std::shared_ptr<Scope> parent;
  std::map<std::string, Binding> names;
  LoadedModule* module = nullptr;  ///< set on module scopes: items are looked up there
  bool function = false;           ///< the outermost scope of a fn or lambda body: variables beyond it are read-only
  bool free_symbols = false;       ///< unknown names are launch symbols (view dims of kernel parameters and structs)
  std::string symbol_prefix;       ///< "x." for the symbols of a struct parameter
};

enum class Builtin : std::uint8_t;

/// Thrown after an error was reported, to leave the statement.
struct Failed {};

/// Work that one kernel or one checked item may cost, so that no text makes the compiler hang or run out of stack.
constexpr int max_calls = 64;                  ///< inlined calls that are open at one place
constexpr int max_nesting = 1500;              ///< expressions and statements that are open at one place, through calls and constants
constexpr std::int64_t max_ops = 200'000;      ///< operations of a kernel
constexpr std::int64_t max_steps = 2'000'000;  ///< expressions evaluated, those that emit nothing included

class Elaborator {
 public:
  Elaborator(const Program& program, Diagnostics& diagnostics) : program_(program), diagnostics_(diagnostics) {}
  Elaborator(const Elaborator&) = delete;
  ~Elaborator();

  // --- kernel.cpp
  void check_module(LoadedModule& m);
  /// For std::length_error, which sym.h throws where symbolic integers grow beyond all use.
  void report_too_large() {
    report(Code::E0605, here_, "this integer expression is too large", "split the kernel, or name its extents by fewer symbols");
  }
  void check_fn(LoadedModule& m, const ast::Fn& fn);
  void check_struct(LoadedModule& m, const StructDecl& s);
  void check_kernel(const KernelDecl& k);
  void check_tune(LoadedModule& m, const ast::Tune& t);
  void check_schedule(LoadedModule& m, const ast::Schedule& s);
  Schedule schedule(const KernelDecl& k, const std::string& family, const Constants& constants);
  std::unique_ptr<ir::Kernel> lower_kernel(const KernelDecl& k, const Constants& constants, const std::vector<std::string>& absent,
                                           bool judge_presence = true);
  /// Evaluates a where-condition: facts are recorded, the outcome of constant ones is in `holds`, the rest is returned for the launch.
  std::vector<SymCondition> condition(const ast::Condition& c, const std::shared_ptr<Scope>& s, std::optional<bool>& holds);
  Val eval_constant(const ast::Expr& e, std::shared_ptr<Scope> s);
  /// Candidate values of one `name in ..` of a tune block.
  std::vector<Constant> tune_values(const ast::TuneChoice& c, std::shared_ptr<Scope> s);
  std::shared_ptr<Scope> constants_scope(const KernelDecl& k, const Constants& constants, bool partial);
  /// Evaluates the tune block's `where` with the constants of `s`; true if unknown.
  bool tune_allows(const ast::Tune& t, std::shared_ptr<Scope> s);
  /// True if no constant `where` clause of the kernel is violated.
  bool where_allows(const KernelDecl& k, std::shared_ptr<Scope> s);

 private:
  friend struct Builtins;
  using ScopePtr = std::shared_ptr<Scope>;

  // --- kernel.cpp
  struct Interface {
    std::vector<ir::Param> params;
    std::vector<SymCondition> where;
    std::vector<ir::GridAxis> grid;
  };
  Interface declare(const KernelDecl& k, const std::shared_ptr<Scope>& s, const std::vector<std::string>& absent, bool judge_presence = true);
  Val declare_param(const std::string& name, const Ty& type, const ast::Param& p, Span span, const std::vector<std::string>& absent, Interface& out);
  void bind_grid(const ast::Kernel& k, const std::shared_ptr<Scope>& s, Interface& out);
  void note_fact(const SymCondition& c);
  std::string constant_text(const Val& v);
  bool mentions(const ast::Expr& e, const std::string& name) const;
  std::string nearest_allowed(const KernelDecl& k, const ast::Condition& violated) const;

  // --- errors
  /// Fails by what has been told: a name that is unknown elsewhere too, or that an error of syntax may have taken away.
  [[noreturn]] void fail_again();
  [[noreturn]] void fail(Code code, Span span, std::string message, std::string help = "", std::vector<Label> labels = {});
  void report(Code code, Span span, std::string message, std::string help = "", std::vector<Label> labels = {});
  bool lowering() const { return builder_ != nullptr; }
  /// Where the next operations come from, and where limits are reported.
  void at(Span span) {
    here_ = span;
    if (builder_) builder_->set_span(span);
  }
  /// Counts an expression or statement while it is open.
  class Deeper {
   public:
    Deeper(Elaborator& e, Span span);
    ~Deeper() { --e_.depth_; }
    Deeper(const Deeper&) = delete;

   private:
    Elaborator& e_;
  };
  void require_shallow_calls(Span span);
  bool run_time(const Sym& s) const;
  bool is_tile_number(const TileVal& i, const TilesVal& tiles) const;
  std::vector<Label> axis_labels(const ViewVal& v, const Sym& axis, const RangeVal& r);
  int fresh_id() { return ++next_id_; }
  Sym fresh_symbol(const std::string& base, ir::Value* value);

  // --- scope.cpp
  Binding* find(Scope& s, const std::string& name, bool* crossed_function = nullptr);
  Val lookup(const ast::Ident& name, const ScopePtr& s);
  std::vector<std::string> visible_names(Scope& s);
  void define(Scope& s, const ast::Ident& name, Val v, bool is_var);
  Val item_value(LoadedModule& m, const std::string& name, Span use);
  ScopePtr child(const ScopePtr& s);
  ScopePtr new_scope();
  void define_generic(Scope& s, const ast::Generic& g, Val v);

  // --- types.cpp
  Ty resolve_type(const ast::TypeExpr& t, const ScopePtr& s);
  Elem resolve_elem(const ast::Path& p, Span span, const ScopePtr& s);
  std::optional<Ty> named_type(const ast::Path& p, const ScopePtr& s);
  Sym resolve_dim(const ast::Expr& e, const ScopePtr& s, bool view_dim);
  bool same_dim(const Sym& a, const Sym& b) const;
  bool known_different(const Sym& a, const Sym& b) const;
  bool same_axis(const Sym& a, const Sym& b) const;
  StructTy struct_type(const StructDecl& d, const std::vector<Val>& args, Span span);
  Val opaque_value(const Ty& t, const std::string& hint, Span bound);
  ScopePtr struct_scope(const StructTy& t);
  std::vector<Ty> struct_fields(const StructTy& t);
  bool same_type(const Ty& a, const Ty& b);
  void positive_dims(const std::vector<Sym>& dims, Span span);

  // --- convert.cpp
  Val decay(Val v, Span span);                              ///< a view whose axes are all constant becomes the tile it holds
  TileVal tile(const Val& v, Span span, const char* what);  ///< a run-time tile, constants materialised
  TileVal as_idx(const Val& v, Span span);
  Sym const_int(const Val& v, Span span, const char* what);
  TileVal scalar_bool(const Val& v, Span span);
  TileVal coerce_elem(const Val& v, const Elem& to, Span span, bool explicit_cast = false);
  Val coerce(const Val& v, const Ty& to, Span span, const std::string& what);
  TileVal broadcast_to(TileVal t, const std::vector<Sym>& dims, Span span);
  TileVal constant(const Elem& e, const std::vector<Sym>& dims, double value);
  TileVal int_constant(const Elem& e, const std::vector<Sym>& dims, const Sym& value);
  ir::Value* emit_sym(const Sym& s);
  Val merge_assign(const Val& old, const Val& now, Span span);

  // --- emit helpers (null-safe)
  ir::Value* emit(ir::OpKind k, std::vector<ir::Value*> operands, ir::Attrs attrs = {});
  ir::Value* emit_idx(std::int64_t v);
  ir::Value* idx_binary(ir::OpKind k, ir::Value* a, ir::Value* b);
  ir::Dims dims_of(const std::vector<Sym>& dims);
  /// Reports dims that no tile can have, at the current place.
  TileVal make(const Elem& e, std::vector<Sym> dims, ir::Value* v, std::vector<Mask> valid = {});
  void hint(const Val& v, const std::string& name);
  void flatten(const Val& v, std::vector<ir::Value**>& out);

  // --- masks.cpp
  std::vector<Mask> join(const std::vector<Mask>& a, const std::vector<Mask>& b);
  ir::Value* mask_value(const std::vector<Mask>& masks, std::size_t rank, const std::vector<Sym>& dims, int only_axis = -1, int range_skip = 0);
  TileVal guard(const TileVal& t, double identity, int axis = -1);
  bool partial(const TileVal& t, int axis) const;

  /// An evaluated argument; `name` is empty for positional ones.
  struct ArgVal {
    std::string name;
    Val value;
    Span span;
    const ast::Expr* expr = nullptr;
  };

  // --- expr.cpp
  Val eval(const ast::Expr& e, const ScopePtr& s);
  Val eval_node(const ast::Expr& e, const ScopePtr& s);
  Val eval_unary(const ast::Unary& u, Span span, const ScopePtr& s);
  Val eval_chain(const ast::Chain& c, Span span, const ScopePtr& s);
  Val eval_postfix(const ast::Postfix& p, Span span, const ScopePtr& s) {
    (void)span;
    return eval_prefix(p, p.suffixes.size(), s);
  }
  Val eval_prefix(const ast::Postfix& p, std::size_t count, const ScopePtr& s);
  Val member(Val base, const ast::Ident& name, Span span);
  Val method(Val base, const ast::Ident& name, std::vector<ArgVal> args, Span span);
  Val binary(ast::BinaryOp op, Val a, Val b, Span span, Span a_span, Span b_span);
  Val matmul(const Val& a, const Val& b, Span span);
  Val logical(ast::BinaryOp op, const Val& a, const Val& b, Span span);
  Val range_shift(ast::BinaryOp op, const RangeVal& r, const Val& by, Span span);
  Val elementwise(ir::OpKind k, const Elem& result, std::vector<TileVal> operands, Span span);
  std::pair<TileVal, TileVal> unify_operands(const Val& a, const Val& b, Span span, Span a_span, Span b_span, const char* what);
  std::vector<Sym> broadcast_dims(const TileVal& a, const TileVal& b, Span span);

  // --- index.cpp
  struct Target {  ///< a view and one index an axis, ready to be read or written
    ViewVal view;
    std::vector<Val> indices;
    std::vector<Sym> dims;
    std::vector<Mask> valid;
    std::vector<ir::Value*> operands;
    bool gather = false;
    Span span;
  };
  Val index(Val base, const ast::Index& ix, Span span, Span suffix, const ScopePtr& s);
  Val index_view(ViewVal v, std::vector<Val> items, const std::vector<Span>& spans, Span span);
  std::vector<Val> index_items(const ViewVal& v, const ast::Index& ix, std::vector<Span>& spans, Span span, const ScopePtr& s);
  Target target(ViewVal v, std::vector<Val> items, const std::vector<Span>& spans, Span span);
  Val load(const Target& t);
  void store(const Target& t, Val value, Span span, bool add);
  std::vector<Mask> masks_of_value(const Target& t, const TileVal& x);
  Val fetch_add(const Target& t, Val value, Span span);
  std::optional<Target> eval_target(const ast::Expr& e, const ScopePtr& s);
  void require_present(const ViewVal& v, Span span);
  RangeVal tile_range(const RangeVal& of, const Sym& size, ir::Value* start, std::optional<Sym> start_sym, ir::Value* block, bool aligned = true);
  RangeVal retie(RangeVal r, const Sym& axis, Span span);
  Val index_tile(const TileVal& t, const std::vector<Val>& items, const std::vector<bool>& all, Span span);
  TileVal reshape(const TileVal& t, std::vector<Sym> dims, Span span);
  TileVal drop_units(const TileVal& t, std::size_t rank);
  RangeVal whole_axis(const ViewVal& v, int axis);
  RangeVal whole_range(const Sym& axis);
  Sym range_extent(const RangeVal& r);
  RangeVal as_range(const Val& v, Span span);
  ViewVal span_view(const ViewVal& v, int axis, const RangeVal& r, Span span);
  RangeVal make_range(const Val& lo, const Val& hi, Span span);

  // --- call.cpp, infer.cpp
  Val call(const Val& callee, const ast::Postfix& p, std::size_t suffix, Span span, const ScopePtr& s);
  Val call_fn(const FnVal& f, std::vector<ArgVal> args, Span span);
  Val call_lambda(const FnVal& f, std::vector<ArgVal> args, Span span);
  Val call_value(const FnVal& f, std::vector<ArgVal> args, Span span);
  Val call_builtin(const std::string& name, const ast::Call& c, Span span, const ScopePtr& s);
  Val call_builtin_on(Builtin b, const std::string& name, std::vector<ArgVal> args, Span span);
  Val place_builtin(const std::string& name, const Target& t, const ast::Call& c, Span span, const ScopePtr& s);
  Val convert(const TileTy& t, const ast::Call& c, Span span, const ScopePtr& s);
  void bind_params(const std::vector<ast::Generic>& generics, std::vector<ArgVal>& args,
                   const std::vector<std::pair<const ast::Ident*, const ast::TypeExpr*>>& params, const std::vector<const ast::Expr*>& fallbacks,
                   const ScopePtr& bound, Span span, const std::string& callee, Span declared);
  Val construct(const StructTy& t, std::vector<ArgVal> args, Span span);
  std::vector<ArgVal> eval_args(const ast::Call& c, const ScopePtr& s);
  void check_fn_value(const Val& v, const FnTy& type, Span span);
  Val call_with_type(const FnVal& f, const FnTy& type, std::vector<ArgVal> args, Span span);
  bool infer(const ast::TypeExpr& t, const Val& v, const std::map<std::string, const ast::Generic*>& open, Scope& bound, Span span);
  void infer_dim(const ast::Expr& e, const Sym& dim, const std::map<std::string, const ast::Generic*>& open, Scope& bound, Span span);
  void bind_generic(const ast::Generic& g, const Val& v, Scope& bound, Span span);
  void bind_defaults(const std::vector<ast::Generic>& gs, const ScopePtr& bound, Span span, const std::string& callee);
  Val opaque_generic(const ast::Generic& g, const ScopePtr& s);
  void run_body(const ast::Block& b, const ScopePtr& s);
  Val return_value(const std::vector<ast::TypeExpr>& results, const ScopePtr& types, std::vector<Val> values, Span span, const std::string& what);
  Val opaque_results(const std::vector<ast::TypeExpr>& results, const ScopePtr& types, const std::string& what, Span span);

  // --- stmt.cpp, loops.cpp
  void exec_block(const ast::Block& b, const ScopePtr& s);
  void exec_stmts(const std::vector<ast::Stmt>& stmts, std::size_t from, const ScopePtr& s);
  void exec(const ast::Stmt& st, const ScopePtr& s);
  void exec_let(const ast::Let& l, Span span, const ScopePtr& s);
  void exec_assign(const ast::Assign& a, Span span, const ScopePtr& s);
  void exec_expr(const ast::ExprStmt& x, const ScopePtr& s);
  void exec_claim(const ast::Claim& x, Span span, const ScopePtr& s);
  void note_present(const ast::Expr& e);
  void exec_for(const ast::For& f, Span span, const ScopePtr& s);
  void exec_while(const ast::While& w, Span span, const ScopePtr& s);
  void exec_if(const ast::If& i, Span span, const ScopePtr& s);
  void exec_if_else(ir::Value* condition, const std::set<std::string>& assigned, const ScopePtr& s, const std::function<void()>& then,
                    const std::function<void()>& otherwise);
  void unroll(const ast::For& f, const Val& iter, Span span, const ScopePtr& s);
  void loop(const std::set<std::string>& assigned, const ScopePtr& s, ir::Value* lo, ir::Value* hi, ir::Value* step,
            const std::function<void(ir::Value*)>& body);
  void while_loop(const std::set<std::string>& assigned, const ScopePtr& s, const std::function<ir::Value*()>& condition,
                  const std::function<void()>& body);
  std::vector<Binding*> carried(const std::set<std::string>& assigned, const ScopePtr& s);
  std::vector<ir::Value*> current(const std::vector<Binding*>& vars);
  void rebind(const std::vector<Binding*>& vars, const std::vector<ir::Value*>& values);
  std::vector<ir::Value*> add_args(ir::Block& block, const std::vector<Binding*>& vars);
  std::vector<ir::Value*> add_results(ir::Op& op, const std::vector<ir::Value*>& like);
  ir::Op* open_op(ir::OpKind k, std::vector<ir::Value*> operands, int regions);

  const Program& program_;
  Diagnostics& diagnostics_;
  std::unique_ptr<ir::Builder> builder_;
  ir::Kernel* kernel_ = nullptr;
  SymFacts facts_;
  std::map<std::string, ir::Value*> symbols_;          ///< run-time value of each symbol
  std::map<std::string, Span> symbol_bound_;           ///< where a launch symbol was bound first
  std::map<std::string, std::pair<Sym, Sym>> bounds_;  ///< of grid indices and loop variables: the least, and one beyond the largest
  std::set<std::string> launch_symbols_;
  std::vector<std::string> symbol_order_;
  std::vector<Label> trail_;         ///< inlined calls, outermost first
  std::vector<std::string> labels_;  ///< of labelled calls
  std::vector<const void*> active_;  ///< bodies being inlined, to refuse recursion
  std::optional<std::vector<Val>> returned_;
  Span return_span_;
  std::string pending_label_;         ///< `let x = label: f(..)`
  std::map<int, Sym> range_extents_;  ///< fresh symbols for run-time lengths, by range identity
  std::set<std::string> stored_;      ///< parameters that something is stored to
  std::set<std::string> present_;     ///< optional views known to be there (checking)
  int loop_depth_ = 0;
  ScopePtr declaring_;                ///< the kernel scope while its parameters are declared
  const Constants* given_ = nullptr;  ///< what the kernel being lowered was asked for
  std::vector<std::pair<const ast::Generic*, std::pair<Val, Span>>> pending_generics_;
  const ast::Block* body_ = nullptr;  ///< the block of the fn, lambda or kernel being run
  bool in_kernel_ = false;            ///< that block is a kernel's
  int next_id_ = 0;
  std::int64_t op_count_ = 0, steps_ = 0;
  int depth_ = 0;
  bool stopped_ = false;  ///< a limit was exceeded: nothing more is evaluated or reported
  Span here_;             ///< of the expression at hand
  /// What an unknown name would be: in the dims of a kernel's views a launch symbol, in those of tiles an undeclared dimension, in types an error.
  enum class Naming : std::uint8_t { Value, ViewDim, TileDim, Type } naming_ = Naming::Value;
  std::set<std::string> constant_symbols_;        ///< made for the variables of `for const` loops while checking
  const std::vector<ast::Stmt>* exit_ = nullptr;  ///< the block of a kernel's `if .. { return; }` that is being run
  std::int64_t failures_ = 0;                     ///< errors, those that were known already included
  std::set<std::string> unknown_;                 ///< names that were told to be so
  bool symbols_lost_ = false;                     ///< a parameter failed, and with it the launch symbols that it would have bound
  bool unused_ = false;                           ///< the value of the call at hand is dropped
  bool deterministic_ = false;                    ///< the kernel is
  std::vector<std::weak_ptr<Scope>> scopes_;      ///< all that were made: a lambda that is bound in the scope it captures keeps it alive
  std::map<const ast::Const*, Val> constants_;    ///< values of constants that are known at compile time
};

/// A symbolic integer too large to be worth keeping: proofs about it would cost more than they give.
bool heavy(const Sym& s);

/// Names assigned anywhere in a block, nested blocks included.
std::set<std::string> assigned_names(const ast::Block& b);
/// A `break` that leaves this loop body.
bool has_break(const ast::Block& b);
bool has_break(const ast::Stmt& s);

}  // namespace tessera
