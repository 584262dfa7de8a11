#include "tests/bench/measure.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <new>

namespace tessera::bench {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::vector<Times> time_in_turns(const std::vector<std::function<void()>>& functions, int rounds) {
  std::vector<std::vector<double>> seconds(functions.size());
  for (const auto& f : functions) f();
  for (int r = 0; r < rounds; ++r)
    for (std::size_t i = 0; i < functions.size(); ++i) {
      const double start = now();
      functions[i]();
      seconds[i].push_back(now() - start);
    }
  std::vector<Times> result;
  for (auto& s : seconds) {
    std::sort(s.begin(), s.end());
    result.push_back({s.front(), s[s.size() / 2]});
  }
  return result;
}

std::shared_ptr<void> allocate_bytes(std::size_t bytes) {
  constexpr std::size_t page = 4096;
  bytes = (bytes + page) / page * page;
  void* memory = std::aligned_alloc(page, bytes);
  if (!memory) throw std::bad_alloc();
  std::memset(memory, 0, bytes);
  return {memory, &std::free};
}

float sample(std::size_t i) {
  const auto hash = static_cast<std::uint32_t>(i * 2654435761u);
  return static_cast<float>(static_cast<int>(hash >> 24) - 128) / 128.0f;
}

}  // namespace tessera::bench
