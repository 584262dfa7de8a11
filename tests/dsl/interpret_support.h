// Runs a few ops on given data through the interpreter, for the tests of single ops.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "dsl/builder.h"
#include "dsl/interpret.h"
#include "tests/ir/launch.h"

namespace tessera::test {

using Values = std::vector<ir::Value*>;
using Build = std::function<Values(ir::Builder&, const Values&)>;

/// A kernel under construction: parameters are added as the body grows.
class KernelMaker {
 public:
  ir::Kernel kernel;
  ir::Builder b{kernel.body};

  ir::Value* view(const std::string& name, DType t, const std::vector<Sym>& dims, ir::Mode mode) {
    ir::Param p;
    p.name = name;
    p.is_view = true;
    p.dtype = t;
    p.mode = mode;
    p.dims = dims;
    for (const Sym& d : dims) {
      for (const std::string& s : d.symbols()) {
        if (std::find(kernel.symbols.begin(), kernel.symbols.end(), s) == kernel.symbols.end()) kernel.symbols.push_back(s);
      }
    }
    kernel.params.push_back(p);
    return kernel.body.add_arg(ir::ViewType{t, static_cast<int>(dims.size()), mode});
  }
  ir::Value* view(const std::string& name, const Buffer& data, ir::Mode mode) {
    return view(name, data.dtype, std::vector<Sym>(data.dims.begin(), data.dims.end()), mode);
  }
  ir::Value* scalar(const std::string& name, DType t) {
    ir::Param p;
    p.name = name;
    p.dtype = t;
    kernel.params.push_back(p);
    return kernel.body.add_arg(ir::scalar(t));
  }
  /// The whole of an axis of constant extent.
  ir::Value* all(std::int64_t n) {
    return b.op(ir::OpKind::Range, {b.idx(0), b.idx(0), b.idx(n)}, {{ir::Attr::Size, n}, {ir::Attr::Full, std::int64_t{1}}})->result();
  }
  Values all(ir::Value* view, const ir::Dims& dims) {
    Values operands{view};
    for (const std::int64_t n : dims) operands.push_back(all(n));
    return operands;
  }
};

/// Loads `inputs` whole, runs `build` on the tiles, and returns the tiles it yields.
inline std::vector<Buffer> compute(std::vector<Buffer> inputs, const Build& build, const InterpretOptions& options = {}) {
  KernelMaker m;
  Values tiles;
  for (std::size_t k = 0; k < inputs.size(); ++k) {
    ir::Value* v = m.view("in" + std::to_string(k), inputs[k], ir::Mode::In);
    tiles.push_back(m.b.value(ir::OpKind::Load, m.all(v, inputs[k].dims)));
  }
  const Values results = build(m.b, tiles);
  std::vector<Buffer> outputs;
  for (std::size_t k = 0; k < results.size(); ++k) {
    const ir::TileType& t = ir::tile(results[k]->type);
    outputs.emplace_back(t.dtype, t.dims);
    ir::Value* v = m.view("out" + std::to_string(k), outputs.back(), ir::Mode::Out);
    Values operands = m.all(v, t.dims);
    operands.insert(operands.begin() + 1, results[k]);
    m.b.op(ir::OpKind::Store, operands);
  }
  m.b.yield({});
  Launch launch(m.kernel);
  for (std::size_t k = 0; k < inputs.size(); ++k) launch.view("in" + std::to_string(k), inputs[k]);
  for (std::size_t k = 0; k < outputs.size(); ++k) launch.view("out" + std::to_string(k), outputs[k]);
  interpret(m.kernel, launch.frame(), options);
  return outputs;
}

/// Equal values; NaN equals NaN.
inline void expect_values(const Buffer& got, const std::vector<double>& want, const std::string& what) {
  ASSERT_EQ(got.size(), static_cast<std::int64_t>(want.size())) << what;
  for (std::size_t k = 0; k < want.size(); ++k) {
    const double g = got.get(static_cast<std::int64_t>(k));
    EXPECT_TRUE(std::isnan(want[k]) ? std::isnan(g) : g == want[k]) << what << " at " << k << ": got " << g << ", want " << want[k];
  }
}
inline void expect_ints(const Buffer& got, const std::vector<std::int64_t>& want, const std::string& what) {
  ASSERT_EQ(got.size(), static_cast<std::int64_t>(want.size())) << what;
  for (std::size_t k = 0; k < want.size(); ++k) EXPECT_EQ(got.get_int(static_cast<std::int64_t>(k)), want[k]) << what << " at " << k;
}

/// One promise of one op. Every op needs at least one: interpret_coverage_test.cpp collects them all.
struct Case {
  ir::OpKind kind;
  std::string what;
  std::function<void()> run;
};
std::vector<Case> elementwise_cases();
std::vector<Case> conversion_cases();
std::vector<Case> tile_cases();
std::vector<Case> axis_cases();
std::vector<Case> memory_cases();
std::vector<Case> control_cases();

}  // namespace tessera::test
