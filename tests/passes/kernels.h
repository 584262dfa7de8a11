// Kernels as the front end makes them (dsl/TILE_IR.md): every mixing op guarded by a naive select. Built, not parsed, since they vary.
#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "dsl/builder.h"
#include "dsl/ir.h"

namespace tessera::test {

using ir::Attr;
using ir::Block;
using ir::Builder;
using ir::Kernel;
using ir::Op;
using ir::OpKind;
using ir::ReduceKind;
using ir::TileType;
using ir::Value;

inline constexpr double kMinusInf = -std::numeric_limits<double>::infinity();

/// A kernel under construction: parameters first, then the grid, then the body through `b`.
class KernelBuilder {
 public:
  explicit KernelBuilder(std::string name, std::vector<std::string> symbols) : kernel(std::make_unique<Kernel>()), b(kernel->body) {
    kernel->name = std::move(name);
    kernel->symbols = std::move(symbols);
  }

  Value* view(const std::string& name, DType t, std::vector<Sym> dims, ir::Mode mode = ir::Mode::In) {
    ir::Param p;
    p.name = name;
    p.is_view = true;
    p.dtype = t;
    p.mode = mode;
    p.dims = std::move(dims);
    kernel->params.push_back(p);
    return kernel->body.add_arg(ir::ViewType{t, static_cast<int>(kernel->params.back().dims.size()), mode}, name);
  }
  Value* scalar(const std::string& name, DType t) {
    ir::Param p;
    p.name = name;
    p.dtype = t;
    kernel->params.push_back(p);
    return kernel->body.add_arg(ir::scalar(t), name);
  }
  Value* grid(const std::string& name, const Sym& count) {
    kernel->grid.push_back({name, count});
    return kernel->body.add_arg(ir::scalar(DType::Idx), name);
  }
  std::unique_ptr<Kernel> finish() {
    b.yield({});
    return std::move(kernel);
  }

  // --- short forms
  Value* op(OpKind k, std::vector<Value*> x, ir::Attrs a = {}) { return b.value(k, std::move(x), std::move(a)); }
  Value* idx(std::int64_t v) { return b.idx(v); }
  Value* sym(const std::string& s) { return b.sym(s); }
  Value* f32(double v) { return b.constant(ir::scalar(DType::F32), v); }
  Value* fill(double v, ir::Dims dims) { return b.constant(TileType{DType::F32, std::move(dims)}, v); }
  Value* add(Value* x, Value* y) { return op(OpKind::Add, {x, y}); }
  Value* sub(Value* x, Value* y) { return op(OpKind::Sub, {x, y}); }
  Value* mul(Value* x, Value* y) { return op(OpKind::Mul, {x, y}); }
  Value* select(Value* c, Value* x, Value* y) { return op(OpKind::Select, {c, x, y}); }
  /// The whole of a constant axis.
  Value* whole(std::int64_t d) {
    Value* r = b.range(idx(0), idx(0), idx(d), d);
    r->def->attrs[Attr::Full] = std::int64_t{1};
    return r;
  }
  Value* column(Value* x) { return b.reshape(x, {tile(x->type).dims[0], 1}); }
  Value* row(Value* x) { return b.reshape(x, {1, tile(x->type).dims[0]}); }
  Value* rows(Value* range) { return column(op(OpKind::Coords, {range})); }
  Value* cols(Value* range) { return row(op(OpKind::Coords, {range})); }
  /// The naive guard along axis 0 or 1 of a rank-2 tile.
  Value* guard(Value* range, int axis, Value* x, double identity) {
    Value* in = op(OpKind::Inside, {range});
    in = axis == 0 ? column(in) : row(in);
    const TileType t = ir::scalar(tile(x->type).dtype);
    return select(in, x, is_float(t.dtype) ? b.constant(t, identity) : b.constant(t, static_cast<std::int64_t>(identity)));
  }
  Value* transpose(Value* x) { return b.permute(x, {1, 0}); }

  /// Runs `body(iv, carried) -> yielded` inside a loop; returns the results.
  std::vector<Value*> loop(Value* lo, Value* hi, Value* step, std::vector<Value*> inits,
                           const std::function<std::vector<Value*>(Value*, const std::vector<Value*>&)>& body) {
    Op* f = b.for_loop(lo, hi, step, std::move(inits));
    Block& outer = b.block();
    b.set_block(f->region());
    std::vector<Value*> carried;
    for (std::size_t i = 1; i < f->region().args.size(); ++i) carried.push_back(f->region().args[i].get());
    b.yield(body(f->region().args[0].get(), carried));
    b.set_block(outer);
    std::vector<Value*> out;
    for (const auto& r : f->results) out.push_back(r.get());
    return out;
  }

  std::unique_ptr<Kernel> kernel;
  Builder b;
  Value* extra = nullptr;
};

struct Soft {
  Value *m, *l, *acc;
};
/// One step of the online softmax on guarded scores, as std.attention writes it.
inline Soft softmax_step(KernelBuilder& k, const Soft& st, Value* s, Value* vt, Value* kj) {
  Value* mn = k.op(OpKind::Max, {st.m, k.b.reduce(ReduceKind::Max, k.guard(kj, 1, s, kMinusInf), 1)});
  Value* z = k.select(k.op(OpKind::Eq, {mn, k.f32(kMinusInf)}), k.f32(0), mn);
  Value* p = k.op(OpKind::Exp, {k.sub(s, z)});
  Value* a = k.op(OpKind::Exp, {k.sub(st.m, z)});
  Value* l = k.add(k.mul(st.l, a), k.b.reduce(ReduceKind::Sum, k.guard(kj, 1, p, 0), 1));
  const DType t = tile(vt->type).dtype;
  Value* o = k.op(OpKind::Dot, {k.guard(kj, 1, t == DType::F32 ? p : k.b.cast(p, t), 0), k.guard(kj, 0, vt, 0)});
  return {mn, l, k.add(k.mul(st.acc, a), o)};
}

struct Attention {
  DType dtype = DType::F16;
  std::int64_t bm = 8, bn = 8, d = 4;
  /// The mask in terms of query rows and key columns; null: none.
  std::function<Value*(KernelBuilder&, Value* rows, Value* cols)> keep;
  /// Elementwise change of the scores; null: none.
  std::function<Value*(KernelBuilder&, Value* s)> score;
  /// The same in terms of query rows and key columns too; null: none.
  std::function<Value*(KernelBuilder&, Value* s, Value* rows, Value* cols)> bias;
  std::int64_t group = 1;       ///< queries per row index: rows are divided by it (packed heads)
  int softmaxes = 1;            ///< that share v
  bool positive_scale = false;  ///< asserted
  std::string extra;            ///< name of an idx parameter for `keep`
};

inline std::unique_ptr<Kernel> attention(const Attention& a) {
  KernelBuilder k("attention", {"Sq", "Sk"});
  std::vector<Value*> qv, kv;
  for (int i = 0; i < a.softmaxes; ++i) {
    qv.push_back(k.view("q" + std::to_string(i), a.dtype, {Sym::symbol("Sq") * a.group, a.d}));
    kv.push_back(k.view("k" + std::to_string(i), a.dtype, {Sym::symbol("Sk"), a.d}));
  }
  Value* vv = k.view("v", a.dtype, {Sym::symbol("Sk"), a.d});
  Value* ov = k.view("o", DType::F32, {Sym::symbol("Sq") * a.group, a.d}, ir::Mode::Out);
  Value* scale = k.scalar("scale", DType::F32);
  if (!a.extra.empty()) k.extra = k.scalar(a.extra, DType::Idx);
  Value* i = k.grid("i", ceil_div(Sym::symbol("Sq") * a.group, a.bm));
  Value* n = k.mul(k.sym("Sq"), k.idx(a.group));
  Value* qi = k.b.range(k.mul(i, k.idx(a.bm)), k.idx(0), n, a.bm);
  Value* dr = k.whole(a.d);
  if (a.positive_scale) k.b.op(OpKind::Assert, {k.op(OpKind::Gt, {scale, k.f32(0)})}, {{Attr::Message, std::string("scale is positive")}});
  std::vector<Value*> inits;
  for (int s = 0; s < a.softmaxes; ++s) {
    inits.push_back(k.fill(kMinusInf, {a.bm, 1}));
    inits.push_back(k.fill(0, {a.bm, 1}));
    inits.push_back(k.fill(0, {a.bm, a.d}));
  }
  auto out = k.loop(k.idx(0), k.sym("Sk"), k.idx(a.bn), inits, [&](Value* j, const std::vector<Value*>& st) {
    Value* kj = k.b.range(j, k.idx(0), k.sym("Sk"), a.bn);
    Value* vt = k.op(OpKind::Load, {vv, kj, dr});
    std::vector<Value*> next;
    for (int x = 0; x < a.softmaxes; ++x) {
      Value* q = k.op(OpKind::Load, {qv[static_cast<std::size_t>(x)], qi, dr});
      Value* kt = k.op(OpKind::Load, {kv[static_cast<std::size_t>(x)], kj, dr});
      Value* s = k.mul(k.op(OpKind::Dot, {q, k.transpose(kt)}), scale);
      if (a.score) s = a.score(k, s);
      if (a.bias) s = a.bias(k, s, k.rows(qi), k.cols(kj));
      if (a.keep) {
        Value* rows = k.rows(qi);
        if (a.group != 1) rows = k.op(OpKind::Div, {rows, k.idx(a.group)});
        s = k.select(a.keep(k, rows, k.cols(kj)), s, k.f32(kMinusInf));
      }
      const auto at = static_cast<std::size_t>(3 * x);
      Soft y = softmax_step(k, {st[at], st[at + 1], st[at + 2]}, s, vt, kj);
      next.insert(next.end(), {y.m, y.l, y.acc});
    }
    return next;
  });
  Value* sum = nullptr;
  for (int s = 0; s < a.softmaxes; ++s) {
    const auto at = static_cast<std::size_t>(3 * s);
    Value* y = k.select(k.op(OpKind::Gt, {out[at + 1], k.f32(0)}), k.op(OpKind::Div, {out[at + 2], out[at + 1]}), k.f32(0));
    sum = sum ? k.sub(sum, y) : y;
  }
  k.b.op(OpKind::Store, {ov, sum, qi, dr});
  return k.finish();
}

/// keep: cols <= rows + (Sk - Sq).
inline Value* causal(KernelBuilder& k, Value* rows, Value* cols) { return k.op(OpKind::Le, {cols, k.add(rows, k.sub(k.sym("Sk"), k.sym("Sq")))}); }

/// c = a b, tiles of BM x BN, k in steps of BK.
inline std::unique_ptr<Kernel> gemm(std::int64_t bm, std::int64_t bn, std::int64_t bk, DType t = DType::F32) {
  KernelBuilder k("gemm", {"M", "N", "K"});
  Sym M = Sym::symbol("M"), N = Sym::symbol("N"), K = Sym::symbol("K");
  Value* av = k.view("a", t, {M, K});
  Value* bv = k.view("b", t, {K, N});
  const DType result = is_float(t) ? DType::F32 : DType::I32;
  Value* cv = k.view("c", result, {M, N}, ir::Mode::Out);
  Value* i = k.grid("i", ceil_div(M, bm));
  Value* j = k.grid("j", ceil_div(N, bn));
  Value* mi = k.b.range(k.mul(i, k.idx(bm)), k.idx(0), k.sym("M"), bm);
  Value* ni = k.b.range(k.mul(j, k.idx(bn)), k.idx(0), k.sym("N"), bn);
  auto acc = k.loop(k.idx(0), k.sym("K"), k.idx(bk), {k.b.constant(TileType{result, {bm, bn}}, std::int64_t{0})},
                    [&](Value* kk, const std::vector<Value*>& st) -> std::vector<Value*> {
                      Value* r = k.b.range(kk, k.idx(0), k.sym("K"), bk);
                      Value* at = k.op(OpKind::Load, {av, mi, r});
                      Value* bt = k.op(OpKind::Load, {bv, r, ni});
                      return {k.add(st[0], k.op(OpKind::Dot, {k.guard(r, 1, at, 0), k.guard(r, 0, bt, 0)}))};
                    });
  k.b.op(OpKind::Store, {cv, acc[0], mi, ni});
  return k.finish();
}

}  // namespace tessera::test
