// Bulk copies: boxes against a definition by indices.
#include <gtest/gtest.h>

#include "boxes.h"

namespace tessera::simt_test {
namespace {

class SimtBoxes : public testing::TestWithParam<Boxes> {};

TEST_P(SimtBoxes, LandSwizzledAndAreZeroOutsideOfTheTensor) {
  const Boxes& x = GetParam();
  const std::int64_t barrier = (x.shared_bytes() + 7) / 8 * 8;
  KernelBuilder k(32, barrier + 8, 2 + 2 * static_cast<int>(x.extents.size()), {x.map(2)});
  V first = k.b.CreateICmpEQ(k.tid(), k.i(0)), at = k.add(k.base, barrier);
  k.call(Primitive::MbarInit, {at, k.i(1), first});
  k.call(Primitive::FenceMbarInit);
  k.barrier();
  k.call(Primitive::MbarExpect, {at, k.i(x.box_bytes() * static_cast<std::int64_t>(x.at.size())), first});
  for (std::size_t n = 0; n < x.at.size(); ++n) {
    Vs args = {k.add(k.base, x.offset + static_cast<std::int64_t>(n) * x.box_bytes()), at, k.map(0), first};
    for (const std::int64_t c : x.at[n]) args.push_back(k.i(c));
    k.call(x.load(), args);
  }
  k.call(Primitive::MbarWait, {at, k.i(0)});
  for (std::int64_t from = 0; from < x.shared_bytes() - x.offset; from += 128) {
    V place = k.add(k.mul(k.tid(), 4), x.offset + from);
    k.store(k.load(k.b.getInt32Ty(), k.shared(k.add(k.base, place))), k.global(1, place));
  }
  const SimtKernel kernel(k.finish());

  std::vector<std::uint8_t> source(static_cast<std::size_t>(x.elements() * x.cell()));
  for (std::size_t i = 0; i < source.size(); ++i) source[i] = static_cast<std::uint8_t>(1 + i * 37 % 251);
  for (const SimtPolicy policy : kPolicies) {
    std::vector<std::uint8_t> out(static_cast<std::size_t>(x.shared_bytes()), 0xee);
    const SimtResult r = run(kernel, {tensor("source", source, false), tensor("out", out)}, 1, {.policy = policy}, x.frame());
    ASSERT_TRUE(r.clean()) << hazards(r);
    for (std::size_t n = 0; n < x.at.size(); ++n) {
      x.each_element(x.at[n], [&](std::int64_t i, std::int64_t element) {
        // 16-byte chunk c of the 128 bytes at address 128 r stands at c ^ (r mod 8).
        const std::int64_t byte = x.offset + static_cast<std::int64_t>(n) * x.box_bytes() + i * x.cell(), row = byte / kRow;
        const std::int64_t chunk = (byte % kRow / 16) ^ (row % 8), place = row * kRow + chunk * 16 + byte % 16;
        for (std::int64_t b = 0; b < x.cell(); ++b) {
          const std::uint8_t want = element >= 0 ? source[static_cast<std::size_t>(element * x.cell() + b)] : 0;
          ASSERT_EQ(out[static_cast<std::size_t>(place + b)], want) << name(policy) << ", box " << n << ", element " << i;
        }
      });
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, SimtBoxes,
    testing::Values(Boxes{DType::BF16, {64, 16}, {64, 16}, {{0, 0}}},
                    // beyond the end of either axis, before the start, wholly outside
                    Boxes{DType::F16, {72, 20}, {64, 12}, {{0, 0}, {64, 0}, {8, 12}, {64, 19}, {-5, -3}, {-64, 0}, {72, 0}, {0, 20}, {0, -100}}},
                    Boxes{DType::F16, {72, 20}, {64, 12}, {{3, 1}, {40, 15}}, 384},  // begins within a pattern of eight rows
                    Boxes{DType::E4M3, {160, 9}, {128, 8}, {{0, 0}, {48, 3}, {-1, -1}}},
                    Boxes{DType::F32, {36, 9}, {32, 8}, {{0, 0}, {8, 3}, {33, -7}}},
                    Boxes{DType::BF16, {64, 3, 10}, {64, 1, 8}, {{0, 0, 0}, {0, 2, 5}, {0, 3, 0}, {0, -1, 0}}},
                    Boxes{DType::BF16, {64, 7, 10}, {64, 4, 2}, {{0, 0, 0}, {0, 5, 9}, {-8, -1, -1}}},
                    Boxes{DType::F32, {32, 5, 3, 4}, {32, 1, 1, 4}, {{0, 4, 2, 0}, {0, 4, 2, 2}, {0, 1, -1, 0}, {0, 5, 0, 0}}},
                    Boxes{DType::F16, {64, 2, 3, 2, 9}, {64, 1, 1, 1, 8}, {{0, 1, 2, 1, 0}, {0, 0, 1, 0, 4}, {0, 0, 3, 0, 0}}}));

TEST(SimtBoxes, TheEndOfManyOtherCopiesIsNotTheEndOfThisOne) {
  constexpr std::int64_t others = 200;
  const Boxes x{DType::BF16, {64, others + 1}, {64, 1}, std::vector<std::vector<std::int64_t>>(others + 1, {0, 0})};
  const std::int64_t barriers = x.shared_bytes();
  for (const bool waits : {true, false}) {
    KernelBuilder k(32, barriers + 16, 2 + 4, {x.map(2)});
    V first = k.b.CreateICmpEQ(k.tid(), k.i(0)), one = k.add(k.base, barriers), many = k.add(k.base, barriers + 8);
    for (V at : {one, many}) k.call(Primitive::MbarInit, {at, k.i(1), first});
    k.call(Primitive::FenceMbarInit);
    k.barrier();
    const auto copy = [&](std::int64_t n, V at) { k.call(Primitive::TmaLoad2, {k.add(k.base, n * kRow), at, k.map(0), first, k.i(0), k.i(n)}); };
    k.call(Primitive::MbarExpect, {one, k.i(kRow), first});
    copy(0, one);
    k.call(Primitive::MbarExpect, {many, k.i(others * kRow), first});
    for (std::int64_t n = 1; n <= others; ++n) copy(n, many);
    k.call(Primitive::MbarWait, {many, k.i(0)});
    if (waits) k.call(Primitive::MbarWait, {one, k.i(0)});
    V place = k.mul(k.tid(), 4);
    k.store(k.load(k.b.getInt32Ty(), k.shared(k.add(k.base, place))), k.global(1, place));
    const SimtKernel kernel(k.finish());
    std::vector<std::uint8_t> source(static_cast<std::size_t>(x.elements() * x.cell()), 7);
    for (const SimtPolicy policy : kPolicies) {
      std::vector<std::uint8_t> out(kRow, 0xee);
      const SimtResult r = run(kernel, {tensor("source", source, false), tensor("out", out)}, 1, {.policy = policy}, x.frame());
      EXPECT_EQ(r.clean(), waits) << name(policy) << hazards(r);
    }
  }
}

}  // namespace
}  // namespace tessera::simt_test
