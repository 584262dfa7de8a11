// A loop whose trips run on several threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <vector>

#include "runtime/cpu_pool.h"

namespace tessera {

/// f(0) .. f(count - 1), each once, by `threads` threads (0: as many as the process may run on), the caller's among them. Throws what the trip of the
/// lowest number threw, after all have ended.
template <class F>
void parallel_for(std::size_t count, int threads, F&& f) {
  std::atomic<std::size_t> next = 0;
  std::vector<std::exception_ptr> failed(count);
  const auto work = [&] {
    for (std::size_t i = next++; i < count; i = next++) {
      try {
        f(i);
      } catch (...) {
        failed[i] = std::current_exception();
      }
    }
  };
  {
    const auto most = static_cast<std::size_t>(threads > 0 ? threads : detail::available_processors());
    std::vector<std::jthread> others;
    for (std::size_t t = 1; t < std::min(most, count); ++t) others.emplace_back(work);
    work();
  }
  for (const std::exception_ptr& e : failed) {
    if (e) std::rethrow_exception(e);
  }
}

}  // namespace tessera
