#include "codegen/simt/simulate.h"

#include <fmt/format.h>
#include <llvm/Target/TargetMachine.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include "codegen/cpu/object.h"
#include "codegen/gpu/tensor_map.h"
#include "codegen/simt/code.h"
#include "codegen/simt/lower.h"

namespace tessera {

std::vector<std::size_t> SimtResult::unexecuted() const {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < executed.size(); ++i) {
    if (executed[i] == 0) out.push_back(i);
  }
  return out;
}

struct SimtKernel::Impl {
  std::vector<SimtSite> sites;
  std::vector<GpuCheck> checks;
  std::vector<GpuTensorMap> maps;
  std::uint32_t threads = 0, shared_bytes = 0;
  bool persistent = false;
  GpuCluster cluster;
  std::unique_ptr<simt::Code> code;
};

SimtKernel::SimtKernel(GpuIr ir) : impl_(std::make_unique<Impl>()) {
  TESSERA_ASSERT(ir.module, "no module");
  TESSERA_ASSERT(ir.threads > 0 && ir.threads <= 1024 && ir.threads % 32 == 0, "a CTA has whole warps, 1024 threads at most");
  cpu::verify_module(*ir.module);
  const std::unique_ptr<llvm::TargetMachine> machine = simt::host_machine();
  ir.module->setTargetTriple(machine->getTargetTriple());
  ir.module->setDataLayout(machine->createDataLayout());
  impl_->sites = simt::lower_for_host(*ir.module, ir.entry);
  impl_->checks = std::move(ir.checks);
  impl_->maps = std::move(ir.maps);
  impl_->persistent = ir.persistent;
  impl_->cluster = ir.cluster;
  impl_->threads = static_cast<std::uint32_t>(ir.threads);
  impl_->shared_bytes = static_cast<std::uint32_t>(ir.shared_bytes);
  impl_->code = std::make_unique<simt::Code>(*ir.module, *machine);
}

SimtKernel::~SimtKernel() = default;
SimtKernel::SimtKernel(SimtKernel&&) noexcept = default;
SimtKernel& SimtKernel::operator=(SimtKernel&&) noexcept = default;

const std::vector<SimtSite>& SimtKernel::sites() const { return impl_->sites; }
const std::vector<GpuCheck>& SimtKernel::checks() const { return impl_->checks; }

namespace {

void add(std::vector<SimtTraffic>& sum, const std::vector<SimtTraffic>& part) {
  for (std::size_t i = 0; i < part.size(); ++i) {
    sum[i].shared_cycles += part[i].shared_cycles;
    sum[i].conflict_cycles += part[i].conflict_cycles;
    sum[i].sectors += part[i].sectors;
    sum[i].ideal_sectors += part[i].ideal_sectors;
  }
}

constexpr std::int64_t kPersistentCtas = 3;

SimtPolicy policy_of(const SimtOptions& options) {
  if (options.policy != SimtPolicy::BySeed) return options.policy;
  constexpr SimtPolicy all[] = {SimtPolicy::Random, SimtPolicy::Lazy, SimtPolicy::Eager};
  return all[options.seed % std::size(all)];
}

}  // namespace

SimtResult SimtKernel::run(std::span<const std::uint64_t> frame, std::span<const std::int64_t> grid, std::int64_t instances, const SimtMemory& memory,
                           const SimtOptions& options) const {
  SimtResult result;
  result.seed = options.seed;
  result.policy = policy_of(options);
  result.executed.resize(impl_->sites.size());
  if (options.traffic) result.traffic.resize(impl_->sites.size());

  std::vector<std::uint64_t> words(frame.begin(), frame.end());
  for (std::int64_t g : grid) words.push_back(static_cast<std::uint64_t>(g));
  if (!impl_->checks.empty() || impl_->maps.empty()) words.push_back(reinterpret_cast<std::uint64_t>(&result.report));
  std::vector<TensorMapValues> maps;
  std::uint64_t encoded = options.maps ? kReadMaps | kStoredMaps : 0;
  for (const GpuTensorMap& m : impl_->maps) {
    const std::optional<TensorMapValues> v = tensor_map_values(m, frame);
    if (!v) encoded &= ~std::uint64_t{kind_of(m)};
    maps.push_back(v.value_or(TensorMapValues()));
  }
  words.push_back(encoded);
  for (const TensorMapValues& m : maps) words.push_back(reinterpret_cast<std::uint64_t>(&m));

  // Fewer CTAs than instances, so that each has several.
  std::uint32_t tickets = 0;
  const int size = impl_->cluster.ctas;
  const std::int64_t groups = instances == 0 ? 0 : impl_->cluster.groups(grid, instances), most = (kPersistentCtas + size - 1) / size;
  const std::int64_t clusters = impl_->persistent && options.persistent ? std::min(groups, most) : groups;
  if (impl_->persistent) words.push_back(options.persistent ? reinterpret_cast<std::uint64_t>(&tickets) : 0);

  const int workers = static_cast<int>(std::clamp<std::int64_t>(clusters, 1, std::max(1, options.host_threads)));
  simt::HazardLog log(impl_->sites);
  simt::GlobalShadow global(memory, &result.report, &tickets, options.races, workers > 1);
  simt::Run run;
  run.entry = impl_->code->entry();
  run.words = words.data();
  run.threads = impl_->threads;
  run.shared_bytes = impl_->shared_bytes;
  run.stack_bytes = impl_->code->stack_bytes();
  run.ctas = static_cast<std::uint32_t>(clusters * size);
  run.cluster = static_cast<std::uint32_t>(size);
  run.options = options;
  run.policy = result.policy;
  run.global = &global;
  run.log = &log;
  run.sites = impl_->sites.size();

  std::atomic<std::int64_t> next = 0;
  std::mutex mutex;
  const auto work = [&] {
    simt::Cluster cluster(run);
    bool finished = true;
    for (std::int64_t i = next++; i < clusters; i = next++) finished &= cluster.simulate(static_cast<std::uint32_t>(i));
    const std::lock_guard<std::mutex> lock(mutex);
    result.finished &= finished;
    for (const auto& cta : cluster.ctas) {
      for (std::size_t i = 0; i < result.executed.size(); ++i) result.executed[i] += cta->executed[i];
      add(result.traffic, cta->traffic.totals);
      result.barriers += cta->barriers_done;
    }
  };
  std::vector<std::thread> threads;
  for (int i = 1; i < workers; ++i) threads.emplace_back(work);
  work();
  for (std::thread& t : threads) t.join();
  if (result.finished && tickets != 0)
    log.report(HazardKind::BadOperand, simt::no_site, fmt::format("the launch leaves its ticket counter at {}", tickets), simt::no_site);
  result.hazards = log.take();
  return result;
}

}  // namespace tessera
