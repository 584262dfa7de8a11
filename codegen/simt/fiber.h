// Stacks and switches of fibers (Boost.Context's raw interface: abandoned fibers are dropped without unwinding frames of generated code).
#pragma once

#include <cstddef>
#include <vector>

namespace tessera::simt {

/// Stacks of one size with a guard page below, kept for reuse. Not thread safe.
class StackPool {
 public:
  /// `bytes`: a multiple of the page.
  explicit StackPool(std::size_t bytes) : bytes_(bytes) {}
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;
  ~StackPool();
  /// Lowest usable address. Throws std::bad_alloc.
  std::byte* take();
  std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_;
  std::vector<std::byte*> all_;
};

/// A fiber that runs `body(argument)`; `body` must not return: it ends in `leave`.
class Fiber {
 public:
  using Body = void (*)(void* argument);
  void start(std::byte* stack, std::size_t bytes, Body body, void* argument);
  /// From the scheduler: runs the fiber until it leaves.
  void enter();
  /// From the fiber: back to the scheduler.
  void leave();

 private:
  struct Trampoline;
  void* fiber_ = nullptr;      ///< where the fiber goes on
  void* scheduler_ = nullptr;  ///< where the scheduler goes on
  std::byte* stack_ = nullptr;
  std::size_t stack_bytes_ = 0;
  Body body_ = nullptr;
  void* argument_ = nullptr;
  void* fake_stack_ = nullptr;             ///< of the address sanitizer
  const void* scheduler_stack_ = nullptr;  ///< of the address sanitizer
  std::size_t scheduler_bytes_ = 0;
};

}  // namespace tessera::simt
