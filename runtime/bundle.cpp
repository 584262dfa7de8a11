#include "runtime/bundle.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <mutex>

#include "codegen/nvptx/ptx.h"
#include "runtime/cache/image.h"
#include "runtime/errors.h"
#include "runtime/files.h"
#include "runtime/kernel_impl.h"
#include "runtime/parallel.h"
#include "tessera/bundle.h"

namespace tessera {

struct detail::LoadedBundle {
  cache::BundleFile file;  ///< without entries
  std::vector<BundledKernel> kernels;
  std::shared_ptr<cache::Store> store;
  std::shared_ptr<LazyLoader> loader = std::make_shared<LazyLoader>();
};

namespace {

constexpr std::uint64_t largest_bundle = std::uint64_t{1} << 31;
constexpr std::size_t most_forms = 16;

/// A kernel of which there are only the forms that were compiled.
class OfABundle : public detail::KernelSource {
 public:
  OfABundle(std::string name, std::vector<std::vector<std::string>> forms) : name_(std::move(name)), forms_(std::move(forms)) {}
  std::unique_ptr<ir::Kernel> lower(const std::optional<std::vector<std::string>>& absent, Diagnostics& ds) const override {
    std::vector<std::string> there;
    for (const auto& f : forms_) there.push_back(f.empty() ? "all of them" : fmt::format("all but {}", fmt::join(f, ", ")));
    Diagnostic d;
    d.code = Code::E0708;
    d.message = fmt::format("the bundle has no form of `{}` without {}", name_, absent ? fmt::format("{}", fmt::join(*absent, ", ")) : "anything");
    d.help = fmt::format("its forms have these optional views: {}", fmt::join(there, "; "));
    ds.add(d);
    return nullptr;
  }

 private:
  std::string name_;
  std::vector<std::vector<std::string>> forms_;
};

std::string words(const std::vector<std::pair<std::string, std::string>>& constants) {
  std::vector<std::string> out;
  for (const auto& [n, v] : constants) out.push_back(n + "=" + v);
  return fmt::format("{}", fmt::join(out, " "));
}

/// The forms of a kernel that its `where` clauses allow, and only those.
std::vector<std::vector<std::string>> compile_forms(const AnyKernel& kernel, const std::vector<std::vector<std::string>>& wanted) {
  std::vector<std::vector<std::string>> out;
  if (!wanted.empty()) {
    for (const auto& absent : wanted) {
      kernel.prepare(absent);
      out.push_back(absent);
    }
    return out;
  }
  const std::vector<std::string> views = kernel.impl().optional_views();
  if (views.size() > 4)
    fail(Code::E0802, fmt::format("`{}` has {} optional views, so more than {} forms", kernel.name(), views.size(), most_forms),
         "name each form that is wanted by --without VIEW,VIEW");
  std::optional<Error> refused;
  for (std::size_t mask = 0; mask < std::size_t{1} << views.size(); ++mask) {
    std::vector<std::string> absent;
    for (std::size_t i = 0; i < views.size(); ++i) {
      if (mask >> i & 1) absent.push_back(views[i]);
    }
    try {
      kernel.prepare(absent);
      out.push_back(std::move(absent));
    } catch (const Error& e) {
      if (e.code() != "E0509") throw;
      refused = e;
    }
  }
  if (out.empty()) throw *refused;
  return out;
}

/// Machine code beside the text of a GPU's kernel, where there is a ptxas: a program that loads it then waits for no assembler.
void add_machine_code(cache::Entry& entry) {
  std::optional<GpuObject> object = cache::gpu_object(entry);
  if (!object) return;
  object->cubin = machine_code(*object);
  if (!object->cubin.empty()) entry.sections.push_back({"cubn", std::move(object->cubin)});
}

}  // namespace

cache::BundleFile make_bundle(const std::vector<BundleRequest>& requests, const std::string& target,
                              const std::function<void(const cache::BundleKernel&)>& told) {
  const std::optional<TargetName> named = read_target(target);
  if (!named || (named->target != Target::Cpu && (named->target != Target::Cuda || !named->gpu)))
    fail(Code::E0802, fmt::format("no bundle can be made for `{}`", target), "name cpu or the architecture of a GPU, such as sm_90a");
  cache::BundleFile out = cache::empty_bundle(target);
  const auto store = std::make_shared<cache::Store>(std::vector<cache::Entry>{}, false);
  std::map<std::string, Module> modules;
  for (const BundleRequest& r : requests) {
    if (!modules.contains(r.file)) modules.emplace(r.file, load(r.file, Cache(store)));
  }
  out.kernels.resize(requests.size());
  std::mutex mutex;  // of telling
  parallel_for(requests.size(), 0, [&](std::size_t i) {
    const BundleRequest& r = requests[i];
    Options options;
    options.target = target;
    options.winners = r.winners;
    const AnyKernel kernel = detail::make_kernel(modules.at(r.file).impl(), r.kernel, r.constants, options, {}, {.sizes = r.sizes, .compile = false});
    out.kernels[i] = {kernel.name(), kernel.impl().link().key, kernel.constants(), compile_forms(kernel, r.forms)};
    const std::lock_guard lock(mutex);
    if (told) told(out.kernels[i]);
  });
  for (cache::Entry& e : store->entries()) {
    if (e.kind == cache::Kind::Module) continue;
    for (cache::Section& s : e.sections) {
      if (s.tag == "span") s = cache::without_places(s);
    }
    out.entries.push_back(std::move(e));
  }
  parallel_for(out.entries.size(), 0, [&](std::size_t i) {
    if (out.entries[i].kind == cache::Kind::Kernel) add_machine_code(out.entries[i]);
  });
  return out;
}

const std::string& Bundle::target() const noexcept { return loaded_->file.target; }
const std::vector<BundledKernel>& Bundle::kernels() const noexcept { return loaded_->kernels; }

AnyKernel Bundle::kernel(std::string_view name, const Consts& constants, const Options& given) const {
  return guarded([&] {
    if (given.debug) fail(Code::E0804, "a bundle's kernels check no assertions", "compile the kernel from its source for Options::debug");
    const cache::BundleKernel* found = nullptr;
    std::vector<std::string> there;
    std::size_t fits = 0;
    for (const cache::BundleKernel& k : loaded_->file.kernels) {
      bool same = k.name == name;
      if (same) there.push_back(words(k.constants));
      for (const auto& [n, value] : detail::to_constants(constants)) {
        const auto at = std::find_if(k.constants.begin(), k.constants.end(), [&, n = n](const auto& c) { return c.first == n; });
        same = same && at != k.constants.end() && at->second == str(value);
      }
      if (!same) continue;
      if (fits++ == 0) found = &k;
    }
    if (there.empty()) {
      std::vector<std::string> names;
      for (const cache::BundleKernel& k : loaded_->file.kernels) names.push_back(k.name);
      names.erase(std::unique(names.begin(), names.end()), names.end());
      fail(Code::E0519, fmt::format("the bundle has no kernel `{}`", name), fmt::format("it has {}", fmt::join(names, ", ")));
    }
    if (fits != 1)
      fail(Code::E0519,
           fits == 0 ? fmt::format("the bundle has no `{}` with these constants", name)
                     : fmt::format("the bundle has {} of `{}` with these constants; give more of them", fits, name),
           fmt::format("it has {}", fmt::join(there, "; ")));
    Options options = given;
    if (!options.target.empty() && options.target != target() && options.target != "cuda" && !options.target.starts_with("cuda:"))
      fail(Code::E0804, fmt::format("the bundle is made for {}, not for {}", target(), options.target));
    options.target = target();
    if (options.context && !options.context->is_cuda()) options.context.reset();
    auto impl = std::make_shared<detail::KernelImpl>(std::make_unique<const OfABundle>(found->name, found->forms),
                                                     std::make_shared<const SourceMap>(), loaded_->loader, options, detail::resolve_target(options),
                                                     CompileHooks{}, detail::CacheLink{loaded_->store, found->key});
    // What a launch may ask for is loaded now.
    for (const std::vector<std::string>& absent : found->forms) impl->form(impl->mask_of(absent));
    return AnyKernel(std::move(impl));
  });
}

Bundle load_bundle(const std::string& path) {
  return guarded([&] {
    std::string why;
    std::optional<cache::BundleFile> file = cache::decode_bundle(read_file(path, largest_bundle), why);
    if (!file) throw MachineError(fmt::format("`{}` cannot be used: {}", path, why));
    const cache::BundleFile here = cache::empty_bundle(file->target);
    if (file->from != here.from || file->llvm != here.llvm)
      throw MachineError(
          fmt::format("`{}` was made by another version of Tessera: make it again with the `tessera bundle` that belongs to this library", path));
    if (file->machine != here.machine)
      fail(Code::E0804, fmt::format("`{}` holds code for another CPU than this: {}", path, file->machine), fmt::format("this is {}", here.machine));
    auto out = std::make_shared<detail::LoadedBundle>();
    out->store = std::make_shared<cache::Store>(std::exchange(file->entries, {}), true);
    for (const cache::BundleKernel& k : file->kernels) out->kernels.push_back({k.name, k.constants, k.forms});
    out->file = *std::move(file);
    return Bundle(std::move(out));
  });
}

}  // namespace tessera
