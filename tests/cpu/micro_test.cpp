// Products against plain loops, for every operand form, both strides of A, rows that the block does not divide, and all ways to treat C.
#include "codegen/cpu/micro.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>

#include "codegen/cpu/pack.h"
#include "tests/cpu/emit_jit.h"

namespace tessera::cpu {
namespace {

using test::Jit;
using test::JitTarget;

/// 64-byte aligned storage.
template <typename T>
class Buffer {
 public:
  explicit Buffer(std::size_t n, T value = T{}) : storage_(n + 64 / sizeof(T), value), size_(n) {}
  T* data() {
    auto address = reinterpret_cast<std::uintptr_t>(storage_.data());
    return reinterpret_cast<T*>((address + 63) / 64 * 64);
  }
  T& operator[](std::size_t i) { return data()[i]; }
  std::size_t size() const { return size_; }

 private:
  std::vector<T> storage_;
  std::size_t size_;
};

/// Small integers: every form computes with them exactly, so results are compared for equality.
int value_at(std::size_t i) { return static_cast<int>(i * 2654435761u >> 7) % 9 - 4; }

struct Form {
  Product product;
  const char* name;
};

std::vector<Form> forms(const VectorTarget& t) {
  std::vector<Form> f = {{Product::F32, "f32"}, {Product::F64, "f64"}, {Product::I16Pair, "i16x2"}, {Product::I32, "i32"}};
  if (t.avx512_bf16) f.push_back({Product::BF16Pair, "bf16x2"});
  return f;
}

/// One unit holding the values of `k` and, for pairs, k + 1.
std::uint64_t unit_bits(Product p, int first, int second) {
  switch (p) {
    case Product::F32: return std::bit_cast<std::uint32_t>(static_cast<float>(first));
    case Product::F64: return std::bit_cast<std::uint64_t>(static_cast<double>(first));
    case Product::I32: return static_cast<std::uint32_t>(first);
    case Product::I16Pair: return static_cast<std::uint16_t>(first) | static_cast<std::uint32_t>(static_cast<std::uint16_t>(second)) << 16;
    case Product::BF16Pair:
      return (std::bit_cast<std::uint32_t>(static_cast<float>(first)) >> 16) |
             (std::bit_cast<std::uint32_t>(static_cast<float>(second)) & 0xffff0000u);
  }
  return 0;
}

void put(Buffer<unsigned char>& b, Product p, std::size_t index, std::uint64_t bits) {
  std::memcpy(b.data() + index * static_cast<std::size_t>(unit_bytes(p)), &bits, static_cast<std::size_t>(unit_bytes(p)));
}

double result_at(Buffer<unsigned char>& b, Product p, std::size_t i) {
  if (p == Product::F64) return reinterpret_cast<double*>(b.data())[i];
  if (p == Product::F32 || p == Product::BF16Pair) return reinterpret_cast<float*>(b.data())[i];
  return reinterpret_cast<std::int32_t*>(b.data())[i];
}

void put_result(Buffer<unsigned char>& b, Product p, std::size_t i, double x) {
  if (p == Product::F64)
    reinterpret_cast<double*>(b.data())[i] = x;
  else if (p == Product::F32 || p == Product::BF16Pair)
    reinterpret_cast<float*>(b.data())[i] = static_cast<float>(x);
  else
    reinterpret_cast<std::int32_t*>(b.data())[i] = static_cast<std::int32_t>(x);
}

void check(const JitTarget& target, Form form, RegisterBlock block, Accumulate accumulate, std::int64_t rows, bool dynamic_rows, bool k_contiguous,
           int units) {
  const Product p = form.product;
  const int per_unit = unit_k(p), lanes = block.vectors * kLanes;
  const std::int64_t a_row = k_contiguous ? units + 3 : 1, a_k = k_contiguous ? 1 : rows + 2, b_k = lanes + 16, c_row = lanes + 16;
  using Fn = void (*)(void*, void*, void*, void*, std::int64_t, std::int64_t);
  Jit jit;
  auto* f = reinterpret_cast<Fn>(jit.compile(target, "run", [&](Emitter& e) {
    auto* fn = test::begin_function(e, "run", {e.ptr(), e.ptr(), e.ptr(), e.ptr(), e.i64(), e.i64()});
    ProductOperands o{fn->getArg(0), e.idx(a_row), e.idx(a_k), fn->getArg(1), e.idx(b_k), fn->getArg(5)};
    if (dynamic_rows)
      call_product(e, p, block, accumulate, o, fn->getArg(4), fn->getArg(2), e.idx(c_row), fn->getArg(3));
    else
      call_product(e, p, block, accumulate, o, rows, fn->getArg(2), e.idx(c_row), fn->getArg(3));
    e.b.CreateRetVoid();
  }));
  const std::size_t bytes = static_cast<std::size_t>(unit_bytes(p));
  Buffer<unsigned char> a(static_cast<std::size_t>((rows + 3) * (units + 3)) * bytes), b(static_cast<std::size_t>(units * b_k) * bytes);
  Buffer<unsigned char> c(static_cast<std::size_t>((rows + 1) * c_row) * bytes), scale(static_cast<std::size_t>(lanes) * bytes);
  auto a_value = [&](std::int64_t r, std::int64_t k) { return value_at(static_cast<std::size_t>(r * 131 + k)); };
  auto b_value = [&](std::int64_t k, std::int64_t j) { return value_at(static_cast<std::size_t>(k * 257 + j + 77)); };
  for (std::int64_t k = 0; k < units; ++k) {
    for (std::int64_t r = 0; r < rows; ++r)
      put(a, p, static_cast<std::size_t>(r * a_row + k * a_k), unit_bits(p, a_value(r, k * per_unit), a_value(r, k * per_unit + 1)));
    for (std::int64_t j = 0; j < lanes; ++j)
      put(b, p, static_cast<std::size_t>(k * b_k + j), unit_bits(p, b_value(k * per_unit, j), b_value(k * per_unit + 1, j)));
  }
  auto old = [&](std::int64_t r, std::int64_t j) { return static_cast<double>((r * 7 + j) % 5 - 2); };
  for (std::int64_t r = 0; r <= rows; ++r)
    for (std::int64_t j = 0; j < c_row; ++j) put_result(c, p, static_cast<std::size_t>(r * c_row + j), old(r, j));
  for (std::int64_t j = 0; j < lanes; ++j) put_result(scale, p, static_cast<std::size_t>(j), static_cast<double>(j % 3));
  f(a.data(), b.data(), c.data(), scale.data(), rows, units);
  for (std::int64_t r = 0; r <= rows; ++r)
    for (std::int64_t j = 0; j < c_row; ++j) {
      double want = old(r, j);
      if (r < rows && j < lanes) {
        double sum = 0;
        for (std::int64_t k = 0; k < units * per_unit; ++k) sum += a_value(r, k) * b_value(k, j);
        want = accumulate == Accumulate::Overwrite ? sum : accumulate == Accumulate::Add ? want + sum : want * static_cast<double>(j % 3) + sum;
      }
      ASSERT_EQ(result_at(c, p, static_cast<std::size_t>(r * c_row + j)), want)
          << target.name << " " << form.name << " rows " << rows << " of " << block.rows << "x" << block.vectors << " at " << r << ", " << j;
    }
}

TEST(Micro, EveryFormAndWayToAccumulate) {
  for (const JitTarget& target : test::runnable_targets())
    for (Form form : forms(target.vectors))
      for (Accumulate accumulate : {Accumulate::Overwrite, Accumulate::Add, Accumulate::ScaleAdd})
        check(target, form, register_block(form.product, target.vectors), accumulate, 11, false, true, 19);
}

TEST(Micro, AnyNumberOfRowsAndStrides) {
  for (const JitTarget& target : test::runnable_targets())
    for (Form form : forms(target.vectors))
      for (std::int64_t rows : {0, 1, 2, 3, 4, 5, 6, 7, 13})
        for (bool k_contiguous : {true, false})
          check(target, form, register_block(form.product, target.vectors), Accumulate::Add, rows, true, k_contiguous, 5);
}

TEST(Micro, OtherBlocks) {
  for (const JitTarget& target : test::runnable_targets())
    for (RegisterBlock block : {RegisterBlock{1, 1}, RegisterBlock{7, 1}, RegisterBlock{6, 4}, RegisterBlock{3, 3}})
      check(target, {Product::F32, "f32"}, block, Accumulate::Overwrite, 15, true, true, 1);
}

TEST(Micro, EpilogueGetsBlocksFromRegistersAndCarries) {
  for (const JitTarget& target : test::runnable_targets()) {
    const RegisterBlock block = register_block(Product::F32, target.vectors);
    const int lanes = block.vectors * kLanes, rows = 10, units = 6;
    Jit jit;
    using Fn = void (*)(float*, float*, float*);
    // The largest sum of every lane, carried over the row loop; the sums themselves go nowhere.
    auto* f = reinterpret_cast<Fn>(jit.compile(target, "run", [&](Emitter& e) {
      auto* fn = test::begin_function(e, "run", {e.ptr(), e.ptr(), e.ptr()});
      ProductOperands o{fn->getArg(0), e.idx(units), e.idx(1), fn->getArg(1), e.idx(lanes), e.idx(units)};
      Values largest(static_cast<std::size_t>(block.vectors), e.real(e.vec(e.f32()), -INFINITY));
      largest = emit_product(e, Product::F32, block, o, rows, largest, [&](llvm::Value*, int count, auto sums, auto carried) {
        Values next(carried.begin(), carried.end());
        for (int r = 0; r < count; ++r)
          for (int v = 0; v < block.vectors; ++v) {
            auto& m = next[static_cast<std::size_t>(v)];
            m = e.fmax(m, sums[static_cast<std::size_t>(r * block.vectors + v)]);
          }
        return next;
      });
      for (int v = 0; v < block.vectors; ++v) e.store(largest[static_cast<std::size_t>(v)], e.at(e.f32(), fn->getArg(2), e.idx(v * kLanes)), 64);
      e.b.CreateRetVoid();
    }));
    Buffer<float> a(rows * units), b(static_cast<std::size_t>(units * lanes)), got(static_cast<std::size_t>(lanes));
    for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(value_at(i));
    for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(value_at(i + 1000));
    f(a.data(), b.data(), got.data());
    for (int j = 0; j < lanes; ++j) {
      float want = -INFINITY;
      for (int r = 0; r < rows; ++r) {
        float sum = 0;
        for (int k = 0; k < units; ++k) sum += a[static_cast<std::size_t>(r * units + k)] * b[static_cast<std::size_t>(k * lanes + j)];
        want = std::max(want, sum);
      }
      EXPECT_EQ(got[static_cast<std::size_t>(j)], want) << target.name << " lane " << j;
    }
  }
}

TEST(Micro, FunctionsAreShared) {
  llvm::LLVMContext context;
  llvm::Module module("m", context);
  Emitter e(module, VectorTarget::host());
  const RegisterBlock block = register_block(Product::F32, e.target);
  auto* f = product_function(e, Product::F32, block, Accumulate::Add, 0, 64);
  EXPECT_EQ(product_function(e, Product::F32, block, Accumulate::Add, 0, 64), f);
  EXPECT_NE(product_function(e, Product::F32, block, Accumulate::Overwrite, 0, 64), f);
  EXPECT_NE(product_function(e, Product::F64, block, Accumulate::Add, 0, 64), f);
  EXPECT_TRUE(f->hasInternalLinkage());
  EXPECT_TRUE(f->hasFnAttribute(llvm::Attribute::NoInline));
}

TEST(Micro, FormsFollowTypesAndTarget) {
  VectorTarget with, without;
  with.avx512_bf16 = true;
  EXPECT_EQ(product_for(DType::F32, DType::F32, with), Product::F32);
  EXPECT_EQ(product_for(DType::BF16, DType::BF16, with), Product::BF16Pair);
  EXPECT_EQ(product_for(DType::BF16, DType::BF16, without), Product::F32);
  EXPECT_EQ(product_for(DType::E4M3, DType::E5M2, with), Product::BF16Pair);
  EXPECT_EQ(product_for(DType::F16, DType::F16, with), Product::F32);
  EXPECT_EQ(product_for(DType::F64, DType::F64, with), Product::F64);
  EXPECT_EQ(product_for(DType::I8, DType::U8, without), Product::I16Pair);
  EXPECT_EQ(product_for(DType::U16, DType::U16, without), Product::I32);  // does not fit signed halves
  EXPECT_EQ(product_for(DType::I32, DType::I32, without), Product::I32);
}

}  // namespace
}  // namespace tessera::cpu
