// Vector clocks. An agent is a thread or the copy engine of a thread; its epoch counts its releases.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace tessera::simt {

/// Storage of the clocks of one CTA. Not thread safe.
class ClockPool {
 public:
  void reset(std::uint32_t width) {
    width_ = width;
    all_.clear();
    free_.clear();
  }
  std::uint32_t width() const { return width_; }
  /// A zeroed body: [0] counts references, the epochs follow.
  std::uint32_t* take() {
    if (free_.empty()) {
      all_.push_back(std::make_unique<std::uint32_t[]>(width_ + 1));
      return all_.back().get();
    }
    std::uint32_t* body = free_.back();
    free_.pop_back();
    std::fill_n(body, width_ + 1, 0u);
    return body;
  }
  void give(std::uint32_t* body) { free_.push_back(body); }

 private:
  std::uint32_t width_ = 0;
  std::vector<std::unique_ptr<std::uint32_t[]>> all_;
  std::vector<std::uint32_t*> free_;
};

/// What an agent knows from its last synchronisation: of every agent, the last epoch that is ordered before. Immutable once shared: threads that
/// leave a barrier share one, so a barrier costs one join and not one a thread.
class Clock {
 public:
  Clock() = default;
  explicit Clock(ClockPool& pool) : pool_(&pool), body_(pool.take()) { body_[0] = 1; }
  Clock(const Clock& c) : pool_(c.pool_), body_(c.body_) {
    if (body_) ++body_[0];
  }
  Clock(Clock&& c) noexcept : pool_(c.pool_), body_(std::exchange(c.body_, nullptr)) {}
  Clock& operator=(Clock c) noexcept {
    std::swap(pool_, c.pool_);
    std::swap(body_, c.body_);
    return *this;
  }
  ~Clock() {
    if (body_ && --body_[0] == 0) pool_->give(body_);
  }

  std::uint32_t operator[](std::uint32_t agent) const { return body_ ? body_[agent + 1] : 0; }
  explicit operator bool() const { return body_ != nullptr; }
  bool same(const Clock& c) const { return body_ == c.body_; }
  /// The two change a clock that nobody shares yet.
  void raise(std::uint32_t agent, std::uint32_t epoch) { body_[agent + 1] = std::max(body_[agent + 1], epoch); }
  void join(const Clock& c) {
    if (!c.body_) return;
    for (std::uint32_t i = 1; i <= pool_->width(); ++i) body_[i] = std::max(body_[i], c.body_[i]);
  }

 private:
  ClockPool* pool_ = nullptr;
  std::uint32_t* body_ = nullptr;
};

}  // namespace tessera::simt
