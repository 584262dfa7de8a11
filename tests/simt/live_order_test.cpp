// In which order live instances are handed on: within 32 requests those with the longest loops first, found without counting along an axis.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "warpgroup_launch.h"

namespace tessera::test {
namespace {

void replace(std::string& text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
}

/// Attention of requests of len[b] rows and keys; every instance that has rows leaves its request's length at the next place of `order`.
std::string text() {
  std::string t = attention_text({.bm = 128, .bn = 32, .d = 32, .keys_end = "%n"});
  replace(t, "%o: out view", "%len: view i32[B],\n  %seq: add view i32[1],\n  %order: scatter view i32[M],\n  %o: scatter view");
  replace(t, "symbols(", "symbols(M, ");
  replace(t, "view<f32, 3, out>", "view<f32, 3, scatter>");
  replace(t, "view<f32, 2, out>", "view<f32, 2, scatter>");
  replace(t, "  %ninf =", "  %len32 = load %len, %b : i32\n  %n = cast %len32 : idx\n  %last = min %n, %Sq : idx\n  %ninf =");
  replace(t, "%qi = range %i0, %c0, %Sq", "%qi = range %i0, %c0, %last");
  replace(t, "  store %oh", R"(  %any = lt %i0, %last : bool
  if %any () {
    %one = const {value = 1} : i32
    %at = fetch_add %seq, %one, %c0 : i32
    %place = cast %at : idx
    store %order, %len32, %place
    yield
  } () {
    yield
  }
  store %oh)");
  return t;
}

TEST(LiveOrder, TheLongestOf32RequestsComeFirst) {
  const Compiled kernel = compiled(text());
  ASSERT_THAT(kernel.notes, testing::Contains("instances that do nothing: passed over, known from 7 ops of i, b"));
  ASSERT_THAT(kernel.notes, testing::Contains(testing::HasSubstr("roles:")));
  // 40 keys of a window of 32 and one of 8: tile i of request b is number i + 2 b.
  constexpr std::int64_t requests = 20, rows = 256, keys = 320;
  Buffer len(DType::I32, {requests});
  std::vector<std::int64_t> numbers;  // lengths, in the order of tickets
  std::vector<std::int64_t> first, second;
  for (std::int64_t b = 0; b < requests; ++b) {
    const std::int64_t n = b % 3 == 1 ? 0 : 32 * (1 + b * 7 % 10);
    len.set_int(b, n);
    for (std::int64_t i = 0; i < 2 && 128 * i < n; ++i) (b < 16 ? first : second).push_back(n);
  }
  for (std::vector<std::int64_t>* window : {&first, &second}) {
    std::sort(window->begin(), window->end(), std::greater<>());
    numbers.insert(numbers.end(), window->begin(), window->end());
  }
  const auto count = static_cast<std::int64_t>(numbers.size());
  // Of the simulator's three CTAs, which run one behind the other, the first draws all tickets.
  std::vector<std::int64_t> want = {numbers[0]};
  want.insert(want.end(), numbers.begin() + 3, numbers.end());
  want.insert(want.end(), {numbers[1], numbers[2]});
  std::map<std::string, Buffer> tensors = {{"q", Buffer(DType::BF16, {requests, rows, 1, 32}).fill_random(1)},
                                           {"k", Buffer(DType::BF16, {requests, keys, 1, 32}).fill_random(2)},
                                           {"v", Buffer(DType::BF16, {requests, keys, 1, 32}).fill_random(3)},
                                           {"len", len},
                                           {"seq", Buffer(DType::I32, {1}).fill(0)},
                                           {"order", Buffer(DType::I32, {2 * requests}).fill(-1)},
                                           {"o", Buffer(DType::F32, {requests, rows, 1, 32}).fill(NAN)}};
  launch(kernel, tensors, {{"scale", 0.25}}, {});
  std::vector<std::int64_t> got;
  for (std::int64_t i = 0; i < 2 * requests; ++i) got.push_back(static_cast<std::int64_t>(tensors.at("order").get(i)));
  want.resize(static_cast<std::size_t>(2 * requests), -1);
  EXPECT_EQ(got, want);
  EXPECT_EQ(tensors.at("seq").get(0), static_cast<double>(count));
}

}  // namespace
}  // namespace tessera::test
