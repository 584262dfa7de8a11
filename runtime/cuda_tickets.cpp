#include "runtime/cuda_tickets.h"

namespace tessera::cuda {

namespace {

constexpr std::size_t kApart = 128;  ///< bytes: counters of streams that run at the same time share no cache line

}  // namespace

Tickets::Tickets(std::shared_ptr<const Device> device) : device_(std::move(device)) {
  const Current current(*device_);
  counters_ = device_->allocate(count * kApart);
  device_->api().check(device_->api().memset8(counters_, 0, count * kApart, nullptr), "zeroing ticket counters");
  // Other streams may not wait for the default one.
  device_->synchronize(nullptr);
}

Tickets::~Tickets() { device_->release(counters_); }

DevicePointer Tickets::of(CUstream_st* stream) const {
  // Handles are given to new streams while work of destroyed ones goes on; numbers are not.
  unsigned long long number = 0;
  if (!device_->api().stream_get_id || device_->api().stream_get_id(stream, &number) != Result::Success) return 0;
  for (std::size_t i = 0; i < count; ++i) {
    std::atomic<std::uint64_t>& owner = owners_[(number + i) % count];
    std::uint64_t seen = owner.load(std::memory_order_relaxed);
    if (seen == 0 && owner.compare_exchange_strong(seen, number + 1, std::memory_order_relaxed)) seen = number + 1;
    if (seen == number + 1) return counters_ + (number + i) % count * kApart;
  }
  return 0;
}

}  // namespace tessera::cuda
