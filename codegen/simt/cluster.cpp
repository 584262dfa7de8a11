// Clusters: CTAs that run at the same time, and what they do to each other's shared memory (PTX ISA 9.0, "barrier.cluster", "mapa").
#include <fmt/format.h>

#include <algorithm>

#include "codegen/simt/hooks.h"

namespace tessera::simt {

Cluster::Cluster(const Run& r) : run(r) {
  for (std::uint32_t i = 0; i < r.cluster; ++i) ctas.push_back(std::make_unique<Cta>(*this, i));
}

bool Cluster::simulate(std::uint32_t number) {
  for (const auto& c : ctas) c->clear();
  barrier = Barrier();
  clocks.reset(run.cluster * agents_of_cta(run));
  live = run.cluster * run.threads;
  for (const auto& c : ctas) c->prepare(number * run.cluster + c->rank);
  schedule();
  bool finished = true;
  for (const auto& c : ctas) {
    if (run.options.traffic) c->traffic.end_cta();
    finished = finished && !c->given_up && c->ended();
  }
  if (finished && run.options.races) {
    for (const auto& c : ctas) c->check_end();
  }
  return finished;
}

template <class F>
Cta* Cluster::one_of(F f) {
  std::vector<Cta*> some;
  for (const auto& c : ctas) {
    if (f(*c)) some.push_back(c.get());
  }
  return some.empty() ? nullptr : some.size() == 1 ? some[0] : some[ctas[0]->random() % some.size()];
}

void Cluster::schedule() {
  struct Ready {
    Cta* cta;
    std::uint32_t warp;
  };
  std::vector<Ready> ready;
  const auto given_up = [&] { return std::any_of(ctas.begin(), ctas.end(), [](const auto& c) { return c->given_up; }); };
  while (live > 0 && !given_up()) {
    ready.clear();
    for (const auto& c : ctas) {
      for (const Warp& w : c->warps) {
        if (w.ready) ready.push_back({c.get(), w.id});
      }
    }
    Cta* const boxes = one_of([](const Cta& c) { return !c.boxes.empty(); });
    if (ready.empty() && boxes) {
      boxes->finish_some_box();
      continue;
    }
    if (ready.empty()) {
      for (const auto& c : ctas) {
        c->report_stall();
        c->given_up = true;
      }
      return;
    }
    const bool at_random = run.policy == SimtPolicy::Random;
    Cta* const copies = at_random ? one_of([](const Cta& c) { return !c.copying.empty(); }) : nullptr;
    if (copies && copies->random() % 4 == 0) {
      copies->finish_some_copy(*copies->copying[copies->random() % copies->copying.size()]);
      continue;
    }
    if (boxes && at_random && boxes->random() % 4 == 0) {
      boxes->finish_some_box();
      continue;
    }
    const Ready one = ready[ctas[0]->random() % ready.size()];
    Cta& cta = *one.cta;
    const std::uint32_t first = one.warp * 32, turn = ctas[0]->random() % 32;
    const std::uint32_t lanes = std::min<std::uint32_t>(32, static_cast<std::uint32_t>(cta.threads.size()) - first);
    for (std::uint32_t i = 0; i < lanes && !given_up(); ++i) {
      Thread& t = cta.threads[first + (i + turn) % lanes];
      if (t.state == State::Ready) t.fiber.enter();
    }
  }
}

void Cluster::settle_barrier() {
  if (barrier.arrived == 0 || barrier.arrived < live) return;
  for (Thread* w : barrier.waiters) {
    w->base = barrier.gathered;
    if (barrier.proxy) w->proxy = barrier.proxy;
    if (w->state == State::Cluster) w->cta->wake(*w);
  }
  barrier = Barrier();
}

void Cta::check_end() {
  Clock known(clocks);
  for (const Thread& t : threads) {
    known.join(t.base);
    t.publish(known);
  }
  for (const auto& [agent, last] : from_peers) {
    if (known[agent] < last.epoch)
      report(HazardKind::Race, last.site, fmt::format("reaches shared memory of another CTA, rank {} of its cluster, which may have ended", rank));
  }
}

namespace hooks {

void ClusterSync(Thread* t, u32 site) {
  Cluster& cluster = t->cta->cluster;
  t->cta->step(*t, site);
  Barrier& b = cluster.barrier;
  t->site = site;
  ++b.arrived;
  gather(*t, b);
  b.waiters.push_back(t);
  if (b.arrived < cluster.live) {
    t->cta->block(*t, State::Cluster);
  } else {
    cluster.settle_barrier();
  }
}

}  // namespace hooks
}  // namespace tessera::simt
