// The number of threads changes no bit of a result.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "tessera/tessera.h"

namespace tessera {
namespace {

std::string ladder(const std::string& file) { return std::string(TESSERA_SOURCE_DIR) + "/examples/ladder/" + file; }

template <class T>
std::vector<T> random_values(std::size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<T> out(n);
  for (T& x : out) x = T(normal(random));
  return out;
}

template <class T>
void attention_is_the_same(ElementType type) {
  constexpr std::int64_t b = 2, sq = 131, sk = 190, h = 6, g = 3, d = 64;
  const auto kernel = load(ladder("05_attention.tile"))
                          .kernel<In<T, 4>, In<T, 4>, In<T, 4>, Out<T, 4>, std::optional<Out<float, 3>>, float>(
                              "attention", {{"T", type}, {"D", d}, {"R", 2}, {"CAUSAL", true}}, {.target = "cpu"});
  auto q = random_values<T>(b * sq * h * d, 1), k = random_values<T>(b * sk * g * d, 2), v = random_values<T>(b * sk * g * d, 3);
  std::vector<T> first;
  std::vector<float> first_lse;
  for (int threads : {1, 2, 3, 7}) {
    const Context context = Context::cpu(threads);
    for (int repeat = 0; repeat < 3; ++repeat) {
      std::vector<T> o(q.size());
      std::vector<float> lse(b * sq * h);
      kernel(context, View<T, 4>(q, {b, sq, h, d}), View<T, 4>(k, {b, sk, g, d}), View<T, 4>(v, {b, sk, g, d}), View<T, 4>(o, {b, sq, h, d}),
             View<float, 3>(lse, {b, sq, h}), 0.125f);
      if (first.empty()) {
        first = o;
        first_lse = lse;
      }
      ASSERT_EQ(std::memcmp(o.data(), first.data(), o.size() * sizeof(T)), 0) << threads;
      ASSERT_EQ(std::memcmp(lse.data(), first_lse.data(), lse.size() * sizeof(float)), 0) << threads;
    }
  }
}

TEST(Threads, AttentionHasTheSameBits) {
  attention_is_the_same<float>(ElementType::F32);
  attention_is_the_same<bf16>(ElementType::BF16);
}

}  // namespace
}  // namespace tessera
