#include "codegen/simt/cta.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <new>

namespace tessera::simt {
namespace {

constexpr std::align_val_t kSharedAlignment{1024};

/// "0-31,64": sorted numbers as ranges.
std::string ranges(const std::vector<std::uint32_t>& numbers) {
  std::string out;
  for (std::size_t i = 0, j = 0; i < numbers.size(); i = j) {
    for (j = i + 1; j < numbers.size() && numbers[j] == numbers[j - 1] + 1;) ++j;
    out += out.empty() ? "" : ",";
    out += std::to_string(numbers[i]);
    if (j - i > 1) out += "-" + std::to_string(numbers[j - 1]);
  }
  return out;
}

}  // namespace

Cta::Cta(const Run& r) : run(r), executed(r.sites), stacks_(r.stack_bytes) {
  shared = static_cast<std::byte*>(::operator new(std::max<std::size_t>(r.shared_bytes, 1), kSharedAlignment));
  for (std::uint32_t i = 0; i < r.threads; ++i) stack_of_.push_back(stacks_.take());
}

Cta::~Cta() {
  // Clocks go back to their pool before it goes.
  threads.clear();
  for (Barrier& b : barriers) b = Barrier();
  mbarriers.clear();
  ::operator delete(shared, kSharedAlignment);
}

std::uint32_t Cta::random() {
  random_state_ ^= random_state_ << 13;
  random_state_ ^= random_state_ >> 7;
  random_state_ ^= random_state_ << 17;
  return static_cast<std::uint32_t>(random_state_ >> 32);
}

void Cta::prepare(std::uint32_t cta) {
  id = cta;
  done_ = 0;
  steps = 0;
  given_up = false;
  random_state_ = (run.options.seed * 1000003 + cta + 1) * 0x9E3779B97F4A7C15ull | 1;
  for (int i = 0; i < 8; ++i) random();
  // As in a cluster: not at zero, and now and then with bits set above the window.
  base = 1024 * (1 + random() % 16) + 0x01000000 * (random() % 4);
  std::memset(shared, 0xff, run.shared_bytes);  // NaN in every float type
  threads.clear();
  for (Barrier& b : barriers) b = Barrier();
  copying.clear();
  mbarriers.clear();
  boxes.clear();
  bulk_epochs.fill(0);
  next_bulk = 0;
  clocks.reset(2 * run.threads + (run.threads + 31) / 32 + kBulkAgents);
  if (run.options.races) shadow.reset(run.shared_bytes);
  threads.resize(run.threads);
  Warp warp;
  warp.registers = std::min(65536 / run.threads / 8 * 8, 248u);  // as many as the assembler may use
  warps.assign((run.threads + 31) / 32, warp);
  free_registers = 0;
  register_waiters.clear();
  for (std::uint32_t i = 0; i < run.threads; ++i) {
    Thread& t = threads[i];
    t.cta = this;
    t.id = i;
    t.warp = &warps[i / 32];
    t.warp->id = i / 32;
    ++t.warp->ready;
    t.fiber.start(stack_of_[i], run.stack_bytes, thread_main, &t);
  }
  if (run.options.traffic) traffic.begin_cta(run.sites, warps.size());
}

void Cta::thread_main(void* thread) {
  auto& t = *static_cast<Thread*>(thread);
  t.cta->run.entry(&t, t.cta->run.words);
  if (!t.stores.empty() || t.store_groups) t.cta->end_stores(t);
  ++t.cta->done_;
  for (;;) t.cta->block(t, State::Done);
}

bool Cta::simulate(std::uint32_t cta) {
  prepare(cta);
  schedule();
  if (run.options.traffic) traffic.end_cta();
  return !given_up && done_ == threads.size();
}

void Cta::schedule() {
  std::vector<std::uint32_t> ready;
  while (done_ < threads.size() && !given_up) {
    ready.clear();
    for (const Warp& w : warps) {
      if (w.ready) ready.push_back(w.id);
    }
    if (ready.empty() && !boxes.empty()) {
      finish_some_box();
      continue;
    }
    if (ready.empty()) {
      report_stall();
      given_up = true;
      return;
    }
    if (!copying.empty() && run.policy == SimtPolicy::Random && random() % 4 == 0) {
      finish_some_copy(*copying[random() % copying.size()]);
      continue;
    }
    if (!boxes.empty() && run.policy == SimtPolicy::Random && random() % 4 == 0) {
      finish_some_box();
      continue;
    }
    const std::uint32_t first = ready[random() % ready.size()] * 32, turn = random() % 32;
    const std::uint32_t lanes = std::min<std::uint32_t>(32, static_cast<std::uint32_t>(threads.size()) - first);
    for (std::uint32_t i = 0; i < lanes && !given_up; ++i) {
      Thread& t = threads[first + (i + turn) % lanes];
      if (t.state == State::Ready) t.fiber.enter();
    }
  }
}

void Cta::step(Thread& t, std::uint32_t site) {
  ++executed[site];
  if (++steps > run.options.max_steps) {
    report(HazardKind::Endless, site, fmt::format("is reached after {} steps of one CTA", run.options.max_steps));
    give_up(t);
  }
}

void Cta::block(Thread& t, State state) {
  t.state = state;
  --t.warp->ready;
  t.fiber.leave();
}

void Cta::wake(Thread& t) {
  t.state = State::Ready;
  ++t.warp->ready;
}

void Cta::maybe_yield(Thread& t) {
  if (random() % 4 == 0) t.fiber.leave();
}

void Cta::give_up(Thread& t) {
  given_up = true;
  for (;;) t.fiber.leave();
}

void Cta::report_stall() {
  std::map<std::pair<State, std::pair<std::uint32_t, std::uint32_t>>, std::vector<std::uint32_t>> groups;
  for (const Thread& t : threads) {
    const std::uint32_t where = t.state == State::Barrier || t.state == State::Mbarrier ? t.barrier : t.warp->id;
    if (t.state != State::Done) groups[{t.state, {t.site, where}}].push_back(t.id);
  }
  for (const auto& [key, ids] : groups) {
    const auto& [site, where] = key.second;
    if (key.first == State::Barrier) {
      const Barrier& b = barriers[where];
      report(HazardKind::Deadlock, site,
             fmt::format("holds threads {} of CTA {} for ever: barrier {} has {} of {} threads", ranges(ids), id, where, b.arrived, b.need));
    } else if (key.first == State::Mbarrier) {
      const Mbarrier& m = mbarriers[where];
      report(HazardKind::Deadlock, site,
             fmt::format("holds threads {} of CTA {} for ever: phase {} of the barrier at {} lacks {} of {} arrivals and {} bytes", ranges(ids), id,
                         m.phase, where, m.pending, m.count, m.bytes));
    } else if (key.first == State::Registers) {
      report(HazardKind::Deadlock, site, fmt::format("holds threads {} of CTA {} for ever: too few registers are free", ranges(ids), id));
    } else {
      report(HazardKind::Divergence, site,
             fmt::format("holds lanes {} of CTA {} for ever: {} of 32 lanes of the warp came", ranges(ids), id, warps[where].arrived));
    }
  }
}

}  // namespace tessera::simt
