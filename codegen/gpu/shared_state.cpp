#include "codegen/gpu/shared_state.h"

#include <algorithm>

namespace tessera::gpu {

SharedState::Need SharedState::need(int space, std::int64_t lo, std::int64_t hi, bool reads_matter) const {
  Need worst = unknown_ && space == 0 ? Need::Barrier : Need::Nothing;
  for (const Access& a : accesses_) {
    if (a.space != space || hi <= a.lo || a.hi <= lo || (!a.write && !reads_matter)) continue;
    worst = std::max(worst, a.asynchronous ? Need::WaitAndBarrier : Need::Barrier);
  }
  return worst;
}

SharedState::Need SharedState::before_read(int space, std::int64_t lo, std::int64_t hi) const { return need(space, lo, hi, false); }
SharedState::Need SharedState::before_write(int space, std::int64_t lo, std::int64_t hi) const { return need(space, lo, hi, true); }

void SharedState::write(int space, std::int64_t lo, std::int64_t hi, bool asynchronous) {
  accesses_.push_back({space, lo, hi, true, asynchronous});
  if (space == 0) unfenced_.push_back({lo, hi});
}

bool SharedState::needs_fence(std::int64_t lo, std::int64_t hi) const {
  return unfenced_anywhere_ || std::any_of(unfenced_.begin(), unfenced_.end(), [&](const Range& r) { return r.lo < hi && lo < r.hi; });
}

void SharedState::fence() {
  unfenced_.clear();
  unfenced_anywhere_ = false;
}

void SharedState::waited() {
  for (Access& a : accesses_) a.asynchronous = false;
}

void SharedState::barrier() {
  unknown_ = false;
  std::erase_if(accesses_, [](const Access& a) { return !a.asynchronous; });
}

void SharedState::join(const SharedState& other) {
  accesses_.insert(accesses_.end(), other.accesses_.begin(), other.accesses_.end());
  unknown_ = unknown_ || other.unknown_;
  unfenced_.insert(unfenced_.end(), other.unfenced_.begin(), other.unfenced_.end());
  unfenced_anywhere_ = unfenced_anywhere_ || other.unfenced_anywhere_;
}

}  // namespace tessera::gpu
