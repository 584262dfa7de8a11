// Kernels made by hand with the signatures that launch tests need; their bodies store nothing unless said.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dsl/builder.h"
#include "dsl/ir.h"
#include "runtime/kernel_impl.h"

namespace tessera::test {

inline std::vector<Sym> dims(std::initializer_list<const char*> texts) {
  std::vector<Sym> out;
  for (const char* t : texts) out.push_back(*parse_sym(t));
  return out;
}

inline ir::Param view_param(std::string name, DType dtype, ir::Mode mode, std::vector<Sym> d) {
  ir::Param p;
  p.name = std::move(name);
  p.is_view = true;
  p.dtype = dtype;
  p.mode = mode;
  p.dims = std::move(d);
  return p;
}

inline ir::Param scalar_param(std::string name, DType dtype) {
  ir::Param p;
  p.name = std::move(name);
  p.dtype = dtype;
  return p;
}

/// A kernel with an empty body; `symbols` in the order they are bound.
inline std::unique_ptr<ir::Kernel> signature(std::string name, std::vector<ir::Param> params, std::vector<std::string> symbols,
                                             std::vector<ir::GridAxis> grid = {}) {
  auto k = std::make_unique<ir::Kernel>();
  k->name = std::move(name);
  k->params = std::move(params);
  k->symbols = std::move(symbols);
  k->grid = std::move(grid);
  for (const ir::Param& p : k->params) {
    if (p.is_view && p.present) k->body.add_arg(ir::ViewType{p.dtype, static_cast<int>(p.dims.size()), p.mode}, p.name);
    if (!p.is_view) k->body.add_arg(ir::scalar(p.dtype), p.name);
  }
  for (const ir::GridAxis& g : k->grid) k->body.add_arg(ir::scalar(DType::Idx), g.name);
  ir::Builder b(k->body);
  b.yield({});
  return k;
}

/// y[i, :] = x[i, :] * s for f32 rows of eight, one instance a row.
inline std::unique_ptr<ir::Kernel> scale_rows() {
  auto k = signature("scale_rows",
                     {view_param("x", DType::F32, ir::Mode::In, dims({"M", "8"})), view_param("y", DType::F32, ir::Mode::Out, dims({"M", "8"})),
                      scalar_param("s", DType::F32)},
                     {"M"}, {{"i", Sym::symbol("M")}});
  k->body.ops.clear();
  ir::Builder b(k->body);
  ir::Value* zero = b.idx(0);
  ir::Value* eight = b.idx(8);
  ir::Op* range = b.op(ir::OpKind::Range, {zero, zero, eight}, {{ir::Attr::Size, std::int64_t{8}}, {ir::Attr::Full, std::int64_t{1}}});
  ir::Value* x = k->body.args[0].get();
  ir::Value* y = k->body.args[1].get();
  ir::Value* i = k->body.args[3].get();
  ir::Value* t = b.value(ir::OpKind::Load, {x, i, range->result()});
  ir::Value* scaled = b.value(ir::OpKind::Mul, {t, k->body.args[2].get()});
  b.op(ir::OpKind::Store, {y, scaled, i, range->result()});
  b.yield({});
  return k;
}

inline AnyKernel make(std::unique_ptr<ir::Kernel> kernel, const std::string& target = "interp") {
  Options o;
  o.target = target;
  return detail::kernel_from_ir(std::move(kernel), std::make_shared<SourceMap>(), o);
}

/// The code of the Error that `f` throws; "" if it throws none.
template <class F>
std::string code_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.code();
  }
  return "";
}

}  // namespace tessera::test
