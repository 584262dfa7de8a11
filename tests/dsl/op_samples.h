// A sound kernel that holds one instance of every op of the table, for tests that must cover them all.
#pragma once

#include "dsl/builder.h"
#include "dsl/diagnostic.h"

namespace tessera::ir {

class OpSamples {
 public:
  OpSamples() : b_(kernel_->body) {
    kernel_->name = "samples";
    kernel_->symbols = {"M", "T"};
    in_ = view_param("x", DType::F32, Mode::In, {Sym::symbol("M"), 8});
    pool_ = view_param("pool", DType::F32, Mode::In, {16, 4, 8});
    table_ = view_param("table", DType::I32, Mode::In, {Sym::symbol("T")});
    out_ = view_param("y", DType::F32, Mode::InOut, {Sym::symbol("M"), 8});
    sums_ = view_param("sums", DType::F32, Mode::Add, {Sym::symbol("M"), 8});
    a_ = scalar_param("a", DType::F32);
    kernel_->grid.push_back({"i", ceil_div(Sym::symbol("M"), 8)});
    i_ = kernel_->body.add_arg(scalar(DType::Idx), "i");

    f_ = b_.constant(TileType{DType::F32, {4, 8}}, 1.5);
    n_ = b_.constant(TileType{DType::I32, {4, 8}}, std::int64_t{3});
    bool_ = b_.constant(TileType{DType::Bool, {4, 8}}, std::int64_t{1});
    yes_ = b_.constant(scalar(DType::Bool), std::int64_t{1});
    zero_ = b_.idx(0);
    four_ = b_.idx(4);
    rows_ = b_.range(zero_, zero_, four_, 4);
    cols_ = b_.range(zero_, zero_, b_.idx(8), 8);
    for (OpKind k : all_ops()) sample(k);
    b_.yield({});
  }

  std::unique_ptr<Kernel> take() { return std::move(kernel_); }

 private:
  using A = Attr;
  static std::int64_t n(std::int64_t v) { return v; }
  static std::int64_t n(ReduceKind k) { return static_cast<std::int64_t>(k); }

  Value* view_param(const std::string& name, DType t, Mode mode, std::vector<Sym> dims) {
    Param p;
    p.name = name;
    p.is_view = true;
    p.dtype = t;
    p.mode = mode;
    p.dims = std::move(dims);
    kernel_->params.push_back(p);
    return kernel_->body.add_arg(ViewType{t, static_cast<int>(p.dims.size()), mode}, name);
  }
  Value* scalar_param(const std::string& name, DType t) {
    Param p;
    p.name = name;
    p.dtype = t;
    kernel_->params.push_back(p);
    return kernel_->body.add_arg(scalar(t), name);
  }

  /// Fills a region that folds two scalars into one by addition.
  void fold_region(Op* op, DType t) {
    Block& r = op->region();
    Value* x = r.add_arg(scalar(t), "x");
    Value* y = r.add_arg(scalar(t), "y");
    Builder in(r);
    in.yield({in.value(OpKind::Add, {x, y})});
  }

  void sample(OpKind k) {
    switch (k) {
      case OpKind::Const: b_.constant(TileType{DType::F64, {2}}, 0.1); return;
      case OpKind::Iota: b_.op(k, {}, {}, {TileType{DType::Idx, {8}}}); return;
      case OpKind::Sym: b_.sym("M"); return;
      case OpKind::Range: b_.op(k, {zero_, zero_, four_}, {{A::Size, n(4)}, {A::Full, n(1)}}); return;
      case OpKind::Coords:
      case OpKind::Inside: b_.op(k, {rows_}); return;
      case OpKind::Neg:
      case OpKind::Abs:
      case OpKind::Exp:
      case OpKind::Exp2:
      case OpKind::Ln:
      case OpKind::Log2:
      case OpKind::Sqrt:
      case OpKind::Rsqrt:
      case OpKind::Rcp:
      case OpKind::Tanh:
      case OpKind::Sigmoid:
      case OpKind::Sin:
      case OpKind::Cos:
      case OpKind::Erf:
      case OpKind::Floor:
      case OpKind::Ceil:
      case OpKind::Round: b_.op(k, {f_}); return;
      case OpKind::Not:
      case OpKind::Popcount:
      case OpKind::Clz: b_.op(k, {n_}); return;
      case OpKind::Add:
      case OpKind::Sub:
      case OpKind::Mul:
      case OpKind::Div:
      case OpKind::Min:
      case OpKind::Max:
      case OpKind::Eq:
      case OpKind::Ne:
      case OpKind::Lt:
      case OpKind::Le:
      case OpKind::Gt:
      case OpKind::Ge: b_.op(k, {f_, a_}); return;
      case OpKind::Mod:
      case OpKind::And:
      case OpKind::Or:
      case OpKind::Xor:
      case OpKind::Shl:
      case OpKind::Shr: b_.op(k, {n_, n_}); return;
      case OpKind::Select: b_.op(k, {bool_, f_, a_}); return;
      case OpKind::Fma: b_.op(k, {f_, a_, f_}); return;
      case OpKind::Cast: b_.op(k, {f_}, {{A::Saturate, n(1)}, {A::Rounding, n(2)}}, {TileType{DType::I8, {4, 8}}}); return;
      case OpKind::Bitcast: b_.bitcast(f_, DType::U32); return;
      case OpKind::Broadcast: b_.broadcast(a_, {2, 3}); return;
      case OpKind::Reshape: b_.reshape(f_, {32}); return;
      case OpKind::Permute: b_.permute(f_, {1, 0}); return;
      case OpKind::Slice: b_.op(k, {f_}, {{A::Axis, n(1)}, {A::Offset, n(2)}, {A::Size, n(6)}}); return;
      case OpKind::Concat: b_.op(k, {f_, f_}, {{A::Axis, n(0)}}); return;
      case OpKind::Pick: b_.op(k, {f_, i_}, {{A::Axis, n(1)}}); return;
      case OpKind::Dot: b_.op(k, {f_, b_.permute(f_, {1, 0})}, {{A::Prec, n(1)}}); return;
      case OpKind::DotScaled: {
        Value* a = b_.constant(TileType{DType::E2M1, {4, 64}}, 1.0);
        Value* sa = b_.constant(TileType{DType::E8M0, {4, 2}}, 1.0);
        b_.op(k, {a, sa, b_.permute(a, {1, 0}), b_.permute(sa, {1, 0})});
        return;
      }
      case OpKind::Reduce: b_.reduce(ReduceKind::ArgMax, f_, 1); return;
      case OpKind::Scan: b_.op(k, {f_}, {{A::Kind, n(ReduceKind::Sum)}, {A::Axis, n(1)}, {A::Exclusive, n(1)}, {A::Reverse, n(1)}}); return;
      case OpKind::ReduceWith:
      case OpKind::ScanWith: fold_region(b_.op(k, {f_, a_}, {{A::Axis, n(0)}}), DType::F32); return;
      case OpKind::Sort: b_.op(k, {f_}, {{A::Axis, n(1)}, {A::Descending, n(1)}}); return;
      case OpKind::TopK: b_.op(k, {f_}, {{A::Axis, n(1)}, {A::K, n(3)}}); return;
      case OpKind::Histogram: b_.op(k, {b_.reshape(n_, {32}), b_.reshape(bool_, {32})}, {{A::Size, n(16)}}); return;
      case OpKind::SolveLower: b_.op(k, {b_.constant(TileType{DType::F32, {4, 4}}, 0.5), f_}); return;
      case OpKind::Load: b_.op(k, {in_, rows_, cols_}, {{A::Zero, n(1)}})->result()->hint = "tile"; return;
      case OpKind::Store: b_.op(k, {out_, f_, rows_, cols_, bool_}, {{A::Masked, n(1)}}); return;
      case OpKind::FetchAdd: b_.op(k, {sums_, f_, rows_, cols_}); return;
      case OpKind::ViewIndex: b_.op(k, {in_, i_}, {{A::Axis, n(0)}}); return;
      case OpKind::ViewSpan: b_.op(k, {in_, zero_, four_}, {{A::Axis, n(0)}}); return;
      case OpKind::ViewPermute: b_.op(k, {in_}, {{A::Perm, Dims{1, 0}}}); return;
      case OpKind::ViewMerge: b_.op(k, {in_}, {{A::Axis, n(0)}, {A::Last, n(1)}}); return;
      case OpKind::ViewSplit: b_.op(k, {in_}, {{A::Axis, n(1)}, {A::Size, n(4)}}); return;
      case OpKind::ViewPaged: b_.op(k, {pool_, table_, four_}); return;
      case OpKind::ViewTake: b_.op(k, {in_, table_}); return;
      case OpKind::ViewPeer: b_.op(k, {in_, zero_}); return;
      case OpKind::Extent: b_.op(k, {in_}, {{A::Axis, n(0)}}); return;
      case OpKind::For: {
        Op* loop = b_.for_loop(zero_, four_, b_.idx(1), {f_, a_});
        Block& r = loop->region();
        Builder in(r);
        in.yield({in.value(OpKind::Add, {r.args[1].get(), r.args[2].get()}), r.args[2].get()});
        loop->result()->hint = "acc";
        return;
      }
      case OpKind::While: {
        Op* loop = b_.while_loop({a_});
        Builder test(loop->region(0)), body(loop->region(1));
        test.yield({test.value(OpKind::Lt, {loop->region(0).args[0].get(), a_})});
        body.yield({loop->region(1).args[0].get()});
        return;
      }
      case OpKind::If: {
        Op* choice = b_.if_else(yes_, {TileType{DType::F32, {4, 8}}});
        Builder(choice->region(0)).yield({f_});
        Builder other(choice->region(1));
        other.yield({other.value(OpKind::Neg, {f_})});
        return;
      }
      case OpKind::Yield: return;  // every region ends in one
      case OpKind::Assert: b_.op(k, {bool_}, {{A::Message, std::string("a \"quoted\\ word\"\n")}}); return;
      case OpKind::Print: b_.op(k, {f_}, {{A::Message, std::string("f")}}); return;
      case OpKind::Claim: b_.op(k, {rows_}, {{A::Kind, std::string("unique")}, {A::Message, std::string("rows differ")}}); return;
      case OpKind::Signal: b_.op(k, {out_, f_, rows_, cols_}, {{A::Scope, std::string("gpu")}}); return;
      case OpKind::Wait: {
        Op* wait = b_.op(k, {in_, rows_, cols_}, {{A::Scope, std::string("gpu")}});
        Value* x = wait->region().add_arg(scalar(DType::F32), "x");
        Builder in(wait->region());
        in.yield({in.value(OpKind::Gt, {x, a_})});
        return;
      }
    }
    TESSERA_UNREACHABLE("OpKind");
  }

  std::unique_ptr<Kernel> kernel_ = std::make_unique<Kernel>();
  Builder b_;
  Value *in_, *pool_, *table_, *out_, *sums_, *a_, *i_;
  Value *f_, *n_, *bool_, *yes_, *zero_, *four_, *rows_, *cols_;
};

}  // namespace tessera::ir
