// The threads that share the instances of launches. A launch is a job: the caller and every idle thread take instances from it until none is left,
// so launches from several threads at once share the pool instead of waiting for each other.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace tessera::detail {

/// Runs instances first .. first + count in scratch memory of the size the job asked for.
using RunRange = void (*)(void* state, std::int64_t first, std::int64_t count, void* arena);

class CpuPool {
 public:
  /// `threads` >= 1, the caller's included: threads - 1 are started. Throws std::system_error if that fails.
  explicit CpuPool(int threads);
  CpuPool(const CpuPool&) = delete;
  CpuPool& operator=(const CpuPool&) = delete;
  /// Precondition: no job is running.
  ~CpuPool();

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Runs instances 0 .. count, each once, in ranges and in no order that may be relied upon, and returns when all have ended. `arena_bytes` of
  /// scratch memory, 64-byte aligned, are private to a range while it runs. An exception of `range` is rethrown here, the first one if there are
  /// several; instances not yet begun are then left out. Throws std::bad_alloc. Thread safe.
  void run(std::int64_t count, std::size_t arena_bytes, RunRange range, void* state);

 private:
  struct Job;
  struct Arena {
    void* memory = nullptr;
    std::size_t bytes = 0;
  };

  void work();
  void participate(Job& job);
  Arena take_arena(std::size_t bytes);
  void give_arena(Arena a);

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Job*> jobs_;             ///< jobs that may still have instances to begin
  std::atomic<int> waiting_jobs_ = 0;  ///< jobs_.size(), readable without the lock
  bool stop_ = false;
  std::mutex arena_mutex_;
  std::vector<Arena> arenas_;
  std::vector<std::thread> workers_;
};

/// The number of processors this process may run on, at least 1.
int available_processors();

}  // namespace tessera::detail
