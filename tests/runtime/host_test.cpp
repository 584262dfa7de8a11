// Host-side parts that need no kernel: element types, views, overlap, DLPack, the thread pool.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <random>
#include <set>
#include <thread>

#include "dsl/dtype.h"
#include "runtime/cpu_pool.h"
#include "runtime/overlap.h"
#include "tessera/tessera.h"
#include "tests/runtime/signatures.h"

namespace tessera {
namespace {

using test::code_of;

static_assert(float(bf16(1.0f)) == 1.0f && float(f16(65504.0f)) == 65504.0f && e4m3(448.0f).bits == 0x7e && e5m2(57344.0f).bits == 0x7b);
static_assert(std::is_trivially_copyable_v<bf16> && sizeof(f16) == 2 && sizeof(e4m3) == 1);

template <class T>
void agrees_with_dsl(DType d, int width) {
  for (std::uint32_t raw = 0; raw < (1u << width); ++raw) {
    const float host = T::from_bits(static_cast<decltype(T::bits)>(raw));
    const double dsl = decode_float(d, raw);
    ASSERT_TRUE(std::isnan(dsl) ? std::isnan(host) : (host == dsl && std::signbit(host) == std::signbit(dsl))) << name(d) << " " << raw;
  }
  std::mt19937 random(1);
  for (int i = 0; i < 200000; ++i) {
    // Random bits, and values around the type's own: half way, and just beside it.
    float x = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (i % 2) {
      const double a = decode_float(d, random() % (1u << width)), b = decode_float(d, random() % (1u << width));
      x = static_cast<float>(a / 2 + b / 2);
      if (i % 4 == 3) x = std::nextafter(x, i % 8 == 3 ? 1e30f : -1e30f);
    }
    const std::uint64_t host = T(x).bits, dsl = encode_float(d, x);
    if (std::isnan(x)) continue;
    ASSERT_EQ(host, dsl) << name(d) << " " << x;
    const double sat = round_to_float(d, x, true);
    ASSERT_EQ(static_cast<double>(static_cast<float>(T::saturate(x))), sat) << name(d) << " " << x;
  }
}

TEST(HostTypes, AgreeWithTheCompiler) {
  agrees_with_dsl<f16>(DType::F16, 16);
  agrees_with_dsl<bf16>(DType::BF16, 16);
  agrees_with_dsl<e4m3>(DType::E4M3, 8);
  agrees_with_dsl<e5m2>(DType::E5M2, 8);
  for (std::uint32_t raw = 0; raw < 255; ++raw) EXPECT_EQ(static_cast<float>(e8m0{static_cast<std::uint8_t>(raw)}), decode_float(DType::E8M0, raw));
}

TEST(HostViews, SpansMustBeLongEnough) {
  std::vector<float> v(12);
  const auto make = [&](std::array<std::int64_t, 2> e) { return code_of([&] { View<float, 2>(std::span(v), e); }); };
  EXPECT_EQ(make({3, 4}), "");
  EXPECT_EQ(make({0, 1000}), "");
  EXPECT_EQ(make({3, 5}), "E0704");
  EXPECT_EQ(make({-1, 4}), "E0704");
  EXPECT_EQ(make({INT64_MAX, 4}), "E0704");
  std::vector<std::uint8_t> nibbles(3);
  EXPECT_EQ(code_of([&] { View<i4, 1>(std::span(nibbles), {6}); }), "");
  EXPECT_EQ(code_of([&] { View<i4, 1>(std::span(nibbles), {7}); }), "E0704");
}

TEST(HostViews, TensorsHaveALimitOfAxes) {
  float x = 0;
  EXPECT_EQ(code_of([&] { Tensor(&x, ElementType::F32, std::vector<std::int64_t>(8, 1)); }), "");
  EXPECT_EQ(code_of([&] { Tensor(&x, ElementType::F32, std::vector<std::int64_t>(9, 1)); }), "E0703");
}

/// All element indices of a box, as byte addresses.
std::multiset<std::int64_t> bytes(std::int64_t base, const std::vector<std::int64_t>& e, const std::vector<std::int64_t>& s, int width) {
  std::multiset<std::int64_t> out;
  for (std::int64_t i = 0; i < e[0]; ++i) {
    for (std::int64_t j = 0; j < e[1]; ++j) {
      for (int b = 0; b < width; ++b) out.insert(base + (i * s[0] + j * s[1]) * width + b);
    }
  }
  return out;
}

TEST(Overlap, AgreesWithEnumeration) {
  std::mt19937 random(7);
  const auto draw = [&](std::int64_t lo, std::int64_t hi) {
    return lo + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(hi - lo + 1));
  };
  int disjoint = 0;
  for (int i = 0; i < 20000; ++i) {
    const int wa = 1 << draw(0, 2), wb = 1 << draw(0, 2);
    const std::vector<std::int64_t> ea{draw(1, 4), draw(1, 4)}, eb{draw(1, 4), draw(1, 4)}, sa{draw(0, 12), draw(0, 6)}, sb{draw(0, 12), draw(0, 6)};
    const std::int64_t base_a = 4096, base_b = 4096 + draw(-40, 40);
    const auto a = bytes(base_a, ea, sa, wa), b = bytes(base_b, eb, sb, wb);
    bool common = false;
    for (std::int64_t x : a) common |= b.contains(x);
    const StridedBox box_a{static_cast<std::uintptr_t>(base_a), wa * 8, ea, sa}, box_b{static_cast<std::uintptr_t>(base_b), wb * 8, eb, sb};
    ASSERT_EQ(overlap(box_a, box_b), common);
    ASSERT_EQ(overlap(box_b, box_a), common);
    ASSERT_EQ(overlaps_itself(box_a), std::set<std::int64_t>(a.begin(), a.end()).size() != a.size());
    disjoint += !common;
  }
  EXPECT_GT(disjoint, 1000);
}

TEST(DlPack, RoundTripsAndReleases) {
  std::vector<float> data{1, 2, 3, 4, 5, 6};
  auto owner = std::make_shared<int>(0);
  std::weak_ptr<int> alive = owner;
  Tensor t(View<const float, 2>(data.data(), {2, 3}));
  dlpack::DLManagedTensorVersioned* m = to_dlpack(t, std::move(owner));
  EXPECT_EQ(m->flags, dlpack::flag_read_only);
  {
    const Borrowed b(m);
    EXPECT_EQ(b.tensor().data, data.data());
    EXPECT_EQ(b.tensor().rank, 2);
    EXPECT_EQ(b.tensor().strides[0], 3);
    EXPECT_TRUE(b.tensor().read_only);
    EXPECT_FALSE(alive.expired());
  }
  EXPECT_TRUE(alive.expired());
}

TEST(DlPack, NullStridesAndOffsets) {
  std::vector<std::int64_t> shape{2, 5, 3};
  std::vector<bf16> data(64);
  dlpack::DLTensor d{data.data(), {dlpack::kDLCPU, 0}, 3, {dlpack::kDLBfloat, 16, 1}, shape.data(), nullptr, 4};
  const Tensor t = from_dlpack(d);
  EXPECT_EQ(t.data, data.data() + 2);
  EXPECT_EQ(t.dtype, ElementType::BF16);
  EXPECT_EQ(t.strides[0], 15);
  EXPECT_EQ(t.strides[2], 1);
}

TEST(DlPack, RefusesWhatItCannotHold) {
  std::vector<std::int64_t> shape(9, 1);
  float x = 0;
  const dlpack::DLTensor good{&x, {dlpack::kDLCPU, 0}, 2, {dlpack::kDLFloat, 32, 1}, shape.data(), nullptr, 0};
  const auto code = [&](auto change) {
    dlpack::DLTensor d = good;
    change(d);
    return code_of([&] { from_dlpack(d); });
  };
  EXPECT_EQ(code([](auto&) {}), "");
  EXPECT_EQ(code([](auto& d) { d.device.device_type = 10; }), "E0804");
  EXPECT_EQ(code([](auto& d) { d.ndim = 9; }), "E0703");
  EXPECT_EQ(code([](auto& d) { d.dtype.lanes = 4; }), "E0702");
  EXPECT_EQ(code([](auto& d) { d.dtype.bits = 24; }), "E0702");
  EXPECT_EQ(code([](auto& d) { d.shape = nullptr; }), "E0703");
  shape[1] = -3;
  EXPECT_EQ(code([](auto&) {}), "E0706");
  // A foreign tensor that is refused still goes back to its owner.
  static int released;
  released = 0;
  dlpack::DLManagedTensorVersioned v{{2, 0}, nullptr, [](dlpack::DLManagedTensorVersioned*) { ++released; }, 0, good};
  EXPECT_EQ(code_of([&] { Borrowed b(&v); }), "E0804");
  EXPECT_EQ(released, 1);
}

TEST(CpuPool, RunsEveryInstanceOnce) {
  for (int threads : {1, 2, 5}) {
    detail::CpuPool pool(threads);
    for (std::int64_t count : {0, 1, 2, 7, 1000, 100003}) {
      std::vector<std::atomic<int>> seen(static_cast<std::size_t>(count));
      pool.run(
          count, 64,
          [](void* state, std::int64_t first, std::int64_t n, void* arena) {
            EXPECT_EQ(reinterpret_cast<std::uintptr_t>(arena) % 64, 0u);
            auto& v = *static_cast<std::vector<std::atomic<int>>*>(state);
            for (std::int64_t i = first; i < first + n; ++i) ++v[static_cast<std::size_t>(i)];
          },
          &seen);
      for (const auto& s : seen) ASSERT_EQ(s, 1);
    }
  }
}

TEST(CpuPool, PassesExceptionsOn) {
  detail::CpuPool pool(3);
  for (int repeat = 0; repeat < 100; ++repeat) {
    EXPECT_THROW(pool.run(
                     50, 0,
                     [](void*, std::int64_t first, std::int64_t n, void*) {
                       if (first <= 20 && 20 < first + n) throw std::runtime_error("x");
                     },
                     nullptr),
                 std::runtime_error);
  }
}

TEST(CpuPool, ServesSeveralCallersAtOnce) {
  detail::CpuPool pool(3);
  std::vector<std::thread> callers;
  std::atomic<std::int64_t> total = 0;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        pool.run(37, 128, [](void* state, std::int64_t, std::int64_t n, void*) { *static_cast<std::atomic<std::int64_t>*>(state) += n; }, &total);
      }
    });
  }
  for (std::thread& t : callers) t.join();
  EXPECT_EQ(total, 4 * 200 * 37);
}

}  // namespace
}  // namespace tessera
