// Packing: exact conversions of every bit pattern, transposes, rows that do not exist, and memory that must not be touched.
#include "codegen/cpu/pack.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>

#include "tests/cpu/emit_jit.h"

namespace tessera::cpu {
namespace {

using test::Jit;
using test::JitTarget;

/// y[i] = f(x[i]) over blocks of 16 elements.
template <typename From, typename To>
std::vector<To> map16(const JitTarget& target, const std::vector<From>& x, const std::function<llvm::Value*(Emitter&, llvm::Value*)>& f,
                      llvm::Type* (*from)(Emitter&), llvm::Type* (*to)(Emitter&)) {
  Jit jit;
  void* p = jit.compile(target, "map", [&](Emitter& e) {
    auto* fn = test::begin_function(e, "map", {e.ptr(), e.ptr(), e.i64()});
    e.loop(e.idx(0), fn->getArg(2), e.idx(16), false, [&](llvm::Value* i) {
      e.store(f(e, e.load(e.vec(from(e)), e.at(from(e), fn->getArg(0), i), sizeof(From))), e.at(to(e), fn->getArg(1), i), sizeof(To));
    });
    e.b.CreateRetVoid();
  });
  std::vector<To> y(x.size());
  reinterpret_cast<void (*)(const From*, To*, std::int64_t)>(p)(x.data(), y.data(), static_cast<std::int64_t>(x.size()));
  return y;
}

llvm::Type* i8(Emitter& e) { return e.b.getInt8Ty(); }
llvm::Type* i16(Emitter& e) { return e.b.getInt16Ty(); }
llvm::Type* f32(Emitter& e) { return e.f32(); }

void expect_same(float got, double want, const std::string& what) {
  if (std::isnan(want))
    EXPECT_TRUE(std::isnan(got)) << what;
  else
    EXPECT_EQ(got, want) << what;
}

TEST(Pack, SmallFloatsWidenExactly) {
  for (const JitTarget& target : test::runnable_targets()) {
    std::vector<std::uint8_t> bytes(256);
    for (int i = 0; i < 256; ++i) bytes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(i);
    for (DType t : {DType::E4M3, DType::E5M2}) {
      const auto y = map16<std::uint8_t, float>(target, bytes, [t](Emitter& e, llvm::Value* x) { return emit_fp8_to_f32(e, t, x); }, i8, f32);
      for (std::size_t i = 0; i < 256; ++i) expect_same(y[i], decode_float(t, i), target.name + " " + name(t) + " " + std::to_string(i));
    }
    std::vector<std::uint16_t> halves(65536);
    for (std::size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<std::uint16_t>(i);
    const auto y = map16<std::uint16_t, float>(target, halves, emit_bf16_to_f32, i16, f32);
    const auto z = map16<std::uint16_t, float>(
        target, halves, [](Emitter& e, llvm::Value* x) { return emit_widen(e, DType::F16, e.b.CreateBitCast(x, e.vec(e.b.getHalfTy())), e.f32()); },
        i16, f32);
    for (std::size_t i = 0; i < halves.size(); ++i) {
      expect_same(y[i], decode_float(DType::BF16, i), target.name + " bf16 " + std::to_string(i));
      expect_same(z[i], decode_float(DType::F16, i), target.name + " f16 " + std::to_string(i));
    }
  }
}

TEST(Pack, FloatsRoundToBf16LikeTheInterpreter) {
  std::vector<float> x = {0.f,
                          -0.f,
                          INFINITY,
                          -INFINITY,
                          NAN,
                          std::bit_cast<float>(0x7f800001u),
                          std::bit_cast<float>(0xffffffffu),
                          3.4028235e38f,
                          1.f,
                          1.00390625f,
                          1.01171875f,
                          -1.00390625f,
                          1.0039063f,
                          65504.f,
                          3.3895314e38f,
                          3.3961775e38f};
  std::mt19937 random(3);
  while (x.size() < 16000) {
    const float v = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    // vcvtneps2bf16 reads subnormals as zero.
    if (!(std::fabs(v) < 1.18e-38f)) x.push_back(v);
  }
  for (const JitTarget& target : test::runnable_targets()) {
    const auto y = map16<float, std::uint16_t>(target, x, emit_f32_to_bf16, f32, i16);
    for (std::size_t i = 0; i < x.size(); ++i)
      expect_same(static_cast<float>(decode_float(DType::BF16, y[i])), round_to_float(DType::BF16, x[i]), target.name + " " + std::to_string(x[i]));
  }
}

TEST(Pack, Transpose) {
  for (const JitTarget& target : test::runnable_targets()) {
    Jit jit;
    void* p = jit.compile(target, "run", [&](Emitter& e) {
      auto* fn = test::begin_function(e, "run", {e.ptr(), e.ptr()});
      call_transpose16(e, fn->getArg(1), e.idx(18), fn->getArg(0), e.idx(21));
      e.b.CreateRetVoid();
    });
    std::vector<std::uint32_t> in(16 * 21), out(16 * 18, 0);
    for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<std::uint32_t>(i);
    reinterpret_cast<void (*)(const std::uint32_t*, std::uint32_t*)>(p)(in.data(), out.data());
    for (std::size_t r = 0; r < 16; ++r)
      for (std::size_t c = 0; c < 16; ++c) EXPECT_EQ(out[c * 18 + r], in[r * 21 + c]) << target.name;
  }
}

/// Memory whose last byte is the last one of a page: reading beyond it ends the process.
class Guarded {
 public:
  explicit Guarded(std::size_t bytes) {
    const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    size_ = (bytes + page - 1) / page * page;
    base_ = static_cast<char*>(mmap(nullptr, size_ + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base_ + size_, page, PROT_NONE);
    total_ = size_ + page;
    start_ = base_ + size_ - bytes;
  }
  ~Guarded() { munmap(base_, total_); }
  Guarded(const Guarded&) = delete;
  char* data() const { return start_; }

 private:
  char *base_ = nullptr, *start_ = nullptr;
  std::size_t size_ = 0, total_ = 0;
};

enum class Form { Panel, PanelTransposed, Rows };

/// Packs a source of `slow` x `fast` bf16 or f32 values at the end of a page into something larger; checks values and zeros.
void check(const JitTarget& target, Form form, DType dtype, std::int64_t slow, std::int64_t fast, std::int64_t k_units, int across,
           bool missing_rows) {
  const Product p = product_for(dtype, dtype, target.vectors);
  const std::int64_t stride = fast, dst_row = form == Form::Rows ? (k_units + 15) / 16 * 16 + 16 : across;
  Jit jit;
  void* f = jit.compile(target, "run", [&](Emitter& e) {
    auto* fn = test::begin_function(e, "run", {e.ptr(), e.ptr(), e.i64(), e.i64(), e.i64()});
    PackSource s = strided_source(e, dtype, fn->getArg(0), e.idx(stride), fn->getArg(2), fn->getArg(3));
    if (missing_rows) s.row_exists = [&e](llvm::Value* i) { return e.b.CreateICmpNE(e.b.CreateURem(i, e.idx(3)), e.idx(1)); };
    if (form == Form::Panel) emit_pack_panel(e, p, s, fn->getArg(4), across, fn->getArg(1));
    if (form == Form::PanelTransposed) emit_pack_panel_transposed(e, p, s, fn->getArg(4), across, fn->getArg(1));
    if (form == Form::Rows) emit_pack_rows(e, p, s, e.idx(across), fn->getArg(4), fn->getArg(1), e.idx(dst_row));
    e.b.CreateRetVoid();
  });
  const std::size_t bytes = static_cast<std::size_t>(bits(dtype) / 8);
  Guarded source(static_cast<std::size_t>(slow * fast) * bytes);
  auto value = [](std::int64_t i, std::int64_t j) { return static_cast<float>(i * 3 + j % 5 + 1); };
  for (std::int64_t i = 0; i < slow; ++i)
    for (std::int64_t j = 0; j < fast; ++j) {
      const std::uint64_t raw = encode_float(dtype, value(i, j));
      std::memcpy(source.data() + static_cast<std::size_t>(i * stride + j) * bytes, &raw, bytes);
    }
  const std::int64_t room = form == Form::Rows ? across * dst_row : (k_units + 16) * across;
  std::unique_ptr<std::uint32_t, decltype(&std::free)> dst(
      static_cast<std::uint32_t*>(std::aligned_alloc(64, static_cast<std::size_t>(room + 16) * 4)), &std::free);
  std::memset(dst.get(), 0x55, static_cast<std::size_t>(room) * 4);
  reinterpret_cast<void (*)(const void*, void*, std::int64_t, std::int64_t, std::int64_t)>(f)(source.data(), dst.get(), slow, fast, k_units);
  const bool k_is_slow = form == Form::Panel;
  for (std::int64_t k = 0; k < k_units * unit_k(p); ++k)
    for (std::int64_t l = 0; l < across; ++l) {
      const std::int64_t i = k_is_slow ? k : l, j = k_is_slow ? l : k;
      const float want = i < slow && j < fast && !(missing_rows && i % 3 == 1) ? static_cast<float>(round_to_float(dtype, value(i, j))) : 0;
      const std::int64_t unit = k / unit_k(p);
      std::uint32_t raw = dst.get()[form == Form::Rows ? l * dst_row + unit : unit * dst_row + l];
      if (unit_k(p) == 2) raw = k % 2 ? raw & 0xffff0000u : raw << 16;
      ASSERT_EQ(std::bit_cast<float>(raw), want) << target.name << " " << name(dtype) << " k " << k << " lane " << l << " of " << slow << " x "
                                                 << fast;
    }
}

TEST(Pack, ZeroFilledAndInBounds) {
  for (const JitTarget& target : test::runnable_targets())
    for (DType t : {DType::F32, DType::BF16, DType::F16})
      for (bool missing : {false, true}) {
        for (auto [slow, fast, k_units] :
             {std::tuple{16, 64, 16}, std::tuple{13, 61, 20}, std::tuple{7, 1, 9}, std::tuple{1, 50, 4}, std::tuple{33, 40, 16}})
          check(target, Form::Panel, t, slow, fast, k_units, 64, missing);
        for (auto [slow, fast, k_units] :
             {std::tuple{32, 32, 16}, std::tuple{29, 37, 20}, std::tuple{1, 1, 1}, std::tuple{17, 96, 48}, std::tuple{40, 15, 7}}) {
          check(target, Form::PanelTransposed, t, slow, fast, k_units, 32, missing);
          check(target, Form::Rows, t, slow, fast, k_units, 37, missing);
        }
      }
}

TEST(Pack, EmptySourcesAreZeros) {
  for (const JitTarget& target : test::runnable_targets())
    for (Form form : {Form::Panel, Form::PanelTransposed, Form::Rows}) {
      check(target, form, DType::F32, 0, 5, 3, 16, false);
      check(target, form, DType::BF16, 5, 0, 3, 16, false);
      check(target, form, DType::F32, 5, 5, 0, 16, false);
    }
}

TEST(Pack, StridedElements) {
  for (const JitTarget& target : test::runnable_targets()) {
    Jit jit;
    void* f = jit.compile(target, "run", [&](Emitter& e) {
      auto* fn = test::begin_function(e, "run", {e.ptr(), e.ptr()});
      PackSource s = strided_source(e, DType::F32, fn->getArg(0), e.idx(70), e.idx(4), e.idx(23));
      s.fast_stride = e.idx(3);
      emit_pack_panel(e, Product::F32, s, e.idx(5), 32, fn->getArg(1));
      e.b.CreateRetVoid();
    });
    std::vector<float> in(4 * 70);
    for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>(i + 1);
    alignas(64) float out[5 * 32];
    reinterpret_cast<void (*)(const float*, float*)>(f)(in.data(), out);
    for (std::size_t k = 0; k < 5; ++k)
      for (std::size_t l = 0; l < 32; ++l) EXPECT_EQ(out[k * 32 + l], k < 4 && l < 23 ? in[k * 70 + l * 3] : 0) << target.name;
  }
}

}  // namespace
}  // namespace tessera::cpu
