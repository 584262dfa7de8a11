// Products of warpgroups of hand-made operands: an image of shared memory, the kernel that multiplies it, and what comes out by indices.
#pragma once

#include <gtest/gtest.h>

#include <cstring>

#include "dsl/dtype.h"
#include "kernel_builder.h"

namespace tessera::simt_test {

inline constexpr SimtPolicy kPolicies[] = {SimtPolicy::Random, SimtPolicy::Lazy, SimtPolicy::Eager};
inline constexpr std::int64_t kPanel = 128, kSwizzle = std::int64_t{1} << 30;

struct Form {
  Primitive primitive;
  DType a, b;
  std::int64_t bytes;  ///< of an element
};
inline constexpr Form kF16{Primitive::WgmmaF16, DType::F16, DType::F16, 2}, kBf16{Primitive::WgmmaBf16, DType::BF16, DType::BF16, 2},
    kTf32{Primitive::WgmmaTf32, DType::F32, DType::F32, 4}, kE4m3E4m3{Primitive::WgmmaE4m3E4m3, DType::E4M3, DType::E4M3, 1},
    kE4m3E5m2{Primitive::WgmmaE4m3E5m2, DType::E4M3, DType::E5M2, 1}, kE5m2E4m3{Primitive::WgmmaE5m2E4m3, DType::E5M2, DType::E4M3, 1},
    kE5m2E5m2{Primitive::WgmmaE5m2E5m2, DType::E5M2, DType::E5M2, 1};

inline std::uint32_t code(DType t, double v) { return static_cast<std::uint32_t>(encode_float(t, v)); }

/// An operand in shared memory: `rows` of m or n by k, in panels of [row][128 bytes]; `outer`: the panels' rows are k.
struct Operand {
  std::int64_t rows, k, bytes;
  bool outer;

  std::int64_t panel_bytes() const { return (outer ? k : rows) * kPanel; }
  std::int64_t size() const { return ((outer ? rows : k) * bytes + kPanel - 1) / kPanel * panel_bytes(); }
  /// Where element (row, k) starts: chunk c of the panel's row r stands at c ^ (r mod 8).
  std::int64_t place(std::int64_t row, std::int64_t at) const {
    const std::int64_t r = outer ? at : row, byte = (outer ? row : at) * bytes, inside = byte % kPanel;
    return byte / kPanel * panel_bytes() + r * kPanel + ((inside / 16) ^ (r % 8)) * 16 + inside % 16;
  }
  std::int64_t step() const { return outer ? 16 * kPanel / 16 : 2; }
  std::int64_t panel_step() const { return outer ? 4 * step() : panel_bytes() / 16; }
  std::int64_t high() const { return 8 * kPanel / 16 | kSwizzle; }
  V low(KernelBuilder& k, V address) const {
    return k.b.CreateOr(k.b.CreateLShr(k.b.CreateAnd(address, k.i(0x3ffff)), k.i(4)), k.i((outer ? panel_bytes() / 16 : 1) << 16));
  }
};

/// Copies `bytes` from frame word 0 to the start of shared memory, by 16 bytes a thread at a time.
inline void fill(KernelBuilder& k, std::int64_t bytes, int threads, bool asynchronous = false) {
  auto* wide = llvm::FixedVectorType::get(k.b.getInt32Ty(), 4);
  for (std::int64_t from = 0; from < bytes; from += 16 * threads) {
    V offset = k.add(k.mul(k.tid(), 16), from);
    if (asynchronous) {
      k.call(Primitive::CpAsync16, {k.add(k.base, offset), k.global(0, offset), k.i(16)});
    } else {
      k.store(k.load(wide, k.global(0, offset)), k.shared(k.add(k.base, offset)));
    }
  }
  if (!asynchronous) return;
  k.call(Primitive::CpAsyncCommit);
  k.call(Primitive::CpAsyncWait, {k.i(0)});
}

struct Product {
  Form form;
  std::int64_t n, steps;
  bool a_registers = false, a_outer = false, b_outer = false, accumulate = false;
  int groups = 1;  ///< warpgroups, each with the same product

  std::int64_t k() const { return steps * 32 / form.bytes; }
  Operand a() const { return {64, k(), form.bytes, a_outer}; }
  Operand b() const { return {n, k(), form.bytes, b_outer}; }
  std::int64_t a_bytes() const { return a_registers ? 0 : a().size(); }
  /// A multiple of what one round of `fill` takes.
  std::int64_t image() const { return (a_bytes() + b().size() + 4095) / 4096 * 4096; }
};

inline double a_value(std::int64_t m, std::int64_t k) { return static_cast<double>((m * 7 + k * 5 + m * k) % 9 - 4); }
inline double b_value(std::int64_t n, std::int64_t k) { return static_cast<double>((n * 3 + k * 11 + n * k) % 7 - 3); }
inline double c_value(std::int64_t m, std::int64_t n) { return static_cast<double>((m * 13 + n * 17) % 101 - 50); }

inline std::vector<std::uint8_t> image_of(const Product& p) {
  std::vector<std::uint8_t> image(static_cast<std::size_t>(p.image()));
  const auto put = [&](const Operand& o, std::int64_t base, DType t, auto value) {
    for (std::int64_t row = 0; row < o.rows; ++row) {
      for (std::int64_t k = 0; k < o.k; ++k) {
        const std::uint32_t bits = code(t, value(row, k));
        std::memcpy(&image[static_cast<std::size_t>(base + o.place(row, k))], &bits, static_cast<std::size_t>(o.bytes));
      }
    }
  };
  if (!p.a_registers) put(p.a(), 0, p.form.a, a_value);
  put(p.b(), p.a_bytes(), p.form.b, b_value);
  return image;
}

/// One product of the image's operands.
inline Vs multiply(KernelBuilder& k, const Product& p, const Vs& sums, const Vs& a = {}, V a_low = nullptr, V b_low = nullptr, V done = nullptr) {
  if (!a_low) a_low = p.a_registers ? k.i(0) : p.a().low(k, k.base);
  if (!b_low) b_low = p.b().low(k, k.add(k.base, p.a_bytes()));
  Vs registers = sums;
  registers.insert(registers.end(), a.begin(), a.end());
  return k.call(p.form.primitive,
                {a_low, b_low, k.i(p.steps), k.i(sums.empty() ? 0 : 1), k.i(p.a().high()), k.i(p.b().high()), k.i(p.a_outer), k.i(p.b_outer),
                 k.i(p.a().step()), k.i(p.a().panel_step()), k.i(p.b().step()), k.i(p.b().panel_step()), done ? done : k.i(1)},
                registers, static_cast<int>(p.n / 2), k.b.getFloatTy());
}
inline Vs wait(KernelBuilder& k, std::int64_t allowed, const Vs& registers) {
  return k.call(Primitive::WgmmaWait, {k.i(allowed)}, registers, static_cast<int>(registers.size()), k.b.getFloatTy());
}
/// Registers of a thread to frame word `word`, and back.
inline void put(KernelBuilder& k, int word, const Vs& registers) {
  const auto n = static_cast<std::int64_t>(registers.size());
  for (std::int64_t r = 0; r < n; ++r) k.store(registers[static_cast<std::size_t>(r)], k.global(word, k.add(k.mul(k.tid(), 4 * n), 4 * r)));
}
inline Vs get(KernelBuilder& k, int word, llvm::Type* t, std::int64_t n) {
  Vs out;
  for (std::int64_t r = 0; r < n; ++r) out.push_back(k.load(t, k.global(word, k.add(k.mul(k.tid(), 4 * n), 4 * r))));
  return out;
}
/// Row and column of register r of a thread's accumulators.
inline std::int64_t row_of(std::int64_t thread, std::int64_t r) { return thread / 32 % 4 * 16 + thread % 32 / 4 + 8 * (r / 2 % 2); }
inline std::int64_t column_of(std::int64_t thread, std::int64_t r) { return r / 4 * 8 + thread % 4 * 2 + r % 2; }

inline void expect_product(const std::vector<float>& out, const Product& p, double times, bool with_sums) {
  const std::int64_t n = p.n / 2;
  int wrong = 0;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(out.size()) && wrong < 5; ++i) {
    const std::int64_t row = row_of(i / n, i % n), column = column_of(i / n, i % n);
    double want = with_sums ? c_value(row, column) : 0;
    for (std::int64_t k = 0; k < p.k(); ++k) want += times * a_value(row, k) * b_value(column, k);
    const auto got = static_cast<double>(out[static_cast<std::size_t>(i)]);
    if (got == want) continue;
    ++wrong;
    ADD_FAILURE() << "row " << row << ", column " << column << ": " << got << " for " << want;
  }
}
inline std::vector<float> sums_of(const Product& p) {
  std::vector<float> out(static_cast<std::size_t>(64 * p.n * p.groups));
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(out.size()); ++i) {
    out[static_cast<std::size_t>(i)] = static_cast<float>(c_value(row_of(i / (p.n / 2), i % (p.n / 2)), column_of(i / (p.n / 2), i % (p.n / 2))));
  }
  return out;
}

}  // namespace tessera::simt_test
