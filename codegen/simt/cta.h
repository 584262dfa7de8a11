// CTAs: their threads as fibers, warps, barriers, shared memory; and clusters of them, which are scheduled together.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "codegen/gpu/primitives.h"
#include "codegen/gpu/tensor_map.h"
#include "codegen/simt/clock.h"
#include "codegen/simt/fiber.h"
#include "codegen/simt/hazards.h"
#include "codegen/simt/memory.h"
#include "codegen/simt/shadow.h"
#include "codegen/simt/traffic.h"

namespace tessera::simt {

struct Cluster;
struct Cta;
struct Warp;

enum class State : std::uint8_t { Ready, Collective, Barrier, Cluster, Mbarrier, Registers, Done };

/// An asynchronous copy that has not happened yet.
struct Copy {
  std::uint32_t offset = 0;  ///< in shared memory
  const std::byte* source = nullptr;
  std::uint32_t bytes = 0, read = 0;  ///< written, and of those read; the rest becomes zero
  std::uint32_t group = 0;
};

/// A bulk copy that has not happened yet, or, without a map, an asynchronous store of one word.
struct BulkBox {
  std::uint32_t offset = 0, barrier = 0;  ///< in the shared memory of the CTA that it comes to
  const TensorMapValues* map = nullptr;
  std::uint32_t word = 0;
  std::vector<std::int64_t> at;  ///< of the box' first element, innermost axis first
  std::uint32_t agent = 0, epoch = 0;
  std::int64_t bytes = 0;
};

struct Thread {
  Cta* cta = nullptr;
  Warp* warp = nullptr;
  std::uint32_t id = 0;
  State state = State::Ready;
  Fiber fiber;

  Clock base;               ///< what it learned at its last synchronisation
  std::uint32_t epoch = 1;  ///< its own, raised at every release

  // The collective it waits in.
  std::uint32_t site = 0;
  gpu::Primitive primitive{};
  std::array<std::uint32_t, 2> operands{};
  std::uint32_t* registers = nullptr;
  std::uint32_t inputs = 0, outputs = 0;
  std::uint32_t result = 0;

  std::uint32_t barrier = 0;  ///< the one it waits for

  std::vector<Copy> copies;
  std::uint32_t groups = 0;        ///< committed
  std::uint32_t groups_known = 0;  ///< waited for

  std::vector<BulkBox> stores;          ///< its bulk stores that have not happened yet
  std::int32_t store_agent = -1;        ///< that they are, one epoch a group; -1: none yet
  std::uint32_t stores_before = 0;      ///< epochs that others had of it
  std::uint32_t store_groups = 0;       ///< committed
  std::uint32_t store_groups_read = 0;  ///< waited for
  bool stores_open = false;             ///< some are in no group yet
  std::uint32_t store_site = 0;         ///< of the last one

  std::uint32_t products_known = 0;      ///< groups of its warp's products that it waited for
  const std::uint32_t* fixed = nullptr;  ///< operands of a warpgroup product
  /// What it knew at its last proxy fence, and what barriers told it of others' fences: what the asynchronous proxy sees.
  Clock proxy;

  std::uint32_t lane() const { return id % 32; }
  std::uint32_t agent() const;
  std::uint32_t copy_agent() const;
  std::uint32_t product_agent() const;
  /// Tells a clock that others will learn from what this thread has done and seen.
  void publish(Clock& c) const;
  /// Whether `agent`'s epoch is ordered before what this thread does next.
  bool knows(std::uint32_t agent, std::uint32_t epoch) const;
};

/// Of a warpgroup product, beside its registers.
inline constexpr std::size_t kProductOperands = 13;

/// A warp's share of a warpgroup product that has been issued: 16 rows.
struct Product {
  std::uint32_t number = 0;  ///< what its tokens carry
  std::uint32_t group = 0, site = 0;
  bool done = false;
  std::vector<float> values;  ///< [lane][register] once done; before, the sums it starts from
  std::vector<std::uint32_t> a_registers;
  std::array<std::uint32_t, kProductOperands> fixed{};
  gpu::Primitive primitive{};
};

struct Warp {
  std::uint32_t id = 0;
  std::vector<Product> products;  ///< issued and not waited for
  std::uint32_t product_groups = 0, product_numbers = 0;
  std::uint32_t arrived = 0;    ///< lanes waiting in the collective
  std::uint32_t ready = 0;      ///< lanes that can run
  std::uint32_t registers = 0;  ///< of a thread
};

struct Barrier {
  std::uint32_t need = 0, arrived = 0;
  Clock gathered, proxy;
  Clock last, last_proxy;  ///< joined last: threads that left one barrier together need one join
  std::vector<Thread*> waiters;
};

/// A barrier in shared memory.
struct Mbarrier {
  std::uint32_t count = 0, pending = 0;  ///< arrivals of a phase, and those still to come
  std::int64_t bytes = 0;                ///< still to come
  std::uint32_t phase = 0;
  bool fenced = false;  ///< bulk copies may use it
  /// The agent that its bulk copies are, one epoch a phase, and the epochs that others had of it; -1: none yet.
  std::int32_t agent = -1;
  std::uint32_t epochs_before = 0;
  std::uint32_t maker = 0;
  Clock gathered, ended;
  Clock proxy, ended_proxy;  ///< what its arrivals know of proxy fences
  Clock last_in, last_out;   ///< threads that wait with equal knowledge leave with equal knowledge
  Clock last_proxy_in, last_proxy_out;
  std::vector<Thread*> waiters;
};

/// Bulk copies take turns as these agents.
inline constexpr std::uint32_t kBulkAgents = 64;

/// What all CTAs of a run share.
struct Run {
  using Entry = void (*)(Thread* self, const std::uint64_t* words);
  Entry entry = nullptr;
  const std::uint64_t* words = nullptr;
  std::uint32_t threads = 0, shared_bytes = 0, ctas = 0, cluster = 1;  ///< cluster: CTAs of one
  std::size_t stack_bytes = 0;                                         ///< of a thread
  SimtOptions options;
  SimtPolicy policy{};
  GlobalShadow* global = nullptr;
  HazardLog* log = nullptr;
  std::size_t sites = 0;
};

/// Of the clusters of a run; not thread safe.
struct Cta {
  Cta(Cluster& cluster, std::uint32_t rank);
  ~Cta();
  Cta(const Cta&) = delete;
  Cta& operator=(const Cta&) = delete;

  Cluster& cluster;
  const Run& run;
  const std::uint32_t rank;         ///< in its cluster
  const std::uint32_t first_agent;  ///< of its threads, copies and products in the cluster's clocks
  std::uint32_t id = 0;
  std::uint32_t base = 0;  ///< shared address of the first byte
  std::byte* shared = nullptr;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::array<Barrier, 16> barriers;
  std::vector<Thread*> copying;                 ///< threads with copies under way
  std::map<std::uint32_t, Mbarrier> mbarriers;  ///< by offset in shared memory
  std::vector<BulkBox> boxes;                   ///< under way
  std::uint32_t free_registers = 0;             ///< that warps have given up, for each of a warp's threads
  std::vector<Thread*> register_waiters;
  std::array<std::uint32_t, kBulkAgents> bulk_epochs{};
  std::uint32_t next_bulk = 0;
  SharedShadow shadow;
  ClockPool& clocks;  ///< the cluster's
  struct Arrival {
    std::uint32_t epoch = 0, site = 0;
  };
  std::map<std::uint32_t, Arrival> from_peers;  ///< by agent: the last that other CTAs' threads have done here
  Traffic traffic;
  std::vector<std::int64_t> executed;
  std::int64_t barriers_done = 0;
  std::int64_t steps = 0;
  bool given_up = false;
  std::uint32_t done = 0;  ///< threads that have ended
  bool ended() const { return done == threads.size(); }

  void report(HazardKind kind, std::uint32_t site, const std::string& what, std::uint32_t other = no_site) {
    run.log->report(kind, site, what, other);
  }
  std::uint32_t random();
  /// Counts an execution; gives the CTA up when it takes too many.
  void step(Thread& t, std::uint32_t site);
  /// The thread stops here until another one wakes it.
  void block(Thread& t, State state);
  void wake(Thread& t);
  /// Lets others run first, now and then.
  void maybe_yield(Thread& t);
  /// Ends the CTA; does not return.
  [[noreturn]] void give_up(Thread& t);
  /// Gives the next epoch to a thread whose accesses so far others may learn of.
  static void release(Thread& t) { ++t.epoch; }
  /// One copy of the thread, or all of the groups up to `last`.
  void finish_copies(Thread& t, std::uint32_t last);
  void finish_some_copy(Thread& t);
  /// The thread's bulk stores up to this epoch happen.
  void finish_stores(Thread& t, std::uint32_t last);
  /// At its end.
  void end_stores(Thread& t);
  /// An agent for bulk copies, and the epochs that others have had of it.
  std::pair<std::int32_t, std::uint32_t> next_bulk_agent();
  /// One of the bulk copies under way.
  void finish_some_box();
  /// A phase ends when nothing is missing any more.
  void settle_phase(Mbarrier& m);
  std::uint32_t first_bulk_agent() const { return first_agent + static_cast<std::uint32_t>(2 * threads.size() + warps.size()); }
  /// Lets go of what the last CTA knew.
  void clear();
  /// CTA `cta` begins.
  void prepare(std::uint32_t cta);
  void report_stall();
  /// What other CTAs did here must be ordered before its end.
  void check_end();
  bool in_shared(std::uint32_t address, std::uint32_t bytes) const {
    return address >= base && static_cast<std::uint64_t>(address) + bytes <= static_cast<std::uint64_t>(base) + run.shared_bytes;
  }

 private:
  static void thread_main(void* thread);

  std::uint64_t random_state_ = 1;
  StackPool stacks_;
  std::vector<std::byte*> stack_of_;
};

/// Agents that a CTA's threads, copies and products are.
inline std::uint32_t agents_of_cta(const Run& run) { return 2 * run.threads + (run.threads + 31) / 32 + kBulkAgents; }

/// CTAs that run at the same time and reach each other's shared memory; one alone where a kernel has no clusters. Reused for the clusters that one
/// host thread runs; not thread safe.
struct Cluster {
  explicit Cluster(const Run& run);
  /// Of number `cluster`. False if it was given up.
  bool simulate(std::uint32_t cluster);

  const Run& run;
  ClockPool clocks;
  std::vector<std::unique_ptr<Cta>> ctas;  ///< by rank
  Barrier barrier;                         ///< of all threads that have not ended
  std::uint32_t live = 0;                  ///< those

  /// Whoever waits at the barrier goes on once all live threads have come.
  void settle_barrier();

 private:
  void schedule();
  /// One of the CTAs for which `f` holds; null: none does.
  template <class F>
  Cta* one_of(F f);
};

inline std::uint32_t Thread::agent() const { return cta->first_agent + id; }
inline std::uint32_t Thread::copy_agent() const { return cta->first_agent + static_cast<std::uint32_t>(cta->threads.size()) + id; }
inline std::uint32_t Thread::product_agent() const { return cta->first_agent + 2 * static_cast<std::uint32_t>(cta->threads.size()) + id / 32; }
inline void Thread::publish(Clock& c) const {
  c.raise(agent(), epoch);
  c.raise(copy_agent(), groups_known);
  c.raise(product_agent(), products_known);
}
inline bool Thread::knows(std::uint32_t other, std::uint32_t e) const {
  if (other == agent()) return true;
  if (other == copy_agent() && e <= groups_known) return true;
  if (other == product_agent() && e <= products_known) return true;
  return base[other] >= e;
}

}  // namespace tessera::simt
