// Test support: runs a kernel before and after passes on the same random data, and counts what is left in it.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "codegen/passes/rewrite.h"
#include "dsl/interpret.h"
#include "dsl/ir.h"
#include "dsl/text.h"
#include "dsl/verify.h"
#include "tests/ir/launch.h"

namespace tessera::test {

using Symbols = std::map<std::string, std::int64_t>;
using Scalars = std::map<std::string, double>;

inline std::unique_ptr<ir::Kernel> parse_ir(const std::string& text) {
  SourceMap sources;
  Diagnostics ds;
  auto kernel = ir::parse_kernel(sources, sources.add("test.ir", text), ds);
  EXPECT_TRUE(kernel) << render(ds, sources);
  if (kernel) {
    EXPECT_TRUE(ir::verify(*kernel).empty()) << ir::verify(*kernel).front() << "\n" << text;
  }
  return kernel;
}

/// The contents of all written views after one launch on data that depends only on parameter names and extents.
inline std::map<std::string, Buffer> run(const ir::Kernel& kernel, const Symbols& symbols, const Scalars& scalars = {}) {
  std::map<std::string, Buffer> buffers;
  Launch launch(kernel);
  for (const auto& [name, v] : symbols) launch.symbol(name, v);
  unsigned seed = 1;
  for (const ir::Param& p : kernel.params) {
    ++seed;
    if (!p.is_view) {
      auto it = scalars.find(p.name);
      launch.scalar(p.name, it == scalars.end() ? 0.5 : it->second);
      continue;
    }
    if (!p.present) continue;
    ir::Dims dims;
    for (const Sym& d : p.dims) dims.push_back(d.eval([&](const std::string& s) { return std::optional(symbols.at(s)); }).value());
    Buffer b(p.dtype, dims);
    if (is_float(p.dtype)) {
      b.fill_random(seed);
    } else {
      b.fill_integers(seed, 3);
    }
    buffers[p.name] = std::move(b);
    launch.view(p.name, buffers[p.name]);
  }
  interpret(kernel, launch.frame());
  std::map<std::string, Buffer> out;
  for (const ir::Param& p : kernel.params)
    if (p.is_view && p.present && p.mode != ir::Mode::In) out[p.name] = std::move(buffers[p.name]);
  return out;
}

/// Equal values; NaN equals NaN and -0 equals 0. `tolerance` is relative to the larger of 1 and the value.
inline void expect_same(const std::map<std::string, Buffer>& a, const std::map<std::string, Buffer>& b, double tolerance = 0) {
  for (const auto& [name, x] : a) {
    const Buffer& y = b.at(name);
    for (std::int64_t k = 0; k < x.size(); ++k) {
      const double u = x.get(k), v = y.get(k);
      if (std::isnan(u) && std::isnan(v)) continue;
      if (u == v) continue;
      ASSERT_LE(std::fabs(u - v), tolerance * std::max(1.0, std::fabs(u))) << name << "[" << k << "]: " << u << " became " << v;
    }
  }
}

inline int count(const ir::Block& block, ir::OpKind kind) {
  int n = 0;
  ir::walk(block, [&](const ir::Op& op) { n += op.kind == kind; });
  return n;
}

/// Loops at the top level of a block, in order.
inline std::vector<const ir::Op*> loops(const ir::Block& block) {
  std::vector<const ir::Op*> out;
  for (const auto& op : block.ops)
    if (op->kind == ir::OpKind::For) out.push_back(op.get());
  return out;
}

inline void expect_sound(const ir::Kernel& kernel) {
  auto errors = ir::verify(kernel);
  ASSERT_TRUE(errors.empty()) << errors.front() << "\n" << ir::print(kernel);
}

}  // namespace tessera::test
