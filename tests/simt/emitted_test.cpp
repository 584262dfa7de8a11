// Code that the generator makes of Tile IR, simulated.
#include <gtest/gtest.h>

#include <cmath>

#include "codegen/gpu/compile.h"
#include "codegen/simt/simulate.h"
#include "dsl/text.h"
#include "tests/ir/launch.h"

namespace tessera::test {
namespace {

TEST(Emitted, ProductsInTf32RoundTheirOperands) {
  const std::string text = R"(kernel k(
  %0.a: view f32[32, 24],
  %1.b: view f32[40, 24],
  %2.c: out view f32[32, 40]
)
{
  %3 = const {value = 0} : idx
  %4 = const {value = 32} : idx
  %5 = const {value = 40} : idx
  %6 = const {value = 24} : idx
  %7 = range %3, %3, %4 {size = 32, full} : range<32>
  %8 = range %3, %3, %5 {size = 40, full} : range<40>
  %9 = range %3, %3, %6 {size = 24, full} : range<24>
  %10 = load %0.a, %7, %9 : f32[32, 24]
  %11 = load %1.b, %8, %9 : f32[40, 24]
  %12 = permute %11 {perm = [1, 0]} : f32[24, 40]
  %13 = dot %10, %12 {prec = tf32} : f32[32, 40]
  store %2.c, %13, %7, %8
  yield
}
)";
  SourceMap sources;
  Diagnostics problems;
  const auto kernel = ir::parse_kernel(sources, sources.add("k.ir", text), problems);
  ASSERT_TRUE(kernel);
  GpuIr code = emit_gpu(*kernel, {80}, {}, problems);
  ASSERT_TRUE(code.module);
  ASSERT_NE(code.plan.notes.at(0).find("mma_m16n8k8_f32_tf32"), std::string::npos) << code.plan.notes.at(0);

  Buffer a = Buffer(DType::F32, {32, 24}).fill_random(1), b = Buffer(DType::F32, {40, 24}).fill_random(2), c = Buffer(DType::F32, {32, 40}).fill(NAN);
  a.set(3 * 24 + 5, INFINITY);
  a.set(4 * 24 + 5, NAN);
  std::vector<SimtTensor> tensors;
  for (Buffer* x : {&a, &b, &c}) tensors.push_back({"", x->bytes.data(), static_cast<std::size_t>(x->size()) * 4, x == &c, x != &c});
  const SimtMemory memory(tensors);
  std::vector<std::uint64_t> frame = Launch(*kernel).view("a", a).view("b", b).view("c", c).frame();
  const FrameLayout layout = frame_layout(*kernel);
  for (std::size_t p = 0; p < 3; ++p) frame[layout.params[p].base] = memory.address(p);
  const SimtResult result = SimtKernel(std::move(code)).run(frame, {}, 1, memory);
  memory.copy_back();
  for (const Hazard& h : result.hazards) ADD_FAILURE() << name(h.kind) << ": " << h.text;
  for (int i = 0; i < 32; ++i) {
    for (int j = 0; j < 40; ++j) {
      double want = 0, size = 0;
      for (int k = 0; k < 24; ++k) {
        want += a.get(i * 24 + k) * b.get(j * 24 + k);
        size += std::fabs(a.get(i * 24 + k) * b.get(j * 24 + k));
      }
      const double got = c.get(i * 40 + j);
      if (i == 3 || i == 4) {
        EXPECT_FALSE(std::isfinite(got)) << i << ", " << j;
      } else {
        EXPECT_NEAR(got, want, size * 0x1p-10) << i << ", " << j;  // two operands of 11 bits each
      }
    }
  }
}

}  // namespace
}  // namespace tessera::test
