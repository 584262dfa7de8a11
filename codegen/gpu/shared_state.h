// Where barriers stand: which memory has been touched since the last one.
//
// Works on structured ops, before any thread-level code exists: every access is one of all threads. Memory is shared memory (space 0, by byte ranges)
// or a parameter's global memory (space 1 + parameter, as a whole).
#pragma once

#include <cstdint>
#include <vector>

namespace tessera::gpu {

class SharedState {
 public:
  /// What must happen before an access.
  enum class Need : std::uint8_t { Nothing, Barrier, WaitAndBarrier };

  Need before_read(int space, std::int64_t lo, std::int64_t hi) const;
  Need before_write(int space, std::int64_t lo, std::int64_t hi) const;
  /// Whether a read of shared memory by the asynchronous proxy needs a proxy fence of the writers, and a barrier, first.
  bool needs_fence(std::int64_t lo, std::int64_t hi) const;
  /// A proxy fence of all threads stands; a barrier follows.
  void fence();
  void read(int space, std::int64_t lo, std::int64_t hi) { accesses_.push_back({space, lo, hi, false, false}); }
  void write(int space, std::int64_t lo, std::int64_t hi, bool asynchronous = false);

  /// Nothing needs a barrier or a fence.
  bool clean() const { return !unknown_ && accesses_.empty() && unfenced_.empty() && !unfenced_anywhere_; }

  /// All asynchronous copies have landed; others see them after a barrier only.
  void waited();
  /// Nothing is left in doubt but copies under way.
  void barrier();
  /// As at the head of a loop: any access to shared memory may be behind us. Those to global memory are known: the loop's own.
  void forget() { unknown_ = unfenced_anywhere_ = true; }
  /// Either of two pasts.
  void join(const SharedState& other);

 private:
  struct Access {
    int space;
    std::int64_t lo, hi;
    bool write, asynchronous;
  };
  Need need(int space, std::int64_t lo, std::int64_t hi, bool reads_matter) const;
  std::vector<Access> accesses_;
  bool unknown_ = false;
  struct Range {
    std::int64_t lo, hi;
  };
  std::vector<Range> unfenced_;  ///< of shared memory, written since the last proxy fence
  bool unfenced_anywhere_ = false;
};

}  // namespace tessera::gpu
