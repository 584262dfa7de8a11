#include "codegen/passes/split_masks.h"

#include <gtest/gtest.h>

#include "codegen/passes/fold.h"
#include "codegen/passes/pad_states.h"
#include "tests/passes/kernels.h"
#include "tests/passes/support.h"

namespace tessera::test {
namespace {

/// All passes up to split_masks, after a check that the results stay the same.
std::unique_ptr<Kernel> split(const Kernel& before, const std::vector<Symbols>& shapes, const Scalars& scalars = {}) {
  auto kernel = before.clone();
  ir::fold(*kernel);
  ir::pad_states(*kernel);
  ir::fold(*kernel);
  ir::split_masks(*kernel);
  expect_sound(*kernel);
  for (const Symbols& s : shapes) expect_same(run(before, s, scalars), run(*kernel, s, scalars));
  ir::fold(*kernel);
  expect_sound(*kernel);
  for (const Symbols& s : shapes) expect_same(run(before, s, scalars), run(*kernel, s, scalars));
  return kernel;
}

const std::vector<Symbols> kShapes = {{{"Sq", 1}, {"Sk", 1}},   {{"Sq", 8}, {"Sk", 16}},  {{"Sq", 13}, {"Sk", 21}},
                                      {{"Sq", 21}, {"Sk", 13}}, {{"Sq", 40}, {"Sk", 40}}, {{"Sq", 3}, {"Sk", 70}}};

TEST(SplitMasks, CausalAttention) {
  Attention a;
  a.keep = causal;
  auto k = split(*attention(a), kShapes);
  std::puts(ir::print(*k).c_str());
}

}  // namespace
}  // namespace tessera::test
