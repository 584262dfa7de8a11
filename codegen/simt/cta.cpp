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

Cta::Cta(Cluster& c, std::uint32_t r)
    : cluster(c), run(c.run), rank(r), first_agent(r * agents_of_cta(c.run)), clocks(c.clocks), executed(c.run.sites), stacks_(c.run.stack_bytes) {
  shared = static_cast<std::byte*>(::operator new(std::max<std::size_t>(run.shared_bytes, 1), kSharedAlignment));
  for (std::uint32_t i = 0; i < run.threads; ++i) stack_of_.push_back(stacks_.take());
}

Cta::~Cta() { ::operator delete(shared, kSharedAlignment); }

void Cta::clear() {
  threads.clear();
  for (Barrier& b : barriers) b = Barrier();
  mbarriers.clear();
}

std::uint32_t Cta::random() {
  random_state_ ^= random_state_ << 13;
  random_state_ ^= random_state_ >> 7;
  random_state_ ^= random_state_ << 17;
  return static_cast<std::uint32_t>(random_state_ >> 32);
}

void Cta::prepare(std::uint32_t cta) {
  id = cta;
  done = 0;
  steps = 0;
  given_up = false;
  random_state_ = (run.options.seed * 1000003 + cta + 1) * 0x9E3779B97F4A7C15ull | 1;
  for (int i = 0; i < 8; ++i) random();
  // As in a cluster: not at zero, and now and then with bits set above the window. CTAs of one differ in these bits alone.
  base = 1024 * (1 + random() % 16) + 0x01000000 * (random() % 4);
  if (rank > 0) base = cluster.ctas[0]->base + 0x01000000 * rank;
  std::memset(shared, 0xff, run.shared_bytes);  // NaN in every float type
  copying.clear();
  boxes.clear();
  from_peers.clear();
  bulk_epochs.fill(0);
  next_bulk = 0;
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
  ++t.cta->done;
  --t.cta->cluster.live;
  t.cta->cluster.settle_barrier();
  for (;;) t.cta->block(t, State::Done);
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
    } else if (key.first == State::Cluster) {
      report(HazardKind::Deadlock, site,
             fmt::format("holds threads {} of CTA {} for ever: the cluster's barrier has {} of {} threads", ranges(ids), id, cluster.barrier.arrived,
                         cluster.live));
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
