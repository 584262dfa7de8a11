// Small kernels for tests of single ops: parameters, a body made with a Builder, one grid instance.
#pragma once

#include "dsl/builder.h"
#include "dsl/verify.h"
#include "tests/cpu/differential.h"

namespace tessera::test {

using ir::Attr;
using ir::Attrs;
using ir::Builder;
using ir::Dims;
using ir::Mode;
using ir::OpKind;
using ir::ReduceKind;
using ir::TileType;
using ir::Value;

class KernelMaker {
  std::unique_ptr<ir::Kernel> kernel_ = std::make_unique<ir::Kernel>();

 public:
  KernelMaker() : b(kernel_->body) { kernel_->name = "test"; }

  ir::Kernel& kernel() { return *kernel_; }
  Builder b;

  /// Parameters come before everything else.
  Value* view(const std::string& name, DType t, std::vector<Sym> dims, Mode mode = Mode::In) {
    ir::Param p;
    p.name = name;
    p.is_view = true;
    p.dtype = t;
    p.mode = mode;
    p.dims = dims;
    for (const Sym& d : dims)
      for (const std::string& s : d.symbols())
        if (std::find(kernel_->symbols.begin(), kernel_->symbols.end(), s) == kernel_->symbols.end()) kernel_->symbols.push_back(s);
    kernel_->params.push_back(p);
    return kernel_->body.add_arg(ir::ViewType{t, static_cast<int>(dims.size()), mode}, name);
  }
  Value* scalar(const std::string& name, DType t) {
    ir::Param p;
    p.name = name;
    p.dtype = t;
    kernel_->params.push_back(p);
    return kernel_->body.add_arg(ir::scalar(t), name);
  }
  Value* grid(const std::string& name, Sym count) {
    kernel_->grid.push_back({name, std::move(count)});
    return kernel_->body.add_arg(ir::scalar(DType::Idx), name);
  }

  /// 0 .. size of an axis, all valid.
  Value* whole(std::int64_t size) {
    Value* zero = b.idx(0);
    return b.op(OpKind::Range, {zero, zero, b.idx(size)}, {{Attr::Size, size}, {Attr::Full, std::int64_t{1}}})->result();
  }
  /// start .. start + size, valid below `hi`.
  Value* part(Value* start, Value* hi, std::int64_t size) { return b.range(start, b.idx(0), hi, size); }
  Value* load(Value* view, std::vector<Value*> indices, Attrs attrs = {}) {
    indices.insert(indices.begin(), view);
    return b.value(OpKind::Load, std::move(indices), std::move(attrs));
  }
  /// The whole of a view with constant extents.
  Value* load_whole(Value* view, const Dims& dims) {
    std::vector<Value*> indices;
    for (const std::int64_t d : dims) indices.push_back(whole(d));
    return load(view, indices);
  }
  void store(Value* view, Value* value, std::vector<Value*> indices, Attrs attrs = {}) {
    indices.insert(indices.begin(), {view, value});
    b.op(OpKind::Store, std::move(indices), std::move(attrs));
  }
  void store_whole(Value* view, Value* value) {
    std::vector<Value*> indices;
    for (const std::int64_t d : ir::tile(value->type).dims) indices.push_back(whole(d));
    store(view, value, indices);
  }

  std::unique_ptr<ir::Kernel> take() {
    b.yield({});
    ir::verify_or_die(*kernel_, "the test");
    return std::move(kernel_);
  }
};

inline std::vector<Sym> syms(const Dims& dims) { return {dims.begin(), dims.end()}; }

/// Random bit patterns of a dtype, with the values where conversions go wrong among them.
inline Buffer random_bits(DType t, Dims dims, unsigned seed) {
  Buffer b(t, std::move(dims));
  std::mt19937_64 random(seed);
  for (std::int64_t i = 0; i < b.size(); ++i) {
    if (is_bool(t)) {
      b.set_raw(i, random() & 1);
    } else if (is_float(t) && bits(t) >= 16 && random() % 3 != 0) {
      const double scale = std::ldexp(1.0, static_cast<int>(random() % 24) - 12);
      b.set(i, (static_cast<double>(random() % 4001) - 2000) / 777 * scale);
    } else if (!is_float(t) && random() % 3 == 0) {
      b.set_int(i, static_cast<std::int64_t>(random() % 19) - 9);
    } else {
      const std::uint64_t mask = bits(t) == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits(t)) - 1;
      b.set_raw(i, random() & mask);
    }
  }
  return b;
}

}  // namespace tessera::test
