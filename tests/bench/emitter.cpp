// The blocked product of codegen/cpu by itself, tile by tile as a grid would run it: what language and lowering can reach at best.
#include <fmt/format.h>

#include <type_traits>

#include "codegen/cpu/gemm.h"
#include "tests/bench/cells.h"
#include "tests/bench/measure.h"
#include "tests/cpu/emit_jit.h"

namespace tessera::bench {

namespace {

using namespace tessera::cpu;

constexpr std::int64_t kSize = 1024;
/// a, b, c, scratch, whether B's panel is still packed.
using Entry = void (*)(const void*, const void*, float*, void*, bool);

Entry compile_product(test::Jit& jit, const test::JitTarget& target, DType type, std::int64_t tile) {
  return reinterpret_cast<Entry>(jit.compile(target, "product", [&](Emitter& e) {
    auto* f = test::begin_function(e, "product", {e.ptr(), e.ptr(), e.ptr(), e.ptr(), e.b.getInt1Ty()});
    f->addParamAttr(4, llvm::Attribute::ZExt);
    for (unsigned i = 0; i < 4; ++i) f->addParamAttr(i, llvm::Attribute::NoAlias);
    Gemm g;
    g.product = product_for(type, type, target.vectors);
    g.a = {strided_source(e, type, f->getArg(0), e.idx(kSize), e.idx(tile), e.idx(kSize)), true};
    g.b = {strided_source(e, type, f->getArg(1), e.idx(kSize), e.idx(kSize), e.idx(tile)), false};
    g.k = e.idx(kSize), g.m = tile, g.n = tile, g.c = f->getArg(2), g.c_row = e.idx(kSize);
    g.b_packed = f->getArg(4);
    emit_gemm(e, g, f->getArg(3));
    e.b.CreateRetVoid();
  }));
}

template <class T>
Cell cell(const Setting& s, std::int64_t tile) {
  const DType type = std::is_same_v<T, float> ? DType::F32 : DType::BF16;
  const std::string key = fmt::format("emitter_{}_{}", tessera::name(type), tile);
  const std::string title = fmt::format("emitted product 1024^3 {}, tiles of {}, of peak", tessera::name(type), tile);
  return guarded(key, title, [&]() -> Cell {
    const double peak = std::is_same_v<T, float> ? s.peak.f32 : s.peak.bf16;
    if (peak == 0) return skipped(key, title, "this processor multiplies no bf16 pairs");
    test::Jit jit;
    const test::JitTarget target = test::runnable_targets()[0];
    const Entry f = compile_product(jit, target, type, tile);
    const auto a = allocate<T>(kSize * kSize), b = allocate<T>(kSize * kSize);
    const auto c = allocate<float>(kSize * kSize);
    for (std::size_t i = 0; i < kSize * kSize; ++i) a[i] = T(sample(i)), b[i] = T(sample(i + 99'999'989));
    const auto scratch = allocate_bytes(static_cast<std::size_t>(gemm_scratch_bytes(product_for(type, type, target.vectors), tile, tile)));
    const auto run = [&] {
      for (std::int64_t j = 0; j < kSize; j += tile)
        for (std::int64_t i = 0; i < kSize; i += tile) f(a.get() + i * kSize, b.get() + j, c.get() + i * kSize + j, scratch.get(), i > 0);
    };
    const auto times = time_in_turns({run}, s.rounds);
    for (std::size_t q = 0; q < 64; ++q) {
      const std::size_t i = q * 67 % kSize, j = q * 131 % kSize;
      double sum = 0;
      for (std::size_t k = 0; k < kSize; ++k) sum += static_cast<double>(a[i * kSize + k]) * static_cast<double>(b[k * kSize + j]);
      expect_near(static_cast<double>(c[i * kSize + j]), sum, 1e-3, fmt::format("c[{}, {}]", i, j));
    }
    const double flops = 2.0 * kSize * kSize * kSize;
    return measured(key, title, gflops(flops, times[0].best), fmt::format("peak {}", gflops(peak, 1)), flops / times[0].best / peak);
  });
}

}  // namespace

std::vector<Cell> emitter_cells(const Setting& s) { return {cell<float>(s, 128), cell<float>(s, 256), cell<bf16>(s, 128), cell<bf16>(s, 256)}; }

}  // namespace tessera::bench
