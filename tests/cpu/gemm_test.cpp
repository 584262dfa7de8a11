// Blocked products in memory: both orientations of both operands, every element type, partial tiles, k of any length.
#include "codegen/cpu/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "tests/cpu/emit_jit.h"

namespace tessera::cpu {
namespace {

using test::Jit;
using test::JitTarget;

struct Shape {
  std::int64_t m, n, k;  ///< valid extents
  std::int64_t tile_m, tile_n;
};

int value_at(std::int64_t i, std::int64_t j) { return static_cast<int>((i * 31 + j * 17) % 7 - 3); }

/// `rows` x `cols` of small integers as raw memory of `dtype`, NaN-free; `stride` elements between rows and garbage in the gap.
std::vector<unsigned char> matrix(DType dtype, std::int64_t rows, std::int64_t cols, std::int64_t stride, bool transposed) {
  const std::size_t bytes = static_cast<std::size_t>(bits(dtype) / 8);
  std::vector<unsigned char> data(static_cast<std::size_t>(rows * stride + 1) * bytes, 0x7f);
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < cols; ++j) {
      const int x = transposed ? value_at(j, i) : value_at(i, j);
      const std::uint64_t raw = is_float(dtype) ? encode_float(dtype, x) : encode_int(dtype, is_signed(dtype) ? x : x + 3);
      std::memcpy(data.data() + static_cast<std::size_t>(i * stride + j) * bytes, &raw, bytes);
    }
  return data;
}

void check(const JitTarget& target, DType da, DType db, Shape s, bool a_k_fast, bool b_k_fast, bool accumulate) {
  const Product p = product_for(da, db, target.vectors);
  const std::int64_t a_stride = (a_k_fast ? s.k : s.m) + 5, b_stride = (b_k_fast ? s.k : s.n) + 3, c_row = (s.tile_n + 63) / 64 * 64;
  using Fn = void (*)(const void*, const void*, void*, void*, std::int64_t, std::int64_t, std::int64_t);
  Jit jit;
  auto* f = reinterpret_cast<Fn>(jit.compile(target, "run", [&](Emitter& e) {
    auto* fn = test::begin_function(e, "run", {e.ptr(), e.ptr(), e.ptr(), e.ptr(), e.i64(), e.i64(), e.i64()});
    llvm::Value *m = fn->getArg(4), *n = fn->getArg(5), *k = fn->getArg(6);
    Gemm g;
    g.product = p;
    g.a = {strided_source(e, da, fn->getArg(0), e.idx(a_stride), a_k_fast ? m : k, a_k_fast ? k : m), a_k_fast};
    g.b = {strided_source(e, db, fn->getArg(1), e.idx(b_stride), b_k_fast ? n : k, b_k_fast ? k : n), b_k_fast};
    g.k = k;
    g.m = s.tile_m, g.n = s.tile_n;
    g.c = fn->getArg(2), g.c_row = e.idx(c_row);
    g.accumulate = accumulate;
    emit_gemm(e, g, fn->getArg(3));
    e.b.CreateRetVoid();
  }));
  const auto a = a_k_fast ? matrix(da, s.m, s.k, a_stride, false) : matrix(da, s.k, s.m, a_stride, true);
  const auto b = b_k_fast ? matrix(db, s.n, s.k, b_stride, true) : matrix(db, s.k, s.n, b_stride, false);
  const std::size_t bytes = static_cast<std::size_t>(unit_bytes(p));
  auto aligned = [](std::size_t size) {
    return std::unique_ptr<void, decltype(&std::free)>(std::aligned_alloc(64, (size + 63) / 64 * 64), &std::free);
  };
  auto c = aligned(static_cast<std::size_t>(s.tile_m * c_row) * bytes);
  const auto scratch_bytes = static_cast<std::size_t>(gemm_scratch_bytes(p, s.tile_m, s.tile_n));
  auto scratch = aligned(scratch_bytes + 64);
  std::memset(scratch.get(), 0xff, scratch_bytes + 64);
  auto read = [&](std::int64_t i) -> double {
    if (p == Product::F64) return static_cast<double*>(c.get())[i];
    if (p == Product::F32 || p == Product::BF16Pair) return static_cast<double>(static_cast<float*>(c.get())[i]);
    return static_cast<std::int32_t*>(c.get())[i];
  };
  for (std::int64_t i = 0; i < s.tile_m * c_row; ++i) {
    if (p == Product::F64)
      static_cast<double*>(c.get())[i] = 5;
    else if (p == Product::F32 || p == Product::BF16Pair)
      static_cast<float*>(c.get())[i] = 5;
    else
      static_cast<std::int32_t*>(c.get())[i] = 5;
  }
  f(a.data(), b.data(), c.get(), scratch.get(), s.m, s.n, s.k);
  for (std::size_t i = 0; i < 64; ++i) ASSERT_EQ(static_cast<unsigned char*>(scratch.get())[scratch_bytes + i], 0xff) << "scratch overrun";
  const int a_bias = is_float(da) || is_signed(da) ? 0 : 3, b_bias = is_float(db) || is_signed(db) ? 0 : 3;
  for (std::int64_t i = 0; i < s.tile_m; ++i)
    for (std::int64_t j = 0; j < s.tile_n; ++j) {
      double want = accumulate ? 5 : 0;
      if (i < s.m && j < s.n)
        for (std::int64_t k = 0; k < s.k; ++k) want += (value_at(i, k) + a_bias) * (value_at(k, j) + b_bias);
      ASSERT_EQ(read(i * c_row + j), want) << target.name << " " << name(da) << " x " << name(db) << " at " << i << ", " << j;
    }
}

TEST(Gemm, OrientationsAndTypes) {
  const std::vector<std::pair<DType, DType>> types = {{DType::F32, DType::F32}, {DType::BF16, DType::BF16}, {DType::F16, DType::F16},
                                                      {DType::F64, DType::F64}, {DType::E4M3, DType::E5M2}, {DType::F16, DType::E4M3},
                                                      {DType::I8, DType::U8},   {DType::I32, DType::I32},   {DType::U16, DType::U16}};
  for (const JitTarget& target : test::runnable_targets())
    for (auto [a, b] : types)
      for (bool a_k_fast : {true, false})
        for (bool b_k_fast : {true, false}) check(target, a, b, {45, 77, 51, 48, 80}, a_k_fast, b_k_fast, false);
}

TEST(Gemm, ShapesAtEveryEdge) {
  for (const JitTarget& target : test::runnable_targets())
    for (DType t : {DType::F32, DType::BF16})
      for (Shape s : {Shape{64, 128, 32, 64, 128}, Shape{1, 1, 1, 64, 64}, Shape{100, 65, 33, 128, 128}, Shape{128, 16, 7, 128, 16},
                      Shape{5, 40, 2, 5, 40}, Shape{97, 3, 16, 100, 48}, Shape{8, 64, 0, 8, 64}, Shape{0, 64, 8, 8, 64}, Shape{8, 0, 8, 8, 64}}) {
        check(target, t, t, s, true, false, false);
        check(target, t, t, s, false, true, true);
      }
}

TEST(Gemm, LongAndWide) {
  const JitTarget target = test::runnable_targets()[0];
  check(target, DType::F32, DType::F32, {30, 50, 2100, 32, 64}, true, false, false);
  check(target, DType::BF16, DType::BF16, {30, 50, 2101, 32, 64}, true, true, false);
  check(target, DType::F32, DType::F32, {7, 1100, 9, 8, 1120}, true, true, true);
}

/// Calls one product twice in one scratch; the second call says what is packed and gets other data for it, which it must not look at.
TEST(Gemm, PackedOperandsAreKept) {
  for (const JitTarget& target : test::runnable_targets())
    for (auto [k, k_blocks] : {std::pair<std::int64_t, std::int64_t>{700, 1}, {2100, 3}, {2100, 1}}) {
      const std::int64_t m = 100, n = 80;
      using Fn = void (*)(const float*, const float*, float*, void*, bool, bool);
      Jit jit;
      auto* f = reinterpret_cast<Fn>(jit.compile(target, "run", [&, k = k, k_blocks = k_blocks](Emitter& e) {
        auto* fn = test::begin_function(e, "run", {e.ptr(), e.ptr(), e.ptr(), e.ptr(), e.b.getInt1Ty(), e.b.getInt1Ty()});
        fn->addParamAttr(4, llvm::Attribute::ZExt);
        fn->addParamAttr(5, llvm::Attribute::ZExt);
        Gemm g;
        g.a = {strided_source(e, DType::F32, fn->getArg(0), e.idx(k), e.idx(m), e.idx(k)), true};
        g.b = {strided_source(e, DType::F32, fn->getArg(1), e.idx(n), e.idx(k), e.idx(n)), false};
        g.k = e.idx(k), g.m = m, g.n = n, g.c = fn->getArg(2), g.c_row = e.idx(n);
        g.a_packed = fn->getArg(4), g.b_packed = fn->getArg(5), g.k_blocks = k_blocks;
        emit_gemm(e, g, fn->getArg(3));
        e.b.CreateRetVoid();
      }));
      auto floats = [](std::int64_t count) {
        return std::unique_ptr<float, decltype(&std::free)>(
            static_cast<float*>(std::aligned_alloc(64, static_cast<std::size_t>((count + 15) / 16 * 64))), &std::free);
      };
      auto a = floats(m * k), b = floats(k * n), c = floats(m * n), first = floats(m * n),
           scratch = floats(gemm_scratch_bytes(Product::F32, m, n, k_blocks) / 4);
      std::fill_n(a.get(), m * k, 1.f);
      std::fill_n(b.get(), k * n, 2.f);
      const float sum = static_cast<float>(2 * k);
      f(a.get(), b.get(), c.get(), scratch.get(), false, false);
      EXPECT_EQ(c.get()[m * n - 1], sum);
      const bool kept = k <= k_blocks * gemm_block_k(Product::F32);
      std::fill_n(b.get(), k * n, 3.f);
      f(a.get(), b.get(), c.get(), scratch.get(), false, true);
      EXPECT_EQ(c.get()[m * n - 1], kept ? sum : sum * 1.5f);
      std::fill_n(a.get(), m * k, 7.f);
      std::fill_n(b.get(), k * n, 2.f);
      f(a.get(), b.get(), c.get(), scratch.get(), true, false);
      for (std::int64_t i = 0; i < m * n; ++i) ASSERT_EQ(c.get()[i], kept ? sum : sum * 7);
    }
}

}  // namespace
}  // namespace tessera::cpu
