#include "codegen/passes/pad_states.h"

#include <gtest/gtest.h>

#include "codegen/passes/fold.h"
#include "tests/passes/kernels.h"
#include "tests/passes/support.h"

namespace tessera::test {
namespace {

/// Folded and padded, after a check that both steps keep the results.
std::unique_ptr<Kernel> padded(const Kernel& before, const std::vector<Symbols>& shapes) {
  auto kernel = before.clone();
  ir::fold(*kernel);
  expect_sound(*kernel);
  for (const Symbols& s : shapes) expect_same(run(before, s), run(*kernel, s));
  ir::pad_states(*kernel);
  expect_sound(*kernel);
  for (const Symbols& s : shapes) expect_same(run(before, s), run(*kernel, s));
  return kernel;
}

const std::vector<Symbols> kShapes = {{{"Sq", 1}, {"Sk", 1}}, {{"Sq", 8}, {"Sk", 16}}, {{"Sq", 13}, {"Sk", 21}}, {{"Sq", 21}, {"Sk", 13}}};

TEST(PadStates, CausalAttentionHasOneSelect) {
  Attention a;
  a.keep = causal;
  auto k = padded(*attention(a), kShapes);
  std::puts(ir::print(*k).c_str());
}

}  // namespace
}  // namespace tessera::test
