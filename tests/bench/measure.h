// Timing: candidates run in turns, so that what disturbs the machine disturbs all of them alike.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace tessera::bench {

/// Seconds of a clock that only moves forward.
double now();

struct Times {
  double best = 0;
  double median = 0;
};

/// Runs every function once untimed, then `rounds` times in turns. One result a function.
std::vector<Times> time_in_turns(const std::vector<std::function<void()>>& functions, int rounds);

/// Page-aligned memory, touched and zero; throws std::bad_alloc.
std::shared_ptr<void> allocate_bytes(std::size_t bytes);
template <class T>
std::shared_ptr<T[]> allocate(std::size_t count) {
  std::shared_ptr<void> memory = allocate_bytes(count * sizeof(T));
  return {memory, static_cast<T*>(memory.get())};
}

/// The same values every time, in -1 .. 1, in steps that bf16 holds exactly.
float sample(std::size_t i);

}  // namespace tessera::bench
