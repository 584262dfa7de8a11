// Each primitive of a warp against a definition by indices.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "dsl/dtype.h"
#include "kernel_builder.h"

namespace tessera::simt_test {
namespace {

struct MmaForm {
  Primitive primitive;
  DType a, b;
  std::size_t k;
};
class SimtMma : public testing::TestWithParam<MmaForm> {};

int width(DType t) { return t == DType::F32 ? 32 : bits(t); }
std::uint32_t code(DType t, int v) { return static_cast<std::uint32_t>(is_float(t) ? encode_float(t, v) : encode_int(t, v)); }

// Fragments as PTX ISA 9.0 draws them, from plain matrices: the test packs by coordinates, the simulator unpacks by registers.
TEST_P(SimtMma, IsTheProductOfItsFragments) {
  const MmaForm form = GetParam();
  const bool integral = !is_float(form.a);
  const bool is_unsigned = form.a == DType::U8;
  const std::size_t k = form.k, e = 32 / static_cast<std::size_t>(width(form.a)), na = k / e / 2, nb = na / 2;
  std::vector<int> a(16 * k), b(k * 8), c(128);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<int>(i * 7 % 9) - (is_unsigned ? 0 : 4);
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<int>(i * 5 % 7) - (is_unsigned ? 0 : 3);
  for (std::size_t i = 0; i < c.size(); ++i) c[i] = static_cast<int>(i) * 3 - 100;
  std::vector<std::uint32_t> in(32 * 16), out(32 * 4);
  for (std::size_t lane = 0; lane < 32; ++lane) {
    const std::size_t g = lane / 4, q = lane % 4;
    std::uint32_t* r = &in[lane * 16];
    for (std::size_t i = 0; i < 4; ++i) {
      const int v = c[(g + i / 2 * 8) * 8 + q * 2 + i % 2];
      r[i] = integral ? static_cast<std::uint32_t>(v) : std::bit_cast<std::uint32_t>(static_cast<float>(v));
    }
    const auto at = [&](std::size_t row, std::size_t column) { return code(form.a, a[row * k + column]); };
    const auto bt = [&](std::size_t row, std::size_t column) { return code(form.b, b[row * 8 + column]); };
    for (std::size_t x = 0; x < e; ++x) {
      const std::size_t shift = x * static_cast<std::size_t>(width(form.a));
      r[4] |= at(g, e * q + x) << shift;
      r[5] |= at(g + 8, e * q + x) << shift;
      if (na == 4) {
        r[6] |= at(g, k / 2 + e * q + x) << shift;
        r[7] |= at(g + 8, k / 2 + e * q + x) << shift;
      }
      r[4 + na] |= bt(e * q + x, g) << shift;
      if (nb == 2) r[5 + na] |= bt(k / 2 + e * q + x, g) << shift;
    }
  }
  KernelBuilder kb(32, 0, 2);
  Vs registers;
  V lane = kb.tid();
  for (std::size_t i = 0; i < 4 + na + nb; ++i) {
    llvm::Type* t = i < 4 && !integral ? kb.b.getFloatTy() : static_cast<llvm::Type*>(kb.b.getInt32Ty());
    registers.push_back(kb.load(t, kb.global(0, kb.add(kb.mul(lane, 64), static_cast<std::int64_t>(4 * i)))));
  }
  llvm::Type* result = integral ? static_cast<llvm::Type*>(kb.b.getInt32Ty()) : kb.b.getFloatTy();
  const Vs d = kb.call(form.primitive, {}, registers, 4, result);
  for (std::size_t i = 0; i < 4; ++i) kb.store(d[i], kb.global(1, kb.add(kb.mul(lane, 16), static_cast<std::int64_t>(4 * i))));
  const SimtResult r = run(kb.finish(), {tensor("in", in, false), tensor("out", out)});
  EXPECT_TRUE(r.clean()) << hazards(r);
  for (std::size_t lane_id = 0; lane_id < 32; ++lane_id) {
    for (std::size_t i = 0; i < 4; ++i) {
      const std::size_t row = lane_id / 4 + i / 2 * 8, column = lane_id % 4 * 2 + i % 2;
      int expected = c[row * 8 + column];
      for (std::size_t x = 0; x < k; ++x) expected += a[row * k + x] * b[x * 8 + column];
      const std::uint32_t bits = out[lane_id * 4 + i];
      EXPECT_EQ(integral ? static_cast<int>(bits) : static_cast<int>(std::bit_cast<float>(bits)), expected) << row << "," << column;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, SimtMma,
    testing::Values(MmaForm{Primitive::MmaF16K8, DType::F16, DType::F16, 8}, MmaForm{Primitive::MmaF16K16, DType::F16, DType::F16, 16},
                    MmaForm{Primitive::MmaBf16K8, DType::BF16, DType::BF16, 8}, MmaForm{Primitive::MmaBf16K16, DType::BF16, DType::BF16, 16},
                    MmaForm{Primitive::MmaTf32K8, DType::F32, DType::F32, 8}, MmaForm{Primitive::MmaE4m3E4m3K32, DType::E4M3, DType::E4M3, 32},
                    MmaForm{Primitive::MmaE4m3E5m2K32, DType::E4M3, DType::E5M2, 32},
                    MmaForm{Primitive::MmaE5m2E4m3K32, DType::E5M2, DType::E4M3, 32},
                    MmaForm{Primitive::MmaE5m2E5m2K32, DType::E5M2, DType::E5M2, 32}, MmaForm{Primitive::MmaS8S8K16, DType::I8, DType::I8, 16},
                    MmaForm{Primitive::MmaS8S8K32, DType::I8, DType::I8, 32}, MmaForm{Primitive::MmaU8U8K32, DType::U8, DType::U8, 32}));

TEST(SimtMmaTf32, UnroundedOperandsAreReported) {
  KernelBuilder k(32, 0, 1);
  Vs registers(4, k.f(0));
  for (int i = 0; i < 6; ++i) registers.push_back(k.i(0x3f800001));
  k.call(Primitive::MmaTf32K8, {}, registers, 4, k.b.getFloatTy());
  std::vector<int> none(1);
  EXPECT_TRUE(has(run(k.finish(), {tensor("none", none)}), HazardKind::BadOperand));
}

struct MatrixForm {
  Primitive primitive;
  int matrices;
  bool transposed;
};
class SimtLdmatrix : public testing::TestWithParam<MatrixForm> {};

// Shared memory holds the 16-bit numbers 0, 1, 2 ..; matrix m has its rows at elements m * 64 + 8 r.
TEST_P(SimtLdmatrix, DealsElementsToLanes) {
  const MatrixForm form = GetParam();
  KernelBuilder k(32, 512, 1);
  V tid = k.tid();
  for (int j = 0; j < 4; ++j) {
    V n = k.add(tid, 32 * j);
    k.store(k.b.CreateOr(k.mul(n, 2), k.b.CreateShl(k.add(k.mul(n, 2), 1), k.i(16))), k.shared(k.add(k.base, k.mul(n, 4))));
  }
  k.call(Primitive::WarpSync);
  // Lanes beyond the matrices give addresses that nobody uses.
  V address = k.add(k.base, k.mul(k.mod(tid, 8 * form.matrices), 16));
  const Vs r = k.call(form.primitive, {address}, {}, form.matrices, k.b.getInt32Ty());
  for (int m = 0; m < form.matrices; ++m) k.store(r[static_cast<std::size_t>(m)], k.global(0, k.add(k.mul(tid, 16), 4 * m)));
  std::vector<std::uint16_t> out(32 * 8);
  const SimtResult result = run(k.finish(), {tensor("out", out)});
  EXPECT_TRUE(result.clean()) << hazards(result);
  for (int lane = 0; lane < 32; ++lane) {
    for (int m = 0; m < form.matrices; ++m) {
      for (int e = 0; e < 2; ++e) {
        const int major = lane / 4, minor = lane % 4 * 2 + e;
        EXPECT_EQ(out[static_cast<std::size_t>(lane * 8 + m * 2 + e)], m * 64 + (form.transposed ? minor * 8 + major : major * 8 + minor));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, SimtLdmatrix,
                         testing::Values(MatrixForm{Primitive::LdmatrixX1, 1, false}, MatrixForm{Primitive::LdmatrixX2, 2, false},
                                         MatrixForm{Primitive::LdmatrixX4, 4, false}, MatrixForm{Primitive::LdmatrixX1Trans, 1, true},
                                         MatrixForm{Primitive::LdmatrixX2Trans, 2, true}, MatrixForm{Primitive::LdmatrixX4Trans, 4, true}));

TEST(SimtStmatrix, IsTheInverseOfLdmatrix) {
  for (const bool transposed : {false, true}) {
    for (const bool synchronised : {true, false}) {
      KernelBuilder k(32, 512, 1);
      V tid = k.tid(), address = k.add(k.base, k.mul(tid, 16));
      Vs registers;
      for (int m = 0; m < 4; ++m) registers.push_back(k.add(k.mul(tid, 4), m));
      k.call(transposed ? Primitive::StmatrixX4Trans : Primitive::StmatrixX4, {address}, registers, 0, k.b.getInt32Ty());
      if (synchronised) k.call(Primitive::WarpSync);
      // Rows that another lane stored.
      V other = k.add(k.base, k.mul(k.b.CreateXor(tid, k.i(8)), 16));
      const Vs r = k.call(transposed ? Primitive::LdmatrixX4Trans : Primitive::LdmatrixX4, {other}, {}, 4, k.b.getInt32Ty());
      for (int m = 0; m < 4; ++m) k.store(r[static_cast<std::size_t>(m ^ 1)], k.global(0, k.add(k.mul(tid, 16), 4 * m)));
      std::vector<std::uint32_t> out(128);
      const SimtResult result = run(k.finish(), {tensor("out", out)});
      EXPECT_EQ(result.clean(), synchronised) << hazards(result);
      EXPECT_EQ(has(result, HazardKind::Race), !synchronised);
      for (std::uint32_t i = 0; i < 128; ++i) EXPECT_EQ(out[i], i);
    }
  }
}

TEST(SimtLdmatrix, MisalignedRowsAreReported) {
  KernelBuilder k(32, 1024, 1);
  k.call(Primitive::LdmatrixX1, {k.add(k.base, 8)}, {}, 1, k.b.getInt32Ty());
  std::vector<int> none(1);
  EXPECT_TRUE(has(run(k.finish(), {tensor("none", none)}), HazardKind::Misaligned));
}

TEST(SimtShuffles, TakeFromTheLanesTheyName) {
  KernelBuilder k(32, 0, 1);
  V tid = k.tid(), value = k.add(k.mul(tid, 10), 1);
  const Vs r{k.call(Primitive::ShflBfly, {value, k.i(5)}), k.call(Primitive::ShflIdx, {value, k.b.CreateSub(k.i(31), tid)}),
             k.call(Primitive::ShflUp, {value, k.i(4)})};
  for (int j = 0; j < 3; ++j) k.store(r[static_cast<std::size_t>(j)], k.global(0, k.add(k.mul(tid, 12), 4 * j)));
  std::vector<int> out(96);
  EXPECT_TRUE(run(k.finish(), {tensor("out", out)}).clean());
  for (int l = 0; l < 32; ++l) {
    EXPECT_EQ(out[static_cast<std::size_t>(3 * l)], (l ^ 5) * 10 + 1);
    EXPECT_EQ(out[static_cast<std::size_t>(3 * l + 1)], (31 - l) * 10 + 1);
    EXPECT_EQ(out[static_cast<std::size_t>(3 * l + 2)], (l < 4 ? l : l - 4) * 10 + 1);
  }
}

/// One f32 -> 32-bit function of each element.
std::vector<std::uint32_t> bits_of(const std::vector<float>& in, V (*f)(KernelBuilder&, V)) {
  std::vector<float> x = in;
  x.resize(32);
  std::vector<std::uint32_t> out(32);
  KernelBuilder k(32, 0, 2);
  V v = k.load(k.b.getFloatTy(), k.global(0, k.mul(k.tid(), 4)));
  k.store(k.b.CreateBitCast(f(k, v), k.b.getInt32Ty()), k.global(1, k.mul(k.tid(), 4)));
  const SimtResult r = run(k.finish(), {tensor("in", x, false), tensor("out", out)});
  EXPECT_TRUE(r.clean()) << hazards(r);
  return out;
}

TEST(SimtArithmetic, MathFollowsTheInstructions) {
  const auto as_float = [](std::uint32_t u) { return std::bit_cast<float>(u); };
  const std::vector<float> x{0.5f, 3.f, 1e-40f, -INFINITY, 200.f, 4.f};
  const auto ex2 = bits_of(x, [](KernelBuilder& k, V v) { return k.call(Primitive::Ex2, {v}); });
  EXPECT_EQ(as_float(ex2[0]), std::sqrt(2.0f));
  EXPECT_EQ(as_float(ex2[1]), 8.f);
  EXPECT_EQ(as_float(ex2[3]), 0.f);
  EXPECT_TRUE(std::isinf(as_float(ex2[4])));
  const auto lg2 = bits_of(x, [](KernelBuilder& k, V v) { return k.call(Primitive::Lg2, {v}); });
  EXPECT_EQ(as_float(lg2[0]), -1.f);
  EXPECT_TRUE(std::isnan(as_float(lg2[3])));
  const auto rcp = bits_of(x, [](KernelBuilder& k, V v) { return k.call(Primitive::Rcp, {v}); });
  EXPECT_EQ(as_float(rcp[5]), 0.25f);
  EXPECT_TRUE(std::isinf(as_float(rcp[2])));  // subnormals count as zero
  const auto rsqrt = bits_of(x, [](KernelBuilder& k, V v) { return k.call(Primitive::Rsqrt, {v}); });
  EXPECT_EQ(as_float(rsqrt[5]), 0.5f);
  const auto tanh = bits_of(x, [](KernelBuilder& k, V v) { return k.call(Primitive::TanhApprox, {v}); });
  EXPECT_EQ(as_float(tanh[4]), 1.f);
}

TEST(SimtArithmetic, PacksLowHalfFirstAndRoundsToEven) {
  const std::vector<float> x{1.f, 1.00390625f, 1.01171875f, 70000.f, 1e9f, -3.f, 0.1f, 1e-41f};
  const auto bf = bits_of(x, [](KernelBuilder& k, V v) { return k.call(Primitive::PackBf16x2, {v, k.f(2)}); });
  const auto f16 = bits_of(x, [](KernelBuilder& k, V v) { return k.call(Primitive::PackF16x2, {v, k.f(2)}); });
  const auto e4 = bits_of(x, [](KernelBuilder& k, V v) { return k.call(Primitive::PackE4m3x2, {v, k.f(2)}); });
  const auto e5 = bits_of(x, [](KernelBuilder& k, V v) { return k.call(Primitive::PackE5m2x2, {v, k.f(2)}); });
  for (std::size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(bf[i], encode_float(DType::BF16, x[i]) | encode_float(DType::BF16, 2) << 16) << x[i];
    EXPECT_EQ(f16[i], encode_float(DType::F16, x[i]) | encode_float(DType::F16, 2) << 16) << x[i];
    EXPECT_EQ(e4[i], encode_float(DType::E4M3, round_to_float(DType::E4M3, x[i], true)) | encode_float(DType::E4M3, 2) << 8) << x[i];
    EXPECT_EQ(e5[i], encode_float(DType::E5M2, round_to_float(DType::E5M2, x[i], true)) | encode_float(DType::E5M2, 2) << 8) << x[i];
  }
}

TEST(SimtArithmetic, PacksFourCodesTheFirstLowest) {
  const auto codes = [](DType t, double most) { return encode_float(t, 1) | encode_float(t, -2) << 8 | encode_float(t, most) << 16; };
  const auto e4 = bits_of({}, [](KernelBuilder& k, V) { return k.call(Primitive::PackE4m3x4, {k.f(1), k.f(-2), k.f(1e9f), k.f(0)}); });
  EXPECT_EQ(e4[0], codes(DType::E4M3, 448));
  const auto e5 = bits_of({}, [](KernelBuilder& k, V) { return k.call(Primitive::PackE5m2x4, {k.f(1), k.f(-2), k.f(1e9f), k.f(0)}); });
  EXPECT_EQ(e5[0], codes(DType::E5M2, 57344));
}

TEST(SimtArithmetic, PicksBytesOfTwoWords) {
  const auto even = bits_of({}, [](KernelBuilder& k, V) { return k.call(Primitive::PickBytes, {k.i(0x33221100), k.i(0x77665544), k.i(0x6420)}); });
  EXPECT_EQ(even[0], 0x66442200U);
  const auto odd = bits_of({}, [](KernelBuilder& k, V) { return k.call(Primitive::PickBytes, {k.i(0x33221100), k.i(0x77665544), k.i(0x7531)}); });
  EXPECT_EQ(odd[0], 0x77553311U);
}

TEST(SimtArithmetic, UnpacksFp8Exactly) {
  const auto e4 = bits_of({}, [](KernelBuilder& k, V) { return k.call(Primitive::UnpackE4m3x2, {k.i(0x7e38)}); });
  EXPECT_EQ(e4[0], encode_float(DType::F16, 1) | encode_float(DType::F16, 448) << 16);
  const auto e5 = bits_of({}, [](KernelBuilder& k, V) { return k.call(Primitive::UnpackE5m2x2, {k.i(0x7bbc)}); });
  EXPECT_EQ(e5[0], encode_float(DType::F16, -1) | encode_float(DType::F16, 57344) << 16);
}

TEST(SimtArithmetic, HalfConversionsOfLlvmRoundToEvenAndKeepSubnormals) {
  const std::vector<float> x{1.00390625f, 1e-40f, 6e-8f, 70000.f, -0.1f};
  const auto bf = bits_of(x, [](KernelBuilder& k, V v) {
    return k.b.CreateZExt(k.b.CreateBitCast(k.b.CreateFPTrunc(v, k.b.getBFloatTy()), k.b.getInt16Ty()), k.b.getInt32Ty());
  });
  const auto f16 = bits_of(x, [](KernelBuilder& k, V v) {
    return k.b.CreateZExt(k.b.CreateBitCast(k.b.CreateFPTrunc(v, k.b.getHalfTy()), k.b.getInt16Ty()), k.b.getInt32Ty());
  });
  for (std::size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(bf[i], encode_float(DType::BF16, x[i])) << x[i];
    EXPECT_EQ(f16[i], encode_float(DType::F16, x[i])) << x[i];
  }
}

// Threads 0-31 hand data to 32-63 through a named barrier that they do not wait for.
TEST(SimtBarriers, ArrivalsHandOver) {
  for (const bool arrive : {true, false}) {
    KernelBuilder k(64, 128, 1);
    V tid = k.tid(), slot = k.shared(k.add(k.base, k.mul(k.mod(tid, 32), 4)));
    k.when(k.b.CreateICmpULT(tid, k.i(32)), [&] {
      k.store(k.add(tid, 7), slot);
      if (arrive) k.call(Primitive::BarArrive, {k.i(1), k.i(64)});
    });
    k.when(k.b.CreateICmpUGE(tid, k.i(32)), [&] {
      k.call(Primitive::BarSync, {k.i(1), k.i(64)});
      k.store(k.load(k.b.getInt32Ty(), slot), k.global(0, k.mul(k.mod(tid, 32), 4)));
    });
    std::vector<int> out(32);
    const SimtResult r = run(k.finish(), {tensor("out", out)});
    if (arrive) {
      EXPECT_TRUE(r.clean()) << hazards(r);
      EXPECT_EQ(out[31], 38);
    } else {
      EXPECT_TRUE(has(r, HazardKind::Deadlock)) << hazards(r);
    }
  }
}

// 512 threads begin with 128 registers each; the last warpgroup gives some away, the others take them.
SimtResult registers_moved(std::int64_t down, std::int64_t up) {
  KernelBuilder k(512, 0, 1);
  V last = k.b.CreateICmpUGE(k.tid(), k.i(384));
  k.when(last, [&] { k.call(Primitive::RegistersDown, {k.i(down)}); });
  k.when(k.b.CreateNot(last), [&] { k.call(Primitive::RegistersUp, {k.i(up)}); });
  std::vector<int> out(1);
  return run(k.finish(), {tensor("out", out)});
}

TEST(SimtRegisters, WhatOneWarpgroupGivesOthersTake) {
  const SimtResult r = registers_moved(32, 160);
  EXPECT_TRUE(r.clean()) << hazards(r);
}

TEST(SimtRegisters, MoreThanThereAreIsWaitedForForEver) {
  const SimtResult r = registers_moved(40, 160);
  EXPECT_TRUE(has(r, HazardKind::Deadlock)) << hazards(r);
  EXPECT_THAT(hazards(r), testing::HasSubstr("too few registers are free"));
}

TEST(SimtRegisters, CountsMustFit) {
  for (const auto& [down, up] : {std::pair{16, 128}, {36, 128}, {136, 128}, {32, 120}, {32, 264}}) {
    const SimtResult r = registers_moved(down, up);
    EXPECT_TRUE(has(r, HazardKind::BadOperand)) << down << " " << up << "\n" << hazards(r);
  }
}

TEST(SimtCopies, ShortCopiesFillWithZeros) {
  KernelBuilder k(32, 32 * 16, 2);
  V tid = k.tid(), to = k.add(k.base, k.mul(tid, 16));
  k.call(Primitive::CpAsync16, {to, k.global(0, k.mul(tid, 16)), k.mod(k.mul(tid, 2), 17)});
  k.call(Primitive::CpAsyncCommit);
  k.call(Primitive::CpAsyncWait, {k.i(0)});
  for (int j = 0; j < 4; ++j) k.store(k.load(k.b.getInt32Ty(), k.shared(k.add(to, 4 * j))), k.global(1, k.add(k.mul(tid, 16), 4 * j)));
  std::vector<std::uint8_t> in(512, 9), out(512);
  const SimtResult r = run(k.finish(), {tensor("in", in, false), tensor("out", out)});
  EXPECT_TRUE(r.clean()) << hazards(r);
  for (std::size_t i = 0; i < 512; ++i) EXPECT_EQ(out[i], i % 16 < i / 16 * 2 % 17 ? 9 : 0) << i;
}

}  // namespace
}  // namespace tessera::simt_test
