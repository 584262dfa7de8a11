#include "tessera/module.h"

#include <fmt/format.h>

#include <filesystem>
#include <mutex>
#include <set>

#include "runtime/errors.h"
#include "runtime/files.h"
#include "runtime/kernel_impl.h"
#include "runtime/winners.h"

namespace tessera {

Constants detail::to_constants(const Consts& consts) {
  Constants out;
  for (const auto& [name, value] : consts.values()) {
    if (const auto* t = std::get_if<ElementType>(&value)) {
      out.emplace(name, static_cast<DType>(*t));
    } else if (const auto* i = std::get_if<std::int64_t>(&value)) {
      out.emplace(name, *i);
    } else if (const auto* b = std::get_if<bool>(&value)) {
      out.emplace(name, *b);
    } else {
      out.emplace(name, std::get<std::string>(value));
    }
  }
  return out;
}

const Program& detail::ModuleImpl::program() const {
  const std::lock_guard lock(mutex_);
  if (!program_) {
    LoadResult r = set_.parse();
    if (r.diagnostics.any()) throw to_error(r.diagnostics, *r.sources);
    program_ = std::move(r.program);
  }
  return *program_;
}

namespace {

/// Once a line and process.
void warn_of_stale(const std::string& line) {
  static std::mutex& mutex = *new std::mutex;
  static auto& told = *new std::set<std::string>;
  const std::lock_guard lock(mutex);
  if (told.insert(line).second)
    fmt::print(stderr, "tessera: warning: the winner `{}` is not used: the kernel has changed since it was tuned; run `tessera tune` again\n", line);
}

/// A kernel of a module with its constants. The module is parsed when Tile IR is asked for.
class ModuleKernel : public detail::KernelSource {
 public:
  ModuleKernel(std::shared_ptr<const detail::ModuleImpl> module, std::string name, Constants given, std::string winners,
               std::map<std::string, std::int64_t> sizes, std::string target, std::string family)
      : module_(std::move(module)),
        name_(std::move(name)),
        given_(std::move(given)),
        winners_(std::move(winners)),
        sizes_(std::move(sizes)),
        target_(std::move(target)),
        family_(std::move(family)) {}

  std::unique_ptr<ir::Kernel> lower(const std::optional<std::vector<std::string>>& absent, Diagnostics& ds) const override {
    const Constants& c = constants();
    return absent ? instantiate(module_->program(), name_, c, *absent, ds) : instantiate_signature(module_->program(), name_, c, ds);
  }
  Schedule schedule() const override { return schedule_for(module_->program(), name_, family_, constants()); }

  /// Names the kernel and everything that chooses its constants.
  cache::Key key() const {
    cache::Fields fields;
    fields.add("what", "signature").add("sources", module_->key()).add("kernel", name_);
    for (const auto& [n, value] : given_) fields.add("constant", n).add("kind", std::to_string(value.index())).add("value", str(value));
    for (const auto& [n, value] : sizes_) fields.add("size", n).add("value", std::to_string(value));
    return fields.add("winners", winners_).add("target", target_).add("family", family_).key();
  }

 private:
  const Constants& constants() const {
    const std::lock_guard lock(mutex_);
    if (!chosen_) {
      Diagnostics diagnostics;
      Choice c = choose_tuned(module_->program(), name_, target_, given_, parse_winners(winners_, "winners"), sizes_, diagnostics);
      if (diagnostics.any()) throw to_error(diagnostics, *module_->sources());
      for (const std::string& line : c.stale) warn_of_stale(line);
      chosen_ = std::move(c.constants);
    }
    return *chosen_;
  }

  std::shared_ptr<const detail::ModuleImpl> module_;
  std::string name_;
  Constants given_;
  std::string winners_;
  std::map<std::string, std::int64_t> sizes_;
  std::string target_, family_;
  mutable std::mutex mutex_;  ///< of choosing
  mutable std::optional<Constants> chosen_;
};

/// Only machine code is kept, and only of a compilation that nobody watches.
bool worth_keeping(const detail::ResolvedTarget& target, const CompileHooks& hooks) {
  return (target.target == Target::Cpu || target.target == Target::Cuda) && hooks.print_after.empty() && !hooks.timed;
}

}  // namespace

AnyKernel detail::make_kernel(const ModuleImpl& module, const std::string& name, const Consts& consts, const Options& options,
                              std::span<const SignatureEntry> signature, const MakeOptions& more) {
  const ResolvedTarget target = resolve_target(options);
  // Tuned tiles make a simulated GPU and an interpreter no faster.
  const bool measured = target.target == Target::Cpu || target.target == Target::Cuda;
  const std::string& winners = options.winners.empty() && measured ? module.winners() : options.winners;
  std::map<std::string, std::int64_t> sizes = options.sizes;
  sizes.insert(more.sizes.begin(), more.sizes.end());
  auto source = std::make_unique<const ModuleKernel>(module.shared_from_this(), name, to_constants(consts), winners, std::move(sizes),
                                                     winners_target(target.name), schedule_family(target.target, target.gpu));
  CacheLink link;
  if (module.store()->on() && worth_keeping(target, more.hooks)) link = {module.store(), source->key()};
  auto impl = std::make_shared<KernelImpl>(std::move(source), module.sources(), module.loader(), options, target, more.hooks, std::move(link));
  std::vector<std::string> left_out = options.absent;
  if (!signature.empty()) {
    impl->check_signature(signature);
    for (std::size_t i = 0; i < signature.size(); ++i) {
      if (signature[i].is_absent) left_out.push_back(impl->parameters()[i].name);
    }
  }
  const std::uint64_t mask = impl->mask_of(left_out);
  if (more.compile) impl->form(mask);
  return AnyKernel(std::move(impl));
}

AnyKernel Module::kernel(std::string_view name, const Consts& constants, const Options& options) const {
  return kernel_for(name, constants, options, {});
}

AnyKernel Module::kernel_for(std::string_view name, const Consts& constants, const Options& options,
                             std::span<const detail::SignatureEntry> signature) const {
  return guarded([&] { return detail::make_kernel(*impl_, std::string(name), constants, options, signature, {}); });
}

std::vector<KernelOutline> Module::kernels() const {
  return guarded([&] {
    std::vector<KernelOutline> out;
    for (const KernelInfo& k : tessera::kernels(impl_->program())) {
      KernelOutline o{k.name, {}, {}};
      for (const ConstantInfo& c : k.constants) o.constants.push_back({c.name, c.kind, c.has_default, c.tuned});
      for (const ParameterInfo& p : k.parameters) o.parameters.push_back({p.name, p.type});
      out.push_back(std::move(o));
    }
    return out;
  });
}

Module load_source(const std::string& name, const std::string& text, const Cache& cache) { return load_source(name, text, {}, cache); }

namespace {

Module load_text(const std::string& name, const std::string& text, const std::map<std::string, std::string>& imports, const Cache& cache,
                 std::string winners) {
  return guarded([&] {
    const ImportResolver resolve = [&imports, beside = import_beside(name)](const std::string& path) -> std::optional<ModuleText> {
      if (const auto at = imports.find(path); at != imports.end()) return ModuleText{path + ".tile", at->second};
      return beside(path);
    };
    const std::shared_ptr<cache::Store>& store = cache.store();
    if (store->on()) {
      if (std::optional<SourceSet> known = recall_sources(*store, name, text, resolve)) {
        std::shared_ptr<const SourceMap> map = known->map();
        return Module(std::make_shared<const detail::ModuleImpl>(std::move(*known), nullptr, std::move(map), store, std::move(winners)));
      }
    }
    SourceSet set;
    LoadResult r = load_recorded(name, text, resolve, set);
    if (r.diagnostics.any()) throw to_error(r.diagnostics, *r.sources);
    TESSERA_ASSERT(r.program, "no program and no diagnostic");
    if (store->on()) keep_sources(*store, set);
    return Module(std::make_shared<const detail::ModuleImpl>(std::move(set), std::move(r.program), std::move(r.sources), store, std::move(winners)));
  });
}

constexpr std::uint64_t largest_text = 64 << 20;

}  // namespace

Module load_source(const std::string& name, const std::string& text, const std::map<std::string, std::string>& imports, const Cache& cache) {
  return load_text(name, text, imports, cache, "");
}

Module load(const std::string& path, const Cache& cache) {
  return guarded([&] {
    const std::string beside = std::filesystem::path(path).replace_extension(".winners").string();
    std::error_code none;
    return load_text(path, read_file(path, largest_text), {}, cache, std::filesystem::exists(beside, none) ? read_file(beside, largest_text) : "");
  });
}

}  // namespace tessera
