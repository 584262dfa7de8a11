#include "codegen/gpu/shared_state.h"

#include <algorithm>

namespace tessera::gpu {

SharedState::Need SharedState::need(int space, std::int64_t lo, std::int64_t hi, bool reads_matter) const {
  Need worst = unknown_ ? Need::Barrier : Need::Nothing;
  for (const Access& a : accesses_) {
    if (a.space != space || hi <= a.lo || a.hi <= lo || (!a.write && !reads_matter)) continue;
    worst = std::max(worst, a.asynchronous ? Need::WaitAndBarrier : Need::Barrier);
  }
  return worst;
}

SharedState::Need SharedState::before_read(int space, std::int64_t lo, std::int64_t hi) const { return need(space, lo, hi, false); }
SharedState::Need SharedState::before_write(int space, std::int64_t lo, std::int64_t hi) const { return need(space, lo, hi, true); }

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
}

}  // namespace tessera::gpu
