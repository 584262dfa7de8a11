#include "runtime/cpu_pool.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>

namespace tessera::detail {

int available_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

struct CpuPool::Job {
  RunRange range;
  void* state;
  std::size_t arena_bytes;
  std::int64_t divisor;            ///< a range takes this part of what is left
  std::atomic<std::int64_t> left;  ///< instances not yet begun; they are begun from the last to the first
  std::atomic<bool> failed = false;
  int helpers = 0;  ///< pool threads inside the job; under the pool's mutex
  std::condition_variable done;
  std::exception_ptr error;  ///< under the pool's mutex
};

CpuPool::CpuPool(int threads) {
  try {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  } catch (...) {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& t : workers_) t.join();
    throw;
  }
}

CpuPool::~CpuPool() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& t : workers_) t.join();
  for (Arena& a : arenas_) ::operator delete(a.memory, std::align_val_t{64});
}

CpuPool::Arena CpuPool::take_arena(std::size_t bytes) {
  if (bytes == 0) return {};
  Arena a;
  {
    std::lock_guard lock(arena_mutex_);
    // The largest one, so that the list grows no further than needed.
    if (!arenas_.empty()) {
      a = arenas_.back();
      arenas_.pop_back();
    }
  }
  if (a.bytes >= bytes) return a;
  ::operator delete(a.memory, std::align_val_t{64});
  a.memory = nullptr;
  return {::operator new(bytes, std::align_val_t{64}), bytes};
}

void CpuPool::give_arena(Arena a) {
  if (!a.memory) return;
  std::lock_guard lock(arena_mutex_);
  const auto at = std::lower_bound(arenas_.begin(), arenas_.end(), a, [](const Arena& x, const Arena& y) { return x.bytes < y.bytes; });
  try {
    arenas_.insert(at, a);
  } catch (const std::bad_alloc&) {
    ::operator delete(a.memory, std::align_val_t{64});
  }
}

void CpuPool::participate(Job& job) {
  try {
    const Arena arena = take_arena(job.arena_bytes);
    struct Return {
      CpuPool* pool;
      Arena arena;
      ~Return() { pool->give_arena(arena); }
    } give_back{this, arena};
    std::int64_t end = job.left.load(std::memory_order_relaxed);
    while (end > 0 && !job.failed.load(std::memory_order_relaxed)) {
      // From the last to the first: under a causal mask the last query tiles are the longest. Ranges shrink towards the end: large ones
      // share packed operands, small ones balance the threads.
      const std::int64_t count = std::max<std::int64_t>(1, end / job.divisor);
      if (!job.left.compare_exchange_weak(end, end - count, std::memory_order_relaxed)) continue;
      job.range(job.state, end - count, count, arena.memory);
      end = job.left.load(std::memory_order_relaxed);
    }
  } catch (...) {
    job.failed.store(true, std::memory_order_relaxed);
    std::lock_guard lock(mutex_);
    if (!job.error) job.error = std::current_exception();
  }
}

void CpuPool::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    // A short spin before sleeping: launches often follow each other within microseconds, and waking a thread costs several.
    if (jobs_.empty() && !stop_) {
      lock.unlock();
      const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(50);
      while (waiting_jobs_.load(std::memory_order_relaxed) == 0 && std::chrono::steady_clock::now() < until) __builtin_ia32_pause();
      lock.lock();
    }
    wake_.wait(lock, [&] { return stop_ || !jobs_.empty(); });
    if (stop_) return;
    Job* job = jobs_.front();
    ++job->helpers;
    lock.unlock();
    participate(*job);
    lock.lock();
    // No instance is left to begin, else participate() would not have returned: nobody else needs to look here.
    std::erase(jobs_, job);
    waiting_jobs_.store(static_cast<int>(jobs_.size()), std::memory_order_relaxed);
    if (--job->helpers == 0) job->done.notify_one();
  }
}

void CpuPool::run(std::int64_t count, std::size_t arena_bytes, RunRange range, void* state) {
  if (count <= 0) return;
  Job job{.range = range, .state = state, .arena_bytes = arena_bytes, .divisor = threads() == 1 ? 1 : 4 * threads(), .left = count};
  const bool share = !workers_.empty() && count > 1;
  if (share) {
    {
      std::lock_guard lock(mutex_);
      jobs_.push_back(&job);
      waiting_jobs_.store(static_cast<int>(jobs_.size()), std::memory_order_relaxed);
    }
    wake_.notify_all();
  }
  participate(job);
  if (share) {
    std::unique_lock lock(mutex_);
    std::erase(jobs_, &job);
    waiting_jobs_.store(static_cast<int>(jobs_.size()), std::memory_order_relaxed);
    job.done.wait(lock, [&] { return job.helpers == 0; });
  }
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace tessera::detail
